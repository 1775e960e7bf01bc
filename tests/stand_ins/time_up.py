"""The time of a run, by what has happened in it and not by the clock: a test says when it is over.

>>> with time_up_after(3):  # answers: a login, and two secrets
...     ...  # a run whose time is over when it has taken up three answers, not sooner and not later
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING
from unittest import mock

from imip_secrets import harvest
from imip_secrets.deadline import Deadline
from stand_ins.faults import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from queue import SimpleQueue

    from stand_ins.faults import FaultServer, Request, Step


@contextmanager
def time_up_after(answers: int, when: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Have the time be over when a harvest has taken up so many answers and something is so.

    An answer is what a login, a listing or a read comes to. Nothing else is
    awaited: what has not been answered by then is what the run tells of.
    """
    left = answers
    take = harvest._next

    def take_next(queue: SimpleQueue[Callable[[], None]], _: float) -> Callable[[], None] | None:
        nonlocal left
        if not left:
            assert wait_until(when, 60)
            return None
        answer = take(queue, 60)
        assert answer, "there were fewer answers"
        left -= 1
        return answer

    over = mock.patch.object(Deadline, "over", side_effect=lambda: not left)
    with mock.patch.object(harvest, "_next", take_next), over:
        yield


def end_at(server: FaultServer, number: int, deadline: Deadline) -> None:
    """Have a deadline be over when the so-manieth request from now on comes to a server, not sooner and not later."""
    came, respond = count(1), server.respond

    def counted(request: Request) -> Step:
        if next(came) == number:
            end_in(deadline, 0)
        return respond(request)

    server.respond = counted  # type: ignore[method-assign]  # the one place that sees every request


def end_in(deadline: Deadline, seconds: float) -> None:
    """Leave a deadline so many seconds from now on: what came before took as long as it took."""
    deadline._end = time.monotonic() + seconds
