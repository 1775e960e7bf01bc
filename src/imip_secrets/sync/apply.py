"""Carries a plan out: the writes first, all of them, and then the deletions, if nothing has failed.

One target that fails stops no other, and every secret has a result. What was
written goes into the manifest at once, so that a run that is stopped leaves as
little as can be to be written again.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import zip_longest
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from imip_secrets.errors import ImipError, Problem, StoreError
from imip_secrets.sync.base import DeniedError, Put
from imip_secrets.sync.manifest import Row, key
from imip_secrets.sync.plan import WRITES, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from imip_secrets.deadline import Deadline
    from imip_secrets.sync.base import GitHub, Scope
    from imip_secrets.sync.manifest import Manifest
    from imip_secrets.sync.plan import Entry, Plan

THREADS = 12
"""How many writes are under way at once; the pace is the back end's."""
CHECKPOINT = 100
"""After so many writes the manifest is saved, with more to come."""
SIGN_OF_LIFE = 10.0
"""How often a person who waits is told how far it has come, in seconds."""


# A result, what it is of, and when it was by GitHub's clock.
_Written: TypeAlias = "tuple[Result, Entry, float]"


class Outcome(Enum):
    """What became of a secret; the value is the word for people."""

    CREATED = "created"
    UPDATED = "updated"
    REPAIRED = "repaired"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    FORBIDDEN = "forbidden"
    FAILED = "failed"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one secret.

    Args:
        scope: Where it is.
        name: In capitals.
        outcome: What became of it.
        problem: Why it failed, or None.

    """

    scope: Scope
    name: str
    outcome: Outcome
    problem: Problem | None = None


@dataclass(slots=True)
class Results:
    """What became of everything.

    Args:
        by_secret: Each with its result.
        problems: What failed apart from single secrets: the manifest, the deletions.

    """

    by_secret: dict[tuple[Scope, str], Result] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def failed(self) -> bool:
        """Tell whether anything has not come about."""
        return bool(self.problems) or any(result.problem for result in self.by_secret.values())

    def add(self, result: Result) -> None:
        """Note one result."""
        self.by_secret[result.scope, result.name] = result


class Keeper:
    """Keeps the manifest: what was written goes in, and it is saved where it belongs.

    Args:
        manifest: What earlier runs wrote; changed in place.
        github: Where it is saved.
        home: The scope and the name of the secret that holds it, or None where nothing is remembered.
        save: Makes the secret's content of it.

    """

    def __init__(
        self, manifest: Manifest, github: GitHub, home: tuple[Scope, str] | None, save: Callable[[Manifest], Put]
    ) -> None:
        """Have nothing to save yet."""
        self.manifest = manifest
        self.home = home
        self._github = github
        self._save = save
        self._unsaved = 0
        self._latest = 0.0

    def saw(self, at: float) -> None:
        """Take note of the time by GitHub's clock."""
        self._latest = max(self._latest, at)

    def wrote(self, scope: Scope, entry: Entry, at: float) -> None:
        """Remember a write."""
        self.saw(at)
        offer = entry.offer
        if self.home is None or offer is None:
            return
        rows = self.manifest.rows.setdefault(key(scope), {})
        before = rows.get(entry.name)
        when = before.at if entry.value_stays and before else int(at)
        rows[entry.name] = Row(offer.piece.mapping, offer.name, offer.version, when, entry.repositories)
        self._unsaved += 1

    def found(self, scope: Scope, entry: Entry) -> None:
        """Remember that ``repos=`` turned out to be in force."""
        row = self.manifest.row(scope, entry.name)
        if self.home is not None and row is not None and entry.repositories and row.repositories != entry.repositories:
            self.wrote(scope, entry, row.at)

    def forget(self, scope: Scope, name: str) -> None:
        """Forget what is there no more."""
        if self.manifest.rows.get(key(scope), {}).pop(name, None) is not None:
            self._unsaved += 1

    def is_due(self) -> bool:
        """Tell whether so much was written that it should be saved in between."""
        return self._unsaved >= CHECKPOINT

    def save(self) -> Problem | None:
        """Save the manifest if it has changed; return what kept it from that."""
        if self.home is None or not self._unsaved:
            return None
        unsaved, self._unsaved = self._unsaved, 0
        self.manifest.saved = int(self._latest or time.time())
        try:
            self._github.put(self._save(self.manifest))
        except ImipError as error:
            self._unsaved = unsaved
            problem = error.problems[0]
            return Problem(
                f"the manifest could not be saved: {problem.what}",
                f"{self.home[0].title} {self.home[1]}",
                f"{problem.remedy} The next run writes again what this one has written, and deletes nothing of it.",
            )
        return None


def carry_out(plan: Plan, github: GitHub, keeper: Keeper, deadline: Deadline, say: Callable[[str], None]) -> Results:
    """Write what the plan says, and save the manifest, whatever comes between. Deletions are for :func:`delete`."""
    results = Results()
    for scope, entry in plan.entries(State.UNCHANGED, State.FORBIDDEN):
        outcome = Outcome.UNCHANGED if entry.state is State.UNCHANGED else Outcome.FORBIDDEN
        problem = scope.problem if outcome is Outcome.FORBIDDEN else None
        results.add(Result(scope.scope, entry.name, outcome, problem))
        if entry.state is State.UNCHANGED:
            keeper.found(scope.scope, entry)
    writes = list(in_turn((scope.scope, entry) for scope, entry in plan.entries(*WRITES)))
    try:
        for count, (result, entry, at) in enumerate(_writes(writes, github, deadline, say), start=1):
            results.add(result)
            if result.problem is None:
                keeper.wrote(result.scope, entry, at)
            if keeper.is_due() and count < len(writes):
                keeper.save()  # a failure that stays is told at the end
        for scope_of, entry in writes:
            if (scope_of, entry.name) not in results.by_secret:
                late = Problem("it was not written in the time of timeout-seconds", f"{scope_of.title} {entry.name}")
                results.add(Result(scope_of, entry.name, Outcome.FAILED, late))
    finally:
        # Also when a person interrupts: what was written is known to the next run.
        problem = keeper.save()
        if problem:
            results.problems.append(problem)
    return results


def delete(plan: Plan, github: GitHub, keeper: Keeper, results: Results) -> None:
    """Delete what the plan says; the caller has made sure that it may be."""
    for scope, entry in plan.entries(State.DELETE):
        result = _delete(scope.scope, entry.name, github)
        results.add(result)
        if result.problem is None:
            keeper.forget(scope.scope, entry.name)
    problem_of_manifest = keeper.save()
    if problem_of_manifest:
        results.problems.append(problem_of_manifest)


def _delete(scope: Scope, name: str, github: GitHub) -> Result:
    try:
        github.delete(scope, name)
    except ImipError as error:
        return Result(scope, name, Outcome.FAILED, error.problems[0].at(f"{scope.title} {name}"))
    return Result(scope, name, Outcome.DELETED)


def keep(plan: Plan, results: Results) -> None:
    """Note that what was to be deleted stays."""
    for scope, entry in plan.entries(State.DELETE):
        results.add(Result(scope.scope, entry.name, Outcome.KEPT))


def in_turn(writes: Iterable[tuple[Scope, Entry]]) -> Iterator[tuple[Scope, Entry]]:
    """Give the writes so that as many scopes as there are threads take turns.

    The first write of a scope waits for its key, and so would every thread that writes to the same one.
    """
    by_scope: dict[Scope, list[tuple[Scope, Entry]]] = {}
    for scope, entry in writes:
        by_scope.setdefault(scope, []).append((scope, entry))
    queues = list(by_scope.values())
    for start in range(0, len(queues), THREADS):
        for turn in zip_longest(*queues[start : start + THREADS]):
            yield from filter(None, turn)


def _writes(
    writes: list[tuple[Scope, Entry]], github: GitHub, deadline: Deadline, say: Callable[[str], None]
) -> Iterator[_Written]:
    """Write everything, several at once, and give each result as it comes."""
    done: SimpleQueue[_Written | BaseException] = SimpleQueue()
    denied: dict[Scope, Problem] = {}

    def write(scope: Scope, entry: Entry) -> None:
        try:
            done.put(_write(scope, entry, github, denied))
        except BaseException as end:  # noqa: BLE001 - the thread that waits is to end with it, not to wait for ever
            done.put(end)

    pool = ThreadPoolExecutor(THREADS, "imip-secrets-sync")
    try:
        for scope, entry in writes:
            pool.submit(write, scope, entry)
        began = told = time.monotonic()
        for count in range(len(writes)):
            progress = f"{count} of {len(writes)} secrets written"
            result = _next(done, deadline, progress, say)
            if result is None:
                return
            if isinstance(result, BaseException):
                raise result
            if time.monotonic() - told > SIGN_OF_LIFE:
                told = time.monotonic()
                say(f"{progress}, {told - began:.0f} s.")
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _next(
    done: SimpleQueue[_Written | BaseException], deadline: Deadline, progress: str, say: Callable[[str], None]
) -> _Written | BaseException | None:
    """Return the next result, or None when the time of the run is over and nothing has come for a while."""
    while True:
        with suppress(Empty):
            return done.get(timeout=SIGN_OF_LIFE)
        if deadline.over():
            return None
        say(f"{progress}; still waiting for GitHub.")


def _write(scope: Scope, entry: Entry, github: GitHub, denied: dict[Scope, Problem]) -> _Written:
    """Write one secret; a scope that was refused once is not asked again."""
    if scope in denied:
        return Result(scope, entry.name, Outcome.FAILED, denied[scope]), entry, 0.0
    try:
        outcome, at = _put(scope, entry, github)
    except ImipError as error:
        problem = error.problems[0].at(f"{scope.title} {entry.name}")
        if isinstance(error, DeniedError):
            denied[scope] = problem
    except Exception as defect:  # noqa: BLE001 - of an error that nobody foresaw only the type is told
        what = f"it could not be written, by a defect in imip-secrets ({type(defect).__name__})"
        problem = StoreError(what, "Please report this line: it holds no value.").problem.at(
            f"{scope.title} {entry.name}"
        )
    else:
        return Result(scope, entry.name, outcome), entry, at
    return Result(scope, entry.name, Outcome.FAILED, problem), entry, 0.0


def _put(scope: Scope, entry: Entry, github: GitHub) -> tuple[Outcome, float]:
    if entry.value_stays:
        github.set_selected(scope, entry.name, entry.selected or frozenset())
        return Outcome.UPDATED, time.time()
    if entry.offer is None or entry.offer.value is None:
        msg = "an entry without a value was to be written"
        raise RuntimeError(msg)
    written = github.put(Put(scope, entry.name, entry.offer.value, entry.visibility, entry.selected))
    at = written.at.timestamp() if written.at else time.time()
    if written.created:
        return Outcome.CREATED, at
    return Outcome.REPAIRED if entry.state is State.DRIFT else Outcome.UPDATED, at
