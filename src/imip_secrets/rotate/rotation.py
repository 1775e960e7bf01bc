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
    from collections.abc import Callable, Mapping, Sequence

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


def rotate(wishes: Sequence[Wish], store: Rotatable, means: Means) -> None:
    """Give a secret a new value, or several of its keys one each, at once: so the version before has all old ones.

    Args:
        wishes: Of one secret.
        store: Where it is.
        means: What it is done with.

    Raises:
        ImipError: the secret has another shape, a new value does not work (then all are discarded, and the old ones
            stay current), somebody else changed the secret meanwhile, or the store refuses or fails.

    """
    target = wishes[0].target
    shown = wishes[0].shown if len(wishes) == 1 else tame(target.path, _SHOWN)
    current = store.fetch(target)
    staged = store.staged(target)
    if staged is not None and _same(staged.value, current.value):
        store.clear(target)
        means.say(f"{shown}: a rotation that was stopped is finished now")
        return
    taken = _taken_up(wishes, staged, current) if staged is not None else {}
    for wish in taken:
        means.say(f"{wish.shown}: taking up a rotation that was stopped")
    new = {wish: taken[wish] if wish in taken else means.make() for wish in wishes}
    whole = _with(new, current)
    if staged is None or not _same(staged.value, whole):
        store.stage(target, whole)
        staged = store.staged(target)
        if staged is None or not _same(staged.value, whole):
            what = f"{shown}: the new value is not what was staged when it is read back"
            raise ImipError(Problem(what, remedy="Look who else rotates it, and run this again."))
    try:
        for wish, value in new.items():
            means.verify(wish, value)
    except ImipError:
        store.clear(target)
        raise
    store.switch(target, staged, current)
    if not _same(store.fetch(target).value, whole):
        what = f"{shown} is not what was switched to when it is read back"
        raise ImipError(Problem(what, remedy="Look who else writes it; the value before is still there."))
    store.clear(target)
    for wish in wishes:
        means.say(f"{wish.shown}: rotated; the value before is still readable")


def _taken_up(wishes: Sequence[Wish], staged: Found, current: Found) -> dict[Wish, Secret]:
    """Return the new values out of what an earlier run has staged."""
    if wishes[0].key is None:
        return {wishes[0]: staged.value}
    new, old = _object(wishes[0], staged), _object(wishes[0], current)
    taken = {}
    for wish in wishes:
        value = new.get(wish.key or "")
        if isinstance(value, str) and value != old.get(wish.key or ""):
            taken[wish] = Secret(value)
    if not taken:
        what = f"{wishes[0].shown}: a rotation of another key of this secret was stopped"
        raise StoreError(what, "Finish that first: rotate that key again.")
    return taken


def _with(new: Mapping[Wish, Secret], current: Found) -> Secret:
    """Return the whole secret with the new values in it."""
    for wish, value in new.items():
        if wish.key is not None:
            continue
        if current.is_data or (current.value.is_text() and current.value.reveal().lstrip().startswith("{")):
            what = f"{wish.shown} is a JSON object, and would be replaced as a whole"
            raise StoreError(what, "Name the key to rotate: REFERENCE#KEY.")
        if len(new) == 1:
            return value
    whole: dict[str, Json] = {}
    for wish, value in new.items():
        there = _object(wish, current)
        if wish.key is None or not isinstance(there.get(wish.key), str):
            what = f"{wish.shown}: there is no such key with a text"
            raise StoreError(what, f"It has {', '.join(tame(key, _SHOWN) for key in there)}.")
        whole = {**there, **whole, wish.key: value.reveal()}
    return Secret(document.compact(whole))


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
