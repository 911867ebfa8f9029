"""One Dormouse process: how a test starts it, finds its port, reads its log and stops it.

Owns the child process and nothing else. Stopping asserts what a supervisor of the process relies on: SIGTERM ends
it with exit code 0 and leaves no process behind. Used by conftest.py, the conformance run and the soak run.
"""

import json
import os
import re
import resource
import signal
import subprocess
import threading
from pathlib import Path

import httpx

ANSI = re.compile(r"\x1b\[[0-9;]*m")
LISTENING = re.compile(r"addr\"?[=:]\s*\"?127\.0\.0\.1:(\d+)")
ROOT = Path(__file__).resolve().parents[2]


def binary() -> str:
    """The server under test: DORMOUSE_BIN, else the newest build in the target folder."""
    named = os.environ.get("DORMOUSE_BIN")
    if named:
        return named
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [path for path in (target / "release/dormouse", target / "debug/dormouse") if path.exists()]
    if not built:
        raise RuntimeError("no dormouse binary: build one or set DORMOUSE_BIN")
    return str(max(built, key=lambda path: path.stat().st_mtime))


def setting(value) -> str:
    """A value as `--set` takes it: a TOML value, or a bare string."""
    return value if isinstance(value, str) else json.dumps(value)


def limit_descriptors(most: int):
    """Of the process that this is called in, as an operator's `ulimit -Hn` does."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Server:
    """A running server and what it has logged."""

    def __init__(self, folder: Path, settings: dict | None = None, listen="127.0.0.1:0", env: dict | None = None,
                 config: Path | None = None, ssl=None, descriptors: int | None = None):
        # The context that trusts it, when its address speaks TLS.
        self.ssl = ssl
        folder.mkdir(parents=True, exist_ok=True)
        args = [binary(), "serve", "--listen", listen]
        if config:
            args += ["--config", str(config)]
        for key, value in {"store.path": str(folder / "store"), **(settings or {})}.items():
            args += ["--set", f"{key}={setting(value)}"]
        self.log: list[str] = []
        self._up = threading.Event()
        self.port = 0
        self.process = subprocess.Popen(args, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, start_new_session=True,
                                        preexec_fn=descriptors and (lambda: limit_descriptors(descriptors)),
                                        env={**os.environ, **(env or {})})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._up.wait(30)
        if not self.port:
            self.kill()
            raise RuntimeError("the server did not say where it listens:\n" + self.tail())
        self.http = httpx.Client(base_url=self.url("http"), timeout=15, trust_env=False, verify=ssl or True)

    def _read(self):
        for line in self.process.stderr:
            text = ANSI.sub("", line.decode("utf8", "replace").rstrip())
            self.log.append(text)
            found = LISTENING.search(text) if "listening" in text else None
            if found and not self.port:
                self.port = int(found.group(1))
                self._up.set()
        self._up.set()

    def url(self, scheme="ws", path="") -> str:
        return f"{scheme}{'s' if self.ssl else ''}://127.0.0.1:{self.port}{path}"

    def tail(self, lines=40) -> str:
        return "\n".join(self.log[-lines:])

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        """SIGKILL, as a power cut would."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        """SIGTERM, and everything that must hold after it."""
        if hasattr(self, "http"):
            self.http.close()
        if self.process.poll() is None:
            self.terminate()
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the server did not end within 20 s of SIGTERM:\n" + self.tail()) from None
        assert code == 0, f"exit code {code}:\n{self.tail()}"
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return
        os.killpg(self.process.pid, signal.SIGKILL)
        raise AssertionError("the server left a process behind")

    # What operators read.

    def node(self, **headers) -> dict:
        answer = self.http.get("/v1/node", headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ledger(self) -> dict:
        return self.node()["ledger"]

    def metric(self, name: str, **labels) -> float:
        """The sum of the samples of `name` that carry all `labels`; 0 when there are none."""
        from prometheus_client.parser import text_string_to_metric_families

        total = 0.0
        for family in text_string_to_metric_families(self.http.get("/metrics").text):
            for sample in family.samples:
                if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items()):
                    total += sample.value
        return total
