"""The live feed `/v1/live`: what it says agrees with what else the node says, and only who may sees it.

A viewer is a bare WebSocket; samples are awaited, never slept for.
"""

import json
import re
import signal
import socket

import pytest
from client import PATIENCE, Client, eventually, fresh
from raw import RawSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

KEYS = '["the whole", {key = "only reads", scopes = ["read"]}, {key = "only publishes", scopes = ["publish"]}]'


class Viewer:
    """A socket of the feed, opened and closed with `with`."""

    def __init__(self, server, key=None, **options):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if server.ssl:
            options.setdefault("ssl", server.ssl)
        self.ws = connect(server.url("ws", "/v1/live"), proxy=None, compression=None, max_size=None, ping_interval=None,
                          legacy=True, additional_headers=headers, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ws.close()

    def say(self, **message):
        self.ws.send(json.dumps(message))

    def hear(self, kind, fits=lambda message: True, timeout=PATIENCE) -> dict:
        """The next message of that kind that fits."""
        while True:
            message = json.loads(self.ws.recv(timeout=timeout))
            if message["kind"] == kind and fits(message):
                return message

    def sample(self, fits=lambda sample: True, timeout=PATIENCE) -> dict:
        return self.hear("sample", lambda sample: sample["measured"] and fits(sample), timeout)

    def closed(self) -> int:
        """The code it is closed with, whatever comes before."""
        while True:
            try:
                self.ws.recv(timeout=PATIENCE)
            except ConnectionClosed as end:
                return end.rcvd.code if end.rcvd else 1006


def refusal(server, key=None, **options) -> int:
    """The status of a handshake that must fail."""
    with pytest.raises(InvalidStatus) as refused:
        Viewer(server, key, **options)
    return refused.value.response.status_code


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    from serving import Server

    running = Server(tmp_path_factory.mktemp("keyed"), {"api.keys": KEYS})
    yield running
    running.stop()


# What it says.

def test_its_numbers_are_those_of_the_node_and_of_the_metrics(start, join):
    server = start()
    channel = fresh("room:")
    clients = [join(server) for _ in range(5)]
    for one in clients:
        one.subscribe(channel)
    with Viewer(server) as viewer:
        viewer.sample()
        for n in range(20):
            clients[0].publish(channel, n)
        heard = []
        viewer.sample(lambda sample: heard.append(sample) or sample["totals"]["delivered"] == 100)
        for one in clients:
            one.events(channel, 20)
        # Everything is quiet from here on.
        sample = viewer.sample(lambda sample: sample["ledger"]["pending"] == 0)
        node = server.node()
        assert sample["node"] == node["node"] and sample["version"] == node["version"] and sample["ready"] is True
        assert sample["ledger"] == node["ledger"] == {"offered": 100, "delivered": 100, "dropped": {}, "pending": 0}
        assert {name: sample["connections"][name] for name in node["connections"]} == node["connections"]
        assert sum(shard["awake"] + shard["dormant"] for shard in sample["shards"]) == 5
        assert [shard["answers"] for shard in sample["shards"]] == [True] * len(node["shards"])
        assert [actor["name"] for actor in sample["actors"]] == [actor["name"] for actor in node["actors"]]
        totals = sample["totals"]
        for field, metric in {"published": "dormouse_events_published_total", "delivered": "dormouse_events_delivered_total",
                              "offered": "dormouse_events_offered_total", "accepted": "dormouse_handshakes_total",
                              "turns": "dormouse_turn_seconds_count", "closed": "dormouse_closes_total"}.items():
            assert totals[field] == server.metric(metric), field
        assert totals["handshakes"] == {"accepted": 5}
        # Rates and percentiles are those of the intervals: put together they are all there was.
        points = [each["point"] for each in heard]
        assert sum(each["delivered"] * each["span_ms"] / 1000 for each in points) == pytest.approx(100, rel=0.02)
        assert sum(each["wait"]["count"] for each in points) >= 100
        followed = [each["delivery"] for each in points if each["delivery"]["count"]]
        assert followed, "no delivery was measured"
        assert all(0 < each["p50"] <= each["p99"] <= each["max"] for each in followed)


def test_without_a_socket_the_latest_sample_is_told(server):
    sample = server.http.get("/v1/live").json()
    assert sample["kind"] == "sample" and sample["measured"] is True
    assert 900 < sample["point"]["span_ms"] < 5000
    again = server.http.get("/v1/live", params={"every_ms": 10000}).json()
    assert again["seq"] >= sample["seq"] and again["node"] == sample["node"]
    wrong = server.http.get("/v1/live", params={"every_ms": "soon"})
    assert wrong.status_code == 400 and "every_ms" in wrong.json()["error"]["message"]
    assert server.http.post("/v1/live").status_code == 405


def test_it_has_the_fields_of_its_description(server):
    schemas = server.http.get("/v1/openapi.json").json()["components"]["schemas"]
    sample = server.http.get("/v1/live").json()
    assert set(sample) == set(schemas["Sample"]["properties"])
    assert set(sample["connections"]) == set(schemas["Sample"]["properties"]["connections"]["properties"])
    assert set(schemas["Point"]["required"]) <= set(sample["point"])
    for field in ("delivery", "wait", "turn", "restart", "commit"):
        assert set(sample["point"][field]) == set(schemas["Quantiles"]["required"]), field


def test_who_comes_later_sees_the_past(start):
    server = start()
    with Viewer(server) as viewer:
        first = viewer.sample()["point"]
        viewer.sample()
    with Viewer(server) as viewer:
        hello = viewer.hear("hello")
        assert hello["scopes"] == ["publish", "read", "admin", "chaos"] and hello["keyed"] is False
        points = viewer.hear("past")["points"]
        assert first in points and len(points) >= 2
        assert [each["at"] for each in points] == sorted({each["at"] for each in points})


def test_the_pace_is_the_viewers_choice(server):
    with Viewer(server) as quick, Viewer(server) as slow:
        slow.say(every_ms=3000)
        slow.sample()
        between = slow.sample()["seq"] - slow.sample()["seq"]
        assert -between >= 2, "the slow one gets every third, the quick one all"
        first = quick.sample()["seq"]
        assert quick.sample()["seq"] == first + 1


def test_crashes_and_slow_turns_are_told(start, join):
    server = start({"chaos.enabled": True})
    one = join(server)
    me = one.whoami()["connection"]
    with Viewer(server) as viewer:
        assert viewer.hear("hello")["chaos"] is True
        viewer.sample()
        one.refused("chaos", fault="panic")
        sample = viewer.sample(lambda sample: sample["crashes"])
        crash = sample["crashes"][0]
        assert crash["count"] == 1 and crash["connection"] == me and re.fullmatch(r".+\.rs:\d+:\d+", crash["place"])
        assert crash == server.node()["crashes"][0]
        assert sample["totals"]["crashed"] == 1 and sample["health"]["state"] == "degraded"
        assert crash["place"] in sample["health"]["text"]
        # The client's own request: it is a frame.
        one.request("chaos", fault="stall", ms=300)
        slow = viewer.sample(lambda sample: sample["slowest"] and sample["slowest"][0]["took_us"] > 250_000)["slowest"][0]
        assert (slow["message"], slow["connection"]) == ("frame", me)
        assert viewer.sample(lambda sample: sample["worst"]["restarts"])["worst"]["restarts"][0]["connection"] == me


def test_a_turn_that_hangs_is_told_while_it_hangs(start, join):
    server = start({"chaos.enabled": True, "limits.turn_stall": "300ms", "shards.count": 2})
    one = join(server)
    me = one.whoami()["connection"]
    with Viewer(server) as viewer:
        viewer.sample()
        one.ask("chaos", fault="stall", ms=3000)
        sample = viewer.sample(lambda sample: sample["stalled"])
        assert sample["stalled"][0]["connection"] == me
        assert sample["health"]["state"] == "degraded" and me in sample["health"]["text"]
        sample = viewer.sample(lambda sample: not all(shard["answers"] for shard in sample["shards"]))
        assert sample["connections"]["total"] == 1, "its last numbers stand"
        viewer.sample(lambda sample: all(shard["answers"] for shard in sample["shards"]) and not sample["stalled"])


def test_what_is_inspected_shows_its_record_and_no_secret(server, join):
    one = join(server)
    one.subscribe(fresh("room:"))
    me = one.whoami()
    seen = server.http.get(f"/v1/connections/{me['connection']}")
    record = seen.json()["record"]
    assert record["phase"] == "ready" and record["identity"]["user"] == one.user
    assert record["identity"]["secret"] == "hidden" and one.ready["session"] not in seen.text
    assert "record" not in server.http.get("/v1/connections?limit=1").json()["connections"][0]


def test_it_is_the_same_over_tls(start, tmp_path):
    from test_tls import Authority

    authority = Authority(tmp_path / "authority")
    server = start(authority.settings(), ssl=authority.context())
    with Viewer(server, origin=server.url("http")) as viewer:
        first = viewer.sample()
        assert viewer.sample()["seq"] == first["seq"] + 1
    assert server.http.get("/v1/live").json()["node"] == first["node"]


# Who may see it.

def test_a_key_comes_in_the_header_or_as_the_first_message(keyed):
    with Viewer(keyed, "only reads") as viewer:
        assert viewer.hear("hello")["scopes"] == ["read"]
        viewer.sample()
    with Viewer(keyed) as viewer:
        viewer.say(key="the whole", every_ms=2000)
        hello = viewer.hear("hello")
        assert hello["keyed"] is True and hello["every_ms"] == 2000 and "chaos" in hello["scopes"]
        viewer.sample()


@pytest.mark.parametrize("first, code", [
    ({"key": "a guess"}, "auth_failed"), ({"every_ms": 1000}, "auth_failed"), ({"key": "only publishes"}, "forbidden"),
])
def test_another_key_ends_it(keyed, first, code):
    with Viewer(keyed) as viewer:
        viewer.say(**first)
        error = json.loads(viewer.ws.recv(timeout=PATIENCE))
        assert error["kind"] == "error" and error["error"]["code"] == code and error["error"]["retry"] == "never"
        assert viewer.closed() == 4501


def test_who_says_nothing_is_closed_and_hears_nothing(keyed):
    with Viewer(keyed) as viewer:
        with pytest.raises(ConnectionClosed) as end:
            viewer.ws.recv(timeout=PATIENCE)
        assert end.value.rcvd.code == 4500


def test_a_wrong_header_is_refused_at_the_handshake(keyed):
    assert refusal(keyed, "a guess") == 401
    assert refusal(keyed, "only publishes") == 403
    for headers in ({}, {"authorization": "Bearer a guess"}):
        assert keyed.http.get("/v1/live", headers=headers).status_code == 401
    assert keyed.http.get("/v1/live", headers={"authorization": "Bearer only reads"}).status_code == 200


def test_a_key_is_never_logged_nor_taken_from_the_address(keyed):
    assert keyed.http.get("/v1/live?key=the%20whole").status_code == 401
    with Viewer(keyed) as viewer:
        viewer.say(key="the whole")
        viewer.hear("hello")
    assert not any("the whole" in line for line in keyed.log)


def test_a_key_that_is_taken_back_ends_it(start, tmp_path):
    secret = tmp_path / "watcher"
    secret.write_text("first")
    server = start({"api.keys": f'[{{file = "{secret}", scopes = ["read"]}}]'})
    with Viewer(server, "first") as by_header, Viewer(server) as by_message:
        by_message.say(key="first")
        for viewer in (by_header, by_message):
            viewer.sample()
        secret.write_text("second")
        server.process.send_signal(signal.SIGHUP)
        assert (by_header.closed(), by_message.closed()) == (4501, 4501)
    with Viewer(server, "second") as viewer:
        viewer.sample()


def test_pages_of_elsewhere_are_refused(plain, keyed):
    for server in (plain, keyed):
        assert refusal(server, origin="https://evil.example") == 403
    with Viewer(plain, origin=f"http://127.0.0.1:{plain.port}") as viewer:
        viewer.hear("hello")


def test_a_handshake_must_be_one(server):
    for change in ("Sec-WebSocket-Key: short\r\n", "Sec-WebSocket-Version: 8\r\n"):
        name = change.split(":")[0]
        lines = {"Host": f"127.0.0.1:{server.port}", "Upgrade": "websocket", "Connection": "Upgrade",
                 "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
        lines.pop(name)
        head = "GET /v1/live HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in lines.items()) + change + "\r\n"
        assert status_of(server, head) in (400, 426), change


def status_of(server, head) -> int:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        sock.sendall(head.encode())
        return int(sock.recv(4096).split()[1])


# What it bears.

@pytest.mark.parametrize("message, code", [("no json", 4505), ("[]", 4505), (b"\x00", 1003)])
def test_what_it_does_not_understand_ends_it(server, message, code):
    with Viewer(server) as viewer:
        viewer.hear("hello")
        viewer.ws.send(message)
        assert viewer.closed() == code


def test_a_viewer_that_reads_nothing_harms_nobody(start, join):
    server = start()
    one, channel = join(server), fresh("room:")
    one.subscribe(channel)
    with Viewer(server) as viewer:
        viewer.sample()
        deaf = [RawSocket(server, "/v1/live", receive_buffer=2048) for _ in range(20)]
        try:
            assert all(each.status == 101 for each in deaf)
            before = viewer.sample()["seq"]
            for n in range(1, 5):
                assert viewer.sample()["seq"] == before + n, "none is late"
                one.publish(channel, n)
                one.take("event", channel=channel)
            assert server.http.get("/v1/live").status_code == 200
        finally:
            for each in deaf:
                each.sock.close()


def test_there_is_room_for_so_many(start):
    server = start()
    viewers = [Viewer(server) for _ in range(64)]
    try:
        assert refusal(server) == 503
        assert server.http.get("/v1/live").status_code == 200, "who asks by HTTP takes no place"
        viewers.pop().ws.close()

        def room():
            try:
                Viewer(server).ws.close()
                return True
            except InvalidStatus:
                return False

        eventually(room, "a place that is given back")
    finally:
        for viewer in viewers:
            viewer.ws.close()


def test_the_sampler_comes_back_after_a_crash(start):
    server = start({"chaos.enabled": True})
    with Viewer(server) as viewer:
        before = viewer.sample()["seq"]
        for restarts in (1, 2):
            hit = server.http.post("/v1/chaos", json={"fault": "panic_actor", "target": {"actor": "live"}})
            assert hit.json() == {"hit": 1}
            sample = viewer.sample(lambda sample: any(
                actor["name"] == "live" and actor["restarts"] == restarts for actor in sample["actors"]))
            assert sample["seq"] > before


def test_it_shows_the_drain_and_ends_with_it(start):
    server = start({"listen.drain": "4s"})
    one = Client(server)
    one.identify("stays")
    with Viewer(server) as viewer:
        viewer.sample()
        server.terminate()
        sample = viewer.sample(lambda sample: not sample["ready"])
        assert sample["health"]["state"] == "draining" and sample["connections"]["total"] == 1
        assert refusal(server) == 503
        assert viewer.closed() == 1001
    assert one.closed()[0] == 4003
    server.stop()


def test_a_drain_with_nobody_but_viewers_does_not_wait(start):
    server = start({"listen.drain": "60s"})
    with Viewer(server) as viewer:
        viewer.sample()
        server.terminate()
        assert viewer.closed() == 1001
    server.process.wait(5)
    server.stop()
