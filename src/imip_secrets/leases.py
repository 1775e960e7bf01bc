"""The end of credentials that were made for a run: when it fails, when its command ends, at the end of its job."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from imip_secrets.foreign import tame
from imip_secrets.interruption import deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imip_secrets.stores.base import Kept

_SHOWN = 600


def end_all(kept: list[Kept], notice: Callable[[str], None]) -> None:
    """End credentials before their time, once; what cannot be ended is said, with how long it lives."""
    with deferred():
        while kept:
            each = kept.pop(0)
            fault = each.end()
            if fault:
                notice(could_not_revoke(fault, each.what))


def could_not_revoke(fault: str, what: str) -> str:
    """Say why credentials stay, and how long they live, where that is known."""
    lives = f"They live: {what}." if what else "They end by themselves."
    return f"Credentials could not be revoked ({tame(fault.rstrip('.'), _SHOWN)}). {lives}"


@contextmanager
def ended_on_failure(kept: list[Kept], notice: Callable[[str], None]) -> Iterator[None]:
    """End credentials if what makes or uses them fails, or is interrupted: then nobody has got them."""
    try:
        yield
    except BaseException:
        end_all(kept, notice)
        raise
