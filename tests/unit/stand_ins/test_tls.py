from __future__ import annotations

import http.client
import ssl
from typing import TYPE_CHECKING

import pytest

from stand_ins.faults import FaultServer, answer
from stand_ins.tls import Authority, self_signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def get(server: FaultServer, context: ssl.SSLContext) -> int:
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60, context=context)
    try:
        connection.request("GET", "/", headers={"Authorization": "bearer x"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_good_certificate_is_trusted_with_the_authority_and_not_without() -> None:
    authority = Authority()
    with FaultServer(answer(204), tls=authority.good()) as server:
        assert get(server, ssl.create_default_context(cadata=authority.pem)) == 204
        with pytest.raises(ssl.SSLCertVerificationError):
            get(server, ssl.create_default_context())


@pytest.mark.parametrize(
    "serve", [Authority.wrong_host, Authority.expired, Authority.outdated, lambda _: self_signed()],
    ids=["wrong host", "expired", "TLS 1.1", "self-signed"],
)  # fmt: skip
def test_a_bad_server_sees_no_request(serve: Callable[[Authority], ssl.SSLContext]) -> None:
    authority = Authority()
    with FaultServer(answer(204), tls=serve(authority)) as server:
        with pytest.raises(ssl.SSLError):
            get(server, ssl.create_default_context(cadata=authority.pem))
        assert server.requests == []


def test_a_client_certificate_is_asked_for(tmp_path: Path) -> None:
    authority = Authority()
    certificate = tmp_path / "client.pem"
    certificate.write_text("".join(authority.client()))
    with_it = ssl.create_default_context(cadata=authority.pem)
    with_it.load_cert_chain(certificate)
    with FaultServer(answer(204), tls=authority.mutual()) as server:
        assert get(server, with_it) == 204
        with pytest.raises((ssl.SSLError, ConnectionError)):
            get(server, ssl.create_default_context(cadata=authority.pem))
