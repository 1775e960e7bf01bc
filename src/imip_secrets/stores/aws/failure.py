"""One try that failed, and the patience to try again what may pass."""

from __future__ import annotations

import threading
import time
from random import SystemRandom
from typing import TYPE_CHECKING, TypeVar

from imip_secrets.errors import MissingError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imip_secrets.deadline import Deadline

T = TypeVar("T")

# botocore gives up on a server error or a reset after a tenth of a second; an outage of a store takes longer.
PATIENCE_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 8.0
# After this long, who reads the log wonders what is going on.
SILENCE_SECONDS = 5.0

# As often as there is time.
PERSISTENT = 1_000_000


class Failure(Exception):  # noqa: N818  # one try failed; the error is made of the last
    """One try that failed. It never leaves the store: the last one becomes a StoreError.

    Args:
        what: What failed, as a sentence without its full stop.
        remedy: What the reader does if it was the last try.
        tries: How many tries it is worth in all.
        missing: What was asked for is not there (see :class:`~imip_secrets.errors.MissingError`).

    """

    def __init__(self, what: str, remedy: str, *, tries: int = 1, missing: bool = False) -> None:
        """Remember what failed."""
        super().__init__(what)
        self.what, self.remedy, self.tries, self.missing = what, remedy, tries, missing

    def error(self, number: int = 1, started: float = 0.0, late: str = "") -> StoreError:
        """Make the error of it: ``number`` tries since ``started``, and what left no time for another."""
        counted = f" ({number} tries in {time.monotonic() - started:.0f} s)" if number > 1 else ""
        kind = MissingError if self.missing else StoreError
        return kind(f"{self.what}{counted}", f"{self.remedy} {late}".rstrip())


class Patience:
    """Tries again, with full jitter, within the deadline; says now and then what is being waited for.

    Safe for many threads, which share the silence: one line for all of them.

    Args:
        deadline: The end of the run.
        notice: Shows one line.

    """

    def __init__(self, deadline: Deadline, notice: Callable[[str], None]) -> None:
        """Start the clock of the silence."""
        self._deadline = deadline
        self._notice = notice
        self._spoke = time.monotonic()
        self._lock = threading.Lock()

    def insist(self, attempt: Callable[[], T]) -> T:
        """Return what ``attempt`` returns.

        Raises:
            StoreError: the last failure, when it is permanent or no time is left.

        """
        started, number = time.monotonic(), 0
        failure: Failure | None = None
        while True:
            number += 1
            try:
                return attempt()
            except Failure as failed:
                # A try that the end of the run cut off says less than the one before it.
                failure = failure if failure and self._deadline.over() else failed
            # Doubling ends early: a float cannot hold 2 to the power of every number of tries.
            wait = SystemRandom().uniform(0, min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(number - 1, 10)))
            if number >= failure.tries or time.monotonic() - started + wait > PATIENCE_SECONDS:
                raise failure.error(number, started)
            self._say(f"AWS: {failure.what}; try {number + 1} follows in {wait:.0f} s")
            if not self._deadline.sleep(wait):
                late = f"The {self._deadline.seconds:g} s of the run (timeout-seconds) left no time for another try."
                raise failure.error(number, started, late)

    def _say(self, line: str) -> None:
        """Show the line, unless something was said just now."""
        with self._lock:
            now = time.monotonic()
            if now - self._spoke < SILENCE_SECONDS:
                return
            self._spoke = now
        self._notice(line)
