"""Panics inside an actor, seen from outside: who is told what, what stays, what it costs (promise 4)."""

import threading
import time

import httpx
import pytest
from client import channel_names, cursor, eventually, fresh
from serving import Server


def crash(one) -> dict:
    """Panics the actor by a request; the `restarted` frame."""
    number = one.ask("chaos", fault="panic")
    error = one.take("reply", id=number)["error"]
    assert (error["code"], error["retry"]) == ("crashed", "later")
    restarted = one.take("restarted")
    assert restarted.get("request") == number
    return restarted


def test_a_crash_is_told_with_a_new_generation(server, join, enc):
    one = join(server, enc=enc)
    for n in range(1, 4):
        restarted = crash(one)
        assert restarted["generation"] == one.ready["generation"] + n
        assert restarted["lost"] == 0
    assert one.whoami()["generation"] == one.ready["generation"] + 3
    assert one.settle() == []


def test_a_crash_without_an_id_is_told_too(server, join, enc):
    one = join(server, enc=enc)
    one.send("chaos", fault="panic")
    restarted = one.take("restarted")
    assert restarted["generation"] == one.ready["generation"] + 1
    assert restarted.get("request") is None
    assert restarted["lost"] in (0, 1)
    assert not [frame for frame in one.settle() if frame["op"] == "reply"]


def test_session_and_subscriptions_survive_a_crash(server, join, enc):
    one, other = join(server, enc=enc), join(server)
    channels = [fresh("room:"), fresh("live:")]
    for channel in channels:
        one.subscribe(channel)
    before = one.whoami()
    crash(one)
    after = one.whoami()
    assert {**after, "generation": 0} == {**before, "generation": 0}
    for channel in channels:
        other.publish(channel, 1)
        assert one.take("event", channel=channel)["data"] == 1


def test_every_request_around_a_crash_gets_exactly_one_reply(server, join, enc):
    one = join(server, enc=enc)
    channel, second = fresh("room:"), fresh("room:")
    ids = [one.ask("subscribe", channel=channel)]
    ids += [one.ask("publish", channel=channel, data=n) for n in range(20)]
    crashed = one.ask("chaos", fault="panic")
    ids += [one.ask("publish", channel=channel, data=n) for n in range(20, 40)]
    ids += [one.ask("subscribe", channel=second), one.ask("signal", channel=channel, kind="typing"), one.ask("whoami")]
    again = one.ask("chaos", fault="panic")
    ids += [one.ask("whoami")]
    frames, wanted = [], {*ids, crashed, again}
    while wanted:
        frame = one.next()
        frames.append(frame)
        if frame["op"] == "reply":
            wanted.discard(frame["id"])
    frames += one.settle()
    replies = [frame for frame in frames if frame["op"] == "reply"]
    assert sorted(reply["id"] for reply in replies) == sorted([*ids, crashed, again])
    assert {reply["id"] for reply in replies if "error" in reply} == {crashed, again}
    assert [frame["data"] for frame in frames if frame["op"] == "event"] == list(range(40))
    assert [frame["request"] for frame in frames if frame["op"] == "restarted"] == [crashed, again]
    assert not [frame for frame in frames if frame["op"] == "error"]
    assert channel_names(one.whoami()["subscriptions"]) == {channel, second}


def test_nobody_else_notices_a_crash(server, join):
    channel = fresh("room:")
    bystanders = [join(server, enc=("json", "msgpack")[n % 2]) for n in range(10)]
    victims = [join(server) for _ in range(5)]
    for one in bystanders + victims:
        one.subscribe(channel)
    writer = join(server)

    def write():
        for n in range(200):
            writer.publish(channel, n)

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(8):
        for victim in victims:
            crash(victim)
    thread.join()
    for one in bystanders:
        assert [event["data"] for event in one.events(channel, 200)] == list(range(200))
        assert one.settle() == []
        assert one.whoami()["generation"] == one.ready["generation"]
    for one in victims:
        assert [event["data"] for event in one.events(channel, 200)] == list(range(200)), "not even the victims"
        assert one.settle() == []


def test_a_spent_budget_closes_4000_and_the_session_can_come_back(start, join, enc):
    server = start({"chaos.enabled": True, "supervision.max_restarts": 2, "supervision.within": "60s"})
    one = join(server, enc=enc)
    channel = fresh("room:")
    at = cursor(one.subscribe(channel))
    crash(one)
    crash(one)
    one.ask("chaos", fault="panic")
    assert one.closed() == (4000, "gave_up")
    missed = join(server).publish(channel, "missed")["offset"]
    back = join(server, one.user, enc, resume=one.ready["session"], cursors={channel: at})
    assert back.ready["resumed"] is True
    assert back.take("event", channel=channel)["offset"] == missed
    assert server.metric("dormouse_gave_up_total") == 1
    # Only time refills a budget.
    back.ask("chaos", fault="panic")
    assert back.closed() == (4000, "gave_up")


def test_five_restarts_in_ten_seconds_are_the_default(start, join):
    server = start({"chaos.enabled": True})
    one = join(server)
    for _ in range(5):
        crash(one)
    one.ask("chaos", fault="panic")
    assert one.closed() == (4000, "gave_up")


def test_one_connections_budget_is_its_own(start, join):
    server = start({"chaos.enabled": True, "supervision.max_restarts": 1, "supervision.within": "60s"})
    one, two = join(server), join(server)
    crash(one)
    one.ask("chaos", fault="panic")
    assert one.closed()[0] == 4000
    crash(two)
    two.whoami()


def test_the_generation_survives_a_resume(server, join, enc):
    one = join(server, enc=enc)
    generation = crash(one)["generation"]
    one.cut()
    back = join(server, one.user, enc, resume=one.ready["session"])
    assert back.ready["resumed"] is True and back.ready["generation"] == generation
    assert crash(back)["generation"] == generation + 1


def test_a_stalled_turn_is_answered_late_and_counted_not_crashed(server, join, enc):
    one = join(server, enc=enc)
    assert one.request("chaos", fault="stall", ms=200) is not None
    assert one.whoami()["generation"] == one.ready["generation"]


def test_a_full_mailbox_leaves_no_request_without_an_answer(start, join, enc):
    server = start({"chaos.enabled": True, "limits.mailbox": 8})
    one = join(server, enc=enc)
    ids = [one.ask("chaos", fault="stall", ms=300), *(one.ask("whoami") for _ in range(500))]
    replies = [one.take("reply", id=number) for number in ids]
    assert all("ok" in reply or reply["error"]["code"] == "overloaded" for reply in replies)
    assert not [frame for frame in one.settle() if frame["op"] == "reply"]


def test_crashes_and_restarts_are_counted(server, join):
    before = [server.metric(name) for name in ("dormouse_crashes_total", "dormouse_restarts_total",
                                               "dormouse_restart_seconds_count")]
    node = server.node()["restarts"]
    one = join(server)
    crash(one)
    after = [server.metric(name) for name in ("dormouse_crashes_total", "dormouse_restarts_total",
                                              "dormouse_restart_seconds_count")]
    assert after == [value + 1 for value in before]
    assert server.node()["restarts"] == node + 1


# The chaos API.

def hit(server, **body) -> int:
    answer = server.http.post("/v1/chaos", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["hit"]


def test_chaos_panics_a_named_connection(server, join):
    one, bystander = join(server), join(server)
    assert hit(server, fault="panic", target={"connection": one.whoami()["connection"]}) == 1
    restarted = one.take("restarted")
    assert restarted["generation"] == one.ready["generation"] + 1
    assert restarted.get("request") is None
    one.whoami()
    assert bystander.settle() == [] and bystander.whoami()["generation"] == bystander.ready["generation"]


def test_chaos_panics_a_user(server, join):
    user = fresh("user")
    both = [join(server, user), join(server, user)]
    assert hit(server, fault="panic", target={"user": user}) == 2
    for one in both:
        one.take("restarted")
        one.whoami()


@pytest.mark.parametrize("target, hits", [({"count": 3}, 3), ({"fraction": 0.5}, 5), ({"fraction": 1.0}, 10)])
def test_chaos_panics_a_count_or_a_fraction(start, join, target, hits):
    server = start({"chaos.enabled": True})
    clients = [join(server) for _ in range(10)]
    assert hit(server, fault="panic", target=target) == hits
    eventually(lambda: server.metric("dormouse_restarts_total") == hits, f"{hits} restarts")
    generations = [one.whoami()["generation"] - one.ready["generation"] for one in clients]
    assert sorted(generations) == [0] * (10 - hits) + [1] * hits


def test_chaos_drops_a_socket_and_the_session_parks(server, join, enc):
    one = join(server, enc=enc)
    assert hit(server, fault="drop", target={"user": one.user}) == 1
    one.closed()
    back = join(server, one.user, enc, resume=one.ready["session"])
    assert back.ready["resumed"] is True


def test_chaos_stalls_and_the_rest_goes_on(server, join):
    one = join(server)
    assert hit(server, fault="stall", target={"user": one.user}, ms=200) == 1
    one.whoami()
    assert not [frame for frame in one.settle() if frame["op"] == "restarted"]


def test_chaos_panics_a_shard_and_nobody_is_disconnected(server, join):
    channel = fresh("room:")
    clients = [join(server, enc=("json", "msgpack")[n % 2]) for n in range(12)]
    for one in clients:
        one.subscribe(channel)
    assert hit(server, fault="panic_shard", target={"count": 1}) == 1
    for one in clients:
        one.whoami()
    offset = clients[0].publish(channel, "after")["offset"]
    for one in clients:
        assert one.take("event", channel=channel)["offset"] == offset
    assert hit(server, fault="panic_shard", target={"actor": "shard-0"}) == 1
    for one in clients:
        one.whoami()


def test_chaos_panics_every_system_actor_and_nobody_is_disconnected(server, join):
    one, two = join(server), join(server)
    channel = fresh("chat:")
    one.subscribe(channel)
    for actor in [each if isinstance(each, str) else each["name"] for each in server.node().get("actors", [])]:
        assert hit(server, fault="panic_actor", target={"actor": actor}) == 1
        number = eventually(lambda: two.publish(channel, actor)["offset"], f"a publish after {actor} crashed")
        assert one.take("event", channel=channel, data=actor)["offset"] == number
        one.whoami()


@pytest.mark.parametrize("where", ["turn", "wake"])
def test_chaos_takes_a_place(server, join, where):
    one = join(server)
    assert hit(server, fault="panic", target={"user": one.user}, where=where) == 1
    one.whoami()
    restarted = one.take("restarted")
    assert restarted["generation"] == one.ready["generation"] + 1


def test_a_turn_that_hangs_is_named_while_it_hangs_and_restarted_when_it_ends(start, join):
    server = start({"chaos.enabled": True, "shards.count": 2, "limits.turn_stall": "300ms"})
    clients = [join(server) for _ in range(4)]
    one = clients[0]
    shard = server.http.get(f"/v1/connections/{one.whoami()['connection']}").json()["shard"]
    others = [each for each in clients[1:]
              if server.http.get(f"/v1/connections/{each.whoami()['connection']}").json()["shard"] != shard]
    number = one.ask("chaos", fault="stall", ms=3000)
    stalled = eventually(lambda: server.node()["stalled"], "the stall in /v1/node")
    assert [(each["shard"], each["kind"]) for each in stalled] == [(f"shard-{shard}", "frame")]
    assert stalled[0]["lasted_ms"] >= 300 and server.metric("dormouse_stalled_turns") == 1
    assert others and all(each.whoami() for each in others), "the other shard serves on"
    reply = one.take("reply", id=number)
    assert (reply["error"]["code"], reply["error"]["retry"]) == ("crashed", "later")
    assert one.take("restarted")["generation"] == one.ready["generation"] + 1
    assert eventually(lambda: not server.node()["stalled"], "no stall any more")
    assert any("turn is stuck" in line for line in server.log)


def test_chaos_is_not_found_when_off(plain):
    answer = plain.http.post("/v1/chaos", json={"fault": "panic", "target": {"count": 1}})
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("body", [{}, {"fault": "melt", "target": {"count": 1}}, {"fault": "panic"},
                                  {"fault": "panic", "target": {}}, {"fault": "panic", "target": {"fraction": 7}}])
def test_a_senseless_chaos_request_is_a_bad_request(server, body):
    answer = server.http.post("/v1/chaos", json=body)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "bad_request"


def test_chaos_at_an_unknown_connection_is_not_found_or_hits_none(server):
    answer = server.http.post("/v1/chaos", json={"fault": "panic", "target": {"connection": "nobody"}})
    assert answer.status_code == 404 or answer.json() == {"hit": 0}


def test_a_shard_that_crashes_again_and_again_ends_the_node_in_order(tmp_path):
    server = Server(tmp_path, {"chaos.enabled": True, "listen.drain": "2s", "shards.count": 2})
    try:
        until = time.monotonic() + 60
        while server.process.poll() is None and time.monotonic() < until:
            try:
                hit(server, fault="panic_actor", target={"actor": "shard-0"})
            except (httpx.HTTPError, AssertionError):
                break  # The node is going, as it should.
        assert server.process.wait(timeout=30) == 1
    finally:
        server.kill()
