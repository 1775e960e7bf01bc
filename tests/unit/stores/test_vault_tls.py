from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import trustme

from imip_secrets.errors import StoreError
from imip_secrets.settings import Settings
from imip_secrets.stores.base import Target
from imip_secrets.stores.vault.tls import tls_context
from stand_ins.tls import Authority, self_signed
from stand_ins.vault_script import Caller, ScriptedVault

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def served(context: ssl.SSLContext, **settings: str) -> tuple[str, int]:
    """Log in and read over TLS; give the value or the error, and how many requests the server saw."""
    with ScriptedVault({"secret/a": '{"K": "v"}'}, tls=context) as server:
        opened = Caller({"vault-addr": server.url, "vault-role": "r", **settings}).store()
        try:
            opened.login()
            text = opened.fetch(Target("secret/a")).value.reveal()
        except StoreError as error:
            text = str(error)
        with contextlib.closing(opened):
            return text, len(server.requests)


@pytest.mark.parametrize("name", ["vault-ca-certificate", "ca-certificate"])
def test_a_given_authority_is_trusted(authority: Authority, name: str) -> None:
    assert served(authority.good(), **{name: authority.pem})[0] == '{"K":"v"}'


@pytest.mark.parametrize(
    ("serve", "remedy"),
    [
        (Authority.wrong_host, "It is for another host than 127.0.0.1"),
        (Authority.expired, "Renew the server's certificate"),
        (lambda _: self_signed(), "vault-ca-certificate (PEM)"),
        (Authority.outdated, "TLS 1.2 or newer is needed"),
    ],
)
def test_a_bad_server_sees_no_request(
    authority: Authority, serve: Callable[[Authority], ssl.SSLContext], remedy: str
) -> None:
    said, seen = served(serve(authority), **{"vault-ca-certificate": authority.pem})
    assert remedy in said
    assert seen == 0


def test_an_unknown_authority_is_not_trusted(authority: Authority) -> None:
    said, seen = served(authority.good())
    assert "its certificate is not trusted" in said
    assert "vault-ca-certificate (PEM)" in said
    assert seen == 0


def test_a_client_certificate_is_shown_and_leaves_no_file(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile  # noqa: PLC0415

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    certificate, key = authority.client()
    both = {"vault-client-certificate": certificate, "vault-client-key": key}
    assert served(authority.mutual(), **both, **{"vault-ca-certificate": authority.pem})[0] == '{"K":"v"}'
    assert list(tmp_path.iterdir()) == []


def test_a_missing_client_certificate_is_said(authority: Authority) -> None:
    said, seen = served(authority.mutual(), **{"vault-ca-certificate": authority.pem})
    assert "vault-client-certificate and vault-client-key" in said or "connection broke off" in said
    assert seen == 0


def test_plain_http_behind_https_is_said() -> None:
    with ScriptedVault() as server:
        opened = Caller({"vault-addr": server.url.replace("http:", "https:"), "vault-role": "r"}).store()
        with pytest.raises(StoreError, match="Vault seems to speak plain http there"):
            opened.login()
        opened.close()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"vault-ca-certificate": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"}, "vault-ca-certificate"),
        ({"ca-certificate": "ä"}, "ca-certificate"),
        (
            {"vault-client-certificate": "x", "vault-client-key": "hunter2"},
            "vault-client-certificate with vault-client-key",
        ),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named(settings: dict[str, str], name: str) -> None:
    with pytest.raises(StoreError, match=f"^{name} cannot be used") as caught:
        tls_context(Settings(settings), ambient=False)
    assert "hunter2" not in str(caught.value)


def test_a_key_with_a_passphrase_asks_nobody(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography.hazmat.primitives import serialization as forms  # noqa: PLC0415

    certificate, key = authority.client()
    loaded = forms.load_pem_private_key(key.encode(), None)
    locked = loaded.private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.BestAvailableEncryption(b"passphrase")
    ).decode()
    with pytest.raises(StoreError, match="has no passphrase") as given:
        tls_context(Settings({"vault-client-certificate": certificate, "vault-client-key": locked}), ambient=False)
    (tmp_path / "both.pem").write_text(f"{certificate}\n{locked}")
    monkeypatch.setenv("VAULT_CLIENT_CERT", str(tmp_path / "both.pem"))
    with pytest.raises(StoreError, match="has no passphrase") as ambient:
        tls_context(Settings(), ambient=True)
    # Where there is no terminal, OpenSSL's question fails too, but with another reason.
    reasons = {str(caught.value).partition("cannot be used ")[2] for caught in (given, ambient)}
    assert len(reasons) == 1


def test_the_systems_authorities_are_trusted_besides_and_old_tls_is_not(authority: Authority) -> None:
    context = tls_context(Settings({"vault-ca-certificate": authority.pem}), ambient=False)
    system = ssl.create_default_context().cert_store_stats()["x509_ca"]
    assert context.cert_store_stats()["x509_ca"] == system + 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("folder", [None, "empty", "full"])
def test_a_system_without_authorities_gets_certifis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str | None
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "ca.pem").touch()
    paths = SimpleNamespace(capath=str(tmp_path / folder) if folder else None)
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    context = tls_context(Settings(), ambient=False)
    assert (context.cert_store_stats()["x509_ca"] > 50) is (folder != "full")


def test_vaults_own_variables_count_only_where_people_are(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = authority.client()
    for name, text in (("VAULT_CACERT", authority.pem), ("VAULT_CLIENT_CERT", certificate), ("VAULT_CLIENT_KEY", key)):
        path = tmp_path / name
        path.write_text(text)
        monkeypatch.setenv(name, str(path))
    here = tls_context(Settings(), ambient=True).cert_store_stats()["x509_ca"]
    assert here == tls_context(Settings(), ambient=False).cert_store_stats()["x509_ca"] + 1
    monkeypatch.delenv("VAULT_CACERT")
    assert tls_context(Settings(), ambient=True).cert_store_stats()["x509_ca"] == here - 1
    monkeypatch.setenv("VAULT_CACERT", "/nowhere")
    with pytest.raises(StoreError, match="a file of VAULT_CACERT"):
        tls_context(Settings(), ambient=True)


def test_a_folder_of_authorities_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_CAPATH", str(tmp_path))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls_context(Settings(), ambient=True)
    assert Path(tmp_path, "ca.pem").exists()
