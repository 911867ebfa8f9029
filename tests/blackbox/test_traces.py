"""Traces: which publications have one, what is in it, that a collector that is gone costs nothing. And logs: the ids by which a
connection, its session, a request and a call of the API are found again."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from client import eventually, fresh


class Collector:
    """Takes OTLP over HTTP as JSON, and keeps the spans."""

    def __init__(self, status=200):
        self.spans, self.resources, self.status, self.calls = [], [], status, 0
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                collector.calls += 1
                assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
                for resource in body["resourceSpans"]:
                    collector.resources.append({each["key"]: each["value"]["stringValue"] for each in
                                                resource["resource"]["attributes"] if "stringValue" in each["value"]})
                    for scope in resource["scopeSpans"]:
                        collector.spans += scope["spans"]
                self.send_response(collector.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1/traces"

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def named(self, name):
        return [span for span in self.spans if span["name"] == name]


@pytest.fixture
def collector():
    one = Collector()
    yield one
    one.stop()


def attributes(span) -> dict:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


def traced(collector, **settings):
    return {"telemetry.traces": collector.url, "telemetry.trace_one_in": 1, "shards.count": 2, "listen.drain": "1s", **settings}


def lasts(span) -> tuple[int, int]:
    began, ended = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    assert began <= ended
    return began, ended


@pytest.mark.parametrize("channel, durable", [("room:traced", False), ("chat:traced", True)])
def test_a_publication_is_followed_from_its_request_to_the_sockets(start, join, collector, channel, durable):
    server = start(traced(collector))
    listeners = [join(server) for _ in range(12)]
    for listener in listeners:
        listener.request("subscribe", channel=channel)
    speaker = listeners[0]
    number = speaker.ask("publish", channel=channel, data="secret words")
    assert speaker.answer(number)["offset"] == 1
    for listener in listeners:
        listener.take("event")
    server.stop()
    [root] = collector.named("publish")
    assert root.get("parentSpanId", "") == ""
    told = attributes(root)
    assert (told["channel"], told["offset"], told["durable"], told["subscribers"]) == (channel, "1", durable, "12")
    assert told["connection"] and told["request"] == str(number)
    commits = collector.named("commit")
    assert len(commits) == durable and all(span["parentSpanId"] == root["spanId"] for span in commits)
    fan_outs = {span["spanId"]: span for span in collector.named("fan out")}
    assert sum(int(attributes(span)["subscribers"]) for span in fan_outs.values()) == 12
    assert all(span["parentSpanId"] == root["spanId"] for span in fan_outs.values())
    deliveries = collector.named("deliver")
    for shard, fan_out in fan_outs.items():
        of_this = [span for span in deliveries if span["parentSpanId"] == shard]
        # One, and one more for each tenfold.
        assert len(of_this) == len(attributes(fan_out)["subscribers"])
        assert all(lasts(span)[0] >= lasts(root)[0] for span in of_this)
    assert len({span["traceId"] for span in collector.spans}) == 1
    assert len({span["spanId"] for span in collector.spans}) == len(collector.spans)
    assert collector.resources[0]["service.name"] == "dormouse"
    assert "secret words" not in json.dumps(collector.spans)


def test_one_in_so_many_is_traced(start, join, collector):
    server = start(traced(collector, **{"telemetry.trace_one_in": 10, "limits.publish_per_second": 1000000,
                                        "limits.publish_burst": 1000000}))
    client, channel = join(server), fresh("room:")
    client.request("subscribe", channel=channel)
    for n in range(1000):
        client.request("publish", channel=channel, data=n)
    server.stop()
    roots = collector.named("publish")
    assert 50 < len(roots) < 200, len(roots)
    assert {span["traceId"] for span in roots} == {span["traceId"] for span in collector.named("deliver")}


@pytest.mark.parametrize("status", [None, 500])
def test_a_collector_that_is_gone_costs_traces_and_nothing_else(start, join, status):
    collector = Collector(status or 200)
    settings = traced(collector, **{"limits.publish_per_second": 1000000, "limits.publish_burst": 1000000})
    if status is None:
        collector.stop()
    server = start(settings)
    client, channel = join(server), fresh("room:")
    client.request("subscribe", channel=channel)
    # Far more spans than the queue holds.
    for n in range(3000):
        client.request("publish", channel=channel, data=n)
    assert [client.take("event")["data"] for _ in range(3000)] == list(range(3000))
    eventually(lambda: any("does not take traces" in line for line in server.log), "that is told")
    assert sum("does not take traces" in line for line in server.log) == 1, "once"
    server.stop()
    if status:
        assert collector.calls > 0
        collector.stop()


def test_nothing_is_traced_unless_it_is_asked_for(plain, join):
    client = join(plain)
    client.request("publish", channel="room:quiet", data=1)
    assert not [line for line in plain.log if "trace" in line]


def lines(server, what):
    return [record for record in map(json.loads, server.log) if record["fields"].get("message") == what]


def test_logs_name_connection_session_and_request(start, join):
    server = start({"telemetry.format": "json", "telemetry.log": "info,dormouse::turns=debug", "chaos.enabled": True,
                    "limits.turn_warn": "1ms"})
    client = join(server, "ann")
    me = client.request("whoami")
    mark = hashlib.sha256(client.ready["session"].encode()).hexdigest()[:8]
    client.send("chaos", id=4711, fault="panic")
    client.take("restarted")
    client.request("chaos", fault="stall", ms=5)

    def crash():
        return next(iter(lines(server, "actor crashed, restarting")), None)

    told = eventually(crash, "the crash is told")["fields"]
    assert (told["connection"], told["session"], told["request"]) == (me["connection"], mark, 4711)
    slow = eventually(lambda: lines(server, "slow turn"), "the slow turn is told")[0]["fields"]
    assert (slow["connection"], slow["session"]) == (me["connection"], mark) and slow["took_us"] >= 5000
    turns = eventually(lambda: [line["fields"] for line in lines(server, "turn") if line["fields"].get("session") == mark],
                       "turns are told")
    assert {"kind", "generation", "took_us"} <= set(turns[0])
    # The session's token is nowhere.
    assert client.ready["session"] not in "\n".join(server.log)


def test_a_call_of_the_api_has_a_name_that_both_ends_know(start):
    server = start({"telemetry.format": "json", "telemetry.log": "info,dormouse::http=debug"})
    mine = server.http.get("/v1/node?token=hush", headers={"x-request-id": "mine-1"})
    assert mine.headers["x-request-id"] == "mine-1"
    names = {server.http.get("/v1/node", headers=headers).headers["x-request-id"]
             for headers in ({}, {}, {"x-request-id": "two words"}, {"x-request-id": "x" * 65})}
    assert len(names) == 4 and all(name.startswith(server.node()["node"]) for name in names)
    found = eventually(lambda: [line for line in lines(server, "call") if line["span"]["request"] == "mine-1"], "it is told")
    fields = found[0]["fields"]
    assert (fields["method"], fields["path"], fields["status"]) == ("GET", "/v1/node", 200)
    assert "hush" not in "\n".join(server.log)
    assert httpx.get(server.url("http", "/health/live")).headers["x-request-id"]
