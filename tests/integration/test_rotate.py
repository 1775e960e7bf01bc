"""Rotations on real servers: OpenBao, moto, the stand-ins of Azure and GitHub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from imip_secrets import cli
from stand_ins.azure import CLIENT, TENANT, VAULT, Azure
from stand_ins.github import GitHub
from stand_ins.oidc import Issuer

if TYPE_CHECKING:
    from pathlib import Path

    from stand_ins.aws import Aws
    from stand_ins.vault import Vault

OLD = {"SECRET_KEY": "the-old-one", "OTHER": 1.5}


def rotate(*arguments: object) -> int:
    return cli.main(["rotate", *map(str, arguments)])


def test_vault_keeps_the_value_before_and_leaves_nothing_staged(
    at_vault: Vault, capfd: pytest.CaptureFixture[str]
) -> None:
    at_vault.put("secret/imip/production", OLD)
    assert rotate("--length", 20, "vault://secret/imip/production#SECRET_KEY") == 0
    now = at_vault.do("GET", "secret/data/imip/production")["data"]
    assert now["metadata"]["version"] == 2
    assert len(now["data"]["SECRET_KEY"]) == 20
    assert now["data"]["OTHER"] == 1.5
    assert at_vault.call("LIST", "secret/metadata/imip-rotation")[0] == 404
    assert now["data"]["SECRET_KEY"] not in "".join(capfd.readouterr())
    assert cli.main(["export", "--format", "json", "vault://secret/imip/production?version=1#SECRET_KEY"]) == 0
    assert json.loads(capfd.readouterr().out) == {"SECRET_KEY": "the-old-one"}


def test_vault_version_1_is_refused_since_it_keeps_nothing(at_vault: Vault, capfd: pytest.CaptureFixture[str]) -> None:
    at_vault.put("old/x", {"K": "v"})
    assert rotate("vault://old/x#K") == 1
    assert "is not KV version 2, so the value before would be lost" in capfd.readouterr().err
    assert at_vault.do("GET", "old/x")["data"] == {"K": "v"}


def test_a_stopped_rotation_is_taken_up(at_vault: Vault, capfd: pytest.CaptureFixture[str]) -> None:
    at_vault.put("secret/imip/stopped", OLD)
    at_vault.put("secret/imip-rotation/imip/stopped", {**OLD, "SECRET_KEY": "staged by the first run"})
    assert rotate("vault://secret/imip/stopped#SECRET_KEY") == 0
    assert at_vault.do("GET", "secret/data/imip/stopped")["data"]["data"]["SECRET_KEY"] == "staged by the first run"
    assert "taking up a rotation that was stopped" in capfd.readouterr().out


def test_what_is_taken_up_is_hidden_in_a_job_and_given_to_nobody_where_it_cannot_be(
    at_vault: Vault, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    at_vault.put("secret/imip/hidden", OLD)
    at_vault.put("secret/imip-rotation/imip/hidden", {**OLD, "SECRET_KEY": "staged-by-a-run-before"})
    assert rotate("vault://secret/imip/hidden#SECRET_KEY") == 0
    assert "::add-mask::staged-by-a-run-before" in capfd.readouterr().err
    at_vault.put("secret/imip-rotation/imip/hidden", {**OLD, "SECRET_KEY": "staged\0before"})
    assert rotate("--verify", "true", "vault://secret/imip/hidden#SECRET_KEY") == 1
    assert "the value cannot be in a variable" in capfd.readouterr().err
    assert at_vault.call("GET", "secret/data/imip-rotation/imip/hidden")[0] == 404


def test_only_what_is_old_enough_is_rotated(at_vault: Vault, capfd: pytest.CaptureFixture[str]) -> None:
    at_vault.put("secret/imip/young", OLD)
    assert rotate("--max-age", "90d", "vault://secret/imip/young#SECRET_KEY") == 0
    assert "is younger, and stays" in capfd.readouterr().out
    assert at_vault.do("GET", "secret/data/imip/young")["data"]["metadata"]["version"] == 1


def test_a_value_is_verified_before_it_is_current(
    at_vault: Vault, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    at_vault.put("secret/imip/verified", OLD)
    script = tmp_path / "verify.py"
    script.write_text(
        "import os, sys; print(os.environ['NEW']); sys.exit(len(os.environ['NEW']) != 24)", encoding="utf-8"
    )
    command = f"{sys.executable} {script}"
    line = "NEW = vault://secret/imip/verified#SECRET_KEY"
    assert rotate("--verify", command, "--length", 25, line) == 1
    out, err = capfd.readouterr()
    assert "the new value does not work" in err
    assert at_vault.do("GET", "secret/data/imip/verified")["data"]["data"] == OLD
    assert rotate("--verify", command, "--length", 24, line) == 0
    value = at_vault.do("GET", "secret/data/imip/verified")["data"]["data"]["SECRET_KEY"]
    assert value not in out + err + "".join(capfd.readouterr())


def test_one_that_cannot_be_rotated_does_not_stop_the_others(
    at_vault: Vault, capfd: pytest.CaptureFixture[str]
) -> None:
    at_vault.put("secret/imip/fine", OLD)
    assert rotate("vault://secret/imip/none#K", "vault://secret/imip/fine#SECRET_KEY") == 1
    assert "there is nothing at secret/imip/none" in capfd.readouterr().err
    assert at_vault.do("GET", "secret/data/imip/fine")["data"]["metadata"]["version"] == 2


def test_what_may_not_be_staged_is_said_with_the_rule(
    at_vault: Vault, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    at_vault.put("secret/imip/denied", OLD)
    at_vault.policy("rotators", {"secret/data/imip/*": ["read"], "secret/data/imip-rotation/*": ["read"]})
    monkeypatch.setenv("VAULT_TOKEN", at_vault.token("rotators"))
    assert rotate("vault://secret/imip/denied#SECRET_KEY") == 1
    err = capfd.readouterr().err
    assert 'path "secret/data/imip-rotation/imip/denied" { capabilities = ["create", "update"] }' in err


def test_aws_moves_its_labels(at_aws: Aws) -> None:
    first = at_aws.put("imip/production", OLD)
    assert rotate("aws://imip/production#SECRET_KEY", "--kind", "hex", "--length", 32) == 0
    client = at_aws.client()
    # Without a label moto gives the first version, whichever is current.
    now = client.get_secret_value(SecretId="imip/production", VersionStage="AWSCURRENT")
    assert now["VersionId"] != first
    assert len(json.loads(now["SecretString"])["SECRET_KEY"]) == 32
    before = client.get_secret_value(SecretId="imip/production", VersionStage="AWSPREVIOUS")
    assert json.loads(before["SecretString"]) == OLD
    stages = client.describe_secret(SecretId="imip/production")["VersionIdsToStages"]
    assert not any("AWSPENDING" in labels for labels in stages.values())


def test_the_version_before_has_the_old_values_of_all_keys(at_aws: Aws, at_vault: Vault) -> None:
    at_aws.put("imip/two", {"A": "old-a", "B": "old-b"})
    at_vault.put("secret/imip/two", {"C": "old-c", "D": "old-d"})
    assert rotate("aws://imip/two#A", "vault://secret/imip/two#C", "aws://imip/two#B", "vault://secret/imip/two#D") == 0
    client = at_aws.client()
    before, now = (
        json.loads(client.get_secret_value(SecretId="imip/two", VersionStage=label)["SecretString"])
        for label in ("AWSPREVIOUS", "AWSCURRENT")
    )
    assert before == {"A": "old-a", "B": "old-b"}
    assert not set(now.values()) & set(before.values())
    assert at_vault.do("GET", "secret/data/imip/two")["data"]["metadata"]["version"] == 2


def test_aws_takes_up_what_is_pending(at_aws: Aws) -> None:
    at_aws.put("imip/pending", OLD)
    at_aws.client().put_secret_value(
        SecretId="imip/pending", SecretString=json.dumps({**OLD, "SECRET_KEY": "p"}), VersionStages=["AWSPENDING"]
    )
    assert rotate("aws://imip/pending#SECRET_KEY") == 0
    now = at_aws.client().get_secret_value(SecretId="imip/pending", VersionStage="AWSCURRENT")
    assert json.loads(now["SecretString"])["SECRET_KEY"] == "p"


def test_aws_s_own_rotation_without_a_function_is_said(at_aws: Aws, capfd: pytest.CaptureFixture[str]) -> None:
    at_aws.put("imip/managed", OLD)
    arguments = ("--managed", "--rotation-lambda", "arn:aws:lambda:us-east-1:123456789012:function:none")
    assert rotate(*arguments, "--timeout-seconds", 4, "aws://imip/managed") == 1
    assert capfd.readouterr().err.count("\n") >= 2


def test_azure_stages_where_no_listing_looks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Issuer() as issuer, Azure(issuer) as azure, azure.proxy() as proxy:
        azure.put("SECRET-KEY", "the-old-one")
        (tmp_path / "ca.pem").write_text(azure.pem, encoding="utf-8")
        for name, value in issuer.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        options = ("--azure-tenant-id", TENANT, "--azure-client-id", CLIENT, "--ca-certificate", tmp_path / "ca.pem")
        for count in (2, 3):
            assert rotate(*options, f"azure://{VAULT}/SECRET-KEY") == 0
            versions = azure.vaults[VAULT]["SECRET-KEY"]
            assert len(versions) == count
        assert versions[0].value == "the-old-one"
        assert azure.vaults[VAULT]["imip-rotation-SECRET-KEY"][-1].value == "-"
        assert cli.main(["doctor", *map(str, options), f"azure://{VAULT}/*"]) == 0
    out = capfd.readouterr().out
    assert "ok: SECRET_KEY from" in out
    assert "ok: IMIP_ROTATION" not in out


def test_afterwards_github_has_the_new_value(at_vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    at_vault.put("secret/imip/synced", {"SECRET_KEY": "the-old-one"})
    with GitHub() as github:
        github.organization("my-org")
        github.repository("my-org/app")
        monkeypatch.setenv("GH_TOKEN", github.fine_grained("my-org/app", secrets="write"))
        options = ("--to", "repo:my-org/app", "--github-api-url", github.url)
        assert rotate(*options, "vault://secret/imip/synced#SECRET_KEY") == 0
        value = at_vault.do("GET", "secret/data/imip/synced")["data"]["data"]["SECRET_KEY"]
        assert github.values("repo:my-org/app") == {"SECRET_KEY": value}


def test_what_was_rotated_comes_to_github_though_another_one_could_not_be(
    at_vault: Vault, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    at_vault.put("secret/imip/writable", {"FIRST": "the-old-one"})
    at_vault.put("secret/imip/readable", {"SECOND": "the-old-one"})
    both, full = {"secret/data/imip/*": ["read"]}, ["create", "update", "read"]
    at_vault.policy(
        "one-of-two",
        {
            **both,
            "secret/data/imip/writable": full,
            "secret/data/imip-rotation/imip/writable": full,
            "secret/data/imip-rotation/*": ["read"],
            "secret/metadata/imip-rotation/*": ["delete"],
        },
    )
    monkeypatch.setenv("VAULT_TOKEN", at_vault.token("one-of-two"))
    with GitHub() as github:
        github.organization("my-org")
        github.repository("my-org/app")
        monkeypatch.setenv("GH_TOKEN", github.fine_grained("my-org/app", secrets="write"))
        options = ("--to", "repo:my-org/app", "--github-api-url", github.url)
        assert rotate(*options, "vault://secret/imip/readable#SECOND", "vault://secret/imip/writable#FIRST") == 1
        value = at_vault.do("GET", "secret/data/imip/writable")["data"]["data"]["FIRST"]
        assert value != "the-old-one"
        assert github.values("repo:my-org/app") == {"FIRST": value, "SECOND": "the-old-one"}
    assert "Vault denies writing" in capfd.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="there is no /dev/stdin there")
@pytest.mark.parametrize("targets", ["--to", "--sync-to"])
def test_afterwards_github_has_the_new_value_of_references_that_came_through_a_pipe(
    at_vault: Vault, tmp_path: Path, targets: str
) -> None:
    at_vault.put("secret/imip/piped", {"SECRET_KEY": "the-old-one"})
    file = tmp_path / "targets.txt"
    file.write_text("repo:my-org/app\n", encoding="utf-8")
    with GitHub() as github:
        github.organization("my-org")
        github.repository("my-org/app")
        token = github.fine_grained("my-org/app", secrets="write")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "imip_secrets", "rotate", "--file", "/dev/stdin"),
                *(targets, file if targets == "--sync-to" else "repo:my-org/app", "--github-api-url", github.url),
            ],
            input="vault://secret/imip/piped#SECRET_KEY\n",
            env={**os.environ, "GH_TOKEN": token},
            text=True,
            capture_output=True,
            check=False,
            timeout=200,
        )
        value = at_vault.do("GET", "secret/data/imip/piped")["data"]["data"]["SECRET_KEY"]
        assert (done.returncode, done.stderr.count("error:")) == (0, 0), done.stderr
        assert github.values("repo:my-org/app") == {"SECRET_KEY": value}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--max-age", "3 months", "vault://secret/a#K"), "is no age"),
        (("--length", "3", "vault://secret/a#K"), "a length from 12 to 512 is wanted"),
        (("--exclude", "0123456789", "vault://secret/a#K"), "nothing is left of one kind"),
        (("--rotate-every", "30", "vault://secret/a#K"), "Add --managed."),
        (("--managed", "vault://secret/a#K"), "It can be done at aws."),
        (("--managed", "--rotate-every", "-1", "aws://a"), "--rotate-every: it is not from 1 to 1000"),
        (("--verify", "it's", "vault://secret/a#K"), "--verify: it is no command"),
        (("--to", "my-org/app", "vault://secret/a#K"), "my-org/app"),
        (("--to", "repo:my-org/app", "vault://secret/a#K"), "GITHUB_TOKEN"),
        (("vault://secret/a/*",), "one secret at a time is rotated"),
        (("vault://secret/a?version=1#K",), "an option of it has no meaning here"),
        (("aws-ssm:///imip/a",), "this store cannot be rotated so"),
    ],
)
@pytest.mark.usefixtures("at_vault")
def test_what_cannot_be_meant_is_said_before_any_network(
    arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    monkeypatch.delenv("GH_TOKEN", raising=False)
    assert rotate(*arguments) == 2
    assert words in capfd.readouterr().err
