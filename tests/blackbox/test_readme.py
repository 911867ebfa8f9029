"""The README keeps its word: every snippet in it runs, and every path, metric and key it names is there.

A snippet is a fenced block of python, js, ts, sh, frames, html or rust; those of html run in tests/browser/readme.test.mjs, those of
rust in tests/client_rust/readme.rs and tests/counter/node.rs. Before it stands `<!-- run: name -->`, or `<!-- not run: why -->`.
What it is to print follows `# →` (python, sh) or `// →` (js, ts) at the end of a line or on one of its own: a text that must
come in the output, in that order, where `…` stands for anything on the line. A `frames` block is a conversation: `→` is
sent, `←` is what the server says next, `✂` cuts the socket and opens another one; a string `$name` stands for any value,
and for the same one each time; fields that are not shown are not looked at.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from client import Client
from serving import ROOT, Server, binary
from websockets.sync.client import connect

README = (ROOT / "README.md").read_text("utf8")
NODE_MODULES = ROOT / "tests/node_modules"
ADDRESS = "127.0.0.1:8080"
LANGUAGES = {"python", "js", "ts", "sh", "frames", "html", "rust"}
WAIT_S = 30


class Snippet(NamedTuple):
    language: str
    marker: str
    name: str
    text: str


def snippets() -> list[Snippet]:
    fences = re.findall(r"(?:^<!-- (run|not run): (.+?) -->\n+)?^```(\w+)\n(.*?)^```$", README, re.M | re.S)
    return [Snippet(language, marker, name, text) for marker, name, language, text in fences if language in LANGUAGES]


def runnable(language) -> list:
    chosen = [one for one in snippets() if one.language == language and one.marker == "run"]
    return [pytest.param(one, id=one.name) for one in chosen]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """As the README has its reader start it, except for the port."""
    running = Server(tmp_path_factory.mktemp("readme"), {"chaos.enabled": True})
    yield running
    running.stop()


def run(command, snippet, server, folder) -> None:
    """Runs a snippet's text and holds its output against what it says it prints."""
    (folder / "bin").mkdir()
    (folder / "bin/dormouse").symlink_to(os.path.abspath(binary()))
    # What pip has installed for these tests is a tool too.
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "NO_PROXY": "*", "no_proxy": "*",
           "DORMOUSE_URL": server.url("http"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=WAIT_S, text=True)
    assert done.returncode == 0, done.stdout
    rest = done.stdout
    for expected in re.findall(r"(?:#|//) → (.*)$", snippet.text, re.M):
        pattern = ".*".join(re.escape(part) for part in expected.strip().replace(ADDRESS, here(server)).split("…"))
        found = re.search(pattern, rest)
        assert found, f"{expected!r} does not come in\n{rest}\nof all that was printed:\n{done.stdout}"
        rest = rest[found.end():]


def here(server) -> str:
    return f"127.0.0.1:{server.port}"


def text_of(snippet, server) -> str:
    return snippet.text.replace(ADDRESS, here(server))


def test_the_application_of_the_readme_decides(tmp_path):
    """Its backend runs as it stands there, on a port of its own, and a server asks it."""
    [snippet] = [one for one in snippets() if one.name == "hooks"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert "9000" in snippet.text
    script = tmp_path / "application.py"
    script.write_text(snippet.text.replace("9000", str(port)), "utf8")
    hooks = {f"hooks.{hook}.url": f"http://127.0.0.1:{port}/" for hook in ("connect", "publish", "rpc")}
    application = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    server = Server(tmp_path / "server", {**hooks, "hooks.retries": 10})
    try:
        one = Client(server)
        one.identify("ann")
        assert one.request("publish", channel="room:x", data="hello")["offset"] == 1
        assert one.refused("publish", channel="room:x", data={"text": "spam"})["message"] == "no spam, please"
        assert one.request("rpc", method="sum", data=[1, 2]) == {"data": {"sum": 3}}
        one.ws.close()
    finally:
        application.kill()
        application.wait()
        server.stop()


@pytest.mark.parametrize("snippet", [one for one in runnable("python") if one.id != "hooks"])
def test_a_python_snippet_runs(local, tmp_path, snippet):
    script = tmp_path / "snippet.py"
    script.write_text(text_of(snippet, local), "utf8")
    run([sys.executable, str(script)], snippet, local, tmp_path)


@pytest.mark.parametrize("snippet", runnable("js"))
def test_a_javascript_snippet_runs(local, tmp_path, snippet):
    if not (NODE_MODULES / "ws").exists():
        pytest.skip("the packages of tests/package.json are not installed: `tests/run node`")
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    (tmp_path / "client.mjs").write_text(local.http.get("/client.js").text, "utf8")
    script = tmp_path / "snippet.mjs"
    script.write_text(text_of(snippet, local), "utf8")
    run(["node", str(script)], snippet, local, tmp_path)


@pytest.mark.parametrize("snippet", runnable("ts"))
def test_a_typescript_snippet_compiles_and_runs(local, tmp_path, snippet):
    if not (NODE_MODULES / "typescript").exists():
        pytest.skip("the packages of tests/package.json are not installed: `tests/run node`")
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    (tmp_path / "package.json").write_text('{"type":"module"}', "utf8")
    for name in ("client.js", "client.d.ts"):
        (tmp_path / name).write_text(local.http.get(f"/{name}").text, "utf8")
    (tmp_path / "snippet.ts").write_text(text_of(snippet, local), "utf8")
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"]
    tsc = NODE_MODULES / ".bin/tsc"
    done = subprocess.run([tsc, *options, "snippet.ts"], cwd=tmp_path, capture_output=True, timeout=120, text=True)
    assert done.returncode == 0, done.stdout
    # Node before 22 has no WebSocket of its own.
    (tmp_path / "platform.js").write_text('import WebSocket from "ws"; globalThis.WebSocket ??= WebSocket;', "utf8")
    run(["node", "--import", "./platform.js", "snippet.js"], snippet, local, tmp_path)


@pytest.mark.parametrize("snippet", runnable("sh"))
def test_a_shell_snippet_runs(local, tmp_path, snippet):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    tools = ("curl", "openssl", "websocat")
    missing = [tool for tool in tools if tool in snippet.text and not shutil.which(tool, path=path)]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    run(["bash", "-euo", "pipefail", "-c", text_of(snippet, local)], snippet, local, tmp_path)


def matches(expected, got, known) -> bool:
    """Whether `got` is what the README shows; fills `known` with the values its names stand for."""
    if isinstance(expected, str) and expected.startswith("$"):
        return known.setdefault(expected, got) == got
    if isinstance(expected, dict):
        return isinstance(got, dict) and all(key in got and matches(value, got[key], known)
                                             for key, value in expected.items())
    if isinstance(expected, list):
        return isinstance(got, list) and len(got) == len(expected) and all(
            matches(one, other, known) for one, other in zip(expected, got, strict=True))
    return expected == got


def cut(connection) -> None:
    """No close frame, as when a network is lost: the session is parked."""
    connection.socket.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("snippet", runnable("frames"))
def test_a_conversation_goes_as_written(local, snippet):
    known: dict[str, object] = {}
    url = local.url("ws", "/v1/gateway")
    with ExitStack() as sockets:
        talk = sockets.enter_context(connect(url, proxy=None))
        for line in filter(None, map(str.strip, snippet.text.splitlines())):
            direction, _, frame = line.partition(" ")
            if direction == "→":
                for name, value in known.items():
                    frame = frame.replace(json.dumps(name), json.dumps(value))
                talk.send(frame)
            elif direction == "←":
                got = json.loads(talk.recv(timeout=WAIT_S))
                assert matches(json.loads(frame), got, known), f"expected {frame}\ngot      {json.dumps(got)}"
            else:
                assert direction == "✂", line
                cut(talk)
                talk = sockets.enter_context(connect(url, proxy=None))


def test_every_snippet_runs_or_says_why_not():
    assert len(re.findall(r"^```", README, re.M)) % 2 == 0, "a fence is not closed"
    unmarked = [one.text.splitlines()[0] for one in snippets() if not one.marker]
    assert not unmarked, f"neither `run` nor `not run` stands before {unmarked}"
    names = [one.name for one in snippets() if one.marker == "run"]
    assert len(names) >= 8, names
    assert len(set(names)) == len(names), f"two snippets share a name: {names}"


def test_every_path_the_readme_names_exists():
    tops = "src|tests|bench|config"
    named = set(re.findall(rf"`((?:{tops})/[\w./*-]*)`", README)) | set(re.findall(rf"\]\(((?:{tops})/[\w./-]+)\)", README))
    assert len(named) > 20, named
    missing = sorted(name for name in named if not list(ROOT.glob(name.rstrip("/"))))
    assert not missing, missing


def test_every_metric_the_readme_names_is_exported(local):
    page = local.http.get("/metrics").text
    missing = {name for name in re.findall(r"dormouse_[a-z_]+", README) if f"# TYPE {name}" not in page}
    assert not missing, missing


def test_every_route_the_readme_names_is_described(local):
    described = set(local.http.get("/v1/openapi.json").json()["paths"])
    pages = {"/", "/dashboard", "/client.js", "/client.d.ts", "/v1/openapi.json"}
    table = README.split("## HTTP API", 1)[1].split("\n## ", 1)[0]
    named = set(re.findall(r"`(?:GET |POST |DELETE )?(/[a-z][\w/{}.]*)", table))
    unknown = {path for path in named if re.sub(r"{\w+}", "{}", path) not in
               {re.sub(r"{\w+}", "{}", known) for known in described | pages}}
    assert len(named) > 10, named
    assert not unknown, unknown


def test_the_table_of_the_configuration_names_every_key():
    section = README.split("## Configuration", 1)[1].split("\n## ", 1)[0]
    rows = dict(re.findall(r"^\| `\[([\w.]+)\]` \| (.*)$", section, re.M))
    tables = tomllib.loads((ROOT / "config/dormouse.toml").read_text("utf8"))
    tables["channels.defaults"] = tables.pop("channels")["defaults"]
    missing = [f"{table}.{key}" for table, keys in tables.items() for key in keys
               if f"`{key}`" not in rows.get(table, "") and f"`{key}." not in rows.get(table, "")]
    assert not missing, missing


def test_every_measurement_the_readme_names_is_one_of_the_load_generators():
    named = set(re.findall(r"bench/run (?:alone )?([a-z]+)", README))
    assert named >= {"density", "soak", "comeback", "fanout", "echo", "storm", "chaos"}
    assert all((ROOT / f"bench/src/{name}.rs").exists() for name in named - {"all"})


def test_every_comparison_has_its_place_in_the_readme():
    sections = re.findall(r'Self::\w+ => "([a-z0-9-]+)",', (ROOT / "bench/src/figures.rs").read_text("utf8"))
    assert len(sections) >= 8
    for name in ["servers", *sections]:
        assert README.count(f"<!-- bench:{name} -->") == README.count(f"<!-- /bench:{name} -->") == 1, name
