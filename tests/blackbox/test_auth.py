"""Tokens: HS256 in jwt mode, expiry and renewal, channel patterns, the `token` command, the API without keys."""

import os
import subprocess
import time

import jwt
import pytest
from client import eventually, fresh
from serving import binary

SECRET = "a secret that is long enough for HS256, really"
OTHER = "another secret that is long enough for HS256 too"
SETTINGS = {"auth.mode": "jwt", "auth.keys": [SECRET], "api.keys": ["operator"]}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    from serving import Server

    running = Server(tmp_path_factory.mktemp("jwt"), SETTINGS)
    yield running
    running.stop()


def token(user, lives=60, secret=SECRET, **claims) -> str:
    return jwt.encode({"sub": user, "exp": int(time.time()) + lives, **claims}, secret, algorithm="HS256")


def made_by_the_command(user, *args) -> str:
    done = subprocess.run([binary(), "token", user, *args], capture_output=True, text=True, timeout=30, check=True,
                          env={**os.environ, "DORMOUSE__AUTH__MODE": "jwt", "DORMOUSE__AUTH__KEYS": f'["{SECRET}"]'})
    return done.stdout.strip()


def test_a_token_names_the_user(guarded, dial, enc):
    one = dial(guarded, enc)
    assert one.identify(token("alice"))["user"] == "alice"
    assert one.whoami()["user"] == "alice"


def test_the_url_and_the_header_take_a_token(guarded, dial):
    channel = fresh("room:")
    one = dial(guarded, path=f"/v1/gateway?token={token('alice')}&subscribe={channel}")
    assert one.take("ready")["subscriptions"][0]["channel"] == channel
    two = dial(guarded, additional_headers={"Authorization": f"Bearer {token('bob')}"})
    assert two.take("ready")["user"] == "bob"


@pytest.mark.parametrize("wrong", [
    pytest.param(lambda: "alice", id="a user name"),
    pytest.param(lambda: "", id="nothing"),
    pytest.param(lambda: token("alice", secret=OTHER), id="another key"),
    pytest.param(lambda: token("alice")[:-3] + "AAA", id="a broken signature"),
    pytest.param(lambda: jwt.encode({"sub": "alice"}, None, algorithm="none"), id="no algorithm"),
    pytest.param(lambda: jwt.encode({"exp": int(time.time()) + 60}, SECRET, algorithm="HS256"), id="no user"),
])
def test_a_wrong_token_closes_4501(guarded, dial, enc, wrong):
    one = dial(guarded, enc)
    one.take("hello")
    one.send("identify", token=wrong())
    assert one.closed() == (4501, "auth_failed")


def test_a_wrong_token_in_the_url_is_refused(guarded):
    from client import Client
    from websockets.exceptions import InvalidStatus

    try:
        one = Client(guarded, path="/v1/gateway?token=alice")
    except InvalidStatus as refused:
        assert refused.response.status_code == 401
        return
    assert one.closed() == (4501, "auth_failed")


def test_a_token_of_yesterday_is_refused(guarded, dial):
    one = dial(guarded)
    one.take("hello")
    one.send("identify", token=token("alice", lives=-86400))
    assert one.closed()[0] in (4501, 4502)


def test_an_expiring_token_closes_4502(guarded, dial, enc):
    one = dial(guarded, enc)
    one.identify(token("alice", lives=2))
    one.whoami()
    assert one.closed(20) == (4502, "token_expired")


def test_a_second_identify_renews_the_token(guarded, dial, enc):
    one, witness = dial(guarded, enc), dial(guarded, enc)
    expiring = token("alice", lives=2)
    one.identify(expiring)
    witness.identify(expiring)
    one.send("identify", token=token("alice", lives=600))
    assert not [frame for frame in one.settle() if frame["op"] == "error"]
    assert witness.closed(20) == (4502, "token_expired")
    assert one.whoami()["user"] == "alice"


def test_a_renewal_with_a_wrong_token_is_refused(guarded, dial):
    one = dial(guarded)
    one.identify(token("alice"))
    one.send("identify", token=token("alice", secret=OTHER))
    assert one.closed() == (4501, "auth_failed")


def test_a_renewal_for_another_user_is_refused(guarded, dial):
    one = dial(guarded)
    one.identify(token("alice"))
    one.send("identify", token=token("bob"))
    try:
        frames = one.settle()
    except Exception:  # noqa: BLE001 - closing is as good an answer as an error
        return
    assert [frame for frame in frames if frame["op"] == "error"]
    assert one.whoami()["user"] == "alice"


def test_channel_patterns_bound_a_token(guarded, dial, enc):
    one = dial(guarded, enc)
    one.identify(made_by_the_command("alice", "--channel", "room:*", "--channel", "news"))
    room = fresh("room:")
    one.subscribe(room)
    one.publish(room, 1)
    one.subscribe("news")
    for op in ("subscribe", "publish", "signal", "presence"):
        error = one.refused(op, channel=fresh("other:"), data=1, kind="typing")
        assert (error["code"], error["retry"]) == ("forbidden", "never"), op


def test_the_token_command_makes_tokens_that_expire(guarded, dial):
    one = dial(guarded)
    one.identify(made_by_the_command("bob", "--expires", "2s"))
    assert one.closed(20) == (4502, "token_expired")
    two = dial(guarded)
    assert two.identify(made_by_the_command("bob"))["user"] == "bob"


def test_the_api_without_keys_says_why_it_is_shut(start):
    server = start({"auth.mode": "jwt", "auth.keys": [SECRET]})
    answer = server.http.get("/v1/node")
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert error["code"] == "forbidden" and "api.keys" in error["message"]
    assert server.http.get("/health/ready").status_code == 200


def test_resuming_needs_a_token_of_the_same_user(guarded, dial):
    one = dial(guarded)
    one.identify(token("alice"))
    one.cut()
    operator = {"Authorization": "Bearer operator"}
    eventually(lambda: guarded.node(**operator)["connections"]["parked"], "the parked session")
    thief = dial(guarded)
    assert thief.identify(token("bob"), resume=one.ready["session"])["resumed"] is False
    back = dial(guarded)
    assert back.identify(token("alice"), resume=one.ready["session"])["resumed"] is True
