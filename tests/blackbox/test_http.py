"""The HTTP API route by route, its errors and keys, metrics, ledger, health, pages and bad handshakes (CONTRACT §2, §5)."""

import re

import pytest
from client import eventually, fresh, path_of
from raw import RawSocket


def check(answer, status, code):
    """An error of the API."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    error = answer.json()["error"]
    assert error["code"] == code, error
    assert isinstance(error["message"], str) and error["message"]
    assert error["retry"] in ("now", "later", "never")


def listed(body, name) -> list:
    return body if isinstance(body, list) else body[name]


# Publishing.

def test_publish_reaches_subscribers(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    one.subscribe(channel)
    answer = server.http.post("/v1/publish", json={"channel": channel, "data": {"a": 1}, "from": "shop", "key": "k"})
    assert answer.status_code == 200
    ok = answer.json()
    event = one.take("event", channel=channel)
    assert (ok["offset"], ok["at"], ok["duplicate"]) == (event["offset"], event["at"], False)
    assert (event["from"], event["data"], event["key"]) == ("shop", {"a": 1}, "k")
    again = server.http.post("/v1/publish", json={"channel": channel, "data": {"a": 2}, "from": "shop", "key": "k"}).json()
    assert (again["offset"], again["duplicate"]) == (ok["offset"], True)


def test_publish_without_from_is_served(server, join):
    one = join(server)
    channel = fresh("room:")
    one.subscribe(channel)
    assert server.http.post("/v1/publish", json={"channel": channel, "data": 1}).status_code == 200
    assert one.take("event", channel=channel)["data"] == 1


def test_a_batch_keeps_its_order(server, join):
    one = join(server)
    here, there = fresh("room:"), fresh("room:")
    one.subscribe(here)
    one.subscribe(there)
    answer = server.http.post("/v1/publish/batch", json=[{"channel": here, "data": 1}, {"channel": there, "data": 2},
                                                         {"channel": here, "data": 3}])
    assert answer.status_code == 200, answer.text
    assert [event["data"] for event in one.events(here, 2)] == [1, 3]
    assert one.take("event", channel=there)["data"] == 2


@pytest.mark.parametrize("body", ["", "{", "[]", "7", '{"data":1}', '{"channel":7,"data":1}', '{"channel":"a b","data":1}'])
def test_a_bad_publish_is_a_400(server, body):
    answer = server.http.post("/v1/publish", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] in ("bad_request", "bad_frame")


def test_a_missing_field_is_named(server):
    answer = server.http.post("/v1/publish", json={"data": 1})
    check(answer, 400, "bad_request")
    assert "channel" in answer.json()["error"]["message"]


# Channels.

def test_channels_are_listed_by_prefix_and_limit(server, join):
    prefix = fresh("list-")
    one = join(server)
    for n in range(5):
        one.subscribe(f"{prefix}:{n}")
    found = listed(server.http.get("/v1/channels", params={"prefix": prefix}).json(), "channels")
    assert len(found) == 5
    assert len(listed(server.http.get("/v1/channels", params={"prefix": prefix, "limit": 2}).json(), "channels")) == 2
    assert listed(server.http.get("/v1/channels", params={"prefix": fresh("nobody")}).json(), "channels") == []


def test_one_channel_tells_its_head(server, join):
    one = join(server)
    channel = fresh("room:") + "+a@b.c"
    epoch = one.subscribe(channel)["epoch"]
    offset = one.publish(channel, 1)["offset"]
    body = server.http.get(f"/v1/channels/{path_of(channel)}").json()
    assert (body["offset"], body["epoch"]) == (offset, epoch)
    assert server.http.get(f"/v1/channels/{channel}").json()["offset"] == offset


def test_an_unknown_channel_is_not_found(server):
    for path in ("", "/history", "/presence"):
        check(server.http.get(f"/v1/channels/{fresh('room:')}{path}"), 404, "not_found")


def test_history_pages_both_ways(server, join):
    one = join(server)
    channel = fresh("room:")
    offsets = [one.publish(channel, n)["offset"] for n in range(10)]
    get = lambda **params: server.http.get(f"/v1/channels/{path_of(channel)}/history", params=params)  # noqa: E731
    first = get(limit=3)
    if first.status_code == 503:
        check(first, 503, "unavailable")
        pytest.skip("history is unavailable until the store is there")
    newest = first.json()
    assert [event["offset"] for event in newest["events"]] == offsets[-3:] and newest["more"] is True
    after = get(after=offsets[1], limit=3).json()
    assert [event["offset"] for event in after["events"]] == offsets[2:5] and after["more"] is True
    before = get(before=offsets[3], limit=10).json()
    assert [event["offset"] for event in before["events"]] == offsets[:3] and before["more"] is False
    assert get(limit=100000).status_code == 200
    event = newest["events"][-1]
    assert (event["channel"], event["from"], event["data"]) == (channel, one.user, 9)


def test_presence_counts_users(server, join):
    channel = fresh("chat:")
    one = join(server)
    one.subscribe(channel)
    body = eventually(lambda: server.http.get(f"/v1/channels/{path_of(channel)}/presence").json(), "presence")
    assert body["count"] == 1
    assert [(each["user"], each["status"]) for each in body["users"]] == [(one.user, "online")]


# Connections.

def test_a_connection_is_inspected(server, join, enc):
    one = join(server, enc=enc)
    channel = fresh("room:")
    one.subscribe(channel)
    me = one.whoami()["connection"]
    body = server.http.get(f"/v1/connections/{me}").json()
    assert body["user"] == one.user
    assert body["generation"] == one.ready["generation"]
    assert body["restarts"] == 0
    assert body["state"] in ("awake", "dormant")
    assert str(body["shard"]) != ""
    assert channel in str(body["subscriptions"]) or body["subscriptions"] == 1
    for field in ("mailbox", "outbox_bytes", "idle_ms", "record_bytes"):
        assert isinstance(body[field], int), field
    assert body["record_bytes"] > 0


def test_an_idle_connection_becomes_dormant(server, join):
    one = join(server)
    me = one.whoami()["connection"]
    eventually(lambda: server.http.get(f"/v1/connections/{me}").json()["state"] == "dormant", "dormancy")


@pytest.mark.parametrize("sort", [None, "mailbox", "outbox", "restarts", "idle"])
def test_connections_are_listed_and_sorted(server, join, sort):
    clients = [join(server) for _ in range(4)]
    clients[2].refused("chaos", fault="panic")
    params = {"limit": 1000, **({"sort": sort} if sort else {})}
    body = server.http.get("/v1/connections", params=params).json()
    entries = listed(body, "connections")
    assert {one.user for one in clients} <= {entry["user"] for entry in entries}
    if sort == "restarts":
        counts = [entry["restarts"] for entry in entries]
        assert counts == sorted(counts, reverse=True) and counts[0] >= 1
    assert len(listed(server.http.get("/v1/connections", params={"limit": 2}).json(), "connections")) == 2


def test_an_unknown_sort_is_a_bad_request(server):
    check(server.http.get("/v1/connections", params={"sort": "beauty"}), 400, "bad_request")


def test_an_unknown_connection_is_not_found(server):
    check(server.http.get("/v1/connections/nobody"), 404, "not_found")
    check(server.http.delete("/v1/connections/nobody"), 404, "not_found")
    check(server.http.post("/v1/disconnect", json={"connection": "nobody"}), 404, "not_found")


def test_disconnect_takes_a_user_with_all_his_connections(server, join):
    user = fresh("user")
    both = [join(server, user), join(server, user, "msgpack")]
    assert server.http.post("/v1/disconnect", json={"user": user}).status_code == 200
    assert [one.closed() for one in both] == [(4503, "kicked")] * 2


def test_disconnect_takes_one_connection(server, join):
    user = fresh("user")
    one, two = join(server, user), join(server, user)
    body = {"connection": one.whoami()["connection"]}
    assert server.http.post("/v1/disconnect", json=body).status_code == 200
    assert one.closed() == (4503, "kicked")
    two.whoami()


def test_disconnect_needs_somebody(server):
    check(server.http.post("/v1/disconnect", json={}), 400, "bad_request")


# The node.

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
    from client import Client
    from prometheus_client.parser import text_string_to_metric_families
    from serving import Server

    server = Server(tmp_path_factory.mktemp("metrics"), {"chaos.enabled": True, "supervision.max_restarts": 1,
                                                         "channels.defaults.history_events": 0,
                                                         "limits.outbox_bytes": 16384})
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


# Keys.

def test_a_key_is_asked_for_when_keys_are_configured(start, join):
    server = start({"api.keys": ["first-key", "second-key"], "chaos.enabled": True})
    routes = [("GET", "/v1/node"), ("GET", "/v1/channels"), ("GET", "/v1/connections"), ("GET", "/metrics"),
              ("POST", "/v1/publish"), ("POST", "/v1/chaos"), ("DELETE", "/v1/connections/x")]
    for method, path in routes:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic Zmlyc3Q6a2V5"}):
            check(server.http.request(method, path, headers=headers), 401, "auth_failed")
    for key in ("first-key", "second-key"):
        assert server.http.get("/v1/node", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        assert server.http.get("/metrics", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    for path in ("/health/live", "/health/ready", "/", "/dashboard", "/client.js", "/v1/openapi.json"):
        assert server.http.get(path).status_code == 200, path
    join(server).whoami()


def test_without_keys_open_auth_serves_loopback(plain):
    assert plain.http.get("/v1/node").status_code == 200


def test_a_wrong_key_is_401_even_where_none_is_needed(plain):
    answer = plain.http.get("/v1/node", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code in (200, 401)


# Errors of HTTP itself.

def test_an_unknown_path_is_not_found(server):
    check(server.http.get("/v1/nothing"), 404, "not_found")
    check(server.http.get("/nothing"), 404, "not_found")


@pytest.mark.parametrize("method, path", [("GET", "/v1/publish"), ("DELETE", "/v1/node"), ("POST", "/v1/channels"),
                                          ("PUT", "/v1/connections"), ("POST", "/health/live")])
def test_a_wrong_method_is_a_405(server, method, path):
    check(server.http.request(method, path), 405, "bad_request")


def test_a_body_too_large_is_refused(server):
    answer = server.http.post("/v1/publish", json={"channel": "room:1", "data": "x" * 20_000_000})
    check(answer, 413, "too_large")


# Health, description, pages.

@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_is_good(server, path):
    assert server.http.get(path).status_code == 200


def test_the_api_describes_itself(server):
    answer = server.http.get("/v1/openapi.json")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert body["openapi"].startswith("3.")
    operations = {(method, re.sub(r"\{[^}]*\}", "{}", path)) for path, item in body["paths"].items() for method in item}
    wanted = {("post", "/v1/publish"), ("post", "/v1/publish/batch"), ("post", "/v1/disconnect"), ("get", "/v1/channels"),
              ("get", "/v1/channels/{}"), ("get", "/v1/channels/{}/history"), ("get", "/v1/channels/{}/presence"),
              ("get", "/v1/node"), ("get", "/v1/connections"), ("get", "/v1/connections/{}"),
              ("delete", "/v1/connections/{}"), ("post", "/v1/chaos")}
    assert wanted <= operations, wanted - operations


@pytest.mark.parametrize("path, kind", [("/", "text/html"), ("/dashboard", "text/html"),
                                        ("/client.js", "text/javascript")])
def test_a_page_is_served(server, path, kind):
    answer = server.http.get(path)
    assert answer.status_code == 200 and len(answer.text) > 100
    found = answer.headers["content-type"].split(";")[0]
    assert found == kind or (kind == "text/javascript" and found == "application/javascript")


def test_pages_need_nobody_elses_server(server):
    for path in ("/", "/dashboard"):
        text = server.http.get(path).text
        assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text), path


# Handshakes.

UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
           "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


def sentence(answer):
    text = answer.json()["error"]["message"] if "json" in answer.headers.get("content-type", "") else answer.text
    assert len(text.split()) >= 3, text


@pytest.mark.parametrize("path", ["/v1/gateway", "/v1/echo"])
def test_a_plain_get_needs_an_upgrade(server, path):
    answer = server.http.get(path)
    assert answer.status_code == 426
    assert answer.headers["upgrade"].lower() == "websocket"
    sentence(answer)


@pytest.mark.parametrize("path", ["/v1/gateway", "/v1/echo"])
def test_a_wrong_version_is_told_the_right_one(server, path):
    answer = server.http.get(path, headers={**UPGRADE, "Sec-WebSocket-Version": "8"})
    assert answer.status_code == 426 and answer.headers["sec-websocket-version"] == "13"
    sentence(answer)


@pytest.mark.parametrize("path", ["/v1/gateway", "/v1/echo"])
@pytest.mark.parametrize("key", [None, "", "short", "not base64 at all!!!!!!!", "dGhlIHNhbXBsZSBub25jZQ==extra"])
def test_a_bad_key_is_a_400(server, path, key):
    headers = {name: value for name, value in UPGRADE.items() if name != "Sec-WebSocket-Key"}
    if key is not None:
        headers["Sec-WebSocket-Key"] = key
    answer = server.http.get(path, headers=headers)
    assert answer.status_code == 400, answer.text
    sentence(answer)


def test_a_post_is_no_handshake(server):
    assert server.http.post("/v1/gateway", headers=UPGRADE).status_code in (400, 405)


def test_the_accept_key_is_computed(server):
    with RawSocket(server) as raw:
        assert b"sec-websocket-accept: " in raw.head.lower()
        assert b"sec-websocket-extensions" not in raw.head.lower()


def test_echo_is_not_found_when_off(plain):
    answer = plain.http.get("/v1/echo", headers=UPGRADE)
    assert answer.status_code == 404


def test_echo_sends_everything_back(server, dial):
    one = dial(server, path="/v1/echo", offer=[])
    for payload in ("text", "", b"\x00\xff", "🐭" * 100):
        one.send_raw(payload)
        assert one.ws.recv(timeout=10) == payload


def test_too_many_connections_get_a_503(start, dial):
    server = start({"limits.max_connections": 2})
    one, two = dial(server), dial(server)
    one.take("hello"), two.take("hello")
    refused = RawSocket(server)
    refused.sock.close()
    assert refused.status == 503
    assert re.search(rb"\r\nretry-after: \d+", refused.head.lower()), refused.head
    assert server.http.get("/health/live").status_code == 200
    one.bye()

    def served():
        raw = RawSocket(server)
        raw.sock.close()
        return raw.status == 101

    eventually(served, "room for another")
    assert server.metric("dormouse_handshakes_total") >= 4
