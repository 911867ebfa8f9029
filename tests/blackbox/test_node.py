"""What operators read of a node: itself, the loss ledger, every metric (CONTRACT §2 and §5)."""

import pytest
from client import Client, eventually, fresh
from raw import RawSocket
from serving import Server


def test_the_node_tells_about_itself(server, join):
    one = join(server)
    body = server.node()
    assert body["node"] == one.hello["node"] and body["version"] == one.hello["version"]
    assert isinstance(body["uptime_ms"], int)
    assert isinstance(body["shards"], list) and body["shards"]
    connections = body["connections"]
    assert connections["total"] >= 1
    assert connections["total"] == connections["awake"] + connections["dormant"]
    assert isinstance(connections["parked"], int)
    assert isinstance(body["restarts"], int)
    ledger = body["ledger"]
    assert isinstance(ledger["dropped"], dict)
    assert all(isinstance(ledger[each], int) for each in ("offered", "delivered", "pending"))


def quiet_ledger(server) -> dict:
    def quiet():
        ledger = server.ledger()
        return ledger if ledger["pending"] == 0 else None

    return eventually(quiet, "a quiet ledger")


def test_the_ledger_is_exact_when_quiet(start, join):
    server = start({"chaos.enabled": True, "supervision.max_restarts": 100, "limits.publish_per_second": 100000,
                    "limits.publish_burst": 100000})
    assert quiet_ledger(server) == {"offered": 0, "delivered": 0, "dropped": {}, "pending": 0}
    channel = fresh("room:")
    clients = [join(server, enc=("json", "msgpack")[n % 2]) for n in range(10)]
    for one in clients:
        one.subscribe(channel)
    for n in range(100):
        clients[0].publish(channel, n)
        if n % 10 == 0:
            clients[1].refused("chaos", fault="panic")
    for one in clients:
        one.events(channel, 100)
    assert quiet_ledger(server) == {"offered": 1000, "delivered": 1000, "dropped": {}, "pending": 0}
    assert server.metric("dormouse_events_published_total") == 100
    assert server.metric("dormouse_events_delivered_total") == 1000
    # Sockets that go away while events are on their way are accounted for as well.
    for one in clients[5:]:
        one.cut()
        clients[0].publish(channel, "x")
    ledger = quiet_ledger(server)
    assert ledger["offered"] == ledger["delivered"] + sum(ledger["dropped"].values())


# Metrics.

COUNTERS = ["dormouse_handshakes_total", "dormouse_closes_total", "dormouse_turns_total", "dormouse_crashes_total",
            "dormouse_restarts_total", "dormouse_gave_up_total", "dormouse_wakes_total",
            "dormouse_events_published_total", "dormouse_events_delivered_total", "dormouse_events_dropped_total"]
HISTOGRAMS = ["dormouse_turn_seconds", "dormouse_mailbox_wait_seconds", "dormouse_restart_seconds",
              "dormouse_store_commit_seconds"]
EITHER = ["dormouse_connections", "dormouse_shard_lag_seconds", "dormouse_stalled_turns", "dormouse_jobs_in_flight",
          "dormouse_jobs_overdue", "dormouse_outbox_bytes", "dormouse_record_bytes"]
LABELS = {"dormouse_connections": "state", "dormouse_handshakes_total": "result", "dormouse_closes_total": "code",
          "dormouse_turns_total": "message", "dormouse_crashes_total": "place", "dormouse_shard_lag_seconds": "shard"}


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """The metrics of a server on which a bit of everything has happened."""
    from prometheus_client.parser import text_string_to_metric_families

    server = Server(tmp_path_factory.mktemp("metrics"), {"chaos.enabled": True, "supervision.max_restarts": 1,
                                                         "channels.defaults.history_events": 0,
                                                         "limits.outbox_bytes": 16384,
                                                         "limits.max_frame_bytes": 16384})
    try:
        one = Client(server)
        one.identify("alice")
        one.subscribe("room:1")
        one.publish("room:1", 1)
        one.request("presence", channel="chat:lobby")
        one.refused("chaos", fault="panic")
        with RawSocket(server, "/v1/gateway?token=slow&subscribe=live:1", receive_buffer=32768):
            batch = [{"channel": "live:1", "data": "x" * 8000}] * 50
            for _ in range(100):
                server.http.post("/v1/publish/batch", json=batch)
                if server.metric("dormouse_closes_total", code="4002"):
                    break
        answer = server.http.get("/metrics")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
        one.ask("chaos", fault="panic")
        one.closed()
        yield {family.name: family for family in text_string_to_metric_families(server.http.get("/metrics").text)}
    finally:
        server.stop()


@pytest.mark.parametrize("name", COUNTERS)
def test_a_counter_is_exported(families, name):
    assert families[name.removesuffix("_total")].type == "counter"


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_a_histogram_is_exported(families, name):
    if name == "dormouse_store_commit_seconds" and name not in families:
        pytest.skip("there is no store yet")
    assert families[name].type == "histogram"


@pytest.mark.parametrize("name", EITHER)
def test_a_gauge_is_exported(families, name):
    assert families[name].type in ("gauge", "histogram")


@pytest.mark.parametrize("name, label", LABELS.items())
def test_a_metric_carries_its_label(families, name, label):
    assert all(label in sample.labels for sample in families[name.removesuffix("_total")].samples)


def test_connections_are_counted_by_state(families):
    samples = families["dormouse_connections"].samples
    assert {sample.labels["state"] for sample in samples} == {"awake", "dormant", "parked"}


def test_dropped_events_carry_a_reason(families):
    samples = families["dormouse_events_dropped"].samples
    assert samples and all(sample.labels["reason"] for sample in samples)


def test_the_process_is_measured(families):
    assert {"process_open_fds", "process_resident_memory_bytes"} <= set(families)


def test_no_metric_is_a_summary(families):
    assert not [name for name, family in families.items() if family.type == "summary"]
