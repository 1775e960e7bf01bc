"""Audits of real servers: OpenBao with an audit device, moto, ministack for CloudTrail, GitHub's stand-in, Chromium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from imip_secrets import cli
from stand_ins.aws import REGION, Aws
from stand_ins.azure import CLIENT, TENANT, VAULT, Azure
from stand_ins.faults import FaultServer, json_answer
from stand_ins.github import GitHub
from stand_ins.oidc import Issuer
from stand_ins.vault import STARTS, Vault, _free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium")
VALUE = "s3cret-that-nobody-sees"


@contextmanager
def ministack() -> Iterator[str]:
    """An AWS that keeps CloudTrail's events; gives its address."""
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(STARTS):
            port = _free_port()
            environ = {**os.environ, "CLOUDTRAIL_RECORDING": "1", "GATEWAY_PORT": str(port), "PERSIST_STATE": "0"}
            url = f"http://127.0.0.1:{port}"
            with subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "ministack"],
                cwd=folder,
                env={**environ, "HOME": folder},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as process:
                try:
                    if is_up(process, url):
                        yield url
                        return
                finally:
                    process.terminate()
                    process.wait(60)
    pytest.fail("ministack did not start")


def is_up(process: subprocess.Popen[bytes], url: str) -> bool:
    """Wait until the server answers; give up when it has ended, as when another process was first to take the port."""
    end = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError):
            urllib.request.urlopen(f"{url}/_ministack/health", timeout=60).close()
            return True
        time.sleep(0.1)
    return False


def audit(*arguments: object) -> int:
    return cli.main(["audit", *map(str, arguments)])


def data(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    status = audit("--format", "json", *arguments)
    out, err = capfd.readouterr()
    assert VALUE not in out + err
    return status, json.loads(out)


@pytest.mark.usefixtures("aws_keys")
def test_cloudtrail_tells_who_read_a_secret(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    import botocore.session  # noqa: PLC0415  # takes a fifth of a second, which only this needs

    with ministack() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        client = botocore.session.Session().create_client("secretsmanager", region_name=REGION, endpoint_url=url)
        client.create_secret(Name="imip/production", SecretString=VALUE)
        for _ in range(3):
            client.get_secret_value(SecretId="imip/production")
        status, found = data(capfd, "aws://imip/production")
        client.close()
    assert status == 0
    (secret,) = found["secrets"]
    assert secret["age_days"] == 0
    assert sum(reader["times"] for reader in secret["readers"]) == 3
    assert found["cost_a_month"] == 0.4
    assert found["unseen"] == []


@pytest.mark.usefixtures("aws_keys")
def test_without_cloudtrail_it_is_said_what_was_not_seen(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with Aws() as moto, FaultServer(upstream=moto.url) as front:
        moto.put("imip/production", {"A": VALUE})
        moto.put("imip/staging", {"A": VALUE})
        denial = {"__type": "AccessDeniedException", "Message": "User is not authorized to perform: LookupEvents"}
        front.script(
            *[json_answer(denial, 400)] * 2, when=lambda each: "LookupEvents" in each.headers.get("x-amz-target", "")
        )
        monkeypatch.setenv("AWS_ENDPOINT_URL", front.url)
        status, found = data(capfd, "aws://imip/*", "--require-rotation", "--calls", 1_000_000)
        assert audit("aws://imip/none") == 0
        assert "there is no secret imip/none" in capfd.readouterr().out
    assert status == 1
    assert len([line for line in found["findings"] if "is not rotated by its store" in line]) == 2
    (unseen,) = found["unseen"]
    assert unseen == (
        "CloudTrail in us-east-1 may not be asked who read the secrets. Allow cloudtrail:LookupEvents on * to the "
        "credentials in use."
    )
    assert found["cost_a_month"] == 5.8
    assert all(secret["versions"] == 1 for secret in found["secrets"])


def test_vault_s_metadata_and_audit_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Vault() as vault:
        monkeypatch.setenv("VAULT_ADDR", vault.url)
        monkeypatch.setenv("VAULT_TOKEN", vault.root_token)
        vault.put("secret/imip/x", {"A": VALUE})
        vault.put("secret/imip/x", {"A": VALUE + "2"})
        log = tmp_path / "audit.log"
        entry = {
            "type": "response",
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "auth": {"display_name": "jwt-ci"},
            "request": {"operation": "read", "path": "secret/data/imip/x", "mount_point": "secret/"},
        }
        log.write_text(json.dumps(entry) + "\n", encoding="utf-8")
        status, found = data(capfd, "vault://secret/imip/*", "--vault-log", log)
        assert status == 0
        (secret,) = found["secrets"]
        assert (secret["versions"], secret["age_days"]) == (2, 0)
        assert [reader["who"] for reader in secret["readers"]] == ["jwt-ci"]
        status, found = data(capfd, "vault://secret/imip/x")
        assert "who read the secrets (give the file of an audit device with --vault-log)" in found["unseen"][0]
        vault.policy("values-alone", {"secret/data/imip/*": ["read"]})
        monkeypatch.setenv("VAULT_TOKEN", vault.token("values-alone"))
        status, found = data(capfd, "vault://secret/imip/x")
        assert 'path "secret/metadata/imip/x" { capabilities = ["read"] }' in found["unseen"][0]
        monkeypatch.setenv("VAULT_TOKEN", vault.root_token)
        vault.mount_kv("old", 1)
        vault.put("old/x", {"A": VALUE})
        status, found = data(capfd, "vault://old/x")
        assert "is in no engine of KV version 2, so nothing is kept of its age" in found["unseen"][0]


def test_azure_s_versions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Issuer() as issuer, Azure(issuer) as azure, azure.proxy() as proxy:
        azure.put("SECRET-KEY", VALUE, created=1_600_000_000)
        azure.put("SECRET-KEY", VALUE, created=1_700_000_000)
        (tmp_path / "ca.pem").write_text(azure.pem, encoding="utf-8")
        for name, value in issuer.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        options = ("--azure-tenant-id", TENANT, "--azure-client-id", CLIENT, "--ca-certificate", tmp_path / "ca.pem")
        status, found = data(capfd, *options, f"azure://{VAULT}/SECRET-KEY")
    assert status == 1
    assert "days old, older than 90" in found["findings"][0]
    assert found["secrets"][0]["versions"] == 2


def test_github_s_secrets_are_compared_with_what_the_references_give(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ci.yml").write_text("env: {A: '${{ secrets.SECRET_KEY }}'}\n", encoding="utf-8")
    with Vault() as vault, GitHub() as github:
        vault.put("secret/imip/x", {"SECRET_KEY": VALUE})
        monkeypatch.setenv("VAULT_ADDR", vault.url)
        monkeypatch.setenv("VAULT_TOKEN", vault.root_token)
        github.organization("my-org")
        github.repository("my-org/app")
        monkeypatch.setenv("GH_TOKEN", github.fine_grained("my-org/app", secrets="write"))
        env_file = tmp_path / ".env"
        env_file.write_text("SECRET_KEY=x\nOLD_ONE=y\n", encoding="utf-8")
        api = ("--github-api-url", github.url)
        assert cli.main(["migrate", "apply", str(env_file), "--to", "repo:my-org/app", "--yes", *api]) == 0
        capfd.readouterr()
        options = ("--to", "repo:my-org/app", "--workflows", tmp_path, *api)
        status, found = data(capfd, *options, "vault://secret/imip/x")
    assert status == 1
    assert [line.partition(" in ")[0] for line in found["findings"]] == ["OLD_ONE", "OLD_ONE"]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.usefixtures("aws_keys")
def test_the_page_is_drawn_by_a_real_browser_and_loads_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Aws() as moto:
        for number in range(8):
            moto.put(f"imip/service-{number}", {"A": VALUE})
        monkeypatch.setenv("AWS_ENDPOINT_URL", moto.url)
        page, picture = tmp_path / "audit.html", tmp_path / "audit.png"
        assert audit("aws://imip/*", "--html", page, "--days", 0) == 0
    assert VALUE not in page.read_text(encoding="utf-8")
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,900", "--timeout=20000"),
    ]
    dumped = subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True, check=True, timeout=300)
    dom = dumped.stdout.decode()
    assert dom.count("<rect") == 8
    assert "Audit of 8 secrets" in dom
    subprocess.run([*command, f"--screenshot={picture}", page.as_uri()], capture_output=True, check=True, timeout=300)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--max-age", "old", "aws://a"), "is no age"),
        (("--days", "-1", "aws://a"), "it is below nought"),
        (("--days", "99999999999", "aws://a"), "or too much"),
        (("--to", "bogus", "aws://a"), "bogus"),
        (("--to", "repos:my-org", "aws://a"), "a match of many repositories is not looked at here"),
    ],
)
@pytest.mark.usefixtures("aws_keys")
def test_a_wrong_option_is_said_before_any_network(
    arguments: tuple[str, ...], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert audit(*arguments) == 2
    assert words in capfd.readouterr().err
