"""GitHub's own secrets as the goal of a migration: their values cannot be read, so what is there stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.errors import ImipError, Problem
from imip_secrets.migrate.plan import State
from imip_secrets.sync.base import Put
from imip_secrets.sync.targets import name_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from imip_secrets.secret import Secret
    from imip_secrets.sync.base import GitHub, Scope

LIMIT = 48 * 1024


class Row(NamedTuple):
    """One secret of a scope."""

    name: str
    value: Secret
    state: State


def check(values: Mapping[str, Secret]) -> Iterator[Problem]:
    """Find what GitHub will not take, before it is asked."""
    upper: dict[str, str] = {}
    for key, value in values.items():
        fault = name_fault(key)
        if fault:
            yield Problem(fault[0], key, fault[1])
        if len(value.reveal_bytes()) > LIMIT:
            yield Problem("its value is larger than the 48 KB that GitHub takes", key, "Keep it in a store.")
        if not value:
            yield Problem("its value is empty, and GitHub keeps no empty secrets", key, "Leave it out with --except.")
        other = upper.setdefault(key.upper(), key)
        if other != key:
            yield Problem(f"GitHub takes it for the same as {other}", key, "Leave one of them out with --except.")


def plan(github: GitHub, scope: Scope, values: Mapping[str, Secret], *, update: bool) -> list[Row]:
    """Compare with what is there, by name alone.

    Raises:
        StoreError: GitHub does not give the list.

    """
    there = github.listing(scope)
    known = State.UPDATE if update else State.STAYS
    return [Row(key.upper(), value, known if key.upper() in there else State.CREATE) for key, value in values.items()]


def report(rows: Sequence[Row], scope: Scope) -> Iterator[str]:
    """Say the plan for people."""
    for row in rows:
        more = "; it is there already, and its value cannot be read; --update overwrites it"
        yield f"{row.state.value}: {row.name} in {scope.title}{more if row.state is State.STAYS else ''}"


def apply(github: GitHub, scope: Scope, rows: Sequence[Row], say: Callable[[str], None]) -> None:
    """Write every secret that the plan creates or updates; what is there stays otherwise.

    Raises:
        ImipError: one could not be written; those before it are.

    """
    for row in rows:
        if row.state is State.STAYS:
            say(f"left as it is: {row.name}")
            continue
        try:
            written = github.put(Put(scope, row.name, row.value))
        except ImipError as error:
            raise ImipError(*(problem.at(problem.where or row.name) for problem in error.problems)) from None
        say(f"{'created' if written.created else 'updated'}: {row.name}")
