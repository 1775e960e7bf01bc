"""One time limit for the whole run."""

from __future__ import annotations

import time


class Deadline:
    """A point on the monotonic clock that no wait may pass.

    Args:
        seconds: How long the run may take from now on.

    """

    __slots__ = ("_end", "seconds")

    def __init__(self, seconds: float) -> None:
        """Start the clock."""
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self._end - time.monotonic())

    def over(self) -> bool:
        """Tell whether the time is up."""
        return self.remaining() <= 0

    def at_most(self, seconds: float) -> float:
        """Return a time-out for one step: ``seconds`` or what is left of the run, and never 0 ("none")."""
        return max(0.001, min(seconds, self.remaining()))

    def sleep(self, seconds: float) -> bool:
        """Wait before a retry; return False, at once, if that would pass the deadline."""
        if seconds >= self.remaining():
            return False
        time.sleep(seconds)
        return True
