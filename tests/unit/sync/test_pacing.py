"""The rate limits: kept in every window, whenever GitHub counts; told beforehand; obeyed when GitHub refuses."""

from __future__ import annotations

import heapq
import math
import random
import threading
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imip_secrets.deadline import Deadline
from imip_secrets.errors import StoreError
from imip_secrets.sync import pacing
from imip_secrets.sync.base import READ_POINTS, WRITE_POINTS
from imip_secrets.sync.pacing import LIMITS, Clock, Ledger, Limits, Pacer, Seen
from stand_ins.github import limits

MINUTE, HOUR = 60.0, 3600.0
GITHUB_POINTS, GITHUB_CONCURRENT = 900, 100
THREADS = 32


@dataclass
class Server:
    """GitHub's side: counts each request at some moment of its way, and refuses what is too much.

    Args:
        hourly: How many requests an hour, or None.
        skew: How far its clock is before ours.

    """

    hourly: int | None = None
    skew: float = 0.0
    counted: list[tuple[float, int]] = field(default_factory=list)
    hour_ends: float = -math.inf
    in_hour: int = 0
    refusals: int = 0

    def count(self, moment: float, points: int) -> Seen:
        self.counted.append((moment, points))
        recent = sum(cost for at, cost in self.counted[-GITHUB_POINTS:] if at > moment - MINUTE)
        if self.hourly is None:
            return Seen(refused=self._refuse(recent > GITHUB_POINTS))
        if moment >= self.hour_ends:
            self.hour_ends, self.in_hour = moment + HOUR, 0
        self.in_hour += 1
        refused = self._refuse(recent > GITHUB_POINTS or self.in_hour > self.hourly)
        # Whole seconds, as in GitHub's headers.
        resets_in = math.floor(self.hour_ends + self.skew) - math.floor(moment + self.skew)
        return Seen(self.hourly, max(0, self.hourly - self.in_hour), resets_in, refused=refused)

    def _refuse(self, too_much: bool) -> bool:  # noqa: FBT001 - a test's own
        self.refusals += too_much
        return too_much


def run(costs: list[int], ledger: Ledger, server: Server, seed: int, slowest: float) -> float:
    """Send requests as threads would, on a time of our own; return when the last has ended."""
    dice = random.Random(seed)  # noqa: S311 - a simulation
    now, waiting = 0.0, list(reversed(costs))
    arrivals: list[tuple[float, int, float, float, int]] = []
    ends: list[tuple[float, int, float, int, Seen]] = []
    number = 0
    while waiting or arrivals or ends:
        delay = ledger.delay(now, waiting[-1]) if waiting and len(arrivals) + len(ends) < THREADS else math.inf
        if not delay:
            cost = waiting.pop()
            number += 1
            took = dice.uniform(0.001, slowest)
            ledger.started(cost)
            heapq.heappush(arrivals, (now + dice.uniform(0, took), number, now, now + took, cost))
            assert len(arrivals) + len(ends) <= GITHUB_CONCURRENT
            continue
        next_arrival = arrivals[0][0] if arrivals else math.inf
        next_end = ends[0][0] if ends else math.inf
        now = max(now, min(now + delay, next_arrival, next_end))
        assert now < math.inf, "nothing is on its way and nothing may be sent"
        if next_arrival <= now:
            moment, order, began, end, cost = heapq.heappop(arrivals)
            heapq.heappush(ends, (end, order, began, cost, server.count(moment, cost)))
        elif next_end <= now:
            end, _, began, cost, seen = heapq.heappop(ends)
            ledger.ended(end, began, cost, seen=seen)
    return now


def fullest_minute(server: Server) -> int:
    """Return the most points in any minute of the server's clock."""
    counted = sorted(server.counted)
    most = total = start = 0
    for moment, cost in counted:
        total += cost
        while counted[start][0] <= moment - MINUTE:
            total -= counted[start][1]
            start += 1
        most = max(most, total)
    return most


requests = st.lists(st.sampled_from([READ_POINTS, WRITE_POINTS]), min_size=1, max_size=600)


@settings(max_examples=60, deadline=None)
@given(costs=requests, seed=st.integers(0, 2**32), slowest=st.sampled_from([0.05, 1.0, 20.0, 90.0]))
@example(costs=[WRITE_POINTS] * 600, seed=1, slowest=20.0)
def test_no_minute_of_github_holds_more_than_it_may_whenever_it_counts(
    costs: list[int], seed: int, slowest: float
) -> None:
    server = Server()
    run(costs, Ledger(), server, seed, slowest)
    assert fullest_minute(server) <= GITHUB_POINTS
    assert server.refusals == 0
    assert len(server.counted) == len(costs)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 700),
    hourly=st.integers(10, 300),
    seed=st.integers(0, 2**32),
    slowest=st.sampled_from([0.05, 1.0, 20.0]),
    skew=st.floats(-1e6, 1e6),
)
def test_no_hour_of_github_holds_more_than_it_may(
    count: int, hourly: int, seed: int, slowest: float, skew: float
) -> None:
    server = Server(hourly, skew)
    ledger = Ledger()
    run([READ_POINTS], ledger, server, seed, slowest)  # a login, from which the limit is known
    run([READ_POINTS] * count, ledger, server, seed, slowest)
    assert server.refusals == 0


def test_a_hundred_writes_go_at_once_and_a_thousand_are_spread() -> None:
    assert run([WRITE_POINTS] * 100, Ledger(), Server(), 1, 0.05) < 2
    server = Server()
    took = run([WRITE_POINTS] * 1000, Ledger(), server, 1, 0.05)
    # 176 writes a window: the thousandth goes in the sixth.
    assert 5 * 61 < took < 5 * 62
    assert fullest_minute(server) == LIMITS.points


@pytest.mark.parametrize(
    ("reads", "writes", "hourly", "slowest"),
    [
        (10, 100, None, 0.1),
        (110, 1000, None, 0.5),
        (1000, 0, None, 0.1),
        (1000, 4000, 5000, 0.5),
        (300, 6000, 15000, 2.0),
        (1, 0, None, 0.1),
    ],
)
def test_the_estimate_is_right_within_a_tenth(reads: int, writes: int, hourly: int | None, slowest: float) -> None:
    server, ledger = Server(hourly), Ledger()
    began = run([READ_POINTS] * 30, ledger, server, 7, slowest)
    told = ledger.estimate(began, reads + writes, reads * READ_POINTS + writes * WRITE_POINTS)
    costs = [READ_POINTS] * reads + [WRITE_POINTS] * writes
    random.Random(5).shuffle(costs)  # noqa: S311 - a simulation
    ended = run_from(began, costs, ledger, server, slowest)
    assert server.refusals == 0
    assert told == pytest.approx(ended - began, rel=0.1, abs=1.0)


def run_from(began: float, costs: list[int], ledger: Ledger, server: Server, slowest: float) -> float:
    class Later(Ledger):
        """The same ledger, on a time that begins later."""

        def delay(self, now: float, points: int, account: str = "") -> float:
            return ledger.delay(now + began, points, account)

        def started(self, points: int, account: str = "") -> None:
            ledger.started(points, account)

        def ended(self, now: float, began_: float, points: int, account: str = "", seen: Seen | None = None) -> None:
            ledger.ended(now + began, began_ + began, points, account, seen)

    class LaterServer(Server):
        def count(self, moment: float, points: int) -> Seen:
            return server.count(moment + began, points)

    return began + run(costs, Later(), LaterServer(), 11, slowest)


class StandIn(Server):
    """The limits of GitHub's stand-in, enforced: its own arithmetic, on our time."""

    def __init__(self, hourly: int) -> None:
        super().__init__()
        self.limits = limits.Limits(enforced=True, hourly=hourly)

    def count(self, moment: float, points: int) -> Seen:
        now = 1_800_000_000 + moment
        self.counted.append((moment, points))
        try:
            self.limits.take("token", "GET" if points == READ_POINTS else "PUT", now)
        except limits.Exceeded as exceeded:
            return Seen(refused=True, retry_after=exceeded.retry_after)
        told = self.limits.facts("token", now)
        resets_in = int(told["x-ratelimit-reset"]) - int(now)
        return Seen(int(told["x-ratelimit-limit"]), int(told["x-ratelimit-remaining"]), resets_in)


@pytest.mark.parametrize("hourly", [5000, 15000])
def test_a_thousand_repositories_with_twenty_secrets_are_never_refused_and_end_when_it_was_told(hourly: int) -> None:
    server, ledger = StandIn(hourly), Ledger()
    listed = run([READ_POINTS] * 1010, ledger, server, 3, 0.4)
    assert listed < 65
    told = ledger.estimate(listed, 21_000, 1000 * READ_POINTS + 20_000 * WRITE_POINTS)
    ended = run_from(listed, ([READ_POINTS] + [WRITE_POINTS] * 20) * 1000, ledger, server, 0.4)
    assert server.limits.refused == 0
    assert server.limits.most_points <= GITHUB_POINTS
    assert len(server.counted) == 22_010
    assert told == pytest.approx(ended - listed, rel=0.1)
    # Of 5,000 an hour, four resets are waited for; with 15,000 the minutes count, each of 880 points.
    assert told == pytest.approx(4.05 * HOUR if hourly == 5000 else 1.95 * HOUR, rel=0.05)


def test_an_estimate_of_nothing_is_nothing() -> None:
    assert Ledger().estimate(5.0, 0, 0) == 0


def refuse(ledger: Ledger, now: float, seen: Seen | None = None) -> None:
    ledger.started(1)
    ledger.ended(now, now, 1, seen=seen or Seen(refused=True))


def test_without_a_time_in_the_answer_each_pause_is_twice_the_last() -> None:
    ledger, now = Ledger(), 0.0
    for pause in (60, 120, 240):
        refuse(ledger, now)
        assert ledger.delay(now, 1) == pause
        now += pause


def test_what_was_on_its_way_when_the_first_was_refused_makes_the_pause_no_longer() -> None:
    ledger = Ledger()
    for _ in range(3):
        ledger.started(1)
    for _ in range(3):
        ledger.ended(2.0, 0.0, 1, seen=Seen(refused=True))
    assert ledger.delay(2.0, 1) == 60
    assert ledger.refusals == 1


def test_retry_after_is_obeyed_even_when_it_is_longer_than_the_pause_so_far() -> None:
    ledger = Ledger()
    refuse(ledger, 0.0)
    refuse(ledger, 1.0, Seen(refused=True, retry_after=100))
    assert ledger.delay(1.0, 1) == 101


def test_a_retry_after_of_a_day_is_no_reason_to_sleep_a_day() -> None:
    ledger = Ledger()
    refuse(ledger, 0.0, Seen(refused=True, retry_after=86400))
    assert ledger.delay(0.0, 1) == pacing.LONGEST


def test_a_used_up_hour_is_waited_for_and_only_by_its_own_account() -> None:
    ledger = Ledger()
    ledger.started(1, "app")
    ledger.ended(0.0, 0.0, 1, "app", Seen(5000, 0, 300))
    assert ledger.delay(0.0, 1, "app") == 301
    assert ledger.delay(0.0, 1, "installation") == 0
    assert ledger.delay(301.0, 1, "app") == 0


def test_after_a_refusal_without_a_reason_of_ours_half_the_budget_is_left_to_others() -> None:
    ledger = Ledger()
    refuse(ledger, 0.0, Seen(refused=True, retry_after=0))
    server = Server()

    class Later(Server):
        def count(self, moment: float, points: int) -> Seen:
            return server.count(moment, points)

    run([WRITE_POINTS] * 300, ledger, Later(), 3, 0.05)
    assert fullest_minute(server) <= LIMITS.points // 2


def test_a_full_minute_of_what_is_on_its_way_is_waited_for_by_its_end() -> None:
    ledger = Ledger(Limits(points=10, concurrent=100))
    ledger.started(WRITE_POINTS)
    ledger.started(WRITE_POINTS)
    assert math.isinf(ledger.delay(0.0, WRITE_POINTS))


def test_a_success_that_began_before_the_refusal_does_not_end_the_growth_of_pauses() -> None:
    ledger = Ledger()
    ledger.started(1)
    refuse(ledger, 1.0)
    ledger.ended(2.0, 0.0, 1, seen=Seen())
    assert ledger.refusals == 1
    ledger.started(1)
    ledger.ended(62.0, 61.5, 1, seen=Seen())
    assert ledger.refusals == 0


def test_an_enterprise_server_that_tells_of_no_limits_is_not_paced() -> None:
    ledger = Ledger(always=False)
    assert run([WRITE_POINTS] * 2000, ledger, Unlimited(), 1, 0.05) < 10
    limited = Server(hourly=100_000)
    assert run([WRITE_POINTS] * 500, Ledger(always=False), limited, 1, 0.05) > 61


class Unlimited(Server):
    def count(self, moment: float, points: int) -> Seen:
        self.counted.append((moment, points))
        return Seen()


class FakeClock(Clock):
    """A clock on which waiting takes no time."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        assert isinstance(condition, threading.Condition)
        self.time += seconds


class FakeDeadline(Deadline):
    """A deadline on a fake clock."""

    def __init__(self, seconds: float, clock: FakeClock) -> None:
        super().__init__(seconds)
        self._clock = clock

    def remaining(self) -> float:
        return max(0.0, self.seconds - self._clock.time)


def pacer(seconds: float = 1e6, limits: Limits = LIMITS) -> tuple[Pacer, FakeClock, list[str]]:
    clock, said = FakeClock(), list[str]()
    return Pacer(Ledger(limits), FakeDeadline(seconds, clock), said.append, clock), clock, said


def ask(pacer_: Pacer, seen: Seen | None = None, points: int = 1, *, at_once: bool = False) -> None:
    with pacer_.visit(points, at_once=at_once) as visit:
        visit.seen = seen


def test_a_wait_is_said_counted_and_obeyed() -> None:
    pacer_, clock, said = pacer()
    ask(pacer_, Seen(refused=True, retry_after=40))
    ask(pacer_, Seen())
    assert clock.time == 41
    assert said == [
        "Waiting 41 s for GitHub's rate limit (requests so far: 1).",
        "Waiting 26 s for GitHub's rate limit (requests so far: 1).",
        "Waiting 11 s for GitHub's rate limit (requests so far: 1).",
    ]
    used = pacer_.used()
    assert (used.requests, used.points, used.refused, used.waited) == (2, 2, 1, 41)


def test_a_wait_past_the_end_of_the_run_is_not_begun() -> None:
    pacer_, clock, _ = pacer(seconds=120)
    ask(pacer_, Seen(5000, 0, 1800, refused=True))
    with pytest.raises(
        StoreError,
        match=r"lets nothing through for 30 min, which is longer than what is left of timeout-seconds \(120\)",
    ):
        ask(pacer_)
    assert clock.time == 0
    assert pacer_.used().requests == 1


def test_what_must_be_done_at_the_end_does_not_wait() -> None:
    pacer_, clock, _ = pacer(seconds=120)
    ask(pacer_, Seen(5000, 0, 1800, refused=True))
    ask(pacer_, at_once=True)
    assert clock.time == 0
    assert pacer_.used().requests == 2


def test_after_five_refusals_in_a_row_nothing_more_is_asked() -> None:
    pacer_, clock, _ = pacer()
    for _ in range(pacing.REFUSALS):
        ask(pacer_, Seen(refused=True))
    with pytest.raises(StoreError, match="5 times in a row"):
        ask(pacer_)
    assert clock.time == 60 + 120 + 240 + 480


def test_a_backoff_grows_is_said_and_ends_with_the_run() -> None:
    pacer_, clock, said = pacer(seconds=30)
    assert pacer_.backoff(1, "it answers 502")
    assert clock.time <= 1
    assert said == []
    assert pacer_.backoff(3, "it answers 502")
    assert said == ["Waiting for GitHub: it answers 502; trying again."]
    clock.time = 30
    assert not pacer_.backoff(3, "it answers 502")


def test_threads_keep_to_the_limits_together() -> None:
    limits = Limits(points=20, window=0.15, concurrent=3)
    pacer_ = Pacer(Ledger(limits), Deadline(60), lambda _: None)
    lock, now_in, most, moments = threading.Lock(), 0, 0, list[float]()

    def work() -> None:
        nonlocal now_in, most
        for _ in range(6):
            with pacer_.visit(WRITE_POINTS) as visit:
                with lock:
                    now_in += 1
                    most = max(most, now_in)
                    moments.append(time.monotonic())
                time.sleep(0.002)
                with lock:
                    now_in -= 1
                visit.seen = Seen()

    threads = [threading.Thread(target=work) for _ in range(8)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    took = time.monotonic() - began
    assert len(moments) == 48
    assert most <= limits.concurrent
    moments.sort()
    # Four writes a window: the fifth after one comes no earlier than a window later.
    assert all(later - earlier >= limits.window for earlier, later in zip(moments, moments[4:], strict=False))
    used = pacer_.used()
    assert used.points == 48 * WRITE_POINTS
    # Eleven windows were waited for, by all threads together; where the machine was slow, there was less to wait for.
    assert limits.window <= used.waited <= took
    assert took >= 11 * limits.window
