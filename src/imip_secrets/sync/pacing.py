"""When the next request may be sent, so that GitHub never has to refuse one.

GitHub's limits (REST API, "Rate limits"): 900 points in a minute, where a read
counts 1 and a write 5; a hundred requests at once; and so many requests an
hour. What we keep is a budget of points, not a pause: what fits into a minute
goes at once, and the rest follows as the minute moves on.

:class:`Ledger` is the arithmetic, which knows neither clocks nor threads: the
estimate and the tests run it on a time of their own. :class:`Pacer` has threads
wait by it.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from imip_secrets.errors import StoreError
from imip_secrets.sync.base import READ_POINTS, WRITE_POINTS, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imip_secrets.deadline import Deadline

# The first wait where GitHub refuses and names no time; each further one is twice as long ("Best practices").
FIRST_PAUSE = 60.0
# After so many refusals in a row, waiting mends nothing, and going on may end in a ban.
REFUSALS = 5
# No wait is longer: the limit of an hour, and a little.
LONGEST = 3700.0

_SIGN_OF_LIFE = 15.0
_WORTH_A_LINE = 5.0
_BACKOFF, _MAX_BACKOFF = 0.5, 8.0
_HOUR = 3600.0
_NEW_HOUR = 60.0  # so much later is another reset, and not the same one told less exactly
_FIRST_LATENCY = 0.25  # seconds, before any request was measured
_MEMORY = 0.1  # how much one request counts in the mean of their durations


@dataclass(frozen=True, slots=True)
class Limits:
    """What we allow ourselves.

    Args:
        points: So many in each window. GitHub allows 900: the rest is for what must not wait, the end of a session.
        window: Seconds: a minute, and one for clocks that show whole seconds.
        concurrent: Requests at once. GitHub allows 100, and advises few.

    """

    points: int = 880
    window: float = 61.0
    concurrent: int = 12


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Seen:
    """What an answer says about limits.

    Args:
        limit: How many requests an hour are allowed, or None where it does not say.
        remaining: How many of them are left, or None.
        resets_in: In how many seconds there will be as many again, or None.
        refused: GitHub refused the request for a limit.
        retry_after: How many seconds it asks us to wait, or None.

    """

    limit: int | None = None
    remaining: int | None = None
    resets_in: float | None = None
    refused: bool = False
    retry_after: float | None = None


@dataclass(slots=True)
class _Hour:
    """The limit of an hour of one account, as far as it is known."""

    limit: int | None = None
    remaining: int | None = None
    resets_at: float = -math.inf
    in_flight: int = 0

    def left(self, now: float) -> float:
        """Return how many requests may still be sent."""
        if now < self.resets_at and self.remaining is not None:
            return self.remaining - self.in_flight
        return math.inf if self.limit is None else self.limit - self.in_flight

    def learn(self, now: float, seen: Seen) -> None:
        if seen.limit is None or seen.remaining is None or seen.resets_in is None:
            return
        # A second more, for GitHub tells whole ones.
        resets_at = now + seen.resets_in + 1.0
        fresh = self.remaining is None or now >= self.resets_at or resets_at > self.resets_at + _NEW_HOUR
        self.limit = seen.limit
        if fresh or self.remaining is None:
            self.remaining, self.resets_at = seen.remaining, resets_at
        else:
            # Answers come in another order than GitHub counted the requests in.
            self.remaining = min(self.remaining, seen.remaining)


class Ledger:
    """What was sent and what GitHub said to it; for one thread at a time.

    A request counts from when it is sent until a whole window after its
    answer. At whichever moment between the two GitHub counted it, no window of
    GitHub's holds more than it may.

    Args:
        limits: What is allowed.
        always: Whether there are limits even where answers tell of none; not so at an Enterprise Server.

    """

    def __init__(self, limits: Limits = LIMITS, *, always: bool = True) -> None:
        """Begin with nothing sent."""
        self.limits = limits
        self.latency = _FIRST_LATENCY
        self.refusals = 0
        self._measured = False
        self._always = always
        self._metered = True
        self._points = limits.points
        self._ended: deque[tuple[float, int]] = deque()
        self._counted = 0
        self._in_flight = 0
        self._points_in_flight = 0
        self._closed_until = -math.inf
        self._hours: dict[str, _Hour] = {}

    def delay(self, now: float, points: int, account: str = "") -> float:
        """Say in how many seconds a request may be sent: 0 for now, infinity while others must end before."""
        if self._in_flight >= self.limits.concurrent:
            return math.inf
        if now < self._closed_until:
            return self._closed_until - now
        hour = self._hours.get(account)
        if hour and hour.left(now) < 1:
            return hour.resets_at - now if now < hour.resets_at else math.inf
        return self._until_there_is_room(now, points) if self._metered else 0.0

    def _until_there_is_room(self, now: float, points: int) -> float:
        while self._ended and self._ended[0][0] + self.limits.window <= now:
            self._counted -= self._ended.popleft()[1]
        too_many = self._counted + self._points_in_flight + points - self._points
        if too_many <= 0:
            return 0.0
        for ended, freed in self._ended:
            too_many -= freed
            if too_many <= 0:
                return ended + self.limits.window - now
        return math.inf

    def started(self, points: int, account: str = "") -> None:
        """Count a request that is sent now."""
        self._in_flight += 1
        self._points_in_flight += points
        self._hours.setdefault(account, _Hour()).in_flight += 1

    def ended(self, now: float, began: float, points: int, account: str = "", seen: Seen | None = None) -> None:
        """Count its end, and learn from the answer, if there was one."""
        self._in_flight -= 1
        self._points_in_flight -= points
        self._ended.append((now, points))
        self._counted += points
        hour = self._hours[account]
        hour.in_flight -= 1
        if seen is None:
            return
        self.latency += (_MEMORY if self._measured else 1.0) * (now - began - self.latency)
        self._measured = True
        hour.learn(now, seen)
        if seen.refused:
            self._refused(now, seen)
            return
        self._metered = self._always or seen.limit is not None
        if began >= self._closed_until:
            self.refusals = 0

    def _refused(self, now: float, seen: Seen) -> None:
        """Let nobody ask for a while."""
        again = now < self._closed_until
        if seen.retry_after is not None:
            wait = seen.retry_after + 1.0
        elif seen.remaining == 0 and seen.resets_in is not None:
            wait = seen.resets_in + 1.0
        else:
            wait = 0.0 if again else FIRST_PAUSE * 2**self.refusals
        self._closed_until = max(self._closed_until, now + min(wait, LONGEST))
        if again:
            return  # it was on its way when the first one was refused
        self.refusals += 1
        if seen.remaining != 0:
            # Somebody else draws on the same limits: leave them more.
            self._points = max(self._points // 2, self.limits.points // 8)

    def estimate(self, now: float, requests: int, points: int) -> float:
        """Say how many seconds further requests take: the same rules, run ahead of the clock."""
        ahead = self._copy()
        # An App has two accounts, its own and the one that does the work: the one with the most requests counts.
        account = max(ahead._hours, key=lambda name: ahead._hours[name].limit or 0, default="")  # noqa: SLF001 - its own
        writes = (points - requests * READ_POINTS) // (WRITE_POINTS - READ_POINTS)
        moment, on_their_way = now, list[tuple[float, float, int]]()
        for number in range(requests):
            # Mixed, as they come: the key of a scope, then what is written there.
            is_write = (number + 1) * writes // requests > number * writes // requests
            cost = WRITE_POINTS if is_write else READ_POINTS
            while delay := ahead.delay(moment, cost, account):
                if on_their_way and on_their_way[0][0] <= moment + delay:
                    ahead._ended_ahead(*heappop(on_their_way), account)  # noqa: SLF001 - its own copy
                    moment = max(moment, ahead._ended[-1][0])  # noqa: SLF001 - likewise
                else:
                    moment += delay
            ahead.started(cost, account)
            heappush(on_their_way, (moment + self.latency, moment, cost))
        return max((end for end, _, _ in on_their_way), default=now) - now

    def _ended_ahead(self, now: float, began: float, points: int, account: str) -> None:
        """Count the end of a request that was not really sent."""
        hour = self._hours[account]
        seen = Seen()
        if hour.limit is not None:
            fresh = hour.remaining is None or now >= hour.resets_at
            remaining = hour.limit if fresh else hour.remaining or 0
            seen = Seen(hour.limit, remaining - 1, _HOUR if fresh else hour.resets_at - now - 1.0)
        self.ended(now, began, points, account, seen)

    def _copy(self) -> Ledger:
        """Return what is known now, without what is on its way."""
        copy = Ledger(self.limits, always=self._always or self._metered)
        copy.latency, copy.refusals, copy._measured = self.latency, self.refusals, True
        copy._metered, copy._points = self._metered, self._points
        copy._ended, copy._counted = deque(self._ended), self._counted
        copy._closed_until = self._closed_until
        copy._hours = {name: replace(hour, in_flight=0) for name, hour in self._hours.items()}
        return copy


class Clock:
    """The clock and the waits of the real world."""

    def now(self) -> float:
        """Return a time that only goes forward, in seconds."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Wait until the condition is notified, at most so many seconds."""
        condition.wait(seconds)


@dataclass(slots=True)
class Visit:
    """One request, from its start to its end.

    Args:
        seen: What the answer said about limits; whoever sent the request fills it in.

    """

    seen: Seen | None = None


class Pacer:
    """Lets requests through when they may go; for any number of threads.

    Args:
        ledger: What is allowed.
        deadline: The end of the run; no wait passes it.
        notice: Shows one line to the person who waits.
        clock: Another clock, for tests.

    """

    def __init__(
        self, ledger: Ledger, deadline: Deadline, notice: Callable[[str], None], clock: Clock | None = None
    ) -> None:
        """Begin with nothing sent."""
        self._ledger = ledger
        self._deadline = deadline
        self._notice = notice
        self._clock = clock or Clock()
        self._door = threading.Condition()
        self._used = Usage()
        self._waiting = 0
        self._waiting_since = 0.0
        self._spoke = -math.inf

    @contextmanager
    def visit(self, points: int, account: str = "", *, at_once: bool = False) -> Iterator[Visit]:
        """Wait until a request may be sent, and count it while it is on its way.

        Args:
            points: What it counts.
            account: Whose limit of an hour it counts for.
            at_once: Do not wait; for what must be done at the end of a run.

        Raises:
            StoreError: it may not be sent before the end of the run, or GitHub takes no more at all.

        """
        with self._door:
            if not at_once:
                self._wait(points, account)
            self._ledger.started(points, account)
            used = self._used
            self._used = replace(used, requests=used.requests + 1, points=used.points + points)
            began = self._clock.now()
        visit = Visit()
        try:
            yield visit
        finally:
            with self._door:
                self._ledger.ended(self._clock.now(), began, points, account, visit.seen)
                if visit.seen and visit.seen.refused:
                    self._used = replace(self._used, refused=self._used.refused + 1)
                self._door.notify_all()

    def backoff(self, attempt: int, why: str) -> bool:
        """Wait before another try of one request, with full jitter; return False when there is no time for it."""
        seconds = random.uniform(0, min(_MAX_BACKOFF, _BACKOFF * 2**attempt))  # noqa: S311 - jitter
        with self._door:
            if seconds >= self._deadline.remaining():
                return False
            if attempt > 1:
                self._say(f"Waiting for GitHub: {why}; trying again.")
            until = self._clock.now() + seconds
            while (left := until - self._clock.now()) > 0:
                self._clock.wait(self._door, left)
        return True

    def estimate(self, requests: int, points: int) -> float:
        """Say how many seconds so many further requests of so many points take."""
        with self._door:
            return self._ledger.estimate(self._clock.now(), requests, points)

    def used(self) -> Usage:
        """Say what was sent so far, and how long the limits made us wait."""
        with self._door:
            waiting = self._clock.now() - self._waiting_since if self._waiting else 0.0
            return replace(self._used, waited=self._used.waited + waiting)

    def _wait(self, points: int, account: str) -> None:
        """Wait until the ledger lets a request through."""
        while True:
            if self._ledger.refusals >= REFUSALS:
                raise _refuses()
            delay = self._ledger.delay(self._clock.now(), points, account)
            if not delay:
                return
            if math.isinf(delay):
                # Others must end first; they have limits of their own.
                self._clock.wait(self._door, _SIGN_OF_LIFE)
            elif delay >= self._deadline.remaining():
                raise _no_time(delay, self._deadline.seconds)
            else:
                if delay >= _WORTH_A_LINE:
                    self._say(
                        f"Waiting {_spoken(delay)} for GitHub's rate limit (requests so far: {self._used.requests})."
                    )
                self._wait_for_the_limit(min(delay, _SIGN_OF_LIFE))

    def _wait_for_the_limit(self, seconds: float) -> None:
        """Wait, and count the time: once, however many threads wait for the same."""
        if not self._waiting:
            self._waiting_since = self._clock.now()
        self._waiting += 1
        try:
            self._clock.wait(self._door, seconds)
        finally:
            self._waiting -= 1
            if not self._waiting:
                waited = self._clock.now() - self._waiting_since
                self._used = replace(self._used, waited=self._used.waited + waited)

    def _say(self, line: str) -> None:
        """Show a line, unless one was shown just now."""
        now = self._clock.now()
        if now - self._spoke >= _SIGN_OF_LIFE:
            self._spoke = now
            self._notice(line)


def _spoken(seconds: float) -> str:
    """Write a time for people."""
    return f"{math.ceil(seconds)} s" if seconds < 100 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - two digits do


def _no_time(seconds: float, limit: float) -> StoreError:
    what = (
        f"GitHub's rate limit lets nothing through for {_spoken(seconds)}, "
        f"which is longer than what is left of timeout-seconds ({limit:g})"
    )
    return StoreError(what, "Raise timeout-seconds, or run again later: what was written is not written again.")


def _refuses() -> StoreError:
    what = f"GitHub answered with its rate limit {REFUSALS} times in a row, after every wait that it asked for"
    remedy = "Nothing more was asked. Look for other programs with the same token or App, and run again in an hour."
    return StoreError(what, remedy)
