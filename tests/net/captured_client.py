#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An application that knows nothing of a mesh, and its service.

say HOST PORT WORD    prints what came back and whom it thinks it speaks to, or `end`, or why there is no connection
hold HOST PORT        prints `open`, and `cut` when it ends
lie HOST PORT CERT FILE   a TLS server that is somebody else
serve PORT FILE       answers each line with `db: LINE`; each goes to the file, too
"""
import os
import socket
import ssl
import sys
import threading

PATIENCE = int(os.environ.get("PATIENCE", "1"))  # tests/net/lib.sh


def say(host, port, word):
    try:
        with socket.create_connection((host, int(port)), 3 * PATIENCE) as s:
            s.sendall(word.encode() + b"\n\n")
            s.settimeout(8 * PATIENCE)
            got = s.recv(4096)
            print("%s %s" % (got.decode("latin-1").strip(), s.getpeername()[0]) if got else "end")
    except ConnectionResetError:
        print("end")
    except OSError as e:
        print(type(e).__name__)


def hold(host, port):
    with socket.create_connection((host, int(port)), 3 * PATIENCE) as s:
        s.sendall(b"hold\n")
        s.recv(100)
        s.settimeout(120 * PATIENCE)
        print("open", flush=True)
        try:
            s.recv(100)
            print("cut", flush=True)
        except ConnectionResetError:
            print("cut", flush=True)
        except OSError:
            print("left alone", flush=True)


def lie(host, port, cert, path):
    """Somebody else with a certificate of his own: what is said to him after the handshake goes to the file."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(cert + ".pem", cert + ".key")
    with open(path, "wb", 0) as out, socket.create_server((host, int(port))) as server:
        out.write(b"listens\n")
        while True:
            conn = server.accept()[0]
            try:
                with ctx.wrap_socket(conn, server_side=True) as s:
                    out.write(b"heard: %s\n" % s.recv(4096))
            except OSError as e:
                out.write(b"%s\n" % type(e).__name__.encode())


def talk(conn, log):
    with conn, conn.makefile("rb") as lines:
        for line in lines:
            if line.strip():
                log.write(line.decode("latin-1"))
                log.flush()
                conn.sendall(b"db: " + line)


def serve(port, path):
    with open(path, "w", encoding="latin-1") as log, socket.create_server(("127.0.0.1", int(port))) as server:
        while True:
            threading.Thread(target=talk, args=(server.accept()[0], log), daemon=True).start()


globals()[sys.argv[1]](*sys.argv[2:])
