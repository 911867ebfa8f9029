"""A hundred thousand random frames: they end their own connection at most, always with a close code, and nobody hangs.

RUBBISH_FRAMES sets how many, RUBBISH_SEED repeats a run; the seed is printed either way.
"""

import os
import random
import re
import threading

import pytest
from client import eventually, fresh
from raw import Gone, RawSocket, encode
from rubbish import Heap, Wire

FRAMES = int(os.environ.get("RUBBISH_FRAMES", "100000"))
SEED = int(os.environ.get("RUBBISH_SEED", random.SystemRandom().randrange(2**32)))
THREADS = 4
ALLOWED = {1000, 1002, 1003, 1005, 1007, 1009, 4500, 4501, 4504, 4505}


class Thrower(threading.Thread):
    """Throws its share of the frames over one connection after another."""

    def __init__(self, server, number, enc, share):
        super().__init__()
        self.server, self.enc, self.share = server, enc, share
        self.heap = Heap(f"{SEED}/{number}")
        self.thrown = 0
        self.ends: dict[int, int] = {}
        self.failure = None

    def run(self):
        try:
            while self.thrown < self.share:
                self.connection()
        except Exception as failure:  # noqa: BLE001 - told by the test's thread
            self.failure = failure

    def connection(self):
        r = self.heap.random
        path = f"/v1/gateway?token={fresh('rubbish')}" if r.random() < 0.8 else "/v1/gateway"
        raw = RawSocket(self.server, path, headers=f"Sec-WebSocket-Protocol: dormouse.v1.{self.enc}\r\n", timeout=20)
        assert raw.status == 101, raw.head
        wire, sent = Wire(), []
        try:
            for _ in range(r.randrange(1, 40)):
                data = self.heap.frame(self.enc)
                sent.append(data)
                self.thrown += 1
                wire.feed(data)
                raw.send(data)
                if wire.ended:
                    break
        except OSError:
            pass
        code = self.verdict(raw, wire, sent)
        self.ends[code] = self.ends.get(code, 0) + 1
        raw.sock.close()

    def verdict(self, raw, wire, sent) -> int:
        """The close code, or 0 for a connection that stayed open and answers."""
        try:
            while wire.missing() > 0:
                rest = b"\0" * wire.missing()
                wire.feed(rest)
                raw.send(rest)
            if not wire.ended:
                raw.send(encode(9, b"still there?"))
        except OSError:
            pass
        try:
            while True:
                opcode, payload = raw.read()
                if opcode == 10 and payload == b"still there?":
                    return 0
        except Gone as gone:
            code = gone.end[0]
        except TimeoutError:
            raise AssertionError(f"no answer in 20 s, ended={wire.ended}, sent {[data[:80] for data in sent[-4:]]}") from None
        if code == 1006:
            raise AssertionError(f"an end without a close code, ended={wire.ended}, sent {[data[:80] for data in sent[-4:]]}")
        # A close frame is answered in kind, so whatever valid code the rubbish carried may come back.
        if code not in ALLOWED and not (wire.said_close and 1000 <= code <= 4999):
            raise AssertionError(f"closed with {code}")
        return code


def test_rubbish_harms_nobody_else(start, join):
    print(f"rubbish: {FRAMES} frames, RUBBISH_SEED={SEED}")
    server = start({"limits.publish_per_second": 100000, "limits.publish_burst": 100000})
    bystander, channel = join(server), fresh("room:")
    bystander.subscribe(channel)
    throwers = [Thrower(server, n, ("json", "msgpack")[n % 2], FRAMES // THREADS) for n in range(THREADS)]
    for thrower in throwers:
        thrower.start()
    count = 0
    while any(thrower.is_alive() for thrower in throwers):
        bystander.publish(channel, count)
        assert bystander.take("event", channel=channel)["data"] == count
        count += 1
        throwers[count % THREADS].join(0.01)
    for thrower in throwers:
        thrower.join()
    ends: dict[int, int] = {}
    for thrower in throwers:
        for code, times in thrower.ends.items():
            ends[code] = ends.get(code, 0) + times
    print(f"rubbish: {sum(thrower.thrown for thrower in throwers)} frames thrown, "
          f"connections ended by code (0: stayed open and answered): {dict(sorted(ends.items()))}, bystander events: {count}")
    failures = [thrower.failure for thrower in throwers if thrower.failure]
    assert not failures, failures[0]
    assert bystander.settle() == []
    assert bystander.whoami()["generation"] == bystander.ready["generation"]
    assert server.process.poll() is None
    assert server.metric("dormouse_crashes_total") == 0, "rubbish must be refused, not crash"
    eventually(lambda: server.node()["connections"]["total"] == 1, "only the bystander left", 30)
    ledger = eventually(lambda: (now := server.ledger())["pending"] == 0 and now, "a quiet ledger")
    assert ledger["offered"] == ledger["delivered"] + sum(ledger["dropped"].values())


@pytest.mark.parametrize("request_bytes", [
    b"\x00" * 100 + b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET /v1/gateway HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n", b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\n\r\n",
])
def test_rubbish_instead_of_a_handshake_is_refused(server, request_bytes):
    import socket

    sock = socket.create_connection(("127.0.0.1", server.port), timeout=15)
    try:
        sock.sendall(request_bytes)
    except OSError:
        pass
    try:
        answer = sock.recv(4096)
    except ConnectionResetError:
        answer = b""
    sock.close()
    assert answer == b"" or re.match(rb"HTTP/1\.[01] [45]\d\d ", answer), answer
    assert server.http.get("/health/live").status_code == 200


def test_half_open_handshakes_hold_nobody_up(server, join):
    import socket

    halves = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    for half in halves:
        half.sendall(b"GET /v1/gateway HTTP/1.1\r\nHost: x\r\n")
    join(server).whoami()
    for half in halves:
        half.close()
    join(server).whoami()
