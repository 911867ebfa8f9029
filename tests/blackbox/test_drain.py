"""The process's end and return: SIGTERM drains, SIGKILL loses nothing silently, the same port comes back."""

import signal
import threading
import time

import pytest
from client import channel_names, cursor, eventually, fresh


def test_sigterm_with_nobody_connected_ends_at_once(start):
    server = start()
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 5


def test_sigterm_tells_clients_to_come_back_then_closes_4003(start, join, dial, enc):
    server = start()
    clients = [join(server, enc=enc) for _ in range(5)]
    stranger = dial(server, enc)
    stranger.take("hello")
    server.terminate()
    for one in clients:
        reconnect = one.take("reconnect", 15)
        assert isinstance(reconnect["after_ms"], int) and reconnect["after_ms"] >= 0
        assert isinstance(reconnect["reason"], str) and reconnect["reason"]
        assert one.closed(15) == (4003, "draining")
    assert stranger.closed(15) == (1001, "going_away")
    server.stop()


def test_a_drain_ends_within_its_deadline_though_nobody_reads(start, join):
    server = start({"listen.drain": "2s"})
    clients = [join(server) for _ in range(3)]
    server.terminate()
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 10
    assert all(one.closed()[0] in (4003, 1006) for one in clients)


def test_clients_are_asked_to_leave_at_a_pace_and_before_the_close(start, join):
    server = start({"listen.drain": "4s", "listen.drain_pace": 20})
    clients = [join(server) for _ in range(12)]
    server.terminate()
    began = time.monotonic()
    asked = []
    for one in clients:
        frame = one.take("reconnect", 15)
        assert 0 < frame["after_ms"] <= 2000
        asked.append(frame["after_ms"])
    assert time.monotonic() - began < 4, "all are asked in the first half"
    for one in clients:
        one.bye()
    server.stop()


def test_clients_that_stay_are_closed_at_the_same_pace(start, join):
    server = start({"listen.drain": "4s", "listen.drain_pace": 20, "shards.count": 2})
    clients = [join(server) for _ in range(12)]
    ends = []
    threads = [threading.Thread(target=lambda one=one: ends.append((one.closed(15), time.monotonic()))) for one in clients]
    for thread in threads:
        thread.start()
    server.terminate()
    for thread in threads:
        thread.join()
    assert [code for code, _ in ends] == [(4003, "draining")] * 12
    # Six batches of two, a ninth of a second between them.
    moments = sorted(moment for _, moment in ends)
    assert moments[-1] - moments[0] > 0.4 and moments[6] - moments[0] > 0.2
    server.stop()


def test_a_stuck_shard_does_not_hold_the_process(start, join):
    server = start({"listen.drain": "2s", "chaos.enabled": True, "shards.count": 2})
    clients = [join(server) for _ in range(4)]
    stuck = clients[0]
    stuck.ask("chaos", fault="stall", ms=30_000)
    eventually(lambda: server.metric("dormouse_stalled_turns") > 0, "the stall")
    server.terminate()
    code = server.process.wait(15)
    assert code == 0
    assert sorted(one.closed()[0] for one in clients) == [1006, 1006, 4003, 4003]


def test_a_draining_server_is_not_ready(start, join):
    server = start({"listen.drain": "3s"})
    join(server)
    server.terminate()
    try:
        assert server.http.get("/health/ready").status_code == 503
    except Exception:  # noqa: BLE001 - it may have stopped listening, which balancers read the same way
        pass


@pytest.mark.parametrize("namespace", ["room:", "chat:", "live:"])
def test_after_a_sigkill_clients_come_back_and_no_loss_is_silent(start, join, enc, namespace):
    first = start()
    one = join(first, enc=enc)
    channel = fresh(namespace)
    at = cursor(one.subscribe(channel))
    offsets = [one.publish(channel, n)["offset"] for n in range(5)]
    first.kill()
    assert one.closed()[0] == 1006
    second = start(listen=f"127.0.0.1:{first.port}")
    assert second.port == first.port
    back = join(second, one.user, enc, resume=one.ready["session"], cursors={channel: at})
    (found,) = back.ready["subscriptions"]
    assert found["channel"] == channel
    if found["recovered"]:
        assert found["epoch"] == at["epoch"], "only what is on disk can be recovered"
        assert [event["offset"] for event in back.events(channel, 5)] == offsets
    else:
        assert back.take("gap", channel=channel)["channel"] == channel
    back.publish(channel, "again")
    assert back.take("event", channel=channel, data="again")
    assert channel_names(back.whoami()["subscriptions"]) == {channel}


def test_whoever_presses_ctrl_c_twice_does_not_wait(start, join):
    server = start({"listen.drain": "60s"})
    client = join(server)
    server.process.send_signal(signal.SIGINT)
    client.take("reconnect")
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(20) == 0
    assert any("leaving at once" in line for line in server.log)
