"""Carries a plan out: writes what it says, reads each secret back, and compares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.migrate.plan import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imip_secrets.migrate.plan import Item
    from imip_secrets.stores.writers import Writer

_WRITTEN = (State.CREATE, State.UPDATE)


def apply(items: Sequence[Item], writer: Writer, say: Callable[[str], None]) -> None:
    """Write every secret that the plan creates or updates, in its order.

    It can be run again after it was stopped anywhere: what is written by
    then is unchanged the next time.

    Args:
        items: The plan; none of them may be one that stays.
        writer: The store that it was made from.
        say: Shows a line for each secret that was written.

    Raises:
        ImipError: a secret is there that must stay (then nothing is written), or one could not be written, or is not
            what was written when it is read back; what stands before it in the plan is done.

    """
    staying = [item for item in items if item.state is State.STAYS]
    if staying:
        raise ImipError(
            *(
                Problem(
                    f"{tame(item.target.path, 80)} is there already with other values, so nothing was written",
                    remedy="Give --update to change it (keys that only it has stay), or take it out.",
                )
                for item in staying
            )
        )
    for item in items:
        if item.state not in _WRITTEN:
            continue
        path = tame(item.target.path, 80)
        try:
            writer.write(item.target, item.value, item.before)
            back = writer.fetch(item.target)
        except ImipError as error:
            raise ImipError(*(problem.at(problem.where or path) for problem in error.problems)) from None
        if back.value != item.value and not _same_object(back.value.reveal(), item.value.reveal()):
            what = f"{path} is not what was written when it is read back"
            raise ImipError(Problem(what, remedy="Look who else writes it, and run this again."))
        say(f"{'created' if item.state is State.CREATE else 'updated'}: {path}")


def _same_object(one: str, other: str) -> bool:
    """Tell whether two texts are the same JSON object: Vault keeps an object, not its text."""
    from imip_secrets import document  # noqa: PLC0415 - only what is not the same text needs it

    try:
        first = document.as_object(one)
        return first is not None and first == document.as_object(other)
    except document.DocumentError:
        return False
