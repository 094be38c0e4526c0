#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""origin_proxy.py PORT: says to each connection where it was meant to go, or `none`, and holds it for 2 s.

A connection that a device brought has the address that was dialled for its own end."""
import socket
import struct
import sys
import threading
import time

IP_TRANSPARENT = 19
ORIGINAL_DST = 80
OWN = ("127.0.0.1", int(sys.argv[1]))


def origin(conn):
    if conn.getsockname() != OWN:
        return "%s:%d" % conn.getsockname()
    try:
        raw = conn.getsockopt(socket.SOL_IP, ORIGINAL_DST, 16)
    except OSError:
        return "none"
    return "%s:%d" % (socket.inet_ntoa(raw[4:8]), struct.unpack("!H", raw[2:4])[0])


def serve(conn):
    with conn:
        conn.sendall((origin(conn) + "\n").encode())
        time.sleep(2)


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
listener.bind(OWN)
listener.listen(16)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
