"""What a migration would do: a value that is shown, tested and applied as it is."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets import document
from imip_secrets.errors import MissingError, StoreError
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imip_secrets.document import Json
    from imip_secrets.stores.base import Found, Target
    from imip_secrets.stores.writers import Writer

_SHOWN = 80


class State(Enum):
    """What becomes of one secret."""

    CREATE = "create"
    SAME = "unchanged"
    UPDATE = "update"
    STAYS = "stays as it is"


class Item(NamedTuple):
    """One secret of the store.

    Args:
        target: Where it is.
        value: What it is to be, whole.
        before: What is there now, or None.
        state: What becomes of it.
        new: The keys that it gets.
        changed: The keys whose values change.
        kept: The keys that only the store has, and that stay.

    """

    target: Target
    value: Secret
    before: Found | None
    state: State
    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def line(self) -> str:
        """Say it to a person, without a value."""
        parts = [f"{self.state.value}: {tame(self.target.path, _SHOWN)}"]
        for words, keys in (("new", self.new), ("other value", self.changed), ("only there, kept", self.kept)):
            if keys:
                parts.append(f"{words}: {', '.join(map(tame, keys))}")
        if self.state is State.STAYS:
            parts.append("it is there already, and --update was not given")
        return "; ".join(parts)


def plan_object(writer: Writer, target: Target, values: Mapping[str, Secret], *, update: bool) -> list[Item]:
    """Plan one secret that holds all values as one JSON object.

    Raises:
        StoreError: it cannot be read, or what is there is no JSON object.

    """
    found = _found(writer, target)
    wanted = {key: value.reveal() for key, value in values.items()}
    if found is None:
        return [Item(target, _json(dict(wanted)), None, State.CREATE, new=tuple(wanted))]
    there = _object(target, found)
    new = tuple(key for key in wanted if key not in there)
    changed = tuple(key for key in wanted if key in there and there[key] != wanted[key])
    kept = tuple(key for key in there if key not in wanted)
    state = State.SAME if not new and not changed else State.UPDATE if update else State.STAYS
    return [Item(target, _json({**there, **wanted}), found, state, new, changed, kept)]


def plan_each(
    writer: Writer, targets: Mapping[str, Target], values: Mapping[str, Secret], *, update: bool
) -> list[Item]:
    """Plan one secret for each value.

    Args:
        writer: The store.
        targets: Where each key goes.
        values: The values by key.
        update: Whether what is there may be overwritten.

    Raises:
        StoreError: one cannot be read.

    """
    return [_one(key, _found(writer, targets[key]), targets[key], value, update) for key, value in values.items()]


def _one(key: str, found: Found | None, target: Target, value: Secret, update: bool) -> Item:  # noqa: FBT001 - as it is given
    if found is None:
        return Item(target, value, None, State.CREATE, new=(key,))
    if found.value == value:
        return Item(target, value, found, State.SAME)
    return Item(target, value, found, State.UPDATE if update else State.STAYS, changed=(key,))


def report(items: list[Item]) -> Iterator[str]:
    """Say the plan for people."""
    yield from (item.line() for item in items)
    count = {state: sum(item.state is state for item in items) for state in State}
    yield ", ".join(f"{number} {state.value}" for state, number in count.items() if number) + "."


def _found(writer: Writer, target: Target) -> Found | None:
    try:
        return writer.fetch(target)
    except MissingError:
        return None


def _object(target: Target, found: Found) -> dict[str, Json]:
    reason = "is no JSON object, so no key can be put in it"
    try:
        value = document.as_object(found.value.reveal()) if found.value.is_text() else None
    except document.DocumentError as error:
        value, reason = None, f"cannot be used: {error}"
    if value is None:
        what = f"{tame(target.path, _SHOWN)} is there, and {reason}"
        raise StoreError(what, "Choose another path, or mend the secret: it is left as it is.")
    return value


def _json(values: dict[str, Json]) -> Secret:
    return Secret(document.compact(values))
