#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A TLS 1.3 client that can lie, against a server that asks for certificates.

tls13.py HOST PORT OWN OTHER    OWN.pem and OWN.key are whom the server believes, OTHER too, but another

Prints a line for each attempt: its name, and what came of it: `app ID` (the backend's word for whom it thinks to speak
to), an HTTP status, `alert NAME`, or `closed`. With AES-128-GCM, SHA-256 and X25519 alone; RFC 8446."""
import base64
import hashlib
import hmac
import re
import socket
import struct
import sys

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CCS, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
CLIENT_HELLO, TICKET, CERTIFICATE, CERT_REQUEST, CERT_VERIFY, FINISHED, KEY_UPDATE = 1, 4, 11, 13, 15, 20, 24
ECDSA_SHA256, ECDSA_SHA384, RSA_PSS, RSA_PKCS1, ECDSA_SHA1 = 0x0403, 0x0503, 0x0804, 0x0401, 0x0203
ALERTS = {0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
          42: "bad_certificate", 43: "unsupported_certificate", 46: "certificate_unknown", 47: "illegal_parameter",
          48: "unknown_ca", 50: "decode_error", 51: "decrypt_error", 70: "protocol_version", 80: "internal_error",
          109: "missing_extension", 116: "certificate_required"}
REQUEST = b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Ended(Exception):
    pass


def vector(size, data):
    return len(data).to_bytes(size, "big") + data


def message(kind, body):
    return bytes([kind]) + vector(3, body)


def expand(secret, label, context, length):
    info = struct.pack("!H", length) + vector(1, b"tls13 " + label) + vector(1, context)
    out, block, n = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(secret, block + info + bytes([n]), "sha256")
        out, n = out + block, n + 1
    return out[:length]


def derive(secret, label, transcript=b""):
    return expand(secret, label, hashlib.sha256(transcript).digest(), 32)


def extract(salt, secret):
    return hmac.digest(salt, secret, "sha256")


class Keys:
    def __init__(self, secret):
        self.secret, self.n = secret, 0
        self.aead, self.iv = AESGCM(expand(secret, b"key", b"", 16)), expand(secret, b"iv", b"", 12)

    def nonce(self):
        n = int.from_bytes(self.iv, "big") ^ self.n
        self.n += 1
        return n.to_bytes(12, "big")

    def seal(self, kind, data, pad=0):
        inner = data + bytes([kind]) + bytes(pad)
        head = struct.pack("!BHH", DATA, 0x0303, len(inner) + 16)
        return head + self.aead.encrypt(self.nonce(), inner, head)

    def open(self, head, data):
        inner = self.aead.decrypt(self.nonce(), data, head).rstrip(b"\0")
        return inner[-1], inner[:-1]

    def next(self):
        return Keys(expand(self.secret, b"traffic upd", b"", 32))


class Identity:
    def __init__(self, name):
        with open(name + ".pem", encoding="ascii") as f:
            self.chain = [base64.b64decode(p) for p in re.findall("-----BEGIN CERTIFICATE-----(.*?)-----END", f.read(), re.S)]
        with open(name + ".key", "rb") as f:
            self.key = serialization.load_pem_private_key(f.read(), None)

    def certificate(self):
        return message(CERTIFICATE, vector(1, b"") + vector(3, b"".join(vector(3, c) + vector(2, b"") for c in self.chain)))

    def verify(self, transcript, algorithm=ECDSA_SHA256, signature=None, context=b"TLS 1.3, client CertificateVerify"):
        text = b" " * 64 + context + b"\0" + hashlib.sha256(transcript).digest()
        if signature is None:
            how = hashes.SHA384() if algorithm == ECDSA_SHA384 else hashes.SHA256()
            signature = self.key.sign(text, ec.ECDSA(how))
        return message(CERT_VERIFY, struct.pack("!H", algorithm) + vector(2, signature))


class Client:
    def __init__(self, **hello):
        self.sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
        self.sock.settimeout(5)
        self.keys_in = self.keys_out = None
        self.pending, self.transcript, self.tickets, self.early = b"", b"", [], False
        self.hello(**hello)

    # --- records
    def raw(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass # it has ended already, and why is yet to be read

    def send(self, kind, data, pad=0):
        if self.keys_out:
            self.raw(self.keys_out.seal(kind, data, pad))
        else:
            self.raw(struct.pack("!BHH", kind, 0x0301, len(data)) + data)

    def exactly(self, n):
        got = b""
        while len(got) < n:
            try:
                part = self.sock.recv(n - len(got))
            except ConnectionResetError:
                raise Ended("closed") from None
            except TimeoutError:
                raise Ended("silence") from None
            if not part:
                raise Ended("closed")
            got += part
        return got

    def record(self):
        head = self.exactly(5)
        kind, _, length = struct.unpack("!BHH", head)
        data = self.exactly(length)
        if kind == DATA and self.keys_in:
            kind, data = self.keys_in.open(head, data)
        if kind == ALERT and data[1] != 0:
            raise Ended("alert " + ALERTS.get(data[1], str(data[1])))
        if kind == ALERT:
            raise Ended("closed")
        return kind, data

    # --- handshake
    def message(self, wanted):
        while len(self.pending) < 4 or len(self.pending) < 4 + int.from_bytes(self.pending[1:4], "big"):
            kind, data = self.record()
            if kind == HANDSHAKE:
                self.pending += data
        size = 4 + int.from_bytes(self.pending[1:4], "big")
        got, self.pending = self.pending[:size], self.pending[size:]
        self.transcript += got
        if got[0] not in wanted:
            raise Ended("message %d" % got[0])
        return got

    def hello(self, versions=(0x0304,), psk=None, early=False, binder=None, pieces=0):
        self.private = x25519.X25519PrivateKey.generate()
        self.psk = psk
        share = self.private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        parts = [(43, vector(1, b"".join(struct.pack("!H", v) for v in versions))), (10, vector(2, struct.pack("!H", 29))),
                 (13, vector(2, struct.pack("!HHH", ECDSA_SHA256, RSA_PSS, RSA_PKCS1))), (45, vector(1, b"\1")),
                 (51, vector(2, struct.pack("!H", 29) + vector(2, share)))]
        if early:
            parts.append((42, b""))
        if psk:
            parts.append((41, vector(2, vector(2, psk["ticket"]) + struct.pack("!I", psk["add"])) + vector(2, vector(1, bytes(32)))))
        body = b"\3\3" + hashlib.sha256(share).digest() + vector(1, b"\7" * 32) + vector(2, b"\x13\x01") + vector(1, b"\0")
        hello = message(CLIENT_HELLO, body + vector(2, b"".join(struct.pack("!H", t) + vector(2, d) for t, d in parts)))
        if psk:
            base = derive(extract(bytes(32), psk["secret"]), b"res binder")
            proof = hmac.digest(expand(base, b"finished", b"", 32), hashlib.sha256(hello[:-35]).digest(), "sha256")
            hello = hello[:-32] + (binder or proof)
        self.transcript = hello
        for part in [hello[i:i + pieces] for i in range(0, len(hello), pieces)] if pieces else [hello]:
            self.send(HANDSHAKE, part)
        if early:
            keys = Keys(derive(extract(bytes(32), psk["secret"]), b"c e traffic", hello))
            self.raw(keys.seal(DATA, REQUEST))

    def server_flight(self):
        got = self.message({2})
        at = 4 + 2 + 32 + 1 + got[38] + 3
        extensions, share, self.resumed = got[at + 2:], None, False
        while extensions:
            kind, size = struct.unpack("!HH", extensions[:4])
            if kind == 51:
                share = extensions[8:4 + size]
            self.resumed |= kind == 41
            extensions = extensions[4 + size:]
        shared = self.private.exchange(x25519.X25519PublicKey.from_public_bytes(share))
        early = extract(bytes(32), self.psk["secret"] if self.resumed else bytes(32))
        self.handshake = extract(derive(early, b"derived"), shared)
        self.mine = derive(self.handshake, b"c hs traffic", self.transcript)
        self.keys_in = Keys(derive(self.handshake, b"s hs traffic", self.transcript))
        self.keys_out = Keys(self.mine)
        self.early = b"\0\x2a" in self.message({8})[6:]
        self.asks = not self.resumed
        if self.asks:
            for kind in (CERT_REQUEST, CERTIFICATE, CERT_VERIFY):
                self.message({kind})
        self.message({FINISHED})
        self.server_done = self.transcript
        return self

    def say(self, kind, data):
        """A handshake message that counts."""
        self.transcript += data
        self.send(HANDSHAKE, data, kind)

    def finished(self, wrong=False):
        proof = hmac.digest(expand(self.mine, b"finished", b"", 32), hashlib.sha256(self.transcript).digest(), "sha256")
        if wrong:
            proof = bytes([proof[0] ^ 1]) + proof[1:]
        self.say(0, message(FINISHED, proof))
        master = extract(derive(self.handshake, b"derived"), bytes(32))
        self.keys_out = Keys(derive(master, b"c ap traffic", self.server_done))
        self.keys_in = Keys(derive(master, b"s ap traffic", self.server_done))
        self.resumption = derive(master, b"res master", self.transcript)
        return self

    def prove(self, who):
        self.server_flight()
        if self.asks:
            self.say(0, who.certificate())
            self.say(0, who.verify(self.transcript))
        return self.finished()

    # --- afterwards
    def post(self, data):
        while data:
            kind, size = data[0], 4 + int.from_bytes(data[1:4], "big")
            body, data = data[4:size], data[size:]
            if kind == TICKET:
                add, n = struct.unpack("!I", body[4:8])[0], body[8]
                size = int.from_bytes(body[9 + n:11 + n], "big")
                self.tickets.append({"ticket": body[11 + n:11 + n + size], "add": add, "more": body[11 + n + size:],
                                     "secret": expand(self.resumption, b"resumption", body[9:9 + n], 32)})
            elif kind == KEY_UPDATE:
                self.keys_in = self.keys_in.next()

    def answer(self):
        """What comes back, in a few words."""
        got = b""
        try:
            while True:
                kind, data = self.record()
                if kind == DATA:
                    got += data
                elif kind == HANDSHAKE:
                    self.post(data)
        except Ended as e:
            if not got:
                return str(e)
        app = re.search(rb"Your app_id is: (\w+)", got)
        return "app " + app[1].decode() if app else got.split(b"\r\n")[0].decode("latin-1")

    def ask(self):
        self.send(DATA, REQUEST)
        return self.answer()


OWN, OTHER = Identity(sys.argv[3]), Identity(sys.argv[4])


def with_certificate(verify, certificate=None):
    """The client's flight with `verify` in the place of an honest CertificateVerify; None: without."""
    c = Client().server_flight()
    c.say(0, certificate or OWN.certificate())
    text = verify(c)
    if text:
        c.say(0, text)
    return c.finished().ask()


def honest():
    return Client().prove(OWN).ask()


def no_certificate():
    return with_certificate(lambda c: None, message(CERTIFICATE, vector(1, b"") + vector(3, b"")))


def no_certificate_but_verify():
    return with_certificate(lambda c: OWN.verify(c.transcript), message(CERTIFICATE, vector(1, b"") + vector(3, b"")))


def nothing_but_finished():
    return Client().server_flight().finished().ask()


def wrong_finished():
    c = Client().server_flight()
    c.say(0, OWN.certificate())
    c.say(0, OWN.verify(c.transcript))
    return c.finished(wrong=True).ask()


def verify_before_certificate():
    c = Client().server_flight()
    c.say(0, OWN.verify(c.transcript))
    c.say(0, OWN.certificate())
    return c.finished().ask()


def two_certificates():
    c = Client().server_flight()
    c.say(0, OTHER.certificate())
    c.say(0, OWN.certificate())
    c.say(0, OWN.verify(c.transcript))
    return c.finished().ask()


def request_before_finished():
    c = Client().server_flight()
    c.say(0, OWN.certificate())
    c.say(0, OWN.verify(c.transcript))
    c.send(DATA, REQUEST)
    return c.finished().answer()


def plain_text_finished():
    c = Client().server_flight()
    c.keys_out = None
    return c.finished().ask()


def record(size, kind=DATA):
    c = Client().prove(OWN)
    c.send(kind, b"x" * size)
    return c.answer()


def long_record():
    c = Client().prove(OWN)
    c.raw(struct.pack("!BHH", DATA, 0x0303, 16384 + 257) + bytes(16384 + 257))
    return c.answer()


def torn_record():
    c = Client().prove(OWN)
    sealed = c.keys_out.seal(DATA, REQUEST)
    c.raw(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    return c.answer()


def replayed_record():
    c = Client().prove(OWN)
    sealed = c.keys_out.seal(DATA, b"GET /hello HTTP/1.1\r\n")
    c.raw(sealed + sealed)
    return c.answer()


def flood(kind, data, n, pad=0):
    c = Client().prove(OWN)
    for _ in range(n):
        c.send(kind, data, pad)
        if kind == HANDSHAKE and data[:1] == bytes([KEY_UPDATE]):
            c.keys_out = c.keys_out.next()
    return c.ask()


def key_updates():
    """Ends by an alert, or by a reset that overtakes it."""
    said = flood(HANDSHAKE, message(KEY_UPDATE, b"\0"), 200)
    return "cut" if said in ("closed", "alert decode_error") else said


def afterwards(data):
    c = Client().prove(OWN)
    c.send(HANDSHAKE, data)
    return c.ask()


def key_update(asks):
    c = Client().prove(OWN)
    c.send(HANDSHAKE, message(KEY_UPDATE, bytes([asks])))
    c.keys_out = c.keys_out.next()
    return c.ask()


def in_pieces():
    c = Client(pieces=1).server_flight()
    flight = OWN.certificate()
    c.transcript += flight
    flight += OWN.verify(c.transcript)
    c.transcript += flight[len(OWN.certificate()):]
    for i in range(0, len(flight), 200):
        c.send(HANDSHAKE, flight[i:i + 200], pad=3)
    return c.finished().ask()


def ticket():
    c = Client().prove(OWN)
    c.ask()
    return c.tickets[0]


def resumed(change=None, **hello):
    psk = ticket()
    if change:
        psk = change(dict(psk))
    c = Client(psk=psk, **hello).server_flight()
    if hello.get("early") and c.early:
        return "early data taken"
    if not c.resumed:
        c.say(0, message(CERTIFICATE, vector(1, b"") + vector(3, b"")))
    return ("resumed, " if c.resumed else "not resumed, ") + c.finished().ask()


def altered(psk):
    psk["ticket"] = psk["ticket"][:-1] + bytes([psk["ticket"][-1] ^ 1])
    return psk


def stolen(psk):
    psk["secret"] = bytes(32)
    return psk


def ticket_for_early_data():
    return "yes" if b"\0\x2a" in ticket()["more"] else "no"


def only_version(version):
    return Client(versions=(version,)).server_flight().finished().ask()


TRIES = [
    ("honest", honest), ("in pieces of records", in_pieces), ("a key update", lambda: key_update(0)),
    ("a key update that asks for one", lambda: key_update(1)), ("resumption", resumed),
    ("no certificate", no_certificate), ("no certificate, but a proof", no_certificate_but_verify),
    ("no certificate message", nothing_but_finished), ("a certificate without a proof", lambda: with_certificate(lambda c: None)),
    ("the proof first", verify_before_certificate), ("two certificates, a proof of one", two_certificates),
    ("a proof by another key", lambda: with_certificate(lambda c: OTHER.verify(c.transcript))),
    ("a proof of another session", lambda: with_certificate(lambda c: OWN.verify(b"x" + c.transcript))),
    ("a server's proof", lambda: with_certificate(lambda c: OWN.verify(c.transcript, context=b"TLS 1.3, server CertificateVerify"))),
    ("a proof of no bytes", lambda: with_certificate(lambda c: OWN.verify(c.transcript, signature=b""))),
    ("a proof by SHA-384 on P-256", lambda: with_certificate(lambda c: OWN.verify(c.transcript, ECDSA_SHA384))),
    ("a proof by SHA-1", lambda: with_certificate(lambda c: OWN.verify(c.transcript, ECDSA_SHA1))),
    ("a proof said to be RSA", lambda: with_certificate(lambda c: OWN.verify(c.transcript, RSA_PSS))),
    ("a proof said to be PKCS 1", lambda: with_certificate(lambda c: OWN.verify(c.transcript, RSA_PKCS1))),
    ("a certificate that is none", lambda: with_certificate(lambda c: OWN.verify(c.transcript), message(
        CERTIFICATE, vector(1, b"") + vector(3, vector(3, b"\x30\x03abc") + vector(2, b""))))),
    ("a certificate for another request", lambda: with_certificate(lambda c: OWN.verify(c.transcript), message(
        CERTIFICATE, vector(1, b"x") + OWN.certificate()[5:]))),
    ("a wrong Finished", wrong_finished), ("Finished in plain text", plain_text_finished),
    ("a request before Finished", request_before_finished),
    ("TLS 1.2", lambda: only_version(0x0303)), ("a version that nobody knows", lambda: only_version(0x0305)),
    ("a record that is too long", long_record), ("more text than a record has", lambda: record(16385)),
    ("a torn record", torn_record), ("a record twice", replayed_record), ("a heartbeat", lambda: record(3, 24)),
    ("empty records without end", lambda: flood(DATA, b"", 200)),
    ("empty records with padding without end", lambda: flood(DATA, b"", 200, 1000)),
    ("an empty handshake record", lambda: flood(HANDSHAKE, b"", 1)),
    ("key updates without end", key_updates),
    ("a key update with another word", lambda: afterwards(message(KEY_UPDATE, b"\2"))),
    ("a key update that is too long", lambda: afterwards(message(KEY_UPDATE, b"\0\0"))),
    ("another handshake", lambda: afterwards(Client().transcript)),
    ("a certificate afterwards", lambda: afterwards(OTHER.certificate())),
    ("a ticket of the client's", lambda: afterwards(message(TICKET, bytes(8) + vector(1, b"") + vector(2, b"x") + vector(2, b"")))),
    ("a request for certificates", lambda: afterwards(message(CERT_REQUEST, vector(1, b"") + vector(2, b"")))),
    ("Finished again", lambda: afterwards(message(FINISHED, bytes(32)))),
    ("a ticket that was altered", lambda: resumed(altered)), ("a ticket without its secret", lambda: resumed(stolen)),
    ("a ticket for early data", ticket_for_early_data), ("early data", lambda: resumed(early=True)),
    ("honest again", honest),
]

for name, attempt in TRIES:
    try:
        print("%s: %s" % (name, attempt()), flush=True)
    except Ended as e:
        print("%s: %s" % (name, e), flush=True)
    except OSError as e:
        print("%s: %s" % (name, type(e).__name__), flush=True)
