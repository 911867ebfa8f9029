"""A Dormouse client for tests on top of the PyPI `websockets` package; it knows frames, no retries and no magic.

Frames are read in the order of arrival. What a caller does not ask for stays in `inbox`, so a test can both wait for
one frame and later say what else came. It never reconnects: a test that wants that dials again.
"""

import itertools
import json
import socket
import struct
import time
import uuid
from collections import deque
from urllib.parse import quote

import msgpack
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PATIENCE = 10.0


class Refused(Exception):
    """A request was answered with `reply.error`."""

    def __init__(self, error: dict):
        super().__init__(error)
        self.error = error
        self.code = error["code"]


def fresh(prefix="") -> str:
    """A name nobody else uses."""
    return prefix + uuid.uuid4().hex[:12]


def eventually(probe, what="condition", within=PATIENCE):
    """Asks again until `probe` gives something true, for states that nothing announces."""
    deadline = time.monotonic() + within
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within} s (last: {value!r})")
        time.sleep(0.02)


class Client:
    """One WebSocket to the gateway, not identified yet."""

    def __init__(self, server, enc="json", path="/v1/gateway", offer=True, **options):
        self.enc = enc
        subprotocols = [f"dormouse.v1.{enc}"] if offer is True else (offer or None)
        options = {"compression": None, "ping_interval": None, "max_size": None, "max_queue": None, "proxy": None,
                   "close_timeout": 5, "legacy": True, **options}
        if server.ssl:
            options.setdefault("ssl", server.ssl)
        self.server = server
        self.ws = connect(server.url("ws", path), subprotocols=subprotocols, **options)
        self.inbox: deque[dict] = deque()
        self.ready: dict = {}
        self.hello: dict = {}
        self._ids = itertools.count(1)

    # Frames.

    def encode(self, frame: dict):
        return json.dumps(frame) if self.enc == "json" else msgpack.packb(frame)

    def send(self, op: str, **fields):
        self.ws.send(self.encode({"op": op, **fields}))

    def send_raw(self, payload):
        self.ws.send(payload)

    def receive(self, timeout=PATIENCE) -> dict:
        payload = self.ws.recv(timeout=timeout)
        if self.enc == "json":
            assert isinstance(payload, str), "a json connection got a binary frame"
            frame = json.loads(payload)
        else:
            assert isinstance(payload, bytes), "a msgpack connection got a text frame"
            frame = msgpack.unpackb(payload)
        assert isinstance(frame, dict) and isinstance(frame.get("op"), str), f"not a frame: {frame!r}"
        return frame

    def next(self, timeout=PATIENCE) -> dict:
        return self.inbox.popleft() if self.inbox else self.receive(timeout)

    def take(self, op: str, timeout=PATIENCE, **fields) -> dict:
        """The first frame with this op and these fields; the others stay for later, in order."""
        def fits(frame):
            return frame["op"] == op and all(frame.get(key) == value for key, value in fields.items())

        for index, frame in enumerate(self.inbox):
            if fits(frame):
                del self.inbox[index]
                return frame
        deadline = time.monotonic() + timeout
        while True:
            try:
                frame = self.receive(max(0.001, deadline - time.monotonic()))
            except TimeoutError:
                seen = [(each["op"], each) for each in list(self.inbox)[-5:]]
                raise AssertionError(f"no {op} {fields} within {timeout} s; last unasked: {seen}") from None
            if fits(frame):
                return frame
            self.inbox.append(frame)

    def request(self, op: str, **fields) -> dict:
        """Sends with an `id` and gives the reply's `ok`; `Refused` when it is an error."""
        return self.answer(self.ask(op, **fields))

    def ask(self, op: str, **fields) -> int:
        number = next(self._ids)
        self.send(op, id=number, **fields)
        return number

    def answer(self, number: int, timeout=PATIENCE) -> dict:
        reply = self.take("reply", timeout, id=number)
        assert ("ok" in reply) != ("error" in reply), f"a reply is ok or error: {reply}"
        if "error" in reply:
            check_error(reply["error"])
            raise Refused(reply["error"])
        assert isinstance(reply["ok"], dict)
        return reply["ok"]

    def refused(self, op: str, **fields) -> dict:
        """The error of a request that must fail."""
        try:
            ok = self.request(op, **fields)
        except Refused as refusal:
            return refusal.error
        raise AssertionError(f"{op} {fields} was served: {ok}")

    def settle(self) -> list[dict]:
        """Everything that came until the server answered one more question."""
        self.request("whoami")
        frames = list(self.inbox)
        self.inbox.clear()
        return frames

    def events(self, channel: str, count: int, timeout=PATIENCE) -> list[dict]:
        return [self.take("event", timeout, channel=channel) for _ in range(count)]

    # Life.

    def identify(self, user: str, **fields) -> dict:
        self.hello = self.take("hello")
        self.send("identify", token=user, **fields)
        self.ready = self.take("ready")
        return self.ready

    def subscribe(self, channel: str, **fields) -> dict:
        return self.request("subscribe", channel=channel, **fields)

    def publish(self, channel: str, data=None, **fields) -> dict:
        return self.request("publish", channel=channel, data=data, **fields)

    def whoami(self) -> dict:
        return self.request("whoami")

    def closed(self, timeout=PATIENCE) -> tuple[int, str]:
        """The close code and reason the server sent; 1006 when the socket just ended."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.inbox.append(self.receive(max(0.001, deadline - time.monotonic())))
            except ConnectionClosed as end:
                return (end.rcvd.code, end.rcvd.reason) if end.rcvd else (1006, "")
            except TimeoutError:
                raise AssertionError(f"not closed within {timeout} s; last frames {list(self.inbox)[-5:]}") from None

    def cut(self):
        """Ends the socket as a broken network does: a reset, no close frame."""
        sock = self.ws.socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        sock.close()

    def bye(self, code=1000):
        self.ws.close(code)


def check_error(error: dict):
    """What every error carries (promise 5)."""
    assert error["code"] in {"bad_frame", "bad_request", "unknown_op", "not_identified", "auth_failed", "forbidden",
                             "not_found", "too_large", "rate_limited", "overloaded", "crashed", "unavailable",
                             "timeout", "internal"}, error
    assert isinstance(error["message"], str) and error["message"], error
    assert error["retry"] in {"now", "later", "never"}, error


def cursor(at: dict) -> dict:
    """Where a subscribe reply, an entry of `ready` or the like stands."""
    return {"epoch": at["epoch"], "offset": at["offset"]}


def channel_names(subscriptions: list) -> set[str]:
    """The names in a list of subscriptions, written as names or as objects."""
    return {each if isinstance(each, str) else each["channel"] for each in subscriptions}


def path_of(channel: str) -> str:
    return quote(channel, safe="")
