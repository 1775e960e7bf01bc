from __future__ import annotations

import os
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from imip_secrets.errors import StoreError
from imip_secrets.stores.aws import failure as aws_failure
from imip_secrets.stores.aws import transport as aws_transport
from imip_secrets.stores.aws.transport import trust
from imip_secrets.stores.base import Target
from stand_ins import tls
from stand_ins.aws_script import Run, secret
from stand_ins.faults import FaultServer, answer, html_answer, huge, short, slow
from stand_ins.time_up import end_at, end_in

if TYPE_CHECKING:
    from pathlib import Path

    from stand_ins.faults import Request, Step

TARGET = Target("imip/production")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_failure, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(aws_failure, "LONGEST_WAIT_SECONDS", 0.002)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority() -> tls.Authority:
    return tls.Authority()


def test_an_answer_that_is_cut_short_is_tried_again() -> None:
    with Run(short(secret("whole"), 3), secret("whole")) as run:
        assert run.logged_in().fetch(TARGET).value.reveal() == "whole"
        assert len(run.reads) == 2


def test_an_answer_that_is_always_cut_short_is_an_error() -> None:
    with Run(short(secret("whole"), 3)) as run:
        store = run.logged_in()
        end_at(run.server, 3, run.context.deadline)
        with pytest.raises(StoreError) as caught:
            store.fetch(TARGET)
    assert "the connection to 127.0.0.1:" in str(caught.value)
    assert "whole" not in str(caught.value)


def test_an_answer_without_end_is_not_read() -> None:
    with Run(huge()) as run:
        with pytest.raises(StoreError, match="gave an answer of more than 8 MiB"):
            run.logged_in().fetch(TARGET)
        assert len(run.reads) == 2


def test_a_web_page_is_told_as_one() -> None:
    with Run(html_answer()) as run, pytest.raises(StoreError) as caught:
        run.logged_in().fetch(TARGET)
    assert "answered with a web page instead of AWS's data" in str(caught.value)
    assert "Check what answers there: a proxy" in str(caught.value)


def test_an_answer_that_trickles_in_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_transport, "CONNECT_SECONDS", 0.1)
    with Run(slow(secret("x" * 10_000), 50)) as run:
        store = run.logged_in()
        end_in(run.context.deadline, 1.0)
        started = time.monotonic()
        with pytest.raises(StoreError, match="did not answer"):
            store.fetch(TARGET)
    # The whole answer would take three minutes.
    assert time.monotonic() - started < 100


def test_silence_is_tried_again_and_told_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_time(_: Request) -> bool:
        """Let the next try wait as long as it needs; that of this request has 0.2 s, and no more."""
        monkeypatch.setattr(aws_transport, "READ_SECONDS", 100.0)
        return True

    with Run(secret("there")) as run:
        store = run.logged_in()
        monkeypatch.setattr(aws_failure, "SILENCE_SECONDS", 0.0)
        monkeypatch.setattr(aws_transport, "READ_SECONDS", 0.2)
        run.server.script("hang", when=give_time)
        assert store.fetch(TARGET).value.reveal() == "there"
    (line,) = run.notices
    assert line.startswith("AWS: 127.0.0.1:")
    assert "did not answer within 1 s; try 2 follows in 0 s" in line


def test_connections_are_used_again() -> None:
    with Run() as run:
        store = run.logged_in()
        connected: list[object] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket.socket, "connect", lambda _, address: connected.append(address))
            for _ in range(5):
                store.fetch(TARGET)
        assert connected == []


# --- TLS


def test_an_authority_that_is_given_is_trusted(authority: tls.Authority) -> None:
    with Run(secret("there"), tls=authority.good(), ca_certificate=authority.pem) as run:
        assert run.logged_in().fetch(TARGET).value.reveal() == "there"


@pytest.mark.parametrize("kind", ["unknown", "wrong_host", "expired", "outdated", "self_signed"])
def test_a_server_that_cannot_be_verified_gets_nothing(authority: tls.Authority, kind: str) -> None:
    contexts = {"unknown": tls.Authority().good, "self_signed": tls.self_signed}
    server = contexts.get(kind) or getattr(authority, kind)
    with Run(tls=server(), ca_certificate=authority.pem) as run:
        with pytest.raises(StoreError) as caught:
            run.store.login()
        assert run.server.requests == []
        assert run.audiences == ["sts.amazonaws.com"]
    expected = "does not speak TLS as it should" if kind == "outdated" else "cannot be verified"
    assert expected in str(caught.value)
    assert "tries in" not in str(caught.value)
    if kind != "outdated":
        assert "the input ca-certificate" in str(caught.value)


def test_the_certificates_are_read_once_for_all_connections(authority: tls.Authority) -> None:
    loads: list[object] = []

    class Counted(ssl.SSLContext):
        def load_verify_locations(self, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:  # noqa: ANN401  # passed on
            loads.append(cafile or capath or cadata)
            super().load_verify_locations(cafile, capath, cadata)

    with pytest.MonkeyPatch.context() as patch, Run(tls=authority.good(), ca_certificate=authority.pem) as run:
        patch.setattr(ssl, "create_default_context", lambda: Counted(ssl.PROTOCOL_TLS_CLIENT))
        store = run.logged_in()
        store.fetch(TARGET)
        run.server._server.end_connections()
        store.fetch(TARGET)
    assert len(loads) == 2  # botocore's, for this context starts without any, and the given one


@pytest.mark.parametrize("pem", ["no certificate", "-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----"])
def test_a_certificate_that_is_none_is_an_error_that_names_the_input(pem: str) -> None:
    with pytest.raises(StoreError) as caught:
        trust(pem, None)
    assert "the input ca-certificate holds no certificate that can be used" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_bundle_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        trust("", str(tmp_path / "none.pem"))
    assert "none.pem (AWS_CA_BUNDLE) holds no certificate that can be used (No such file" in str(caught.value)


def test_a_bundle_of_the_environment_counts_where_the_environment_does(
    authority: tls.Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(authority.pem)
    names = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    for name in names:
        for other in names:
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, str(bundle))
        with Run(tls=authority.good(), ambient=True) as run:
            run.store.login()
        with Run(tls=authority.good()) as run, pytest.raises(StoreError, match="cannot be verified"):
            run.store.login()


def test_a_system_without_authorities_has_those_of_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert trust("", None).cert_store_stats()["x509_ca"] > 100


# --- the way there


def look_up(error: int, monkeypatch: pytest.MonkeyPatch, asked: list[object] | None = None) -> list[object]:
    """Have every look-up of a name fail; return what is looked up."""
    asked = [] if asked is None else asked

    def fail(host: object, *_: object, **__: object) -> NoReturn:
        asked.append(host)
        raise socket.gaierror(error, "made up")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    return asked


def test_a_host_that_is_not_known_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = look_up(socket.EAI_NONAME, monkeypatch)
    with Run(url="", aws_region="eu-west-9") as run, pytest.raises(StoreError) as caught:
        run.store.login()
    assert asked == ["sts.eu-west-9.amazonaws.com"]
    assert "the host sts.eu-west-9.amazonaws.com is not known. Check the region" in str(caught.value)


def test_a_proxy_that_is_not_known_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = look_up(socket.EAI_NONAME, monkeypatch)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    with Run(url="") as run, pytest.raises(StoreError) as caught:
        run.store.login()
    assert asked == ["proxy.example.com"]
    assert "the proxy of HTTPS_PROXY did not connect to sts.us-east-1.amazonaws.com (made up)" in str(caught.value)


def test_names_that_cannot_be_looked_up_now_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(url="") as run:

        class Asked(list[object]):
            """Ends the time of the run at the third look-up."""

            def append(self, host: object) -> None:
                super().append(host)
                if len(self) == 3:
                    end_in(run.context.deadline, 0)

        asked = look_up(socket.EAI_AGAIN, monkeypatch, Asked())
        with pytest.raises(StoreError, match="could not be looked up"):
            run.store.login()
    assert len(asked) > 2


def test_a_port_where_nothing_listens_is_told_with_the_systems_words() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with Run(url=url, seconds=0.4) as run, pytest.raises(StoreError) as caught:
            run.store.login()
    assert "(Connection refused)" in str(caught.value)
    assert "Check that this machine may reach it" in str(caught.value)


@pytest.mark.parametrize(
    ("step", "tries", "words"),
    [
        (answer(403), 1, "(Tunnel connection failed: 403 Scripted)"),
        (answer(407), 1, "(Tunnel connection failed: 407 Scripted)"),
        ("reset", 3, "the proxy of HTTPS_PROXY did not connect to sts.us-east-1.amazonaws.com"),
    ],
)
def test_the_proxy_of_the_environment_is_used_and_blamed(
    step: Step, tries: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(step) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:pass%40word@"))
        with Run(url="") as run:
            if tries > 1:
                end_at(proxy, tries, run.context.deadline)
            with pytest.raises(StoreError) as caught:
                run.store.login()
        assert len(proxy.requests) >= tries
        assert {request.method for request in proxy.requests} == {"CONNECT"}
        assert {request.headers.get("proxy-authorization") for request in proxy.requests} == {
            "Basic dXNlcjpwYXNzQHdvcmQ="
        }
    if tries == 1:
        assert len(proxy.requests) == 1
        assert words in str(caught.value)
    assert "pass" not in str(caught.value)


def test_a_proxy_needs_no_scheme_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer(answer(403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.removeprefix("http://"))
        with Run(url="") as run, pytest.raises(StoreError, match="Tunnel connection failed"):
            run.store.login()
        assert "proxy-authorization" not in proxy.requests[0].headers


@pytest.mark.parametrize("proxy", ["ftp://user:canary@127.0.0.1", "http://user:canary@[", "http://:1:2:3"])
def test_a_proxy_that_is_no_address_is_told_without_it(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with Run(url="") as run, pytest.raises(StoreError, match="HTTPS_PROXY holds no address") as caught:
        run.store.login()
    assert "canary" not in str(caught.value)


def test_no_proxy_is_used_for_an_excepted_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = look_up(socket.EAI_NONAME, monkeypatch)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", ".amazonaws.com")
    with Run(url="") as run, pytest.raises(StoreError):
        run.store.login()
    assert asked == ["sts.us-east-1.amazonaws.com"]


@pytest.mark.parametrize("secure", [True, False])
def test_no_proxy_is_used_for_loopback(authority: tls.Authority, monkeypatch: pytest.MonkeyPatch, secure: bool) -> None:  # noqa: FBT001  # a case
    with FaultServer(answer(403)) as proxy:
        for name in ("HTTPS_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        with Run(tls=authority.good() if secure else None, ca_certificate=authority.pem) as run:
            run.logged_in().fetch(TARGET)
        assert proxy.requests == []


def test_nothing_is_left_on_disk(authority: tls.Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with Run(tls=authority.good(), ca_certificate=authority.pem) as run:
        run.logged_in().fetch(TARGET)
        assert os.listdir(tmp_path) == []  # noqa: PTH208  # names are enough
