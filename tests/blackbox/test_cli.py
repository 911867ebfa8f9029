"""The command line and the configuration around the server: what is refused and how, and the client commands."""

import json
import os
import subprocess

import pytest
from client import eventually, fresh
from serving import ROOT, binary


def dormouse(*args, env=None) -> subprocess.CompletedProcess:
    return subprocess.run([binary(), *args], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
                          env={**os.environ, **(env or {})})


def test_a_taken_port_is_an_error_not_a_silence(start, tmp_path):
    server = start()
    done = dormouse("serve", "--listen", f"127.0.0.1:{server.port}", "--set", f"store.path={tmp_path}/x")
    assert done.returncode != 0 and str(server.port) in done.stderr


def test_open_auth_beyond_loopback_is_refused_with_a_sentence(tmp_path):
    done = dormouse("serve", "--listen", "0.0.0.0:0", "--set", f"store.path={tmp_path}/x")
    assert done.returncode != 0 and "auth" in done.stderr and len(done.stderr.split()) > 8


@pytest.mark.parametrize("wrong", ["limits.max_frames=7", "limits.mailbox=many", "heartbeat.interval=soon",
                                   "nothing.at.all=1", "limits.mailbox"])
def test_a_wrong_setting_is_refused(tmp_path, wrong):
    done = dormouse("serve", "--listen", "127.0.0.1:0", "--set", f"store.path={tmp_path}/x", "--set", wrong)
    assert done.returncode != 0 and wrong.split("=")[0].split(".")[-1] in done.stderr


@pytest.mark.parametrize("flawed, line", [
    pytest.param("[limits]\nmax_frames = 7\n", 2, id="an unknown key"),
    pytest.param("[limits]\n\nmailbox = \"many\"\n", 3, id="a wrong type"),
    pytest.param("[heartbeat]\ninterval = \"soon\"\n", 2, id="an impossible value"),
    pytest.param("[limits\n", 1, id="no toml"),
])
def test_check_names_file_and_line(tmp_path, flawed, line):
    path = tmp_path / "flawed.toml"
    path.write_text(flawed)
    done = dormouse("check", "--config", str(path))
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert f"flawed.toml:{line}" in said


def test_check_is_content_with_the_configuration_that_ships():
    done = dormouse("check", "--config", str(ROOT / "config/dormouse.toml"))
    assert done.returncode == 0, done.stderr


def test_the_environment_overrides_the_file_and_set_the_environment(start, join, tmp_path):
    path = tmp_path / "some.toml"
    path.write_text('[limits]\nmax_frame_bytes = 1000\n[heartbeat]\ninterval = "7s"\n'
                    '[channels."room"]\nhistory_events = 0\n')
    server = start({"heartbeat.interval": "9s"}, config=path,
                   env={"DORMOUSE__LIMITS__MAX_FRAME_BYTES": "2000", "DORMOUSE__HEARTBEAT__INTERVAL": "8s"})
    one = join(server)
    assert (one.hello["max_frame_bytes"], one.hello["heartbeat_ms"]) == (2000, 9000)
    channel = fresh("room:")
    one.publish(channel, 1)
    assert one.subscribe(channel, last=5)["recovered"] is True
    assert one.settle() == [], "the table of the namespace holds"
    assert one.request("presence", channel=fresh("chat:"))["count"] == 0, "built-in namespaces are still there"


def test_history_from_the_command_line(server, join):
    one, channel = join(server), fresh("chat:")
    for n in range(1, 6):
        one.publish(channel, {"n": n})
    url = ("--url", server.url("http"))
    done = dormouse("history", *url, channel, "--limit", "2")
    lines = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    assert [(line[0], line[2], line[3]) for line in lines] == [("4", one.user, '{"n":4}'), ("5", one.user, '{"n":5}')]
    assert "--before 4" in done.stderr
    assert "--after 2" in dormouse("history", *url, channel, "--after", "1", "--limit", "1").stderr
    answer = json.loads(dormouse("history", *url, channel, "--before", "3", "--json").stdout)
    assert [event["offset"] for event in answer["events"]] == [1, 2] and answer["more"] is False
    missing = dormouse("history", *url, fresh("chat:"))
    assert missing.returncode == 1 and "there is no channel" in missing.stderr


def test_a_whole_store_is_exported_and_imported(start, join, tmp_path):
    settings = {"store.path": str(tmp_path / "one")}
    first = start(settings)
    ann, bob = join(first, "ann"), join(first, "bob")
    epoch = ann.request("join", channel="chat:a")["epoch"]
    for n in range(20):
        bob.publish("chat:a", {"text": f"gr\u00fc\u00dfe {n}"}, key=f"k{n}")
    bob.publish("dm:ann+bob", "between us")
    ann.request("ack", channel="chat:a", delivered=12, read=9)
    before = first.http.get("/v1/channels/chat:a/history").json()
    busy = dormouse("export", str(tmp_path / "no.jsonl"), "--set", f"store.path={tmp_path}/one")
    assert busy.returncode == 1 and "in use" in busy.stderr
    first.kill()

    file = tmp_path / "copy.jsonl"
    done = dormouse("export", str(file), "--set", f"store.path={tmp_path}/one")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "2 channels, 21 events, 3 memberships" in done.stderr
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["kept"] for line in lines[:2]] == ["channel", "channel"]
    assert {"kept": "member", "channel": "chat:a", "user": "ann", "member": True, "delivered": 12, "read": 9} in lines
    done = dormouse("import", str(file), "--set", f"store.path={tmp_path}/two")
    assert done.returncode == 0, done.stderr
    again = dormouse("import", str(file), "--set", f"store.path={tmp_path}/two")
    assert again.returncode == 1 and "holds a store already" in again.stderr
    broken = tmp_path / "broken.jsonl"
    broken.write_text("".join(file.read_text().splitlines(keepends=True)[:3]) + "{}\n")
    refused = dormouse("import", str(broken), "--set", f"store.path={tmp_path}/three")
    assert refused.returncode == 1 and "broken.jsonl:4: missing field `kept`" in refused.stderr
    checked = dormouse("check", "--set", f"store.path={tmp_path}/two")
    assert checked.returncode == 0 and "2 channels, 21 events, 3 memberships" in checked.stdout

    second = start({"store.path": str(tmp_path / "two")})
    assert second.http.get("/v1/channels/chat:a/history").json() == before
    back = join(second, "ann")
    states = {each["channel"]: each for each in back.ready["memberships"]}
    assert (states["chat:a"]["epoch"], states["chat:a"]["delivered"], states["chat:a"]["unread"]) == (epoch, 12, 11)
    assert states["dm:ann+bob"]["unread"] == 1
    repeated = join(second, "bob").publish("chat:a", "other", key="k3")
    assert (repeated["offset"], repeated["duplicate"]) == (4, True)


def test_publish_from_the_command_line(server, join):
    one = join(server)
    channel = fresh("room:")
    one.subscribe(channel)
    done = dormouse("publish", "--url", server.url("http"), channel, '{"from":"shell"}')
    assert done.returncode == 0, done.stderr
    assert one.take("event", channel=channel)["data"] == {"from": "shell"}
    assert dormouse("publish", "--url", server.url("http"), channel, "{").returncode != 0
    assert dormouse("publish", "--url", server.url("http"), "a b", "1").returncode != 0


def test_connections_and_inspect_show_a_connection(server, join):
    one = join(server)
    me = one.whoami()["connection"]
    listing = dormouse("connections", "--url", server.url("http"), "--sort", "idle")
    assert listing.returncode == 0 and me in listing.stdout
    shown = dormouse("inspect", me, env={"DORMOUSE_URL": server.url("http")})
    assert shown.returncode == 0 and one.user in shown.stdout
    assert dormouse("inspect", "nobody", "--url", server.url("http")).returncode != 0


def test_kill_crashes_an_actor(server, join):
    one = join(server)
    done = dormouse("kill", one.whoami()["connection"], "--url", server.url("http"))
    assert done.returncode == 0, done.stderr
    assert one.take("restarted")["generation"] == one.ready["generation"] + 1


def test_kill_takes_a_count_and_a_fraction(start, join):
    server = start({"chaos.enabled": True})
    clients = [join(server) for _ in range(4)]
    for args in (["--count", "2"], ["--fraction", "0.5"]):
        assert dormouse("kill", *args, "--url", server.url("http")).returncode == 0
    eventually(lambda: server.metric("dormouse_restarts_total") == 4, "four restarts")
    for one in clients:
        one.whoami()


def test_kill_without_chaos_is_refused(plain, join):
    one = join(plain)
    assert dormouse("kill", one.whoami()["connection"], "--url", plain.url("http")).returncode != 0


def test_client_commands_take_an_api_key(start):
    server = start({"api.keys": ["operator"]})
    assert dormouse("connections", "--url", server.url("http")).returncode != 0
    assert dormouse("connections", "--url", server.url("http"), "--api-key", "operator").returncode == 0
    done = dormouse("connections", env={"DORMOUSE_URL": server.url("http"), "DORMOUSE_API_KEY": "operator"})
    assert done.returncode == 0, done.stderr


def test_a_client_command_says_when_nobody_answers():
    done = dormouse("connections", "--url", "http://127.0.0.1:1")
    assert done.returncode != 0 and "127.0.0.1:1" in done.stderr


def test_logs_may_be_json(start, join):
    server = start({"telemetry.format": "json"})
    join(server)
    assert all(isinstance(json.loads(line), dict) for line in server.log if line)


def test_logs_hold_no_payloads_and_no_tokens(start, join):
    server = start({"telemetry.log": "debug"})
    one = join(server, "a-user")
    secret = fresh("payload")
    one.subscribe("room:1")
    one.publish("room:1", secret)
    one.take("event")
    one.send_raw("{" + secret)
    one.take("error")
    one.bye()
    server.stop()
    log = "\n".join(server.log)
    assert secret not in log and one.ready["session"] not in log
