"""Credentials that end: kept, prolonged, replaced and ended; on a clock of the tests' own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from imip_secrets import ImipError, Secrets
from imip_secrets.errors import StoreError
from imip_secrets.loader import loading
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Lease
from stand_ins.memory import Memory, MemoryKept, denied, registered

if TYPE_CHECKING:
    from collections.abc import Iterator

LIFE = 3600


class Clock:
    """Stands still until it is put forward."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Prolonged(MemoryKept):
    """Can be prolonged, by so many seconds, or not."""

    outcome: int | StoreError = LIFE

    def prolong(self) -> int:
        self.calls.append("prolong")
        if isinstance(self.outcome, StoreError):
            raise self.outcome
        return self.outcome


class Database(Memory):
    """Makes a new user at each reading of ``db``; ``static`` has no lease."""

    def __init__(self, kept: MemoryKept) -> None:
        super().__init__({"static": "s", "db": self.user}, kept=kept)
        self.users = 0
        self.renewable = True

    def user(self) -> Found:
        self.users += 1
        value = Secret(f'{{"user": "u{self.users}", "pass": "p{self.users}"}}')
        return Found(value, is_data=True, lease=Lease(Secret("id"), LIFE, renewable=self.renewable))


@pytest.fixture
def kept() -> Prolonged:
    return Prolonged(["db"])


@pytest.fixture
def database(kept: Prolonged) -> Iterator[Database]:
    with registered(Database(kept)) as store:
        assert isinstance(store, Database)
        yield store
        for secrets in list(loading._LOADED._by_key.values()):
            secrets.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def load(clock: Clock) -> Secrets:
    references = ("S = memory://static", "U = memory://db#user", "P = memory://db#pass")
    secrets = loading.load(references, env_file=".env", times=(300, 120), settings={}, clock=clock)
    # The thread is the tests': what it would do is done by hand, when the clock says so.
    secrets._live._keeper.stop()
    return secrets


def tend(secrets: Secrets) -> float:
    return secrets._live.tend()


def test_what_has_a_lease_is_not_read_again_with_the_rest(database: Database, clock: Clock) -> None:
    secrets = load(clock)
    for _ in range(5):
        clock.now += 301
        assert (secrets["S"], secrets["U"], secrets["P"]) == ("s", "u1", "p1")
    assert database.fetched().count("db") == 1
    assert database.fetched().count("static") == 6
    assert list(secrets) == ["S", "U", "P"]


def test_a_lease_is_prolonged_after_two_thirds_and_again(database: Database, kept: Prolonged, clock: Clock) -> None:
    secrets = load(clock)
    assert 0 < tend(secrets) <= 300
    assert kept.calls == []
    for number in range(1, 4):
        clock.now += LIFE * 0.67
        tend(secrets)
        assert kept.calls == ["prolong"] * number
        assert secrets["U"] == "u1"
    assert database.users == 1
    # A thread that was renewing when a process was forked off is not there any more.
    secrets._live.reader._renewing.acquire()
    secrets._live.after_fork()
    clock.now += LIFE * 0.67
    tend(secrets)
    assert kept.calls == ["prolong"] * 4


def test_near_its_last_end_others_are_got_before(database: Database, kept: Prolonged, clock: Clock) -> None:
    secrets = load(clock)
    told: list[frozenset[str]] = []
    secrets.on_change(told.append)
    kept.outcome = 600
    clock.now += LIFE * 0.67
    tend(secrets)
    assert secrets["U"] == "u1"
    clock.now += 401
    assert tend(secrets) > 0
    assert (secrets["U"], secrets["P"], told) == ("u2", "p2", [frozenset({"U", "P"})])
    assert kept.calls == ["prolong", "leave"]
    assert database.users == 2


def test_what_cannot_be_prolonged_is_tried_again_and_then_replaced(
    database: Database, kept: Prolonged, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = load(clock)
    kept.outcome = StoreError("the store does not answer", "Mend it.")
    clock.now += LIFE * 0.67
    tend(secrets)
    clock.now += 10
    tend(secrets)
    assert kept.calls == ["prolong"]
    clock.now += 300
    tend(secrets)
    assert kept.calls == ["prolong", "prolong"]
    assert "the store does not answer. Mend it." in caplog.text
    clock.now += 290
    secrets.refresh()
    database.identity = denied("login")
    clock.now += 230
    # Others cannot be got now: the old ones, which still live, are given out, and it is tried again soon.
    assert 0 < tend(secrets) <= 1
    assert secrets["U"] == "u1"
    database.identity = "who we are"
    clock.now += 1
    tend(secrets)
    assert secrets["U"] == "u2"


def test_what_was_never_to_be_prolonged_is_replaced_after_two_thirds(
    database: Database, kept: Prolonged, clock: Clock
) -> None:
    database.renewable = False
    secrets = load(clock)
    clock.now += LIFE * 0.6
    assert secrets["U"] == "u1"
    clock.now += LIFE * 0.07
    assert secrets["U"] == "u2"
    assert kept.calls == ["leave"]


def test_a_store_that_prolongs_nothing_gives_others_before_the_end(clock: Clock) -> None:
    with registered(Database(MemoryKept(["db"]))):
        secrets = load(clock)
        clock.now += LIFE * 0.67
        tend(secrets)
        assert secrets["U"] == "u1"
        clock.now += LIFE * 0.24
        tend(secrets)
        assert secrets["U"] == "u2"
        secrets.close()


def test_closing_ends_what_this_process_got_and_not_what_its_parent_got(
    database: Database, kept: Prolonged, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with load(clock):
        assert kept.calls == []
    assert kept.calls == ["end"]
    secrets = load(clock)
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    secrets.close()
    assert kept.calls == ["end"]
    assert database.users == 2


def test_credentials_of_secrets_that_cannot_be_used_are_ended(
    database: Database, kept: Prolonged, clock: Clock
) -> None:
    secrets = load(clock)
    database.secrets["static"] = "x"
    database.renewable = False
    references = ("memory://db", "X_* = memory://list/*")
    database.secrets |= {"list/a": '{"A": 1}'}
    other = loading.load(references, env_file=".env", times=(300, 120), settings={}, clock=clock)
    other._live._keeper.stop()
    database.secrets["list/b"] = '{"A": 2}'
    clock.now += 301
    assert kept.calls == []
    with pytest.raises(ImipError, match="is given by"):
        other.refresh()
    assert other["USER"] == "u2"
    assert kept.calls == ["end"]
    assert secrets["U"] == "u1"
