# SPDX-License-Identifier: Apache-2.0
"""Bytes without an end, both ways, that are taken slowly, so that the kernel always has some to hand over.

peer HOST PORT CERT NAME DIR [up|down]   by TLS with CERT.pem and CERT.key; the first bytes are NAME
backend PORT DIR [h2]                    each connection is of whoever names himself
app PORT NAME DIR APP:PORT:INSTANCE...   an application's own HTTP/2, in the clear: a stream down of each of them on one connection

With `up` and `down` by HTTP/2, and one way: a request's body, or an answer's. (Both would wait for each other: what gives leave to send
comes behind what is taken slowly.) Of `app` each target needs a backend of its own. How many bytes came is in DIR/peer-NAME and DIR/backend-NAME, behind them `reset` or `end`.
"""
import select
import socket
import ssl
import struct
import sys
import threading
import time

NOT_NOW = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


BLOCK = b"x" * 16384


class Plain:
    """Bytes as they are."""

    def __init__(self, kind, name):
        self.name, self.over, self.body = name, "", b""
        self.due = name.encode().ljust(8) if name else b""

    def body_came(self, data):
        if not self.name:
            self.body += data
            self.name = self.body[:8].decode("ascii").strip() if len(self.body) >= 8 else ""

    def came(self, data):
        self.body_came(data)

    def more(self):
        data, self.due = self.due + (BLOCK if self.name else b""), b""
        return data


DATA, HEADERS, RESET, SETTINGS, GOAWAY, WINDOW = 0, 1, 3, 4, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGE, USUAL = 0x7FFFFFFF, 65535


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    return b"\0%c%b%c%b" % (len(name), name, len(value), value)


ASK = b"".join(literal(*f) for f in ((b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"h"), (b":path", b"/")))


class Http2(Plain):
    """It takes as much as there can be. HPACK without a table, and what comes of it is not read: a request that ends with its head
    asks for bytes, another one brings them."""

    def __init__(self, kind, name):
        super().__init__(kind, name)
        self.first, self.sends, self.rest = self.due, 1 if kind == "up" else 0, b""
        self.initial, self.window, self.skip = USUAL, {0: USUAL, 1: USUAL}, 0 if name else len(PREFACE)
        self.due = PREFACE if name else b""
        self.due += frame(SETTINGS, 0, 0, struct.pack(">HI", 4, LARGE)) + frame(WINDOW, 0, 0, struct.pack(">I", LARGE - USUAL))
        if name:
            self.due += frame(HEADERS, END_HEADERS | (END_STREAM if kind == "down" else 0), 1, ASK)
        self.answers = not name

    def came(self, data):
        self.rest += data[self.skip:]
        self.skip = max(0, self.skip - len(data))
        while len(self.rest) >= 9 and len(self.rest) >= 9 + int.from_bytes(self.rest[:3], "big"):
            size = int.from_bytes(self.rest[:3], "big")
            kind, flags, stream = struct.unpack(">BBI", self.rest[3:9])
            self.frame_came(kind, flags, stream, self.rest[9:9 + size])
            self.rest = self.rest[9 + size:]

    def frame_came(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                key, value = struct.unpack(">HI", payload[at:at + 6])
                if key == 4:
                    self.window = {k: v + (value - self.initial if k else 0) for k, v in self.window.items()}
                    self.initial = value
            self.due += frame(SETTINGS, ACK, 0)
        elif kind == WINDOW:
            self.window[stream] = self.window.get(stream, self.initial) + int.from_bytes(payload, "big")
        elif kind == HEADERS and self.answers:
            self.due += frame(HEADERS, END_HEADERS, stream, b"\x88")
            self.sends = stream if flags & END_STREAM else self.sends
        elif kind == DATA:
            self.body_came(payload)
        elif kind in (RESET, GOAWAY):
            self.over = "reset"

    def more(self):
        data, self.due = self.due, b""
        n = min(len(BLOCK), self.window[0], self.window.setdefault(self.sends, self.initial)) if self.sends else 0
        if n >= 8:
            body, self.first = (self.first + BLOCK)[:n], b""
            for stream in (0, self.sends):
                self.window[stream] -= n
            data += frame(DATA, 0, self.sends, body)
        return data


class App(Http2):
    """Streams to several peers, and none of them ends."""

    def __init__(self, name, targets):
        super().__init__("down", name)
        self.due, self.sends = self.due[:self.due.index(ASK) - 9], 0
        for i, target in enumerate(targets):
            fields = zip((b"app", b"port", b"instance"), target.split(":"))
            head = ASK + b"".join(literal(b"x-dstack-target-" + key, value.encode()) for key, value in fields)
            self.due += frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, head)


def pump(s, talk, where, end):
    s.setblocking(False)
    block, came, due, why, out = b"", 0, 0.0, "", None
    while not why:
        select.select([s], [s] if block else [], [], 0.01)
        block = block or talk.more()
        try:
            block = block[s.send(block) if block else 0:]
        except NOT_NOW:
            pass
        except OSError:
            why = "reset"
        if time.monotonic() < due and not why:
            time.sleep(0.005)
            continue
        due = time.monotonic() + 0.02
        try:
            got = s.recv(4096)
            came += len(got)
            talk.came(got)
            why = why or talk.over or ("" if got else "end")
        except NOT_NOW:
            pass
        except OSError:
            why = "reset"
        if talk.name:
            out = out or open("%s/%s-%s" % (where, end, talk.name), "w", encoding="ascii")
            out.seek(0)
            out.write("%d %s\n" % (came, why))
            out.flush()


def peer(host, port, cert, name, where, kind=""):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    ctx.load_cert_chain(cert + ".pem", cert + ".key")
    ctx.set_alpn_protocols(["h2"] if kind else [])
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    raw.connect((host, int(port)))
    with ctx.wrap_socket(raw) as s:
        pump(s, (Http2 if kind else Plain)(kind, name), where, "peer")


def app(port, name, where, *targets):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        s.connect(("127.0.0.1", int(port)))
        pump(s, App(name, targets), where, "app")


def backend_one(s, where, kind):
    with s:
        pump(s, (Http2 if kind else Plain)(kind, ""), where, "backend")


def backend(port, where, kind=""):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(port)))
        listener.listen(8)
        while True:
            threading.Thread(target=backend_one, args=(listener.accept()[0], where, kind), daemon=True).start()


if __name__ == "__main__":
    {"peer": peer, "backend": backend, "app": app}[sys.argv[1]](*sys.argv[2:])
