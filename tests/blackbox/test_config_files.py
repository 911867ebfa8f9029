"""The files of `config/` that Grafana, Prometheus, systemd and Docker read: what they name is there.

Metrics, labels and their values are held against the page of a server on which a bit of everything has happened, since
a vector of labels shows nothing before it is used; expressions are read by a parser of PromQL. Where they are installed,
`promtool` (Debian's package `prometheus`) says which alerts fire, and `systemd-analyze` reads the unit.
"""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import tomllib

import promql_parser
import pytest
import yaml
from client import Client, eventually
from prometheus_client.parser import text_string_to_metric_families
from raw import RawSocket
from serving import ROOT, Server, binary

CONFIG = ROOT / "config"
DASHBOARD = json.loads((CONFIG / "grafana-dashboard.json").read_text("utf8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
GROUPS = yaml.safe_load((CONFIG / "alerts.yml").read_text("utf8"))["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"]]
DEFAULTS = tomllib.loads((CONFIG / "dormouse.toml").read_text("utf8"))
# What a container gets from whoever starts it.
SECRETS = {"DORMOUSE__AUTH__KEYS": '["thirty-two bytes or more of secret"]'}
# Prometheus gives these to every sample, and `up` to every target.
TARGET = {"job", "instance"}


def dormouse(*args, cwd, env=None) -> subprocess.CompletedProcess:
    return subprocess.run([os.path.abspath(binary()), *args], capture_output=True, text=True, timeout=30, cwd=cwd,
                          stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})


def help_of(*command) -> str:
    return dormouse(*command, "--help", cwd=ROOT).stdout


def seconds(text: str) -> float:
    return promql_parser.parse_duration(re.sub("min$", "m", text)).total_seconds()


# Expressions.

def queries() -> list:
    """Every expression with what Grafana puts into it."""
    of_panels = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
    of_alerts = [(alert["alert"], alert["expr"]) for alert in ALERTS]
    return [pytest.param(expr.replace("$__rate_interval", "5m"), id=f"{name}: {number}".replace(" ", "_"))
            for number, (name, expr) in enumerate(of_panels + of_alerts)]


def nodes(expr, *kinds) -> list:
    """The parts of an expression that are of these kinds."""
    found = []
    parsed = promql_parser.parse(expr) if isinstance(expr, str) else expr
    promql_parser.walk(parsed, pre_visit=lambda node: found.append(node) if isinstance(node, kinds) else None)
    return found


def names(expr) -> list[str]:
    return [node.name for node in nodes(expr, promql_parser.VectorSelector)]


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("used"), {"chaos.enabled": True})
    try:
        one = Client(server)
        one.identify("alice")
        one.subscribe("chat:lobby")
        one.publish("chat:lobby", 1)
        one.refused("chaos", fault="panic")
        assert RawSocket(server, headers="Origin: https://elsewhere.example\r\n").status == 403
        eventually(lambda: server.metric("dormouse_crashes_total"), "a crash on the page")
        yield list(text_string_to_metric_families(server.http.get("/metrics").text))
        one.bye()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def samples(families) -> dict[str, list[dict]]:
    """The labels of every sample, by its name."""
    found: dict[str, list[dict]] = {"up": [{}]}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


@pytest.mark.parametrize("expr", queries())
def test_an_expression_asks_for_what_the_server_exports(families, samples, expr):
    types = {sample.name: family.type for family in families for sample in family.samples}
    selectors = nodes(expr, promql_parser.VectorSelector)
    assert selectors
    labels = set(TARGET)
    for selector in selectors:
        assert selector.name in samples, selector.name
        labels.update(*samples[selector.name])
        for matcher in selector.matchers.matchers:
            if matcher.name not in TARGET:
                known = {one.get(matcher.name) for one in samples[selector.name]}
                assert set(matcher.value.split("|")) <= known, f"{selector.name} has {matcher.name} {known}"
    for node in nodes(expr, promql_parser.AggregateExpr):
        assert node.modifier is None or set(node.modifier.labels) <= labels, node.modifier.labels
    for call in nodes(expr, promql_parser.Call):
        if call.func.name in ("rate", "increase"):
            asked = names(call)
            assert {types[name] for name in asked} <= {"counter", "histogram"}, f"{asked} do not only rise"


# Grafana.

def test_the_dashboard_is_one_that_grafana_10_imports():
    assert DASHBOARD["schemaVersion"] >= 38 and DASHBOARD["title"] and not DASHBOARD.get("id")
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "job", "instance"}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    source = {"type": "prometheus", "uid": "${datasource}"}
    targets = [target for panel in PANELS for target in panel["targets"]]
    assert all(one["datasource"] == source for one in [variables["job"], variables["instance"], *PANELS, *targets])


def test_the_variables_are_found_in_a_metric_that_every_node_has(samples):
    for variable in DASHBOARD["templating"]["list"][1:]:
        asked, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
        assert label == variable["name"] and set(names(asked)) <= set(samples)


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: dict[tuple, str] = {}
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        assert grid["w"] > 0 and grid["h"] > 0 and 0 <= grid["x"] <= 24 - grid["w"], panel["title"]
        for x in range(grid["x"], grid["x"] + grid["w"]):
            for y in range(grid["y"], grid["y"] + grid["h"]):
                other = taken.setdefault((x, y), panel["title"])
                assert other == panel["title"], f"{panel['title']} lies over {other}"


@pytest.mark.parametrize("panel", [pytest.param(panel, id=panel["title"].replace(" ", "_")) for panel in PANELS])
def test_a_panel_says_what_it_shows_and_follows_the_variables(panel):
    assert panel["title"] and panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"] and len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for target in panel["targets"]:
        expr = target["expr"].replace("$__rate_interval", "5m")
        for selector in nodes(expr, promql_parser.VectorSelector):
            chosen = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
            assert (chosen.get("job"), chosen.get("instance")) == ("$job", "$instance"), target["expr"]
        modifiers = [node.modifier for node in nodes(expr, promql_parser.AggregateExpr)]
        groups = [set(modifier.labels if modifier else []) for modifier in modifiers]
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert all(label in group for group in groups), f"{label} is summed up in {target['expr']}"


# Prometheus.

def test_alerts_have_names_of_their_own():
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS)
    assert len({group["name"] for group in GROUPS}) == len(GROUPS)


@pytest.mark.parametrize("alert", [pytest.param(alert, id=alert["alert"]) for alert in ALERTS])
def test_an_alert_waits_and_says_where_to_look(alert):
    assert seconds(alert["for"]) >= 30 and alert["labels"]["severity"] in ("warning", "critical")
    assert "$labels.instance" in alert["annotations"]["summary"]
    assert re.search(r"`dormouse |/dashboard|README", alert["annotations"]["description"])


def test_quantiles_are_held_against_bounds_of_buckets(samples):
    compared = [node for alert in ALERTS for node in nodes(alert["expr"], promql_parser.BinaryExpr)
                if isinstance(node.lhs, promql_parser.Call) and node.lhs.func.name == "histogram_quantile"]
    assert len(compared) >= 4
    for node in compared:
        (name,) = names(node.lhs)
        assert node.rhs.val in {float(labels["le"]) for labels in samples[name]}, f"{name} has no bound {node.rhs.val}"


def test_advice_names_what_there_is(families):
    advice = " ".join([panel["description"] for panel in PANELS] + [
        " ".join(alert["annotations"].values()) for alert in ALERTS])
    metrics = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert set(re.findall(r"dormouse_\w+", advice)) <= metrics
    assert set(re.findall(r"\bDormouse[A-Z]\w+", advice)) <= {alert["alert"] for alert in ALERTS}
    keys = set(re.findall(rf"\b({'|'.join(DEFAULTS)})\.(\w+)", advice))
    assert len(keys) > 5 and not [key for key in keys if key[1] not in DEFAULTS[key[0]]]
    commands = set(re.findall(r"`dormouse (\w+)(?: (--\w+) (\w+))?`", advice))
    assert {command for command, *_ in commands} >= {"connections", "replay"}
    for command, option, value in commands:
        assert all(word in help_of(command) for word in (option, value)), (command, option, value)
    titles = tuple(re.findall(r"^#+ (.*)$", (ROOT / "README.md").read_text("utf8"), re.M))
    named = advice.split("README, ")[1:]
    assert named and all(rest.startswith(titles) for rest in named), [rest[:20] for rest in named]


def promtool(*args, cwd) -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed: it is in Debian's package prometheus")
    done = subprocess.run(["promtool", *args], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_reads_every_expression(tmp_path):
    records = [{"record": f"panel:{number}", "expr": param.values[0]} for number, param in enumerate(queries())]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))
    promtool("check", "rules", str(CONFIG / "alerts.yml"), str(tmp_path / "panels.yml"), cwd=tmp_path)


def slow(name: str, bound: str, next_bound: str) -> dict[str, str]:
    """A histogram of which most lies beyond a bound."""
    return {f'{name}_bucket{{le="{bound}"}}': "0+1x1000", f'{name}_bucket{{le="{next_bound}"}}': "0+20x1000",
            f'{name}_bucket{{le="+Inf"}}': "0+20x1000"}


# A sample every 30 s; what makes each alert fire, and a node with which all is well.
FIRES = {
    "DormouseDown": {"up": "0x1000"},
    "DormouseNotReady": {'dormouse_handshakes_total{result="draining"}': "0+1x1000"},
    "DormouseStartsOften": {"process_start_time_seconds": "0+9x1000"},
    "DormouseDescriptors": {"process_open_fds": "900x1000", "process_max_fds": "1000x1000"},
    "DormouseNearlyFull": {'dormouse_connections{state="dormant"}': "800x1000", "process_max_fds": "1000x1000"},
    "DormouseMemoryGrows": {"process_resident_memory_bytes": "200000000x720 400000000x280",
                            'dormouse_connections{state="dormant"}': "10x1000"},
    "DormouseFull": {'dormouse_handshakes_total{result="too_many_connections"}': "0+1x1000"},
    "DormouseHandshakesRefused": {'dormouse_handshakes_total{result="bad_handshake"}': "0+60x1000",
                                  'dormouse_handshakes_total{result="accepted"}': "0+60x1000"},
    "DormouseEventsDropped": {'dormouse_events_dropped_total{reason="overflow"}': "0+1x1000",
                              "dormouse_events_offered_total": "0+100x1000"},
    "DormouseOutboxes": {"dormouse_outbox_bytes": "300000000x1000"},
    "DormouseMailboxesFull": {"dormouse_ephemeral_dropped_total": "0+60x1000"},
    "DormouseStalledTurn": {"dormouse_stalled_turns": "1x1000"},
    "DormouseShardLag": slow("dormouse_shard_lag_seconds", "0.064", "0.256"),
    "DormouseMailboxWait": slow("dormouse_mailbox_wait_seconds", "0.256", "1"),
    "DormouseJobsOverdue": {"dormouse_jobs_overdue": "1x1000"},
    "DormouseStoreSlow": slow("dormouse_store_commit_seconds", "0.256", "1"),
    "DormouseLedger": {"dormouse_events_offered_total": "10x1000", "dormouse_events_delivered_total": "20x1000",
                       'dormouse_events_dropped_total{reason="crash"}': "0x1000"},
    "DormouseCrashes": {'dormouse_crashes_total{place="a.rs:1:1"}': "0+30x1000"},
    "DormouseGaveUp": {"dormouse_gave_up_total": "0+1x1000"},
    "DormouseRestartsSlow": slow("dormouse_restart_seconds", "0.001", "0.004"),
}
FINE = {
    "up": "1x1000", "process_start_time_seconds": "7x1000", "process_open_fds": "500x1000",
    "process_max_fds": "1000x1000", "process_resident_memory_bytes": "300000000x1000",
    'dormouse_connections{state="awake"}': "10x1000", 'dormouse_connections{state="parked"}': "900x1000",
    'dormouse_handshakes_total{result="accepted"}': "0+60x1000",
    'dormouse_handshakes_total{result="bad_handshake"}': "0+1x1000",
    'dormouse_handshakes_total{result="draining"}': "0x1000", "dormouse_outbox_bytes": "4096x1000",
    'dormouse_handshakes_total{result="too_many_connections"}': "0x1000",
    "dormouse_events_offered_total": "10+100x1000", "dormouse_events_delivered_total": "0+100x1000",
    'dormouse_events_dropped_total{reason="overflow"}': "0x1000", "dormouse_ephemeral_dropped_total": "0x1000",
    "dormouse_stalled_turns": "0x1000", "dormouse_jobs_overdue": "0x1000", "dormouse_gave_up_total": "0x1000",
    'dormouse_crashes_total{place="a.rs:1:1"}': "0+1x1000", "dormouse_restarts_total": "0+1x1000",
    'dormouse_restart_seconds_bucket{le="0.001"}': "0+1x1000", 'dormouse_restart_seconds_bucket{le="+Inf"}': "0+1x1000",
}


def test_each_alert_fires_and_none_without_a_reason(tmp_path):
    assert set(FIRES) == {alert["alert"] for alert in ALERTS}

    def placed(name) -> str:
        metric, _, labels = name.rstrip("}").partition("{")
        return f'{metric}{{job="dormouse",instance="a"{"," if labels else ""}{labels}}}'

    def scene(series, at, expr, expected) -> dict:
        given = [{"series": placed(name), "values": values} for name, values in series.items()]
        asked = {"expr": expr, "eval_time": at, "exp_samples": expected}
        return {"interval": "30s", "input_series": given, "promql_expr_test": [asked]}

    scenes = [scene(FINE, "8h", "count(ALERTS)", [])]
    for name, series in FIRES.items():
        at = "8h" if "offset" in next(alert["expr"] for alert in ALERTS if alert["alert"] == name) else "1h"
        fires = f'count(ALERTS{{alertname="{name}",alertstate="firing",instance="a"}})'
        scenes.append(scene(series, at, fires, [{"labels": "{}", "value": 1}]))
    tests = {"rule_files": [str(CONFIG / "alerts.yml")], "evaluation_interval": "1m", "tests": scenes}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests))
    promtool("test", "rules", "tests.yml", cwd=tmp_path)


# systemd.

def unit() -> dict[str, list[str]]:
    lines = (CONFIG / "dormouse.service").read_text("utf8").splitlines()
    settings: dict[str, list[str]] = {}
    for line in lines:
        if line and not line.startswith(("#", "[")):
            key, value = line.split("=", 1)
            settings.setdefault(key, []).append(value)
    return settings


def test_the_unit_runs_commands_as_they_are():
    settings = unit()
    for key, command in [("ExecStartPre", "check"), ("ExecStart", "serve")]:
        (line,) = settings[key]
        program, verb, *arguments = line.split()
        assert (os.path.basename(program), verb) == ("dormouse", command) and os.path.isabs(program)
        options = [argument for argument in arguments if argument.startswith("--")]
        assert options and all(f"{option} " in help_of(verb) for option in options)
    assert settings["ExecReload"][0].split()[1:] == ["-HUP", "$MAINPID"]
    assert settings["EnvironmentFile"][0].startswith("-/")


def test_the_unit_fits_the_defaults_of_the_server():
    settings = {key: values[-1] for key, values in unit().items()}
    assert settings["KillSignal"] == "SIGTERM"
    assert seconds(settings["TimeoutStopSec"]) > seconds(DEFAULTS["listen"]["drain"])
    assert int(settings["LimitNOFILE"]) >= DEFAULTS["limits"]["max_connections"] + 128
    # A relative store is in the folder that the unit may write to.
    assert not os.path.isabs(DEFAULTS["store"]["path"])
    assert settings["WorkingDirectory"] == f"/var/lib/{settings['StateDirectory']}"


def test_systemd_has_nothing_to_say_about_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed: it is in Debian's package systemd")
    text = (CONFIG / "dormouse.service").read_text("utf8")
    # It looks whether the program is there.
    (tmp_path / "dormouse.service").write_text(text.replace("/usr/local/bin/dormouse", os.path.abspath(binary())))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "dormouse.service"], cwd=tmp_path,
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# The container.

def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (CONFIG / "Dockerfile").read_text("utf8"), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def instruction(name: str) -> str:
    """What the last one of that name says."""
    return [rest for known, rest in instructions() if known == name][-1]


def copied() -> list[str]:
    """What the build copies out of the repository."""
    lines = [rest.split() for name, rest in instructions() if name == "COPY" and "--from=" not in rest]
    return [source for line in lines for source in line[:-1]]


def is_ignored(path: str) -> bool:
    """By .dockerignore, where the last pattern that fits the path or a folder above it decides."""
    parts = path.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    ignored = False
    for pattern in (ROOT / ".dockerignore").read_text("utf8").splitlines():
        if pattern and not pattern.startswith("#") and any(fnmatch.fnmatch(one, pattern.lstrip("!")) for one in above):
            ignored = not pattern.startswith("!")
    return ignored


def test_what_the_image_is_built_from_is_there_and_all_that_docker_is_sent():
    assert copied() and all((ROOT / source).exists() for source in copied())
    assert not [source for source in copied() if is_ignored(source)]
    assert all(is_ignored(name) for name in [".git/config", "target/release/dormouse", "README.md", "bench/peers/bun"])
    version = tomllib.loads((ROOT / "Cargo.toml").read_text("utf8"))["workspace"]["package"]["rust-version"]
    assert next(rest for name, rest in instructions() if name == "FROM").startswith(f"rust:{version}-")


def test_what_the_image_is_built_from_is_a_whole_workspace(tmp_path):
    if not shutil.which("cargo"):
        pytest.skip("cargo is not installed")
    for source in copied():
        paths = [ROOT / source] if (ROOT / source).is_file() else (ROOT / source).rglob("*")
        for path in paths:
            name = path.relative_to(ROOT)
            if path.is_file() and not is_ignored(str(name)):
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, tmp_path / name)
    done = subprocess.run(["cargo", "metadata", "--offline", "--no-deps", "--format-version=1"], cwd=tmp_path,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "dormouse" in [package["name"] for package in json.loads(done.stdout)["packages"]]


@pytest.mark.parametrize("file", [pytest.param(file, id=file.name) for file in sorted(CONFIG.glob("*.toml"))])
def test_a_configuration_is_good(file, tmp_path):
    done = dormouse("check", "--config", str(file), cwd=tmp_path, env=SECRETS)
    assert done.returncode == 0, done.stderr


def test_the_parts_of_the_image_fit_together():
    command = json.loads(instruction("CMD"))
    assert json.loads(instruction("ENTRYPOINT")) == ["dormouse"] and command[0] == "serve"
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert all(f"{option} " in help_of("serve") for option in options)
    assert f"COPY config/container.toml {options['--config']}" in [" ".join(one) for one in instructions()]
    container = tomllib.loads((CONFIG / "container.toml").read_text("utf8"))
    assert container["store"]["path"] == instruction("VOLUME") == instruction("WORKDIR")
    assert options["--listen"] == f"0.0.0.0:{instruction('EXPOSE')}"
    assert instruction("STOPSIGNAL") == "SIGTERM"
    # `docker stop` waits 10 s.
    assert seconds(container["listen"]["drain"]) < 10
    assert int(instruction("USER").split(":")[0]) > 0


def test_a_container_without_keys_says_what_it_needs(tmp_path):
    done = dormouse("serve", "--config", str(CONFIG / "container.toml"), "--listen", "0.0.0.0:0", cwd=tmp_path)
    assert done.returncode == 2 and "DORMOUSE__AUTH__KEYS" in done.stderr


def test_a_container_is_healthy_while_it_serves(start):
    server = start(config=CONFIG / "container.toml", env=SECRETS)
    probe = json.loads(instruction("HEALTHCHECK").split("CMD", 1)[1])
    place = f"127.0.0.1/{instruction('EXPOSE')}"
    assert place in probe[-1]
    probe[-1] = probe[-1].replace(place, f"127.0.0.1/{server.port}")

    def health() -> int:
        return subprocess.run(probe, capture_output=True, timeout=10).returncode

    assert health() == 0
    server.stop()
    assert health() == 1
