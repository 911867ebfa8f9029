"""Attacks, each on its own server: the attacker gets the right answer, and a witness, who talks to the server all the while,
is served and keeps its connection. What the attack costs the witness is printed; figures for comparison are bench's."""

import json
import os
import random
import socket
import struct
import threading
import time
from contextlib import contextmanager

import pytest
from client import eventually, fresh
from test_compression import OFFER, pack
from websockets.exceptions import InvalidStatus

HEARTBEAT = json.dumps({"op": "heartbeat"}).encode()


class Witness:
    """An identified client that asks and hears all the while."""

    def __init__(self, client):
        self.client, self.waits, self.over, self.failure = client, [], threading.Event(), None
        self.channel = fresh("room:")
        client.request("subscribe", channel=self.channel)
        self.thread = threading.Thread(target=self._talk)

    def _talk(self):
        try:
            while not self.over.is_set():
                began = time.monotonic()
                offset = self.client.request("publish", channel=self.channel, data="here")["offset"]
                assert self.client.take("event", offset=offset)
                self.waits.append(time.monotonic() - began)
        except BaseException as failure:  # noqa: BLE001 - told in the test's own thread
            self.failure = failure

    def __enter__(self):
        self.thread.start()
        eventually(lambda: len(self.waits) > 20 or self.failure, "the witness talks")
        self.calm = len(self.waits)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            seen = len(self.waits)
            eventually(lambda: len(self.waits) > seen + 20 or self.failure, "the witness still talks")
        self.over.set()
        self.thread.join()
        if kind is None:
            assert self.failure is None, self.failure
            calm, during = sorted(self.waits[:self.calm]), sorted(self.waits[self.calm:])
            print(f"witness: p50 {calm[len(calm) // 2] * 1e3:.2f} → {during[len(during) // 2] * 1e3:.2f} ms, "
                  f"p99 {calm[int(len(calm) * 0.99)] * 1e3:.2f} → {during[int(len(during) * 0.99)] * 1e3:.2f} ms")
            assert self.client.request("whoami")["generation"] == 1


@pytest.fixture
def witness(join):
    return lambda server: Witness(join(server))


OPEN = {"limits.publish_per_second": 1000000, "limits.publish_burst": 1000000, "chaos.enabled": True}


def masked(payload: bytes, opcode=1, fin=True) -> bytes:
    """A client's frame with a mask of zeros."""
    first = bytes([(0x80 if fin else 0) | opcode])
    if len(payload) < 126:
        return first + bytes([0x80 | len(payload)]) + b"\0" * 4 + payload
    if len(payload) < 65536:
        return first + b"\xfe" + struct.pack("!H", len(payload)) + b"\0" * 4 + payload
    return first + b"\xff" + struct.pack("!Q", len(payload)) + b"\0" * 4 + payload


def upgraded(server, query="token=mallory", headers="") -> socket.socket:
    """A bare socket behind its handshake, whose answers nobody has read."""
    bare = socket.create_connection(("127.0.0.1", server.port), 10)
    bare.sendall(f"GET /v1/gateway?{query} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                 f"{headers}\r\n".encode())
    return bare


def close_code(bare) -> int | None:
    """Reads to the end; the code of the close frame, which is the last frame there is."""
    got = b""
    bare.settimeout(30)
    try:
        while part := bare.recv(65536):
            got += part
    except ConnectionResetError:
        pass
    at, code = got.index(b"\r\n\r\n") + 4, None
    while at + 2 <= len(got):
        length, start = got[at + 1] & 0x7F, at + 2
        if length == 126:
            length, start = struct.unpack("!H", got[start:start + 2])[0], start + 2
        elif length == 127:
            length, start = struct.unpack("!Q", got[start:start + 8])[0], start + 8
        if got[at] & 0x0F == 8 and length >= 2:
            code = struct.unpack("!H", got[start:start + 2])[0]
        at = start + length
    return code


@contextmanager
def flooding(attacker, many: bytes):
    """The attacker sends this over and over, until the block is left or its socket ends."""
    stop = threading.Event()

    def flood():
        try:
            while not stop.is_set():
                attacker.sendall(many)
        except OSError:
            pass

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        attacker.close()
        thread.join()


def test_an_address_has_so_many_connections(start, join, dial):
    server = start({"limits.connections_per_address": 5})
    clients = [join(server) for _ in range(4)]
    # The test's own requests come from there too: its kept connection is the fifth.
    assert server.http.get("/health/live").status_code == 200
    with pytest.raises(InvalidStatus) as refused:
        dial(server)
    assert refused.value.response.status_code == 429 and "Retry-After" in refused.value.response.headers
    with socket.create_connection(("127.0.0.1", server.port), 10) as bare:
        assert bare.recv(4096).startswith(b"HTTP/1.1 429 "), "told before a byte is read"
    # Another address is somebody else.
    other = socket.socket()
    other.bind(("127.0.0.2", 0))
    other.connect(("127.0.0.1", server.port))
    other.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    assert other.recv(4096).startswith(b"HTTP/1.1 200 ")
    other.close()
    clients[0].ws.close()
    eventually(lambda: admits(dial, server), "a place is free again")
    assert server.metric("dormouse_handshakes_total", result="too_many_of_address") >= 2
    assert clients[1].request("whoami")["generation"] == 1


def admits(dial, server) -> bool:
    try:
        dial(server)
        return True
    except InvalidStatus:
        return False


def test_a_user_has_so_many_sessions(start, join, dial):
    server = start({"limits.sessions_per_user": 3})
    sessions = [join(server, "ann") for _ in range(3)]
    for _ in range(3):
        one = dial(server)
        one.take("hello")
        one.send("identify", token="ann")
        error = one.take("error")
        assert (error["code"], error["retry"]) == ("rate_limited", "later") and "3 sessions" in error["message"]
        assert one.closed() == (4004, "rate_limited")
    join(server, "bob")
    # A session that comes back is none more, one that ended is one less.
    sessions[0].cut()
    assert join(server, "ann", resume=sessions[0].ready["session"]).ready["resumed"]
    sessions[1].ws.close()
    eventually(lambda: identifies(dial, server, "ann"), "room for another")


def identifies(dial, server, user) -> bool:
    one = dial(server)
    one.take("hello")
    one.send("identify", token=user)
    return one.next()["op"] == "ready"


def test_handshakes_come_at_a_bounded_rate(start, dial):
    server = start({"limits.handshakes_per_second": 20})
    outcomes = [admits(dial, server) for _ in range(60)]
    assert all(outcomes[:20]) and not all(outcomes)
    with pytest.raises(InvalidStatus) as refused:
        for _ in range(40):
            dial(server)
    assert refused.value.response.status_code == 503 and refused.value.response.headers["Retry-After"] == "1"
    eventually(lambda: admits(dial, server), "a second later there is room")
    assert server.http.get("/health/live").status_code == 200
    assert server.metric("dormouse_handshakes_total", result="too_many_at_once") > 0


@pytest.mark.parametrize("payload", [HEARTBEAT, b'{"op":"whoami","id":1}', b"rubbish"], ids=["heartbeat", "whoami", "rubbish"])
def test_a_flood_of_frames_waits_and_ends(start, payload):
    server = start({"limits.frames_per_second": 300, "limits.publish_per_second": 100, "limits.publish_burst": 100,
                    "limits.bad_frames": 1000000})
    attacker = upgraded(server)
    with flooding(attacker, masked(payload) * 1000):
        assert close_code(attacker) == 4004
    # At the very most so many a second, in so many seconds.
    assert server.metric("dormouse_turns_total", message="frame") <= 300 * 11 + 300
    assert server.metric("dormouse_closes_total", code="4004") == 1


def test_whoever_floods_takes_nothing_from_others(start, witness):
    server = start({**OPEN, "limits.frames_per_second": 0, "limits.bytes_per_second": 0})
    stop, attackers = threading.Event(), [upgraded(server, f"token=m{n}") for n in range(4)]
    with witness(server):
        def flood(bare):
            many = masked(HEARTBEAT) * 200
            bare.settimeout(0.2)
            while not stop.is_set():
                try:
                    bare.send(many)
                    bare.recv(1 << 20)
                except OSError:
                    pass

        threads = [threading.Thread(target=flood, args=(bare,)) for bare in attackers]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: server.metric("dormouse_turns_total", message="frame") > 20000, "they are heard", 60)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    for bare in attackers:
        bare.close()


def test_handshakes_that_drip_are_ended_and_leave_room(start, witness, join):
    server = start(OPEN)
    with witness(server):
        slow = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(300)]
        for bare in slow:
            bare.sendall(b"GET /v1/gateway HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert join(server).request("whoami")["generation"] == 1
        for bare in slow:
            bare.settimeout(20)
            # Each byte is one more word, and no reason to wait longer.
            try:
                bare.sendall(b"a")
                while bare.recv(4096):
                    pass
            except OSError:
                pass
            bare.close()


def test_sockets_that_say_nothing_cannot_take_the_last_descriptor(start, witness, join, dial):
    server = start(OPEN, descriptors=400)
    with witness(server):
        silent = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(500)]
        answers = {}

        def told() -> int:
            for bare in silent:
                bare.setblocking(False)
                try:
                    answers.setdefault(bare, bare.recv(4096))
                except OSError:
                    pass
            return sum(answer.startswith(b"HTTP/1.1 503 ") for answer in answers.values())

        eventually(lambda: told() > 100, "whoever finds no room is told")
        for bare in silent:
            bare.close()
        eventually(lambda: admits(dial, server), "there is room again", 20)
    assert server.metric("dormouse_handshakes_total", result="no_descriptors") > 100


def test_a_client_that_never_reads_costs_itself(start, witness, join):
    server = start({**OPEN, "limits.mailbox": 64, "limits.outbox_bytes": 65536, "channels.defaults.history_events": 0})
    deaf = upgraded(server, "token=deaf&subscribe=room:loud")
    loud = join(server)
    eventually(lambda: server.http.get("/v1/channels/room:loud").status_code == 200, "it is subscribed")
    with witness(server):
        data = "x" * 30_000
        eventually(lambda: loud.request("publish", channel="room:loud", data=data) and
                   server.metric("dormouse_closes_total", code="4002"), "it is closed as a slow consumer", 30)
    assert close_code(deaf) in (4002, None)
    deaf.close()
    assert server.ledger()["dropped"]


@pytest.mark.parametrize("data", ["[" * 30_000 + "]" * 30_000, '{"a":' * 10_000 + "1" + "}" * 10_000])
def test_deep_json_is_refused_and_reaches_nobody(start, witness, join, data):
    server = start(OPEN)
    one, other = join(server), join(server)
    other.request("subscribe", channel="room:deep")
    with witness(server):
        one.send_raw(f'{{"op":"publish","id":77,"channel":"room:deep","data":{data}}}')
        reply = one.take("reply", id=77) if _has_id(one) else one.take("error")
        error = reply.get("error", reply)
        assert error["code"] in ("bad_request", "bad_frame", "too_large") and error["retry"] == "never"
    assert not [frame for frame in other.settle() if frame["op"] == "event"]
    assert one.request("whoami")["generation"] == 1


def _has_id(client) -> bool:
    frame = client.next()
    client.inbox.appendleft(frame)
    return frame["op"] == "reply"


def test_a_message_too_large_is_cut_at_its_header(start, witness):
    server = start(OPEN)
    with witness(server), upgraded(server) as attacker:
        attacker.sendall(b"\x81\xff" + struct.pack("!Q", 1 << 40) + b"\0" * 4)
        assert close_code(attacker) == 1009


@pytest.mark.parametrize("size", [0, 1])
def test_endless_tiny_fragments_end(start, size):
    """Those of one byte at `max_frame_bytes`; those of none at the bytes that their headers are."""
    server = start({"limits.max_frame_bytes": 4096, "limits.bytes_per_second": 100000, "limits.publish_per_second": 5,
                    "limits.publish_burst": 5})
    attacker = upgraded(server)
    attacker.sendall(masked(b"", 1, fin=False))
    with flooding(attacker, masked(b"a" * size, 0, fin=False) * 2000):
        assert close_code(attacker) == (1009 if size else 4004)


def test_bombs_are_not_set_off(start, witness):
    """Each would come to 64 MB; none to more than `max_frame_bytes`."""
    server = start({**OPEN, "listen.compression": True})
    bomb = masked(pack(b"0" * (64 << 20))[:60_000], 0x41)
    with witness(server):
        before = server.metric("process_resident_memory_bytes")
        for n in range(100):
            attacker = upgraded(server, f"token=m{n}", OFFER)
            attacker.sendall(bomb)
            assert close_code(attacker) == 1009
            attacker.close()
        assert server.metric("process_resident_memory_bytes") - before < 16 << 20


def test_what_messages_come_to_is_counted_not_how_small_they_were(start, witness):
    server = start({**OPEN, "listen.compression": True, "limits.publish_per_second": 5, "limits.publish_burst": 5,
                    "limits.bytes_per_second": 2_000_000})
    attacker = upgraded(server, headers=OFFER)
    packed = masked(pack(b'{"op":"heartbeat","x":"' + b"0" * 65_000 + b'"}'), 0x41)
    with flooding(attacker, packed * 1000):
        assert close_code(attacker) == 4004
    # In each of ten seconds at most what is allowed, and one round more.
    assert server.metric("dormouse_turns_total", message="frame") <= 11 * (2_000_000 // 65_000 + 64)


def test_random_bytes_by_the_megabyte_harm_nobody(start, witness):
    server = start(OPEN)
    seed = os.urandom(8).hex()
    print("seed", seed)
    chance = random.Random(seed)
    with witness(server):
        for n in range(50):
            with upgraded(server, f"token=m{n}") as attacker:
                try:
                    attacker.sendall(chance.randbytes(100_000))
                except OSError:
                    pass
                # What is said depends on what the bytes happen to be, a close frame among them.
                code = close_code(attacker)
                assert code is None or 1000 <= code < 5000, code
