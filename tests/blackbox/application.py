"""The backend of an application, for hooks: a real HTTP server on a port of its own, whose moods a test decides.

It keeps every call it got. A mood is a function of the call that returns a status and a body, and may first wait for an
event: nothing here sleeps.
"""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def yes(_call):
    return 200, {"allow": True}


def no(_call):
    return 200, {"deny": "not today"}


def broken(_call):
    return 500, {"error": "out of order"}


class Application:
    """Answers hooks until it is closed; a context manager."""

    def __init__(self, port=0):
        self.calls: list[dict] = []
        self.headers: list[dict] = []
        self.moods = {name: yes for name in ("connect", "subscribe", "publish", "rpc", "disconnect")}
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.open: set[socket.socket] = set()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                with owner.lock:
                    owner.open.add(self.connection)

            def finish(self):
                with owner.lock:
                    owner.open.discard(self.connection)
                super().finish()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                call = json.loads(body)
                with owner.lock:
                    owner.calls.append(call)
                    owner.headers.append({name.lower(): value for name, value in self.headers.items()})
                    mood = owner.moods[call["hook"]]
                answer = mood(call)
                if answer is None:
                    # Gone without a word.
                    self.close_connection = True
                    self.connection.close()
                    return
                status, said = answer
                said = said if isinstance(said, bytes) else json.dumps(said).encode()
                try:
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(said)))
                    self.end_headers()
                    self.wfile.write(said)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, *_):
                pass

        self.server = Quiet(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def slow(self, _call):
        """Answers when the test lets it."""
        self.released.wait(30)
        return 200, {"allow": True}

    def of(self, hook: str) -> list[dict]:
        with self.lock:
            return [call for call in self.calls if call["hook"] == hook]

    def url(self, path="/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def settings(self, *hooks, **more) -> dict:
        """Settings of a server that asks it."""
        settings = {f"hooks.{hook}.url": self.url() for hook in hooks}
        return {**settings, **{key.replace("__", "."): value for key, value in more.items()}}

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        with self.lock:
            kept = list(self.open)
        for connection in kept:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
