"""Hello, identify and every op with the shape of its answer (CONTRACT §1, the two tables), in both encodings."""

import pytest
from client import channel_names, fresh


def test_hello_is_the_first_frame_and_tells_the_limits(plain, dial, enc):
    hello = dial(plain, enc).next()
    assert hello["op"] == "hello"
    assert hello["heartbeat_ms"] == 45000
    assert hello["identify_within_ms"] == 10000
    assert hello["max_frame_bytes"] == 65536
    assert isinstance(hello["node"], str) and hello["node"]
    assert isinstance(hello["version"], str) and hello["version"]


def test_ready_follows_identify(server, dial, enc):
    one = dial(server, enc)
    ready = one.identify("alice")
    assert ready["user"] == "alice"
    assert isinstance(ready["session"], str) and len(ready["session"]) >= 16
    assert ready["resumed"] is False
    assert isinstance(ready["generation"], int)
    assert ready["subscriptions"] == []
    assert ready["memberships"] == []


def test_the_session_secret_differs_with_every_ready(server, join):
    assert len({join(server, "alice").ready["session"] for _ in range(5)}) == 5


def test_a_request_before_identify_is_not_identified(server, dial, enc):
    one = dial(server, enc)
    assert one.refused("subscribe", channel="room:1")["code"] == "not_identified"
    assert one.refused("publish", channel="room:1", data=1)["code"] == "not_identified"
    one.identify("alice")


def test_a_second_identify_is_a_bad_request_with_open_auth(server, join, enc):
    one = join(server, enc=enc)
    one.send("identify", token=one.user)
    assert one.take("error")["code"] == "bad_request"
    one.whoami()


def test_heartbeat_is_acknowledged(server, join, enc):
    one = join(server, enc=enc)
    one.send("heartbeat")
    assert one.take("heartbeat_ack")["op"] == "heartbeat_ack"


def test_subscribe_replies_with_the_head(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    reply = one.subscribe(channel)
    assert reply["channel"] == channel
    assert isinstance(reply["epoch"], str) and reply["epoch"]
    assert isinstance(reply["offset"], int)
    assert reply["recovered"] is True
    assert reply.get("presence") is None
    published = one.publish(channel, {"n": 1})
    again = one.subscribe(channel)
    assert again["offset"] == published["offset"]
    assert again["epoch"] == reply["epoch"]


def test_publish_replies_with_offset_time_and_duplicate(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    head = one.subscribe(channel)["offset"]
    ok = one.publish(channel, "hi")
    assert ok["offset"] > head
    assert ok["at"] > 1_700_000_000_000
    assert ok["duplicate"] is False


@pytest.mark.parametrize("data", [None, True, 0, -7, 2**53 - 1, 1.5, "", "grüße 🐭", [], [1, [2, {"a": None}]], {},
                                  {"nested": {"list": [1, "2", 3.5, False]}}])
def test_an_event_carries_what_was_published(server, join, enc, data):
    one = join(server, enc=enc)
    channel = fresh("room:")
    one.subscribe(channel)
    ok = one.publish(channel, data)
    event = one.take("event", channel=channel)
    assert event["offset"] == ok["offset"]
    assert event["from"] == one.user
    assert event["at"] == ok["at"]
    assert event["data"] == data and type(event["data"]) is type(data)
    assert event.get("key") is None


def test_data_passes_between_the_encodings_unchanged(server, join):
    channel = fresh("room:")
    text, binary = join(server, enc="json"), join(server, enc="msgpack")
    for one in (text, binary):
        one.subscribe(channel)
    data = {"text": "línea\n\"quoted\" \\ \u2028 🐭", "numbers": [0, -1, 2**31, 2**53 - 1, 0.1], "none": None}
    for sender in (text, binary):
        sender.publish(channel, data)
        assert [one.take("event", channel=channel)["data"] for one in (text, binary)] == [data, data]


def test_publishing_needs_no_subscription(server, join, enc):
    writer, reader = join(server, enc=enc), join(server)
    channel = fresh("room:")
    reader.subscribe(channel)
    writer.publish(channel, 1)
    assert reader.take("event", channel=channel)["from"] == writer.user
    assert not [frame for frame in writer.settle() if frame["op"] == "event"]


def test_unsubscribe_ends_the_events(server, join, enc):
    one, other = join(server, enc=enc), join(server)
    channel = fresh("room:")
    one.subscribe(channel)
    assert one.request("unsubscribe", channel=channel) == {}
    other.publish(channel, 1)
    one.publish(channel, 2)
    assert not [frame for frame in one.settle() if frame["op"] == "event"]
    assert channel not in channel_names(one.whoami()["subscriptions"])


def test_the_same_key_publishes_once(server, join, enc):
    one, other = join(server, enc=enc), join(server, enc=enc)
    channel, elsewhere = fresh("room:"), fresh("room:")
    one.subscribe(channel)
    first = one.publish(channel, "a", key="k1")
    second = one.publish(channel, "b", key="k1")
    assert (second["offset"], second["duplicate"]) == (first["offset"], True)
    assert second["at"] == first["at"]
    third = other.publish(channel, "c", key="k1")
    assert third["duplicate"] is False and third["offset"] > first["offset"]
    assert one.publish(elsewhere, "d", key="k1")["duplicate"] is False
    assert one.publish(channel, "e", key="k2")["duplicate"] is False
    got = [frame for frame in one.settle() if frame["op"] == "event"]
    assert [(event["data"], event.get("key")) for event in got] == [("a", "k1"), ("c", "k1"), ("e", "k2")]


def test_the_same_key_is_known_after_a_resume(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    first = one.publish(channel, "a", key="k1")
    one.cut()
    back = join(server, one.user, enc, resume=one.ready["session"])
    assert back.publish(channel, "a", key="k1") == {**first, "duplicate": True}


def test_a_signal_goes_to_everyone_but_its_sender(server, join, enc):
    user = fresh("user")
    sender, same_user, other = join(server, user, enc), join(server, user, enc), join(server, enc=enc)
    channel = fresh("room:")
    for one in (sender, same_user, other):
        one.subscribe(channel)
    assert sender.request("signal", channel=channel, kind="typing", data={"on": True}) == {}
    for one in (same_user, other):
        signal = one.take("signal", channel=channel)
        assert (signal["from"], signal["kind"], signal["data"]) == (user, "typing", {"on": True})
    sender.send("signal", channel=channel, kind="stopped")
    for one in (same_user, other):
        signal = one.take("signal", channel=channel)
        assert signal["kind"] == "stopped" and signal.get("data") is None
    assert not [frame for frame in sender.settle() if frame["op"] in ("signal", "error")]


def test_a_signal_is_never_stored(server, join):
    sender = join(server)
    channel = fresh("room:")
    at = sender.subscribe(channel)
    sender.request("signal", channel=channel, kind="typing")
    late = join(server)
    reply = late.subscribe(channel, **{"from": {"epoch": at["epoch"], "offset": at["offset"]}})
    assert reply["recovered"] is True and reply["offset"] == at["offset"]
    assert not [frame for frame in late.settle() if frame["op"] in ("signal", "event")]


def test_whoami_tells_who_and_where(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    one.subscribe(channel)
    me = one.whoami()
    assert me["user"] == one.user
    assert me["session"] == one.ready["session"]
    assert isinstance(me["connection"], str) and me["connection"]
    assert me["generation"] == one.ready["generation"]
    assert channel_names(me["subscriptions"]) == {channel}


@pytest.mark.parametrize("status", ["online", "idle", "busy", "invisible"])
def test_status_is_accepted(server, join, enc, status):
    one = join(server, enc=enc)
    assert one.request("status", status=status) == {}
    one.send("status", status="online")
    assert not [frame for frame in one.settle() if frame["op"] == "error"]


@pytest.mark.parametrize("number", [0, 1, 2**31, 2**53 - 1])
def test_the_id_comes_back_as_it_was(server, join, enc, number):
    one = join(server, enc=enc)
    one.send("whoami", id=number)
    assert one.take("reply")["id"] == number


def test_requests_without_an_id_are_served_in_silence(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    one.send("subscribe", channel=channel)
    one.send("publish", channel=channel, data=1)
    assert one.take("event", channel=channel)["data"] == 1
    one.send("unsubscribe", channel=channel)
    assert one.settle() == []


def test_unknown_fields_are_ignored(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    one.subscribe(channel, colour="brown", nested={"op": "publish", "id": 9})
    one.publish(channel, 1, op2="x", ttl=[1, 2])
    assert one.take("event", channel=channel)["data"] == 1


def test_hundreds_of_pipelined_requests_each_get_one_reply(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    one.subscribe(channel)
    ids = [one.ask("publish", channel=channel, data=n) for n in range(500)]
    offsets = [one.answer(number)["offset"] for number in ids]
    assert offsets == sorted(set(offsets))
    frames = one.settle()
    assert [frame["data"] for frame in frames if frame["op"] == "event"] == list(range(500))
    assert not [frame for frame in frames if frame["op"] == "reply"]
