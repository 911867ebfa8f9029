"""Every close code: what brings it, its reason text, and whether the session is parked behind it."""

import json
import threading
import time

import pytest
from client import PATIENCE, ConnectionClosed, eventually, fresh
from raw import RawSocket, encode

OVERSIZE = 65537


def padded(size: int) -> str:
    """A valid request of exactly `size` bytes."""
    frame = json.dumps({"op": "publish", "channel": "room:big", "data": ""})
    return frame[:-2] + "x" * (size - len(frame)) + '"}'


def test_1000_answers_a_goodbye_and_ends_the_session(server, join, enc):
    one = join(server, enc=enc)
    one.bye()
    assert one.ws.close_code == 1000
    back = join(server, one.user, enc, resume=one.ready["session"])
    assert back.ready["resumed"] is False


def test_1001_from_the_client_ends_the_session(server, join):
    one = join(server)
    one.bye(1001)
    assert join(server, one.user, resume=one.ready["session"]).ready["resumed"] is False


def test_a_private_close_code_from_the_client_parks_the_session(server, join):
    one = join(server)
    one.bye(3000)
    assert join(server, one.user, resume=one.ready["session"]).ready["resumed"] is True


@pytest.mark.parametrize("bytes_sent", [
    pytest.param(b"\x81\x02hi", id="an unmasked frame"),
    pytest.param(b"\x83\x80\0\0\0\0", id="a reserved opcode"),
    pytest.param(b"\xc1\x80\0\0\0\0", id="a reserved bit"),
    pytest.param(b"\x09\x80\0\0\0\0", id="a fragmented ping"),
    pytest.param(b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126, id="a long ping"),
    pytest.param(b"\x80\x80\0\0\0\0", id="a continuation of nothing"),
    pytest.param(b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", id="a new message inside another"),
    pytest.param(b"\x88\x81\0\0\0\0x", id="a close code of one byte"),
    pytest.param(b"\x88\x82\0\0\0\0\x03\xed", id="a close code that is never sent"),
])
def test_1002_a_broken_frame(server, bytes_sent):
    with RawSocket(server, f"/v1/gateway?token={fresh('user')}") as raw:
        raw.send(bytes_sent)
        assert raw.closed()[0] == 1002


def test_1007_text_that_is_no_utf8(server):
    with RawSocket(server, f"/v1/gateway?token={fresh('user')}") as raw:
        raw.frame(0x1, b'{"op":"\xff\xfe"}')
        assert raw.closed()[0] == 1007


def test_1007_utf8_cut_by_the_end_of_the_last_fragment(server):
    with RawSocket(server, f"/v1/gateway?token={fresh('user')}") as raw:
        raw.frame(0x1, b'{"op":"\xc3', fin=False)
        raw.frame(0x0, b'"}')
        assert raw.closed()[0] == 1007


def test_1007_a_close_reason_that_is_no_utf8(server):
    with RawSocket(server, f"/v1/gateway?token={fresh('user')}") as raw:
        raw.frame(0x8, b"\x03\xe8\xff\xff")
        assert raw.closed()[0] == 1007


def test_1009_a_frame_over_the_limit(plain, join, enc):
    one = join(plain, enc=enc)
    one.send_raw(padded(OVERSIZE) if enc == "json" else b"x" * OVERSIZE)
    assert one.closed()[0] == 1009


def test_1009_the_sum_of_fragments_over_the_limit(plain, join):
    one = join(plain)
    text = padded(OVERSIZE)
    try:
        one.send_raw(iter([text[at:at + 8000] for at in range(0, len(text), 8000)]))
    except ConnectionClosed:
        pass
    assert one.closed()[0] == 1009


def test_a_frame_of_exactly_the_limit_is_served(plain, join):
    one = join(plain)
    one.subscribe("room:big")
    one.send_raw(padded(65536))
    assert len(one.take("event", channel="room:big")["data"]) > 65000


def test_1009_is_decided_by_the_header(plain):
    with RawSocket(plain, f"/v1/gateway?token={fresh('user')}") as raw:
        raw.send(b"\x81\xff\x00\x00\x00\x01\x00\x00\x00\x00\0\0\0\0")
        assert raw.closed()[0] == 1009


def test_4001_silence(start, join, enc):
    server = start({"heartbeat.interval": "300ms"})
    one = join(server, enc=enc)
    assert one.hello["heartbeat_ms"] == 300
    one.subscribe("room:1")
    assert one.closed() == (4001, "heartbeat_timeout")
    back = join(server, one.user, enc, resume=one.ready["session"])
    assert back.ready["resumed"] is True
    assert [each["channel"] for each in back.ready["subscriptions"]] == ["room:1"]


@pytest.mark.parametrize("proof", ["heartbeat", "whoami", "ping"])
def test_any_frame_proves_life(start, join, proof):
    server = start({"heartbeat.interval": "300ms"})
    one = join(server)
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        if proof == "ping":
            assert one.ws.ping().wait(5)
        elif proof == "heartbeat":
            one.send("heartbeat")
            one.take("heartbeat_ack")
        else:
            one.whoami()
        try:
            one.inbox.append(one.receive(timeout=0.15))
        except TimeoutError:
            pass
    one.whoami()


def test_4002_a_live_channel_cannot_wait_for_a_slow_reader(start, join):
    server = start({"limits.outbox_bytes": 65536})
    channel, user = fresh("live:"), fresh("slow")
    slow = RawSocket(server, f"/v1/gateway?token={user}&subscribe={channel}", receive_buffer=32768)
    with slow:
        session = slow.json("ready")["session"]
        bystander = join(server)
        bystander.subscribe(channel)
        closes = server.metric("dormouse_closes_total", code="4002")
        filler = "x" * 8000
        for n in range(4000):
            server.http.post("/v1/publish", json={"channel": channel, "data": [n, filler]})
            assert bystander.take("event", channel=channel)["data"][0] == n
            if n % 10 == 0 and server.metric("dormouse_closes_total", code="4002") > closes:
                break
        eventually(lambda: server.metric("dormouse_closes_total", code="4002") == closes + 1, "the close 4002")
        assert slow.closed() == (4002, "slow_consumer"), "in the middle of a frame, the rest of it and the reason come"
        bystander.whoami()
        back = join(server, user, resume=session)
        assert back.ready["resumed"] is True
        assert [(each["channel"], each["recovered"]) for each in back.ready["subscriptions"]] == [(channel, False)]


def test_a_slow_reader_of_a_channel_with_history_gets_a_gap(start, join):
    server = start({"limits.outbox_bytes": 65536, "channels.defaults.history_events": 5000})
    channel, filler, count = fresh("room:"), "x" * 8000, 2000
    with RawSocket(server, f"/v1/gateway?token={fresh('slow')}&subscribe={channel}", receive_buffer=32768) as slow:
        slow.json("ready")
        offsets = []
        for n in range(count):
            answer = server.http.post("/v1/publish", json={"channel": channel, "data": filler})
            offsets.append(answer.json()["offset"])
        slow.frame(0x1, json.dumps({"op": "whoami", "id": 1}).encode())
        seen, gaps, answered = [], [], False
        while not (answered and covered(offsets, seen, gaps) == set()):
            frame = slow.json()
            if frame["op"] == "event":
                assert not seen or frame["offset"] > seen[-1], "offsets rise"
                seen.append(frame["offset"])
            elif frame["op"] == "gap":
                assert frame["channel"] == channel
                gaps.append(frame)
            elif frame["op"] == "reply":
                assert frame["ok"]["subscriptions"]
                answered = True
        assert gaps, "the outbox is smaller than what was published"
        assert {gap["reason"] for gap in gaps} == {"overflow"}
        server.http.post("/v1/publish", json={"channel": channel, "data": "live again"})
        assert slow.json("event")["data"] == "live again"
        ledger = eventually(lambda: (now := server.ledger())["pending"] == 0 and now, "a quiet ledger")
        assert ledger["offered"] == count + 1 == ledger["delivered"] + sum(ledger["dropped"].values())


def covered(offsets, seen, gaps) -> set[int]:
    """What was neither seen nor told as lost."""
    missing = set(offsets) - set(seen)
    for gap in gaps:
        missing -= set(range(gap["from"], gap["to"] + 1))
    return missing


def test_4004_going_on_far_beyond_the_limit(start):
    server = start({"limits.publish_per_second": 1, "limits.publish_burst": 1})
    with RawSocket(server, f"/v1/gateway?token={fresh('user')}", timeout=60) as raw:
        flood = encode(0x1, json.dumps({"op": "publish", "id": 1, "channel": "room:1", "data": 1}).encode()) * 100

        def send():
            try:
                for _ in range(500):
                    raw.send(flood)
            except OSError:
                pass

        sender = threading.Thread(target=send)
        sender.start()
        try:
            assert raw.closed() == (4004, "rate_limited")
        finally:
            sender.join()


def test_4500_no_identify_in_time(start, dial, enc):
    server = start({"session.identify_within": "300ms"})
    one = dial(server, enc)
    assert one.take("hello")["identify_within_ms"] == 300
    assert one.closed() == (4500, "not_identified")


def test_4500_heartbeats_do_not_stand_in_for_identify(start, dial):
    server = start({"session.identify_within": "400ms"})
    one = dial(server)
    one.take("hello")
    with pytest.raises(ConnectionClosed) as end:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            one.send("heartbeat")
            try:
                one.receive(timeout=0.05)
            except TimeoutError:
                pass
    assert end.value.rcvd.code == 4500


def test_4501_an_empty_token(server, dial, enc):
    one = dial(server, enc)
    one.take("hello")
    one.send("identify", token="")
    assert one.closed() == (4501, "auth_failed")


def test_4503_kicked(server, join, enc):
    one = join(server, enc=enc)
    me = one.whoami()["connection"]
    assert server.http.delete(f"/v1/connections/{me}").status_code in (200, 204)
    assert one.closed() == (4503, "kicked")


@pytest.mark.parametrize("code, reason", [(4001, "heartbeat_timeout"), (4003, "draining"), (4501, "auth_failed")])
def test_a_kick_takes_another_code(server, join, code, reason):
    one = join(server)
    assert server.http.post("/v1/disconnect", json={"user": one.user, "code": code}).status_code == 200
    assert one.closed() == (code, reason)


def test_4504_a_session_taken_over(server, join, enc):
    one = join(server, enc=enc)
    back = join(server, one.user, enc, resume=one.ready["session"])
    assert back.ready["resumed"] is True
    assert one.closed() == (4504, "session_taken_over")
    back.whoami()


def test_4506_only_unknown_sub_protocols(server, dial):
    one = dial(server, offer=["chat.v9", "mqtt"])
    assert one.closed() == (4506, "bad_encoding")
    assert [frame["op"] for frame in one.inbox] in ([], ["hello"])


def test_closes_are_counted_by_code(server, join):
    before = server.metric("dormouse_closes_total", code="4503")
    one = join(server)
    server.http.delete(f"/v1/connections/{one.whoami()['connection']}")
    one.closed()
    eventually(lambda: server.metric("dormouse_closes_total", code="4503") == before + 1, "one more 4503")
