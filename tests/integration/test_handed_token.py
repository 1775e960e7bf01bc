"""The command line in a job of GitLab's kind: OpenBao verifies the tokens that the job was handed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stand_ins.oidc import Issuer, gitlab_claims
from stand_ins.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs/ci-systems.md"
AUDIENCE = "https://vault.company.com:8200"
pytestmark = [
    pytest.mark.xdist_group("handed"),  # one set of servers
    pytest.mark.skipif(sys.platform == "win32", reason="the commands of the page are for a POSIX shell"),
]
VALUE = "correct-horse/battery+staple"
SHOW = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k == 'KEY' or 'TOKEN' in k}))"


@pytest.fixture(scope="module")
def gitlab() -> Iterator[Issuer]:
    with Issuer() as running:
        running.claims = gitlab_claims(running.url)
        yield running


@pytest.fixture(scope="module")
def vault(gitlab: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """A Vault that is set up by the commands of docs/ci-systems.md."""
    with Vault() as running:
        _run_page(running, gitlab, tmp_path_factory.mktemp("bao"))
        running.policy("imip", {"secret/data/imip": ["read"]})
        running.put("secret/imip", {"KEY": VALUE})
        yield running


def _run_page(vault: Vault, gitlab: Issuer, folder: Path) -> None:
    beside = str(Path(sys.executable).parent)
    program = shutil.which("bao", path=os.pathsep.join([beside, os.environ["PATH"]]))
    shell = shutil.which("bash")
    assert program
    assert shell
    (folder / "vault").symlink_to(program)
    (script,) = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    environ = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}
    environ |= {"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.root_token}
    command = [shell, "-euo", "pipefail", "-c", script.replace("https://gitlab.com", gitlab.url)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


def clean() -> dict[str, str]:
    """Return the environment without what leads to a store or belongs to a job."""
    foreign = ("GITHUB_", "ACTIONS_", "VAULT_", "BAO_", "IMIP_")
    return {name: text for name, text in os.environ.items() if not name.startswith(foreign)}


def run(vault: Vault, **variables: str) -> subprocess.CompletedProcess[str]:
    settings = ["--vault-addr", vault.url, "--vault-auth-path", "gitlab", "--vault-role", "imip-gitlab"]
    settings += ["--vault-audience", AUDIENCE]
    program = [sys.executable, "-m", "imip_secrets", "run", *settings, "vault://secret/imip"]
    return subprocess.run(
        [*program, "--", sys.executable, "-c", SHOW],
        env={**clean(), "GITLAB_CI": "true", **variables},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_a_token_of_gitlab_gives_the_secret_and_leaves_no_token_behind(vault: Vault, gitlab: Issuer) -> None:
    before = vault.accessors()
    done = run(vault, IMIP_ID_TOKEN_VAULT=gitlab.token(AUDIENCE), IMIP_ID_TOKEN_AWS=gitlab.token("sts.amazonaws.com"))
    # The command has the secret, and neither our ID tokens nor Vault's.
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, {"KEY": VALUE}, "")
    assert vault.accessors() == before


def test_a_token_from_a_file_and_from_a_command(vault: Vault, gitlab: Issuer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(gitlab.token(AUDIENCE))
    assert run(vault, IMIP_ID_TOKEN_FILE=str(file)).returncode == 0
    read = f'"{sys.executable}" -c "print(open(\'{file.as_posix()}\').read())"'
    assert run(vault, IMIP_ID_TOKEN_COMMAND=read).returncode == 0


LOAD = """
from imip_secrets import ImipError, load_secrets
settings = {"vault-auth-path": "gitlab", "vault-role": "imip-gitlab", "vault-audience": %r}
try:
    with load_secrets("vault://secret/imip", settings=settings) as secrets:
        print(secrets["KEY"])
        secrets.refresh()
except ImipError as error:
    print(error)
"""


def load(vault: Vault, **variables: str) -> str:
    """Return what an application prints."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD % AUDIENCE],
        env={**clean(), "VAULT_ADDR": vault.url, **variables},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_an_application_logs_in_with_what_it_is_handed(vault: Vault, gitlab: Issuer, tmp_path: Path) -> None:
    before = vault.accessors()
    file = tmp_path / "token"
    file.write_text(gitlab.token(AUDIENCE))
    read = f'"{sys.executable}" -c "print(open(\'{file.as_posix()}\').read())"'
    handed = {"IMIP_ID_TOKEN_VAULT": gitlab.token(AUDIENCE)}, {"IMIP_ID_TOKEN_FILE": str(file)}
    for variables in (*handed, {"IMIP_ID_TOKEN_COMMAND": read}):
        assert load(vault, **variables) == f"{VALUE}\n"
    assert vault.accessors() == before


def test_an_application_is_told_what_is_wrong_with_its_token(vault: Vault, gitlab: Issuer) -> None:
    token = gitlab.token(AUDIENCE, project_id="21")
    cases = {
        token: "fit the claim project_id.",
        gitlab.token("https://other.example"): f"there is none for the audience {AUDIENCE}: IMIP_ID_TOKEN is for",
        gitlab.token(AUDIENCE, exp=int(time.time()) - 3600): "the token of IMIP_ID_TOKEN ended 60 min ago",
        "": "this login needs an ID token, and there is none. Hand one over as IMIP_ID_TOKEN_FILE or IMIP_ID_TOKEN;",
    }
    for handed, expected in cases.items():
        said = load(vault, IMIP_ID_TOKEN=handed)
        assert len(said.splitlines()) == 1
        assert expected in said
        assert "eyJ" not in said


def test_what_openbao_has_against_a_token_is_said_in_one_line(vault: Vault, gitlab: Issuer) -> None:
    other = run(vault, IMIP_ID_TOKEN=gitlab.token(AUDIENCE, project_id="21", project_path="imip-group/other"))
    assert other.returncode == 1
    assert len(other.stderr.splitlines()) == 1
    assert "fit the claim project_id." in other.stderr
    assert "project_path=imip-group/other" in other.stderr
    forged = run(vault, IMIP_ID_TOKEN=gitlab.token(AUDIENCE)[:-8] + "AAAAAAAA")
    assert "oidc_discovery_url or jwks_url of auth/gitlab/config" in forged.stderr
    for done in (other, forged):
        assert "eyJ" not in done.stderr


def test_a_wrong_audience_a_token_that_is_over_and_garbage_never_reach_it(vault: Vault, gitlab: Issuer) -> None:
    before = len(gitlab.requests)
    cases = {
        gitlab.token("https://gitlab.example.com"): f"there is none for the audience {AUDIENCE}: IMIP_ID_TOKEN is for "
        "https://gitlab.example.com",
        gitlab.token(AUDIENCE, exp=int(time.time()) - 3600): "the token of IMIP_ID_TOKEN ended 60 min ago",
        "$CI_JOB_JWT_V2": "IMIP_ID_TOKEN holds no ID token",
    }
    for token, expected in cases.items():
        done = run(vault, IMIP_ID_TOKEN=token)
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
        assert expected in done.stderr
        assert token not in done.stderr
    assert len(gitlab.requests) == before
