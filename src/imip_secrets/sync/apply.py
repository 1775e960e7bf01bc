"""Carries a plan out: the writes first, all of them, and then the deletions, if nothing has failed.

One target that fails stops no other, and every secret has a result. The writes
are made in lots. Each is noted in the manifest before it is begun, with what the
lot before has written, so that whenever a run is stopped, the next one knows
what was written.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import zip_longest
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from imip_secrets.errors import ImipError, Problem, StoreError
from imip_secrets.sync.base import DeniedError, Put, TooLateError
from imip_secrets.sync.plan import WRITES, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from imip_secrets.deadline import Deadline
    from imip_secrets.sync.base import GitHub, Scope
    from imip_secrets.sync.keeper import Keeper
    from imip_secrets.sync.plan import Entry, Plan

THREADS = 12
"""How many writes are under way at once; the pace is the back end's."""
CHECKPOINT = 100
"""So many writes are a lot; between two the manifest is saved."""
SIGN_OF_LIFE = 10.0
"""How often a person who waits is told how far it has come, in seconds."""


# What was to be written, its result or None where it was left for later, and when that was by GitHub's clock.
_Written: TypeAlias = "tuple[Scope, Entry, Result | None, float]"


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
        with Crew(len(writes), github, deadline, say) as crew:
            _write_all(writes, crew, keeper, results)
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


def _write_all(writes: Iterable[tuple[Scope, Entry]], crew: Crew, keeper: Keeper, results: Results) -> None:
    """Write lot after lot, each noted in the manifest before; what its note ran out for comes with the next."""
    waiting = deque(writes)
    while waiting and not crew.gave_up:
        lot = [waiting.popleft() for _ in range(min(CHECKPOINT, len(waiting)))]
        until = keeper.intend(lot)
        for scope, entry, result, at in crew.write(lot, until):
            if result is None:
                waiting.append((scope, entry))
                continue
            results.add(result)
            if result.problem is None:
                keeper.wrote(scope, entry, at)


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


class Crew:
    """Writes secrets, several at once.

    Args:
        total: How many there are in all.
        github: Where they go.
        deadline: The end of the run.
        say: Shows one line.

    """

    def __init__(self, total: int, github: GitHub, deadline: Deadline, say: Callable[[str], None]) -> None:
        """Begin with nothing written."""
        self.gave_up = False
        self._total = total
        self._github = github
        self._deadline = deadline
        self._say = say
        self._count = 0
        self._denied: dict[Scope, Problem] = {}
        self._began = self._told = time.monotonic()
        self._pool = ThreadPoolExecutor(THREADS, "imip-secrets-sync")

    def __enter__(self) -> Self:
        """Be ready."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Begin no other write."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def write(self, lot: Sequence[tuple[Scope, Entry]], until: Deadline | None) -> Iterator[_Written]:
        """Write a lot, and give each result as it comes; none where one was not sent until the end of its time."""
        done: SimpleQueue[_Written | BaseException] = SimpleQueue()

        def write(scope: Scope, entry: Entry) -> None:
            try:
                done.put(_write(scope, entry, self._github, self._denied, until))
            except BaseException as end:  # noqa: BLE001 - the thread that waits is to end with it, not to wait for ever
                done.put(end)

        for scope, entry in lot:
            self._pool.submit(write, scope, entry)
        for _ in lot:
            progress = f"{self._count} of {self._total} secrets written"
            written = _next(done, self._deadline, progress, self._say)
            if written is None:
                self.gave_up = True
                return
            if isinstance(written, BaseException):
                raise written
            if time.monotonic() - self._told > SIGN_OF_LIFE:
                self._told = time.monotonic()
                self._say(f"{progress}, {self._told - self._began:.0f} s.")
            self._count += written[2] is not None
            yield written


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


def _write(
    scope: Scope, entry: Entry, github: GitHub, denied: dict[Scope, Problem], until: Deadline | None
) -> _Written:
    """Write one secret; a scope that was refused once is not asked again."""
    if scope in denied:
        return scope, entry, Result(scope, entry.name, Outcome.FAILED, denied[scope]), 0.0
    if until is not None and until.over():
        return scope, entry, None, 0.0
    try:
        outcome, at = _put(scope, entry, github, until)
    except TooLateError:
        return scope, entry, None, 0.0
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
        return scope, entry, Result(scope, entry.name, outcome), at
    return scope, entry, Result(scope, entry.name, Outcome.FAILED, problem), 0.0


def _put(scope: Scope, entry: Entry, github: GitHub, until: Deadline | None) -> tuple[Outcome, float]:
    if entry.value_stays:
        github.set_selected(scope, entry.name, entry.selected or frozenset())
        return Outcome.UPDATED, time.time()
    if entry.offer is None or entry.offer.value is None:
        msg = "an entry without a value was to be written"
        raise RuntimeError(msg)
    written = github.put(Put(scope, entry.name, entry.offer.value, entry.visibility, entry.selected, until))
    at = written.at.timestamp() if written.at else time.time()
    if written.created:
        return Outcome.CREATED, at
    return Outcome.REPAIRED if entry.state is State.DRIFT else Outcome.UPDATED, at
