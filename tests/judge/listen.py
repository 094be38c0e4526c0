#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Listens on each TCP and UDP port named, both families, and answers. usage: listen.py FIRST[-LAST]...
Says "ready" when all of them are open; runs until it is ended."""
import select
import socket
import sys


def ports(words):
    for word in words:
        first, _, last = word.partition("-")
        yield from range(int(first), int(last or first) + 1)


def main(words):
    udp = []
    tcp = []
    for port in ports(words):
        for kind, held in ((socket.SOCK_STREAM, tcp), (socket.SOCK_DGRAM, udp)):
            s = socket.socket(socket.AF_INET6, kind)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                s.listen(16)
            held.append(s)
    print("ready", flush=True)
    while True:
        for s in select.select(tcp + udp, [], [])[0]:
            if s in tcp:
                s.accept()[0].close()
            else:
                data, peer = s.recvfrom(65536)
                s.sendto(data or b"!", peer)


main(sys.argv[1:])
