"""The order of writes: no thread waits for another's key while there is anything else to write."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.sync.apply import THREADS, in_turn
from imip_secrets.sync.base import Kind, Scope
from imip_secrets.sync.plan import Entry, State

Write = tuple[Scope, Entry]


def writes(*counts: int) -> list[Write]:
    scopes = [Scope(Kind.REPOSITORY, "imip", f"r{number}") for number in range(len(counts))]
    return [
        (scope, Entry(f"N{number}", State.CREATE))
        for scope, count in zip(scopes, counts, strict=True)
        for number in range(count)
    ]


@given(st.lists(st.integers(0, 12), max_size=30))
def test_every_write_comes_once_and_those_of_a_scope_in_their_order(counts: list[int]) -> None:
    given_writes = writes(*counts)
    ordered = list(in_turn(given_writes))
    assert Counter(ordered) == Counter(given_writes)
    for scope in {scope for scope, _ in given_writes}:
        assert [each for each in ordered if each[0] == scope] == [each for each in given_writes if each[0] == scope]


def test_threads_begin_with_different_scopes() -> None:
    first = list(in_turn(writes(*[10] * 20)))[:THREADS]
    assert len({scope for scope, _ in first}) == THREADS


def test_a_run_that_is_stopped_leaves_few_scopes_half_written() -> None:
    ordered = list(in_turn(writes(*[10] * 20)))
    for stop in range(len(ordered)):
        done = Counter(scope for scope, _ in ordered[:stop])
        assert sum(count < 10 for count in done.values()) <= THREADS
