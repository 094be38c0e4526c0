#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The same random policy as Bailey's YAML and as an nftables ruleset, each on a router of its own; the same packets to both;
which arrive behind them must be the same. usage: nft_differ.py GATE BPFFS DIR POLICIES PACKETS SEED [translate-wrongly]

20-nft.sh makes the namespaces: this one (out) has a-by and a-nf, the peers' side of the two routers, and o-by and o-nf,
behind them. Left out by construction, because the two differ by intent:
  - fragments out of order, overlapping or incomplete: Bailey drops, conntrack reassembles
  - ICMP errors: Bailey believes a flow's own peer alone, conntrack takes any router's (no `related` here)
  - a SYN from the other side of a live flow: Bailey judges it as a new flow of its own direction
  - RST with FIN within a flow: conntrack's list of sane flags, not Bailey's
  - an echo reply where a rule names its type: Bailey lets it pass also when nobody asked, conntrack calls that invalid
  - bad transport checksums and sequence numbers out of the window: conntrack looks, the receiver does in any case
  - a changed policy and a flow that stands: Bailey judges again, conntrack does not; each policy meets new flows
"""
import ctypes
import os
import random
import socket
import struct
import subprocess
import sys
import time

import wire

APPS = 5  # and one that the policy does not name
SELF4, SELF6 = "10.78.0.2", "fd78::2"
FRESH = 30  # policies until IP protocols come round again: without ports, only they keep one policy's flows from the next's


def app_id(n):
    return "%02x" % (n * 37 + 1) * 20


class Node:
    def __init__(self, n, app):
        self.app, self.v4, self.v6 = app, "10.77.0.%d" % (10 + n), "fd77::%d" % (10 + n)


PEERS = [Node(n, n % (APPS + 1)) for n in range(9)]
STRANGER = Node(90, None)


class Policy:
    def __init__(self, rnd, n):
        self.other = [150 + n % FRESH * 3 + i for i in range(3)]
        self.self_app = rnd.randrange(APPS)
        self.rules = [self.rule(rnd) for _ in range(rnd.randint(1, 10))]

    @staticmethod
    def side(rnd):
        return None if rnd.random() < 0.25 else sorted(rnd.sample(range(APPS), rnd.randint(1, 3)))

    def port(self, rnd):
        a = rnd.randint(1, 12)
        kinds = ["tcp", "udp", "icmp", "icmpv6", "any", "icmp/8", "icmpv6/128", "proto/%d" % rnd.choice(self.other)]
        if rnd.random() < 0.35:
            return rnd.choice(kinds)
        return "%s/%s" % (rnd.choice(("tcp", "udp")), a if rnd.random() < 0.5 else "%d-%d" % (a, a + rnd.randint(1, 4)))

    def rule(self, rnd):
        return {"from": self.side(rnd), "to": self.side(rnd), "allow": rnd.random() < 0.75,
                "ports": [self.port(rnd) for _ in range(rnd.randint(1, 3))]}

    def yaml(self):
        lines = ["version: 1", "apps:"]
        lines += ["  app%d: { app-id: %s }" % (a, app_id(a)) for a in range(APPS)]
        lines.append("rules:")
        for r in self.rules:
            sides = ["any-attested" if r[k] is None else "[%s]" % ", ".join("app%d" % a for a in r[k])
                     for k in ("from", "to")]
            lines.append("  - { from: %s, to: %s, %s: [%s] }"
                         % (sides[0], sides[1], "allow" if r["allow"] else "deny", ", ".join(r["ports"])))
        return "\n".join(lines) + "\n"

    def cast(self):
        me = "app%d %s %s\n" % (self.self_app, SELF4, SELF6)
        return me + "".join("%s %s %s\n" % (app_id(p.app), p.v4, p.v6) for p in PEERS)

    def names_icmp(self, peer, out, word, kind):
        """Does an allow rule name this type, towards this node or from it?"""
        here, there = ("from", "to") if out else ("to", "from")
        return any(r["allow"] and (r[here] is None or self.self_app in r[here]) and
                   (r[there] is None or peer.app in r[there]) and
                   {"any", word, "%s/%d" % (word, kind)} & set(r["ports"]) for r in self.rules)

    def nft(self, wrongly):
        """Deny before allow, whatever the order; then nothing."""
        out = ["flush ruleset", "table inet judge {", "chain c {", "type filter hook forward priority 0; policy drop;",
               "ct state invalid drop", "ct state established accept"]
        for allow in (False, True):
            for r in self.rules:
                if r["allow"] == allow and not (wrongly and not allow):
                    out += self.nft_rule(r)
        return "\n".join(out + ["}", "}"]) + "\n"

    def nft_rule(self, rule):
        for here, there, iif in (("to", "from", "in0"), ("from", "to", "in1")):
            if rule[here] is not None and self.self_app not in rule[here]:
                continue
            peers = [p for p in PEERS if rule[there] is None or p.app in rule[there]]
            for family, me, addrs in (("ip", SELF4, [p.v4 for p in peers]), ("ip6", SELF6, [p.v6 for p in peers])):
                mine, theirs = ("daddr", "saddr") if here == "to" else ("saddr", "daddr")
                for port in rule["ports"] if addrs else ():
                    match = nft_port(port, family)
                    if match is not None:
                        yield 'iifname "%s" %s %s %s %s %s { %s } %s %s' % (
                            iif, family, mine, me, family, theirs, ", ".join(addrs), match,
                            "accept" if rule["allow"] else "drop")


def nft_port(port, family):
    word, _, number = port.partition("/")
    if word == "any":
        return ""
    if word == "proto":
        return "meta l4proto %s" % number
    if word in ("tcp", "udp"):
        return "%s dport %s" % (word, number) if number else "meta l4proto %s" % word
    if (word == "icmp") != (family == "ip"):
        return None
    return "%s type %s" % (word, number) if number else "meta l4proto %s" % word


class Script:
    """Packets in order: (behind, frame). behind: sent from the side of this node, not of the peers."""

    def __init__(self, rnd):
        self.rnd, self.mark, self.serial = rnd, 0, 0
        self.packets, self.told = [], {}

    def add(self, behind, src, dst, proto, what, pieces=False, **fields):
        self.mark = self.mark % 65000 + 1
        s, d = wire.address(src), wire.address(dst)
        body = wire.segment(s, d, proto, **fields)
        if pieces:
            frames = list(wire.fragments(s, d, proto, body, self.mark, 24))
        elif len(s) == 4:
            options = b"\1" * (4 * self.rnd.randrange(3)) if self.rnd.random() < 0.2 else b""
            frames = [wire.ip4(s, d, proto, body, self.mark, options)]
        else:
            ext = self.rnd.choice([(), (), (), (wire.HOP_BY_HOP,), (wire.DEST_OPTS,), (wire.HOP_BY_HOP, wire.DEST_OPTS)])
            frames = [wire.ip6(s, d, proto, body, self.mark, ext)]
        self.packets += [(behind, wire.ether(f)) for f in frames]
        self.told[self.mark, s, d] = "%s -> %s protocol %d %s %s" % (src, dst, proto, what, fields)

    def flow(self):
        rnd = self.rnd
        self.serial += 1
        peer = STRANGER if rnd.random() < 0.07 else rnd.choice(PEERS)
        v6, out = rnd.random() < 0.5, rnd.random() < 0.5
        me, them = (SELF6, peer.v6) if v6 else (SELF4, peer.v4)
        if rnd.random() < 0.05:
            me = "fd78::9" if v6 else "10.78.0.9"  # no address of this node
        src, dst = (me, them) if out else (them, me)
        there = lambda what, **f: self.add(out, src, dst, what=what, **f)
        back = lambda what, **f: self.add(not out, dst, src, what=what, **f)
        kind = rnd.choice([self.tcp, self.tcp, self.udp, self.udp, self.echo, self.other, self.stray])
        self.peer, self.out = peer, out
        kind(there, back, rnd.randint(1, 17), 1024 + self.serial % 60000, v6)

    def tcp(self, there, back, port, own, _v6):
        a, b = dict(proto=wire.TCP, sport=own, dport=port), dict(proto=wire.TCP, sport=port, dport=own)
        there("SYN", flags=wire.SYN, seq=1000, **a)
        if self.rnd.random() < 0.5:
            return
        back("SYN ACK", flags=wire.SYN | wire.ACK, seq=5000, ack=1001, **b)
        there("ACK", flags=wire.ACK, seq=1001, ack=5001, **a)
        there("data", flags=wire.ACK | wire.PSH, seq=1001, ack=5001, payload=b"x" * 40, pieces=self.rnd.random() < 0.2, **a)
        back("data", flags=wire.ACK, seq=5001, ack=1041, payload=b"y", **b)
        end = self.rnd.random()
        if end < 0.3:
            there("RST", flags=wire.RST | wire.ACK, seq=1041, ack=5002, **a)
            there("SYN again", flags=wire.SYN, seq=90000, **a)
        elif end < 0.6:
            back("FIN", flags=wire.FIN | wire.ACK, seq=5002, ack=1041, **b)
            there("FIN", flags=wire.FIN | wire.ACK, seq=1041, ack=5003, **a)
            back("last ACK", flags=wire.ACK, seq=5003, ack=1042, **b)

    def udp(self, there, back, port, own, _v6):
        a, b = dict(proto=wire.UDP, sport=own, dport=port), dict(proto=wire.UDP, sport=port, dport=own)
        there("datagram", payload=b"q" * 60, pieces=self.rnd.random() < 0.3, **a)
        if self.rnd.random() < 0.5:
            back("answer", payload=b"r" * 60, pieces=self.rnd.random() < 0.3, **b)
            there("datagram", **a)

    def echo(self, there, back, _port, own, v6):
        ask, reply = (128, 129) if v6 else (8, 0)
        proto = wire.ICMPV6 if v6 else wire.ICMP
        there("echo request", proto=proto, kind=ask, ident=own, payload=b"p" * 40, pieces=self.rnd.random() < 0.2)
        word = "icmpv6" if v6 else "icmp"
        if not self.policy.names_icmp(self.peer, not self.out, word, reply):
            back("echo reply", proto=proto, kind=reply, ident=own, payload=b"p" * 40)

    def other(self, there, back, _port, own, _v6):
        proto = self.rnd.choice(self.policy.other)
        there("packet", proto=proto, ident=own)
        back("answer", proto=proto, ident=own)

    def stray(self, there, _back, port, own, _v6):
        odd = self.rnd.choice([0, wire.FIN, wire.RST, wire.ACK, wire.FIN | wire.ACK, wire.SYN | wire.ACK, wire.SYN | wire.FIN,
                               wire.SYN | wire.RST, wire.FIN | wire.PSH | wire.URG, wire.RST | wire.ACK])
        there("stray flags %#x" % odd, proto=wire.TCP, sport=own, dport=port, flags=odd, seq=7, ack=9)


def flush_conntrack(netns):
    """IPCTNL_MSG_CT_DELETE without a tuple, said in the namespace."""
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(netns, os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(there, 0) < 0:
        raise OSError(ctypes.get_errno(), "setns")
    try:
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        s.send(struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 5, 1, 0, 0, 0, 0))
        error = struct.unpack("=i", s.recv(4096)[16:20])[0]
        if error:
            raise OSError(-error, "conntrack flush")
    finally:
        libc.setns(here, 0)
        os.close(here)
        os.close(there)


class Judge:
    def __init__(self, gate, bpffs, folder, by, nf):
        self.gate, self.bpffs, self.folder, self.by, self.nf = gate, bpffs, folder, by, nf
        self.side = {world: (wire.Port("a-" + world), wire.Port("o-" + world)) for world in ("by", "nf")}

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        return path

    def at_gate(self, *words):
        subprocess.run(["nsenter", "--net=" + self.by, self.gate, self.bpffs, "in0", *words], check=True)

    def forget(self):
        self.at_gate("off")

    def load(self, policy, wrongly):
        self.at_gate(self.write("cast", policy.cast()), self.write("policy.yaml", policy.yaml()))
        subprocess.run(["nsenter", "--net=" + self.nf, "nft", "-f", self.write("rules.nft", policy.nft(wrongly))], check=True)
        flush_conntrack(self.nf)

    def run(self, packets, told):
        """What came out behind each router. What the routers themselves say (MLD, ICMP) is none of ours."""
        arrived = {"by": set(), "nf": set()}
        for behind, frame in packets:
            for world in self.side:
                self.side[world][behind].send(frame)
        quiet = time.monotonic() + 0.05
        while time.monotonic() < quiet:
            for world, ports in self.side.items():
                for frame in (frame for port in ports for frame in port.hear()):
                    arrived[world].add(wire.ident_of(frame))
                    quiet = time.monotonic() + 0.05
        return {world: marks & told.keys() for world, marks in arrived.items()}


def main(gate, bpffs, folder, by, nf, policies, per_policy, seed, wrongly=None):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one backlog: packets of both sides stay in order
    rnd = random.Random(int(seed))
    judge = Judge(gate, bpffs, folder, by, nf)
    script = Script(rnd)
    sent = passed = 0
    for n in range(int(policies)):
        policy = Policy(rnd, n)
        if n % FRESH == 0:
            judge.forget()
        judge.load(policy, wrongly)
        script.policy, script.packets, script.told = policy, [], {}
        while len(script.packets) < int(per_policy):
            script.flow()
        got = judge.run(script.packets, script.told)
        sent += len(script.told)
        passed += len(got["by"])
        differ = sorted(got["by"] ^ got["nf"], key=str)
        if differ:
            print("policy %d: %s: passes by %s alone (%d packets differ)"
                  % (n, script.told[differ[0]], "Bailey" if differ[0] in got["by"] else "nftables", len(differ)))
            print(policy.yaml() + policy.cast() + policy.nft(wrongly))
            return 1
    print("%d packets of %s policies: nftables and Bailey agree; %d passed" % (sent, policies, passed))
    return 0 if passed > sent / 20 else 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
