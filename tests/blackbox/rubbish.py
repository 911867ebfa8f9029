"""Makes rubbish: random bytes, valid frames of random payload, mutated requests; and knows what RFC 6455 says of it.

`Wire` follows the bytes sent as a server must: whether they break the framing, end inside a frame, or leave the
connection open. Without that a test could not tell a server that waits for the rest of a frame from one that hangs.
"""

import json
import random
import struct

import msgpack

from raw import encode

OPS = ["identify", "heartbeat", "subscribe", "unsubscribe", "join", "leave", "publish", "signal", "ack", "history",
       "presence", "status", "whoami", "chaos", "hello", "ready", "reply", "event", "publsh", ""]
FIELDS = ["op", "id", "channel", "data", "key", "from", "last", "kind", "status", "token", "resume", "cursors", "fault",
          "limit", "after", "before", "read", "delivered", "presence", "ms", "epoch", "offset", "é", ""]


class Wire:
    """The server's view of a client's byte stream."""

    def __init__(self, limit=65536):
        self.limit = limit
        self.rest = b""
        self.fragments = None
        self.ended = False
        self.said_close = False

    def feed(self, data: bytes):
        """Follows `data`; `ended` is set once the stream must be closed by the server."""
        self.rest += data
        while not self.ended:
            frame = self._frame()
            if frame is None:
                return
            self._judge(*frame)

    def missing(self) -> int:
        """Bytes until the frame begun is whole; 0 between two frames, or when it is larger than anyone must read.
        A server may refuse a broken frame at its first byte or at its last, so a broken one is completed as well."""
        need = self._size() if self.rest and not self.said_close else 0
        return max(0, need - len(self.rest)) if need <= self.limit + 14 else 0

    def _size(self) -> int:
        if len(self.rest) < 2:
            return 2
        short = self.rest[1] & 0x7F
        head = {126: 4, 127: 10}.get(short, 2)
        if len(self.rest) < head:
            return head
        size = short
        if short == 126:
            size = struct.unpack_from(">H", self.rest, 2)[0]
        elif short == 127:
            size = struct.unpack_from(">Q", self.rest, 2)[0]
        return head + 4 + size

    def _frame(self):
        rest = self.rest
        if len(rest) < 2:
            return None
        opcode, short = rest[0] & 0x0F, rest[1] & 0x7F
        if rest[0] & 0x70 or not rest[1] & 0x80 or opcode not in (0, 1, 2, 8, 9, 10):
            self.ended = True
            return None
        if opcode >= 8 and (short > 125 or not rest[0] & 0x80):
            self.ended = True
            return None
        if (opcode == 0) != (self.fragments is not None) and opcode < 8:
            self.ended = True
            return None
        head = {126: 4, 127: 10}.get(short, 2)
        if len(rest) < head:
            return None
        need = self._size()
        if need - head - 4 + (len(self.fragments or b"")) > self.limit:
            self.ended = True
            return None
        if len(rest) < need:
            return None
        mask, payload = rest[head:head + 4], rest[head + 4:need]
        payload = unmask(payload, mask)
        fin = bool(rest[0] & 0x80)
        self.rest = rest[need:]
        return opcode, fin, payload

    def _judge(self, opcode, fin, payload):
        if opcode == 8:
            self.ended = self.said_close = True
        elif opcode < 8:
            self.fragments = (self.fragments or b"") + payload
            if fin:
                self.fragments = None


def unmask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    stream = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


class Heap:
    """An endless heap of rubbish from one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def value(self, depth=0):
        r = self.random
        kind = r.randrange(12 if depth < 3 else 9)
        if kind == 0:
            return None
        if kind == 1:
            return r.random() < 0.5
        if kind in (2, 3):
            return r.choice([0, 1, -1, 7, 2**31, 2**53, 2**63, 2**64 - 1, -2**63, 1e308, -0.0, r.random()])
        if kind == 4:
            return r.choice(OPS)
        if kind == 5:
            return r.choice(["room:rubbish", "live:rubbish", "chat:rubbish", "dm:a+b", "dm:", "x" * 300, "a b", "é:🐭"])
        if kind <= 8:
            return "".join(chr(r.choice([r.randrange(32, 127), r.randrange(0x20, 0xD800)])) for _ in range(r.randrange(12)))
        if kind <= 10:
            return [self.value(depth + 1) for _ in range(r.randrange(4))]
        return {r.choice(FIELDS): self.value(depth + 1) for _ in range(r.randrange(4))}

    def request(self) -> dict:
        r = self.random
        frame = {"op": r.choice(OPS), "id": r.randrange(1000), "channel": r.choice(["room:rubbish", "live:rubbish"]),
                 "data": self.value(1)}
        for _ in range(r.randrange(5)):
            frame[r.choice(FIELDS)] = self.value()
        if r.random() < 0.3:
            frame.pop(r.choice(list(frame)))
        return frame

    def mutated(self, enc) -> bytes:
        """A request, whole or with a few bytes changed, cut out or doubled."""
        r = self.random
        frame = self.request()
        try:
            data = bytearray(json.dumps(frame).encode() if enc == "json" else msgpack.packb(frame))
        except (OverflowError, ValueError):
            data = bytearray(b"{}")
        if r.random() < 0.5:
            for _ in range(r.randrange(1, 4)):
                at = r.randrange(len(data) + 1)
                match r.randrange(4):
                    case 0 if at < len(data):
                        data[at] = r.randrange(256)
                    case 1:
                        del data[at:at + r.randrange(1, 9)]
                    case 2:
                        data[at:at] = r.randbytes(r.randrange(1, 9))
                    case _:
                        data[at:at] = data[at:at + 20]
        if r.random() < 0.003:
            data = bytearray(r.choice([b"[", b'{"op":', b"\x91", b"\x81\xa1a", b'"', b"\x00"]) * 9000)
        return bytes(data[:65536])

    def frame(self, enc) -> bytes:
        """One frame on the wire: mostly well framed, sometimes control frames, fragments or broken framing."""
        r = self.random
        mask = r.choice([b"\0\0\0\0", r.randbytes(4)])
        dice = r.random()
        if dice < 0.55:
            payload, opcode = self.mutated(enc), 1 if enc == "json" else 2
        elif dice < 0.80:
            payload, opcode = r.randbytes(r.randrange(200)), r.choice([1, 2, 2, 2])
        elif dice < 0.90:
            payload, opcode = r.randbytes(r.randrange(126)), r.choice([9, 10])
        elif dice < 0.93:
            payload, opcode = r.randbytes(r.randrange(126)), 8
        elif dice < 0.96:
            half = [self.mutated(enc), self.mutated(enc)]
            first = encode(1 if enc == "json" else 2, unmask(half[0], mask), fin=False, mask=b"\0\0\0\0")
            return first + encode(9, b"between") + encode(0, half[1])
        else:
            return r.randbytes(r.randrange(1, 64))
        return encode(opcode, payload, mask=b"\0\0\0\0") if mask == b"\0\0\0\0" else masked(opcode, payload, mask)


def masked(opcode, payload, mask) -> bytes:
    head = encode(opcode, payload)
    at = len(head) - len(payload) - 4
    return head[:at] + mask + unmask(payload, mask)
