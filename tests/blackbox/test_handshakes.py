"""Everything on the port that is no API call: health, pages, the description of the API, and handshakes, good and bad."""

import re
import socket

import pytest
from client import eventually
from raw import RawSocket, encode


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


HANDSHAKE = (b"GET /v1/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n")
FRAME = encode(1, b"right behind it")


@pytest.mark.parametrize("pieces", [
    pytest.param([HANDSHAKE + b"\r\n", FRAME], id="as usual"),
    pytest.param([HANDSHAKE + b"\r\n" + FRAME], id="with a frame in one packet"),
    pytest.param([HANDSHAKE + b"\r\n" + FRAME[:3], FRAME[3:]], id="with the beginning of a frame"),
    pytest.param([HANDSHAKE[:1], HANDSHAKE[1:40], HANDSHAKE[40:], b"\r", b"\n" + FRAME], id="in pieces"),
    pytest.param([HANDSHAKE + b"X-Long: " + b"x" * 6000 + b"\r\n\r\n" + FRAME], id="with a long head"),
    pytest.param([HANDSHAKE + b"X-One: 1\r\n" * 40 + b"\r\n" + FRAME], id="with many headers"),
    pytest.param([b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", HANDSHAKE + b"\r\n" + FRAME],
                 id="behind a request"),
])
def test_a_handshake_is_taken_however_it_comes(server, pieces):
    """One that came in one piece goes another way through the server than others."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)
            # Meanwhile the server has seen this piece alone.
            assert server.http.get("/health/live").status_code == 200
        answer = b""
        while not answer.endswith(b"right behind it"):
            more = sock.recv(4096)
            assert more, answer
            answer += more
    assert answer.count(b"HTTP/1.1 101") == 1 and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer


def test_who_never_says_anything_is_let_go(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as sock:
        while answer := sock.recv(4096):
            assert answer.startswith(b"HTTP/1.1 408")
