#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A gRPC server and client of others' making. usage: mesh_grpc.py serve PORT | (ask | talk) PORT APP
TARGET_PORT [SECONDS]"""
import sys
import threading
import time
from concurrent import futures

import grpc

SERVICE = "bailey.Echo"
seen = {"cancelled": 0}


def metadata(context):
    return {k: v for k, v in context.invocation_metadata()}


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.split("/")[-1]
        kinds = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Admin": grpc.unary_unary_rpc_method_handler(self.unary),
            "Wipe": grpc.unary_unary_rpc_method_handler(self.unary),
            "Fails": grpc.unary_unary_rpc_method_handler(self.fails),
            "Sleep": grpc.unary_unary_rpc_method_handler(self.sleep),
            "Count": grpc.unary_unary_rpc_method_handler(lambda r, c: str(seen["cancelled"]).encode()),
            "Down": grpc.unary_stream_rpc_method_handler(self.down),
            "Up": grpc.stream_unary_rpc_method_handler(self.up),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
            "Early": grpc.stream_stream_rpc_method_handler(self.early),
            "Forever": grpc.unary_stream_rpc_method_handler(self.forever),
        }
        return kinds.get(name)

    def unary(self, request, context):
        context.set_trailing_metadata((("x-trailer", "after"), ("x-bytes-bin", b"\x00\xff\r\n")))
        return metadata(context).get("x-dstack-app-id", "?").encode() + b" " + request

    def fails(self, request, context):
        context.abort(grpc.StatusCode.DATA_LOSS, "lost: 100% \u2013")

    def sleep(self, request, context):
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait(10)
        seen["cancelled"] += 1
        return b""

    def down(self, request, context):
        for i in range(int(request)):
            yield b"%d" % i + b"." * (i % 5000)

    def up(self, requests, context):
        n = 0
        for r in requests:
            n += len(r)
        return b"%d" % n

    def both(self, requests, context):
        for r in requests:
            yield b"re: " + r

    def early(self, requests, context):
        next(requests)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
        yield b""

    def forever(self, request, context):
        try:
            while context.is_active():
                yield b"." * 1000
                time.sleep(0.01)
        finally:
            seen["cancelled"] += 1


def serve(port):
    server = grpc.server(futures.ThreadPoolExecutor(64))
    server.add_generic_rpc_handlers((Handler(),))
    server.add_insecure_port("127.0.0.1:" + port)
    server.start()
    server.wait_for_termination()


def ask(port, app, target_port):
    meta = (("x-dstack-target-app", app), ("x-dstack-target-port", target_port), ("x-dstack-app-id", "forged"))
    channel = grpc.insecure_channel("127.0.0.1:" + port)

    def path(name):
        return "/%s/%s" % (SERVICE, name)

    def code(fn):
        try:
            fn()
            return "OK"
        except grpc.RpcError as e:
            return "%s: %s" % (e.code().name, e.details())

    def unary(name, request=b"hi", timeout=20):
        return channel.unary_unary(path(name))(request, metadata=meta, timeout=timeout)

    def cancelled():
        return int(unary("Count"))

    def until_cancelled(n):
        end = time.monotonic() + 5
        while cancelled() < n and time.monotonic() < end:
            time.sleep(0.05)
        return cancelled() >= n

    answer, call = channel.unary_unary(path("Unary")).with_call(b"hi", metadata=meta, timeout=20)
    trailing = {k: v for k, v in call.trailing_metadata()}
    print("unary:", answer.decode())
    print("trailers:", trailing.get("x-trailer"), trailing.get("x-bytes-bin") == b"\x00\xff\r\n")
    big = bytes(range(256)) * 12000
    print("large:", unary("Unary", big).endswith(big))
    parts = list(channel.unary_stream(path("Down"))(b"2000", metadata=meta, timeout=60))
    print("down:", len(parts), all(p == b"%d" % i + b"." * (i % 5000) for i, p in enumerate(parts)))
    print("up:", channel.stream_unary(path("Up"))((b"x" * 10000 for _ in range(500)), metadata=meta, timeout=60).decode())

    # each message is sent after the answer to the one before: nothing on the way may wait
    gate, got = threading.Semaphore(1), []

    def turns():
        for i in range(100):
            gate.acquire(timeout=10)
            yield b"%d" % i

    for r in channel.stream_stream(path("Both"))(turns(), metadata=meta, timeout=60):
        got.append(r)
        gate.release()
    print("both:", len(got), got == [b"re: %d" % i for i in range(100)])

    print("status:", code(lambda: unary("Fails")))
    print("none:", code(lambda: unary("Nothing")).split(":")[0])
    print("denied:", code(lambda: unary("Admin")))
    print("wipe:", code(lambda: unary("Wipe")))
    print("early:", code(lambda: list(channel.stream_stream(path("Early"))(iter([b"a"] * 100000), metadata=meta, timeout=20))))
    print("deadline:", code(lambda: unary("Sleep", timeout=0.5)).split(":")[0], until_cancelled(1))
    stream = channel.unary_stream(path("Forever"))(b"", metadata=meta, timeout=20)
    for _, _ in zip(range(10), stream):
        pass
    stream.cancel()
    print("cancelled:", until_cancelled(2))
    other = (("x-dstack-target-app", "c3" * 20), ("x-dstack-target-port", target_port))
    print("other:", code(lambda: channel.unary_unary(path("Unary"))(b"", metadata=other, timeout=20)))
    with futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: unary("Unary", b"%d" % i), range(500)))
    print("many:", sum(a.endswith(b" %d" % i) for i, a in enumerate(answers)))


def talk(port, app, target_port, seconds):
    """A stream both ways, ten messages a second; how it ended, and how many came back."""
    meta = (("x-dstack-target-app", app), ("x-dstack-target-port", target_port))
    channel = grpc.insecure_channel("127.0.0.1:" + port)
    n, how = 0, "OK"

    def messages():
        for i in range(int(float(seconds) * 10)):
            yield b"%d" % i
            time.sleep(0.1)

    try:
        for _ in channel.stream_stream("/%s/Both" % SERVICE)(messages(), metadata=meta):
            n += 1
    except grpc.RpcError as e:
        how = e.code().name
    print(how, n)


if __name__ == "__main__":
    {"serve": serve, "ask": ask, "talk": talk}[sys.argv[1]](*sys.argv[2:])
