"""Hooks against a backend that is well, slow, dead, flapping and lying; and that whoever does not need it notices nothing."""

import json
import socket
import threading
import time

import pytest
from application import Application, broken, no, yes
from client import Refused, eventually, fresh

ALL = ("connect", "subscribe", "publish", "rpc", "disconnect")


@pytest.fixture
def app():
    with Application() as application:
        yield application


def refused_connect(dial, server, token="ann"):
    """What a client is told that is not let in: its error frame, and how it is closed."""
    one = dial(server)
    one.take("hello")
    one.send("identify", token=token)
    error = one.take("error")
    return error, one.closed()


def test_a_backend_says_who_a_client_is_and_what_it_may(app, start, join, dial):
    def who(call):
        assert call["token"] == "opaque" and "user" not in call
        return 200, {"allow": True, "user": "ann", "channels": ["room:*"]}

    app.moods["connect"] = who
    server = start({"auth.mode": "hook", **app.settings("connect", hooks__key="the key")})
    one = dial(server)
    one.take("hello")
    one.send("identify", token="opaque")
    assert one.take("ready")["user"] == "ann"
    one.request("subscribe", channel="room:1")
    assert one.refused("subscribe", channel="chat:lobby")["code"] == "forbidden"
    # In the URL too.
    two = dial(server, path="/v1/gateway?token=opaque&subscribe=room:2")
    ready = two.take("ready")
    assert ready["user"] == "ann" and [entry["channel"] for entry in ready["subscriptions"]] == ["room:2"]
    headers = app.headers[0]
    assert headers["authorization"] == "Bearer the key" and headers["x-dormouse-hook"] == "connect"
    assert headers["idempotency-key"] == app.calls[0]["id"] != app.calls[1]["id"]
    app.moods["connect"] = no
    error, closed = refused_connect(dial, server)
    assert (error["code"], error["message"], closed) == ("auth_failed", "not today", (4501, "auth_failed"))
    assert "the key" not in "\n".join(server.log) and "opaque" not in "\n".join(server.log)


def test_a_token_of_ours_is_checked_before_anybody_is_asked(app, start, dial):
    server = start({"auth.mode": "jwt", "auth.keys": ["a secret that is long enough for HS256"],
                    **app.settings("connect")})
    error, closed = refused_connect(dial, server, "no token")
    assert error["code"] == "auth_failed" and closed == (4501, "auth_failed") and not app.calls


def test_entering_publishing_and_calling_are_decided_by_the_backend(app, start, join):
    def about(call):
        if call["channel"].endswith("closed"):
            return 200, {"deny": "members only"}
        return 200, {"allow": True}

    def said(call):
        if call["data"] == "rude":
            return 403, {"deny": "mind your words"}
        return 200, {"allow": True, "data": {"censored": call["data"]}}

    def called(call):
        if call["method"] == "fail":
            return 200, {"deny": "cannot"}
        return 200, {"allow": True, "data": {"method": call["method"], "got": call["data"], "by": call["user"]}}

    app.moods.update(subscribe=about, publish=said, rpc=called)
    server = start(app.settings("subscribe", "publish", "rpc", hooks__publish__namespaces=["room"]))
    one = join(server, "ann")
    assert one.request("subscribe", channel="room:open")["channel"] == "room:open"
    refusal = one.refused("subscribe", channel="room:closed")
    assert (refusal["code"], refusal["message"], refusal["retry"]) == ("forbidden", "members only", "never")
    assert one.refused("join", channel="chat:closed")["code"] == "forbidden"
    assert one.request("join", channel="chat:open")["channel"] == "chat:open"
    assert [call["action"] for call in app.of("subscribe")] == ["subscribe", "subscribe", "join", "join"]
    one.request("publish", channel="room:open", data="hello", key="k1")
    assert one.take("event")["data"] == {"censored": "hello"}
    refusal = one.refused("publish", channel="room:open", data="rude")
    assert (refusal["code"], refusal["message"]) == ("forbidden", "mind your words")
    # Of a namespace that nobody asks about.
    one.request("publish", channel="chat:open", data="rude")
    assert [call["data"] for call in app.of("publish")] == ["hello", "rude"]
    assert app.of("publish")[0]["key"] == "k1"
    assert one.request("rpc", method="sum", data=[1, 2]) == {"data": {"method": "sum", "got": [1, 2], "by": "ann"}}
    assert one.refused("rpc", method="fail")["message"] == "cannot"
    # An identify that asks for both: one is told as refused, the other is there.
    two = join(server, "bob", cursors={"room:closed": {"epoch": "x", "offset": 0}, "room:open": {"epoch": "x", "offset": 0}})
    assert [entry["channel"] for entry in two.ready["subscriptions"]] == ["room:open"]
    assert two.take("error")["code"] == "forbidden"


def test_without_a_backend_nobody_answers_calls(server, join):
    assert join(server).refused("rpc", method="sum")["code"] == "not_found"


def test_publications_of_one_client_keep_their_order_and_all_calls_run_at_once(app, start, join):
    """The first ones are answered last."""
    late = {}

    def mood(call):
        event = late.setdefault(call["data"], threading.Event())
        event.wait(20)
        return 200, {"allow": True}

    app.moods["publish"] = mood
    server = start({**app.settings("publish", hooks__publish__deadline="20s"), "limits.publish_burst": 1000})
    one = join(server)
    channel = fresh("room:")
    one.request("subscribe", channel=channel)
    asked = [one.ask("publish", channel=channel, data=n) for n in range(20)]
    eventually(lambda: len(app.of("publish")) == 20, "all of them are under way at once")
    for n in reversed(range(20)):
        late[n].set()
    offsets = [one.answer(number)["offset"] for number in asked]
    assert offsets == sorted(offsets)
    assert [one.take("event")["data"] for _ in asked] == list(range(20))


def test_channels_of_an_identify_are_asked_about_at_once(app, start, dial):
    together = threading.Barrier(8)

    def mood(_call):
        together.wait(20)
        return 200, {"allow": True}

    app.moods["subscribe"] = mood
    server = start(app.settings("subscribe"))
    channels = [f"room:{n}" for n in range(8)]
    one = dial(server, path=f"/v1/gateway?token=ann&subscribe={','.join(channels)}")
    assert [entry["channel"] for entry in one.take("ready")["subscriptions"]] == channels


def test_a_slow_backend_slows_nobody_who_does_not_need_it(app, start, join):
    app.moods["publish"] = app.slow
    server = start({**app.settings("publish", "disconnect", hooks__publish__namespaces=["slow"],
                                   hooks__publish__deadline="30s", hooks__in_flight=8), "limits.publish_burst": 1000})
    stuck, free = join(server), join(server)
    stuck.request("subscribe", channel="room:x")
    free.request("subscribe", channel="room:x")
    asked = [stuck.ask("publish", channel="slow:x", data=n) for n in range(8)]
    eventually(lambda: len(app.of("publish")) == 8, "they wait")
    for n in range(200):
        free.request("publish", channel="room:x", data=n)
    # Also he who waits hears the others and is served with everything else.
    assert [stuck.take("event")["data"] for _ in range(200)] == list(range(200))
    assert stuck.request("whoami")["user"] == stuck.user
    # The bulkhead: one more is not called for, and told so at once.
    refusal = free.refused("publish", channel="slow:x", data="one too many")
    assert (refusal["code"], refusal["retry"]) == ("unavailable", "later")
    assert len(app.of("publish")) == 8
    assert server.metric("dormouse_hooks_total", hook="publish", result="full") == 1
    app.released.set()
    for number in asked:
        one = stuck.answer(number)
        assert one["duplicate"] is False


def test_a_call_has_its_deadline(app, start, join):
    app.moods["rpc"] = app.slow
    server = start(app.settings("rpc", hooks__rpc__deadline="200ms"))
    one = join(server)
    began = time.monotonic()
    refusal = one.refused("rpc", method="wait")
    assert (refusal["code"], refusal["retry"]) == ("unavailable", "later")
    assert 0.2 <= time.monotonic() - began < 5
    assert len(app.of("rpc")) == 1, "an rpc is not repeated once it may have been heard"


def dead_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("fallback", ["allow", "deny", "cached"])
def test_a_dead_backend_is_replaced_by_the_fallback(start, join, dial, fallback):
    port = dead_port()
    with Application(port) as application:
        server = start({"auth.mode": "open", **application.settings(
            "connect", "subscribe", hooks__connect__fallback=fallback, hooks__subscribe__fallback=fallback,
            hooks__connect__deadline="1s", hooks__subscribe__deadline="1s", hooks__retries=0)})
        first = join(server, "ann")
        first.request("subscribe", channel="room:known")
    # It is dead now; connections are refused.
    if fallback == "deny":
        error, closed = refused_connect(dial, server)
        assert (error["code"], error["retry"], closed) == ("unavailable", "later", (1013, "try_again_later"))
        assert first.refused("subscribe", channel="room:other")["code"] == "unavailable"
        return
    again = join(server, "ann")
    again.request("subscribe", channel="room:known")
    if fallback == "allow":
        again.request("subscribe", channel="room:other")
        join(server, "new")
    else:
        assert again.refused("subscribe", channel="room:other")["code"] == "unavailable"
        error, closed = refused_connect(dial, server, "new")
        assert error["code"] == "unavailable" and closed == (1013, "try_again_later")
    # Whoever is connected stays and works.
    assert first.request("publish", channel="room:known", data=1)["offset"] == 1


def test_a_breaker_stops_calling_and_finds_out_when_the_backend_is_back(app, start, join):
    app.moods["rpc"] = broken
    server = start({**app.settings("rpc", hooks__breaker_failures=3, hooks__breaker_pause="300ms"),
                    "limits.publish_burst": 1000})
    one = join(server)
    for _ in range(3):
        assert one.refused("rpc", method="x")["code"] == "unavailable"
    assert server.metric("dormouse_hook_breaker_open", hook="rpc") == 1
    before = len(app.of("rpc"))
    assert one.refused("rpc", method="x")["code"] == "unavailable"
    assert len(app.of("rpc")) == before, "nobody calls"
    app.moods["rpc"] = yes

    def is_back():
        try:
            return one.request("rpc", method="x") == {"data": None}
        except Refused:
            return False

    eventually(is_back, "a call finds out")
    assert server.metric("dormouse_hook_breaker_open", hook="rpc") == 0
    assert len(app.of("rpc")) == before + 1, "one call found out"
    assert any("not called for a while" in line for line in server.log)
    assert any("answers again" in line for line in server.log)


def test_a_flapping_backend_is_asked_again_where_that_is_safe(app, start, join):
    """Every second call fails, in every way a backend may fail."""
    ways = [lambda _: (503, {}), lambda _: None, lambda _: (500, b"oops"), lambda _: (502, b"")]
    seen: dict[str, int] = {}

    def flapping(call):
        nth = seen.setdefault(call["id"], 0)
        seen[call["id"]] += 1
        return ways[len(seen) % len(ways)](call) if nth == 0 else (200, {"allow": True})

    app.moods["subscribe"] = flapping
    server = start({**app.settings("subscribe", hooks__retries=3, hooks__breaker_failures=1000), "limits.publish_burst": 1000})
    one = join(server)
    for n in range(12):
        one.request("subscribe", channel=f"room:{n}")
    assert all(count == 2 for count in seen.values()) and len(seen) == 12


def test_what_may_have_happened_is_not_repeated(app, start, join):
    app.moods["rpc"] = lambda _: None
    app.moods["publish"] = lambda _: (500, {})
    server = start(app.settings("rpc", "publish", hooks__retries=3))
    one = join(server)
    assert one.refused("rpc", method="pay")["code"] == "unavailable"
    assert one.refused("publish", channel="room:x", data=1)["code"] == "unavailable"
    assert len(app.of("rpc")) == 1 and len(app.of("publish")) == 1


@pytest.mark.parametrize("lie", [b"", b"{}", b"[]", b"yes", b"{\"allow\": 1}", b"\xff\xfe", b"{\"allow\": true" + b" " * (2 << 20) + b"}",
                                 b"{\"allow\": true, \"deny\": \"both\"}", b"[" * 100_000])
def test_a_lying_backend_is_no_backend(app, start, join, lie):
    app.moods["subscribe"] = lambda _: (200, lie)
    server = start(app.settings("subscribe"))
    one = join(server)
    assert one.refused("subscribe", channel="room:x")["code"] == "unavailable"
    assert one.request("whoami")["subscriptions"] == []


def test_a_backend_cannot_make_somebody_of_nobody(app, start, dial):
    for said in [{"allow": True}, {"allow": True, "user": ""}, {"allow": True, "user": "a\u0000b"}]:
        app.moods["connect"] = lambda _, said=said: (200, said)
        server = start({"auth.mode": "hook", **app.settings("connect")})
        error, closed = refused_connect(dial, server)
        assert error["code"] == "unavailable" and closed == (1013, "try_again_later")


def test_the_backend_is_told_when_a_client_is_gone(app, start, join):
    server = start({**app.settings("disconnect"), "chaos.enabled": True})
    left, lost, kicked = join(server, "left"), join(server, "lost"), join(server, "kicked")
    left.ws.close()
    lost.cut()
    server.http.post("/v1/disconnect", json={"user": "kicked"})
    told = eventually(lambda: {call["user"]: call for call in app.of("disconnect")} if len(app.of("disconnect")) == 3 else None,
                      "three are told")
    assert (told["left"]["code"], told["left"]["parked"]) == (1000, False)
    assert (told["lost"]["code"], told["lost"]["parked"]) == (1006, True)
    assert (told["kicked"]["code"], told["kicked"]["parked"]) == (4503, True)
    assert kicked.closed() == (4503, "kicked")


def test_a_client_that_leaves_while_the_backend_thinks_leaves_nothing_behind(app, start, join):
    app.moods["publish"] = app.slow
    server = start({**app.settings("publish", hooks__publish__deadline="20s"), "limits.publish_burst": 1000})
    one, witness = join(server, "ann"), join(server)
    witness.request("subscribe", channel="room:x")
    for n in range(10):
        one.ask("publish", channel="room:x", data=n)
    eventually(lambda: len(app.of("publish")) == 10, "they wait")
    one.ws.close()
    eventually(lambda: server.node()["connections"]["total"] == 1, "it is gone")
    app.released.set()
    eventually(lambda: server.metric("dormouse_jobs_in_flight") == 0, "nothing runs for it")
    assert not [frame for frame in witness.settle() if frame["op"] == "event"]


def test_a_crash_while_the_answer_is_handled_is_answered_and_hides_what_was_said(app, start, join, tmp_path):
    """The crash file of such a turn holds nothing that people or the application wrote."""
    app.moods["rpc"] = lambda call: (200, {"allow": True, "data": "secret of the application"})
    server = start({**app.settings("rpc"), "chaos.enabled": True})
    one = join(server)
    assert one.request("rpc", method="private", data="secret of the client") == {"data": "secret of the application"}
    # The connection goes on through crashes between its calls.
    for generation in (2, 3):
        assert one.refused("chaos", fault="panic")["code"] == "crashed"
        assert one.take("restarted")["generation"] == generation
        assert one.request("rpc", method="private")["data"] == "secret of the application"
    files = list((tmp_path / "server0" / "store" / "crashes").glob("*.json"))
    assert files and all("secret of" not in file.read_text() for file in files)


def test_a_renewed_token_is_asked_about_too(app, start, dial):
    app.moods["connect"] = lambda call: (200, {"allow": True, "user": "ann", "expires": int(time.time()) + 3600})
    server = start({"auth.mode": "hook", **app.settings("connect")})
    one = dial(server)
    one.take("hello")
    one.send("identify", token="first")
    one.take("ready")
    one.send("identify", token="second")
    assert one.take("ready")["user"] == "ann"
    app.moods["connect"] = lambda call: (200, {"allow": True, "user": "eve"})
    one.send("identify", token="third")
    assert one.take("error")["code"] == "auth_failed"
    assert one.closed() == (4501, "auth_failed")
    assert [call["token"] for call in app.of("connect")] == ["first", "second", "third"]


def test_mistakes_in_hooks_are_told(start):
    for settings, sentence in [({"auth.mode": "hook"}, "hooks.connect.url"),
                               ({"hooks.rpc.url": "ftp://x"}, "hooks.rpc.url"),
                               ({"hooks.publish.fallback": "cached"}, "hooks.publish.fallback"),
                               ({"hooks.connect.url": "http://x", "hooks.connect.deadline": "20s"}, "session.identify_within")]:
        with pytest.raises(RuntimeError) as told:
            start(settings)
        assert sentence in str(told.value), json.dumps(settings)
