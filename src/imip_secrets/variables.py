"""From what the stores gave to variables: which keys, which names, which bytes."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets import document, names
from imip_secrets.errors import ImipError, MissingError, Problem
from imip_secrets.foreign import tame
from imip_secrets.names import Origin
from imip_secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imip_secrets.references import Line, Reference
    from imip_secrets.stores.base import Found, Target

_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_WHITE = re.compile(rb"\s+")
_STANDARD = bytes.maketrans(b"-_", b"+/")  # from the URL-safe letters
_SHOWN = 80  # characters of a key or path that an error shows


class Variable(NamedTuple):
    """A name and the value that it is to have.

    Args:
        name: Valid, but not yet checked against the refused names.
        value: Byte for byte; not yet checked to be text.
        line: The line that asked for it.
        target: What was read for it.
        key: The key that was taken, or None for the whole value.
        found: What the store gave, or None when the default stands in.
        stored: The value as it is kept where that is another text (``decode``).

    """

    name: str
    value: Secret
    line: Line
    target: Target
    key: str | None = None
    found: Found | None = None
    stored: Secret | None = None

    @property
    def origin(self) -> Origin:
        """Whether the name was written by hand."""
        return Origin.WRITTEN if self.line.name else Origin.MADE


class Named(NamedTuple):
    """A name with what gives it, as far as that is known.

    Args:
        name: The variable's name.
        origin: Who chose it.
        line: The line that gives it.
        source: Equal for two lines that give the very same thing.
        part: What of the line gives it, for people, where the line gives more than this.

    """

    name: str
    origin: Origin
    line: Line
    source: object
    part: str = ""

    @property
    def where(self) -> str:
        """The place that a problem with this name is at."""
        return self.line.where + _in_brackets(self.part)


def known_names(lines: Iterable[Line], transform: str) -> tuple[list[Named], list[Problem]]:
    """Return the names that the lines alone tell, and a problem for each key that makes none."""
    known: list[Named] = []
    problems: list[Problem] = []
    for line in lines:
        key = line.reference.key
        if line.name is not None:
            known.append(Named(line.name, Origin.WRITTEN, line, line.reference))
        elif key is not None:
            try:
                known.append(Named(names.made(key, transform, None), Origin.MADE, line, line.reference))
            except ImipError as error:
                problems += [problem.at(line.where) for problem in error.problems]
    return known, problems


def check_names(given: Iterable[Named], allowed: frozenset[str], *, refuse: bool = True) -> Iterator[Problem]:
    """Find names that are refused, and names that stand for two things (compared without case).

    Args:
        given: All names of the request.
        allowed: The names of ``allow-names``, in upper case.
        refuse: Whether names that would change how programs run are found.

    """
    first: dict[str, Named] = {}
    for item in given:
        refusal = names.refused(item.name, item.origin, allowed) if refuse else None
        if refusal:
            yield refusal.at(item.where)
        other = first.setdefault(item.name.upper(), item)
        if (other.name, other.source) != (item.name, item.source):
            yield Problem(
                f"{_both(other.name, item.name)} is given by {other.where} as well",
                item.where,
                "Take the keys one by one: NAME = reference#key."
                if other.line == item.line
                else "Give one of them another NAME, or a prefix.",
            )


def named(variable: Variable) -> Named:
    """Return the name of a variable with what it comes from."""
    reference = variable.line.reference
    source = (reference, variable.target, variable.key)
    return Named(variable.name, variable.origin, variable.line, source, _part(reference, variable.target, variable.key))


def expand(line: Line, target: Target, found: Found | ImipError, transform: str) -> list[Variable]:
    """Turn what a store gave for one target of a line into the line's variables.

    Returns:
        The variables; none when what is missing is optional.

    Raises:
        ImipError: the secret or key is missing and may not be, the value has
            not the shape that the line asks for, or keys make no names.

    """
    try:
        return _expanded(_Taker(line, target, transform), found)
    except ImipError as error:
        raise ImipError(*(problem.at(place(line, target)) for problem in error.problems)) from None


def place(line: Line, target: Target) -> str:
    """Return the place that a problem with one target of a line is at."""
    return line.where + _in_brackets(_part(line.reference, target, None))


def places(lines: Sequence[Line], target: Target) -> str:
    """Return the place that a problem is at which several lines may share: one secret is often on many."""
    first, *others = dict.fromkeys(lines)
    numbers = ", ".join(str(line.number) for line in others)
    more = f" (and line{'s' if len(others) > 1 else ''} {numbers})" if others else ""
    return place(first, target) + more


def _expanded(take: _Taker, found: Found | ImipError) -> list[Variable]:
    reference = take.line.reference
    if not isinstance(found, ImipError):
        return _shaped(take, found.value, found)
    if isinstance(found, MissingError):
        if reference.default is not None:
            return _default(take, Secret(reference.default))
        if reference.optional:
            return []
    raise found


def _default(take: _Taker, value: Secret) -> list[Variable]:
    """Let the default stand in for a missing secret, or for the one key that is wanted from it."""
    key = take.line.reference.key
    return _shaped(take, value, None) if key is None else [take(key, value, None)]


def _shaped(take: _Taker, value: Secret, found: Found | None) -> list[Variable]:
    """Take from a value what the line asks for: one key, the whole, or every key."""
    line, key = take.line, take.line.reference.key
    if line.name is not None and key is None:
        return [take(None, value, found)]
    keys = _object(value, found)
    if key is not None:
        return _one_key(take, key, keys, found)
    if keys is not None:
        return _every_key(take, keys, found)
    # Of what a listing finds, some may be objects and some not: both have a name to put behind the prefix.
    if line.prefix is not None and not line.reference.listing:
        what = f"{_whole(found)} is no JSON object, so it has no keys for a prefix"
        raise ImipError(Problem(what, remedy="Write NAME = and the same reference for the whole."))
    return [take(None, value, found)]


def _object(value: Secret, found: Found | None) -> dict[str, document.Json] | None:
    if not value.is_text():
        return None
    try:
        return document.as_object(value.reveal())
    except document.DocumentError as error:
        what, remedy = f"{_whole(found)} cannot be used: {error}", "Mend the secret at its store."
        raise ImipError(Problem(what, remedy=remedy if found else "Mend the option default.")) from None


def _every_key(take: _Taker, keys: dict[str, document.Json], found: Found | None) -> list[Variable]:
    """Take all keys, or tell of all that cannot be taken."""
    outcomes = [_taken(take, key, content, found) for key, content in keys.items()]
    problems = [problem for each in outcomes if isinstance(each, ImipError) for problem in each.problems]
    if problems:
        raise ImipError(*problems)
    return [each for each in outcomes if isinstance(each, Variable)]


def _taken(take: _Taker, key: str, content: document.Json, found: Found | None) -> Variable | ImipError:
    try:
        return take(key, Secret(document.text_of(content)), found)
    except ImipError as error:
        return error


def _one_key(take: _Taker, key: str, keys: dict[str, document.Json] | None, found: Found | None) -> list[Variable]:
    if keys is None:
        what = f'{_whole(found)} is no JSON object, so it has no key "{tame(key, _SHOWN)}"'
        raise ImipError(Problem(what, remedy="Leave the # and the key out for the whole value."))
    reference = take.line.reference
    try:
        content = document.pick(keys, key)
    except document.NoSuchKeyError as error:
        if reference.default is not None:
            return _default(take, Secret(reference.default))
        if reference.optional:
            return []
        raise MissingError(error.what, error.remedy) from None
    return [take(key, Secret(document.text_of(content)), found)]


class _Taker(NamedTuple):
    """Makes the variables of one target of a line."""

    line: Line
    target: Target
    transform: str

    def __call__(self, key: str | None, value: Secret, found: Found | None) -> Variable:
        """Return the variable for a key, or for the whole value; a default (nothing found) stays as it is written."""
        reference, name = self.line.reference, self._name(key)
        if found and reference.decode:
            return Variable(name, self._decoded(key, value), self.line, self.target, key, found, stored=value)
        if found and reference.encode:
            value = Secret(base64.b64encode(value.reveal_bytes()))
        return Variable(name, value, self.line, self.target, key, found)

    def _name(self, key: str | None) -> str:
        if self.line.name is not None:
            return self.line.name
        text = names.segment(self.target.path) if key is None else key
        return names.made(text, self.transform, self.line.prefix)

    def _decoded(self, key: str | None, value: Secret) -> Secret:
        """Decode base64: standard or URL-safe, padded or not, white space ignored."""
        data = _WHITE.sub(b"", value.reveal_bytes()).translate(_STANDARD)
        bare = data.rstrip(b"=")
        padded = bare + b"=" * (-len(bare) % 4)
        # One character over a group of four holds no byte; padding, where there is any, must be whole.
        if not _BASE64.fullmatch(data) or len(bare) % 4 == 1 or data not in (bare, padded):
            part = "" if key is None else f' of the key "{tame(key, _SHOWN)}"'
            what = f"decode=base64, but the value{part} is no base64"
            raise ImipError(Problem(what, remedy="Mend the secret, or leave decode=base64 out."))
        return Secret(base64.b64decode(padded))


def _part(reference: Reference, target: Target, key: str | None) -> str:
    """Say what of a reference gives one variable, where it may give more than this one."""
    path = tame(target.path, _SHOWN) if target != reference.target else ""
    its_key = f'key "{tame(key, _SHOWN)}"' if key is not None and key != reference.key else ""
    return ", ".join(filter(None, (path, its_key)))


def _in_brackets(part: str) -> str:
    return f" ({part})" if part else ""


def _whole(found: Found | None) -> str:
    return "the value" if found else "the default"


def _both(one: str, other: str) -> str:
    return one if one == other else f"{other} (or {one}, the same on Windows)"
