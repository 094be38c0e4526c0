#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sni_gateway.py LISTEN LOG NAME=ADDRESS:PORT...: dstack's gateway as far as TLS is passed on: each connection goes, as
it is, to where the name in its ClientHello leads, and is closed where it leads nowhere. The name is a line of LOG."""
import socket
import sys
import threading


def take(conn, n):
    data = b""
    while len(data) < n:
        more = conn.recv(n - len(data))
        if not more:
            raise OSError("too short")
        data += more
    return data


def name_of(hello):
    """The server_name of a ClientHello that is in one record; "" without."""
    at = 9 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at:at + 2], "big")
    at += 1 + hello[at]
    at += 2
    while at + 4 <= len(hello):
        kind, size = int.from_bytes(hello[at:at + 2], "big"), int.from_bytes(hello[at + 2:at + 4], "big")
        if kind == 0:
            return hello[at + 9:at + 4 + size].decode("ascii", "replace")
        at += 4 + size
    return ""


def copy(src, dst):
    try:
        while data := src.recv(65536):
            dst.sendall(data)
    except OSError:
        pass
    for s in src, dst:
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(conn, log, routes):
    with conn:
        try:
            conn.settimeout(10)
            head = take(conn, 5)
            hello = head + take(conn, int.from_bytes(head[3:], "big"))
            name = name_of(hello)
            log.write(name + "\n")
            to = socket.create_connection(routes[name], 10)
        except (OSError, KeyError, IndexError):
            return
        with to:
            conn.settimeout(None)
            to.settimeout(None)
            to.sendall(hello)
            threading.Thread(target=copy, args=(to, conn), daemon=True).start()
            copy(conn, to)


def place(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


listener = socket.create_server(place(sys.argv[1]), backlog=64)
with open(sys.argv[2], "a", buffering=1) as out:
    table = {name: place(to) for name, to in (arg.split("=", 1) for arg in sys.argv[3:])}
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0], out, table), daemon=True).start()
