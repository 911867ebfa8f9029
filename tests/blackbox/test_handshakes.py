"""Everything on the port that is no API call: health, pages, the description of the API, and handshakes, good and bad."""

import re

import pytest
from client import eventually
from raw import RawSocket


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


@pytest.mark.parametrize("path", ["/v1/gateway", "/v1/echo"])
@pytest.mark.parametrize("lines", [
    pytest.param("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", id="a second key"),
    pytest.param("Content-Length: 8\r\n", id="a body"),
])
def test_an_ambiguous_handshake_is_a_400(server, path, lines):
    raw = RawSocket(server, path, headers=lines)
    assert raw.status == 400, raw.head
    raw.sock.close()


@pytest.mark.parametrize("path", ["/v1/gateway", "/v1/echo"])
def test_a_handshake_with_a_body_in_chunks_is_none(server, path):
    raw = RawSocket(server, path, headers="Transfer-Encoding: chunked\r\n")
    assert raw.status in (400, 426), raw.head
    raw.sock.close()


def test_a_handshake_may_say_that_it_has_no_body(server):
    with RawSocket(server, headers="Content-Length: 0\r\n"):
        pass


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
