"""One exchange with GitHub: whole, bounded, nowhere else; and every way in which there is no answer."""

from __future__ import annotations

import gzip
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from imip_secrets.deadline import Deadline
from imip_secrets.errors import StoreError
from imip_secrets.sync import transport
from imip_secrets.sync.broken import TRIES, Fault, broken
from imip_secrets.sync.transport import Connection, Transport
from stand_ins.faults import Answer, FaultServer, answer, json_answer, redirect, short, slow
from stand_ins.tls import Authority

if TYPE_CHECKING:
    from stand_ins.faults import Step

PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "READ_SECONDS", 0.5)
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.5)


def ask(url: str, ca: str = "", body: str | None = None, path: str = "/x") -> transport.Reply:
    link = Transport(url, ca, 2)
    try:
        return link.exchange("PUT" if body else "GET", path, {"A": "b"}, body, Deadline(30))
    finally:
        link.close()


def fault(*steps: Step) -> Fault:
    with FaultServer(*steps) as server, pytest.raises(Fault) as caught:
        ask(server.url)
    return caught.value


def test_a_request_is_sent_as_it_is_and_the_answer_read_to_its_end() -> None:
    with FaultServer(json_answer({"ok": 1}, 201)) as server:
        reply = ask(server.url, body='{"a": "é"}', path="/a%2Fb?c=d")
        sent = server.requests[0]
    assert (reply.status, reply.body, reply.headers["content-type"]) == (201, b'{"ok": 1}', "application/json")
    assert (sent.method, sent.target, sent.body, sent.headers["a"]) == ("PUT", "/a%2Fb?c=d", '{"a": "é"}'.encode(), "b")


def test_a_connection_is_used_again() -> None:
    with FaultServer(json_answer({})) as server:
        link = Transport(server.url, "", 2)
        for _ in range(3):
            link.exchange("GET", "/", {}, None, Deadline(100))
        assert link._pool is not None
        assert link._pool.pools._container.popitem()[1].num_connections == 1
        link.close()


def test_a_packed_answer_is_unpacked() -> None:
    packed = Answer(200, {"Content-Encoding": "gzip"}, gzip.compress(b'{"a": 1}' + b" " * 100_000))
    with FaultServer(packed) as server:
        assert ask(server.url).body.strip() == b'{"a": 1}'


def test_a_redirect_is_not_followed() -> None:
    with FaultServer(json_answer({})) as elsewhere, FaultServer(redirect(elsewhere.url, 301)) as server:
        assert ask(server.url).status == 301
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ("reset", "the connection failed (Connection reset by peer)"),
        ("close", "the connection failed (RemoteDisconnected)"),
        (short(json_answer({"a": 1})), "the connection failed (IncompleteRead)"),
        (Answer(200, {"Content-Encoding": "gzip"}, b"no gzip"), "the connection failed (error)"),
    ],
)
def test_what_breaks_off_is_told_and_worth_more_tries(step: Step, what: str) -> None:
    found = fault(step)
    assert (found.what, found.tries) == (what, TRIES)
    assert found.remedy


@pytest.mark.usefixtures("quick")
def test_silence_ends() -> None:
    assert fault("hang").what == "no answer within 1 s"


@pytest.mark.usefixtures("quick")
def test_an_answer_that_trickles_in_ends() -> None:
    assert fault(slow(json_answer("x" * 4000), 400)).what == "its answer came in too slowly"


def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ANSWER_LIMIT", 1 << 20)
    found = fault(answer(200, "x" * (2 << 20)))
    assert (found.what, found.tries) == ("it answered with more than 1 MiB", 1)
    bomb = Answer(200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(8 << 20)))
    assert fault(bomb).what == "it answered with more than 1 MiB"


def test_nobody_there() -> None:
    with FaultServer(answer(200)) as server:
        pass
    with pytest.raises(Fault, match=r"^the connection failed \(Connection refused\)$"):
        ask(server.url)


def test_a_host_that_is_not_known() -> None:
    with pytest.raises(Fault) as caught:
        ask("https://nobody.invalid")
    assert caught.value.what in {"no host by this name is known", "its name could not be looked up just now"}


def test_a_name_that_cannot_be_looked_up_just_now_is_worth_another_try() -> None:
    unknown, later = (broken(OSError(socket.gaierror(code, "x")), 5) for code in (socket.EAI_NONAME, socket.EAI_AGAIN))
    assert (unknown.tries, later.tries) == (1, TRIES)
    assert later.what == "its name could not be looked up just now"


def test_the_deadline_bounds_every_wait() -> None:
    with FaultServer("hang") as server, pytest.raises(Fault):
        Transport(server.url, "", 1).exchange("GET", "/", {}, None, Deadline(0.1))


def test_tls_with_an_authority_of_one_s_own(authority: Authority) -> None:
    with FaultServer(json_answer({}), tls=authority.good()) as server:
        assert ask(server.url, authority.pem).status == 200


@pytest.mark.parametrize("kind", ["wrong_host", "expired"])
def test_a_bad_certificate_is_refused_at_once(authority: Authority, kind: str) -> None:
    context: ssl.SSLContext = getattr(authority, kind)()
    with FaultServer(json_answer({}), tls=context) as server, pytest.raises(Fault) as caught:
        ask(server.url, authority.pem)
    assert caught.value.what.startswith("its certificate cannot be verified (")
    assert "ca-certificate" in caught.value.remedy
    assert caught.value.tries == 1
    assert server.requests == []


def test_an_authority_that_is_not_trusted_is_refused(authority: Authority) -> None:
    with FaultServer(json_answer({}), tls=authority.good()) as server, pytest.raises(Fault, match="verified"):
        ask(server.url)


def test_tls_of_another_age_and_no_tls_at_all(authority: Authority) -> None:
    with FaultServer(json_answer({}), tls=authority.outdated()) as server, pytest.raises(Fault) as caught:
        ask(server.url, authority.pem)
    assert caught.value.what.startswith("it does not speak TLS as it should (")
    with FaultServer(json_answer({})) as server, pytest.raises(Fault, match="does not speak TLS"):
        ask(server.url.replace("http:", "https:"))


@pytest.mark.parametrize("pem", ["nonsense", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----", "é"])
def test_a_ca_certificate_that_is_none_is_told(pem: str) -> None:
    with pytest.raises(StoreError, match="ca-certificate holds no certificate that can be used"):
        Transport("https://api.github.com", pem, 1)


def test_a_machine_without_authorities_takes_those_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert transport.trust("").cert_store_stats()["x509_ca"] > 50


@pytest.mark.parametrize("address", ["{}", "http://{}"])
def test_a_proxy_is_used_with_its_password(authority: Authority, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer(answer(407)) as proxy:
        where = address.format(f"me:s%40fe@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("HTTPS_PROXY", where)
        with pytest.raises(Fault) as caught:
            ask("https://github.example", authority.pem)
        sent = proxy.requests[0]
    assert (sent.method, sent.target) == ("CONNECT", "github.example:443")
    assert sent.headers["proxy-authorization"] == "Basic bWU6c0BmZQ=="
    found = caught.value
    assert found.what.startswith("the proxy of HTTPS_PROXY did not connect to it (Tunnel connection failed: 407")
    assert found.tries == 1
    assert "s%40fe" not in f"{found.what}{found.remedy}"


def test_a_proxy_that_is_not_there_is_told_from_a_host_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    with pytest.raises(Fault, match="the proxy of HTTPS_PROXY did not connect to it"):
        ask("https://github.example")


def test_no_proxy_excepts_a_host_and_loopback_is_never_proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:1")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:1")
    with FaultServer(json_answer({})) as server:
        assert ask(server.url).status == 200
    monkeypatch.setenv("NO_PROXY", ".invalid")
    with pytest.raises(Fault) as caught:
        ask("https://github.invalid")
    assert "proxy" not in caught.value.what


@pytest.mark.parametrize("proxy", ["http://[", "ftp://proxy.example", "http://me:secret@"])
def test_a_proxy_that_is_no_address_is_told_and_not_shown(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(Fault) as caught:
        ask("https://github.example")
    assert "proxy" in caught.value.what.lower()
    assert "secret" not in caught.value.what


def test_pygithub_learns_of_a_redirect_and_of_a_promise_only_that_they_are_no_failure() -> None:
    steps = [(200, 200), (204, 200), (202, 200), (301, 200), (404, 404), (500, 500)]
    with FaultServer(*(answer(status) for status, _ in steps), answer(200)) as server:
        link = Transport(server.url, "", 1)
        for status, told in steps:
            connection = Connection(link, Deadline(100))
            connection.request("GET", "/", None, {"X-Number": "1"})
            response = connection.getresponse()
            assert (response.status, response.getheaders(), response.read()) == (told, [], "")
            assert connection.reply.status == status
        link.close()
    assert {request.headers["accept"] for request in server.requests} == {"application/vnd.github+json"}
