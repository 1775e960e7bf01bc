"""What belongs to the process: its log, and what a fork does to locks and threads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    import logging


class Forked(Protocol):
    """What holds locks or threads."""

    def after_fork(self) -> None:
        """Put them in order in a process that was forked off, which has no thread but one."""


_alive: WeakSet[Forked] = WeakSet()


def log() -> logging.Logger:
    """Return the logger ``imip_secrets``; nothing that goes there holds a value."""
    import logging  # noqa: PLC0415 - an application that has its secrets at hand says nothing

    return logging.getLogger("imip_secrets")


def remember(holder: Forked) -> None:
    """Put this in order in every process that is forked off, as long as it lives."""
    _alive.add(holder)


def _in_child() -> None:
    for holder in list(_alive):
        holder.after_fork()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_in_child)
