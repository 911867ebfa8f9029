"""SIGHUP: what changes at once for clients that are connected, what is named as needing a restart, and that a mistake changes
nothing."""

import signal

import pytest
from client import eventually
from websockets.exceptions import InvalidStatus

BEFORE = """
[limits]
bad_frames = 16
[heartbeat]
interval = "45s"
[channels."news"]
publish = "anyone"
"""


PUBLISHED = '[channels."news"]\npublish = "nobody"\n'


class Reloaded:
    """A server with a file that a test writes again."""

    def __init__(self, start, tmp_path, text=BEFORE):
        self.file = tmp_path / "dormouse.toml"
        self.file.write_text(text)
        self.server = start(config=self.file)

    def write(self, text: str) -> list[str]:
        """The log of the reload."""
        seen = len(self.server.log)
        self.file.write_text(text)
        self.server.process.send_signal(signal.SIGHUP)
        ends = ("configuration read again", "the configuration stays as it was")
        eventually(lambda: any(end in line for line in self.server.log[seen:] for end in ends), "the reload is told")
        self.server.http.get("/v1/node")
        return self.server.log[seen:]


def test_limits_and_times_change_for_those_who_are_connected(start, tmp_path, join, dial):
    node = Reloaded(start, tmp_path)
    stays = join(node.server)
    log = "\n".join(node.write("""
[limits]
bad_frames = 2
publish_per_second = 1
publish_burst = 2
subscriptions = 1
[heartbeat]
interval = "7s"
""" + PUBLISHED))
    for key in ("limits.bad_frames", "heartbeat.interval", "limits.publish_burst"):
        assert key in log, log
    assert dial(node.server).take("hello")["heartbeat_ms"] == 7000
    stays.request("subscribe", channel="room:a")
    assert stays.refused("subscribe", channel="room:b")["code"] == "too_large"
    assert stays.request("publish", channel="room:a", data=1)["offset"] == 1
    assert stays.refused("publish", channel="news:a", data=1)["code"] == "forbidden"
    for _ in range(3):
        stays.send_raw("rubbish")
    assert stays.closed() == (4505, "protocol_violation")


def test_what_needs_a_restart_is_named_and_left(start, tmp_path, join):
    node = Reloaded(start, tmp_path)
    shards = len(node.server.node()["shards"])
    log = "\n".join(node.write(BEFORE + '[shards]\ncount = 7\n[store]\ncommit = "1ms"\n'))
    assert "need a restart" in log and "shards.count" in log and "store.commit" in log
    assert len(node.server.node()["shards"]) == shards


@pytest.mark.parametrize("mistake", ["[limits]\nbad_frames = \"many\"", "[limits", "[auth]\nmode = \"jwt\"", "[limitz]\nx = 1"])
def test_a_mistake_changes_nothing(start, tmp_path, join, dial, mistake):
    node = Reloaded(start, tmp_path)
    stays = join(node.server)
    log = "\n".join(node.write(mistake + '\n'))
    assert "the configuration stays as it was" in log and "dormouse.toml:" in log, log
    assert dial(node.server).take("hello")["heartbeat_ms"] == 45000
    assert stays.request("whoami")["generation"] == 1
    # Mended, it is taken over.
    assert "configuration read again" in "\n".join(node.write('[heartbeat]\ninterval = "9s"\n'))
    assert dial(node.server).take("hello")["heartbeat_ms"] == 9000


def test_entrances_change_without_a_disconnect(start, tmp_path, join, dial):
    node = Reloaded(start, tmp_path)
    page = {"additional_headers": {"Origin": "https://app.example.com"}}
    with pytest.raises(InvalidStatus):
        dial(node.server, **page)
    stays = join(node.server)
    node.write(BEFORE + '[listen]\norigins = ["https://app.example.com"]\n[chaos]\nenabled = true\n')
    dial(node.server, **page)
    assert stays.refused("chaos", fault="panic")["code"] == "crashed"
    node.write(BEFORE.replace("[limits]", "[limits]\nmax_connections = 2"))
    with pytest.raises(InvalidStatus) as full:
        dial(node.server)
    assert full.value.response.status_code == 503
    assert stays.refused("chaos", fault="panic")["code"] == "forbidden"
    node.write('[telemetry]\nlog = "debug"\n')
    join(node.server).ws.socket.sendall(b"\xff\xff")
    eventually(lambda: any("DEBUG" in line and "broken frame" in line for line in node.server.log), "more is logged")


def test_what_would_only_be_right_after_a_restart_changes_nothing_before(start, tmp_path, dial):
    node = Reloaded(start, tmp_path, "[limits]\nmax_frame_bytes = 65536\noutbox_bytes = 65536\n")
    log = "\n".join(node.write("[limits]\nmax_frame_bytes = 131072\noutbox_bytes = 131072\n"))
    assert "the configuration stays as it was" in log and "limits.outbox_bytes needs a restart" in log, log
    assert dial(node.server).take("hello")["max_frame_bytes"] == 65536
