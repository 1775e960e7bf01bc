from __future__ import annotations

import time

import pytest

from imip_secrets.deadline import Deadline


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, moved by hand and by sleeping."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def test_the_time_that_remains_shrinks_to_nothing_and_not_below(clock: list[float]) -> None:
    deadline = Deadline(10)
    assert deadline.seconds == 10
    assert deadline.remaining() == 10
    assert not deadline.over()
    clock[0] += 9.5
    assert deadline.remaining() == 0.5
    assert not deadline.over()
    clock[0] += 0.5
    assert deadline.over()
    clock[0] += 99
    assert deadline.remaining() == 0
    assert deadline.over()


@pytest.mark.usefixtures("clock")
def test_a_step_gets_what_it_asks_for_or_what_is_left() -> None:
    deadline = Deadline(10)
    assert deadline.at_most(3) == 3
    assert deadline.at_most(30) == 10


def test_a_step_never_gets_a_time_out_of_nothing_which_means_none(clock: list[float]) -> None:
    deadline = Deadline(10)
    assert deadline.at_most(0) > 0
    clock[0] += 11
    assert 0 < deadline.at_most(3) < 0.1


def test_a_wait_within_the_time_is_waited_out(clock: list[float]) -> None:
    deadline = Deadline(10)
    assert deadline.sleep(4)
    assert clock[0] == 104
    assert deadline.remaining() == 6


@pytest.mark.parametrize("seconds", [10, 11, 3600])
def test_a_wait_that_would_pass_the_deadline_is_not_begun(clock: list[float], seconds: float) -> None:
    assert not Deadline(10).sleep(seconds)
    assert clock[0] == 100


def test_no_wait_begins_when_the_time_is_up(clock: list[float]) -> None:
    deadline = Deadline(10)
    clock[0] += 10
    assert not deadline.sleep(0)


def test_the_real_clock_runs() -> None:
    deadline = Deadline(60)
    assert deadline.sleep(0.01)
    assert 0 < deadline.remaining() < 60
