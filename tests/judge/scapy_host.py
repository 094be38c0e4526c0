#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Packets of scapy against a node's host. usage: scapy_host.py plain|judged 4|6 IFACE WEB_NETNS BAILEY INSTANCE POLICY START VLAN
plain: nothing is judged, and each case that its own stack does not refuse must be heard: else the judge is deaf.
judged: the cases of OPEN are heard, those of SHUT are not and are counted with the reason that they are due.
A mark at the end of each packet tells what was heard; an answer to its port what was answered. Ports and identifications
count from START on: no flow or fragment of an earlier run is this one's."""
import json
import os
import struct
import subprocess
import sys
import time

sys.path.insert(0, "tests/judge")
from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: E402
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_RA,  # noqa: E402
                                ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                                IPv6ExtHdrHopByHop, IPv6ExtHdrRouting)
from scapy.layers.l2 import Dot1Q, Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402
from wire import Port  # noqa: E402

MODE, VERSION, IFACE, NETNS, BAILEY, INSTANCE, POLICY, START, VLAN = sys.argv[1:]
V6 = VERSION == "6"
WEB, STRANGER, FRIEND = ("fd82::1", "fd82::8", "fd82::9") if V6 else ("10.82.0.1", "10.82.0.8", "10.82.0.9")
SERVED = (22, 80, 443, 5432)
ODD_FLAGS = {"null": "", "fin": "F", "xmas": "FPU", "syn-fin": "SF", "syn-rst": "SR", "all": "FSRPAU", "urg": "U"}
STRAY_FLAGS = {"ack": "A", "syn-ack": "SA", "rst": "R", "rst-ack": "RA", "fin-ack": "FA", "push-ack": "PA"}


def ip(src=STRANGER, **more):
    return IPv6(src=src, dst=WEB, **more) if V6 else IP(src=src, dst=WEB, **more)


class Case:
    """One packet, or its pieces. `reason`: what it is dropped for (any of several); None: it must be heard. `stack`: Linux takes it."""

    count = 0

    def __init__(self, name, make, reason=None, tags=(), stack=True):
        Case.count += 1
        self.name, self.stack = name, stack
        self.reason = {reason} if isinstance(reason, str) else set(reason or ())
        self.mark, self.port = Case.count, int(START) + Case.count
        made = make(self.port, b"<mark %d>" % self.mark)
        self.frames = []
        for packet in made if isinstance(made, list) else [made]:
            raw = packet if isinstance(packet, bytes) else bytes(packet)
            eth = Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:01", type=0x86DD if V6 else 0x0800)
            for tag in tags:
                eth = Ether(src=eth.src, dst=eth.dst, type=0x8100) if eth.type != 0x8100 else eth
                eth = eth / Dot1Q(vlan=tag)
            if tags:
                eth.lastlayer().type = 0x86DD if V6 else 0x0800
            self.frames.append(bytes(eth) + raw)


# --- what the YAML says --------------------------------------------------------------------------------------------------
def opened(src, proto, port):
    return subprocess.run([BAILEY, "policy", "explain", POLICY, "--from", src, "--to", "host", "--on", "web", f"{proto}/{port}"],
                          stdout=subprocess.DEVNULL, check=False).returncode == 0


def plain_cases():
    for src in (STRANGER, FRIEND):
        for port in SERVED:
            for proto, layer in (("tcp", TCP), ("udp", UDP)):
                reason = None if opened(src, proto, port) else "POLICY_DENY"
                yield Case(f"{proto}/{port} from {src}", lambda p, m, s=src, l=layer, d=port: ip(s) / l(sport=p, dport=d) / m, reason)
        if V6:
            yield Case(f"ping from {src}", lambda p, m, s=src: ip(s) / ICMPv6EchoRequest(id=p, data=m))
        else:
            yield Case(f"ping from {src}", lambda p, m, s=src: ip(s) / ICMP(id=p) / m)


# --- what no honest stack sends ------------------------------------------------------------------------------------------
def flag_cases():
    for names, reason in ((ODD_FLAGS, "L4_HEADER"), (STRAY_FLAGS, "NO_FLOW")):
        for name, flags in names.items():
            for port in (80, 443):
                yield Case(f"flags {name} to {port}", lambda p, m, f=flags, d=port: ip() / TCP(sport=p, dport=d, flags=f, ack=7) / m, reason)


def both_ports(name, make, tags=(), stack=True):
    """The same to a port that is open and to one that is not."""
    yield Case(name + " to 80", lambda p, m: make(80, p, m), None, tags, stack)
    yield Case(name + " to 443", lambda p, m: make(443, p, m), "POLICY_DENY", tags, stack)


def options4():
    # an option's data that would be a UDP header to port 80 where a header of 20 bytes ended
    decoy = b"\x94\x08" + b"\x00\x50" + b"\x00\x50\x00\x20"
    for name, opts in (("nops", b"\x01" * 4), ("record route", b"\x07\x07\x04" + bytes(4) + b"\x00"), ("router alert", b"\x94\x04\0\0"),
                       ("40 bytes", b"\x01" * 40), ("a header in them", b"\x01\x50\x00\x50" + b"\x01" * 4)):
        yield from both_ports(f"options: {name}", lambda d, p, m, o=opts: with_options(o, p, d, m), stack=name != "a header in them")
    yield Case("options: a header to 80, and the real one to 443", lambda p, m: with_options(decoy, p, 443, m), "POLICY_DENY")
    yield Case("options: source route", lambda p, m: with_options(b"\x83\x07\x04\x0a\x52\0\x63\0", p, 443, m), "POLICY_DENY", stack=False)


def with_options(opts, sport, dport, mark):
    body = bytes(IP(src=STRANGER, dst=WEB, proto=17) / UDP(sport=sport, dport=dport) / mark)[20:]
    head = IP(src=STRANGER, dst=WEB, proto=17, ihl=5 + len(opts) // 4, len=20 + len(opts) + len(body), chksum=0)
    head = bytes(head)[:20] + opts
    total = sum(struct.unpack("!%dH" % (len(head) // 2), head))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + body


def extensions6():
    chains = {
        "hop-by-hop": IPv6ExtHdrHopByHop(), "destination options": IPv6ExtHdrDestOpt(),
        "hop-by-hop and destination": IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt(), "a fragment header alone": IPv6ExtHdrFragment(id=9),
        "routing with nothing left": IPv6ExtHdrRouting(type=4, segleft=0, addresses=["fd82::77"]),
    }
    for name, chain in chains.items():
        for layer in (UDP, TCP):
            yield from both_ports(f"{name}, {layer.__name__}", lambda d, p, m, c=chain, l=layer: ip() / c / l(sport=p, dport=d) / m,
                                  stack="routing" not in name)

    def shut(name, chain, reason="EXT_HEADERS", stack=False):
        return Case(name, lambda p, m: ip() / chain / UDP(sport=p, dport=80) / m, reason, stack=stack)

    yield shut("routing type 0", IPv6ExtHdrRouting(type=0, segleft=1, addresses=["fd82::77"]))
    yield shut("routing type 2", IPv6ExtHdrRouting(type=2, segleft=1, addresses=["fd82::77"]))
    yield shut("routing type 4", IPv6ExtHdrRouting(type=4, segleft=1, addresses=["fd82::77"]))
    yield shut("hop-by-hop behind destination options", IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop())
    chain = IPv6ExtHdrDestOpt()
    for _ in range(7):
        chain = chain / IPv6ExtHdrDestOpt()
    yield shut("eight destination options", chain, stack=True)
    yield shut("a fragment header in a fragment header", IPv6ExtHdrFragment(id=5) / IPv6ExtHdrFragment(id=6))
    for number in (135, 139, 140):
        yield Case(f"next header {number}", lambda p, m, n=number: ip(nh=n) / Raw(b"\x11\0\0\0\0\0\0\0") / UDP(sport=p, dport=80) / m,
                   "EXT_HEADERS", stack=False)
    for number in (59, 50, 51, 253):
        yield Case(f"next header {number}", lambda p, m, n=number: ip(nh=n) / Raw(b"\x11\0\0\0\0\0\0\0") / UDP(sport=p, dport=80) / m,
                   "POLICY_DENY", stack=False)
    yield Case("a chain that ends beyond the packet", lambda p, m: ip(nh=60, plen=8) / Raw(b"\x11\x20\x01\x04\0\0\0\0"), "SHORT", stack=False)


# --- fragments -----------------------------------------------------------------------------------------------------------
def piece(proto, body, at, end, ident, src=STRANGER):
    more = end < len(body)
    if V6:
        return ip(src) / IPv6ExtHdrFragment(nh=proto, offset=at // 8, m=int(more), id=ident) / Raw(body[at:end])
    return ip(src, id=ident, proto=proto, frag=at // 8, flags="MF" if more else 0) / Raw(body[at:end])


def pieces(dport, sport, mark, cuts, layer=UDP, ident=None):
    packet = ip() / layer(sport=sport, dport=dport) / (b"x" * (1200 - len(mark)) + mark)
    body = bytes(packet)[40 if V6 else 20 :]
    cuts = [0] + list(cuts) + [len(body)]
    return [piece(17 if layer is UDP else 6, body, a, b, ident or sport) for a, b in zip(cuts, cuts[1:])]


def fragment_cases():
    yield from both_ports("fragments in order", lambda d, p, m: pieces(d, p, m, (400, 800)))
    yield from both_ports("TCP in fragments", lambda d, p, m: pieces(d, p, m, (400, 800), TCP))
    yield Case("fragments reversed", lambda p, m: pieces(80, p, m, (400, 800))[::-1], "FRAGMENT")
    yield Case("a later fragment alone", lambda p, m: pieces(80, p, m, (400,))[1:], "FRAGMENT", stack=False)
    yield Case("a gap that is filled later", lambda p, m: [pieces(80, p, m, (400, 800))[i] for i in (0, 2, 1)], "FRAG_ORDER")
    yield Case("a tiny first fragment", lambda p, m: pieces(80, p, m, (8,), TCP), "FRAG_TINY", stack=not V6)
    yield Case("one without a byte of TCP's flags", lambda p, m: pieces(80, p, m, (16,), TCP), "FRAG_TINY", stack=not V6)
    yield Case("a first one twice", lambda p, m: [pieces(80, p, m, (400,))[i] for i in (0, 0, 1)], "FRAG_OVERLAP", stack=False)
    # The classic: what was judged is overwritten by a piece that is not looked at.
    yield Case("the port overwritten", lambda p, m: overwrite(p, m, 0), "FRAG_OVERLAP", stack=False)
    yield Case("the body overwritten", lambda p, m: overwrite(p, m, 200), "FRAG_OVERLAP", stack=False)
    yield Case("beyond 65535 bytes", lambda p, m: [pieces(80, p, m, (400,))[0], far_piece(p, m)], "FRAG_BOUNDS", stack=False)
    yield Case("cut unevenly", lambda p, m: uneven(p, m), "FRAG_BOUNDS", stack=False)
    yield Case("the rest of a datagram that was denied", lambda p, m: pieces(443, p, m, (400, 800)), "FRAGMENT")


def overwrite(port, mark, at):
    good, bad = pieces(80, port, mark, (400,)), pieces(443, port, mark, (400,))
    body = bytes(ip() / UDP(sport=port, dport=443) / (b"y" * (1200 - len(mark)) + mark))[40 if V6 else 20 :]
    return [good[0], piece(17, body, at, 400, port) if at else bad[0], good[1]]


def far_piece(port, mark):
    if V6:
        return ip() / IPv6ExtHdrFragment(nh=17, offset=8191, m=0, id=port) / Raw(b"z" * 64 + mark)
    return ip(id=port, proto=17, frag=8191, flags=0) / Raw(b"z" * 64 + mark)


def uneven(port, mark):
    body = bytes(ip() / UDP(sport=port, dport=80) / (b"x" * 500 + mark))[40 if V6 else 20 :]
    return [piece(17, body, 0, 403, port)]


# --- lengths and sums ----------------------------------------------------------------------------------------------------
def length_cases():
    def cut(name, change, reason):
        return Case(name, lambda p, m: change(bytes(ip() / UDP(sport=p, dport=80) / m)), reason, stack=False)

    if V6:
        yield cut("a payload longer than the frame", lambda b: b[:4] + struct.pack("!H", 900) + b[6:], "SHORT")
        yield cut("no payload", lambda b: b[:4] + struct.pack("!H", 0) + b[6:], "SHORT")
        yield cut("version 4 in a frame of version 6", lambda b: b"\x45" + b[1:], "NOT_IP")
    else:
        yield cut("longer than the frame", lambda b: b[:2] + struct.pack("!H", 900) + b[4:], "SHORT")
        yield cut("shorter than its header", lambda b: b[:2] + struct.pack("!H", 12) + b[4:], "IP_HEADER")
        yield cut("a header of 16 bytes", lambda b: b"\x44" + b[1:], "IP_HEADER")
        yield cut("a header beyond the packet", lambda b: b"\x4f" + b[1:28], "IP_HEADER")
        yield cut("version 6 in a frame of version 4", lambda b: b"\x65" + b[1:], "NOT_IP")
    yield Case("a TCP header of 16 bytes", lambda p, m: ip() / TCP(sport=p, dport=80, dataofs=4) / m, "L4_HEADER", stack=False)
    yield Case("a TCP header beyond the packet", lambda p, m: ip() / TCP(sport=p, dport=80, dataofs=15) / b"<mark", "SHORT", stack=False)
    yield Case("a UDP length below 8", lambda p, m: ip() / UDP(sport=p, dport=80, len=7) / m, "L4_HEADER", stack=False)
    yield Case("half a UDP header", lambda p, m: ip(**({"nh": 17} if V6 else {"proto": 17})) / Raw(b"\x4e\x20\0\x50"), "SHORT", stack=False)
    # wrong sums are the stack's to refuse; a port that is not open stays so
    yield Case("a wrong sum to 443", lambda p, m: ip() / UDP(sport=p, dport=443, chksum=1) / m, "POLICY_DENY", stack=False)
    yield Case("a wrong TCP sum to 443", lambda p, m: ip() / TCP(sport=p, dport=443, chksum=1) / m, "POLICY_DENY", stack=False)
    yield Case("an ICMP of the other family", lambda p, m: ip(**({"nh": 1} if V6 else {"proto": 58})) / Raw(b"\x08\0\0\0\0\0\0\0" + m), "L4_HEADER",
               stack=False)


# --- where it says that it is from ---------------------------------------------------------------------------------------
def source_cases():
    bad = ("::1", "ff02::1", "::", WEB) if V6 else ("127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", WEB)
    for src in bad:
        for layer in (UDP, TCP):
            yield Case(f"{layer.__name__} from {src}", lambda p, m, s=src, l=layer: ip(s) / l(sport=p, dport=80) / m, "MARTIAN", stack=False)
    if V6:
        yield Case("from ::ffff:10.82.0.9", lambda p, m: ip("::ffff:10.82.0.9") / UDP(sport=p, dport=5432) / m, "IP_HEADER", stack=False)


def vlan_cases():
    """web has a device for VLAN 7 where the kernel can. A tag opens nothing: what is behind it is judged."""
    has_device = VLAN == "7"
    for tags in ((7,), (0,), (0, 7)):
        yield from both_ports(f"VLAN {tags}", lambda d, p, m: ip() / UDP(sport=p, dport=d) / m, tags,
                              stack=tags == (0,) or (has_device and tags == (7,)))
    yield from both_ports("fragments in VLAN 7", lambda d, p, m: pieces(d, p, m, (400, 800)), (7,), has_device)
    yield Case("VLAN 9 in VLAN 8 to 443", lambda p, m: ip() / UDP(sport=p, dport=443) / m, "POLICY_DENY", (8, 9), stack=False)
    # the kernel takes the first tag out before tc
    yield Case("three tags to 443", lambda p, m: ip() / UDP(sport=p, dport=443) / m, ("NOT_IP", "POLICY_DENY"), (0, 0, 7), stack=False)


# --- ICMP that nobody asked for ------------------------------------------------------------------------------------------
def icmp_cases():
    def about(port):
        other = IPv6(src=WEB, dst=STRANGER) if V6 else IP(src=WEB, dst=STRANGER)
        return bytes(other / UDP(sport=port, dport=53) / b"12345678")

    if V6:
        errors = {"unreachable": ICMPv6DestUnreach(code=4), "too big": ICMPv6PacketTooBig(mtu=1280), "time exceeded": ICMPv6TimeExceeded()}
        others = {"echo reply": (ICMPv6EchoReply(), "POLICY_DENY"), "router advertisement": (ICMPv6ND_RA(), "MARTIAN"),
                  "neighbour advertisement": (ICMPv6ND_NA(tgt=STRANGER), "MARTIAN")}
    else:
        errors = {"unreachable": ICMP(type=3, code=3), "fragmentation needed": ICMP(type=3, code=4, nexthopmtu=576),
                  "time exceeded": ICMP(type=11)}
        others = {"echo reply": (ICMP(type=0), "POLICY_DENY"), "timestamp": (ICMP(type=13), "POLICY_DENY"),
                  "redirect": (ICMP(type=5, gw=STRANGER), "POLICY_DENY"), "mask": (ICMP(type=17), "POLICY_DENY")}
    for name, layer in errors.items():
        yield Case(f"{name} of no flow", lambda p, m, l=layer: ip() / l / Raw(about(p) + m), "POLICY_DENY")
    for name, (layer, reason) in others.items():
        yield Case(name, lambda p, m, l=layer: ip(**({"hlim": 64} if V6 else {})) / l / Raw(m), reason)
    yield Case("GRE", lambda p, m: ip(**({"nh": 47} if V6 else {"proto": 47})) / Raw(bytes(4) + m), "POLICY_DENY")
    yield Case("SCTP", lambda p, m: ip(**({"nh": 132} if V6 else {"proto": 132})) / Raw(bytes(12) + m), "POLICY_DENY")


# --- the run -------------------------------------------------------------------------------------------------------------
class Web:
    def __init__(self, port):
        self.port, self.answered = port, set()
        self.hear = subprocess.Popen(["nsenter", f"--net={NETNS}", "/usr/bin/python3", "tests/judge/hear.py", *map(str, SERVED)],
                                     stdout=subprocess.PIPE, text=True)
        if self.hear.stdout.readline() != "ready\n":
            sys.exit("scapy_host.py: nobody hears")

    def end(self):
        self.hear.kill()
        self.hear.wait()

    def take_answers(self):
        for frame in self.port.hear():
            packet = Ether(frame)
            for layer in (TCP, UDP):
                if layer in packet and packet[layer].sport in SERVED:
                    self.answered.add(packet[layer].dport)
            for layer in (ICMP, ICMPv6EchoReply):
                if layer in packet and packet[layer].type in (0, 129):
                    self.answered.add(packet[layer].id)

    def ask(self, case):
        """The marks that were heard. The last packet is one that is: what came before it is decided by then."""
        for frame in case.frames:
            self.port.send(frame)
        sync = Case("sync", lambda p, m: ip() / UDP(sport=p, dport=80) / (b"sync" + m))
        self.port.send(sync.frames[0])
        heard = set(json.loads(self.hear.stdout.readline())) - {sync.mark}
        self.take_answers()
        return heard


def drops():
    if MODE == "plain":
        return {}
    status = json.loads(subprocess.run([BAILEY, "status", "--instance", INSTANCE, "--json"], check=True, capture_output=True).stdout)
    return {d["reason"]: d["packets"] for d in status["underlay"]["drops"] if d["dir"] == "in"}


def judge(web, case):
    """What is wrong, or None."""
    before = drops() if case.reason else {}
    heard = web.ask(case)
    if heard - {case.mark}:
        return f"heard what was sent before: {heard}"
    if MODE == "plain":
        return "not heard" if case.stack and not heard else None
    if not case.reason:
        return None if heard or not case.stack else "not heard, and it is open"
    if heard or case.port in web.answered:
        return "heard" if heard else "answered"
    after = drops()
    grown = {r for r in after if after[r] > before.get(r, 0)}
    return None if case.reason & grown else f"counted as {sorted(grown)}, not as {sorted(case.reason)}"


def main():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # else packets pass each other on two CPUs
    cases = [*plain_cases(), *flag_cases(), *(extensions6() if V6 else options4()), *fragment_cases(), *length_cases(),
             *source_cases(), *vlan_cases(), *icmp_cases()]
    web, bad, is_open = Web(Port(IFACE)), 0, set()
    for case in cases:
        wrong = judge(web, case)
        bad += wrong is not None
        if wrong:
            print(f"{case.name}: {wrong}")
        if not case.reason:
            is_open.add(case.port)
    time.sleep(0.3)
    web.take_answers()
    web.end()
    for case in cases:
        if MODE == "judged" and case.reason and case.port in web.answered:
            bad += 1
            print(f"{case.name}: answered late")
    served = {c.port: c.name for c in cases if c.name.startswith(("tcp/", "udp/", "ping"))}
    for port, name in served.items():
        if (port in web.answered) != (MODE == "plain" or port in is_open):
            bad += 1
            print(f"{name}: {'answered' if port in web.answered else 'no answer'}")
    shut = [c for c in cases if c.reason]
    print(f"{len(cases)} packets: {len(shut)} to be dropped, of {len(set().union(*(c.reason for c in shut)))} reasons, {bad} wrong")
    sys.exit(bad != 0)


main()
