"""Crashes actors of one busy channel without end and shows that nobody loses anything by it.

Every connection must see every event exactly once and in order, its socket must stay, every crash must be answered by
one `crashed` reply and one `restarted`, and the node's ledger must balance. Bare asyncio protocols instead of a client
library: one process has to read tens of thousands of frames a second beside the server on the same cores.
"""

import argparse
import asyncio
import base64
import json
import os
import struct
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "blackbox"))

from serving import Server  # noqa: E402

CHANNEL = "soak:one"


class Socket(asyncio.Protocol):
    """One subscriber: reads frames, counts events, notes whatever should not happen."""

    def __init__(self, name):
        self.name = name
        self.buffer = b""
        self.seen = 0
        self.last_offset = -1
        self.restarts = 0
        self.replies: dict[int, dict] = {}
        self.faults: list[str] = []
        self.up = asyncio.get_running_loop().create_future()
        self.ready = asyncio.get_running_loop().create_future()
        self.leaving = False

    def connection_made(self, transport):
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write((f"GET /v1/gateway?token={self.name}&subscribe={CHANNEL} HTTP/1.1\r\nHost: localhost\r\n"
                         f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                         "Sec-WebSocket-Version: 13\r\n\r\n").encode())

    def connection_lost(self, _):
        if not self.leaving:
            self.faults.append("its socket ended")
        for waiting in (self.up, self.ready):
            if not waiting.done():
                waiting.set_exception(ConnectionError(f"{self.name}: the socket ended during the handshake"))

    def data_received(self, data):
        buffer = self.buffer + data if self.buffer else data
        if not self.up.done():
            head, found, rest = buffer.partition(b"\r\n\r\n")
            if not found:
                self.buffer = buffer
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.up.set_exception(ConnectionError(head.decode()))
                return
            self.up.set_result(None)
            buffer = rest
        at, end = 0, len(buffer)
        while end - at >= 2:
            size, head = buffer[at + 1], 2
            if size == 126:
                if end - at < 4:
                    break
                size, head = struct.unpack_from(">H", buffer, at + 2)[0], 4
            elif size == 127:
                if end - at < 10:
                    break
                size, head = struct.unpack_from(">Q", buffer, at + 2)[0], 10
            if end - at < head + size:
                break
            self.frame(buffer[at] & 0x0F, buffer[at + head:at + head + size])
            at += head + size
        self.buffer = buffer[at:]

    def frame(self, opcode, payload):
        if opcode == 8:
            self.faults.append(f"closed by the server: {payload!r}")
        if opcode != 1:
            return
        frame = json.loads(payload)
        op = frame["op"]
        if op == "event":
            if frame["data"] != self.seen:
                self.faults.append(f"event {frame['data']} where {self.seen} was due")
                self.seen = frame["data"]
            if frame["offset"] <= self.last_offset:
                self.faults.append(f"offset {frame['offset']} after {self.last_offset}")
            self.seen += 1
            self.last_offset = frame["offset"]
        elif op == "reply":
            if frame["id"] in self.replies:
                self.faults.append(f"two replies to {frame['id']}")
            self.replies[frame["id"]] = frame
        elif op == "restarted":
            self.restarts += 1
        elif op == "ready":
            self.ready.set_result(None)
        elif op != "hello":
            self.faults.append(f"an unexpected frame: {payload[:200]!r}")

    def send(self, frame: dict):
        payload = json.dumps(frame).encode()
        head = bytes([0x81, 0x80 | len(payload)]) if len(payload) < 126 else b"\x81\xfe" + struct.pack(">H", len(payload))
        self.transport.write(head + b"\0\0\0\0" + payload)


async def until(probe, what, within=60.0):
    deadline = time.monotonic() + within
    while not probe():
        if time.monotonic() > deadline:
            raise SystemExit(f"soak: {what} did not come within {within:.0f} s")
        await asyncio.sleep(0.05)


async def soak(server, options) -> list[str]:
    loop = asyncio.get_running_loop()
    sockets = []
    for n in range(options.connections):
        _, socket = await loop.create_connection(lambda n=n: Socket(f"soaker{n}"), "127.0.0.1", server.port)
        sockets.append(socket)
        if n % 100 == 99:
            await asyncio.gather(*(each.ready for each in sockets[-100:]))
    await asyncio.gather(*(each.ready for each in sockets))
    victims, publisher = sockets[:options.crashing], sockets[-1]
    began, published, crashed = time.monotonic(), 0, 0
    crashes = [0] * len(victims)
    while (elapsed := time.monotonic() - began) < options.seconds:
        while published < elapsed * options.rate:
            publisher.send({"op": "publish", "id": published, "channel": CHANNEL, "data": published})
            published += 1
        # Spread over the second, each victim once a second.
        while crashed < elapsed * len(victims):
            n = crashed % len(victims)
            crashes[n] += 1
            victims[n].send({"op": "chaos", "id": 1_000_000 + crashes[n], "fault": "panic"})
            crashed += 1
        await asyncio.sleep(0.005)
    await until(lambda: all(each.seen >= published or each.faults for each in sockets), "the last event everywhere")
    await until(lambda: all(each.restarts >= count for each, count in zip(victims, crashes)), "the last restart")
    faults = []
    for each in sockets:
        faults += [f"{each.name}: {fault}" for fault in each.faults]
        if each.seen != published:
            faults.append(f"{each.name}: saw {each.seen} of {published} events")
    for each, count in zip(victims, crashes):
        codes = [reply.get("error", {}).get("code") for reply in each.replies.values()]
        if codes != ["crashed"] * count or each.restarts != count:
            faults.append(f"{each.name}: {count} crashes, {each.restarts} restarts, replies {codes[:5]}")
    refused = [reply for number, reply in publisher.replies.items() if number < published and "error" in reply]
    faults += [f"a publish was refused: {reply}" for reply in refused[:3]]
    faults += [f"{each.name}: restarted without a crash" for each in sockets[options.crashing:] if each.restarts]
    ledger = {}

    def quiet():
        ledger.update(server.ledger())
        return ledger["pending"] == 0

    await until(quiet, "a quiet ledger")
    offered = published * len(sockets)
    if ledger != {"offered": offered, "delivered": offered, "dropped": {}, "pending": 0}:
        faults.append(f"the ledger is {ledger}, {offered} were offered")
    print(f"soak: {len(sockets)} connections, {published} events, {offered} deliveries, {crashed} crashes "
          f"in {time.monotonic() - began:.1f} s; ledger {ledger}")
    for each in sockets:
        each.leaving = True
        each.transport.write(b"\x88\x82\0\0\0\0\x03\xe8")
        each.transport.close()
    return faults


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--long", action="store_true", help="1,000 connections, 200 crashing, 50 events/s, 30 s")
    arguments.add_argument("--connections", type=int)
    arguments.add_argument("--crashing", type=int)
    arguments.add_argument("--rate", type=int)
    arguments.add_argument("--seconds", type=float)
    options = arguments.parse_args()
    chosen = (1000, 200, 50, 30.0) if options.long else (200, 40, 25, 5.0)
    for name, value in zip(("connections", "crashing", "rate", "seconds"), chosen):
        if getattr(options, name) is None:
            setattr(options, name, value)
    settings = {"chaos.enabled": True, "supervision.max_restarts": 1000000, "limits.publish_per_second": 1000000,
                "limits.publish_burst": 1000000}
    with tempfile.TemporaryDirectory(prefix="dormouse-soak-") as folder:
        server = Server(Path(folder), settings)
        try:
            faults = asyncio.run(soak(server, options))
        finally:
            server.stop()
    for fault in faults[:20]:
        print("soak:", fault)
    print(f"soak: {'passed' if not faults else f'failed with {len(faults)} faults'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
