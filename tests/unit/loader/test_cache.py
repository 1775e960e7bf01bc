"""When a value is read again, by whom, and what there is meanwhile; on a clock of the tests' own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from imip_secrets.errors import ImipError, Problem
from imip_secrets.loader.cache import JITTER, LONGEST_PAUSE, Cache


class Clock:
    """Stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Gives 1, 2, 3...; fails while it is ``down``; waits at ``gate`` if there is one."""

    def __init__(self) -> None:
        self.reads = 0
        self.down = False
        self.gate: threading.Event | None = None

    def __call__(self) -> int:
        self.reads += 1
        if self.gate:
            assert self.gate.wait(60)
        if self.down:
            raise ImipError(Problem("the store does not answer", remedy="Mend it."))
        return self.reads


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def cache(store: Store, clock: Clock) -> Cache[int]:
    return Cache(store, ttl=300, stale=120, clock=clock)


def test_a_value_is_read_once_while_it_is_fresh(cache: Cache[int], clock: Clock) -> None:
    assert cache.get() == 1
    clock.now += 300 * (1 - JITTER) - 0.1
    assert cache.get() == 1
    clock.now += 300 * JITTER + 0.2
    assert cache.get() == 2


def test_no_two_values_grow_old_together(store: Store, clock: Clock) -> None:
    ends = set()
    for _ in range(50):
        cache = Cache(store, ttl=300, stale=0, clock=clock)
        cache.get()
        ends.add(cache.due_in())
    assert len(ends) == 50
    assert all(300 * (1 - JITTER) <= end <= 300 for end in ends)


def test_sixty_four_threads_at_the_end_of_a_value_make_one_request(
    cache: Cache[int], store: Store, clock: Clock
) -> None:
    assert cache.get() == 1
    clock.now += 301
    store.gate = threading.Event()
    barrier = threading.Barrier(64)

    def get(_: int) -> int:
        barrier.wait(60)
        return cache.get()

    with ThreadPoolExecutor(64) as pool:
        others = [pool.submit(get, number) for number in range(64)]
        # All but the one that reads have what there is, though the store has not answered.
        done = [future for _, future in zip(range(63), as_completed(others, 60), strict=False)]
        assert {future.result() for future in done} == {1}
        assert sum(future.done() for future in others) == 63
        store.gate.set()
        assert sorted(future.result(60) for future in others) == [1] * 63 + [2]
    assert store.reads == 2


def test_sixty_four_threads_without_a_value_make_one_request(cache: Cache[int], store: Store) -> None:
    store.gate = threading.Event()
    with ThreadPoolExecutor(64) as pool:
        all_of_them = [pool.submit(cache.get) for _ in range(64)]
        store.gate.set()
        assert {future.result(60) for future in all_of_them} == {1}
    assert store.reads == 1


def test_two_minutes_of_outage_serve_what_there_is_and_then_raise(
    cache: Cache[int], store: Store, clock: Clock
) -> None:
    assert cache.get() == 1
    store.down = True
    started = clock.now
    while clock.now < started + 300 + 120:
        assert cache.get() == 1
        clock.now += 0.5
    with pytest.raises(ImipError) as caught:
        cache.get()
    assert str(caught.value) == (
        "the store does not answer. Mend it.\n"
        "the values that were read before are older than 420 s, so they are not used. "
        "They come back by themselves once the store answers."
    )
    assert cache.at_hand() is None
    # The store that does not answer was asked some ten times in two minutes, not at each of three hundred accesses.
    assert 5 < store.reads < 20
    reads = store.reads
    for _ in range(100):
        with pytest.raises(ImipError):
            cache.get()
    assert store.reads <= reads + 1
    store.down = False
    clock.now += LONGEST_PAUSE
    assert cache.get() == store.reads


def test_a_store_that_comes_back_is_noticed_and_its_failures_forgotten(
    cache: Cache[int], store: Store, clock: Clock
) -> None:
    assert cache.get() == 1
    clock.now += 301
    store.down = True
    for _ in range(5):
        assert cache.get() == 1
        clock.now += 5
    store.down = False
    clock.now += 20
    assert cache.get() == store.reads
    assert cache.due_in() > 200


def test_the_same_failure_raised_again_is_another_exception(cache: Cache[int], store: Store) -> None:
    store.down = True
    raised = []
    for _ in range(2):
        with pytest.raises(ImipError) as caught:
            cache.get()
        raised.append(caught.value)
    # An exception that is raised twice grows by a traceback each time.
    assert raised[0] is not raised[1]
    assert store.reads == 1


def test_a_value_can_be_read_before_its_time(cache: Cache[int], store: Store) -> None:
    assert cache.get() == 1
    assert cache.refresh() == 2
    assert cache.get() == 2
    store.down = True
    with pytest.raises(ImipError, match="does not answer"):
        cache.refresh()
    assert cache.get() == 2


def test_a_value_that_ends_by_itself_is_old_by_then(store: Store, clock: Clock) -> None:
    cache = Cache(store, ttl=300, stale=120, until=lambda: 20.0, clock=clock)
    assert cache.get() == 1
    assert cache.due_in() == 20
    clock.now += 20
    assert cache.get() == 2
    cache.expire()
    assert cache.due_in() == 0
    assert cache.get() == 3


def test_nothing_is_due_sooner_than_the_next_attempt(cache: Cache[int], store: Store, clock: Clock) -> None:
    assert cache.due_in() == 0
    cache.expire()
    cache.get()
    store.down = True
    cache.expire()
    assert cache.get() == 1
    assert 0.5 <= cache.due_in() <= 1
    clock.now += cache.due_in()
    assert cache.due_in() == 0


def test_who_is_told_of_a_new_value_may_ask_for_it(store: Store, clock: Clock) -> None:
    told = []

    def replaced(old: int, new: int) -> None:
        told.append((old, new, holder[0].get()))

    cache: Cache[int] = Cache(store, ttl=300, stale=120, replaced=replaced, clock=clock)
    holder = [cache]
    cache.get()
    assert told == []
    cache.refresh()
    assert told == [(1, 2, 2)]


def test_what_is_no_failure_of_a_store_leaves_the_lock_free(clock: Clock) -> None:
    def broken() -> int:
        raise KeyboardInterrupt

    cache = Cache(broken, ttl=300, stale=120, clock=clock)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            cache.get()
