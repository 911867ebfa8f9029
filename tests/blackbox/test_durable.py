"""Durable channels: what is acknowledged is on disk, in order, once, through kill -9, and through disks that fail.

The killing is random; the seed is printed, `DORMOUSE_KILL_SEED` repeats it and `DORMOUSE_KILLS` says how many.
"""

import os
import random
import threading

import pytest
from websockets.exceptions import ConnectionClosed, WebSocketException

from client import Client, Refused, eventually, fresh

ROOMY = {"limits.publish_per_second": 1000000, "limits.publish_burst": 1000000,
         "channels.chat.history_events": 100000, "channels.chat.catch_up_limit": 100000}
PUBLISHERS = 4
CHANNELS = ["chat:a", "chat:b"]


def history(server, channel) -> list[dict]:
    """All kept events, page by page."""
    events, after = [], 0
    while True:
        page = server.http.get(f"/v1/channels/{channel}/history", params={"after": after, "limit": 1000}).json()
        events += page["events"]
        if not page["more"]:
            return events
        after = events[-1]["offset"]


def again(start, server, settings):
    """The same folder, another process."""
    return start({**settings, "store.path": server.store})


def begin(start, tmp_path, settings=None):
    server = start({**ROOMY, **(settings or {}), "store.path": str(tmp_path / "durable")})
    server.store = str(tmp_path / "durable")
    return server


def test_events_cursors_and_keys_survive_a_kill(start, join, tmp_path):
    first = begin(start, tmp_path)
    ann, bob = join(first, "ann"), join(first, "bob")
    subscribed = bob.subscribe("chat:a", presence=True)
    offsets = [ann.publish("chat:a", n, key=f"k{n}")["offset"] for n in range(20)]
    assert offsets == list(range(1, 21))
    seen = bob.events("chat:a", 20)
    first.kill()

    second = again(start, first, ROOMY)
    listed = second.http.get("/v1/channels", params={"prefix": "chat:"}).json()["channels"]
    assert [(each["channel"], each["offset"]) for each in listed] == [("chat:a", 20)]
    assert listed[0]["epoch"] == subscribed["epoch"]
    assert [{**event, "op": "event"} for event in history(second, "chat:a")] == seen
    back = join(second, "bob", cursors={"chat:a": {"epoch": subscribed["epoch"], "offset": 15}})
    assert back.ready["subscriptions"] == [
        {"channel": "chat:a", "epoch": subscribed["epoch"], "offset": 20, "recovered": True}]
    assert back.events("chat:a", 5) == seen[15:]
    repeated = join(second, "ann").publish("chat:a", "other", key="k7")
    assert (repeated["offset"], repeated["duplicate"], repeated["at"]) == (8, True, seen[7]["at"])
    assert join(second, "ann").publish("chat:a", "new")["offset"] == 21
    assert back.events("chat:a", 1)[0]["data"] == "new"
    assert [event for event in back.settle() if event["op"] == "event"] == []
    second.kill()


def test_the_api_joins_the_same_order(start, join, tmp_path):
    server = begin(start, tmp_path)
    ann = join(server, "ann")
    ann.subscribe("chat:a")
    batch = [{"channel": "chat:a", "data": n, "from": "bot"} for n in range(100)]
    asked = [ann.ask("publish", channel="chat:a", data=1000 + n) for n in range(50)]
    placed = server.http.post("/v1/publish/batch", json=batch).json()
    own = [ann.answer(number)["offset"] for number in asked]
    offsets = [one["offset"] for one in placed]
    assert offsets == sorted(offsets) and own == sorted(own)
    assert sorted(offsets + own) == list(range(1, 151))
    events = ann.events("chat:a", 150)
    assert [event["offset"] for event in events] == list(range(1, 151))
    assert {event["offset"]: event["data"] for event in events} == dict(zip(offsets + own, [
        *range(100), *range(1000, 1050)]))
    assert server.metric("dormouse_store_commit_seconds_count") >= 150


def test_a_stopped_server_has_written_everything(start, join, tmp_path):
    first = begin(start, tmp_path)
    assert [join(first, "ann").publish("chat:a", n)["offset"] for n in range(3)] == [1, 2, 3]
    first.stop()
    second = again(start, first, ROOMY)
    assert [event["data"] for event in history(second, "chat:a")] == [0, 1, 2]


def test_a_store_in_use_ends_the_start_with_a_sentence(start, tmp_path):
    first = begin(start, tmp_path)
    with pytest.raises(RuntimeError, match="is in use by another process"):
        again(start, first, ROOMY)


def test_a_failing_disk_refuses_publishes_and_recovers_by_itself(start, join, tmp_path):
    server = begin(start, tmp_path, {"chaos.enabled": True})
    ann, bob = join(server, "ann"), join(server, "bob")
    epoch = bob.subscribe("chat:a")["epoch"]
    ann.publish("chat:a", "before")
    assert server.http.post("/v1/chaos", json={"fault": "store_fail", "ms": 60000}).json() == {"hit": 1}
    for n in range(5):
        error = ann.refused("publish", channel="chat:a", data="lost", key=f"lost{n}")
        assert (error["code"], error["retry"]) == ("unavailable", "later"), error
    answer = server.http.post("/v1/publish", json={"channel": "chat:a", "data": "lost"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    new = ann.refused("subscribe", channel="chat:new")
    assert (new["code"], new["retry"]) == ("unavailable", "later"), new
    assert ann.publish("live:x", 1)["offset"] == 1, "others do not notice"
    assert history(server, "chat:a")[-1]["data"] == "before"
    # A fault that ends at once takes the place of the other one.
    server.http.post("/v1/chaos", json={"fault": "store_fail", "ms": 0})

    def publish():
        try:
            return ann.publish("chat:a", "after", key="lost0")
        except Refused as refusal:
            assert refusal.code == "unavailable"

    assert eventually(publish)["offset"] == 2
    assert ann.subscribe("chat:new")["offset"] == 0
    assert [event["data"] for event in bob.events("chat:a", 2)] == ["before", "after"]
    assert [frame for frame in bob.settle() if frame["op"] == "event"] == []
    server.kill()
    second = again(start, server, ROOMY)
    assert [event["data"] for event in history(second, "chat:a")] == ["before", "after"]
    assert join(second, "bob").subscribe("chat:a", **{"from": {"epoch": epoch, "offset": 2}})["recovered"]


def test_a_hanging_disk_delays_replies_and_events_until_it_is_back(start, join, tmp_path):
    server = begin(start, tmp_path, {"chaos.enabled": True})
    ann, bob = join(server, "ann"), join(server, "bob")
    bob.subscribe("chat:a")
    server.http.post("/v1/chaos", json={"fault": "store_delay", "ms": 60000})
    asked = [ann.ask("publish", channel="chat:a", data=n) for n in range(10)]
    # The connection itself goes on, and nobody has seen what nobody acknowledged.
    assert [frame["op"] for frame in ann.settle()] == []
    assert [frame for frame in bob.settle() if frame["op"] == "event"] == []
    server.http.post("/v1/chaos", json={"fault": "store_delay", "ms": 0})
    assert [ann.answer(number)["offset"] for number in asked] == list(range(1, 11))
    assert [event["data"] for event in bob.events("chat:a", 10)] == list(range(10))


class Publisher(threading.Thread):
    """Publishes with keys until its server dies; repeats what was not answered, and remembers what was."""

    def __init__(self, server, name, first):
        super().__init__(daemon=True)
        self.server, self.user, self.next = server, name, first
        self.acknowledged: dict[tuple[str, str], tuple[int, int]] = {}

    def run(self):
        try:
            client = Client(self.server)
            client.identify(self.user)
            while True:
                asked = []
                for n in range(self.next, self.next + 8):
                    channel = CHANNELS[n % len(CHANNELS)]
                    asked.append((n, channel, client.ask("publish", channel=channel, data=n, key=str(n))))
                for n, channel, number in asked:
                    self.acknowledged[channel, str(n)] = (client.answer(number)["offset"], n)
                    self.next = n + 1
        except (WebSocketException, OSError, TimeoutError, EOFError):
            pass


def test_what_is_acknowledged_is_there_once_and_in_order_after_kills_at_random_moments(start, join, tmp_path):
    kills = int(os.environ.get("DORMOUSE_KILLS", "4"))
    seed = int(os.environ.get("DORMOUSE_KILL_SEED", str(random.randrange(2**32))))
    print(f"DORMOUSE_KILL_SEED={seed} DORMOUSE_KILLS={kills}")
    moments = random.Random(seed)
    server, acknowledged, heard = begin(start, tmp_path), {}, {}
    next_of = [0] * PUBLISHERS
    cursors: dict[str, dict] = {}
    for _ in range(kills):
        listener = join(server, "listener", cursors=cursors)
        assert all(state["recovered"] for state in listener.ready["subscriptions"]), listener.ready
        for channel in CHANNELS if not cursors else []:
            cursors[channel] = {"epoch": listener.subscribe(channel)["epoch"], "offset": 0}
        publishers = [Publisher(server, f"user{n}", next_of[n]) for n in range(PUBLISHERS)]
        for one in publishers:
            one.start()
        for _ in range(moments.randrange(1, 400)):
            note(heard, cursors, listener.take("event"))
        server.kill()
        while True:
            try:
                frame = listener.receive()
            except (ConnectionClosed, TimeoutError):
                break
            if frame["op"] == "event":
                note(heard, cursors, frame)
        for n, one in enumerate(publishers):
            one.join(20)
            assert not one.is_alive()
            next_of[n] = one.next
            for (channel, key), place in one.acknowledged.items():
                known = acknowledged.setdefault((one.user, channel, key), place)
                assert known == place, "a key has two places"
        server = again(start, server, ROOMY)
        server.store = str(tmp_path / "durable")
        check(server, acknowledged)
    caught_up = join(server, "listener", cursors=cursors)
    for state in caught_up.ready["subscriptions"]:
        assert state["recovered"], state
        for _ in range(state["offset"] - cursors[state["channel"]]["offset"]):
            note(heard, cursors, caught_up.events(state["channel"], 1)[0])
    for channel in CHANNELS:
        kept = [(event["offset"], event["from"], event["data"]) for event in history(server, channel)]
        assert [heard[channel, offset] for offset, *_ in kept] == [(user, data) for _, user, data in kept]
    assert len(acknowledged) > 0


def note(heard, cursors, event):
    """Events come once, and each follows the one before."""
    channel, offset = event["channel"], event["offset"]
    last = cursors[channel]
    assert offset == last["offset"] + 1, f"{channel}: {offset} follows {last['offset']}"
    last["offset"] = offset
    heard[channel, offset] = (event["from"], event["data"])


def check(server, acknowledged):
    """Each acknowledged message is at its place, no key is there twice, and each user's messages are in his order."""
    for channel in CHANNELS:
        events = history(server, channel)
        assert [event["offset"] for event in events] == list(range(1, len(events) + 1))
        keys = [(event["from"], event["key"]) for event in events]
        assert len(set(keys)) == len(keys), "a key was published twice"
        at = {(event["from"], event["key"]): (event["offset"], event["data"]) for event in events}
        for (user, of, key), place in acknowledged.items():
            if of == channel:
                assert at.get((user, key)) == place, f"{user} {key} in {channel}: {at.get((user, key))}, not {place}"
        for user in {user for user, _ in keys}:
            own = [int(key) for by, key in keys if by == user]
            assert own == sorted(own), f"{user} in {channel}: out of order"


class Member(threading.Thread):
    """Joins, leaves and acknowledges until his server dies. What he was told is kept; what he asked last may be so too."""

    def __init__(self, server, name, seed):
        super().__init__(daemon=True)
        self.server, self.user, self.chance = server, name, random.Random(seed)
        self.joined: dict[str, bool] = {}
        self.asked: set[str] = set()
        self.cursors: dict[str, tuple[int, int]] = {}

    def run(self):
        try:
            client = Client(self.server)
            client.identify(self.user)
            heads = dict.fromkeys(CHANNELS, 0)
            while True:
                channel = self.chance.choice(CHANNELS)
                op = self.chance.choice(["join", "join", "leave", "ack", "ack", "ack", "ack"])
                for frame in list(client.inbox):
                    if frame["op"] == "event":
                        heads[frame["channel"]] = frame["offset"]
                client.inbox.clear()
                if op == "ack":
                    read = self.chance.randrange(heads[channel] + 1)
                    told = client.request("ack", channel=channel, read=read, delivered=heads[channel])
                    before = self.cursors.get(channel, (0, 0))
                    self.cursors[channel] = (told["delivered"], told["read"])
                    assert self.cursors[channel] >= before and told["delivered"] >= told["read"]
                else:
                    self.asked.add(channel)
                    client.request(op, channel=channel)
                    self.asked.discard(channel)
                    self.joined[channel] = op == "join"
        except (WebSocketException, OSError, TimeoutError, EOFError):
            pass


def test_no_cursor_moves_back_and_no_membership_is_lost_after_kills_at_random_moments(start, join, tmp_path):
    kills = int(os.environ.get("DORMOUSE_KILLS", "4"))
    seed = int(os.environ.get("DORMOUSE_KILL_SEED", str(random.randrange(2**32))))
    print(f"DORMOUSE_KILL_SEED={seed} DORMOUSE_KILLS={kills}")
    moments = random.Random(seed)
    server, publishes, acknowledgements = begin(start, tmp_path), 0, 0
    standing: dict[tuple[str, str], tuple[int, int]] = {}
    for life in range(kills):
        members = [Member(server, f"member{n}", moments.random()) for n in range(4)]
        publishers = [Publisher(server, f"user{n}", life * 1_000_000) for n in range(2)]
        for one in members + publishers:
            one.start()
        listener = join(server, "listener")
        listener.subscribe(CHANNELS[0])
        listener.events(CHANNELS[0], moments.randrange(1, 300))
        server.kill()
        for one in members + publishers:
            one.join(20)
            assert not one.is_alive()
        publishes += sum(len(one.acknowledged) for one in publishers)
        acknowledgements += sum(len(one.cursors) for one in members)
        server = again(start, server, ROOMY)
        server.store = str(tmp_path / "durable")
        for one in members:
            shown = {each["channel"]: each for each in server.http.get(f"/v1/users/{one.user}").json()["memberships"]}
            for channel, joined in one.joined.items():
                assert channel in one.asked or (channel in shown) == joined, f"{one.user} {channel} {joined}"
            client = join(server, one.user)
            for channel in CHANNELS:
                # Asking for nothing new tells where he stands; members and others alike.
                now = client.request("ack", channel=channel, delivered=0)
                now = (now["delivered"], now["read"])
                floor = max(one.cursors.get(channel, (0, 0)), standing.get((one.user, channel), (0, 0)))
                assert now >= floor and now[1] >= floor[1], f"{one.user} {channel}: {now} after {floor}"
                standing[one.user, channel] = now
            client.bye()
    assert publishes > 0 and acknowledgements > 0
