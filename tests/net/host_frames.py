#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Frames that no honest stack sends. usage: host_frames.py WHAT IFACE DST_MAC DST [PORT COUNT]
   malformed   one of each; prints their names
   syns        COUNT SYNs to PORT from as many sources, a millisecond apart
   handshakes  COUNT WireGuard initiations to PORT from 10.99.0.66, then one from 10.99.0.67
"""
import random
import struct
import sys
import time

sys.path.insert(0, "tests/judge")
from wire import ACK, SYN, TCP, UDP, Port, address, ip4, ip6, segment  # noqa: E402

FRIEND4, FRIEND6 = address("10.99.0.9"), address("fd99::9")


def frame(mac, packet):
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return mac + b"\x02\0\0\0\0\x01" + struct.pack("!H", kind) + packet


def tcp(src, dst, port, flags):
    return segment(src, dst, TCP, 4000, port, flags)


def malformed(dst):
    good = ip4(FRIEND4, dst, TCP, tcp(FRIEND4, dst, 80, SYN))
    yield "land", ip4(dst, dst, TCP, tcp(dst, dst, 80, SYN))
    yield "loopback", ip4(address("127.0.0.1"), dst, TCP, tcp(address("127.0.0.1"), dst, 80, SYN))
    yield "multicast", ip4(address("224.0.0.1"), dst, TCP, tcp(address("224.0.0.1"), dst, 80, SYN))
    yield "header-length", b"\x44" + good[1:]
    yield "longer-than-it-is", good[:2] + struct.pack("!H", 1400) + good[4:]
    yield "tiny-fragment", ip4(FRIEND4, dst, TCP, tcp(FRIEND4, dst, 80, SYN)[:8], 7, frag=0x2000)
    yield "stray-ack", ip4(FRIEND4, dst, TCP, tcp(FRIEND4, dst, 80, ACK))
    yield "not-wireguard", ip4(FRIEND4, dst, UDP, segment(FRIEND4, dst, UDP, 4000, 51820, payload=b"hello" * 9))


def syns(port, mac, dst, to, count):
    for i in range(count):
        if len(dst) == 4:
            src = struct.pack("!I", 0x0A630000 + 0x1000 + i % 0x8000)
            packet = ip4(src, dst, TCP, segment(src, dst, TCP, 1024 + i, to, SYN, seq=i))
        else:
            src = address("fd99:1::")[:14] + struct.pack("!H", i)
            packet = ip6(src, dst, TCP, segment(src, dst, TCP, 1024 + i, to, SYN, seq=i))
        port.send(frame(mac, packet))
        time.sleep(0.001)


def initiation(src, dst, to):
    body = struct.pack("<I", 1) + random.randbytes(144)
    return ip4(src, dst, UDP, segment(src, dst, UDP, 51820, to, payload=body))


def main():
    what, iface, mac, dst = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3].replace(":", "")), address(sys.argv[4])
    to, count = [int(x) for x in sys.argv[5:]] or (0, 0)
    port = Port(iface)
    if what == "malformed":
        for name, packet in malformed(dst):
            port.send(frame(mac, packet))
            print(name)
    elif what == "syns":
        syns(port, mac, dst, to, count)
    elif what == "handshakes":
        for _ in range(count):
            port.send(frame(mac, initiation(address("10.99.0.66"), dst, to)))
        port.send(frame(mac, initiation(address("10.99.0.67"), dst, to)))


main()
