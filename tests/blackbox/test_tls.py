"""TLS over real sockets: everything works as without it, certificates are exchanged under load without a disconnect, and
what is no TLS costs its own connection."""

import datetime
import ipaddress
import random
import select
import signal
import socket
import ssl
import subprocess
import threading

import pytest
from client import Client, eventually, fresh
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from serving import Server, binary


class OneAtATime(ssl.SSLSocket):
    """The tests' client reads in a thread of its own, and OpenSSL allows one call at a time: a request written while the
    server's ticket is read was lost once in some hundred handshakes, on the client's side."""

    @property
    def turn(self):
        return self.__dict__.setdefault("_turn", threading.RLock())

    def recv(self, buflen=1024, flags=0):
        while True:
            with self.turn:
                timeout = self.gettimeout()
                self.settimeout(0)
                try:
                    return super().recv(buflen, flags)
                except ssl.SSLWantReadError:
                    pass
                finally:
                    self.settimeout(timeout)
            try:
                if not select.select([self], [], [], timeout)[0]:
                    raise TimeoutError
            except ValueError:
                # Closed meanwhile.
                return b""

    def sendall(self, data, flags=0):
        with self.turn:
            return super().sendall(data, flags)


class Authority:
    """Certificates for 127.0.0.1, all of them vouched for by one that the clients trust."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.cert, self.key, self.ca = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
        self.secret = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        own = self._certificate(self.name, self.secret.public_key(), ca=True)
        self.ca.write_bytes(own.public_bytes(serialization.Encoding.PEM))
        self.issue()

    def _certificate(self, subject, public, ca=False):
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return builder.add_extension(names, critical=False).sign(self.secret, hashes.SHA256())

    def issue(self, kind="ec") -> int:
        """Writes a new certificate and key; its serial number."""
        key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
        cert = self._certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), key.public_key())
        self.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                               serialization.NoEncryption()))
        return cert.serial_number

    def context(self, threads=True, **limits) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if threads:
            context.sslsocket_class = OneAtATime
        for name, value in limits.items():
            setattr(context, name, value)
        return context

    def settings(self) -> dict:
        return {"listen.tls.cert": str(self.cert), "listen.tls.key": str(self.key)}


def serial_of(server) -> int:
    """Which certificate a new connection is shown."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as bare:
        with server.ssl.wrap_socket(bare, server_hostname="127.0.0.1") as secure:
            return int(secure.getpeercert()["serialNumber"], 16)


def to_the_end(bare) -> bytes:
    """What comes until the server closes."""
    got = b""
    while True:
        try:
            part = bare.recv(65536)
        except ConnectionResetError:
            return got
        if not part:
            return got
        got += part


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(authority, tmp_path_factory):
    settings = {**authority.settings(), "chaos.enabled": True, "echo.enabled": True, "shards.count": 2,
                "limits.publish_per_second": 1000000, "limits.publish_burst": 1000000, "limits.outbox_bytes": 8 << 20,
                "limits.max_frame_bytes": 1 << 20, "channels.defaults.history_events": 2000}
    running = Server(tmp_path_factory.mktemp("secure"), settings, ssl=authority.context())
    yield running
    running.stop()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_conversation_works_as_without_tls(authority, secure, join, enc, version):
    context = authority.context(minimum_version=version, maximum_version=version)
    channel = fresh("room:")
    one, two = join(secure, enc=enc, ssl=context), join(secure, enc=enc, ssl=context)
    assert one.ws.socket.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    two.request("subscribe", channel=channel)
    one.request("publish", channel=channel, data={"text": "hello"})
    assert two.take("event")["data"] == {"text": "hello"}
    # The actor crashes, socket and session stay.
    assert one.refused("chaos", fault="panic")["code"] == "crashed"
    assert one.take("restarted")["generation"] == 2
    assert one.request("whoami")["user"] == one.user
    # A session goes on on another socket, whichever shard that is on.
    two.cut()
    again = join(secure, two.user, enc, resume=two.ready["session"], ssl=context)
    assert again.ready["resumed"]
    one.request("publish", channel=channel, data={"text": "again"})
    assert again.take("event")["data"] == {"text": "again"}


def test_api_and_pages_are_served(secure):
    assert secure.http.get("/health/ready").status_code == 200
    page = secure.http.get("/")
    assert page.status_code == 200 and "<html" in page.text
    answer = secure.http.post("/v1/publish", json={"channel": "room:api", "data": 1})
    assert answer.json()["offset"] == 1
    # Over one connection, many.
    assert all(secure.http.get("/v1/node").status_code == 200 for _ in range(50))


@pytest.mark.parametrize("seed", range(3))
def test_every_byte_of_large_and_small_messages_comes_back(secure, seed):
    print("seed", seed)
    chance = random.Random(seed)
    echo = Client(secure, path="/v1/echo", offer=None)
    sizes = [chance.choice([0, 1, 125, 126, 16383, 16384, 16385, 70_000, 1_000_000]) for _ in range(40)]
    sent = [chance.randbytes(size) for size in sizes]

    def send():
        for message in sent:
            echo.ws.send(message)

    writer = threading.Thread(target=send)
    writer.start()
    for message in sent:
        assert echo.ws.recv(timeout=20) == message
    writer.join()
    echo.ws.close()


def test_a_slow_reader_gets_everything_in_order_when_it_reads(secure, join):
    channel = fresh("room:")
    # Its library reads no more than one message ahead.
    slow, fast = join(secure, max_queue=1), join(secure)
    slow.request("subscribe", channel=channel)
    text = "x" * 60_000
    # More than the socket's buffers hold, within limits.outbox_bytes: records wait half written.
    offsets = [fast.request("publish", channel=channel, data={"n": n, "text": text})["offset"] for n in range(100)]
    waiting = eventually(lambda: secure.metric("dormouse_outbox_bytes"), "bytes wait for the slow reader")
    print("bytes waiting:", waiting)
    events = [slow.take("event") for _ in offsets]
    assert [event["offset"] for event in events] == offsets
    assert all(event["data"] == {"n": n, "text": text} for n, event in enumerate(events))
    eventually(lambda: secure.ledger()["pending"] == 0, "the ledger is quiet")


def test_certificates_are_exchanged_under_load_without_a_disconnect(tmp_path, join):
    authority = Authority(tmp_path / "authority")
    server = Server(tmp_path / "server", {**authority.settings(), "limits.publish_per_second": 1000000,
                                          "limits.publish_burst": 1000000}, ssl=authority.context())
    channel = fresh("room:")
    clients = [join(server) for _ in range(20)]
    for one in clients:
        one.request("subscribe", channel=channel)
    over, published = threading.Event(), []

    def talk():
        publisher = join(server)
        while not over.is_set():
            published.append(publisher.request("publish", channel=channel, data=len(published))["offset"])

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        shown = serial_of(server)
        for kind in ["rsa", "ec", "rsa"]:
            serial = authority.issue(kind)
            before = len(published)
            server.process.send_signal(signal.SIGHUP)
            eventually(lambda: serial_of(server) == serial, "the new certificate is shown")
            assert serial != shown
            shown = serial
            eventually(lambda: len(published) > before + 20, "publishing goes on")
        # Half written, or of somebody else: told, and nothing changes.
        for spoil in [lambda: authority.cert.write_bytes(authority.cert.read_bytes()[:200]),
                      lambda: authority.key.write_text("no key"),
                      lambda: Authority(tmp_path / "other").key.rename(authority.key)]:
            spoil()
            told = len([line for line in server.log if "configuration stays as it was" in line])
            server.process.send_signal(signal.SIGHUP)
            eventually(lambda: len([line for line in server.log if "configuration stays as it was" in line]) > told,
                       "the mistake is told")
            assert serial_of(server) == shown
    finally:
        over.set()
        talker.join()
    for one in clients:
        assert [one.take("event")["offset"] for _ in published] == published
        assert one.request("whoami")["generation"] == 1
    assert server.metric("dormouse_closes_total") == 0
    assert "PRIVATE" not in "\n".join(server.log)
    server.stop()


def test_a_client_may_come_back_with_its_ticket(authority, secure):
    # After a reload too.
    context = authority.context(maximum_version=ssl.TLSVersion.TLSv1_2)
    taken = None
    for nth in range(3):
        bare = socket.create_connection(("127.0.0.1", secure.port), 10)
        with context.wrap_socket(bare, server_hostname="127.0.0.1", session=taken) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert to_the_end(connection).startswith(b"HTTP/1.1 200")
            assert connection.session_reused == (nth > 0)
            taken = taken or connection.session
        secure.process.send_signal(signal.SIGHUP)


def test_whoever_does_not_speak_tls_is_told_in_words_he_can_read(secure):
    with socket.create_connection(("127.0.0.1", secure.port), 10) as bare:
        bare.sendall(b"GET /v1/gateway HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = to_the_end(bare)
    head, _, sentence = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"https://" in sentence
    assert f"content-length: {len(sentence)}".encode() in head


@pytest.mark.parametrize("rubbish", [b"\x16\x03\x01\x00\x05hello", b"\x16" * 20_000, b"\x16\x03\x01\xff\xff" + b"\0" * 70_000])
def test_rubbish_instead_of_a_handshake_ends_its_own_connection(secure, join, rubbish):
    witness = join(secure)
    with socket.create_connection(("127.0.0.1", secure.port), 10) as bare:
        try:
            bare.sendall(rubbish)
        except (ConnectionResetError, BrokenPipeError):
            pass
        to_the_end(bare)
    assert witness.request("whoami")["generation"] == 1


def test_rubbish_behind_a_handshake_ends_its_own_connection(secure, join):
    witness, one = join(secure), join(secure)
    before = secure.metric("dormouse_closes_total", code="1006")
    bare = socket.socket(fileno=one.ws.socket.detach())
    bare.sendall(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
    to_the_end(bare)
    bare.close()
    eventually(lambda: secure.metric("dormouse_closes_total", code="1006") > before, "it is closed as lost")
    assert witness.request("whoami")["generation"] == 1


def test_a_handshake_that_never_ends_costs_a_place_for_a_few_seconds(secure, join):
    hello = ssl.MemoryBIO()
    conversation = secure.ssl.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="127.0.0.1")
    try:
        conversation.do_handshake()
    except ssl.SSLWantReadError:
        pass
    first = hello.read()
    slow = [socket.create_connection(("127.0.0.1", secure.port), 10) for _ in range(50)]
    for nth, bare in enumerate(slow):
        bare.settimeout(20)
        bare.sendall(first[:nth * 3])
    # Others are served meanwhile.
    assert join(secure).request("whoami")["generation"] == 1
    for bare in slow:
        assert to_the_end(bare) == b""
        bare.close()


def test_the_end_of_a_connection_is_said(secure):
    echo = Client(secure, path="/v1/echo", offer=None)
    echo.ws.send("last words")
    assert echo.ws.recv(timeout=10) == "last words"
    echo.ws.close()
    assert echo.ws.close_code == 1000
    # Behind the close frame stands a close_notify: an end without one would be an error of this library.
    bare = socket.create_connection(("127.0.0.1", secure.port), 10)
    with secure.ssl.wrap_socket(bare, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert to_the_end(connection).startswith(b"HTTP/1.1 200")


def test_the_command_line_speaks_tls_too(authority, secure):
    def run(*arguments):
        return subprocess.run([binary(), *arguments], capture_output=True, text=True, timeout=30)

    done = run("publish", "room:cli", "1", "--url", secure.url("http"), "--ca", str(authority.ca))
    assert done.returncode == 0 and "at offset 1" in done.stdout, done.stderr
    refused = run("publish", "room:cli", "1", "--url", secure.url("http"))
    assert refused.returncode != 0 and "--ca" in refused.stderr, refused.stderr


def test_mistakes_in_the_files_are_told_before_anything_starts(tmp_path):
    one, other = Authority(tmp_path / "one"), Authority(tmp_path / "other")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    cases = [
        ({"listen.tls.cert": str(one.cert)}, "listen.tls.key"),
        ({"listen.tls.key": str(one.key)}, "listen.tls.cert"),
        ({"listen.tls.cert": str(one.cert), "listen.tls.key": str(other.key)}, "is not the key of"),
        ({"listen.tls.cert": str(one.key), "listen.tls.key": str(one.key)}, "holds no certificate"),
        ({"listen.tls.cert": str(one.cert), "listen.tls.key": str(one.cert)}, "holds no private key"),
        ({"listen.tls.cert": str(empty), "listen.tls.key": str(one.key)}, "holds no certificate"),
        ({"listen.tls.cert": "/nowhere.pem", "listen.tls.key": str(one.key)}, "/nowhere.pem: cannot be read"),
    ]
    for settings, sentence in cases:
        flags = [flag for key, value in settings.items() for flag in ("--set", f"{key}={value}")]
        done = subprocess.run([binary(), "check", *flags], capture_output=True, text=True, timeout=30)
        assert done.returncode == 2 and sentence in done.stderr, (settings, done.stderr)
    good = [flag for key, value in one.settings().items() for flag in ("--set", f"{key}={value}")]
    done = subprocess.run([binary(), "check", *good], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "TLS" in done.stdout, done.stdout + done.stderr


def memory_of(server) -> int:
    """Bytes of the process, shared ones in part."""
    with open(f"/proc/{server.process.pid}/smaps_rollup", encoding="utf8") as rollup:
        return next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))


def test_an_idle_connection_keeps_its_keys_and_no_buffer(tmp_path):
    """Printed: what a connection costs in user space beyond one without TLS."""
    authority = Authority(tmp_path / "authority")
    costs = []
    for settings, context in [({}, None), (authority.settings(), authority.context(threads=False))]:
        server = Server(tmp_path / f"server{len(costs)}", settings, ssl=context)
        opened = []

        def dial(count, server=server, context=context, opened=opened):
            for _ in range(count):
                bare = socket.create_connection(("127.0.0.1", server.port), 10)
                link = context.wrap_socket(bare, server_hostname="127.0.0.1") if context else bare
                link.sendall(b"GET /v1/gateway?token=ann&subscribe=room:x HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                             b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
                opened.append(link)
            for link in opened[-count:]:
                got = b""
                while b'"op":"ready"' not in got:
                    got += link.recv(65536)

        dial(300)
        before = memory_of(server)
        dial(2000)
        eventually(lambda: server.node()["connections"]["dormant"] == 2300, "all sleep")
        costs.append((memory_of(server) - before) / 2000)
        for link in opened:
            link.close()
        server.stop()
    plain, secure = costs
    print(f"bytes of an idle connection: {plain:.0f} without TLS, {secure:.0f} with it")
    assert secure - plain < 6000


def test_tls_handshakes_come_at_a_bounded_rate(authority, start):
    """A socket that is turned away costs no key exchange."""
    server = start({**authority.settings(), "limits.handshakes_per_second": 10}, ssl=authority.context())

    def secured() -> bool:
        try:
            return bool(serial_of(server))
        except OSError:
            return False

    # Over one connection, which is kept.
    assert server.http.get("/health/live").status_code == 200
    outcomes = [secured() for _ in range(60)]
    assert all(outcomes[:8]) and not all(outcomes)
    eventually(secured, "a second later there is room")
    assert server.metric("dormouse_handshakes_total", result="too_many_at_once") > 0
