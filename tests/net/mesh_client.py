#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients of a mesh that curl is not: usage: mesh_client.py WHAT HOST PORT [ARGUMENT...]; prints what came."""
import asyncio
import http.client
import signal
import socket
import ssl
import sys
import threading
import time


def raw(host, port, text, seconds="3"):
    """Sends bytes as they are (\\r and \\n are escapes) and prints the first line of each answer until nothing comes."""
    with socket.create_connection((host, int(port)), 5) as s:
        s.settimeout(float(seconds))
        s.sendall(text.encode().decode("unicode_escape").encode("latin-1"))
        print(read_all(s))


def read_all(s):
    got = b""
    try:
        while (part := s.recv(65536)):
            got += part
    except (TimeoutError, ConnectionResetError):
        pass
    return got.decode("latin-1")


def duplex(host, port, app):
    """Sends a part of a body only after the part before came back: nothing on the way may wait for the end."""
    with socket.create_connection((host, int(port)), 5) as s:
        s.settimeout(5)
        s.sendall(b"POST /stream HTTP/1.1\r\nHost: x\r\nx-dstack-target-app: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
                  % app.encode())
        for i in range(5):
            word = b"part-%d" % i
            s.sendall(b"%x\r\n%s\r\n" % (len(word), word))
            got = b""
            while word not in got:
                got += s.recv(65536)
        s.sendall(b"0\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            got += s.recv(65536)
        print("X-Sum: done" in got.decode() and "duplex")


def slow(host, port, least, most):
    """A head that drips: is it cut, not before LEAST seconds and before MOST?"""
    start, end = time.monotonic(), "never"
    with socket.create_connection((host, int(port)), 5) as s:
        s.settimeout(0.2)
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        try:
            while time.monotonic() - start < float(most) and end == "never":
                try:
                    s.sendall(b"X-A: b\r\n")
                    s.recv(4096) # an answer, or the end
                    end = "cut"
                except TimeoutError:
                    pass
        except OSError:
            end = "cut"
    print("early" if time.monotonic() - start < float(least) else end)


def websocket(host, port, app):
    import websockets

    async def talk():
        async with websockets.connect("ws://%s:%s/" % (host, port), max_size=None,
                                      extra_headers={"x-dstack-target-app": app, "x-dstack-target-port": "8443"}) as ws:
            for message in ["hello", "x" * 300000, b"\0\1\2" * 1000]:
                await ws.send(message)
                if await ws.recv() != message:
                    return "not the same"
            return "echoed"

    print(asyncio.run(talk()))


def load(host, port, app, seconds, n, pause="0"):
    """Requests on n connections at once, a new connection for every third; how many failed. Ends early when told to."""
    end, bad, good, why, over = time.monotonic() + float(seconds), [], [], [], threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())

    def one():
        conn, used = None, 0
        while time.monotonic() < end and not over.wait(float(pause)):
            try:
                if conn is None or used == 3:
                    conn, used = http.client.HTTPConnection(host, int(port), timeout=10), 0
                conn.request("GET", "/hello", headers={"x-dstack-target-app": app})
                answer = conn.getresponse()
                text = answer.read()
                used += 1
                (good if answer.status == 200 else bad).append(1)
                if answer.status != 200:
                    why.append(text)
            except (OSError, http.client.HTTPException) as e:
                bad.append(1)
                why.append(time.strftime("%T ") + repr(e))
                conn = None

    threads = [threading.Thread(target=one) for _ in range(int(n))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print("%d failed" % len(bad), file=sys.stdout)
    print("%d went well %s" % (len(good), why[:3]), file=sys.stderr)


def lines(host, port, seconds):
    """A TCP connection each time, one line there and back; how many failed."""
    end, bad, good = time.monotonic() + float(seconds), 0, 0
    while time.monotonic() < end:
        try:
            with socket.create_connection((host, int(port)), 5) as s:
                s.settimeout(5)
                s.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
                good += b"200 OK" in s.recv(65536)
        except OSError:
            bad += 1
    print("%d failed" % bad)
    print("%d went well" % good, file=sys.stderr)


def rapid(host, port, app, n):
    """Streams of HTTP/2 that are opened and taken back; what the mesh says to it, and after how many."""
    def frame(kind, flags, stream, payload):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def field(name, value):
        return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value

    head = (field(b":method", b"GET") + field(b":scheme", b"http") + field(b":authority", b"x") +
            field(b":path", b"/hello") + field(b"x-dstack-target-app", app.encode()))
    got, sent = b"", 0
    with socket.create_connection((host, int(port)), 5) as s:
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        try:
            for i in range(int(n)):
                s.sendall(frame(1, 5, 2 * i + 1, head) + frame(3, 0, 2 * i + 1, (8).to_bytes(4, "big")))
                sent += 1
            s.settimeout(5)
            while (part := s.recv(65536)):
                got += part
        except OSError:
            pass
    while len(got) >= 9:
        size = int.from_bytes(got[:3], "big")
        if got[3] == 7:
            print("GOAWAY %d" % int.from_bytes(got[13:17], "big"), "of %d streams" % sent)
            return
        got = got[9 + size:]
    print("no GOAWAY")


def hold(host, port, app, seconds):
    """A tunnel; prints the answer, and when it was cut, in ms since 1970, or `open`."""
    with socket.create_connection((host, int(port)), 5) as s:
        if app:
            s.sendall(b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\nx-dstack-target-app: %s\r\n"
                      b"x-dstack-target-port: 8446\r\n\r\n" % app.encode())
        else:
            s.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        print(s.recv(4096).decode().split("\r\n")[0], flush=True)
        s.settimeout(float(seconds))
        try:
            s.recv(4096)
            print("%d" % (time.time() * 1000), flush=True)
        except ConnectionResetError:
            print("%d" % (time.time() * 1000), flush=True)
        except TimeoutError:
            print("open", flush=True)


def tls(host, port, cert, text):
    """A TLS client of its own; cert `-`: none. Prints what came, or the alert."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_NONE
    if cert != "-":
        ctx.load_cert_chain(cert + ".pem", cert + ".key")
    try:
        with ctx.wrap_socket(socket.create_connection((host, int(port)), 5)) as s:
            s.settimeout(3)
            s.sendall(text.encode().decode("unicode_escape").encode("latin-1"))
            print(read_all(s))
    except ssl.SSLError as e:
        print("TLS: %s" % e.reason)
    except OSError as e:
        print("TCP: %s" % e)


globals()[sys.argv[1]](*sys.argv[2:])
