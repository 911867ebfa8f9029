"""`dormouse chaos`: a seeded attack on a running server, carried out, told, and judged by the node's ledger."""

import json
import os
import signal
import subprocess

import pytest
from client import eventually, fresh
from serving import binary

ENOUGH = {"chaos.enabled": True, "supervision.max_restarts": 100000, "shards.count": 2}


def begin(server, *args, **options) -> subprocess.Popen:
    return subprocess.Popen([binary(), "chaos", "--url", server.url("http"), *args], stdin=subprocess.DEVNULL, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **options.get("env", {})})


def end(chaos) -> tuple[int, str, str]:
    out, err = chaos.communicate(timeout=60)
    return chaos.returncode, out, err


def attack(server, *args) -> dict:
    code, out, err = end(begin(server, "--json", *args))
    assert code == 0, err + out
    return json.loads(out)


def hits(result) -> dict:
    return {(fault["fault"], fault["where"]): fault["hits"] for fault in result["faults"]}


def test_an_attack_hits_as_often_as_it_says_and_nobody_is_cut(start, join):
    server = start(ENOUGH)
    clients = [join(server) for _ in range(8)]
    channel = fresh("room:")
    for one in clients:
        one.subscribe(channel)
    result = attack(server, "--rate", "500/s", "--for", "1s", "--seed", "7")
    assert set(hits(result)) == {("panic", "turn"), ("panic", "job"), ("panic", "wake")}
    assert sum(hits(result).values()) == 500 == sum(fault["asked"] for fault in result["faults"])
    assert sum(fault["refused"] for fault in result["faults"]) == result["late"] == 0
    restarts = result["after"]["restarts"] - result["before"]["restarts"]
    assert restarts == 500 - hits(result)["panic", "job"] == server.metric("dormouse_restarts_total")
    assert server.metric("dormouse_crashes_total") == 500
    assert result["after"]["connections"] == 8 and result["after"]["balances"] and result["after"]["quiet"]
    offset = clients[0].publish(channel, "after")["offset"]
    for one in clients:
        assert one.take("event", channel=channel)["offset"] == offset


def test_the_same_seed_asks_for_the_same_faults_and_another_one_for_others(start, join):
    server = start(ENOUGH)
    join(server)
    first, again, other = [
        hits(attack(server, "--rate", "100/s", "--for", "500ms", "--faults", "panic,stall", "--ms", "1", "--seed", seed))
        for seed in ("1", "1", "2")
    ]
    assert first == again != other


def test_shards_actors_stalls_and_drops_are_part_of_the_mix(start, join):
    server = start(ENOUGH)
    clients = [join(server) for _ in range(6)]
    result = attack(server, "--rate", "10/s", "--for", "500ms", "--faults", "panic_shard,panic_actor")
    assert sum(hits(result).values()) == 5 and set(hits(result)) == {("panic_shard", None), ("panic_actor", None)}
    for one in clients:
        one.whoami()
    result = attack(server, "--rate", "6/s", "--for", "1s", "--faults", "drop")
    assert hits(result) == {("drop", None): 6} and result["after"]["connections"] == 0


def test_the_table_is_for_people(start, join):
    server = start(ENOUGH)
    join(server)
    code, out, err = end(begin(server, "--rate", "50/s", "--for", "400ms", "--where", "turn"))
    assert (code, err) == (0, "")
    assert "20 faults asked for" in out and "panic  turn" in out and "offered" in out and " = " in out
    assert "connections 1 before, 1 after" in out


def test_an_interruption_ends_it_early_and_still_tells(start, join):
    server = start(ENOUGH)
    join(server)
    chaos = begin(server, "--for", "10m", "--json")
    eventually(lambda: server.metric("dormouse_crashes_total") > 0, "a first hit")
    chaos.send_signal(signal.SIGINT)
    code, out, err = end(chaos)
    assert code == 0, err
    result = json.loads(out)
    assert result["interrupted"] and sum(hits(result).values()) > 0 and result["after"]["balances"]


def test_a_server_that_goes_away_is_told_and_fails(start, join):
    server = start(ENOUGH)
    join(server)
    chaos = begin(server, "--for", "10m")
    eventually(lambda: server.metric("dormouse_crashes_total") > 0, "a first hit")
    server.kill()
    code, out, err = end(chaos)
    assert code == 1 and "the server went away" in err and "panic" in out


@pytest.mark.parametrize("args", [(), ("--json",)])
def test_a_server_without_chaos_is_left_alone(plain, args):
    code, out, err = end(begin(plain, *args))
    assert (code, out) == (1, "") and "chaos.enabled=true" in err
