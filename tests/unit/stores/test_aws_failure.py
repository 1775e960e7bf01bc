from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from imip_secrets.deadline import Deadline
from imip_secrets.errors import MissingError, StoreError
from imip_secrets.stores.aws import failure as aws_failure
from imip_secrets.stores.aws.failure import PERSISTENT, Failure, Patience
from stand_ins.time_up import end_in


def patience(seconds: float = 100, notices: list[str] | None = None) -> Patience:
    return Patience(Deadline(seconds), (notices if notices is not None else []).append)


def failing(times: int, failure: Failure) -> tuple[list[int], object]:
    """Make something to try that fails so often; and the list of its tries."""
    tries: list[int] = []

    def attempt() -> str:
        tries.append(1)
        if len(tries) <= times:
            raise failure
        return "there"

    return tries, attempt


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_failure, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(aws_failure, "LONGEST_WAIT_SECONDS", 0.002)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("times", "worth"), [(0, 1), (1, 2), (2, 3), (40, PERSISTENT)])
def test_a_failure_is_tried_again_as_often_as_it_is_worth(times: int, worth: int) -> None:
    tries, attempt = failing(times, Failure("no", "Wait.", tries=worth))
    assert patience().insist(attempt) == "there"  # type: ignore[arg-type]  # made above
    assert len(tries) == times + 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("missing", "kind"), [(True, MissingError), (False, StoreError)])
def test_the_last_failure_becomes_the_error(missing: bool, kind: type[StoreError]) -> None:  # noqa: FBT001  # a case
    _, attempt = failing(9, Failure("it is gone", "Look for it.", missing=missing))
    with pytest.raises(StoreError) as caught:
        patience().insist(attempt)  # type: ignore[arg-type]  # made above
    assert type(caught.value) is kind
    assert str(caught.value) == "it is gone. Look for it."
    assert caught.value.__context__ is None


@pytest.mark.usefixtures("quick")
def test_the_error_counts_the_tries() -> None:
    _, attempt = failing(9, Failure("no", "Wait.", tries=3))
    with pytest.raises(StoreError, match=r"no \(3 tries in 0 s\)\. Wait\."):
        patience().insist(attempt)  # type: ignore[arg-type]  # made above


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only waits move."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def test_patience_ends(clock: list[float]) -> None:
    tries, attempt = failing(10_000, Failure("no", "Wait.", tries=PERSISTENT))
    with pytest.raises(StoreError) as caught:
        patience(1000).insist(attempt)  # type: ignore[arg-type]  # made above
    waited = clock[0] - 1000
    assert aws_failure.PATIENCE_SECONDS - aws_failure.LONGEST_WAIT_SECONDS <= waited <= aws_failure.PATIENCE_SECONDS
    assert len(tries) > 3
    assert "timeout-seconds" not in str(caught.value)


def test_a_wait_that_the_deadline_does_not_allow_is_not_begun(clock: list[float]) -> None:
    tries, attempt = failing(10_000, Failure("no", "Wait.", tries=PERSISTENT))
    with pytest.raises(StoreError, match=r"The 20 s of the run \(timeout-seconds\) left no time for another try"):
        patience(20).insist(attempt)  # type: ignore[arg-type]  # made above
    assert clock[0] - 1000 < 20
    assert len(tries) > 1


@pytest.mark.usefixtures("quick")
def test_a_try_that_the_deadline_cut_off_does_not_hide_why_it_was_needed() -> None:
    failures = [Failure("AWS is busy", "Wait.", tries=PERSISTENT), Failure("no answer in time", "Wait.", tries=9)]

    deadline = Deadline(100)

    def attempt() -> None:
        if len(failures) == 1:
            end_in(deadline, 0)
        raise failures.pop(0)

    with pytest.raises(StoreError, match="AWS is busy"):
        Patience(deadline, print).insist(attempt)


@pytest.mark.usefixtures("quick")
def test_threads_that_wait_together_say_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(aws_failure.time, "monotonic", lambda: now[0])  # type: ignore[attr-defined]  # what it imports
    notices: list[str] = []
    shared = patience(100, notices)
    now[0] += aws_failure.SILENCE_SECONDS
    with ThreadPoolExecutor(8) as threads:
        for _ in range(8):
            _, attempt = failing(2, Failure("AWS is busy", "Wait.", tries=PERSISTENT))
            threads.submit(shared.insist, attempt)  # type: ignore[arg-type]  # made above
    (notice,) = notices
    assert notice.startswith("AWS: AWS is busy; try ")


@pytest.mark.usefixtures("quick")
def test_a_short_wait_is_not_worth_a_word() -> None:
    notices: list[str] = []
    _, attempt = failing(3, Failure("no", "Wait.", tries=PERSISTENT))
    patience(notices=notices).insist(attempt)  # type: ignore[arg-type]  # made above
    assert notices == []


def test_another_exception_is_nobodys_to_repeat() -> None:
    def attempt() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        patience().insist(attempt)
