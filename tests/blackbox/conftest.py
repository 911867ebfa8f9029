"""Fixtures: shared servers for most tests, own ones for special settings, clients that are closed afterwards."""

import pytest

from client import Client, fresh
from serving import Server

# Everything a test may want, and limits that keep tests from waiting for each other.
SHARED = {
    "chaos.enabled": True,
    "echo.enabled": True,
    "limits.publish_per_second": 1000000,
    "limits.publish_burst": 1000000,
    "supervision.max_restarts": 50,
    "channels.defaults.history_events": 2000,
}


def pytest_runtest_makereport(item, call):
    """Puts the servers' last log lines under a failed test."""
    if call.when == "call" and call.excinfo is not None:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Server):
                item.add_report_section("call", f"log of {name}", value.tail())


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("shared"), SHARED)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """As somebody's first `dormouse serve`: nothing set."""
    running = Server(tmp_path_factory.mktemp("plain"))
    yield running
    running.stop()


@pytest.fixture
def start(tmp_path):
    """Starts servers with settings of their own: `start({"limits.mailbox": 8})`."""
    running = []

    def starter(settings=None, **options) -> Server:
        one = Server(tmp_path / f"server{len(running)}", settings, **options)
        running.append(one)
        return one

    yield starter
    failures = []
    for one in running:
        try:
            if one.process.returncode is None or one.process.returncode == 0:
                one.stop()
        except AssertionError as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


@pytest.fixture(params=["json", "msgpack"])
def enc(request):
    return request.param


@pytest.fixture
def dial():
    """Opens sockets without identifying; whatever is still open at the end says goodbye."""
    opened = []

    def dialer(server, enc="json", **options) -> Client:
        one = Client(server, enc, **options)
        opened.append(one)
        return one

    yield dialer
    for one in opened:
        try:
            one.ws.close()
        except Exception:  # noqa: BLE001 - it may be gone in any way a test wanted
            pass


@pytest.fixture
def join(dial):
    """An identified client: `join(server, "alice", enc)`."""

    def joiner(server, user=None, enc="json", resume=None, cursors=None, status=None, **options) -> Client:
        one = dial(server, enc, **options)
        fields = {"resume": resume, "cursors": cursors, "status": status}
        one.user = user or fresh("user")
        one.identify(one.user, **{key: value for key, value in fields.items() if value is not None})
        return one

    return joiner
