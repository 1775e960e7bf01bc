from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING
from unittest import mock
from urllib.request import getproxies, proxy_bypass

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.runner.surroundings import AWS_FILES, NAMES, neutralise
from stand_ins.tls import Authority

if TYPE_CHECKING:
    from pathlib import Path

LEADING_ASTRAY = [
    # Written out: a name that falls out of the list must be noticed.
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_DATA_PATH",
    "AWS_DEFAULT_PROFILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AZURE_AUTHORITY_HOST",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "AZURE_REGIONAL_AUTHORITY_NAME",
    "BOTOCORE_EXPERIMENTAL__PLUGINS",
    "BOTO_CONFIG",
    "CURL_CA_BUNDLE",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "REQUESTS_CA_BUNDLE",
    "SSLKEYLOGFILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_CSM_HOST",
    "VAULT_ADDR",
    "VAULT_SKIP_VERIFY",
    "VAULT_PROXY_ADDR",
    "VAULT_TOKEN",
    "BAO_ADDR",
    "IMIP_ID_TOKEN",
    "IMIP_ID_TOKEN_VAULT",
    "IMIP_ID_TOKEN_FILE",
    "IMIP_ID_TOKEN_COMMAND",
]
CREDENTIALS = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_REGION",
    "AWS_USE_FIPS_ENDPOINT",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "HTTPS_PROXY",
    "PATH",
]
OURS = {*AWS_FILES, "NO_PROXY", "no_proxy"}


@pytest.mark.parametrize("name", LEADING_ASTRAY)
def test_a_name_that_leads_astray_is_taken_away_and_told(name: str) -> None:
    environ = {name: "https://evil.example"}
    assert neutralise(environ) == [name]
    assert environ.get(name, os.devnull) == os.devnull


def test_every_name_that_is_taken_away_is_listed_here() -> None:
    assert set(LEADING_ASTRAY) >= NAMES


@pytest.mark.parametrize("name", CREDENTIALS)
def test_credentials_and_the_like_stay(name: str) -> None:
    environ = {name: "kept"}
    assert neutralise(environ) == []
    assert environ[name] == "kept"


@given(st.dictionaries(st.sampled_from([*LEADING_ASTRAY, *CREDENTIALS, "no_proxy", "APP"]), st.sampled_from(["", "x"])))
def test_what_is_left_is_what_was_there_without_what_leads_astray(before: dict[str, str]) -> None:
    environ = dict(before)
    ignored = neutralise(environ)
    assert ignored == sorted(name for name, value in before.items() if name in LEADING_ASTRAY and value)
    assert {name: value for name, value in environ.items() if name not in OURS} == {
        name: value for name, value in before.items() if name not in OURS and name not in LEADING_ASTRAY
    }
    settled = dict(environ)
    assert neutralise(environ) == []
    assert environ == settled


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "localhost,127.0.0.1,::1,[::1]"),
        ({"NO_PROXY": " .corp.example , localhost,"}, ".corp.example,localhost,127.0.0.1,::1,[::1]"),
        ({"no_proxy": "a.example", "NO_PROXY": "b.example"}, "a.example,localhost,127.0.0.1,::1,[::1]"),
        ({"NO_PROXY": "*"}, "*"),
        ({"NO_PROXY": "*,a.example"}, "*,a.example,localhost,127.0.0.1,::1,[::1]"),
    ],
)
def test_loopback_joins_the_hosts_without_a_proxy(before: dict[str, str], after: str) -> None:
    environ = dict(before)
    assert neutralise(environ) == []
    assert environ["no_proxy"] == environ["NO_PROXY"] == after


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1:8200", "[::1]:8200"])
def test_urllib_then_uses_no_proxy_for_loopback(address: str) -> None:
    with mock.patch.dict(os.environ, {"https_proxy": "http://proxy.example:3128"}, clear=True):
        neutralise(os.environ)
        assert getproxies()["https"] == "http://proxy.example:3128"
        assert proxy_bypass(address)
        assert not proxy_bypass("vault.example:8200")


def test_botocore_then_reads_no_file_and_no_address_but_the_keys(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    for name in ("config", "credentials"):
        file = tmp_path / ".aws" / name
        file.write_text("[default]\ncredential_process = false\nendpoint_url = http://evil.example\n")
    environ = {
        "HOME": str(tmp_path),
        "USERPROFILE": str(tmp_path),
        "AWS_PROFILE": "default",
        "AWS_ENDPOINT_URL": "http://evil.example",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "made-up",
    }
    with mock.patch.dict(os.environ, environ, clear=True):
        assert botocore.session.Session().get_scoped_config()["endpoint_url"] == "http://evil.example"

        assert neutralise(os.environ) == ["AWS_ENDPOINT_URL", "AWS_PROFILE"]

        session = botocore.session.Session()
        assert session.get_scoped_config() == {}
        assert session.get_credentials().access_key == "AKIAIOSFODNN7EXAMPLE"
        client = session.create_client("secretsmanager", region_name="us-east-1")
        assert client.meta.endpoint_url == "https://secretsmanager.us-east-1.amazonaws.com"


def test_openssl_then_trusts_its_own_authorities_again(tmp_path: Path) -> None:
    planted = tmp_path / "evil.pem"
    planted.write_text(Authority().pem)
    with mock.patch.dict(os.environ, {"SSL_CERT_FILE": str(planted), "SSL_CERT_DIR": str(tmp_path)}):
        assert len(ssl.create_default_context().get_ca_certs()) == 1
        neutralise(os.environ)
        assert len(ssl.create_default_context().get_ca_certs()) != 1
