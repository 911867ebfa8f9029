"""permessage-deflate: who gets it, that everybody hears the same with and without it, and what it must not cost."""

import json
import zlib

import pytest
from client import eventually, fresh
from raw import Gone, RawSocket
from serving import Server
from test_reload import Reloaded
from websockets.sync.client import connect

ON = {"listen.compression": True, "echo.enabled": True, "chaos.enabled": True, "limits.publish_per_second": 1000000,
      "limits.publish_burst": 1000000}
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
LONG = {"text": "said again and again, " * 50}
TAIL = b"\0\0\xff\xff"


def pack(payload: bytes) -> bytes:
    """As a client compresses a message."""
    stream = zlib.compressobj(9, wbits=-15)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


class Packed(RawSocket):
    """A bare socket that has agreed to compression and shows which messages are compressed."""

    def __init__(self, server, query="token=paul&subscribe=room:packed", offer=OFFER):
        super().__init__(server, f"/v1/gateway?{query}", headers=offer)

    def message(self) -> tuple[bool, dict]:
        """The next text message, and whether it came compressed."""
        while True:
            self._fill(2)
            packed = bool(self.buffer[0] & 0x40)
            self.buffer = bytes([self.buffer[0] & ~0x40]) + self.buffer[1:]
            opcode, payload = self.read()
            if opcode == 1:
                return packed, json.loads(zlib.decompressobj(-15).decompress(payload + TAIL) if packed else payload)

    def take(self, op: str) -> tuple[bool, dict]:
        while True:
            packed, frame = self.message()
            if frame["op"] == op:
                return packed, frame

    def send_packed(self, payload: bytes, opcode=1):
        self.frame(0x40 | opcode, payload)


@pytest.fixture(scope="module")
def packing(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("packing"), ON)
    yield running
    running.stop()


def test_nothing_is_agreed_unless_it_is_switched_on(server):
    with connect(server.url("ws", "/v1/gateway"), compression="deflate") as client:
        assert client.protocol.extensions == []
    with RawSocket(server, headers=OFFER) as bare:
        assert b"extensions" not in bare.head.lower()
        bare.frame(0x41, pack(b'{"op":"heartbeat"}'))
        assert bare.closed() == (1002, "protocol_error")


def test_the_answer_says_that_nobody_remembers_earlier_messages(packing):
    with Packed(packing) as bare:
        assert (b"sec-websocket-extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
                in bare.head + b"\r\n")
    for offer in ("", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n",
                  "Sec-WebSocket-Extensions: permessage-deflate; nonsense=1\r\n"):
        with Packed(packing, offer=offer) as bare:
            assert b"extensions" not in bare.head.lower(), offer


def test_everybody_hears_the_same_with_and_without_it(packing, join, enc):
    channel = fresh("room:")
    listeners = [join(packing, enc=each, compression=compression)
                 for each in ("json", "msgpack") for compression in (None, "deflate") for _ in range(3)]
    for listener in listeners:
        listener.request("subscribe", channel=channel)
    speaker = join(packing, enc=enc, compression="deflate")
    said = [LONG, "short", {"random": [fresh() for _ in range(200)]}, {"ä": "ö" * 3000}, ["x" * 60_000]]
    for data in said:
        speaker.request("publish", channel=channel, data=data)
    for listener in listeners:
        assert [listener.take("event")["data"] for _ in said] == said
    assert packing.ledger()["dropped"] == {}


def test_long_frames_are_compressed_and_short_ones_are_not(packing, join):
    speaker = join(packing)
    with Packed(packing) as bare:
        bare.take("ready")
        speaker.request("publish", channel="room:packed", data="short")
        packed, frame = bare.take("event")
        assert (packed, frame["data"]) == (False, "short")
        speaker.request("publish", channel="room:packed", data=LONG)
        packed, frame = bare.take("event")
        assert (packed, frame["data"]) == (True, LONG)
        # Answers to one client too: a page of history.
        bare.send_packed(pack(b'{"op":"history","id":1,"channel":"room:packed","limit":100}'))
        packed, frame = bare.take("reply")
        assert packed and frame["ok"]["events"][-1]["data"] == LONG


def test_a_message_may_come_in_fragments_with_a_ping_between_them(packing):
    with Packed(packing) as bare:
        whole = pack(b'{"op":"whoami","id":7,"padding":"' + b"abc" * 500 + b'"}')
        assert len(whole) > 20
        bare.frame(0x41, whole[:5], fin=False)
        bare.frame(0x0, b"", fin=False)
        bare.frame(0x9, b"here")
        bare.frame(0x0, whole[5:])
        assert bare.take("reply")[1]["ok"]["user"] == "paul"


def test_a_resumed_session_speaks_as_its_new_socket_agreed(packing, join):
    """The record moves, what was agreed stays with the socket; whatever shard it comes to."""
    first = join(packing, "rita", compression="deflate")
    first.request("subscribe", channel="room:moving")
    for compression in (None, "deflate", None, "deflate", "deflate"):
        first.cut()
        first = join(packing, "rita", resume=first.ready["session"], compression=compression)
        assert first.ready["resumed"]
        first.request("publish", channel="room:moving", data=LONG)
        assert first.take("event")["data"] == LONG
        assert bool(first.ws.protocol.extensions) == bool(compression)


def test_a_crash_changes_nothing_of_it(packing, join):
    client = join(packing, compression="deflate")
    client.request("subscribe", channel="room:crash")
    client.send("chaos", id=99, fault="panic", padding="p" * 1000)
    assert client.take("restarted")["generation"] == 2
    client.request("publish", channel="room:crash", data=LONG)
    assert client.take("event")["data"] == LONG


@pytest.mark.parametrize("payload, end", [
    (pack(b"0" * (64 << 20)), (1009, "message_too_big")),
    (pack(b'{"op":"heartbeat","x":"' + b"0" * 65_536 + b'"}'), (1009, "message_too_big")),
    (b"\x06rubbish", (1007, "invalid_payload")),
    (pack(b'{"op":"\xff\xfe"}'), (1007, "invalid_payload")),
], ids=["bomb", "a little too large", "rubbish", "no text"])
def test_what_must_not_be_decompressed_is_not(packing, payload, end):
    with Packed(packing) as bare:
        memory = packing.metric("process_resident_memory_bytes")
        if len(payload) <= 65_536:
            bare.send_packed(payload)
        else:
            bare.frame(0x41, payload[:30_000], fin=False)
            bare.frame(0x0, payload[30_000:])
        assert bare.closed() == end
        assert packing.metric("process_resident_memory_bytes") - memory < 8 << 20


@pytest.mark.parametrize("first", [0xC0, 0xC9, 0xE1, 0xD1], ids=["continuation", "ping", "rsv2", "rsv3"])
def test_other_reserved_bits_stay_reserved(packing, first):
    with Packed(packing) as bare:
        if first == 0xC0:
            bare.frame(0x41, b"\xf2H", fin=False)
        bare.send(bytes([first, 0x80, 0, 0, 0, 0]))
        with pytest.raises(Gone) as gone:
            while True:
                bare.message()
        assert gone.value.end == (1002, "protocol_error")


def test_it_can_be_switched_on_and_off_for_whoever_comes_next(start, tmp_path, join):
    node = Reloaded(start, tmp_path, "[listen]\ncompression = false\n")
    before = join(node.server, compression="deflate")
    assert "listen.compression" in "\n".join(node.write("[listen]\ncompression = true\n"))
    after = join(node.server, compression="deflate")
    assert [bool(each.ws.protocol.extensions) for each in (before, after)] == [False, True]
    node.write("[listen]\ncompression = false\n")
    for client in (before, after):
        client.request("subscribe", channel="room:a")
        client.request("publish", channel="room:a", data=LONG)
        assert client.take("event")["data"] == LONG


def test_a_connection_that_compresses_sleeps_as_small_as_any(packing, join):
    clients = [join(packing, compression=compression) for compression in ("deflate", None)]
    for client in clients:
        client.request("publish", channel="room:sleep", data=LONG)
    ids = [client.request("whoami")["connection"] for client in clients]

    def views():
        found = [packing.http.get(f"/v1/connections/{each}").json() for each in ids]
        return found if all(view["state"] == "dormant" for view in found) else None

    packed, plain = eventually(views, "both sleep")
    assert packed["record_bytes"] == plain["record_bytes"]
