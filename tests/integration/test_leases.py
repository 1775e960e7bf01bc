"""A hundred jobs that go well, fail or are cancelled at any request: no credentials outlive one of them.

Real parts: OpenBao's database engine, PostgreSQL, and the program. The seed is fixed.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from imip_secrets import cli
from imip_secrets.runner import files, handover
from job import Job, failing_at
from stand_ins.faults import Answer, FaultServer, answer, wait_until
from stand_ins.github import GitHub
from stand_ins.memory import Memory
from stand_ins.oidc import Issuer
from stand_ins.postgres import ROLE, Postgres, programs
from stand_ins.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stand_ins.faults import Request, Step

ROOT = Path(__file__).parents[2]
SEED = 20261127
WELL, FAILED, CANCELLED = 40, 30, 30
ENDED_WITHIN = 100.0

pytestmark = [
    pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed (the package postgresql)"),
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"),
]


class Moment:
    """When a step is interrupted: at one of its requests to Vault.

    Args:
        number: At which, from 0.
        answered: Whether Vault has answered it by then. The step never has the answer before the interruption.

    """

    def __init__(self, number: int, *, answered: bool) -> None:
        self.number, self.answered = number, answered
        self.interrupt: Future[Callable[[], None]] = Future()
        self._requests = itertools.count()

    def is_now(self) -> bool:
        """Count a request, and tell whether it is the one."""
        return next(self._requests) == self.number


class Counting(FaultServer):
    """Stands before Vault, and remembers every lease that it gave.

    Attributes:
        withheld: Set when credentials are made, which are not passed on then; or None.
        moment: When to interrupt who asks, or None.

    """

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream=upstream)
        self.leases: list[str] = []
        self.withheld: threading.Event | None = None
        self.moment: Moment | None = None

    def respond(self, request: Request) -> Step:
        moment = self.moment if self.moment and self.moment.is_now() else None
        if moment and not moment.answered:
            moment.interrupt.result(ENDED_WITHIN)()
        step = super().respond(request)
        if moment and moment.answered:
            moment.interrupt.result(ENDED_WITHIN)()
        if isinstance(step, Answer):
            made = re.findall(r'"lease_id":"([^"]+)"', step.body.decode(errors="replace"))
            self.leases += made
            if made and self.withheld:
                self.withheld.set()
                return "hang"
        return step


class Servers(NamedTuple):
    issuer: Issuer
    vault: Vault
    front: Counting
    postgres: Postgres
    before: set[str]

    def given(self) -> dict[str, str]:
        """Return the inputs of the action."""
        return {"vault_addr": self.front.url, "vault_role": "imip-ci"}

    def living(self) -> list[str]:
        """Return the leases that are not revoked."""
        return [lease for lease in self.front.leases if self._lives(lease)]

    def _lives(self, lease: str) -> bool:
        return self.vault.call("PUT", "sys/leases/lookup", {"lease_id": lease})[0] == 200


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Issuer() as issuer, Postgres() as postgres, Vault() as vault, Counting(vault.url) as front:
        postgres.behind(vault)
        vault.trust(issuer)
        rules = {f"database/creds/{ROLE}": ["read"], "secret/data/imip/*": ["read"]}
        vault.policy("imip", rules)
        vault.role("imip-ci", audience=front.url, policies=["imip"], bound_subject=issuer.claims["sub"])
        vault.put("secret/imip/production", {"SECRET_KEY": "s3cret-of-a-test"})
        yield Servers(issuer, vault, front, postgres, vault.accessors())


def drawn(draw: random.Random, name: str) -> str:
    """Return a request with dynamic credentials, on one or several lines."""
    lines = [
        f"{name}_USER = vault://database/creds/{ROLE}#username",
        f"{name}_PASS = vault://database/creds/{ROLE}#password",
        f"{name}_FILE = vault://database/creds/{ROLE}?as=file#password",
        f"{name}_* = vault://secret/imip/production",
    ]
    return "\n".join([lines[0], *draw.sample(lines[1:], draw.randint(0, 3))])


def one_of(folder: Path, servers: Servers) -> Job:
    folder.mkdir()
    job = Job(folder)
    (files.private_folder(job.temp) / handover.MARK).touch()
    job.environ |= servers.issuer.environ()
    return job


def clean(job: Job) -> str:
    """Run the cleanup, and return what it says at last."""
    assert job.start("cleanup", Memory()) == 0
    assert list(job.temp.iterdir()) == []
    return job.stdout.decode().splitlines()[-1]


def goes_well(job: Job, draw: random.Random, servers: Servers) -> int:
    """Run one or two steps, clean up, and return how many leases the cleanup says that it revoked."""
    for step in range(draw.randint(1, 2)):
        assert job.run(drawn(draw, f"S{step}"), Memory(), **servers.given()) == 0, job.stdout
    said = clean(job)
    return int(re.findall(r"(\d+) leases? revoked", said)[0])


def fails(job: Job, draw: random.Random, servers: Servers) -> None:
    """Run a step that fails in one of several ways: at Vault, at a check, or at any moment of the delivery."""
    secrets = drawn(draw, "S")
    way = draw.choice(["missing", "denied", "taken", "nul", "disk"])
    if way == "disk":
        with failing_at(draw.randrange(6), draw.choice([OSError(errno.ENOSPC, "No space"), KeyboardInterrupt()])):
            status = job.run(secrets, Memory(), **servers.given())
    else:
        wrong = {
            "missing": "\nvault://secret/imip/none",
            "denied": "\nvault://secret/other",
            "taken": "",
            "nul": "\nmemory://nul",
        }
        job.environ["S_USER"] = "somebody else" if way == "taken" else ""
        status = job.run(secrets + wrong[way], Memory({"nul": b"\0"}), **servers.given())
    assert status in {1, 130}, job.stdout
    # Nobody waits for the end of the job: what failed has ended what it had made.
    if draw.random() < 0.5:
        clean(job)


def of_step(job: Job, secrets: str, servers: Servers) -> dict[str, str]:
    """Return the environment of the program as a process of its own."""
    given = {f"INPUT_{name.upper()}": text for name, text in servers.given().items()}
    return {**job.environ, **given, "INPUT_SECRETS": secrets, "PYTHONPATH": str(ROOT / "src")}


def is_cancelled(job: Job, moment: Moment, secrets: str, number: signal.Signals, servers: Servers) -> bool:
    """Interrupt the program at that moment, and clean up as the job's end does; tell whether it was in time."""
    environ = of_step(job, secrets, servers)
    command = [sys.executable, "-m", "imip_secrets"]
    servers.front.moment = moment
    with subprocess.Popen([*command, "action"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as step:
        moment.interrupt.set_result(partial(step.send_signal, number))
        _, errors = step.communicate(timeout=ENDED_WITHIN)
    servers.front.moment = None
    assert b"Traceback" not in errors or b"<frozen" in errors, errors
    subprocess.run([*command, "cleanup"], env=environ, check=True, capture_output=True, timeout=ENDED_WITHIN)
    assert list(job.temp.iterdir()) == []
    return step.returncode != 0


def test_as_many_leases_are_revoked_as_were_made_in_a_hundred_jobs(servers: Servers, tmp_path: Path) -> None:
    draw = random.Random(SEED)  # noqa: S311 - what is drawn is no secret
    revoked = sum(goes_well(one_of(tmp_path / f"well-{number}", servers), draw, servers) for number in range(WELL))
    assert revoked == len(servers.front.leases) >= WELL
    for number in range(FAILED):
        fails(one_of(tmp_path / f"failed-{number}", servers), draw, servers)
    cancelled = 0
    for number in range(CANCELLED):
        moment = Moment(number % 5, answered=draw.random() < 0.5)
        signum = draw.choice((signal.SIGINT, signal.SIGTERM))
        job = one_of(tmp_path / f"cancelled-{number}", servers)
        cancelled += is_cancelled(job, moment, drawn(draw, "S"), signum, servers)
    assert cancelled >= CANCELLED * 3 // 5  # no step makes fewer than three requests
    end = time.monotonic() + ENDED_WITHIN
    while servers.living() and time.monotonic() < end:
        time.sleep(0.1)  # Vault revokes in its own time
    assert servers.living() == []
    assert servers.postgres.is_empty()
    assert servers.vault.accessors() == servers.before


def test_credentials_of_a_step_that_was_killed_while_they_were_made_end_with_its_job(
    servers: Servers, tmp_path: Path
) -> None:
    job = one_of(tmp_path / "job", servers)
    servers.front.withheld = made = threading.Event()
    environ = of_step(job, f"S = vault://database/creds/{ROLE}#username", servers)
    command = [sys.executable, "-m", "imip_secrets", "action"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as step:
        assert made.wait(60)
        step.kill()
        step.communicate(timeout=60)
    servers.front.withheld = None
    assert len(servers.living()) == 1
    clean(job)
    assert (
        b"Vault: a step was killed while it got credentials; its login is revoked, and all of them too." in job.stdout
    )
    assert wait_until(lambda: not servers.living(), 60)  # Vault revokes in its own time
    assert servers.postgres.is_empty()
    assert servers.vault.accessors() == servers.before


def test_an_audit_of_names_leaves_no_credentials(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    servers.vault.policy(
        "auditor", {f"database/creds/{ROLE}": ["read"], "sys/leases/revoke": ["update"], "secret/*": ["read"]}
    )
    monkeypatch.setenv("VAULT_ADDR", servers.front.url)
    monkeypatch.setenv("VAULT_TOKEN", servers.vault.token("auditor"))
    before = len(servers.front.leases)
    with GitHub() as github:
        github.organization("my-org")
        github.repository("my-org/app")
        monkeypatch.setenv("GH_TOKEN", github.fine_grained("my-org/app", secrets="write"))
        options = ("--to", "repo:my-org/app", "--github-api-url", github.url)
        assert cli.main(["audit", *options, f"DB_* = vault://database/creds/{ROLE}"]) == 0
    assert len(servers.front.leases) > before
    assert not servers.living()


def test_a_cleanup_that_cannot_reach_vault_says_how_long_the_credentials_live(servers: Servers, tmp_path: Path) -> None:
    job = one_of(tmp_path / "job", servers)
    assert job.run(f"S = vault://database/creds/{ROLE}#username", Memory(), **servers.given()) == 0
    servers.front.script(*[answer(503)] * 99, when=lambda request: "revoke" in request.path)
    said = clean(job)
    assert said == "Cleaned up: 0 leases revoked, 1 variable emptied, 0 files removed."
    assert b"They live: database/creds/imip-app for 20m." in job.stdout
    for lease in servers.living():
        servers.vault.do("PUT", "sys/leases/revoke", {"lease_id": lease, "sync": True})
    assert servers.postgres.is_empty()


@pytest.mark.parametrize("revocable", [True, False])
@pytest.mark.parametrize("ended", ["by itself", "from outside"])
def test_credentials_at_the_command_line_end_with_the_command(
    servers: Servers, tmp_path: Path, ended: str, *, revocable: bool
) -> None:
    rules = {f"database/creds/{ROLE}": ["read"], **({"sys/leases/revoke": ["update"]} if revocable else {})}
    servers.vault.policy("person", rules)
    token = servers.vault.token("person")
    names = {"VAULT_ADDR": servers.vault.url, "VAULT_TOKEN": token, "HOME": str(tmp_path)}
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), **names}
    script = "import os, sys; print(os.environ['DB_USERNAME'], os.environ['DB_PASSWORD'], flush=True); sys.stdin.read()"
    command = [sys.executable, "-m", "imip_secrets", "run", f"DB_* = vault://database/creds/{ROLE}", "--"]
    with subprocess.Popen(
        [*command, sys.executable, "-c", script],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        user, password = process.stdout.readline().split()
        assert servers.postgres.lets_in(user, password)
        if ended == "from outside":
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=ENDED_WITHIN)  # with its input open: at the end of it the command would end by itself
        _, said = process.communicate(timeout=ENDED_WITHIN)
    assert process.returncode == (128 + signal.SIGTERM if ended == "from outside" else 0)
    assert servers.postgres.lets_in(user, password) != revocable
    rule = 'a policy must have path "sys/leases/revoke"'
    assert (said == "") if revocable else (rule in said and "They live: database/creds/imip-app for 1h." in said)
    servers.vault.do("PUT", "sys/leases/revoke-prefix/database/creds")
    assert servers.postgres.is_empty()
    assert servers.vault.lives(token)
    servers.vault.do("POST", "auth/token/revoke", {"token": token})
