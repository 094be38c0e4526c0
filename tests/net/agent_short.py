#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands before a guest agent, and its certificates live SECONDS: usage: agent_short.py LISTEN AGENT SECONDS"""
import re
import socket
import sys
import threading
import time


def message(s):
    """One message of HTTP: head and body."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = s.recv(65536)
        if not part:
            raise ConnectionError
        got += part
    head, body = got.split(b"\r\n\r\n", 1)
    length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
    while len(body) < int(length[1] if length else 0):
        body += s.recv(65536)
    return head, body


def serve(s, agent, seconds):
    with s, socket.socket(socket.AF_UNIX) as up:
        up.connect(agent)
        head, body = message(s)
        body, n = re.subn(rb'("not_after": *)\d+', rb"\g<1>%d" % (time.time() + seconds), body)
        head = re.sub(rb"(?i)(\ncontent-length: *)\d+", rb"\g<1>%d" % len(body), head)
        up.sendall(head + b"\r\n\r\n" + body)
        s.sendall(b"\r\n\r\n".join(message(up)))
        print("short" if n else "as it was", flush=True)


listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0], sys.argv[2], float(sys.argv[3])), daemon=True).start()
