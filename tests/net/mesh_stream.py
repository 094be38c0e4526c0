# SPDX-License-Identifier: Apache-2.0
"""Bytes there and back. mesh_stream.py echo PORT | whole HOST PORT BYTES | held HOST PORT BYTES | talk HOST PORT SECONDS"""
import os
import socket
import sys
import threading
import time


def echo_one(s):
    with s:
        while True:
            data = s.recv(65536)
            if not data:
                s.shutdown(socket.SHUT_WR)
                return
            s.sendall(data)


def echo(port):
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        while True:
            threading.Thread(target=echo_one, args=(listener.accept()[0],), daemon=True).start()


def there_and_back(s, n, shut):
    """Random bytes, sent and received at the same time; with `shut` the own side is closed behind them."""
    sent = os.urandom(n)

    def send():
        s.sendall(sent)
        if shut:
            s.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    got = bytearray()
    while len(got) < n or shut:
        data = s.recv(65536)
        if not data:
            break
        got += data
    sender.join()
    return got == sent


def whole(host, port, n):
    with socket.create_connection((host, int(port)), 5) as s:
        s.settimeout(60)
        print("whole" if there_and_back(s, int(n), True) else "not whole")


def held(host, port, n):
    """Stays there, and says how it ended, and when."""
    with socket.create_connection((host, int(port)), 5) as s:
        s.settimeout(60)
        print("whole" if there_and_back(s, int(n), False) else "not whole", flush=True)
        try:
            s.recv(1)
            print("end", flush=True)
        except ConnectionResetError:
            print("reset %d" % (time.time() * 1000), flush=True)
        except TimeoutError:
            print("open", flush=True)


def talk(host, port, seconds):
    """One connection, a line there and back again and again; says so when all came."""
    end, turns = time.monotonic() + float(seconds), 0
    with socket.create_connection((host, int(port)), 5) as s:
        s.settimeout(20)
        try:
            while time.monotonic() < end:
                line = b"%d\n" % turns
                s.sendall(line)
                if s.recv(64) != line:
                    break
                turns += 1
                time.sleep(0.02)
            else:
                print("all came")
                return
        except OSError as e:
            print(e, end=" ")
    print("ended after %d turns" % turns)


if __name__ == "__main__":
    {"echo": echo, "whole": whole, "held": held, "talk": talk}[sys.argv[1]](*sys.argv[2:])
