"""The sync as a whole: from stores to the stand-in for GitHub, in how many requests, and when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from imip_secrets.sync import github as back_end
from imip_secrets.sync.apply import Outcome
from stand_ins.aws import Aws
from stand_ins.faults import wait_until
from stand_ins.github import GitHub
from stand_ins.memory import Versioned
from stand_ins.sync_runs import MANIFEST, World, outcomes, secret
from stand_ins.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imip_secrets.sync.base import Access
    from imip_secrets.sync.base import GitHub as BackEnd

LIST = "GET /repos/{owner}/{repo}/{app}/secrets"
HOME = "repo:o/home"


@dataclass
class Real(World):
    """Runs whose GitHub is the stand-in, asked through the back end."""

    api: GitHub = field(default_factory=GitHub)
    clients: list[BackEnd] = field(default_factory=list)

    def inputs(self) -> dict[str, str]:
        given = super().inputs() | {"github-token": self.api.token, "github-api-url": self.api.url}
        if self.remembers:
            given["sync-manifest"] = self.api.values(HOME).get(MANIFEST, "")
        return given

    def open(self, access: Access) -> BackEnd:
        self.clients.append(back_end.open_github(access))
        return self.clients[-1]


@pytest.fixture
def api() -> Iterator[GitHub]:
    with GitHub() as made:
        made.organization("o")
        made.repository("o/home")
        yield made


def many(api: GitHub, repositories: int, secrets: int) -> Real:
    """Return ten repositories, say, that are all to have the same ten secrets."""
    for number in range(repositories):
        api.repository(f"o/r{number}")
    store = Versioned({f"imip/s{number}": secret(f"value {number} \r\n é") for number in range(secrets)})
    lines = "\n".join(f"memory://imip/s{number}" for number in range(secrets))
    to = "\n".join(f"repo:o/r{number}" for number in range(repositories))
    return Real(api=api, store=store, lines=lines, to=to, remembers=True)


def test_ten_repositories_and_ten_secrets_take_130_requests_and_3_for_the_manifest(api: GitHub) -> None:
    world = many(api, 10, 10)
    assert set(outcomes(world.run()).values()) == {Outcome.CREATED}
    assert len(api.sent) <= 133
    # With the manifest before and after.
    assert len(api.writes()) == 102
    expected = {f"S{number}": f"value {number} \r\n é" for number in range(10)}
    assert all(api.values(f"repo:o/r{number}") == expected for number in range(10))
    api.forget()
    # Nothing changed: a listing a scope, and no value is read.
    assert set(outcomes(world.run()).values()) == {Outcome.UNCHANGED}
    assert api.counts() == {LIST: 10}
    assert world.store.fetched() == ()
    # One secret changed: one value is read, ten are written.
    api.forget()
    world.store.secrets["imip/s3"] = secret("new")
    world.run()
    assert world.store.fetched() == ("imip/s3",)
    assert len(api.writes()) == 12
    assert api.limits.refused == 0


def test_an_edit_by_hand_is_found_and_repaired(api: GitHub) -> None:
    world = many(api, 2, 2)
    world.run()
    secrets = api.vault("repo:o/r1").secrets
    secrets["S1"] = replace(secrets["S1"], updated=secrets["S1"].updated + 60)
    result = outcomes(world.run())
    assert [name for name, outcome in result.items() if outcome is Outcome.REPAIRED] == ["repo:o/r1 S1"]


def test_every_kind_of_target_in_one_run(api: GitHub) -> None:
    api.repository("o/app", topics=["deploy"]).environment("prod/eu")
    api.repository("o/old", archived=True, topics=["deploy"])
    world = Real(
        api=api,
        to="repo:o/app?app=dependabot,codespaces,agents\nenv:o/app/prod%2Feu\norg:o?repos=app,home&app=actions,dependabot\n"
        "org:o?app=codespaces,agents\nrepos:o?topic=deploy",
        remembers=True,
    )
    mirrored = world.run()
    assert not mirrored.failed()
    expected = {"ONE": "1", "TWO": "2"}
    for app in ("actions", "dependabot", "codespaces", "agents"):
        assert api.values("repo:o/app", app) == expected
        assert api.values("org:o", app) == expected
    assert api.values("env:o/app/prod/eu") == expected
    api.forget()
    assert set(outcomes(world.run()).values()) == {Outcome.UNCHANGED}
    assert api.writes() == []


# --- processes that are killed


REPOSITORIES, SECRETS, CHANGED = 6, 8, 6


@pytest.fixture(scope="module")
def vault() -> Iterator[Vault]:
    with Vault() as running:
        yield running


class Clock:
    """GitHub's clock, which may be turned."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.time() + self.ahead


class Machine:
    """A machine that runs the sync as a process: from OpenBao to the stand-in."""

    def __init__(self, vault: Vault, api: GitHub) -> None:
        self.api, self.vault = api, vault
        for number in range(REPOSITORIES):
            api.repository(f"o/r{number}")

    def put(self, word: str, count: int) -> None:
        for number in range(count):
            self.vault.put(f"secret/imip/s{number}", {"value": f"{word} {number}"})

    def start(self, *more: str, secrets: int = SECRETS) -> subprocess.Popen[str]:
        given = {
            **{name: text for name, text in os.environ.items() if not name.startswith(("GITHUB_", "INPUT_"))},
            "VAULT_ADDR": self.vault.url,
            "VAULT_TOKEN": self.vault.root_token,
            "GH_TOKEN": self.api.token,
            "GITHUB_API_URL": self.api.url,
            "GITHUB_REPOSITORY": "o/home",
            "IMIP_SYNC_MANIFEST": self.api.values(HOME).get(MANIFEST, ""),
        }
        targets = [text for number in range(REPOSITORIES) for text in ("--to", f"repo:o/r{number}")]
        lines = [f"S{number} = vault://secret/imip/s{number}#value" for number in range(secrets)]
        kept = ("--sync-manifest-secret", MANIFEST)
        return subprocess.Popen(
            [sys.executable, "-m", "imip_secrets", "sync", *targets, *kept, *more, *lines],
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self) -> str:
        self.api.forget()
        said, _ = (running := self.start()).communicate(timeout=300)
        assert running.returncode == 0, said
        return said

    def written(self) -> list[str]:
        """Return the secrets that were written."""
        return [one.path for one in self.api.writes() if MANIFEST not in one.path]

    def holds(self, word: str) -> list[str]:
        """Return the secrets whose values have this word."""
        return [
            f"/repos/o/r{number}/actions/secrets/{name}"
            for number in range(REPOSITORIES)
            for name, value in self.api.values(f"repo:o/r{number}").items()
            if value.startswith(word)
        ]

    def expected(self, word: str) -> bool:
        values = {f"S{number}": f"{word if number < CHANGED else 'first'} {number}" for number in range(SECRETS)}
        return all(self.api.values(f"repo:o/r{number}") == values for number in range(REPOSITORIES))


@pytest.mark.parametrize("requests", [8, 14, 33, 55])
def test_a_process_that_is_killed_is_brought_to_its_end_by_the_next(vault: Vault, requests: int) -> None:
    clock = Clock()
    with GitHub(check=False, time=clock.now) as api:
        api.repository("o/home")
        machine = Machine(vault, api)
        machine.put("first", SECRETS)
        machine.run()
        assert machine.expected("first")
        machine.put("second", CHANGED)
        # So that a write of this second is not one of the last run.
        clock.ahead += 600
        api.forget()
        started: list[subprocess.Popen[str]] = []

        def end() -> None:
            assert wait_until(lambda: bool(started))
            started[0].kill()

        api.stop_after(requests, end)
        started.append(running := machine.start())
        running.communicate(timeout=300)
        api.drain()
        assert running.returncode == -signal.SIGKILL
        assert len(api.sent) >= requests
        first = machine.holds("second")
        machine.run()
        assert machine.expected("second")
        assert sorted([*first, *machine.written()]) == sorted(machine.holds("second"))
        assert "unchanged" in machine.run()
        assert api.writes() == []


def test_two_processes_at_once_delete_nothing_and_the_next_does(vault: Vault) -> None:
    with GitHub(check=False) as api:
        api.repository("o/home")
        machine = Machine(vault, api)
        machine.put("first", SECRETS)
        machine.run()
        prune = ("--sync-prune", "true", "--sync-max-deletions", "100")
        for _ in range(3):
            both = [machine.start(*prune, secrets=SECRETS - 1) for _ in range(2)]
            said = "".join(running.communicate(timeout=300)[0] for running in both)
            if said.count("another run of this sync is at work") == len(both):
                break
            # On a busy machine one was over before the other began.
            machine.run()
        assert said.count("another run of this sync is at work") == len(both), said
        assert machine.expected("first")
        alone = machine.start(*prune, secrets=SECRETS - 1)
        said, _ = alone.communicate(timeout=300)
        assert "6 deleted" in said
        assert not any(f"S{SECRETS - 1}" in api.values(f"repo:o/r{number}") for number in range(REPOSITORIES))
        assert set(api.values(HOME)) == {MANIFEST}


def test_two_stores_in_one_sync_and_no_value_is_read_that_was_written(vault: Vault) -> None:
    vault.put("secret/both/vault", {"FROM_VAULT": "ä\r\n'$\"", "OTHER": "x"})
    vault.put("secret/both/deleted", {"GONE": "x"})
    vault.do("DELETE", "secret/data/both/deleted")
    vault.policy("metadata-alone", {"secret/metadata/both/*": ["read", "list"]})
    with GitHub() as api, Aws() as aws:
        api.repository("o/home")
        api.repository("o/app")
        aws.put("both/aws", {"FROM_AWS": "1" * 40_000})
        given = {
            **{name: text for name, text in os.environ.items() if not name.startswith(("GITHUB_", "INPUT_", "AWS_"))},
            "VAULT_ADDR": vault.url,
            "AWS_ENDPOINT_URL": aws.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_EC2_METADATA_DISABLED": "true",
            "GH_TOKEN": api.token,
            "GITHUB_API_URL": api.url,
            "GITHUB_REPOSITORY": "o/home",
        }

        command = [
            *(sys.executable, "-m", "imip_secrets", "sync", "--to", "repo:o/app?app=actions,dependabot"),
            *("--sync-manifest-secret", MANIFEST, "aws://both/aws", "vault://secret/both/*"),
        ]

        def sync(token: str) -> str:
            done = subprocess.run(
                command,
                env={**given, "VAULT_TOKEN": token, "IMIP_SYNC_MANIFEST": api.values(HOME).get(MANIFEST, "")},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert "6 created" in sync(vault.root_token)
        expected = {"FROM_VAULT": "ä\r\n'$\"", "OTHER": "x", "FROM_AWS": "1" * 40_000}
        assert api.values("repo:o/app") == api.values("repo:o/app", "dependabot") == expected
        api.forget()
        # Whoever may not read a value has nothing to do with it, as long as nothing has changed.
        assert "Done: 6 unchanged." in sync(vault.token("metadata-alone"))
        assert api.counts() == {LIST: 2}
