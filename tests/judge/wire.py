# SPDX-License-Identifier: Apache-2.0
"""Packets as bytes, and interfaces to send and hear them on. For the judges; needs no package."""
import select
import socket
import struct

ETH_P_ALL = 3
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
HOP_BY_HOP, FRAGMENT, DEST_OPTS = 0, 44, 60


class Port:
    """An interface of this namespace."""

    def __init__(self, name):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE: what is not heard would count as dropped
        self.sock.bind((name, ETH_P_ALL))
        self.sock.setblocking(False)

    def send(self, frame):
        self.sock.send(frame)

    def hear(self):
        """Frames that came since the last call, without those that we sent."""
        while True:
            try:
                frame, addr = self.sock.recvfrom(65536)
            except BlockingIOError:
                return
            if addr[2] != socket.PACKET_OUTGOING:
                yield frame

    def wait(self, seconds):
        return bool(select.select([self.sock], [], [], seconds)[0])


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def pseudo(src, dst, proto, length):
    if len(src) == 4:
        return src + dst + struct.pack("!BBH", 0, proto, length)
    return src + dst + struct.pack("!IHBB", length, 0, 0, proto)


def segment(src, dst, proto, sport=0, dport=0, flags=0, seq=0, ack=0, kind=0, ident=0, payload=b""):
    """What comes behind the IP header, with a right checksum. src and dst are bytes."""
    if proto == TCP:
        at, body = 16, struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 8192, 0, 0) + payload
    elif proto == UDP:
        at, body = 6, struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    elif proto in (ICMP, ICMPV6):
        at, body = 2, struct.pack("!BBHHH", kind, 0, 0, ident, 1) + payload
    else:
        return struct.pack("!II", ident, 1) + payload
    head = b"" if proto == ICMP else pseudo(src, dst, proto, len(body))
    return body[:at] + struct.pack("!H", checksum(head + body)) + body[at + 2 :]


def ether(packet):
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return b"\x02\0\0\0\0\x01" + b"\x02\0\0\0\0\x02" + struct.pack("!H", kind) + packet


def ip4(src, dst, proto, body, ident=0, options=b"", frag=0):
    head = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body), ident, frag, 64,
                       proto, 0, src, dst) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def ip6(src, dst, proto, body, ident=0, ext=()):
    """ext: hop-by-hop and destination options, each of one pad option."""
    chain = list(ext) + [proto]
    for i in reversed(range(len(ext))):
        body = struct.pack("!BBBB4x", chain[i + 1], 0, 1, 4) + body
    return struct.pack("!IHBB", 6 << 28 | ident, len(body), chain[0], 64) + src + dst + body


def fragments(src, dst, proto, body, ident, first):
    """The packet in pieces: `first` bytes, then 8 at most 3 times, then the rest. A multiple of 8."""
    cuts = [0, first] + [c for c in (first + 8, first + 16) if c < len(body)] + [len(body)]
    for at, end in zip(cuts, cuts[1:]):
        more = end < len(body)
        if len(src) == 4:
            yield ip4(src, dst, proto, body[at:end], ident, frag=(0x2000 if more else 0) | at // 8)
        else:
            head = struct.pack("!BBHI", proto, 0, at | more, ident)
            yield ip6(src, dst, FRAGMENT, head + body[at:end], ident)


def ident_of(frame):
    """(the mark that ip4() and ip6() leave in a packet, source, destination); None: not IP."""
    if frame[12:14] == b"\x08\x00" and len(frame) >= 34:
        return struct.unpack("!H", frame[18:20])[0], frame[26:30], frame[30:34]
    if frame[12:14] == b"\x86\xdd" and len(frame) >= 54:
        return struct.unpack("!I", frame[14:18])[0] & 0xFFFFF, frame[22:38], frame[38:54]
    return None
