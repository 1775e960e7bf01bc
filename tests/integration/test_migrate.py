"""Migrations to real servers: OpenBao, moto, the stand-ins of Azure and GitHub."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from imip_secrets import cli
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Target
from imip_secrets.stores.writers.changed import ChangedError
from imip_secrets.stores.writers.vault import open_writer
from stand_ins.azure import CLIENT, TENANT, VAULT, Azure
from stand_ins.faults import FaultServer, Request
from stand_ins.github import GitHub
from stand_ins.oidc import Issuer
from stand_ins.vault_script import Caller

if TYPE_CHECKING:
    from pathlib import Path

    from stand_ins.aws import Aws
    from stand_ins.vault import Vault

CONTENT = "SECRET_KEY=s3cret-of-the-file\nMONGO_URI=mongodb://u:p@h/db\nPORT=5432\n"
WANTED = {"SECRET_KEY": "s3cret-of-the-file", "MONGO_URI": "mongodb://u:p@h/db", "PORT": "5432"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ".env.production"
    path.write_text(CONTENT, encoding="utf-8")
    return path


def migrate(*arguments: object) -> int:
    return cli.main(["migrate", *map(str, arguments)])


def test_vault_plan_writes_nothing_and_apply_does_what_it_says(
    at_vault: Vault, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert migrate("plan", file, "--to", "vault://secret/imip/one") == 0
    assert "create: secret/imip/one; new: SECRET_KEY, MONGO_URI, PORT" in capfd.readouterr().out
    assert at_vault.call("GET", "secret/data/imip/one")[0] == 404
    assert migrate("apply", file, "--to", "vault://secret/imip/one", "--yes") == 0
    out, err = capfd.readouterr()
    assert at_vault.do("GET", "secret/data/imip/one")["data"]["data"] == WANTED
    assert "created: secret/imip/one" in out
    assert "vault://secret/imip/one" in out
    assert "s3cret-of-the-file" not in out + err
    assert migrate("apply", file, "--to", "vault://secret/imip/one", "--yes") == 0
    assert at_vault.do("GET", "secret/data/imip/one")["data"]["metadata"]["version"] == 1
    assert file.read_text(encoding="utf-8") == CONTENT


@pytest.mark.parametrize(
    ("name", "options", "path"),
    [
        (".env.production", (), "production"),
        (".env", (), "development"),
        ("staging.env", (), "staging"),
        (".env", ("--environment", "test"), "test"),
    ],
)
def test_a_store_alone_means_the_usual_path(
    at_vault: Vault, tmp_path: Path, name: str, options: tuple[str, ...], path: str
) -> None:
    (tmp_path / name).write_text(CONTENT, encoding="utf-8")
    assert migrate("apply", tmp_path / name, "--to", "vault", "--yes", *options) == 0
    assert at_vault.do("GET", f"secret/data/imip/{path}")["data"]["data"] == WANTED


def test_vault_an_update_keeps_what_only_the_store_has(at_vault: Vault, file: Path) -> None:
    at_vault.put("secret/imip/two", {"SECRET_KEY": "old", "ONLY_THERE": 1})
    assert migrate("apply", file, "--to", "vault://secret/imip/two", "--yes") == 1
    assert at_vault.do("GET", "secret/data/imip/two")["data"]["metadata"]["version"] == 1
    assert migrate("apply", file, "--to", "vault://secret/imip/two", "--yes", "--update") == 0
    assert at_vault.do("GET", "secret/data/imip/two")["data"]["data"] == {**WANTED, "ONLY_THERE": 1}


def test_vault_version_1_and_a_deleted_secret_take_it_too(at_vault: Vault, file: Path) -> None:
    assert migrate("apply", file, "--to", "vault://old/imip", "--yes") == 0
    assert at_vault.do("GET", "old/imip")["data"] == WANTED
    at_vault.put("secret/imip/gone", {"A": "1"})
    at_vault.do("DELETE", "secret/data/imip/gone")
    assert migrate("apply", file, "--to", "vault://secret/imip/gone", "--yes") == 0
    assert at_vault.do("GET", "secret/data/imip/gone")["data"]["data"] == WANTED


def test_vault_compares_before_it_writes(vault: Vault) -> None:
    vault.put("secret/imip/race", {"A": "1"})
    settings = {"vault-addr": vault.url, "vault-auth-method": "token", "vault-token": vault.root_token}
    writer = open_writer(Caller(settings).context)
    writer.login()
    before = writer.fetch(Target("secret/imip/race"))
    vault.put("secret/imip/race", {"A": "theirs"})
    with pytest.raises(ChangedError, match="changed by somebody else"):
        writer.write(Target("secret/imip/race"), Secret('{"A":"ours"}'), before)
    with pytest.raises(ChangedError):
        writer.write(Target("secret/imip/race"), Secret('{"A":"ours"}'), Found(Secret("{}"), version="1"))
    assert vault.do("GET", "secret/data/imip/race")["data"]["data"] == {"A": "theirs"}
    writer.close()


def test_vault_what_may_not_be_written_is_said_with_the_rule(
    at_vault: Vault, file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    at_vault.policy("readers", {"secret/data/imip/*": ["read"]})
    monkeypatch.setenv("VAULT_TOKEN", at_vault.token("readers"))
    assert migrate("apply", file, "--to", "vault://secret/imip/denied", "--yes") == 1
    err = capfd.readouterr().err
    assert "Vault denies writing secret/imip/denied" in err
    assert 'path "secret/data/imip/denied" { capabilities = ["create", "update"] }' in err


def test_killed_at_any_request_and_run_again_it_converges(
    at_vault: Vault, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request is either not sent or its answer is lost; then the process is gone, and another one runs."""

    def at(number: int, *, served: bool) -> None:
        path = f"secret/data/imip/kill-{number}-{served}"
        goal = f"vault://secret/imip/kill-{number}-{served}"

        def step(request: Request) -> object:
            count = len(front.requests)
            if count == number and served:
                front._pass_on(request)
            if count >= number:
                return "reset"
            return front._pass_on(request)

        with FaultServer(upstream=at_vault.url) as front:
            front._handler = step  # type: ignore[assignment]  # it ends the connection
            monkeypatch.setenv("VAULT_ADDR", front.url)
            assert migrate("apply", file, "--to", goal, "--yes", "--no-history", "--timeout-seconds", "2") == 1
        monkeypatch.setenv("VAULT_ADDR", at_vault.url)
        assert migrate("apply", file, "--to", goal, "--yes", "--no-history") == 0
        answer = at_vault.do("GET", path)["data"]
        assert (answer["data"], answer["metadata"]["version"]) == (WANTED, 1)

    for number in range(1, 6):
        at(number, served=False)
        at(number, served=True)


def test_aws_creates_updates_and_never_overwrites_unasked(
    at_aws: Aws, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert migrate("apply", file, "--to", "aws://imip/production", "--yes", "--only-secret") == 0
    client = at_aws.client()
    there = client.get_secret_value(SecretId="imip/production")
    assert json.loads(there["SecretString"]) == {key: WANTED[key] for key in ("SECRET_KEY", "MONGO_URI")}
    file.write_text(CONTENT.replace("s3cret-of-the-file", "other"), encoding="utf-8")
    assert migrate("apply", file, "--to", "aws://imip/production", "--yes") == 1
    assert client.get_secret_value(SecretId="imip/production")["VersionId"] == there["VersionId"]
    assert migrate("apply", file, "--to", "aws://imip/production", "--yes", "--update") == 0
    assert json.loads(client.get_secret_value(SecretId="imip/production")["SecretString"])["SECRET_KEY"] == "other"
    out, err = capfd.readouterr()
    assert "SECRET_NAME=imip/production" in out
    assert "s3cret-of-the-file" not in out + err


def test_aws_a_secret_that_was_made_without_a_value_gets_its_first(at_aws: Aws, file: Path) -> None:
    client = at_aws.client()
    client.create_secret(Name="imip/of-terraform")
    for _ in range(2):
        assert migrate("apply", file, "--to", "aws://imip/of-terraform", "--yes", "--no-history") == 0
    there = client.get_secret_value(SecretId="imip/of-terraform")
    assert json.loads(there["SecretString"]) == WANTED
    assert len(client.list_secret_version_ids(SecretId="imip/of-terraform")["Versions"]) == 1


def test_aws_a_name_that_is_scheduled_for_deletion_is_said(
    at_aws: Aws, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client = at_aws.client()
    client.create_secret(Name="imip/doomed", SecretString="{}")
    client.delete_secret(SecretId="imip/doomed")
    assert migrate("apply", file, "--to", "aws://imip/doomed", "--yes") == 1
    assert "imip/doomed" in capfd.readouterr().err


def test_the_command_for_git_is_for_the_files_of_that_folder_wherever_one_is(
    at_vault: Vault, file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    git = shutil.which("git") or "git"
    for arguments in (("init", "-q"), ("add", "-f", file.name)):
        subprocess.run([git, *arguments], cwd=file.parent, check=True)
    assert at_vault.url
    for folder, where in ((file.parent, ""), (file.parent.parent, f" -C '{file.parent}'")):
        monkeypatch.chdir(folder)
        assert migrate("apply", file, "--to", "vault://secret/imip/of-git", "--yes") == 0
        assert f"\ngit{where} --literal-pathspecs rm --cached -- '.env.production'\n" in capfd.readouterr().out


def test_azure_has_a_secret_for_each_key(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Issuer() as issuer, Azure(issuer) as azure, azure.proxy() as proxy:
        (tmp_path / "ca.pem").write_text(azure.pem, encoding="utf-8")
        for name, value in issuer.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        options = ("--azure-tenant-id", TENANT, "--azure-client-id", CLIENT, "--ca-certificate", tmp_path / "ca.pem")
        twice = tmp_path / "twice.env"
        twice.write_text("SECRET_KEY=1\nsecret-key=2\n", encoding="utf-8")
        assert migrate("apply", twice, "--to", f"azure://{VAULT}", "--yes", *options) == 1
        assert "secret-key: Key Vault takes it for the same as SECRET_KEY" in capfd.readouterr().err
        assert not any(azure.vaults[VAULT].values())
        assert migrate("apply", file, "--to", f"azure://{VAULT}", "--yes", *options) == 0
        stored = {name.replace("-", "_"): versions[-1].value for name, versions in azure.vaults[VAULT].items()}
        assert stored == WANTED
        assert migrate("apply", file, "--to", f"azure://{VAULT}", "--yes", *options) == 0
        assert all(len(versions) == 1 for versions in azure.vaults[VAULT].values())
        capfd.readouterr()
        azure.delete("PORT")
        assert migrate("apply", file, "--to", f"azure://{VAULT}", "--yes", "--only", "PORT", *options) == 1
        out, err = capfd.readouterr()
        assert "is soft-deleted, so its name is taken. Bring it back (az keyvault secret recover" in err
        assert not any(request.method == "DELETE" for request in azure.server.requests)
    assert "s3cret-of-the-file" not in out + err


def test_github_takes_them_sealed_and_what_is_there_stays(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with GitHub() as github:
        github.organization("my-org")
        github.repository("my-org/app")
        monkeypatch.setenv("GH_TOKEN", github.fine_grained("my-org/app", secrets="write"))
        options = ("--to", "repo:my-org/app", "--github-api-url", github.url, "--yes")
        assert migrate("apply", file, *options) == 0
        assert github.values("repo:my-org/app") == WANTED
        file.write_text(CONTENT.replace("s3cret-of-the-file", "other") + "NEW=1\n", encoding="utf-8")
        assert migrate("apply", file, *options) == 0
        assert github.values("repo:my-org/app") == {**WANTED, "NEW": "1"}
        assert migrate("apply", file, *options, "--update") == 0
        assert github.values("repo:my-org/app")["SECRET_KEY"] == "other"
    assert "s3cret-of-the-file" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plan",), "there is no file to migrate"),
        (("plan", "FILE"), "there is no goal"),
        (("plan", "FILE", "--to", "nowhere://x"), "is no goal"),
        (("plan", "FILE", "--to", "org:my-org"), "is no goal"),
        (("plan", "FILE", "--to", "aws://a?optional"), "is no single secret"),
        (("plan", "FILE", "--to", "aws://a"), "--aws-region"),
        (("apply", "FILE", "--to", "repo:o/a", "--only", "NOPE"), "has no NOPE"),
        (
            ("apply", "FILE", "--to", "aws://a", "--aws-region", "us-east-1", "--only", "PORT", "--only-secret"),
            "nothing",
        ),
    ],
)
def test_a_wrong_command_is_said_before_any_network(
    file: Path,
    arguments: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert migrate(*(str(file) if each == "FILE" else each for each in arguments)) in {1, 2}
    assert words in capfd.readouterr().err


def test_nobody_there_to_say_yes_writes_nothing(at_vault: Vault, file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert migrate("apply", file, "--to", "vault://secret/imip/unasked") == 1
    assert "nobody is there to say yes" in capfd.readouterr().err
    assert at_vault.call("GET", "secret/data/imip/unasked")[0] == 404


def test_in_a_job_the_values_are_masked_before_anything_is_said(
    at_vault: Vault, file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert at_vault.url
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert migrate("plan", file, "--to", "vault://secret/imip/masked") == 0
    lines = capfd.readouterr().err.splitlines()
    masks = [line for line in lines if line.startswith("::add-mask::")]
    assert "::add-mask::s3cret-of-the-file" in masks
    assert lines[: len(masks)] == masks


def test_the_key_of_the_app_may_be_in_a_store(
    at_vault: Vault, file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with GitHub() as github:
        github.organization("my-org")
        github.repository("my-org/app")
        app = github.app(secrets="write", metadata="read")
        github.install(app, "my-org")
        at_vault.put("secret/github-app", {"private_key": app.pem})
        monkeypatch.setenv("IMIP_GITHUB_APP_PRIVATE_KEY", "vault://secret/github-app#private_key")
        options = ("--to", "repo:my-org/app", "--github-api-url", github.url, "--github-app-id", app.id, "--yes")
        assert migrate("apply", file, *options) == 0
        assert github.values("repo:my-org/app") == WANTED
    assert "PRIVATE KEY" not in "".join(capfd.readouterr())
