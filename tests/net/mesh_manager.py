# SPDX-License-Identifier: Apache-2.0
"""A service manager as it is to a service: keeps a listening socket and starts the command with it, again when it ends.
mesh_manager.py HOST PORT COMMAND [ARGUMENT...]; ends when told to (SIGTERM), and the command with it."""
import os
import signal
import socket
import sys
import time


def start(listener, argv):
    pid = os.fork()
    if pid:
        return pid
    os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)  # also where it was there already
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = "1"
    os.execv(argv[0], argv)


def main(host, port, *argv):
    child = 0

    def stop(*_):
        os.kill(child, signal.SIGINT)
        os.waitpid(child, 0)
        sys.exit(0)

    with socket.create_server((host, int(port)), backlog=512) as listener:
        while True:
            child = start(listener, argv)
            signal.signal(signal.SIGTERM, stop)
            os.waitpid(child, 0)
            time.sleep(1)  # nobody serves, and nobody is refused


main(*sys.argv[1:])
