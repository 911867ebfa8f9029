"""A WebSocket made of a bare socket, for what a decent client library will not do: break the framing, never read,
shrink its receive buffer. Speaks json only and masks with zeros."""

import base64
import json
import os
import socket
import struct


class Gone(Exception):
    """The socket ended: with this code, or 1006 without one."""

    def __init__(self, code, reason):
        super().__init__(code, reason)
        self.end = (code, reason)


def encode(opcode: int, payload: bytes, fin=True, mask=b"\0\0\0\0") -> bytes:
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    elif len(payload) < 65536:
        head += b"\xfe" + struct.pack(">H", len(payload))
    else:
        head += b"\xff" + struct.pack(">Q", len(payload))
    if mask != b"\0\0\0\0":
        payload = bytes(byte ^ mask[at & 3] for at, byte in enumerate(payload))
    return head + mask + payload


class RawSocket:
    """A handshake done by hand, then bytes."""

    def __init__(self, server, path="/v1/gateway", receive_buffer=None, timeout=15, headers=""):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect(("127.0.0.1", server.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall((f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n").encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            more = self.sock.recv(4096)
            assert more, f"no handshake: {self.buffer!r}"
            self.buffer += more
        self.head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.status = int(self.head.split(b" ", 2)[1])

    def __enter__(self):
        assert self.status == 101, self.head
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data: bytes):
        self.sock.sendall(data)

    def frame(self, opcode: int, payload: bytes, fin=True):
        self.send(encode(opcode, payload, fin))

    def _fill(self, size: int):
        while len(self.buffer) < size:
            try:
                more = self.sock.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Gone(1006, "")
            self.buffer += more

    def read(self) -> tuple[int, bytes]:
        """The next frame; `Gone` when it is a close frame or the end."""
        self._fill(2)
        opcode, size = self.buffer[0] & 0x0F, self.buffer[1] & 0x7F
        assert not self.buffer[0] & 0x70, "reserved bits from the server"
        assert not self.buffer[1] & 0x80, "a masked frame from the server"
        at = 2
        if size == 126:
            self._fill(4)
            size, at = struct.unpack_from(">H", self.buffer, 2)[0], 4
        elif size == 127:
            self._fill(10)
            size, at = struct.unpack_from(">Q", self.buffer, 2)[0], 10
        self._fill(at + size)
        payload, self.buffer = self.buffer[at:at + size], self.buffer[at + size:]
        if opcode == 8:
            code = struct.unpack_from(">H", payload)[0] if payload else 1005
            raise Gone(code, payload[2:].decode())
        return opcode, payload

    def json(self, op=None) -> dict:
        """The next text frame, or the next with this op."""
        while True:
            opcode, payload = self.read()
            if opcode == 1:
                frame = json.loads(payload)
                if op is None or frame["op"] == op:
                    return frame

    def closed(self) -> tuple[int, str]:
        """Reads to the end; the close code, and the socket must really end after it."""
        try:
            while True:
                self.read()
        except Gone as gone:
            end = gone.end
        try:
            self.frame(0x8, struct.pack(">H", end[0]) if 1000 <= end[0] != 1005 and end[0] != 1006 else b"")
        except OSError:
            pass
        try:
            while self.sock.recv(65536):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        return end
