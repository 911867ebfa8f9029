"""Keys of tokens and of the API over real sockets: every algorithm, key files and their reload, forgeries, scopes,
origins, and that no secret shows anywhere."""

import base64
import json
import os
import signal
import subprocess
import time

import jwt
import pytest
from client import Client, eventually, fresh
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from serving import Server, binary
from websockets.exceptions import InvalidStatus

SECRET = "a secret that is long enough for HS256, really"
PRIVATE = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
ALGORITHMS = ["HS256", *PRIVATE]
OPERATOR = {"Authorization": "Bearer operator"}


def pem(key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private_pem(key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def jwk(algorithm: str, kid: str, key=None) -> dict:
    key = key or PRIVATE.get(algorithm)
    if algorithm == "HS256":
        return {"kty": "oct", "kid": kid, "k": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("=")}
    name = {"RS256": "RSAAlgorithm", "ES256": "ECAlgorithm", "EdDSA": "OKPAlgorithm"}[algorithm]
    return {**json.loads(getattr(jwt.algorithms, name).to_jwk(key.public_key())), "kid": kid, "use": "sig"}


def token(algorithm="HS256", user="alice", lives=60, key=None, kid=None, **claims) -> str:
    key = key or PRIVATE.get(algorithm, SECRET)
    claims = {"sub": user, "exp": int(time.time()) + lives, **claims}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def admits(server, text: str) -> bool:
    """Whether a token opens the door: `ready`, or else close 4501."""
    one = Client(server)
    try:
        one.take("hello")
        one.send("identify", token=text)
        try:
            one.take("ready")
            return True
        except Exception:  # noqa: BLE001 - whatever the client makes of a close
            assert one.closed() == (4501, "auth_failed")
            return False
    finally:
        one.ws.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys")
    (path / "all.pem").write_bytes(b"".join(pem(key) for key in PRIVATE.values()))
    for algorithm, key in PRIVATE.items():
        (path / f"{algorithm}.pem").write_bytes(private_pem(key))
    return path


@pytest.fixture(scope="module")
def guarded(folder):
    running = Server(folder / "server", {
        "auth.mode": "jwt", "auth.keys": [SECRET], "auth.key_files": [str(folder / "all.pem")],
        "api.keys": ["operator"],
    })
    yield running
    running.stop()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tokens_of_every_algorithm_open(guarded, dial, algorithm, enc):
    one = dial(guarded, enc)
    assert one.identify(token(algorithm))["user"] == "alice"


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_the_command_signs_with_a_private_key(guarded, dial, folder, algorithm):
    args = [binary(), "token", "carol", "--key-file", str(folder / f"{algorithm}.pem"), "--publish", "room:*"]
    done = subprocess.run(args, capture_output=True, text=True, timeout=30, check=True)
    assert jwt.get_unverified_header(done.stdout.strip())["alg"] == algorithm
    one = dial(guarded)
    assert one.identify(done.stdout.strip())["user"] == "carol"
    room = fresh("room:")
    one.publish(room, 1)
    assert one.refused("subscribe", channel=room)["code"] == "forbidden"


def hmac_with(secret: bytes, header: dict) -> str:
    """What PyJWT refuses to sign: a public key as the secret."""
    import hashlib
    import hmac

    def encode(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    signed = encode(json.dumps(header).encode()) + "." + encode(json.dumps({"sub": "mallory"}).encode())
    return signed + "." + encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())


FORGERIES = {
    "a public key as the secret": lambda: hmac_with(pem(PRIVATE["RS256"]), {"alg": "HS256"}),
    "another's key": lambda: token("EdDSA", key=ed25519.Ed25519PrivateKey.generate()),
    "no algorithm": lambda: jwt.encode({"sub": "mallory"}, None, algorithm="none"),
    "an embedded key": lambda: hmac_with(b"x" * 32, {"alg": "HS256", "jwk": {
        "kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 32).decode().rstrip("=")}}),
    "an algorithm we have no key for": lambda: jwt.encode({"sub": "mallory"}, SECRET, algorithm="HS512"),
    "a huge token": lambda: token(channels=["chat:*"] * 3000),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_token_closes_4501(guarded, forgery):
    assert admits(guarded, token())
    assert not admits(guarded, FORGERIES[forgery]())


def test_keys_rotate_without_a_restart_and_a_bad_file_keeps_the_old_ones(start, tmp_path, dial):
    jwks = tmp_path / "jwks.json"
    old, new = PRIVATE["EdDSA"], ed25519.Ed25519PrivateKey.generate()

    def write(*keys):
        # As a careful operator replaces a file: never half written.
        (tmp_path / "next").write_text(json.dumps({"keys": keys}))
        (tmp_path / "next").rename(jwks)

    write(jwk("EdDSA", "old"))
    server = start({"auth.mode": "jwt", "auth.key_files": [str(jwks)], "api.keys": ["operator"]})
    before, after = token("EdDSA", key=old, kid="old"), token("EdDSA", key=new, kid="new")

    def reload(expected: str):
        seen = len(server.log)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: any(expected in line for line in server.log[seen:]), f"{expected!r} in the log")

    stays = dial(server)
    stays.identify(before)
    assert not admits(server, after)
    write(jwk("EdDSA", "old"), jwk("EdDSA", "new", new))
    reload("configuration read again")
    assert admits(server, before) and admits(server, after)
    jwks.write_text('{"keys": [')
    reload("the configuration stays as it was")
    assert any("is not JSON" in line and "jwks.json" in line for line in server.log)
    assert admits(server, before) and admits(server, after)
    write(jwk("EdDSA", "new", new))
    reload("configuration read again")
    assert not admits(server, before) and admits(server, after)
    assert stays.whoami()["user"] == "alice", "who is identified stays until his token expires"


def test_a_new_token_is_asked_of_the_new_keys_and_extends_a_live_connection(start, tmp_path, dial):
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [jwk("ES256", "a"), jwk("EdDSA", "b")]}))
    server = start({"auth.mode": "jwt", "auth.key_files": [str(jwks)]})
    one, witness = dial(server), dial(server)
    expiring = token("ES256", lives=2, kid="a")
    one.identify(expiring)
    witness.identify(expiring)
    one.send("identify", token=token("EdDSA", lives=600, kid="b"))
    assert witness.closed(20) == (4502, "token_expired")
    assert one.whoami()["user"] == "alice"


def test_a_token_expires_under_a_client_that_never_stops_talking(guarded, dial):
    one = dial(guarded)
    one.identify(token("EdDSA", lives=2))
    deadline = time.monotonic() + 20
    with pytest.raises(Exception):  # noqa: B017, PT011 - the socket ends in the middle of whatever was sent
        while time.monotonic() < deadline:
            one.whoami()
    assert one.closed(1) == (4502, "token_expired")


def test_namespaces_and_lists_decide_together(start, dial):
    server = start({
        "auth.mode": "jwt", "auth.keys": [SECRET], "api.keys": ["operator"],
        "channels.news.publish": "nobody", "channels.team.subscribe": "claim", "channels.team.publish": "subscriber",
    })
    plain, member = dial(server), dial(server)
    plain.identify(token())
    member.identify(token(user="bob", subscribe=["team:red", "news:*"], publish=["team:*"]))
    plain.subscribe("news:today")
    assert plain.refused("publish", channel="news:today", data=1)["code"] == "forbidden"
    answer = server.http.post("/v1/publish", json={"channel": "news:today", "data": 1}, headers=OPERATOR)
    assert answer.status_code == 200, "the API publishes where no client may"
    assert plain.refused("subscribe", channel="team:red")["code"] == "forbidden"
    assert member.refused("publish", channel="team:red", data=1)["code"] == "forbidden"
    member.subscribe("team:red")
    member.publish("team:red", 1)
    assert member.refused("subscribe", channel="team:blue")["code"] == "forbidden"


def test_a_key_of_the_api_does_what_its_scopes_say(start, tmp_path):
    secret = tmp_path / "scraper"
    secret.write_text("scrapes\n")
    scopes = [
        {"key": "posts", "scopes": ["publish"]}, {"key": "ends", "scopes": ["admin"]},
        {"key": "breaks", "scopes": ["chaos"]},
    ]
    inline = ", ".join(f'{{key = "{one["key"]}", scopes = {json.dumps(one["scopes"])}}}' for one in scopes)
    keys = f'["operator", {inline}, {{file = "{secret}", scopes = ["read"]}}]'
    server = start({"api.keys": keys, "chaos.enabled": True})
    calls = {
        "read": ("GET", "/v1/node", None), "publish": ("POST", "/v1/publish", {"channel": "a", "data": 1}),
        "admin": ("POST", "/v1/disconnect", {"user": "nobody"}),
        "chaos": ("POST", "/v1/chaos", {"fault": "panic", "target": {"user": "nobody"}}),
    }
    owners = {"scrapes": ["read"], "posts": ["publish"], "ends": ["admin"], "breaks": ["chaos"], "operator": list(calls)}
    for key, owned in owners.items():
        for scope, (method, path, body) in calls.items():
            answer = server.http.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})
            if scope in owned:
                assert answer.status_code not in (401, 403), (key, scope, answer.text)
            else:
                assert answer.status_code == 403, (key, scope)
                error = answer.json()["error"]
                assert error["code"] == "forbidden" and f"the scope `{scope}`" in error["message"], error
                assert key not in error["message"]
    bearer = {"Authorization": "Bearer scrapes"}
    assert server.http.get("/metrics", headers=bearer).status_code == 200
    assert server.http.get("/metrics", headers={"Authorization": "Bearer posts"}).status_code == 403
    assert server.http.delete("/v1/connections/x", headers=bearer).status_code == 403
    # Rotation: the file has another key, and the reload takes it.
    secret.write_text("scrapes anew")
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: server.http.get("/metrics", headers=bearer).status_code == 401, "the old key to be forgotten")
    anew = {"Authorization": "Bearer scrapes anew"}
    assert server.http.get("/metrics", headers=anew).status_code == 200
    secret.unlink()
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: any("the configuration stays as it was" in line for line in server.log), "the reason in the log")
    assert server.http.get("/metrics", headers=anew).status_code == 200


def upgrade(server, origin: str | None, host: str | None = None) -> int:
    """The status of a handshake from a page of `origin`."""
    extra = {"additional_headers": {"Host": host}} if host else {}
    try:
        one = Client(server, origin=origin, **extra)
    except InvalidStatus as refused:
        return refused.response.status_code
    one.ws.close()
    return 101


def test_pages_of_other_hosts_are_refused_unless_they_are_listed(plain, start):
    own = plain.url("http")
    assert upgrade(plain, None) == 101, "programs send no origin"
    assert upgrade(plain, own) == 101, "the chat page"
    for foreign in ("https://evil.example", "null", "file://", own + "0"):
        assert upgrade(plain, foreign) == 403, foreign
    assert plain.metric("dormouse_handshakes_total", result="foreign_origin") >= 4
    listed = start({"listen.origins": ["https://app.example.com", "https://*.example.org"]})
    assert upgrade(listed, "https://app.example.com") == 101
    assert upgrade(listed, "https://a.example.org") == 101
    assert upgrade(listed, "https://example.org.evil.example") == 403


def test_a_page_of_another_host_cannot_use_the_open_api(plain):
    body = {"channel": "chat:lobby", "data": 1}
    assert plain.http.post("/v1/publish", json=body, headers={"Origin": plain.url("http")}).status_code == 200
    answer = plain.http.post("/v1/publish", json=body, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403 and "listen.origins" in answer.json()["error"]["message"]
    rebound = plain.http.get("/v1/node", headers={"Host": f"evil.example:{plain.port}"})
    assert rebound.status_code == 403, rebound.text


def test_no_secret_shows_anywhere(tmp_path, dial):
    """Every secret there is has `hush` in it; the log is as talkative as it gets."""
    (tmp_path / "api").write_text("hush-file")
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [
        {"kty": "oct", "kid": "a", "k": base64.urlsafe_b64encode(b"hush" * 10).decode().rstrip("=")}]}))
    config = tmp_path / "dormouse.toml"
    config.write_text(f"""
[auth]
mode = "jwt"
keys = ["hush-{'x' * 40}"]
key_files = ["{tmp_path}/jwks.json"]
[api]
keys = ["hush-operator", {{file = "{tmp_path}/api", scopes = ["read"]}}]
""")
    checked = subprocess.run([binary(), "check", "--config", str(config)], capture_output=True, text=True, check=True)
    server = Server(tmp_path / "server", {"telemetry.log": "trace", "chaos.enabled": True}, config=config)
    try:
        good = token(key=f"hush-{'x' * 40}")
        signature = good.rsplit(".", 1)[1]
        one = dial(server)
        one.identify(good)
        one.refused("chaos", fault="panic")
        wrong = dial(server, path=f"/v1/gateway?token={good}x")
        wrong.closed()
        operator = {"Authorization": "Bearer hush-operator"}
        seen = [checked.stdout, checked.stderr]
        for path in ("/v1/node", "/v1/connections", "/metrics"):
            seen.append(server.http.get(path, headers=operator).text)
        seen.append(server.http.get("/v1/node", headers={"Authorization": "Bearer hush-wrong"}).text)
        (tmp_path / "jwks.json").write_text("hush")
        (tmp_path / "api").write_text("hush\nhush")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: any("the configuration stays as it was" in line for line in server.log), "the reload")
    finally:
        server.stop()
    assert any("TRACE" in line for line in server.log), "the log says all it can"
    files = [path.read_text("utf8", "replace") for path in (tmp_path / "server").rglob("*") if path.is_file()]
    assert files, "the crash left a file"
    seen += server.log + files
    told = [line for line in seen if "hush" in line or signature in line or one.ready["session"] in line]
    assert not told, told


def test_a_bad_key_file_is_refused_with_its_place(tmp_path):
    (tmp_path / "private.pem").write_bytes(private_pem(PRIVATE["EdDSA"]))
    config = tmp_path / "dormouse.toml"
    config.write_text(f'[auth]\nmode = "jwt"\nkey_files = ["{tmp_path}/private.pem"]\n')
    for command in ("check", "serve"):
        done = subprocess.run([binary(), command, "--config", str(config)], capture_output=True, text=True, timeout=30,
                              env={**os.environ})
        assert done.returncode == 2
        assert done.stderr.startswith(f"{config}:3:13: {tmp_path}/private.pem: holds a private key"), done.stderr
        assert "BEGIN" not in done.stdout + done.stderr
