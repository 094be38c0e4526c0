#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What this network's stack delivers. Serves TCP and UDP ports, both families; raw sockets get each datagram that the stack
took, also those that nobody serves. Each packet carries a mark; `sync` in one to UDP port 80 makes this print the marks
heard before it as one JSON list. usage: hear.py PORT..."""
import json
import re
import select
import socket
import sys

MARK = re.compile(rb"<mark ([0-9]+)>")
PROTOCOLS = (1, 6, 17, 47, 58, 132)


def main(ports):
    tcp, udp, raw = [], [], []
    for port in ports:
        for kind, held in ((socket.SOCK_STREAM, tcp), (socket.SOCK_DGRAM, udp)):
            s = socket.socket(socket.AF_INET6, kind)
            s.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                s.listen(64)
            held.append(s)
    for family in (socket.AF_INET, socket.AF_INET6):
        for proto in PROTOCOLS:
            raw.append(socket.socket(family, socket.SOCK_RAW, proto))
    for s in udp + raw:
        s.setblocking(False)
    heard = set()

    def drain():
        for s in raw:
            while True:
                try:
                    heard.update(int(m) for m in MARK.findall(s.recv(65536)))
                except BlockingIOError:
                    break

    print("ready", flush=True)
    while True:
        for s in select.select(tcp + udp + raw, [], [])[0]:
            if s in tcp:
                s.accept()[0].close()
                continue
            if s in raw:
                drain()
                continue
            data, peer = s.recvfrom(65536)
            if data.startswith(b"sync"):
                drain()
                print(json.dumps(sorted(heard)), flush=True)
                heard.clear()
            else:
                s.sendto(b"heard", peer)


main([int(p) for p in sys.argv[1:]])
