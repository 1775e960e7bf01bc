from __future__ import annotations

import gzip
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from imip_secrets.errors import MissingError, StoreError
from imip_secrets.stores.base import Target
from imip_secrets.stores.vault import connections as vault_connections
from imip_secrets.stores.vault import transport as vault_transport
from stand_ins.faults import (
    Answer,
    FaultServer,
    answer,
    bad_json,
    html_answer,
    huge,
    json_answer,
    redirect,
    short,
    slow,
)
from stand_ins.time_up import end_in
from stand_ins.tls import Authority
from stand_ins.vault_script import CLIENT_TOKEN, Caller, NoTime, Quick, ScriptedVault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from imip_secrets.stores.vault import VaultStore
    from stand_ins.faults import Request, Step

SECRETS = {"secret/a": '{"K": "v"}', "kv/old": '{"K": "v"}'}
DYNAMIC = json_answer({"lease_id": "l", "lease_duration": 60, "data": {"u": "x"}})
READ = Target("secret/a")
CREDS = Target("database/creds/app")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def server() -> Iterator[ScriptedVault]:
    with ScriptedVault(SECRETS, {"database/creds/app": DYNAMIC}) as running:
        yield running


@pytest.fixture
def told(server: ScriptedVault) -> Caller:
    return Caller({"vault-addr": server.url, "vault-role": "r"})


@pytest.fixture
def store(told: Caller) -> Iterator[VaultStore]:
    opened = told.store()
    opened.login()
    yield opened
    kept = opened.close()
    if kept:
        kept.leave()


def is_read(request: Request) -> bool:
    return request.method == "GET" and "ui/mounts" not in request.path


def reads(server: FaultServer) -> int:
    return sum(map(is_read, server.requests))


def failure(store: VaultStore, target: Target = READ) -> str:
    with pytest.raises(StoreError) as caught:
        store.fetch(target)
    assert not isinstance(caught.value, MissingError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def waits(told: Caller) -> list[float]:
    assert isinstance(told.deadline, Quick)
    return told.deadline.waits


PASSING: list[Step] = [answer(status) for status in (412, 429, 472, 473, 500, 502, 503, 504)]
PASSING += ["reset", "close", short(json_answer({"data": {"data": {"K": "v"}}}), 5)]


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_what_passes_is_tried_again(server: ScriptedVault, store: VaultStore, fault: Step) -> None:
    server.script(fault, fault, when=is_read)
    assert store.fetch(READ).value.reveal() == '{"K":"v"}'
    assert reads(server) == 3


def test_tries_end_and_are_counted(server: ScriptedVault, store: VaultStore, told: Caller) -> None:
    resets: list[Step] = ["reset"] * 9
    server.script(*resets, when=is_read)
    said = failure(store)
    assert said.startswith(f"Vault at {server.url}: the connection broke off (")
    assert "(6 tries)" in said
    assert reads(server) == 6
    assert len(waits(told)) == 5


def test_the_waits_have_full_jitter_and_a_ceiling(server: ScriptedVault, store: VaultStore, told: Caller) -> None:
    for _ in range(12):
        server.script(*[answer(502)] * 6, when=is_read)
        failure(store)
    ceilings = [1, 2, 4, 8, 8]
    every = [waits(told)[start : start + 5] for start in range(0, 60, 5)]
    assert all(wait <= ceiling for run in every for wait, ceiling in zip(run, ceilings, strict=True))
    assert len({round(run[0], 6) for run in every}) > 6


@pytest.mark.parametrize(
    ("header", "least"), [("3", 3.0), ("3600", 20.0), ("soon", 0.0), ("-1", 0.0), ("9" * 400, 0.0)]
)
def test_retry_after_is_honoured_up_to_a_limit(
    server: ScriptedVault, store: VaultStore, told: Caller, header: str, least: float
) -> None:
    server.script(answer(429, Retry_After=header), when=is_read)
    store.fetch(READ)
    assert least <= waits(told)[0] <= max(least, 1.0)


def test_no_wait_passes_the_deadline(server: ScriptedVault) -> None:
    told = Caller({"vault-addr": server.url, "vault-role": "r"}, deadline=NoTime())
    opened = told.store()
    opened.login()
    server.script(*[answer(429, Retry_After="3")] * 9, when=is_read)
    assert "asked too often" in failure(opened)
    assert reads(server) == 1
    opened.close()


@pytest.mark.parametrize("fault", [answer(412), answer(429), answer(472), answer(473)], ids=str)
def test_dynamic_credentials_are_asked_for_again_while_vault_has_not_begun(
    server: ScriptedVault, store: VaultStore, fault: Step
) -> None:
    server.script(fault, when=is_read)
    assert store.fetch(CREDS).lease is not None
    assert reads(server) == 2


ONCE: list[Step] = [
    "reset",
    "close",
    short(DYNAMIC, 3),
    html_answer(),
    answer(500),
    answer(502),
    answer(503),
    answer(504),
]


@pytest.mark.parametrize("fault", ONCE, ids=str)
def test_dynamic_credentials_are_asked_for_once_when_vault_may_have_begun(
    server: ScriptedVault, store: VaultStore, fault: Step
) -> None:
    server.script(fault, when=is_read)
    said = failure(store, CREDS)
    assert sum("creds" in request.path and is_read(request) for request in server.requests) == 1
    if not isinstance(fault, Answer) or fault.status == 200:
        assert "It was not asked again, since each time may make new credentials." in said


@pytest.mark.parametrize(
    ("fault", "said", "tries"),
    [
        (html_answer(), "something that is not Vault's JSON (a proxy or captive portal?)", 2),
        (bad_json(), "not Vault's JSON", 2),
        (json_answer([1, 2]), "not Vault's JSON", 2),
        (answer(200), "not Vault's JSON", 2),
        (Answer(200, {}, b"\xff\xfe"), "not Vault's JSON", 2),
        (Answer(200, {}, b'{"data": {"K": "s3cret", "K": 1}}'), 'the key "K" stands twice', 1),
    ],
)
def test_what_is_not_vaults_json_is_an_error(
    server: ScriptedVault, store: VaultStore, fault: Step, said: str, tries: int
) -> None:
    server.script(*[fault] * 9, when=is_read)
    text = failure(store)
    assert said in text
    assert "s3cret" not in text
    assert reads(server) == tries


def test_a_compressed_answer_is_not_asked_for(server: ScriptedVault, store: VaultStore) -> None:
    server.script(*[Answer(200, {"Content-Encoding": "gzip"}, gzip.compress(b"{}"))] * 2, when=is_read)
    assert "not Vault's JSON" in failure(store)
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}


def test_a_huge_answer_is_not_read_to_its_end(server: ScriptedVault, store: VaultStore) -> None:
    server.script(huge(), when=is_read)
    assert "answered with more than 8 MiB" in failure(store)
    assert reads(server) == 1


def test_a_chunked_answer_is_read_and_a_cut_one_is_not(server: ScriptedVault, store: VaultStore) -> None:
    headers = {"Transfer-Encoding": "chunked"}
    body = b'{"data": {"K": "v"}}'
    whole = Answer(200, headers, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    cut = Answer(200, headers, b"%x\r\n%s" % (len(body), body[:9]), missing=1)
    server.script(cut, whole, when=is_read)
    assert store.fetch(Target("kv/old")).value.reveal() == '{"K":"v"}'
    assert reads(server) == 2


def test_a_cut_answer_is_called_that(server: ScriptedVault, store: VaultStore) -> None:
    server.script(*[short(json_answer({"data": {"K": "v"}}), 3)] * 9, when=is_read)
    assert "its answer was cut off (6 tries)" in failure(store, Target("kv/old"))


def test_a_silent_server_is_given_up(server: ScriptedVault, store: VaultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.fetch(READ)  # which looks up the mount
    monkeypatch.setattr(vault_transport, "READ_SECONDS", 0.1)
    monkeypatch.setattr(vault_transport, "TRIES", 2)
    server.script("hang", "hang", when=is_read)
    assert "no answer within 15 s (2 tries)" in failure(store)


def test_a_body_that_trickles_in_ends_with_the_deadline(server: ScriptedVault) -> None:
    told = Caller({"vault-addr": server.url, "vault-role": "r"}, deadline=(deadline := Quick(99)))
    opened = told.store()
    opened.login()
    opened.fetch(Target("kv/old"))

    def last_moments(request: Request) -> bool:
        end_in(deadline, 1.0)
        return is_read(request)

    # The whole answer would take a thousand seconds.
    server.script(slow(json_answer({"data": {"K": "v" * 100_000}}), 100), when=last_moments)
    said = failure(opened, Target("kv/old"))
    assert "its answer came in too slowly" in said
    assert "timeout-seconds (99) is over" in said
    opened.close()


def test_a_long_wait_says_what_is_waited_for(
    server: ScriptedVault, store: VaultStore, told: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_transport, "_SAY_AGAIN", 100.0)
    server.script(answer(502), when=is_read)
    store.fetch(READ)
    assert told.notices == []
    monkeypatch.setattr(vault_transport, "_SAY_AGAIN", 0.0)
    server.script(answer(502), "reset", when=is_read)
    store.fetch(READ)
    assert told.notices[0] == f"waiting for Vault at {server.url}: it answers 502; trying again"
    assert "the connection broke off" in told.notices[1]


def test_many_threads_say_it_once(
    server: ScriptedVault, store: VaultStore, told: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    monkeypatch.setattr(vault_transport, "_SAY_AGAIN", 1000.0)
    client = store._client.result()
    client._transport.patience._said -= 1000
    server.script(*[answer(502)] * 5, when=is_read)
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(store.fetch, [READ] * 32))
    assert len(told.notices) == 1


def test_a_closed_port_is_tried_again_and_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    told = Caller({"vault-addr": address, "vault-role": "r"})
    with pytest.raises(StoreError, match=r"it cannot be reached \(.*\) \(6 tries\)\. Is it running"):
        told.store().login()


@pytest.mark.parametrize(
    ("number", "said", "tries"),
    [(socket.EAI_NONAME, "no host by the name vault.invalid is known", 1), (socket.EAI_AGAIN, "looked up just now", 6)],
)
def test_a_name_that_is_unknown_is_told_from_one_that_cannot_be_looked_up(
    monkeypatch: pytest.MonkeyPatch, number: int, said: str, tries: int
) -> None:
    asked = []

    def look_up(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(number, "as the resolver says")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    told = Caller({"vault-addr": "https://vault.invalid", "vault-role": "r"})
    with pytest.raises(StoreError, match=said):
        told.store().login()
    assert asked == ["vault.invalid"] * tries


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_an_address_that_cannot_be_one_is_tried_once(host: str) -> None:
    told = Caller({"vault-addr": f"https://{host}", "vault-role": "r"})
    with pytest.raises(StoreError, match=r"the address cannot be used\."):
        told.store().login()
    assert waits(told) == []


def test_no_connection_in_time_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", connect)
    told = Caller({"vault-addr": "https://vault.invalid", "vault-role": "r"})
    with pytest.raises(StoreError, match=r"no connection within 5 s \(6 tries\)\. .*firewall"):
        told.store().login()


@pytest.fixture
def standby(authority: Authority) -> Iterator[FaultServer]:
    """A standby that sends everybody to :attr:`leader`, with the same path."""
    with FaultServer(
        handler=lambda request: redirect(f"{LEADER[0]}{request.target}", 307), tls=authority.good()
    ) as running:
        yield running


LEADER = [""]


def through(address: str, authority: Authority) -> str:
    """Log in and read; give the value, or the error."""
    told = Caller({"vault-addr": address, "vault-role": "r", "vault-ca-certificate": authority.pem})
    opened = told.store()
    try:
        opened.login()
        return opened.fetch(Target("secret/a", version="1")).value.reveal()
    except StoreError as error:
        return str(error)
    finally:
        opened.close()


@pytest.mark.parametrize("status", [307, 308])
def test_the_hop_from_a_standby_to_its_leader_is_made(authority: Authority, status: int) -> None:
    with ScriptedVault(SECRETS, tls=authority.good()) as leader:
        hop = FaultServer(
            handler=lambda request: redirect(f"{leader.url}{request.target}", status), tls=authority.good()
        )
        with hop:
            assert through(hop.url, authority) == '{"K":"v"}'
        assert leader.requests[-1].path.endswith("revoke-self")
        assert leader.requests[0].body


def test_there_is_no_second_hop(authority: Authority, standby: FaultServer) -> None:
    LEADER[0] = standby.url
    assert "a second time, which is not followed" in through(standby.url, authority)
    assert len(standby.requests) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "place",
    [
        "http://{host}{target}",
        "https://{host}/elsewhere",
        "https://{host}{target}&more=1",
        "https://user:pass@{host}{target}",
        "https://{host}\\@vault{target}",
        "//{host}{target}",
        "https:///v1",
        "https://[::1{target}",
        "{target}",
        "",
    ],
)
def test_no_other_redirect_is_followed(authority: Authority, status: int, place: str) -> None:
    with ScriptedVault(SECRETS) as plain, ScriptedVault(SECRETS, tls=authority.good()) as secure:
        evil = plain if place.startswith("http:") else secure
        host = evil.url.partition("//")[2]
        handler = lambda r: redirect(place.format(host=host, target=r.target), status)  # noqa: E731
        with FaultServer(handler=handler, tls=authority.good()) as server:
            said = through(server.url, authority)
            assert len(server.requests) == 1
    assert "which is not followed with a token" in said
    assert "pass@" not in said
    assert plain.requests == secure.requests == []


@pytest.mark.parametrize("status", [301, 302, 303])
def test_only_the_statuses_of_a_standby_are_followed(authority: Authority, status: int) -> None:
    with ScriptedVault(SECRETS, tls=authority.good()) as evil:
        handler = lambda r: redirect(f"{evil.url}{r.target}", status)  # noqa: E731
        with FaultServer(handler=handler, tls=authority.good()) as server:
            assert "not followed" in through(server.url, authority)
        assert evil.requests == []


def test_the_surroundings_do_not_count(
    server: ScriptedVault, store: VaultStore, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "VAULT_ADDR", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_TOKEN", "ambient-token")
    monkeypatch.setenv("VAULT_NAMESPACE", "ambient")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", f"{tmp_path}/none")
    store.fetch(READ)
    assert server.requests[-1].headers["x-vault-token"] == CLIENT_TOKEN
    assert "x-vault-namespace" not in server.requests[-1].headers
    assert "cookie" not in server.requests[-1].headers


class Proxy:
    """A proxy that connects to where it is told, or refuses."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.asked: list[str] = []
        self._refuses = refuses
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://user:s3cret@127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=[client]).start()

    def _connect(self, client: socket.socket) -> None:
        # Who asked may have gone meanwhile.
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := client.recv(4096)):
                    return
                head += piece
            target = head.split()[1].decode()
            self.asked.append(target)
            if self._refuses:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return
            port = int(target.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as upstream:
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                back = threading.Thread(target=_pump, args=[upstream, client])
                back.start()
                _pump(client, upstream)
                back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


def test_https_goes_through_the_proxy_and_the_host_is_still_verified(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedVault(SECRETS, tls=authority.good()) as server, Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "other.example")
        monkeypatch.delenv("no_proxy", raising=False)
        address = f"https://vault.example:{server.port}"
        assert "for another host than vault.example" in through(address, authority)
        assert set(proxy.asked) == {f"vault.example:{server.port}"}
        assert server.requests == []
        monkeypatch.setattr(vault_connections, "LOOPBACK", ())
        assert through(server.url, authority) == '{"K":"v"}'
        assert proxy.asked[-1] == f"127.0.0.1:{server.port}"


def test_loopback_and_exceptions_are_not_proxied(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedVault(SECRETS, tls=authority.good()) as server, Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert through(server.url, authority) == '{"K":"v"}'
        monkeypatch.setattr(vault_connections, "LOOPBACK", ())
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        assert through(server.url, authority) == '{"K":"v"}'
        assert proxy.asked == []


def test_a_proxy_that_refuses_is_named_without_its_password(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(refuses=True) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        said = through("https://vault.example", authority)
    assert "the proxy of HTTPS_PROXY did not connect to it" in said
    assert "NO_PROXY" in said
    assert "s3cret" not in said


def test_the_store_is_checked_and_opened_without_hvac_in_the_way() -> None:
    code = (
        "import sys, imip_secrets.stores.vault as v\n"
        "from imip_secrets.settings import Settings\n"
        "from imip_secrets.stores.base import Target\n"
        "list(v.check(Settings({'vault-addr': 'https://v'}), [Target('a/b')]))\n"
        "print(sorted({'hvac', 'requests', 'urllib3', 'ssl', 'http.client', 'boto3', 'tempfile'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": "src"}
    )
    assert done.stdout == "[]\n"
