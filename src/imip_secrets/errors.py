"""What went wrong, where, and what to do about it.

One run collects every problem it can find and shows them together, so the
unit is the :class:`Problem`; an exception carries one or more of them. No
problem ever holds a value, a length, a hash or a token: who makes one puts in
names, addresses and settings only, and passes text that came from elsewhere
through :func:`imip_secrets.foreign.tame`.
"""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that stopped the run.

    Args:
        what: What failed, as a sentence without its full stop.
        where: The line, input or reference it concerns, or "" for the run.
        remedy: What the reader does next, in full sentences, or "".

    """

    what: str
    where: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """Give the problem as the one line that a person reads."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head.rstrip('.')}. {self.remedy}".rstrip()

    def at(self, where: str) -> Problem:
        """Return the same problem, said to be at another place."""
        return self._replace(where=where)


class ImipError(Exception):
    """The run cannot go on; carries every :class:`Problem` that was found."""

    def __init__(self, *problems: Problem) -> None:
        """Carry the problems, at least one."""
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        """Give one line per problem."""
        return "\n".join(str(problem) for problem in self.problems)


class UsageError(ImipError):
    """The request itself is wrong; nothing was contacted."""


class StoreError(ImipError):
    """A store refused or failed; carries one problem."""

    def __init__(self, what: str, remedy: str = "") -> None:
        """Say what failed and what to do; the core adds where."""
        super().__init__(Problem(what, remedy=remedy))

    @property
    def problem(self) -> Problem:
        """The one problem."""
        return self.problems[0]


class MissingError(StoreError):
    """The secret, version or key is not there, or is deleted.

    The only failure that ``optional`` and ``default`` cover; a denied access
    is never one.
    """
