"""Memberships, cursors, receipts, history and channels for two, as clients and the API see them.

Names are fresh per test, so most share one server with two shards or more; whatever must survive a kill has its own.
"""

import pytest

from client import channel_names, cursor, eventually, fresh

BEHIND = {"shards.count": 2, "limits.publish_per_second": 1000000, "limits.publish_burst": 1000000,
          "channels.chat.history_events": 100000, "channels.chat.catch_up_limit": 100000}


def room():
    return fresh("chat:")


def membership(ready, channel):
    found = [each for each in ready["memberships"] if each["channel"] == channel]
    assert len(found) == 1, ready["memberships"]
    return found[0]


def ops(frames, *names):
    return [frame for frame in frames if frame["op"] in names]


def test_who_joins_is_subscribed_on_every_session_until_he_leaves(server, join, enc):
    channel, user = room(), fresh("user")
    one, two, bob = join(server, user, enc), join(server, user, enc), join(server)
    bob.publish(channel, "before")
    joined = one.request("join", channel=channel)
    assert (joined["channel"], joined["offset"]) == (channel, 1)
    assert channel in channel_names(one.whoami()["subscriptions"])
    bob.publish(channel, "both")
    for session in (one, two):
        assert [event["data"] for event in session.events(channel, 1)] == ["both"]
    again = one.request("join", channel=channel)
    assert again["epoch"] == joined["epoch"]
    three = join(server, user, enc)
    assert membership(three.ready, channel) == {
        "channel": channel, "epoch": joined["epoch"], "offset": 2, "delivered": 1, "read": 1, "unread": 1}
    assert three.ready["subscriptions"] == [
        {"channel": channel, "epoch": joined["epoch"], "offset": 2, "recovered": True}]
    assert [event["data"] for event in three.events(channel, 1)] == ["both"], "from his cursor"
    assert two.request("leave", channel=channel) == {}
    assert two.request("leave", channel=channel) == {}
    eventually(lambda: channel not in channel_names(one.whoami()["subscriptions"]), "the other session is told")
    eventually(lambda: channel not in channel_names(three.whoami()["subscriptions"]))
    bob.publish(channel, "gone")
    for session in (one, two, three):
        assert ops(session.settle(), "event", "error") == []
    assert join(server, user, enc).ready["memberships"] == []


def test_sessions_are_told_of_memberships_that_begin_and_end_elsewhere(server, join, enc):
    alice, bob, channel = direct()
    one, two, other = join(server, alice, enc), join(server, alice, enc), join(server, bob, enc)
    other.publish(channel, "first")
    for session in (one, two):
        begun = session.take("membership", channel=channel)
        assert (begun["offset"], begun["delivered"], begun["read"], begun["unread"]) == (0, 0, 0, 0)
        event = session.events(channel, 1)[0]
        assert (event["offset"], event["data"]) == (1, "first"), "the membership comes before its first event"
    assert begun["epoch"] == membership(join(server, alice, enc).ready, channel)["epoch"]
    two.request("leave", channel=channel)
    assert one.take("membership", channel=channel) == {"op": "membership", "channel": channel, "left": True}
    assert ops(one.settle(), "membership") == []
    server.http.put(f"/v1/channels/{channel}/members/{alice}")
    assert one.take("membership", channel=channel)["read"] == 1, "cursors of a new member are at the head"


def test_who_belongs_to_a_channel_how_far_they_got_and_when_they_went(server, join, enc):
    channel = room()
    ann, bob = join(server, fresh("ann"), enc), join(server, fresh("bob"), enc)
    assert ann.request("members", channel=channel) == {"count": 0, "members": []}
    for user in (ann, bob):
        user.request("join", channel=channel)
    ann.publish(channel, "hello")
    bob.request("ack", channel=channel, read=1)
    answer = ann.request("members", channel=channel)
    assert answer["count"] == 2
    first, second = answer["members"]
    assert (first["user"], first["delivered"], first["read"]) == (ann.user, 0, 0)
    assert (second["user"], second["delivered"], second["read"]) == (bob.user, 1, 1)
    assert second["last_seen"] > 0
    bob.bye()
    eventually(lambda: ann.request("presence", channel=channel)["count"] == 1, "bob has gone")
    gone = ann.request("members", channel=channel)["members"][1]
    assert (gone["user"], gone["last_seen"] >= second["last_seen"]) == (bob.user, True)
    assert ann.refused("members", channel="dm:bob+carl")["code"] == "forbidden"
    assert ann.refused("members", channel=fresh("room:"))["code"] == "unavailable"


def test_own_events_come_back_on_every_session_and_count_as_read_by_nobody(server, join):
    channel, user = room(), fresh("user")
    one, two = join(server, user), join(server, user)
    one.request("join", channel=channel)
    one.publish(channel, "mine")
    for session in (one, two):
        assert session.events(channel, 1)[0]["from"] == user
    assert membership(join(server, user).ready, channel)["unread"] == 0, "others sent nothing"


def test_cursors_move_forward_only_belong_to_the_user_and_make_receipts(server, join, enc):
    channel, user = room(), fresh("user")
    one, two, bob = join(server, user, enc), join(server, user, enc), join(server, None, enc)
    one.request("join", channel=channel)
    bob.subscribe(channel)
    for n in range(5):
        bob.publish(channel, n)
    assert one.request("ack", channel=channel, delivered=3) == {"delivered": 3, "read": 0}
    receipt = {"channel": channel, "user": user, "delivered": 3, "read": 0}
    assert bob.take("receipt", delivered=3) == {"op": "receipt", **receipt}
    assert two.take("receipt", delivered=3) == {"op": "receipt", **receipt}, "his other session too"
    assert two.request("ack", channel=channel, read=4) == {"delivered": 4, "read": 4}, "reading implies delivery"
    assert two.request("ack", channel=channel, delivered=1, read=2) == {"delivered": 4, "read": 4}
    assert two.request("ack", channel=channel, read=99) == {"delivered": 5, "read": 5}, "not beyond the head"
    last = bob.take("receipt", read=5)
    assert last["delivered"] == 5
    assert membership(join(server, user, enc).ready, channel)["unread"] == 0
    error = one.refused("ack", channel=channel)
    assert (error["code"], error["retry"]) == ("bad_request", "never")
    one.send("ack", channel=channel)
    assert one.take("error")["code"] == "bad_request"


def test_receipts_of_many_acks_are_few(server, join):
    channel = room()
    ann, bob = join(server), join(server)
    ann.request("join", channel=channel)
    bob.subscribe(channel)
    for n in range(200):
        bob.publish(channel, n)
    for n in range(1, 201):
        ann.send("ack", channel=channel, read=n)
    assert ann.request("ack", channel=channel, read=1) == {"delivered": 200, "read": 200}
    bob.take("receipt", read=200)
    receipts = ops(bob.settle(), "receipt")
    assert [each["read"] for each in receipts] == sorted(each["read"] for each in receipts)
    assert len(receipts) < 50, f"{len(receipts)} receipts of 200 acks"


def test_history_pages_both_ways_on_the_socket_as_over_http(server, join, enc):
    channel = room()
    ann = join(server, None, enc)
    for n in range(1, 21):
        ann.publish(channel, n, key=f"k{n}")
    ann.subscribe(channel, last=20)
    events = [{key: value for key, value in event.items() if key != "op"} for event in ann.events(channel, 20)]

    def page(**bounds):
        answer = ann.request("history", channel=channel, **bounds)
        assert server.http.get(f"/v1/channels/{channel}/history", params=bounds).json() == answer
        return [event["offset"] for event in answer["events"]], answer["more"]

    assert ann.request("history", channel=channel, limit=100) == {"events": events, "more": False}
    assert page(limit=3) == ([18, 19, 20], True)
    assert page(after=2, limit=3) == ([3, 4, 5], True)
    assert page(after=17, limit=3) == ([18, 19, 20], False)
    assert page(after=20, limit=3) == ([], False)
    assert page(before=4, limit=2) == ([2, 3], True)
    assert page(before=4, limit=3) == ([1, 2, 3], False)
    assert page(before=1, limit=3) == ([], False)
    assert page(after=2, limit=5000)[0] == list(range(3, 21))
    assert ann.request("history", channel=room(), limit=3) == {"events": [], "more": False}
    assert ann.refused("history", channel="dm:bob+carl", limit=3)["code"] == "forbidden"


def test_where_nothing_is_durable_there_are_no_memberships(server, join):
    ann, channel = join(server), fresh("room:")
    for op, fields in [("join", {}), ("leave", {}), ("ack", {"read": 1})]:
        error = ann.refused(op, channel=channel, **fields)
        assert (error["code"], error["retry"]) == ("unavailable", "never"), op
    ann.publish(channel, 1)
    assert ann.refused("ack", channel=channel, read=1)["code"] == "unavailable"
    assert [event["data"] for event in ann.request("history", channel=channel, limit=5)["events"]] == [1]


def direct():
    one, two = sorted([fresh("user"), fresh("user")])
    return one, two, f"dm:{one}+{two}"


def test_the_first_message_for_two_reaches_all_sessions_of_both_and_makes_them_members(server, join, enc):
    alice, bob, channel = direct()
    a1, a2, b1, b2 = (join(server, user, enc) for user in (alice, alice, bob, bob))
    carl = join(server, None, enc)
    assert carl.refused("publish", channel=channel, data=1)["code"] == "forbidden"
    assert carl.refused("join", channel=channel)["code"] == "forbidden"
    assert a1.publish(channel, "hello")["offset"] == 1
    for session in (a1, a2, b1, b2):
        event = session.events(channel, 1)[0]
        assert (event["offset"], event["from"], event["data"]) == (1, alice, "hello")
    for user, unread in ((alice, 0), (bob, 1)):
        state = membership(join(server, user, enc).ready, channel)
        assert (state["offset"], state["delivered"], state["unread"]) == (1, 0, unread)
    b1.request("ack", channel=channel, read=1)
    for session in (a1, a2, b1, b2):
        assert session.take("receipt", user=bob)["read"] == 1
    b2.publish(channel, "hi")
    for session in (a1, a2, b1, b2):
        assert session.events(channel, 1)[0]["data"] == "hi"
        assert ops(session.settle(), "event", "gap", "error") == []
    assert ops(carl.settle(), "event", "receipt") == []


def test_who_was_away_finds_his_messages_for_two(server, join):
    alice, bob, channel = direct()
    ann = join(server, alice)
    for n in range(3):
        ann.publish(channel, n)
    late = join(server, bob)
    assert membership(late.ready, channel)["unread"] == 3
    assert [event["data"] for event in late.events(channel, 3)] == [0, 1, 2]
    late.request("leave", channel=channel)
    ann.publish(channel, "once more")
    assert late.events(channel, 1)[0]["data"] == "once more", "a publish makes both members again"


def test_the_api_publishes_to_two_and_keeps_to_their_names(server, join):
    alice, bob, channel = direct()
    session = join(server, bob)
    assert server.http.post("/v1/publish", json={"channel": channel, "data": 1, "from": alice}).json()["offset"] == 1
    assert session.events(channel, 1)[0]["from"] == alice
    for wrong in (f"dm:{bob}+{alice}", "dm:alone", "dm:a+b+c"):
        answer = server.http.post("/v1/publish", json={"channel": wrong, "data": 1})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request"), wrong
        assert server.http.put(f"/v1/channels/{wrong}/members/{alice}").status_code == 400
    assert server.http.put(f"/v1/channels/{channel}/members/{fresh('user')}").status_code == 400


def test_the_api_adds_and_removes_members_and_shows_users(server, join):
    channel, user = room(), fresh("user")
    session = join(server, user)
    path = f"/v1/channels/{channel}/members/{user}"
    added = server.http.put(path).json()
    assert (added["member"], added["offset"], added["delivered"], added["read"]) == (True, 0, 0, 0)
    assert server.http.put(path).json() == added
    server.http.post("/v1/publish", json={"channel": channel, "data": 1})
    assert session.events(channel, 1)[0]["data"] == 1
    session.request("ack", channel=channel, delivered=1)
    shown = server.http.get(f"/v1/users/{user}").json()
    assert shown["memberships"] == [{"channel": channel, "epoch": added["epoch"], "offset": 1, "delivered": 1,
                                     "read": 0, "unread": 1}]
    assert [each["connection"] for each in shown["sessions"]] == [session.whoami()["connection"]]
    assert shown["sessions"][0]["subscriptions"] == [channel]
    before = shown["last_seen"]
    assert server.http.delete(path).json() == {"channel": channel, "user": user, "member": False}
    eventually(lambda: channel not in channel_names(session.whoami()["subscriptions"]))
    session.bye()
    gone = eventually(lambda: (lambda u: u if not u["sessions"] else None)(
        server.http.get(f"/v1/users/{user}").json()), "the session ends")
    assert gone["memberships"] == [] and gone["last_seen"] >= before
    nobody = server.http.get(f"/v1/users/{fresh('nobody')}").json()
    assert (nobody["memberships"], nobody["sessions"], nobody["last_seen"]) == ([], [], None)
    assert server.http.delete(f"/v1/channels/{room()}/members/{user}").status_code == 404
    assert server.http.put(f"/v1/channels/{fresh('room:')}/members/{user}").status_code == 503


def test_a_parked_session_hears_of_memberships_when_it_resumes(server, join):
    kept, left, new, user = room(), room(), room(), fresh("user")
    session, bob = join(server, user), join(server)
    session.request("join", channel=kept)
    session.request("join", channel=left)
    session.cut()
    for channel in (kept, left):
        bob.publish(channel, "away")
    other = join(server, user)
    other.request("join", channel=new)
    other.request("leave", channel=left)
    back = join(server, user, resume=session.ready["session"])
    assert back.ready["resumed"]
    assert channel_names(back.ready["subscriptions"]) == {kept, new}
    assert channel_names(back.ready["memberships"]) == {kept, new}
    assert back.events(kept, 1)[0]["data"] == "away"
    bob.publish(new, "live")
    bob.publish(left, "not for him")
    assert back.events(new, 1)[0]["data"] == "live"
    assert ops(back.settle(), "event") == []


def test_a_reader_far_behind_gets_everything_in_order_then_live_events(start, join, enc):
    server = start(BEHIND)
    channel, count = "chat:long", 20000
    ann = join(server, "ann", enc)
    ann.request("join", channel=channel)
    ann.cut()
    for at in range(0, count, 1000):
        batch = [{"channel": channel, "data": n} for n in range(at, at + 1000)]
        assert server.http.post("/v1/publish/batch", json=batch).status_code == 200
    back, bob = join(server, "ann", enc), join(server, "bob", enc)
    assert membership(back.ready, channel)["unread"] == count
    assert back.ready["subscriptions"][0]["recovered"]
    for n in range(10):
        bob.publish(channel, f"live{n}")
    events = back.events(channel, count + 10)
    assert [event["offset"] for event in events] == list(range(1, count + 11))
    assert [event["data"] for event in events[-10:]] == [f"live{n}" for n in range(10)]
    bob.publish(channel, "last")
    assert back.events(channel, 1)[0]["offset"] == count + 11
    assert ops(back.settle(), "event", "gap") == []
    # A new subscriber from the middle, and one who loses his socket on the way.
    epoch = back.ready["subscriptions"][0]["epoch"]
    half = join(server, "carl", enc)
    assert half.subscribe(channel, **{"from": {"epoch": epoch, "offset": 9000}})["recovered"]
    seen = half.events(channel, 500)
    half.cut()
    at = {"epoch": epoch, "offset": seen[-1]["offset"]}
    half = join(server, "carl", enc, resume=half.ready["session"], cursors={channel: at})
    assert half.ready["resumed"] and half.ready["subscriptions"][0]["recovered"]
    rest = half.events(channel, count + 11 - at["offset"])
    assert [event["offset"] for event in rest] == list(range(at["offset"] + 1, count + 12))
    assert [event["offset"] for event in half.request(
        "history", channel=channel, after=9999, limit=1000)["events"]] == list(range(10000, 11000))
    ledger = eventually(lambda: (lambda l: l if l["pending"] == 0 else None)(server.ledger()))
    assert ledger["offered"] == ledger["delivered"] + sum(ledger["dropped"].values())


def test_beyond_the_catch_up_limit_a_gap_is_told_and_history_has_the_rest(start, join):
    server = start({**BEHIND, "channels.chat.catch_up_limit": 300})
    ann, bob = join(server, "ann"), join(server, "bob")
    epoch = ann.request("join", channel="chat:a")["epoch"]
    ann.bye()
    batch = [{"channel": "chat:a", "data": n} for n in range(3000)]
    server.http.post("/v1/publish/batch", json=batch)
    back = join(server, "ann")
    state = back.ready["subscriptions"][0]
    assert state == {"channel": "chat:a", "epoch": epoch, "offset": 3000, "recovered": False}
    gap = back.take("gap")
    assert (gap["from"], gap["to"], gap["reason"]) == (1, 2700, "catch_up_limit")
    assert [event["offset"] for event in back.events("chat:a", 300)] == list(range(2701, 3001))
    bob.publish("chat:a", "live")
    assert back.events("chat:a", 1)[0]["offset"] == 3001
    read, after = [], 0
    while True:
        page = back.request("history", channel="chat:a", after=after, before=2701, limit=1000)
        read += [event["offset"] for event in page["events"]]
        if not page["more"]:
            break
        after = read[-1]
    assert read == list(range(1, 2701))


def test_memberships_cursors_and_missed_events_survive_a_kill(start, join, tmp_path):
    settings = {**BEHIND, "store.path": str(tmp_path / "durable")}
    first = start(settings)
    ann, bob = join(first, "ann"), join(first, "bob")
    joined = ann.request("join", channel="chat:a")
    bob.publish("dm:ann+bob", "between us")
    for n in range(10):
        bob.publish("chat:a", n)
    assert ann.request("ack", channel="chat:a", delivered=7, read=4) == {"delivered": 7, "read": 4}
    first.kill()

    second = start(settings)
    back = join(second, "ann", resume=ann.ready["session"])
    assert not back.ready["resumed"], "the session went with the process"
    assert membership(back.ready, "chat:a") == {"channel": "chat:a", "epoch": joined["epoch"], "offset": 10,
                                                "delivered": 7, "read": 4, "unread": 6}
    assert membership(back.ready, "dm:ann+bob")["unread"] == 1
    assert all(state["recovered"] for state in back.ready["subscriptions"])
    assert [event["data"] for event in back.events("chat:a", 3)] == [7, 8, 9]
    assert [event["data"] for event in back.events("dm:ann+bob", 1)] == ["between us"]
    own = join(second, "ann", cursors={"chat:a": {"epoch": joined["epoch"], "offset": 2}})
    assert [event["data"] for event in own.events("chat:a", 8)] == list(range(2, 10)), "a cursor of one's own goes first"
    assert join(second, "ann").request("ack", channel="chat:a", delivered=1) == {"delivered": 7, "read": 4}
    second.kill()


@pytest.mark.parametrize("op", ["join", "ack"])
def test_a_failing_disk_refuses_what_it_cannot_keep(start, join, op):
    server = start({**BEHIND, "chaos.enabled": True})
    ann = join(server, "ann")
    ann.publish("chat:a", 1)
    server.http.post("/v1/chaos", json={"fault": "store_fail", "ms": 60000})
    fields = {"read": 1} if op == "ack" else {}
    error = ann.refused(op, channel="chat:a", **fields)
    assert (error["code"], error["retry"]) == ("unavailable", "later")
    assert ann.request("history", channel="chat:a", limit=5)["events"][0]["data"] == 1
    server.http.post("/v1/chaos", json={"fault": "store_fail", "ms": 0})

    def again():
        number = ann.ask(op, channel="chat:a", **fields)
        return "ok" in ann.take("reply", id=number)

    eventually(again)


def test_last_seen_is_in_the_roster(server, join):
    channel = room()
    ann, bob = join(server), join(server)
    ann.request("join", channel=channel)
    bob.subscribe(channel, presence=True)
    users = {each["user"]: each for each in bob.request("presence", channel=channel)["users"]}
    before = users[ann.user]["last_seen"]
    ann.publish(channel, 1)
    users = {each["user"]: each for each in bob.request("presence", channel=channel)["users"]}
    assert users[ann.user]["last_seen"] >= before > 1_600_000_000_000


def test_a_cursor_from_the_reply_of_a_subscription_can_be_used_by_a_member(server, join):
    channel, user = room(), fresh("user")
    session, bob = join(server, user), join(server)
    at = cursor(session.request("join", channel=channel))
    bob.publish(channel, 1)
    session.events(channel, 1)
    again = join(server, user, cursors={channel: {**at, "offset": 1}})
    assert ops(again.settle(), "event") == []


def test_a_crowd_that_comes_back_at_once_gets_everything_and_every_receipt_is_right(server, join):
    """Half of the members are away; the one who wrote learns of each of them how far he got."""
    channel, count, events = fresh("chat:"), 60, 100
    writer = join(server)
    epoch = writer.request("join", channel=channel)["epoch"]
    members = [join(server, fresh("member")) for _ in range(count)]
    for one in members:
        one.request("join", channel=channel)
    away = members[:count // 2]
    for one in away:
        one.ws.close()
    offsets = [writer.request("publish", channel=channel, data=n)["offset"] for n in range(events)]
    back = [join(server, one.user) for one in away]
    for one in back:
        [membership] = [entry for entry in one.ready["memberships"] if entry["channel"] == channel]
        assert (membership["epoch"], membership["unread"]) == (epoch, events)
        assert [one.take("event", channel=channel)["offset"] for _ in offsets] == offsets
    for nth, one in enumerate(back):
        # Each has read another part of it.
        one.send("ack", channel=channel, delivered=offsets[-1], read=offsets[nth])
    wanted = {one.user: (offsets[-1], offsets[nth]) for nth, one in enumerate(back)}
    told = {}
    while told != wanted:
        receipt = writer.take("receipt", channel=channel)
        before = told.get(receipt["user"], (0, 0))
        told[receipt["user"]] = (receipt["delivered"], receipt["read"])
        assert told[receipt["user"]] >= before and receipt["user"] in wanted, "a receipt of nobody, or one that goes back"
    roster = {entry["user"]: entry for entry in writer.request("members", channel=channel)["members"]}
    assert {user: (roster[user]["delivered"], roster[user]["read"]) for user in wanted} == wanted
    assert len(roster) == count + 1
