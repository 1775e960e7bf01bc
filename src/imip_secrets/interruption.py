"""Interruptions that wait: what ends a session or a credential is not left half done."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

# GitHub's runner sends the first when a job is cancelled, the second 7.5 seconds later, and then kills (actions/runner
# ProcessInvoker.cs).
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred(told: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Take up an interruption only when this is done; what is done within must have a limit of its own.

    Args:
        told: Called when there is one, between two steps of whatever goes on.

    Raises:
        KeyboardInterrupt: at the end, if there was one.

    """
    if threading.current_thread() is not threading.main_thread():
        # Signals are for the main thread alone.
        yield
        return
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        told()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number, handler in before.items():
            # What somebody else than Python handles cannot be put back; what is ignored stays so.
            if handler not in {None, signal.SIG_IGN}:
                signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
