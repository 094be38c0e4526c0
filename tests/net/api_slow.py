# SPDX-License-Identifier: Apache-2.0
"""Slow clients of the REST API's socket: a third says nothing, a third sends its head a byte at a time, a third its body.

api_slow.py bound PATH N   N of them, then one that is quick. It is answered when the first slow one was cut, not before; then
                           all of them are cut, without a word. Prints what was seen.
api_slow.py hold PATH N    N of them, a new one for each that is cut, until it is killed.
"""
import selectors
import socket
import sys
import time

HEAD = b"GET /health HTTP/1.1\r\nHost: vpc-server\r\n"
STARTS = [b"", HEAD + b"x-slow: ", HEAD + b"Content-Length: 60000\r\n\r\n"]
PATIENCE_S = 120


class Slow:
    def __init__(self, selector, path, kind):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(path)
        self.sock.setblocking(False)
        self.kind = kind
        self.start = STARTS[kind]
        selector.register(self.sock, selectors.EVENT_READ, self)

    def drip(self):
        data = self.start or (b"x" if self.kind else b"")
        try:
            if data:
                self.sock.send(data)
            self.start = b""
        except OSError:
            pass  # cut, or the kernel's buffer is full: the reading end says which

    def read(self):
        try:
            return self.sock.recv(4096)
        except BlockingIOError:
            return None
        except OSError:
            return b""


def turn(selector, last):
    """One turn of at most a second: what can be read; each slow one sends a byte a second."""
    now = time.monotonic()
    if now - last >= 1:
        for key in list(selector.get_map().values()):
            if isinstance(key.data, Slow):
                key.data.drip()
        last = now
    return [key for key, _ in selector.select(1)], last


def bound(path, count):
    selector = selectors.DefaultSelector()
    slow = [Slow(selector, path, i % 3) for i in range(count)]
    quick = socket.socket(socket.AF_UNIX)
    quick.connect(path)
    quick.send(HEAD + b"\r\n")
    selector.register(quick, selectors.EVENT_READ, None)
    cut = words = 0
    answer = None
    last = 0.0
    end = time.monotonic() + PATIENCE_S
    while (cut < len(slow) or answer is None) and time.monotonic() < end:
        ready, last = turn(selector, last)
        # of what came in one turn the cuts were first: the quick one waits for them
        for key in sorted(ready, key=lambda k: k.data is None):
            if key.data is None:
                answer = (cut > 0, quick.recv(4096).split(b"\r\n")[0].decode())
                selector.unregister(quick)
                continue
            got = key.data.read()
            if got is None:
                continue
            words += len(got)
            if not got:
                cut += 1
                selector.unregister(key.data.sock)
                key.data.sock.close()
    print(f"{answer[1] if answer else 'no answer'}, {'after' if answer and answer[0] else 'before'} a cut; {cut} cut, {words} bytes to them")


def hold(path, count):
    selector = selectors.DefaultSelector()
    for i in range(count):
        Slow(selector, path, i % 3)
    print("held", flush=True)
    last = 0.0
    while True:
        ready, last = turn(selector, last)
        for key in ready:
            if key.data.read() == b"":
                selector.unregister(key.data.sock)
                key.data.sock.close()
                Slow(selector, path, key.data.kind)


if __name__ == "__main__":
    {"bound": bound, "hold": hold}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
