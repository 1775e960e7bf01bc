"""One rotation: stage, verify, switch, clear. Stopped anywhere and run again, it goes on where it was.

What is staged tells how far an earlier run came: a value that is held back is taken up again rather than made
anew, and one that is current already only remains to be cleared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imip_secrets import document
from imip_secrets.errors import ImipError, Problem, StoreError
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from imip_secrets.document import Json
    from imip_secrets.stores.base import Found, Target
    from imip_secrets.stores.writers import Rotatable

_SHOWN = 80


class Wish(NamedTuple):
    """What is to be rotated.

    Args:
        target: The secret.
        key: The key of its JSON object, or None for the whole value.

    """

    target: Target
    key: str | None

    @property
    def shown(self) -> str:
        """The secret and key, for people."""
        key = f"#{tame(self.key, _SHOWN)}" if self.key is not None else ""
        return f"{tame(self.target.path, _SHOWN)}{key}"


class Means(NamedTuple):
    """What a rotation is done with.

    Args:
        make: Makes a new value.
        verify: Sees whether a new value works; raises ``ImipError`` where it does not.
        say: Shows a line.

    """

    make: Callable[[], Secret]
    verify: Callable[[Wish, Secret], None]
    say: Callable[[str], None]


def rotate(wish: Wish, store: Rotatable, means: Means) -> None:
    """Give a secret a new value.

    Raises:
        ImipError: the secret has another shape, the new value does not work (then it is discarded, and the old one
            stays current), somebody else changed the secret meanwhile, or the store refuses or fails.

    """
    current = store.fetch(wish.target)
    staged = store.staged(wish.target)
    if staged is not None and _same(staged.value, current.value):
        store.clear(wish.target)
        means.say(f"{wish.shown}: a rotation that was stopped is finished now")
        return
    if staged is None:
        new = means.make()
    else:
        new = _taken_up(wish, staged, current)
        means.say(f"{wish.shown}: taking up a rotation that was stopped")
    whole = _with(wish, current, new)
    if staged is None or not _same(staged.value, whole):
        store.stage(wish.target, whole)
        staged = store.staged(wish.target)
        if staged is None or not _same(staged.value, whole):
            what = f"{wish.shown}: the new value is not what was staged when it is read back"
            raise ImipError(Problem(what, remedy="Look who else rotates it, and run this again."))
    try:
        means.verify(wish, new)
    except ImipError:
        store.clear(wish.target)
        raise
    store.switch(wish.target, staged, current)
    if not _same(store.fetch(wish.target).value, whole):
        what = f"{wish.shown} is not what was switched to when it is read back"
        raise ImipError(Problem(what, remedy="Look who else writes it; the value before is still there."))
    store.clear(wish.target)
    means.say(f"{wish.shown}: rotated; the value before is still readable")


def _taken_up(wish: Wish, staged: Found, current: Found) -> Secret:
    """Return the new value out of what an earlier run has staged."""
    if wish.key is None:
        return staged.value
    new, old = _object(wish, staged).get(wish.key), _object(wish, current).get(wish.key)
    if not isinstance(new, str) or new == old:
        what = f"{wish.shown}: a rotation of another key of this secret was stopped"
        raise StoreError(what, "Finish that first: rotate that key again.")
    return Secret(new)


def _with(wish: Wish, current: Found, new: Secret) -> Secret:
    """Return the whole secret with the new value in it."""
    if wish.key is None:
        if current.is_data or (current.value.is_text() and current.value.reveal().lstrip().startswith("{")):
            what = f"{wish.shown} is a JSON object, and would be replaced as a whole"
            raise StoreError(what, "Name the key to rotate: REFERENCE#KEY.")
        return new
    there = _object(wish, current)
    if not isinstance(there.get(wish.key), str):
        what = f"{wish.shown}: there is no such key with a text"
        raise StoreError(what, f"It has {', '.join(tame(key, _SHOWN) for key in there)}.")
    return Secret(document.compact({**there, wish.key: new.reveal()}))


def _object(wish: Wish, found: Found) -> dict[str, Json]:
    try:
        there = document.as_object(found.value.reveal()) if found.value.is_text() else None
    except document.DocumentError:
        there = None
    if there is None:
        what = f"{wish.shown}: the value is no JSON object, so it has no keys"
        raise StoreError(what, "Leave the # and the key out for the whole value.")
    return there


def _same(one: Secret, other: Secret) -> bool:
    """Tell whether two values are the same text, or the same JSON object: Vault keeps an object, not its text."""
    if one == other:
        return True
    try:
        first = document.as_object(one.reveal())
        return first is not None and first == document.as_object(other.reveal())
    except (document.DocumentError, ValueError):
        return False
