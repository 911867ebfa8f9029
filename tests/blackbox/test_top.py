"""`dormouse top`: once as text, and on a terminal, which must be afterwards as it was before."""

import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from contextlib import contextmanager
from fcntl import ioctl

import pytest
from client import PATIENCE, fresh
from serving import binary

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def top(server, *args, env=None) -> subprocess.CompletedProcess:
    return subprocess.run([binary(), "top", "--url", server.url("http"), *args], capture_output=True, text=True, timeout=30,
                          stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})


def test_once_it_is_plain_text_that_agrees_with_the_node(start, join):
    server = start()
    one, channel = join(server), fresh("room:")
    one.subscribe(channel)
    one.publish(channel, 1)
    one.take("event", channel=channel)
    for args in (("--once",), ()):
        done = top(server, *args)
        assert done.returncode == 0 and done.stderr == ""
        assert "\x1b" not in done.stdout
        node = server.node()
        assert done.stdout.startswith(f"dormouse {node['node']} {node['version']}, up ")
        assert "HEALTHY  Nothing hangs" in done.stdout
        assert re.search(r"^connections +1 of [\d,]+: 0 awake, 1 dormant; 0 parked$", done.stdout, re.M), done.stdout
        assert re.search(r"^ledger +1 offered, 1 delivered, 0 dropped, 0 pending$", done.stdout, re.M), done.stdout
    idle = top(server, "--once", "--sort", "idle").stdout
    assert "BY IDLE" in idle and one.user in idle


def test_json_is_the_servers_sample(server):
    sample = json.loads(top(server, "--json").stdout)
    assert sample["kind"] == "sample" and sample["node"] == server.node()["node"]


@pytest.mark.parametrize("args", [("--interval", "soon"), ("--interval", "60s"), ("--sort", "beauty")])
def test_wrong_arguments_are_told(server, args):
    done = top(server, *args)
    assert done.returncode == 2 and args[0] in done.stderr


def test_no_server_is_one_sentence():
    done = subprocess.run([binary(), "top", "--url", "http://127.0.0.1:9"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "no server answers" in done.stderr and done.stdout == ""


class Screen:
    """A terminal of a size, with `dormouse top` on it."""

    def __init__(self, server, *args, columns=100, rows=40, env=None):
        self.fd, terminal = pty.openpty()
        ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self.fd)
        clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self.process = subprocess.Popen(
            [binary(), "top", "--url", server.url("http"), "--interval", "1s", *args], stdin=terminal, stdout=terminal,
            stderr=terminal, start_new_session=True, preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
            env={**clean, "TERM": "xterm-256color", **(env or {})})
        os.close(terminal)
        self.text = ""

    def until(self, wanted, within=PATIENCE) -> str:
        """Reads until something is on the screen; everything that was written."""
        deadline = time.monotonic() + within
        while wanted not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f"{wanted!r} did not come in\n{self.text[-3000:]!r}"
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode("utf8", "replace")
                except OSError:
                    raise AssertionError(f"it ended without {wanted!r}: {self.text[-3000:]!r}") from None
        return self.text

    def press(self, keys: bytes):
        os.write(self.fd, keys)

    def end(self) -> int:
        """Its exit code, when it has ended and all it wrote was read."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode("utf8", "replace")
                except OSError:
                    return self.process.wait(PATIENCE)
            elif self.process.poll() is not None:
                return self.process.returncode
        raise AssertionError("it did not end")


@contextmanager
def screen(server, *args, **options):
    one = Screen(server, *args, **options)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()
        os.close(one.fd)


def lines(text) -> list[str]:
    """What was printed, line by line, without what moves the cursor."""
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", part) for part in re.split(r"\x1b\[\d+;\d+H|\x1b\[\d*H", text)]


@pytest.mark.parametrize("leave", [b"q", b"\x1b", b"\x03", signal.SIGTERM, signal.SIGINT, signal.SIGHUP],
                         ids=["q", "Esc", "Ctrl-C", "SIGTERM", "SIGINT", "SIGHUP"])
def test_the_terminal_is_as_it_was_however_it_ends(server, leave):
    with screen(server) as one:
        text = one.until("BY MAILBOX")
        assert ENTER in text and LEAVE not in text and "LATENCY" in text
        if isinstance(leave, bytes):
            one.press(leave)
        else:
            one.process.send_signal(leave)
        assert one.end() == 0
        assert one.text.rindex(LEAVE) > one.text.rindex("LATENCY") and "\x1b[?25h" in one.text
        assert termios.tcgetattr(one.fd) == one.before


def test_it_is_redrawn_and_sorts_by_keys(server, join):
    user = fresh("idler")
    join(server, user)
    with screen(server) as one:
        one.until("BY MAILBOX")
        one.press(b"i")
        one.until("BY IDLE")
        for _ in range(3):
            one.text = ""
            one.until(user)


def test_narrow_terminals_cut_lines(server):
    with screen(server, columns=32, rows=12) as one:
        text = one.until("…")
        assert one.until("a second")
        shown = lines(text)
        assert max(map(len, shown)) <= 32, shown


def test_no_color_means_none(server):
    with screen(server, env={"NO_COLOR": "1"}) as one:
        assert not COLOUR.search(one.until("BY MAILBOX"))
    with screen(server) as one:
        assert COLOUR.search(one.until("BY MAILBOX"))


def test_a_server_that_goes_away_is_told_and_found_again(start):
    server = start()
    with screen(server) as one:
        one.until("BY MAILBOX")
        server.stop()
        one.until("AWAY")
        one.press(b"q")
        assert one.end() == 0
