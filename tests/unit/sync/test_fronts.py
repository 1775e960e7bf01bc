"""What a workflow and a person see of the sync: inputs, log, outputs, summary, questions, exit status."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest

from imip_secrets import cli
from imip_secrets.cli import sync as command
from imip_secrets.sync import github as back_end
from imip_secrets.sync.base import Kind, Scope
from imip_secrets.sync.manifest import Manifest, dump
from job import Job
from stand_ins.github_memory import GitHubInMemory
from stand_ins.memory import Versioned, registered
from stand_ins.sync_runs import HOME, MANIFEST, secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A = Scope(Kind.REPOSITORY, "o", "a")
CANARY = "hunter2-canary"
TOKEN = "ghp_" + "x" * 36


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> GitHubInMemory:
    made = GitHubInMemory("o/a", "o/home")
    monkeypatch.setattr(back_end, "open_github", made.open)
    return made


@pytest.fixture
def store() -> Versioned:
    return Versioned({"imip/one": secret(CANARY, "v1"), "imip/two": secret("2")})


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = Job(tmp_path)
    made.environ["GITHUB_REPOSITORY"] = "o/home"
    return made


def run(job: Job, store: Versioned, **inputs: str) -> int:
    given = {"mode": "sync", "sync_to": "repo:o/a", "github_token": TOKEN, **inputs}
    return job.run(given.pop("secrets", "memory://imip/one"), store, **given)


def outputs(job: Job) -> str:
    return job.output.read_text(encoding="utf-8")


# --- the action


def test_a_workflow_writes_and_tells_it(job: Job, github: GitHubInMemory, store: Versioned) -> None:
    assert run(job, store) == 0
    assert github.values(A) == {"ONE": CANARY}
    log = job.stdout.decode()
    assert "  + ONE: create\n" in log
    assert "1 created; 3 requests to GitHub.\n" in log
    assert "changed" in outputs(job)
    assert '"outcome":"created"' in outputs(job)
    assert "1 created" in job.summary.read_text(encoding="utf-8")
    assert job.env.read_bytes() == b"EARLIER=1\n"


def test_what_is_not_there_and_what_a_person_should_know_is_told(
    job: Job, github: GitHubInMemory, store: Versioned
) -> None:
    del job.environ["GITHUB_OUTPUT"]
    lines = "memory://imip/one\nmemory://imip/none?optional"
    assert run(job, store, secrets=lines, sync_to="org:o\nrepo:o/a") == 0
    log = job.stdout.decode()
    assert "line 2, memory://imip/none?optional: nothing is there, and it is optional: no secret.\n" in log
    assert "::warning title=imip-secrets::org:o: ONE is not used where repo:o/a has one too." in log
    assert github.values(A) == {"ONE": CANARY}


def test_no_value_and_no_token_is_shown(job: Job, github: GitHubInMemory, store: Versioned) -> None:
    assert run(job, store) == 0
    assert github.values(A) == {"ONE": CANARY}
    lines = [line for line in job.stdout.decode().splitlines() if not line.startswith("::add-mask::")]
    everything = "\n".join([*lines, job.stderr, outputs(job), job.summary.read_text(encoding="utf-8")])
    assert CANARY not in everything
    assert TOKEN not in everything
    assert f"::add-mask::{CANARY}" in job.stdout.decode()
    assert f"::add-mask::{TOKEN}" in job.stdout.decode()


def test_a_dry_run_of_a_workflow_writes_nothing(job: Job, github: GitHubInMemory, store: Versioned) -> None:
    assert run(job, store, sync_dry_run="true") == 0
    assert github.values(A) == {}
    assert '"dry_run":true' in outputs(job)
    assert "the plan, nothing was written" in job.summary.read_text(encoding="utf-8")


def test_the_second_run_of_a_workflow_changes_nothing(job: Job, github: GitHubInMemory, store: Versioned) -> None:
    kept = {"sync_manifest_secret": MANIFEST}
    assert run(job, store, **kept) == 0
    github.calls.clear()
    assert run(job, store, sync_manifest=github.values(HOME)[MANIFEST], **kept) == 0
    assert github.calls == ["listing repo:o/a"]
    assert '"changed":false' in outputs(job)


def test_a_target_that_fails_is_an_error_and_the_rest_is_written(
    job: Job, github: GitHubInMemory, store: Versioned
) -> None:
    assert run(job, store, sync_to="repo:o/gone\nrepo:o/a") == 1
    assert github.values(A) == {"ONE": CANARY}
    assert "::error title=imip-secrets::repo:o/gone: there is no such repository" in job.stdout.decode()
    assert '"failed":true' in outputs(job)


def test_every_mistake_is_told_at_once_before_anything_is_contacted(
    job: Job, github: GitHubInMemory, store: Versioned
) -> None:
    inputs = {
        "secrets": "memory:/x\nGITHUB_X = memory://imip/one\nF = memory://imip/two?as=file",
        "sync_to": "repo:app\nrepo:o/a?app=agent",
        "github_app_id": "7",
        "sync_manifest": "nonsense",
        "sync_manifest_secret": "1x",
        "sync_shard": "4/3",
        "sync_max_deletions": "none",
    }
    assert run(job, store, **inputs) == 1
    assert store.calls == []
    assert github.access is None
    log = job.stdout.decode()
    for told in (
        "line 1, memory:/x: there is no scheme",
        "line 3, memory://imip/two?as=file: as=file is for a job, and GitHub keeps values",
        "sync-to line 1, repo:app: 'app' is not OWNER/REPOSITORY",
        "sync-to line 2, repo:o/a?app=agent: 'agent' is no app that has secrets. Write app=agents",
        "input github-token: there is a token and an App",
        "input sync-manifest: it is not the manifest as imip-secrets wrote it",
        "input sync-manifest-secret: '1x' is no name for a secret",
        "input sync-shard: '4/3' is no part of the targets. Write it like 3/8",
        "input sync-max-deletions: 'none' is no whole number",
        "Nothing was written: 9 problems.",
    ):
        assert told in log, told


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"github_token": ""}, "input github-token: there is nothing to log in to GitHub with"),
        (
            {"github_token": "", "github_app_id": "7"},
            "input github-app-private-key: a GitHub App has an id and a private",
        ),
        (
            {"github_token": "", "github_app_private_key": "PEM"},
            "input github-app-id: a GitHub App has an id and a private",
        ),
        (
            {"github_token": "", "github_app_id": "7", "github_app_private_key": "memory://app/*"},
            "input github-app-private-key: it refers to more than one value",
        ),
        (
            {"github_token": "", "github_app_id": "7", "github_app_private_key": "nostore://app"},
            "input github-app-private-key: 'nostore' is no store",
        ),
        ({"sync_prune": "true"}, "without a manifest nobody knows what earlier runs wrote"),
        ({"sync_manifest": dump(Manifest())}, "sync-manifest is given, but not where the manifest is kept"),
        ({"secrets": "GITHUB_X = memory://imip/one"}, "GitHub takes no secret named GITHUB_X: GITHUB_ is its own"),
        ({"sync_to": ""}, "input sync-to: it names no target"),
        (
            {"sync_to": "repo:o/a?app=agents", "github_api_url": "https://github.example/api/v3"},
            "a GitHub Enterprise Server has no agents secrets",
        ),
    ],
)
def test_bad_input_is_one_clear_line_before_anything_is_written(
    job: Job, github: GitHubInMemory, store: Versioned, inputs: dict[str, str], told: str
) -> None:
    assert run(job, store, **inputs) == 1
    assert github.access is None
    (line,) = [line for line in job.stdout.decode().splitlines() if line.startswith("::error")]
    assert told in line


def test_the_manifest_needs_a_repository(job: Job, github: GitHubInMemory, store: Versioned) -> None:
    del job.environ["GITHUB_REPOSITORY"]
    assert run(job, store, sync_manifest_secret=MANIFEST) == 1
    assert "GITHUB_REPOSITORY does not name it" in job.stdout.decode()
    assert github.access is None


def test_the_address_of_the_api_is_the_runners_own(job: Job, github: GitHubInMemory, store: Versioned) -> None:
    job.environ["GITHUB_API_URL"] = "https://github.example/api/v3/"
    assert run(job, store) == 0
    assert github.access is not None
    assert github.access.api_url == "https://github.example/api/v3"


# --- the command line


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, github: GitHubInMemory, store: Versioned) -> Iterator[GitHubInMemory]:
    monkeypatch.setenv("GH_TOKEN", TOKEN)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with registered(store):
        yield github


class Person(io.StringIO):
    """Somebody who types an answer."""

    def isatty(self) -> bool:
        return True


ONE = ["sync", "--to", "repo:o/a", "memory://imip/one"]


def test_a_script_is_not_asked(terminal: GitHubInMemory, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(ONE) == 0
    assert terminal.values(A) == {"ONE": CANARY}
    out, err = capfd.readouterr()
    assert out == "repo:o/a\n  + ONE: create\nPlan: 1 to create.\nDone: 1 created.\n"
    assert CANARY not in out + err


@pytest.mark.parametrize(("answer", "written"), [("y\n", True), ("YES\n", True), ("n\n", False), ("", False)])
def test_a_person_is_asked_before_anything_is_written(
    terminal: GitHubInMemory,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    answer: str,
    written: bool,  # noqa: FBT001 - a table of cases
) -> None:
    monkeypatch.setattr(sys, "stdin", Person(answer))
    assert cli.main(ONE) == 0
    assert bool(terminal.values(A)) is written
    assert "Carry it out? [y/N]" in capfd.readouterr().out


@pytest.mark.parametrize("more", [["--yes"], ["--dry-run"]])
def test_nobody_is_asked_who_has_said_it(
    terminal: GitHubInMemory, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], more: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Person("n\n"))
    assert cli.main([*ONE, *more]) == 0
    assert bool(terminal.values(A)) is (more == ["--yes"])
    assert "Carry it out?" not in capfd.readouterr().out


def test_a_plan_without_changes_asks_nothing(terminal: GitHubInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(ONE) == 0
    terminal.later()
    monkeypatch.setattr(sys, "stdin", Person("n\n"))
    terminal.calls.clear()
    assert cli.main(ONE) == 0
    assert terminal.calls == ["listing repo:o/a"]


def test_the_plan_is_coloured_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Person())
    assert command._has_colours()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not command._has_colours()


def test_targets_may_be_in_a_file_and_the_report_goes_to_one(
    terminal: GitHubInMemory, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    targets, told = tmp_path / "targets", tmp_path / "report.json"
    targets.write_text("# two\nrepo:o/a\nrepo:o/gone\n", encoding="utf-8")
    assert cli.main(["sync", "--sync-to", str(targets), "--report", str(told), "memory://imip/one"]) == 1
    assert terminal.values(A) == {"ONE": CANARY}
    assert json.loads(told.read_text(encoding="utf-8"))["failed"]
    assert "imip-secrets: error: repo:o/gone: there is no such repository" in capfd.readouterr().err


def test_mistakes_are_told_in_the_words_of_the_command_line(
    terminal: GitHubInMemory, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sync", "--to", "repo:a", "--sync-shard", "x", "memory://imip/one"]) == 2
    err = capfd.readouterr().err
    assert "sync-to line 1, repo:a: 'a' is not OWNER/REPOSITORY" in err
    assert "--sync-shard: 'x' is no part of the targets" in err
    assert terminal.access is None


def test_targets_come_from_one_place(
    terminal: GitHubInMemory, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "targets").write_text("repo:o/a", encoding="utf-8")
    assert cli.main([*ONE, "--sync-to", str(tmp_path / "targets")]) == 2
    assert "targets come from --to and from a file" in capfd.readouterr().err
    assert terminal.access is None


def test_help_teaches_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sync", "--help"]) == 0
    out = capsys.readouterr().out
    assert "imip-secrets sync --dry-run --to repo:my-org/app aws://imip/production" in out
    assert "--github-token" not in out
