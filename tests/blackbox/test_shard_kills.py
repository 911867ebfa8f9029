"""Every shard is killed once a second, under load: no socket closes, nothing is lost or doubled, the ledger is exact.

`SHARD_KILLS_SECONDS=30` runs the long form. Real clients look for themselves; the server's word is asked only for the
ledger and the restarts.
"""

import os
import threading
import time

from client import eventually, fresh

SECONDS = int(os.environ.get("SHARD_KILLS_SECONDS", "4"))
SHARDS = 2
LISTENERS = 24
WRITERS = 4


def kill_all(server) -> None:
    """Half of the kills come through the shard's own actor, half through its supervisor."""
    assert server.http.post("/v1/chaos", json={"fault": "panic_shard", "target": {"count": SHARDS}}).json()["hit"] == SHARDS


def restarts(server) -> dict:
    return {child["name"]: child["restarts"] for child in server.node()["actors"] if child["name"].startswith("shard-")}


def test_every_shard_killed_once_a_second_closes_no_socket(start, join):
    server = start({"chaos.enabled": True, "shards.count": SHARDS, "limits.publish_per_second": 1000000,
                    "limits.publish_burst": 1000000, "channels.defaults.history_events": 100000})
    channels = [fresh("room:") for _ in range(WRITERS)]
    listeners = [join(server, enc=("json", "msgpack")[n % 2]) for n in range(LISTENERS)]
    writers = [join(server) for _ in range(WRITERS)]
    for n, one in enumerate(listeners):
        one.subscribe(channels[n % WRITERS])
    closes = server.metric("dormouse_closes_total")
    over = threading.Event()
    published, failures = [0] * WRITERS, []

    def write(n: int) -> None:
        try:
            while not over.is_set():
                writers[n].publish(channels[n], published[n])
                published[n] += 1
        except Exception as failure:  # noqa: BLE001 - told by the test's own thread
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    for kill in range(1, SECONDS + 1):
        kill_all(server)
        eventually(lambda: set(restarts(server).values()) == {kill}, f"restart {kill} of every shard")
        # The pace is the point of this test.
        over.wait(max(0.0, began + kill - time.monotonic()))
    over.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert failures == []
    assert min(published) > 0
    print(f"{SECONDS} kills of {SHARDS} shards, {sum(published)} publications")
    for n, one in enumerate(listeners):
        channel = channels[n % WRITERS]
        count = published[n % WRITERS]
        assert [event["data"] for event in one.events(channel, count)] == list(range(count))
    for one in listeners + writers:
        assert one.settle() == [], "nothing lost, nothing doubled, nothing told"
        assert one.whoami()["generation"] == one.ready["generation"]
    assert server.metric("dormouse_closes_total") == closes, "no socket closed"
    ledger = eventually(lambda: (read := server.ledger())["pending"] == 0 and read, "nothing pending")
    expected = sum(published[n % WRITERS] for n in range(LISTENERS))
    assert (ledger["offered"], ledger["delivered"], sum(ledger["dropped"].values())) == (expected, expected, 0)
