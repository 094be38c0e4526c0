# SPDX-License-Identifier: Apache-2.0
"""A name server that knows one name. mesh_dns.py ADDRESS NAME A-RECORD...; all else does not exist."""
import socket
import struct
import sys


def question(data):
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode("latin-1").lower())
        at += 1 + data[at]
    return ".".join(labels), struct.unpack("!H", data[at + 1:at + 3])[0], data[12:at + 5]


def main(address, name, *records):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((address, 53))
        while True:
            data, peer = s.recvfrom(4096)
            asked, kind, copy = question(data)
            answers = records if asked == name and kind == 1 else ()
            head = data[:2] + struct.pack("!HHHHH", 0x8180 | (0 if asked == name else 3), 1, len(answers), 0, 0)
            body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton(a) for a in answers)
            s.sendto(head + copy + body, peer)


main(*sys.argv[1:])
