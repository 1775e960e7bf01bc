"""A value that is read again when it is old: by one thread at a time, and for a while not at all if that fails.

==========  ===========================================================================================
fresh       given out as it is
old         the first thread that comes reads it again; the others get what there is, without waiting
failed      what there is is given out for ``stale`` seconds more, with pauses between the attempts
too old     nothing is given out: the failure is raised
==========  ===========================================================================================
"""

from __future__ import annotations

import math
import random
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from imip_secrets.errors import ImipError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

# A value becomes old up to this part of its time earlier, so that a hundred processes do not come at once.
JITTER = 0.1
# Seconds between attempts that fail: doubled each time, with as much jitter.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[_T]):
    """A value with its times, on the cache's clock."""

    value: _T
    fresh_until: float
    given_until: float


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why the last attempt failed, and when the next one is due."""

    problems: tuple[Problem, ...]
    attempts: int
    retry_at: float


class Cache(Generic[_T]):
    """Holds a value; every method may be called from several threads at once.

    Args:
        read: Reads the value, or raises ImipError; never in two threads at once.
        ttl: How long a value is fresh, in seconds.
        stale: How much longer it is given out when it cannot be read again.
        until: Tells, when a value was read, after how many seconds it is old whatever the ttl.
        replaced: Told of a new value that took the place of an old one (old, new), when no lock is held.
        clock: A monotonic clock.

    """

    __slots__ = ("_clock", "_failure", "_kept", "_lock", "_read", "_replaced", "_stale", "_ttl", "_until")

    def __init__(
        self,
        read: Callable[[], _T],
        *,
        ttl: float,
        stale: float,
        until: Callable[[], float] = lambda: math.inf,
        replaced: Callable[[_T, _T], None] = lambda _old, _new: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hold nothing yet."""
        self._read = read
        self._ttl = ttl
        self._stale = stale
        self._until = until
        self._replaced = replaced
        self._clock = clock
        self._kept: _Kept[_T] | None = None
        self._failure: _Failure | None = None
        self._lock = threading.Lock()

    def fresh(self) -> _T | None:
        """Return the value if it needs no reading, else None."""
        kept = self._kept
        return kept.value if kept is not None and self._clock() < kept.fresh_until else None

    def at_hand(self) -> _T | None:
        """Return the value if it can be given out without reading, fresh or stale, else None."""
        kept = self._kept
        return kept.value if kept is not None and self._clock() < kept.given_until else None

    def get(self) -> _T:
        """Return the value, read again if it is old.

        Raises:
            ImipError: it cannot be read, and there is none that may still be given out.

        """
        kept, lock, now = self._kept, self._lock, self._clock()
        if kept is not None and now < kept.fresh_until:
            return kept.value
        if kept is not None and now < kept.given_until:
            # Who has a value to go on with does not wait for the thread that is reading.
            if not lock.acquire(blocking=False):
                return kept.value
        else:
            lock.acquire()
        return self._locked(lock, force=False)

    def refresh(self) -> _T:
        """Read the value now, whatever its age; what another thread is reading meanwhile is waited for.

        Raises:
            ImipError: it cannot be read; what was there stays.

        """
        lock = self._lock
        lock.acquire()
        return self._locked(lock, force=True)

    def expire(self) -> None:
        """Take the value for old from now on."""
        kept = self._kept
        if kept is not None:
            self._kept = replace(kept, fresh_until=min(kept.fresh_until, self._clock()))

    def due_in(self) -> float:
        """Return the seconds until there is something to read, 0 for now."""
        kept, failure = self._kept, self._failure
        moment = kept.fresh_until if kept else 0.0
        return max(0.0, max(moment, failure.retry_at if failure else moment) - self._clock())

    def after_fork(self) -> None:
        """Forget a thread that was reading: in the forked process it is not there, and would hold its lock for ever."""
        self._lock = threading.Lock()

    def _locked(self, lock: threading.Lock, *, force: bool) -> _T:
        """Read if there is need, and give up the lock; then tell who wants to know."""
        try:
            before = self._kept
            if not force and before is not None and self._clock() < before.fresh_until:
                return before.value  # another thread was first
            value = self._renewed(before, force=force)
            after = self._kept
        finally:
            lock.release()
        if before is not None and after is not before:
            self._replaced(before.value, value)
        return value

    def _renewed(self, kept: _Kept[_T] | None, *, force: bool) -> _T:
        failure = self._failure
        if force or failure is None or self._clock() >= failure.retry_at:
            try:
                value = self._read()
            except ImipError as error:
                self._failure = failure = self._failed(error)
                if force:
                    raise
            else:
                self._kept, self._failure = self._keep(value), None
                return value
        if kept is not None and self._clock() < kept.given_until:
            return kept.value
        raise ImipError(*failure.problems, *self._too_old(kept))

    def _keep(self, value: _T) -> _Kept[_T]:
        now = self._clock()
        fresh = self._ttl * (1 - JITTER * random.random())  # noqa: S311 - jitter
        return _Kept(value, now + min(fresh, self._until()), now + self._ttl + self._stale)

    def _failed(self, error: ImipError) -> _Failure:
        attempts = self._failure.attempts + 1 if self._failure else 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (min(attempts, 10) - 1))
        return _Failure(error.problems, attempts, self._clock() + pause * random.uniform(0.5, 1))  # noqa: S311 - jitter

    def _too_old(self, kept: _Kept[_T] | None) -> tuple[Problem, ...]:
        """Say why an application that ran well has nothing any more."""
        if kept is None:
            return ()
        what = f"the values that were read before are older than {self._ttl + self._stale:g} s, so they are not used"
        return (Problem(what, remedy="They come back by themselves once the store answers."),)
