"""Keeps two runs from deleting at once.

GitHub's secrets have no transactions, but a write tells whether the secret is
new (201) or was there (204), and a list shows when it was made and when it was
written last. So a secret beside the manifest serves as a lock. Whoever makes it
has it; whoever finds it there writes it again, which the first one sees, and
then neither of them deletes.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError, Problem
from imip_secrets.secret import Secret
from imip_secrets.sync.base import Put

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType

    from typing_extensions import Self

    from imip_secrets.deadline import Deadline
    from imip_secrets.sync.base import GitHub, Scope

STALE = timedelta(hours=7)
"""So old a lock is that of a run which was killed: a job may last six hours."""
TOUCH = 1.2
"""After so many seconds a second write has another time than the first."""
QUIET = 3.0
"""How long the lock must have been ours before anything is deleted, in seconds: time for the other to be seen."""
LATE = 120
"""By how many seconds the manifest may be newer than it says itself."""


class PruneLock:
    """The lock, from the first write to the last deletion.

    Args:
        github: Where it is.
        home: The scope and the name of the manifest's secret.
        saved: When the manifest that was passed in was saved, as it says itself; 0 where there was none.
        deadline: The end of the run.
        say: Shows one line.

    """

    def __init__(
        self, github: GitHub, home: tuple[Scope, str], saved: int, deadline: Deadline, say: Callable[[str], None]
    ) -> None:
        """Not have it yet."""
        self.at: datetime | None = None
        self._github = github
        self._scope, self._manifest = home
        self._name = f"{home[1]}_LOCK"
        self._saved = saved
        self._deadline = deadline
        self._say = say
        self._ours = False
        self._since = 0.0
        self._is_old = False
        self._problem: Problem | None = None

    def __enter__(self) -> Self:
        """Take it, or let the one who has it know that we are here."""
        try:
            self._take()
        except ImipError as error:
            self._problem = error.problems[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back, if it is ours."""
        if self._ours:
            try:
                self._github.delete(self._scope, self._name)
            except ImipError as fault:
                self._say(f"The lock {self._name} was not given back ({fault.problems[0].what}).")

    def refusal(self) -> Problem | None:
        """Say why nothing may be deleted now, or None when we are alone."""
        if self._problem:
            return self._refused(f"the lock could not be taken: {self._problem.what}", self._problem.remedy)
        if self._is_old:
            return self._refused("the manifest that was passed in is not the newest", "Run it again.")
        left = QUIET - (time.monotonic() - self._since)
        if left > 0 and not self._deadline.sleep(left):
            return self._refused("the time of timeout-seconds is over", "Raise it.")
        return None if self._ours and self._is_alone() else self._refused(*_TAKEN)

    def _is_alone(self) -> bool:
        """Tell whether nobody has written the lock after us."""
        try:
            lock = self._github.listing(self._scope).get(self._name)
        except ImipError:
            return False
        return lock is not None and lock.created == lock.updated

    def _take(self) -> None:
        listing = self._github.listing(self._scope)
        manifest, lock = listing.get(self._manifest), listing.get(self._name)
        if manifest and manifest.updated and self._saved:
            self._is_old = manifest.updated.timestamp() > self._saved + LATE
        self._write()
        if not self._ours and lock and lock.updated and self.at and self.at - lock.updated > STALE:
            self._github.delete(self._scope, self._name)
            self._write()
        if not self._ours and self._deadline.sleep(TOUCH):
            self._write()
        self._since = time.monotonic()

    def _write(self) -> None:
        written = self._github.put(Put(self._scope, self._name, Secret("held")))
        self._ours, self.at = written.created, written.at or self.at

    def _refused(self, what: str, remedy: str) -> Problem:
        return Problem(f"nothing was deleted: {what}", "input sync-prune", remedy.format(name=self._name))


_TAKEN = (
    "another run of this sync is at work, or was killed less than seven hours ago",
    "Run it again when the other has ended; if there is none, delete the secret {name}.",
)
