"""The set-up that the pages tell, done by their own commands on real servers, is one that the action works with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml

from stand_ins.aws import ROLE, Aws
from stand_ins.oidc import OWNER, OWNER_ID, REPOSITORY, REPOSITORY_ID, Issuer
from stand_ins.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
AUDIENCE = "https://vault.company.com:8200"
KEYS = ("SECRET_KEY", "REFRESH_SECRET_KEY", "MONGO_URI", "OPENAI_API_KEY")
# What the pages ask the reader to replace.
OURS = {"ORG_ID": OWNER_ID, "REPO_ID": REPOSITORY_ID, "ORG": OWNER, "REPO": REPOSITORY}

pytestmark = [
    pytest.mark.xdist_group("docs"),  # one set of servers
    pytest.mark.skipif(sys.platform == "win32", reason="the commands of the pages are for a POSIX shell"),
]


class Servers(NamedTuple):
    issuer: Issuer
    vault: Vault
    aws: Aws


class Outcome(NamedTuple):
    status: int
    log: list[str]
    variables: list[str]


def _blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _run_blocks(page: str, servers: Servers, folder: Path) -> None:
    """Run every block of shell of a page, in order, with ``bao`` as ``vault``."""
    beside = str(Path(sys.executable).parent)
    program = shutil.which("bao", path=os.pathsep.join([beside, os.environ["PATH"]]))
    assert program
    (folder / "vault").symlink_to(program)
    script = "\n".join(_blocks(page, "sh")).replace("https://token.actions.githubusercontent.com", servers.issuer.url)
    for name, value in OURS.items():
        script = re.sub(rf"\b{name}\b", value, script)
    environ = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}
    environ |= {"VAULT_ADDR": servers.vault.url, "VAULT_TOKEN": servers.vault.root_token}
    shell = shutil.which("bash")
    assert shell
    done = subprocess.run(
        [shell, "-euo", "pipefail"], input=script, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers that are set up as docs/vault.md says; AWS has the secret of docs/aws.md."""
    with Issuer() as issuer, Vault() as vault, Aws() as aws:
        started = Servers(issuer, vault, aws)
        _run_blocks("docs/vault.md", started, tmp_path_factory.mktemp("bao"))
        aws.put("imip/production", _blocks("docs/aws.md", "json")[-1])
        yield started


def _act(servers: Servers, folder: Path, secrets: str, **inputs: str) -> Outcome:
    """Run the action with the inputs of the README's quick start."""
    files = {name: folder / name.lower() for name in ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for file in files.values():
        file.write_bytes(b"")
    given: Mapping[str, str] = {
        "SECRETS": secrets,
        "AWS_REGION": "us-east-1",
        "AWS_ROLE_TO_ASSUME": ROLE,
        "AWS_ENDPOINT_URL": servers.aws.url,
        "VAULT_ADDR": servers.vault.url,
        "VAULT_ROLE": "imip-ci",
        "VAULT_AUDIENCE": AUDIENCE,
        **inputs,
    }
    environ = {
        **servers.issuer.environ(),
        **{name: str(file) for name, file in files.items()},
        **{f"INPUT_{name}": text for name, text in given.items()},
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "RUNNER_TEMP": str(folder),
        "PYTHONPATH": str(ROOT / "src"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "imip_secrets", "action"], env=environ, capture_output=True, text=True, check=False
    )
    lines = (line for line in done.stdout.splitlines() if not line.startswith("::add-mask::"))
    # The runner shows an error without its title; two characters are escaped in it.
    shown = [re.sub(r"^::error title=imip-secrets::", "Error: ", line).replace("%25", "%") for line in lines]
    return Outcome(done.returncode, shown, re.findall(r"^(\w+)<<", files["GITHUB_ENV"].read_text(), re.MULTILINE))


def _subject(form: str) -> str:
    return {
        "by name": f"repo:{OWNER}/{REPOSITORY}:environment:production",
        "with ids": f"repo:{OWNER}@{OWNER_ID}/{REPOSITORY}@{REPOSITORY_ID}:environment:production",
    }[form]


@pytest.mark.parametrize("form", ["by name", "with ids"])
def test_the_role_of_the_page_lets_the_job_in_with_both_forms_of_its_subject(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setitem(servers.issuer.claims, "sub", _subject(form))
    done = _act(servers, tmp_path, "vault://secret/imip/production")
    assert (done.status, sorted(done.variables)) == (0, sorted(KEYS))


@pytest.mark.parametrize(
    "subject",
    [
        f"repo:{OWNER}/{REPOSITORY}:pull_request",
        f"repo:{OWNER}/{REPOSITORY}:environment:staging",
        f"repo:{OWNER}/other:environment:production",
        f"repo:{OWNER}@1/{REPOSITORY}@{REPOSITORY_ID}:environment:production",
    ],
)
def test_the_role_of_the_page_lets_no_other_job_in(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subject: str
) -> None:
    monkeypatch.setitem(servers.issuer.claims, "sub", subject)
    done = _act(servers, tmp_path, "vault://secret/imip/production")
    assert (done.status, done.variables) == (1, [])
    assert 'claim "sub"' in done.log[0]
    assert f"sub={subject}" in done.log[0]


def test_the_policies_of_the_page_allow_listings_and_the_other_namespace(servers: Servers, tmp_path: Path) -> None:
    done = _act(servers, tmp_path, "P_* = vault://secret/imip/*\nvault://secret/imip/production?namespace=team-a")
    assert (done.status, sorted(done.variables)) == (0, sorted([*(f"P_{key}" for key in KEYS), "TEAM_KEY"]))


def test_the_engine_of_the_page_issues_one_certificate_for_all_lines(servers: Servers, tmp_path: Path) -> None:
    lines = next(block for block in _blocks("docs/vault.md", "yaml") if "pki/issue" in block)
    done = _act(servers, tmp_path, yaml.safe_load(lines)["secrets"])
    assert (done.status, {"TLS_CERTIFICATE", "TLS_PRIVATE_KEY", "KEY_FILE"} - set(done.variables)) == (0, set())
    (file,) = tmp_path.glob("imip-secrets-*/KEY_FILE")
    assert file.read_text() in (tmp_path / "github_env").read_text()


def test_the_quick_start_gives_what_the_readme_says(servers: Servers, tmp_path: Path) -> None:
    workflow = yaml.safe_load(_blocks("README.md", "yaml")[0])
    (step,) = (step for step in workflow["jobs"]["deploy"]["steps"] if "secrets" in step.get("with", {}))
    done = _act(servers, tmp_path, step["with"]["secrets"])
    told = _blocks("README.md", "text")[0].splitlines()[-1]
    assert done.status == 0
    assert set(re.findall(r"\w+", done.log[-1])) == set(re.findall(r"\w+", told))


def test_the_errors_that_the_readme_shows_are_those_of_the_program(servers: Servers, tmp_path: Path) -> None:
    servers.vault.role("imip-ci", audience=AUDIENCE, policies=["imip-ci"], token_ttl="10m")
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## When something is missing")[2]
    wrong = yaml.safe_load(readme.partition("```yaml\n")[2].partition("```")[0])["secrets"]
    told = readme.partition("```text\n")[2].partition("```")[0].splitlines()
    done = _act(servers, tmp_path, wrong)
    assert (done.status, done.variables) == (1, [])
    assert done.log == told


def test_a_run_with_the_doctor_sets_nothing_and_shows_the_subject(servers: Servers, tmp_path: Path) -> None:
    done = _act(servers, tmp_path, "aws://imip/production\nAPP_* = vault://secret/imip/production", MODE="doctor")
    assert (done.status, done.variables) == (0, [])
    assert any(f"sub={_subject('by name')}" in line for line in done.log)
    assert "sk-production-key-here" not in "\n".join(done.log)
