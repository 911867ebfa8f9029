"""Order, cursors, replay and gaps: what a subscriber sees of a channel, from wherever he starts (promises 1 and 3)."""

import threading

import pytest
from client import cursor, fresh


def fill(server, channel, count, first=0) -> list[int]:
    """Publishes numbers over HTTP, where no rate limit holds; their offsets."""
    batch = [{"channel": channel, "data": n} for n in range(first, first + count)]
    for at in range(0, count, 100):
        answer = server.http.post("/v1/publish/batch", json=batch[at:at + 100])
        assert answer.status_code == 200, answer.text
    return []


def data_of(frames) -> list:
    return [frame["data"] for frame in frames if frame["op"] == "event"]


def test_missed_events_follow_the_reply_and_come_before_live_ones(server, join, enc):
    writer, reader = join(server), join(server, enc=enc)
    channel = fresh("room:")
    offsets = [writer.publish(channel, n)["offset"] for n in range(10)]
    epoch = writer.subscribe(channel)["epoch"]
    number = reader.ask("subscribe", channel=channel, **{"from": {"epoch": epoch, "offset": offsets[3]}})
    reply = reader.next()
    assert (reply["op"], reply["id"]) == ("reply", number)
    assert reply["ok"]["offset"] == offsets[-1]
    assert reply["ok"]["recovered"] is True
    writer.publish(channel, 10)
    got = reader.events(channel, 7)
    assert [event["data"] for event in got] == [4, 5, 6, 7, 8, 9, 10]
    assert [event["offset"] for event in got[:-1]] == offsets[4:]


def test_a_cursor_at_the_head_misses_nothing(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    one.publish(channel, 1)
    at = cursor(join(server).subscribe(channel))
    assert one.subscribe(channel, **{"from": at})["recovered"] is True
    assert one.settle() == []


def test_a_cursor_before_the_first_event_gets_all(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    at = cursor(join(server).subscribe(channel))
    for n in range(3):
        one.publish(channel, n)
    assert one.subscribe(channel, **{"from": at})["recovered"] is True
    assert [event["data"] for event in one.events(channel, 3)] == [0, 1, 2]


def test_last_gives_the_newest_n_in_order(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    for n in range(10):
        one.publish(channel, n)
    assert one.subscribe(channel, last=3)["recovered"] is True
    assert data_of(one.settle()) == [7, 8, 9]


def test_last_of_a_short_channel_gives_what_there_is(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    for n in range(2):
        one.publish(channel, n)
    assert one.subscribe(channel, last=50)["recovered"] is True
    assert data_of(one.settle()) == [0, 1]


def test_last_zero_gives_none(server, join):
    one = join(server)
    channel = fresh("room:")
    one.publish(channel, 1)
    one.subscribe(channel, last=0)
    assert one.settle() == []


@pytest.mark.parametrize("start_with", ["from", "last"])
def test_no_hole_and_no_double_while_others_publish(server, join, enc, start_with):
    channel, total = fresh("room:"), 600
    origin = join(server)
    at = cursor(origin.subscribe(channel))
    writers = [join(server), join(server, enc="msgpack")]
    readers = []

    def write(writer, half):
        ids = [writer.ask("publish", channel=channel, data=[half, n]) for n in range(total // 2)]
        for number in ids:
            writer.answer(number, 60)

    threads = [threading.Thread(target=write, args=pair) for pair in zip(writers, (0, 1))]
    for thread in threads:
        thread.start()
    for _ in range(12):
        reader = join(server, enc=enc)
        asked = {"from": at} if start_with == "from" else {"last": 500}
        reply = reader.subscribe(channel, **asked)
        readers.append((reader, reply))
    for thread in threads:
        thread.join()
    everything = [event["offset"] for event in origin.events(channel, total, 60)]
    assert everything == sorted(set(everything))
    for reader, reply in readers:
        offsets, behind = [], everything[-1]
        while not offsets or offsets[-1] < behind:
            frame = reader.next()
            if frame["op"] == "gap":
                assert reply["recovered"] is False and frame["reason"] == "catch_up_limit"
                continue
            assert frame["op"] == "event", frame
            offsets.append(frame["offset"])
        assert offsets == everything[-len(offsets):], "a hole or a double"
        if reply["recovered"] and start_with == "from":
            assert len(offsets) == total
        before_live = [offset for offset in offsets if offset <= reply["offset"]]
        assert before_live == [offset for offset in everything if offset <= reply["offset"]][-len(before_live):]


def test_all_subscribers_see_one_total_order(server, join):
    channel, each, count = fresh("room:"), 60, 6
    readers = [join(server, enc=("json", "msgpack")[n % 2]) for n in range(16)]
    for reader in readers:
        reader.subscribe(channel)
    writers = [join(server) for _ in range(count)]

    def write(name, writer):
        for number in [writer.ask("publish", channel=channel, data=[name, n]) for n in range(each)]:
            writer.answer(number, 60)

    def post():
        for n in range(each):
            server.http.post("/v1/publish", json={"channel": channel, "data": ["http", n], "from": "backend"})

    threads = [threading.Thread(target=write, args=pair) for pair in enumerate(writers)] + [threading.Thread(target=post)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = each * (count + 1)
    sequences = [[(event["offset"], *event["data"]) for event in reader.events(channel, total, 60)] for reader in readers]
    assert all(sequence == sequences[0] for sequence in sequences)
    offsets = [offset for offset, *_ in sequences[0]]
    assert offsets == sorted(set(offsets))
    for name in [*range(count), "http"]:
        assert [n for _, who, n in sequences[0] if who == name] == list(range(each)), "each writer's own order"


def test_a_subscriber_who_asks_again_gets_no_double(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    for _ in range(3):
        one.subscribe(channel)
    one.publish(channel, "once")
    assert data_of(one.settle()) == ["once"]


@pytest.mark.parametrize("history", [10, 64])
def test_a_cursor_older_than_what_is_kept_gets_a_gap(start, join, enc, history):
    server = start({"channels.defaults.history_events": history})
    one = join(server, enc=enc)
    channel = fresh("room:")
    offsets = [one.publish(channel, n)["offset"] for n in range(5)]
    epoch = one.subscribe(channel)["epoch"]
    fill(server, channel, 200, first=5)
    everything = offsets + [event["offset"] for event in one.events(channel, 200)]
    late = join(server, enc=enc)
    reply = late.subscribe(channel, **{"from": {"epoch": epoch, "offset": offsets[2]}})
    assert reply["recovered"] is False and reply["offset"] == everything[-1]
    gap = late.next()
    check_replay(late, gap, everything, after=offsets[2], reason="retention", kept=history)
    one.publish(channel, "live")
    assert late.take("event")["data"] == "live"


def test_a_cursor_beyond_the_catch_up_limit_gets_a_gap_and_the_newest(start, join, enc):
    server = start({"channels.defaults.history_events": 1000, "channels.defaults.catch_up_limit": 20})
    one = join(server, enc=enc)
    channel = fresh("room:")
    at = cursor(one.subscribe(channel))
    fill(server, channel, 100)
    everything = [event["offset"] for event in one.events(channel, 100)]
    late = join(server, enc=enc)
    reply = late.subscribe(channel, **{"from": at})
    assert reply["recovered"] is False
    check_replay(late, late.next(), everything, after=at["offset"], reason="catch_up_limit", kept=20)
    # Exactly the limit is no gap.
    exact = join(server, enc=enc)
    assert exact.subscribe(channel, **{"from": {**at, "offset": everything[-21]}})["recovered"] is True
    assert [event["offset"] for event in exact.events(channel, 20)] == everything[-20:]


def check_replay(one, gap, everything, after, reason, kept):
    """A gap, then the newest kept events; together they are all that came after the cursor."""
    assert gap["op"] == "gap" and gap["reason"] == reason, gap
    replayed = [frame["offset"] for frame in one.settle() if frame["op"] == "event"]
    assert replayed == everything[-len(replayed):] and len(replayed) >= kept
    lost = [offset for offset in everything if after < offset < replayed[0]]
    assert after < gap["from"] <= lost[0] and lost[-1] <= gap["to"] < replayed[0]


def test_a_cursor_of_another_epoch_gets_a_gap_and_the_live_events(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    for n in range(3):
        one.publish(channel, n)
    reply = one.subscribe(channel, **{"from": {"epoch": "another", "offset": 2}})
    assert reply["recovered"] is False
    gap = one.take("gap", channel=channel)
    assert isinstance(gap["from"], int) and isinstance(gap["to"], int)
    assert gap["reason"] in ("retention", "crash", "overflow", "catch_up_limit")
    one.settle()
    one.publish(channel, "live")
    assert one.take("event")["data"] == "live"


def test_a_channel_that_keeps_nothing_tells_every_miss(start, join, enc):
    server = start({"channels.defaults.history_events": 0})
    one = join(server, enc=enc)
    channel = fresh("room:")
    at = cursor(one.subscribe(channel))
    late = join(server, enc=enc)
    assert late.subscribe(channel, **{"from": at})["recovered"] is True
    offsets = [one.publish(channel, n)["offset"] for n in range(3)]
    assert data_of(late.settle()) == [0, 1, 2]
    later = join(server, enc=enc)
    assert later.subscribe(channel, **{"from": at})["recovered"] is False
    gap = later.take("gap", channel=channel)
    assert at["offset"] < gap["from"] <= offsets[0] and gap["to"] == offsets[-1] and gap["reason"] == "retention"
    assert later.settle() == []
    assert later.subscribe(channel, last=5)["recovered"] is True
    assert later.settle() == []


def test_live_channels_keep_nothing(plain, join):
    one, late = join(plain), join(plain)
    channel = fresh("live:")
    at = cursor(one.subscribe(channel))
    one.publish(channel, 1)
    assert late.subscribe(channel, **{"from": at})["recovered"] is False
    assert late.take("gap", channel=channel)["reason"] == "retention"


def test_http_publishes_into_the_same_order(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    one.subscribe(channel)
    first = one.publish(channel, "socket")["offset"]
    second = server.http.post("/v1/publish", json={"channel": channel, "data": "http", "from": "backend"}).json()["offset"]
    third = one.publish(channel, "socket")["offset"]
    assert first < second < third
    got = one.events(channel, 3)
    assert [event["offset"] for event in got] == [first, second, third]
    assert got[1]["from"] == "backend"


def test_channels_do_not_mix(server, join, enc):
    one = join(server, enc=enc)
    here, there = fresh("room:"), fresh("room:")
    one.subscribe(here)
    one.publish(there, "there")
    one.publish(here, "here")
    assert data_of(one.settle()) == ["here"]
