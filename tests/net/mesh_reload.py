#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: mesh_reload.py HOST PORT CERT N COMMAND...: what COMMAND changes, as the very next requests see it.

A request on each of N connections of TLS, then the command, then at once another on each of them and on N new ones side by side. Prints
`kept STATUS=N.. new STATUS=N..` of those behind the command.
"""
import collections
import concurrent.futures
import socket
import ssl
import subprocess
import sys

ASK = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


def dial(host, port, cert):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    ctx.load_cert_chain(cert + ".pem", cert + ".key")
    return ctx.wrap_socket(socket.create_connection((host, int(port)), 30))


def status(s):
    try:
        s.sendall(ASK)
        got = b""
        while b"\r\n\r\n" not in got:
            part = s.recv(65536)
            if not part:
                return "end"
            got += part
        head, body = got.split(b"\r\n\r\n", 1)
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields[b"content-length"]):
            body += s.recv(65536)
        return head.split()[1].decode()
    except OSError as e:
        return type(e).__name__


def counted(statuses):
    return " ".join("%s=%d" % kind for kind in sorted(collections.Counter(statuses).items()))


def main(host, port, cert, n, *command):
    kept = [dial(host, port, cert) for _ in range(int(n))]
    with concurrent.futures.ThreadPoolExecutor(2 * len(kept)) as pool:
        list(pool.map(status, kept))
        if subprocess.run(command, check=False).returncode:
            print("the command failed")
            return
        new = [pool.submit(lambda: status(dial(host, port, cert))) for _ in kept]
        was = list(pool.map(status, kept))
        print("kept %s new %s" % (counted(was), counted(f.result() for f in new)))


main(*sys.argv[1:])
