"""Frames that cannot be served: what the answer says, what counts against the client, what does not."""

import re

import msgpack
import pytest
from client import check_error, fresh

BROKEN = {
    "json": ["", "{", "nonsense", '{"op":"whoami",}', '{"op":"whoami"} trailing', "[" * 30000, '{"op": "who\x01ami"}'],
    "msgpack": [b"", b"\xc1", b"\x82\xa2op", b"\xdf\xff\xff\xff\xff", b"\x91" * 30000, b"\xdb\xff\xff\xff\xffabc"],
}
NAMELESS = ["", "a b", "grüße", "a/b", "a,b", "a\nb", "a#b", "x" * 256]


def test_undecodable_frames_get_an_error_and_the_connection_stays(server, join, enc):
    one = join(server, enc=enc)
    for payload in BROKEN[enc]:
        one.send_raw(payload)
        error = one.take("error")
        check_error(error)
        assert error["code"] == "bad_frame", (payload[:20], error)
    one.whoami()


@pytest.mark.parametrize("value", [[], 1, "whoami", None, True])
def test_a_frame_that_is_no_object_gets_an_error(server, join, enc, value):
    one = join(server, enc=enc)
    one.send_raw(one.encode(value))
    error = one.take("error")
    check_error(error)
    assert error["code"] in ("bad_frame", "bad_request")
    one.whoami()


def test_a_frame_of_the_wrong_kind_gets_an_error(server, join, enc):
    one = join(server, enc=enc)
    one.send_raw(msgpack.packb({"op": "whoami", "id": 1}) if enc == "json" else '{"op":"whoami","id":1}')
    error = one.take("error")
    check_error(error)
    assert error["code"] == "bad_frame"
    one.whoami()


def test_more_bad_frames_than_allowed_close_4505(plain, join, enc):
    one = join(plain, enc=enc)
    for _ in range(16):
        one.send_raw("{" if enc == "json" else b"\xc1")
        assert one.take("error")["code"] == "bad_frame"
    one.whoami()
    one.send_raw("{" if enc == "json" else b"\xc1")
    assert one.closed() == (4505, "protocol_violation")


def test_bad_requests_do_not_count_as_bad_frames(plain, join, enc):
    one = join(plain, enc=enc)
    for _ in range(20):
        assert one.refused("subscribe")["code"] == "bad_request"
        assert one.refused("subscribe", channel="a b")["code"] == "bad_request"
        assert one.refused("subscribe", channel=7)["code"] == "bad_request"
    one.whoami()


def test_bad_frames_before_identify_count_too(start, dial):
    server = start({"limits.bad_frames": 3})
    one = dial(server)
    for _ in range(4):
        one.send_raw("{")
    assert one.closed() == (4505, "protocol_violation")


def test_an_unknown_op_is_named(server, join, enc):
    one = join(server, enc=enc)
    error = one.refused("publsh", channel="a")
    assert (error["code"], error["message"], error["retry"]) == ("unknown_op", 'unknown op "publsh"', "never")
    one.send("publsh", channel="a")
    error = one.take("error")
    check_error(error)
    assert (error["code"], error["message"]) == ("unknown_op", 'unknown op "publsh"')
    one.whoami()


@pytest.mark.parametrize("op, field, fields", [
    ("subscribe", "channel", {}),
    ("unsubscribe", "channel", {}),
    ("publish", "channel", {"data": 1}),
    ("signal", "channel", {"kind": "typing"}),
    ("signal", "kind", {"channel": "room:1"}),
    ("presence", "channel", {}),
    ("status", "status", {}),
    ("chaos", "fault", {}),
])
def test_a_missing_field_is_named(server, join, enc, op, field, fields):
    one = join(server, enc=enc)
    error = one.refused(op, **fields)
    assert error["code"] == "bad_request" and error["retry"] == "never"
    assert f"missing field `{field}`" in error["message"]
    one.send(op, **fields)
    error = one.take("error")
    assert error["code"] == "bad_request" and f"missing field `{field}`" in error["message"]
    one.whoami()


def test_a_missing_field_tells_line_and_column(server, join):
    one = join(server)
    one.send_raw('{"op":"publish","id":1}')
    message = one.take("reply", id=1)["error"]["message"]
    assert re.fullmatch(r"missing field `channel` at line 1 column 2[23]", message), message
    one.send_raw('{"op":"publish",\n "id":2}')
    message = one.take("reply", id=2)["error"]["message"]
    assert re.fullmatch(r"missing field `channel` at line 2 column [78]", message), message


def test_a_missing_op_is_named(server, join, enc):
    one = join(server, enc=enc)
    one.send_raw(one.encode({"id": 5, "channel": "room:1"}))
    error = one.take("reply", id=5)["error"]
    assert error["code"] == "bad_request" and "missing field `op`" in error["message"]


@pytest.mark.parametrize("fields", [
    {"channel": 7}, {"channel": ["room:1"]}, {"channel": None},
    {"channel": "room:1", "from": 3}, {"channel": "room:1", "from": {"epoch": 1, "offset": 1}},
    {"channel": "room:1", "from": {"epoch": "x"}}, {"channel": "room:1", "from": {"epoch": "x", "offset": "1"}},
    {"channel": "room:1", "from": {"epoch": "x", "offset": -1}}, {"channel": "room:1", "last": "many"},
    {"channel": "room:1", "presence": "yes"},
])
def test_a_wrong_type_is_a_bad_request(server, join, enc, fields):
    one = join(server, enc=enc)
    assert one.refused("subscribe", **fields)["code"] == "bad_request"
    one.whoami()


@pytest.mark.parametrize("op", ["subscribe", "publish", "signal", "presence"])
@pytest.mark.parametrize("name", NAMELESS)
def test_a_bad_channel_name_is_a_bad_request(server, join, op, name):
    one = join(server)
    error = one.refused(op, channel=name, data=1, kind="typing")
    assert (error["code"], error["retry"]) == ("bad_request", "never")


@pytest.mark.parametrize("name", ["a", "A-Z.a_z:0@9+", "::", "x" * 255])
def test_a_good_channel_name_is_accepted(server, join, enc, name):
    one = join(server, enc=enc)
    assert one.subscribe(name)["channel"] == name


@pytest.mark.parametrize("number", ["seven", [1], {"a": 1}, True])
def test_an_id_that_is_no_number_is_a_bad_request(server, join, enc, number):
    one = join(server, enc=enc)
    one.send("whoami", id=number)
    error = one.take("error")
    check_error(error)
    assert error["code"] == "bad_request"
    one.whoami()


@pytest.mark.parametrize("fields", [{"status": "asleep"}, {"status": 3}])
def test_an_unknown_status_is_a_bad_request(server, join, enc, fields):
    assert join(server, enc=enc).refused("status", **fields)["code"] == "bad_request"


def test_an_unknown_fault_is_a_bad_request(server, join, enc):
    assert join(server, enc=enc).refused("chaos", fault="melt")["code"] == "bad_request"


def test_chaos_is_forbidden_when_off(plain, join, enc):
    one = join(plain, enc=enc)
    error = one.refused("chaos", fault="panic")
    assert (error["code"], error["retry"]) == ("forbidden", "never")
    one.send("chaos", fault="panic")
    assert one.take("error")["code"] == "forbidden"
    assert one.whoami()["generation"] == one.ready["generation"]


def test_a_failed_request_with_an_id_is_never_also_an_error_frame(server, join, enc):
    one = join(server, enc=enc)
    for _ in range(3):
        one.refused("subscribe", channel="a b")
        one.refused("publsh")
        one.refused("publish")
    assert one.settle() == []


def test_too_many_subscriptions_are_too_large(start, join):
    server = start({"limits.subscriptions": 3})
    for enc in ("json", "msgpack"):
        one = join(server, enc=enc)
        names = [fresh("room:") for _ in range(4)]
        for name in names[:3]:
            one.subscribe(name)
        error = one.refused("subscribe", channel=names[3])
        assert (error["code"], error["retry"]) == ("too_large", "never")
        one.subscribe(names[0])
        one.request("unsubscribe", channel=names[0])
        one.subscribe(names[3])


def test_the_default_allows_128_subscriptions(plain, join):
    one = join(plain)
    ids = [one.ask("subscribe", channel=f"room:{n}") for n in range(128)]
    for number in ids:
        one.answer(number)
    assert one.refused("subscribe", channel="room:128")["code"] == "too_large"


def test_publishing_too_fast_is_rate_limited(start, join, enc):
    server = start({"limits.publish_per_second": 5, "limits.publish_burst": 5})
    one = join(server, enc=enc)
    channel = fresh("room:")
    ids = [one.ask("publish", channel=channel, data=n) for n in range(8)]
    replies = [one.take("reply", id=number) for number in ids]
    assert all("ok" in reply for reply in replies[:5]), replies
    errors = [reply["error"] for reply in replies if "error" in reply]
    assert errors
    for error in errors:
        check_error(error)
        assert (error["code"], error["retry"]) == ("rate_limited", "later")
        assert 0 < error["retry_after_ms"] <= 2000
    # Waiting as told is enough.
    try:
        one.receive(timeout=errors[0]["retry_after_ms"] / 1000 + 0.02)
    except TimeoutError:
        pass
    one.publish(channel, "again")
    # Everyone has a limit of his own, and the HTTP API none.
    join(server, enc=enc).publish(channel, "other")
    for n in range(20):
        assert server.http.post("/v1/publish", json={"channel": channel, "data": n}).status_code == 200
