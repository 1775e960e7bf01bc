"""The image as it is shipped: built of the Dockerfile, and run as the runner and other CI systems run it.

``make image-test`` runs this, since it takes root, Debian's tools, and minutes where there is no base yet.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import urllib.parse
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from runner_model import Log
from stand_ins import debian, shipped
from stand_ins.aws import ROLE, Aws
from stand_ins.azure import CLIENT, TENANT, Azure
from stand_ins.image import KEPT, REVISION, RUNNER, VERSION, DockerJob, built, lacking
from stand_ins.oidc import Issuer, gitlab_claims
from stand_ins.postgres import ROLE as ROLE_OF_DATABASE
from stand_ins.postgres import Postgres, programs
from stand_ins.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stand_ins.container import Container, Ended

# The first one builds the image, and its base where there is none.
pytestmark = pytest.mark.timeout(1500)

HOME = "opt/imip-secrets"
LIMIT = 80 * 10**6
NOBODY = 65532
AUDIENCE = "https://vault.company.com:8200"
IN_AWS = {"SECRET_KEY": "correct-horse/battery+staple", "MONGO_URI": "mongodb+srv://imip:p%40ssw0rd-x@db.example/imip"}
IN_VAULT = {
    "GREETING": "Grüße, 世界 🔑",
    "TLS_KEY": "-----BEGIN KEY-----\nMIIBVgIBADANBgkqhkiG9w0\n-----END KEY-----\n",
}
EXPECTED = {**IN_AWS, **{f"APP_{name}": value for name, value in IN_VAULT.items()}}


@pytest.fixture(scope="module")
def image() -> Iterator[Container]:
    if lacking():
        pytest.skip(lacking())
    with built() as unpacked:
        yield unpacked


class Servers(NamedTuple):
    issuer: Issuer
    aws: Aws
    vault: Vault


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Issuer() as issuer, Aws() as aws, Vault() as vault:
        aws.put("imip/production", IN_AWS)
        vault.trust(issuer)
        vault.policy("imip", {"secret/data/imip": ["read"]})
        vault.role("imip-ci", audience=AUDIENCE, policies=["imip"], bound_subject=issuer.claims["sub"])
        vault.put("secret/imip", IN_VAULT)
        yield Servers(issuer, aws, vault)


def log_of(job: DockerJob, ended: Ended) -> Log:
    """Give what the runner makes of a step: its output first, then its files."""
    log = Log(debug=True).feed(ended.out.encode())
    log.apply_env(job.file("env").read_bytes())
    log.apply_output(job.file("output").read_bytes())
    return log.end_step()


@pytest.fixture
def job(tmp_path: Path, servers: Servers) -> DockerJob:
    return DockerJob(tmp_path, servers.issuer)


def everything(servers: Servers) -> dict[str, str]:
    return {
        "aws_region": "us-east-1",
        "aws_role_to_assume": ROLE,
        "aws_endpoint_url": servers.aws.url,
        "vault_addr": servers.vault.url,
        "vault_role": "imip-ci",
        "vault_audience": AUDIENCE,
        "secrets": "aws://imip/production\nAPP_* = vault://secret/imip",
    }


# --- a Docker action


def test_a_job_gets_its_secrets_masked_through_the_mounts_of_the_runner(
    image: Container, job: DockerJob, servers: Servers
) -> None:
    before = servers.vault.accessors()
    ended = job.run(image, **everything(servers))
    assert (ended.status, ended.err) == (0, "")
    log = log_of(job, ended)
    assert log.environment == EXPECTED
    assert json.loads(log.outputs["json"]) == EXPECTED
    assert log.outputs["count"] == "4"
    shown = log.text + job.file("step_summary").read_text(encoding="utf-8")
    password = urllib.parse.urlsplit(IN_AWS["MONGO_URI"]).password or ""
    for value in [*EXPECTED.values(), *IN_VAULT["TLS_KEY"].splitlines(), password, *servers.issuer.issued]:
        assert value not in shown
    assert "SECRET_KEY" in shown
    assert servers.vault.accessors() == before


def test_what_an_earlier_step_left_has_no_say(image: Container, job: DockerJob, servers: Servers) -> None:
    workspace = job.workspace
    for name in ("json.py", "hvac.py", "sitecustomize.py", "imip_secrets.py"):
        (workspace / name).write_text("raise SystemExit('the workspace was imported')")
    hostile = {
        "PATH": "/github/workspace",
        "PYTHONPATH": "/github/workspace",
        "PYTHONHOME": "/github/workspace",
        "PYTHONSTARTUP": "/github/workspace/json.py",
        "OPENSSL_CONF": "/github/workspace/json.py",
        "VAULT_ADDR": "https://evil.example",
        "AWS_ENDPOINT_URL": "https://evil.example",
        "IMIP_ID_TOKEN": servers.issuer.token(AUDIENCE, sub="somebody else"),
        "LANG": "tlh",
    }
    ended = job.run(image, hostile, **everything(servers))
    assert ended.status == 0, ended.out + ended.err
    log = log_of(job, ended)
    assert log.environment == EXPECTED
    assert "Ignored, since only inputs count here: AWS_ENDPOINT_URL, IMIP_ID_TOKEN" in log.text


def test_a_mistake_fails_the_step_and_exports_nothing(image: Container, job: DockerJob, servers: Servers) -> None:
    given = everything(servers)
    ended = job.run(image, **{**given, "secrets": f"{given['secrets']}\naws://imip/none"})
    assert ended.status == 1
    assert "line 3, aws://imip/none" in ended.out
    assert job.file("env").read_bytes() == job.file("output").read_bytes() == b""
    assert "imip/none" in job.file("step_summary").read_text(encoding="utf-8")


def test_later_steps_find_a_file_by_its_path_and_it_is_gone_when_the_job_ends(
    image: Container, job: DockerJob, servers: Servers
) -> None:
    ended = job.run(image, **{**everything(servers), "secrets": "KEY = vault://secret/imip?as=file#TLS_KEY"})
    assert ended.status == 0, ended.out + ended.err
    path = Path(log_of(job, ended).environment["KEY"])
    assert path.is_relative_to(job.temp)
    assert path.read_text(encoding="utf-8") == IN_VAULT["TLS_KEY"]
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (RUNNER, 0o600)
    assert job.left()
    ended = job.end(image)
    assert (ended.status, ended.err) == (0, "")
    assert "Cleaned up: 0 leases revoked, 1 variable emptied, 1 file removed." in ended.out
    assert not path.exists()
    assert job.left() == []
    assert log_of(job, ended).environment["KEY"] == ""


@pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed")
def test_credentials_that_vault_makes_work_until_the_job_ends(
    image: Container, job: DockerJob, servers: Servers
) -> None:
    with Postgres() as postgres:
        postgres.behind(servers.vault)
        servers.vault.policy("database", {f"database/creds/{ROLE_OF_DATABASE}": ["read"]})
        servers.vault.role("database", audience=AUDIENCE, policies=["database"])
        before = servers.vault.accessors()
        lines = f"DB_* = vault://database/creds/{ROLE_OF_DATABASE}"
        ended = job.run(image, **{**everything(servers), "vault_role": "database", "secrets": lines})
        assert ended.status == 0, ended.out + ended.err
        given = log_of(job, ended).environment
        assert postgres.lets_in(given["DB_USERNAME"], given["DB_PASSWORD"])
        ended = job.end(image)
        assert "Cleaned up: 1 lease revoked, 2 variables emptied, 0 files removed." in ended.out
        assert postgres.is_empty()
        assert servers.vault.accessors() == before


def test_a_dotenv_file_goes_to_the_workspace(image: Container, job: DockerJob, servers: Servers) -> None:
    ended = job.run(image, **{**everything(servers), "env_file": "out/.env", "export_env": "false"})
    assert ended.status == 1  # there is no such folder, and no step of ours makes one
    (job.workspace / "out").mkdir()
    ended = job.run(image, **{**everything(servers), "env_file": "out/.env", "export_env": "false"})
    assert ended.status == 0, ended.out
    file = job.workspace / "out" / ".env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert IN_AWS["SECRET_KEY"] in file.read_text(encoding="utf-8")


def test_azure_is_read_with_the_libraries_of_the_image_and_no_index(
    image: Container, job: DockerJob, servers: Servers
) -> None:
    with Azure(servers.issuer) as azure:
        azure.put("SECRET-KEY", "from-azure/42")
        ended = job.run(
            image,
            azure_tenant_id=TENANT,
            azure_client_id=CLIENT,
            azure_authority_host=azure.url,
            ca_certificate=azure.pem,
            secrets=f"azure://{azure.host}/SECRET-KEY",
        )
    assert ended.status == 0, ended.out + ended.err
    assert log_of(job, ended).environment == {"SECRET_KEY": "from-azure/42"}


def test_every_set_of_libraries_is_there(image: Container) -> None:
    script = (
        "import sys; sys.path += ['/opt/imip-secrets/libraries', '/opt/imip-secrets/bundle']; "
        "import botocore.session, azure.identity, azure.keyvault.secrets, github, nacl.public, ssl; "
        "nacl.public.PrivateKey.generate(); print('all there')"
    )
    ended = image.run("-I", "-S", "-c", script, entrypoint="/opt/imip-secrets/python", user=NOBODY)
    assert (ended.status, ended.out) == (0, "all there\n"), ended.err


# --- other places


def test_run_gives_the_secrets_to_a_command_for_a_user_who_is_nobody(image: Container, servers: Servers) -> None:
    with Issuer() as gitlab:
        gitlab.claims = gitlab_claims(gitlab.url)
        servers.vault.trust(gitlab, mount="gitlab")
        bound = {"project_id": "20", "ref_protected": "true"}
        servers.vault.role("gitlab", mount="gitlab", audience=AUDIENCE, policies=["imip"], bound_claims=bound)
        options = ("--vault-role", "gitlab", "--vault-auth-path", "gitlab", "--vault-audience", AUDIENCE)
        ended = image.run(
            *("run", *options, "vault://secret/imip", "--"),
            *("sh", "-c", 'id -u; echo "$GREETING"; env | grep -c IMIP_ID_TOKEN; exit 7'),
            environ={"IMIP_ID_TOKEN": gitlab.token(AUDIENCE), "VAULT_ADDR": servers.vault.url},
            user=NOBODY,
        )
    # Nothing can be written anywhere, not even to /tmp.
    assert (ended.status, ended.out, ended.err) == (7, f"{NOBODY}\n{IN_VAULT['GREETING']}\n0\n", "")


def test_the_command_line_has_every_library_too(image: Container, servers: Servers, tmp_path: Path) -> None:
    with Azure(servers.issuer) as azure:
        azure.put("SECRET-KEY", "from-azure/42")
        (tmp_path / "ca.pem").write_text(azure.pem)
        ended = image.run(
            *("export", "--format", "json", "--ca-certificate", "/given/ca.pem", f"azure://{azure.host}/SECRET-KEY"),
            environ={
                "IMIP_ID_TOKEN": servers.issuer.token("api://AzureADTokenExchange"),
                "AZURE_TENANT_ID": TENANT,
                "AZURE_CLIENT_ID": CLIENT,
                "AZURE_AUTHORITY_HOST": azure.url,
            },
            mounts={tmp_path: "/given"},
        )
    assert (ended.status, ended.err) == (0, "")
    assert json.loads(ended.out) == {"SECRET_KEY": "from-azure/42"}


def test_the_program_is_a_command_for_jobs_that_run_in_the_image(image: Container) -> None:
    ended = image.run("-c", "imip-secrets --version", entrypoint="/bin/sh", user=NOBODY)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == image.run("--version").out


def test_without_a_command_it_shows_its_help(image: Container) -> None:
    ended = image.run()
    assert ended.status == 0
    assert ended.out.startswith("usage: imip-secrets ")


# --- what it holds


def test_its_entry_point_is_absolute_and_isolated_and_its_labels_say_what_it_is(image: Container) -> None:
    config = image.config
    assert config["Entrypoint"] == [f"/{HOME}/python", "-I", "-S", "-X", "utf8", f"/{HOME}/launch.py"]
    assert "Healthcheck" not in config
    assert "User" not in config
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    assert (labels["version"], labels["revision"], labels["licenses"]) == (VERSION, REVISION, "MIT")


def test_it_has_no_installer_no_perl_and_no_program_that_runs_as_somebody_else(image: Container) -> None:
    names: set[str] = set()
    for folder, _, files in os.walk(image.root):
        for name in files:
            mode = Path(folder, name).lstat().st_mode
            assert not mode & (stat.S_ISUID | stat.S_ISGID) or not stat.S_ISREG(mode), name
            if stat.S_ISREG(mode) and mode & 0o111:
                names.add(name)
    unwanted = ("pip", "apt", "dpkg", "perl", "idle", "gcc", "curl", "wget", "finish.py")
    assert [name for name in sorted(names) if name.startswith(unwanted)] == []
    assert "sh" in names or (image.root / "bin/sh").exists()
    assert not (image.root / HOME / "finish.py").exists()
    assert not list(image.root.glob("usr/lib/python3*/ensurepip"))


def test_only_root_can_write_to_the_program_and_nothing_else_is_left_in_it(image: Container) -> None:
    home = image.root / HOME
    assert sorted(entry.name for entry in home.iterdir()) == [
        *("LICENSE", "bundle", "cleanup", "launch.py", "libraries", "python", "step"),
    ]
    for entry in [home, *home.rglob("*")]:
        facts = entry.lstat()
        assert (facts.st_uid, facts.st_gid) == (0, 0)
        assert stat.S_ISLNK(facts.st_mode) or not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def test_its_byte_code_is_that_of_its_own_python_alone(image: Container) -> None:
    tags = {file.name.split(".")[-2] for file in (image.root / HOME).rglob("*.pyc")}
    assert tags == {f"cpython-{debian.python(debian.tree(KEPT)).replace('.', '')}"}
    assert list(image.root.glob(f"{HOME}/libraries/azure/identity/__pycache__/*.pyc"))


def test_the_bundle_in_it_is_the_one_that_is_released(image: Container) -> None:
    inside, released = image.root / HOME / "bundle", shipped.built()
    assert (inside / "MANIFEST").read_bytes() == (released / "MANIFEST").read_bytes()


def test_it_is_small(image: Container) -> None:
    """Compressed, as a registry keeps it. The base of a release is another one, whose size the release looks at."""
    tar = subprocess.Popen([shutil.which("tar") or "tar", "-C", str(image.root), "-c", "."], stdout=subprocess.PIPE)
    packer, size = zlib.compressobj(6, zlib.DEFLATED, 31), 0
    with tar:
        assert tar.stdout
        while block := tar.stdout.read(1 << 20):
            size += len(packer.compress(block))
    size += len(packer.flush())
    print(f"the image has {size / 1e6:.1f} MB, compressed")  # noqa: T201  # shown by make image-test
    assert size < LIMIT
