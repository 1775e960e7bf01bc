"""What stores of one run share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from imip_secrets.stores.base import Shared


def test_what_is_shared_is_made_once_and_ended_by_the_last() -> None:
    shared, barrier = Shared(), Barrier(8)
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    def take() -> object:
        barrier.wait(60)
        return shared.take("aws", make)

    with ThreadPoolExecutor(8) as threads:
        taken = [each.result() for each in [threads.submit(take) for _ in range(8)]]
    assert len(made) == 1
    assert len({id(each) for each in taken}) == 1
    assert [shared.give_back("aws") for _ in range(8)] == [False] * 7 + [True]
    assert shared.take("aws", object) is not taken[0]


def test_keys_are_apart_and_a_second_end_ends_nothing() -> None:
    shared = Shared()
    first, second = shared.take("one", object), shared.take("two", object)
    assert first is not second
    assert shared.give_back("one")
    assert not shared.give_back("one")
