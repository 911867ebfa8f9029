"""Sessions that outlive their sockets: park, resume, cursors, takeover, expiry, and whose token it is."""

import pytest
from client import channel_names, cursor, eventually, fresh


def drained(one, *ops):
    return [frame for frame in one.settle() if frame["op"] in ops]


def test_a_cut_socket_parks_and_the_token_resumes(server, join, enc):
    one, other = join(server, enc=enc), join(server)
    channels = [fresh("room:"), fresh("chat:")]
    at = {}
    for channel in channels:
        at[channel] = cursor(one.subscribe(channel))
    one.cut()
    missed = {channel: [other.publish(channel, n)["offset"] for n in range(3)] for channel in channels}
    back = join(server, one.user, enc, resume=one.ready["session"], cursors=at)
    assert back.ready["resumed"] is True
    assert back.ready["session"] != one.ready["session"]
    assert back.ready["generation"] == one.ready["generation"]
    found = {each["channel"]: each for each in back.ready["subscriptions"]}
    assert set(found) == set(channels)
    for channel in channels:
        assert found[channel]["recovered"] is True
        assert found[channel]["epoch"] == at[channel]["epoch"]
        assert found[channel]["offset"] == missed[channel][-1]
        assert [event["offset"] for event in back.events(channel, 3)] == missed[channel]
    other.publish(channels[0], "live")
    assert back.take("event")["data"] == "live"
    assert channel_names(back.whoami()["subscriptions"]) == set(channels)


def test_without_a_cursor_a_resumed_channel_goes_on_from_the_head(server, join, enc):
    one, other = join(server, enc=enc), join(server)
    quiet, busy = fresh("room:"), fresh("room:")
    one.subscribe(quiet)
    one.subscribe(busy)
    one.cut()
    eventually(lambda: server.node()["connections"]["parked"] > 0, "a parked session")
    head = other.publish(busy, "missed")["offset"]
    back = join(server, one.user, enc, resume=one.ready["session"])
    found = {each["channel"]: each for each in back.ready["subscriptions"]}
    assert found[quiet]["recovered"] is True
    assert found[busy]["recovered"] is False and found[busy]["offset"] == head
    assert not drained(back, "event")
    other.publish(busy, "live")
    assert back.take("event")["data"] == "live"


def test_a_cursor_of_a_resumed_channel_beyond_what_is_kept_gets_a_gap(start, join, enc):
    server = start({"channels.defaults.history_events": 5})
    one, other = join(server, enc=enc), join(server)
    channel = fresh("room:")
    at = cursor(one.subscribe(channel))
    one.cut()
    offsets = [other.publish(channel, n)["offset"] for n in range(30)]
    back = join(server, one.user, enc, resume=one.ready["session"], cursors={channel: at})
    (found,) = back.ready["subscriptions"]
    assert found["recovered"] is False
    gap = back.take("gap", channel=channel)
    got = [event["offset"] for event in drained(back, "event")]
    assert got == offsets[-len(got):] and len(got) >= 5
    assert at["offset"] < gap["from"] <= offsets[0] and offsets[-len(got) - 1] <= gap["to"] < got[0]


def test_a_cursor_in_identify_subscribes(server, join, enc):
    other = join(server)
    channel = fresh("room:")
    at = cursor(other.subscribe(channel))
    other.publish(channel, "missed")
    one = join(server, enc=enc, cursors={channel: at})
    (found,) = one.ready["subscriptions"]
    assert (found["channel"], found["recovered"]) == (channel, True)
    assert one.take("event")["data"] == "missed"


def test_a_cursor_of_another_epoch_in_identify_gets_a_gap(server, join, enc):
    channel = fresh("room:")
    join(server).publish(channel, 1)
    one = join(server, enc=enc, cursors={channel: {"epoch": "another", "offset": 9}})
    (found,) = one.ready["subscriptions"]
    assert found["recovered"] is False
    assert one.take("gap", channel=channel)["channel"] == channel


@pytest.mark.parametrize("token", ["", "nonsense", "x" * 200])
def test_an_unknown_token_starts_a_fresh_session(server, join, enc, token):
    channel = fresh("room:")
    at = cursor(join(server).subscribe(channel))
    join(server).publish(channel, "missed")
    one = join(server, enc=enc, resume=token, cursors={channel: at})
    assert one.ready["resumed"] is False
    assert one.take("event")["data"] == "missed"


def test_another_users_token_starts_a_fresh_session_and_leaves_his_alone(server, join, enc):
    one = join(server, enc=enc)
    one.subscribe(fresh("room:"))
    thief = join(server, enc=enc, resume=one.ready["session"])
    assert thief.ready["resumed"] is False and thief.ready["subscriptions"] == []
    one.whoami()
    one.cut()
    assert join(server, one.user, enc, resume=one.ready["session"]).ready["resumed"] is True


def test_an_expired_token_starts_a_fresh_session(start, join, enc):
    server = start({"session.resume_window": "300ms"})
    one = join(server, enc=enc)
    one.subscribe(fresh("room:"))
    one.cut()
    eventually(lambda: server.node()["connections"]["total"] == 0 and server.node()["connections"]["parked"] == 0,
               "the session's expiry")
    back = join(server, one.user, enc, resume=one.ready["session"])
    assert back.ready["resumed"] is False and back.ready["subscriptions"] == []


def test_taking_over_keeps_the_subscriptions_and_the_events(server, join, enc):
    one, other = join(server, enc=enc), join(server)
    channel = fresh("room:")
    at = cursor(one.subscribe(channel))
    for n in range(3):
        other.publish(channel, n)
    back = join(server, one.user, enc, resume=one.ready["session"], cursors={channel: at})
    assert back.ready["resumed"] is True
    assert [event["data"] for event in back.events(channel, 3)] == [0, 1, 2]
    assert one.closed() == (4504, "session_taken_over")


def test_the_old_token_stays_good_until_a_frame_after_the_new_ready(server, join, enc):
    one = join(server, enc=enc)
    one.subscribe(fresh("room:"))
    one.cut()
    # Its ready may have been lost with the socket, so the token before it must do.
    lost = join(server, one.user, enc, resume=one.ready["session"])
    assert lost.ready["resumed"] is True
    lost.cut()
    back = join(server, one.user, enc, resume=one.ready["session"])
    assert back.ready["resumed"] is True
    back.whoami()
    back.cut()
    stale = join(server, one.user, enc, resume=one.ready["session"])
    assert stale.ready["resumed"] is False
    assert join(server, one.user, enc, resume=back.ready["session"]).ready["resumed"] is True


def test_resuming_works_again_and_again(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    one.subscribe(channel)
    for _ in range(5):
        one.whoami()
        one.cut()
        one = join(server, one.user, enc, resume=one.ready["session"])
        assert one.ready["resumed"] is True
        assert channel_names(one.ready["subscriptions"]) == {channel}


def test_a_session_resumes_in_the_other_encoding(server, join):
    one = join(server, enc="json")
    channel = fresh("room:")
    one.subscribe(channel)
    one.cut()
    back = join(server, one.user, "msgpack", resume=one.ready["session"])
    assert back.ready["resumed"] is True and channel_names(back.ready["subscriptions"]) == {channel}


def test_a_connection_that_never_identified_leaves_no_session(server, dial):
    before = server.node()["connections"]["parked"]
    one = dial(server)
    one.take("hello")
    one.cut()
    assert server.node()["connections"]["parked"] <= before


def test_two_sessions_of_one_user_are_two(server, join):
    user, channel = fresh("user"), fresh("room:")
    one, two = join(server, user), join(server, user)
    one.subscribe(channel)
    assert two.whoami()["subscriptions"] == []
    assert one.whoami()["connection"] != two.whoami()["connection"]
    two.bye()
    one.whoami()
