#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The part of baileyd's control socket that a mesh follows: SOCKET; each line of standard input goes to who reads."""
import os
import socket
import sys
import threading

readers, told = [], []


def serve(server):
    while True:
        reader, _ = server.accept()
        reader.recv(4096)
        reader.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n" + b"".join(told))
        readers.append(reader)


path = sys.argv[1]
if os.path.exists(path):
    os.unlink(path)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen(8)
threading.Thread(target=serve, args=(server,), daemon=True).start()
for line in sys.stdin.buffer:
    told.append(line)
    for reader in readers:
        try:
            reader.sendall(line)
        except OSError:
            pass
