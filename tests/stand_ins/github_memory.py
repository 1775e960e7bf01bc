"""GitHub as the core of the sync sees it, in memory: for thousands of runs, and for faults that no server makes.

What a server does with requests is the other stand-in's (:mod:`stand_ins.github`).
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from imip_secrets.errors import MissingError
from imip_secrets.sync.base import (
    READ_POINTS,
    WRITE_POINTS,
    DeniedError,
    Existing,
    RepositoryFacts,
    Scope,
    Usage,
    Visibility,
    Written,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imip_secrets.sync.base import Access, Put

START = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)


REFUSED = ("it may not be written", "Allow it.")
DENIED = ("you may not", "Allow secrets: write.")
HIDDEN = ("there is no such repository, or it is hidden", "Check it.")


class KilledError(BaseException):
    """The process was killed: nothing in it may catch this."""


@dataclass(frozen=True, slots=True)
class Held:
    """A secret as it is kept."""

    value: str
    created: datetime
    updated: datetime
    visibility: Visibility | None
    selected: frozenset[int]


class GitHubInMemory:
    """Give it as ``open_github`` by :meth:`open`."""

    def __init__(self, *repositories: str, environments: Sequence[str] = ()) -> None:
        self.now = START
        self.repos: dict[str, RepositoryFacts] = {}
        self.environments = {name.lower() for name in environments}
        for name in repositories:
            self.add(name)
        self.secrets: dict[Scope, dict[str, Held]] = {}
        self.calls: list[str] = []
        self.denied: set[Scope] = set()
        self.refused: set[tuple[str, str]] = set()
        self.dies_after: int | None = None
        self.seconds = 0.0
        self.closed = 0
        self.access: Access | None = None
        self._lock = threading.Lock()

    def add(self, full_name: str, **facts: object) -> None:
        owner, _, name = full_name.partition("/")
        known = RepositoryFacts(len(self.repos) + 1, owner, name)
        self.repos[full_name.lower()] = replace(known, **facts)  # type: ignore[arg-type]  # named by the caller

    def open(self, access: Access) -> GitHubInMemory:
        self.access = access
        return self

    # --- what the core asks

    def login(self) -> str:
        return "who we are"

    def look_up(self, owner: str, repo: str) -> RepositoryFacts:
        self._asked("look_up", f"{owner}/{repo}")
        return self._repository(owner, repo)

    def repositories(self, owner: str, *, properties: bool) -> Sequence[RepositoryFacts]:
        self._asked("repositories", owner)
        found = [facts for facts in self.repos.values() if facts.owner.lower() == owner.lower()]
        return found if properties else [replace(facts, properties={}) for facts in found]

    def listing(self, scope: Scope) -> Mapping[str, Existing]:
        self._asked("listing", scope.title)
        self._check(scope)
        with self._lock:
            held = dict(self._held(scope))
        return {name: Existing(name, each.created, each.updated, each.visibility) for name, each in held.items()}

    def selected(self, scope: Scope, name: str) -> frozenset[int]:
        self._asked("selected", f"{scope.title} {name}")
        return self._held(scope)[name].selected

    def clock(self) -> float | None:
        return self.now.timestamp()

    def put(self, put: Put) -> Written:
        self._asked("put", f"{put.scope.title} {put.name}")
        self._check(put.scope)
        if (put.scope.title, put.name) in self.refused:
            raise DeniedError(*REFUSED)
        with self._lock:
            held = self._held(put.scope)
            before = held.get(put.name.upper())
            created = before.created if before else self.now
            held[put.name.upper()] = Held(
                put.value.reveal(), created, self.now, put.visibility, put.selected or frozenset()
            )
        return Written(before is None, self.now)

    def set_selected(self, scope: Scope, name: str, repositories: frozenset[int]) -> None:
        self._asked("set_selected", f"{scope.title} {name}")
        self._held(scope)[name] = replace(self._held(scope)[name], selected=repositories)

    def delete(self, scope: Scope, name: str) -> bool:
        self._asked("delete", f"{scope.title} {name}")
        return self._held(scope).pop(name, None) is not None

    def estimate(self, requests: int, points: int) -> float:
        assert requests * READ_POINTS <= points <= requests * WRITE_POINTS
        return self.seconds

    def used(self) -> Usage:
        return Usage(len(self.calls), len(self.calls))

    def close(self) -> None:
        self.closed += 1

    # --- what tests do

    def values(self, scope: Scope) -> dict[str, str]:
        return {name: held.value for name, held in self._held(scope).items()}

    def held(self, scope: Scope) -> dict[str, Held]:
        return self._held(scope)

    def edit(self, scope: Scope, name: str, value: str = "by hand", visibility: Visibility | None = None) -> None:
        """Write as a person does."""
        before = self._held(scope).get(name)
        created = before.created if before else self.now
        seen_by = visibility or (before.visibility if before else None)
        selected = before.selected if before else frozenset()
        self._held(scope)[name] = Held(value, created, self.now, seen_by, selected)

    def later(self, seconds: float = 3600.0) -> None:
        self.now += timedelta(seconds=seconds)

    def counts(self) -> dict[str, int]:
        return dict(Counter(call.partition(" ")[0] for call in self.calls))

    def _asked(self, what: str, about: str) -> None:
        with self._lock:
            if self.dies_after is not None and len(self.calls) >= self.dies_after:
                raise KilledError
            self.calls.append(f"{what} {about}")

    def _held(self, scope: Scope) -> dict[str, Held]:
        folded = Scope(scope.kind, scope.owner.lower(), scope.repo.lower(), scope.environment.lower(), scope.app)
        return self.secrets.setdefault(folded, {})

    def _check(self, scope: Scope) -> None:
        if scope in self.denied:
            raise DeniedError(*DENIED)
        if scope.repo:
            self._repository(scope.owner, scope.repo)
        if scope.environment and f"{scope.owner}/{scope.repo}/{scope.environment}".lower() not in self.environments:
            what = "there is no such environment"
            raise MissingError(what, "Make it.")

    def _repository(self, owner: str, repo: str) -> RepositoryFacts:
        try:
            return self.repos[f"{owner}/{repo}".lower()]
        except KeyError:
            raise DeniedError(*HIDDEN) from None
