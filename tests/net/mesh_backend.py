#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A backend behind a mesh: PORT answers HTTP/1.1 with what it was asked, WS_PORT echoes WebSocket messages."""
import asyncio
import hashlib
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def parts(self):
        """The body as it comes, whole chunks or what there is."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                if not size:
                    self.trailers = {}
                    while (line := self.rfile.readline().strip()):
                        name, value = line.decode().split(":", 1)
                        self.trailers[name.lower()] = value.strip()
                    return
                yield self.rfile.read(size)
                self.rfile.readline()
        left = int(self.headers.get("Content-Length", 0))
        while left > 0:
            part = self.rfile.read1(min(left, 65536))
            if not part:
                return
            left -= len(part)
            yield part

    def reply(self, status, body, fields=()):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def echo(self):
        self.trailers = {}
        digest, size = hashlib.sha256(), 0
        for part in self.parts():
            digest.update(part)
            size += len(part)
        self.reply(200, json.dumps({
            "method": self.command, "path": self.path, "sha256": digest.hexdigest(), "size": size,
            "headers": {k.lower(): v for k, v in self.headers.items()}, "trailers": self.trailers}).encode())

    def stream(self):
        """Each part goes back before the next one is read."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in self.parts():
            self.chunk(part)
        self.wfile.write(b"0\r\nX-Sum: done\r\n\r\n")

    def answer(self):
        path = self.path.split("?")[0]
        if path == "/stream":
            self.stream()
        elif path == "/hello":
            self.reply(200, b"Your app_id is: %s" % str(self.headers.get("x-dstack-app-id")).encode())
        elif path.startswith("/status/"):
            self.reply(int(path[8:]), b"", [("X-From", "backend")])
        elif path == "/slow":
            time.sleep(float(self.path.split("?")[1]))
            self.reply(200, b"slow")
        else:
            self.echo()

    def do_CONNECT(self):
        """What follows is HTTP again, in the tunnel."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


for method in "GET HEAD POST PUT PATCH DELETE OPTIONS TRACE PURGE".split():
    setattr(Handler, "do_" + method, Handler.answer)


async def websocket(port):
    import websockets

    async def echo(ws, *_):
        async for message in ws:
            await ws.send(message)

    async with websockets.serve(echo, "127.0.0.1", port):
        await asyncio.Future()


def main():
    if len(sys.argv) > 2:
        threading.Thread(target=asyncio.run, args=(websocket(int(sys.argv[2])),), daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()


main()
