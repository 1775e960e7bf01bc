"""Whole runs of the sync against GitHub's stand-in: what arrives, in how many requests, whatever breaks in between."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from imip_secrets import request
from imip_secrets.deadline import Deadline
from imip_secrets.identity import IdToken
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Context, Found
from imip_secrets.sync import apply, inputs, report
from imip_secrets.sync.apply import Outcome
from imip_secrets.sync.github import is_enterprise_server, open_github
from imip_secrets.sync.mirror import Hands, Mirror, Mirrored
from imip_secrets.sync.pacing import LIMITS, Limits
from stand_ins.faults import wait_until
from stand_ins.github import GitHub
from stand_ins.memory import Versioned, registered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MANIFEST = "IMIP_SYNC_MANIFEST"
HOME = "org/home"
OLD = datetime.now(timezone.utc) - timedelta(days=30)
WIDE = Limits(points=10**6)
CANARY = "c4n4ry"


def found(value: str | bytes, version: str = "1", changed: datetime | None = OLD) -> Found:
    return Found(Secret(value), version=version, changed=changed)


@dataclass
class Workflow:
    """A workflow that mirrors a store into GitHub; the manifest is in a secret of the stand-in, as in real life."""

    github: GitHub
    store: Versioned
    to: str
    lines: str = "memory://imip/*"
    settings: dict[str, str] = field(default_factory=dict)
    remembers: bool = True
    limits: Limits = WIDE
    said: list[str] = field(default_factory=list)
    hidden: list[Secret] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def inputs(self) -> dict[str, str]:
        values = {
            "mode": "sync",
            "secrets": self.lines,
            "sync-to": self.to,
            "github-api-url": self.github.url,
            **({} if "github-app-id" in self.settings else {"github-token": self.github.token}),
            **self.settings,
        }
        if self.remembers:
            kept = self.github.vault(f"repo:{HOME}").secrets.get(MANIFEST)
            values |= {"sync-manifest-secret": MANIFEST, "sync-manifest": kept.value.decode() if kept else ""}
        return values

    def run(self, seconds: float = 60.0, **settings: str) -> Mirrored:
        """Run once."""
        self.said.clear()
        self.shown.clear()
        self.store.calls.clear()
        self.github.forget()
        return self.once(seconds, **settings)

    def once(self, seconds: float = 60.0, **settings: str) -> Mirrored:
        """Run, and forget nothing."""
        given = self.inputs() | {name.replace("_", "-"): text for name, text in settings.items()}
        wanted = request.read(given)
        server = is_enterprise_server(self.github.url)
        asked = inputs.read(wanted.settings, {"GITHUB_REPOSITORY": HOME}, is_enterprise_server=server)
        context = Context(
            wanted.settings,
            lambda _: IdToken(Secret("token"), {}),
            self.hidden.append,
            self.said.append,
            Deadline(seconds),
        )
        hands = Hands(lambda access: open_github(access, self.limits), self.said.append, self.hidden.extend, self._show)
        return Mirror(wanted, asked, context, hands).run()

    def _show(self, plan: object) -> bool:
        self.shown += report.plan_lines(plan)  # type: ignore[arg-type]  # a plan
        return True

    def writes(self) -> list[str]:
        """Return what the last run wrote, the manifest apart."""
        return [f"{sent.method} {sent.path}" for sent in self.github.writes() if MANIFEST not in sent.path]


@contextmanager
def workflow(to: str, secrets: Mapping[str, str | bytes], *repositories: str, **more: object) -> Iterator[Workflow]:
    with GitHub(check=bool(more.pop("check", True))) as github:
        for name in (HOME, *repositories):
            github.repository(name)
        store = Versioned({f"imip/{name}": found(value) for name, value in secrets.items()})
        with registered(store):
            yield Workflow(github, store, to, **more)  # type: ignore[arg-type]  # fields of its own


def ten_by_ten(count: int = 10) -> tuple[str, dict[str, str], list[str]]:
    repositories = [f"org/r{number}" for number in range(count)]
    to = "\n".join(f"repo:{name}" for name in repositories)
    return to, {f"s{number}": f"value {number}" for number in range(10)}, repositories


def outcomes(mirrored: Mirrored) -> set[Outcome]:
    assert mirrored.results is not None
    return {result.outcome for result in mirrored.results.by_secret.values()}


def test_ten_repositories_with_ten_new_secrets_take_130_requests_and_three_for_the_manifest() -> None:
    to, secrets, repositories = ten_by_ten()
    with workflow(to, secrets, *repositories) as made:
        first = made.run()
        assert outcomes(first) == {Outcome.CREATED}
        counts = made.github.counts()
        assert sum(counts.values()) <= 133, counts
        for name in repositories:
            assert made.github.values(f"repo:{name}") == {key.upper(): value for key, value in secrets.items()}
        # Nothing changed: a list for each scope, no value is read, nothing is written.
        again = made.run()
        assert outcomes(again) <= {Outcome.UNCHANGED}
        assert made.github.counts() == {"GET /repos/{owner}/{repo}/{app}/secrets": 10}
        assert made.store.fetched() == ()


def test_every_kind_of_target_in_one_run() -> None:
    to = "repo:org/a?app=actions,dependabot,codespaces,agents\nenv:org/a/prod\norg:org?visibility=selected&repos=a"
    with workflow(to, {"key": "v\r\nü"}, "org/a") as made:
        made.github.repository("org/a").environment("prod")
        assert outcomes(made.run()) == {Outcome.CREATED}
        for app in ("actions", "dependabot", "codespaces", "agents"):
            assert made.github.values("repo:org/a", app) == {"KEY": "v\r\nü"}
        assert made.github.values("env:org/a/prod") == {"KEY": "v\r\nü"}
        kept = made.github.vault("org:org").secrets["KEY"]
        assert (kept.value, kept.visibility) == ("v\r\nü".encode(), "selected")
        assert kept.selected == {made.github.repository("org/a").id}
        assert outcomes(made.run()) <= {Outcome.UNCHANGED}
        assert made.writes() == []


def test_every_repository_that_matches_and_no_other() -> None:
    to = "repos:org?topic=imip&exclude=*-old"
    with workflow(to, {"key": "v"}, "org/plain") as made:
        for name in ("a", "b", "c-old"):
            made.github.repository(f"org/{name}", topics=["imip"])
        made.github.repository("org/gone", topics=["imip"], archived=True)
        assert outcomes(made.run()) == {Outcome.CREATED}
        got = {name for name in ("a", "b", "c-old", "gone", "plain") if made.github.values(f"repo:org/{name}")}
        assert got == {"a", "b"}
        assert made.github.counts()["GET /orgs/{org}/repos"] == 1
        assert made.github.counts()["GET /repos/{owner}/{repo}"] <= 1


def test_a_manual_edit_is_drift_and_is_repaired() -> None:
    with workflow("repo:org/a", {"key": "v"}, "org/a") as made:
        made.run()
        made.github.time = lambda: time.time() + 600
        made.github.state.vault("repo:org/a")._time = made.github.time
        made.github.vault("repo:org/a").write("KEY", "edited by hand")
        assert outcomes(made.run()) == {Outcome.REPAIRED}
        assert made.github.values("repo:org/a") == {"KEY": "v"}


def test_an_update_of_an_organisation_s_secret_keeps_who_sees_it() -> None:
    with workflow("org:org", {"key": "v"}, "org/a", "org/b") as made:
        vault = made.github.vault("org:org")
        ids = frozenset({made.github.repository("org/a").id})
        vault.write("KEY", "older", "selected", ids)
        made.store.secrets["imip/key"] = found("newer", "2", datetime.now(timezone.utc) + timedelta(hours=1))
        made.run()
        assert (vault.secrets["KEY"].value, vault.secrets["KEY"].visibility) == (b"newer", "selected")
        assert vault.secrets["KEY"].selected == ids


def test_an_app_s_key_may_be_in_a_store_and_its_tokens_are_revoked() -> None:
    with workflow("repo:org/a", {"key": "v"}, "org/a") as made:
        app = made.github.app(secrets="write")
        made.github.install(app, "org")
        made.store.secrets["app"] = found(json.dumps({"private_key": app.pem}))
        made.settings |= {"github-app-id": str(app.id), "github-app-private-key": "memory://app#private_key"}
        assert outcomes(made.run()) == {Outcome.CREATED}
        issued = [token for token in made.github.access.tokens.values() if token.kind == "installation"]
        assert [token.revoked for token in issued] == [True]
        assert {token.text for token in issued} <= {secret.reveal() for secret in made.hidden}
        assert issued[0].repositories == frozenset(made.github.repository(name).id for name in ("org/a", HOME))


def test_one_target_that_fails_stops_no_other() -> None:
    to = "repo:org/a\nrepo:org/archived\nenv:org/a/nowhere\nrepo:org/hidden\nrepo:org/b"
    with workflow(to, {"key": "v"}, "org/a", "org/b") as made:
        made.github.repository("org/archived", archived=True)
        mirrored = made.run()
        assert mirrored.failed()
        assert made.github.values("repo:org/a") == made.github.values("repo:org/b") == {"KEY": "v"}
        told = "\n".join(map(str, report.problems(mirrored)))
        assert "org/a has no environment nowhere (it has none)" in told
        assert "org/archived is archived" in told or "archived" in told
        assert "org/hidden" in told


def test_no_value_is_shown_anywhere(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    with workflow("repo:org/a\nrepo:org/none", {"key": CANARY, "other": f"{CANARY}2"}, "org/a") as made:
        mirrored = made.run()
        shown = [*made.said, *made.shown, *map(str, report.problems(mirrored)), report.as_json(mirrored)]
        shown += [report.summary(mirrored, lambda text: text), repr(mirrored), caplog.text, *capsys.readouterr()]
        assert CANARY not in "\n".join(shown)
        assert all(CANARY.encode() not in sent.request.body for sent in made.github.sent)


def state(made: Workflow) -> dict[str, dict[str, str]]:
    vaults = {each: made.github.values(each) for each in ("repo:org/a", "repo:org/b", "repo:org/c", "repo:org/d")}
    for values in vaults.values():
        values.pop(MANIFEST, None)
    return vaults


@pytest.mark.skipif(sys.platform == "win32", reason="a process is forked")
@pytest.mark.parametrize("first", range(1, 51, 10))
@pytest.mark.parametrize(
    ("remembers", "lot", "each"),
    [(False, apply.CHECKPOINT, 1), (True, apply.CHECKPOINT, 1), (True, 8, 4)],
    ids=["stateless", "manifest", "manifest-in-lots-of-8"],
)
def test_killed_after_each_of_the_first_50_requests_the_next_run_ends_in_the_same_state_and_writes_nothing_twice(
    remembers: bool,  # noqa: FBT001 - a table
    lot: int,
    each: int,
    first: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apply, "CHECKPOINT", lot)
    names = ("org/a", "org/b", "org/c", "org/d")
    to = "\n".join(f"repo:{name}" for name in names)
    secrets = {f"s{number}": f"value {number}" for number in range(10)}
    wanted = {f"repo:{name}": {key.upper(): value for key, value in secrets.items()} for name in names}
    everything = sorted(f"PUT /repos/{name}/actions/secrets/{key.upper()}" for name in names for key in secrets)
    for requests in range(first, first + 10, each):
        with workflow(to, secrets, *names, check=False, remembers=remembers) as made:
            kill(made, requests)
            written = [
                f"PUT /repos/{name}/actions/secrets/{key}" for name in names for key in state(made)[f"repo:{name}"]
            ]
            made.github.go_on()
            made.run()
            assert state(made) == wanted, requests
            # What is there already is not written again, and nothing is deleted.
            assert sorted([*written, *made.writes()]) == everything, requests
            assert outcomes(made.run()) <= {Outcome.UNCHANGED}
            assert made.github.writes() == []


def kill(made: Workflow, requests: int) -> None:
    """Run in another process, which is killed while it waits for the answer to its last request."""
    child = 0

    def end() -> None:
        assert wait_until(lambda: child > 0)
        os.kill(child, signal.SIGKILL)

    made.github.stop_after(requests, end)
    with warnings.catch_warnings():
        # Python warns of any fork where there are threads: those of the server, of which the child needs nothing.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            made.run()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    # What was on its way meets a server that is gone.
    made.github.drain()


def test_when_we_are_the_only_client_a_whole_run_is_never_refused() -> None:
    to, secrets, repositories = ten_by_ten(4)
    # A minute of a second: 60 points of which a write takes five.
    with workflow(to, secrets, *repositories, check=False, limits=Limits(points=58, window=1.3)) as made:
        made.github.limits.enforced, made.github.limits.points, made.github.limits.seconds = True, 60, 1
        made.github.delay = 0.005
        mirrored = made.run()
        assert outcomes(mirrored) == {Outcome.CREATED}
        assert made.github.limits.refused == 0
        assert mirrored.usage.refused == 0
        assert made.github.limits.most_points <= 60
        assert made.github.limits.most_at_once <= LIMITS.concurrent


def test_two_runs_at_once_end_in_the_same_state_and_delete_nothing() -> None:
    to, secrets, repositories = ten_by_ten(3)
    with workflow(to, secrets, *repositories, check=False) as made:
        made.github.delay = 0.002
        other = Workflow(made.github, made.store, made.to)
        with ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(each.once) for each in (made, other)]
        assert all(not run.result().failed() for run in runs)
        for name in repositories:
            assert made.github.values(f"repo:{name}") == {key.upper(): value for key, value in secrets.items()}
        assert not [sent for sent in made.github.sent if sent.method == "DELETE" and MANIFEST not in sent.path]
