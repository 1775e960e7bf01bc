"""JSON as the contract wants it: nothing is lost, nothing is guessed.

Numbers keep the text they are written with, the order of keys stays, and what
two readers could understand differently (a key that stands twice, ``NaN``,
half a character) is refused. No error holds any part of a value.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, TypeAlias

from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DEPTH = 64
"""How many lists and objects may stand inside each other."""

SHOWN_KEYS = 20
"""How many keys an error lists."""

_KEY_LIMIT = 60  # characters of a key that an error shows
_COMPARED_KEYS = 500  # so that an error about a huge object comes at once
_WHITE = " \t\r\n"  # RFC 8259 section 2
_SURROGATE = re.compile("[\ud800-\udfff]")
_BARE_KEY = r"[\w./-]+"
_INDEX = r"0|[1-9][0-9]{0,8}"  # RFC 6901 section 4; no list has a thousand million items
_POINTER = r"(?:/(?:[^~/]|~[01])*)+"  # RFC 6901 section 3

_quoted = json.JSONEncoder(ensure_ascii=False).encode


class Number:
    """A JSON number; it may be a value's, so it shows nothing of itself.

    Args:
        text: The number as it is written in the document.

    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        """Hold the text."""
        self.text = text

    def __eq__(self, other: object) -> bool:
        """Compare as it is written: 1.0 is not 1."""
        return self.text == other.text if isinstance(other, Number) else NotImplemented

    def __hash__(self) -> int:
        """Hash as it is compared."""
        return hash(self.text)


Json: TypeAlias = "bool | Number | str | list[Json] | dict[str, Json] | None"


class DocumentError(ValueError):
    """A document that cannot be used; its text is fit to be shown."""


class NotJsonError(DocumentError):
    """A text that is not JSON at all."""


class NoSuchKeyError(LookupError):
    """A key that is not there.

    Args:
        key: The key or JSON pointer that was asked for.
        keys: The keys that are there, in the document's order.
        inside: The part of the pointer that was found, when ``keys`` are not the document's own.

    """

    def __init__(self, key: str, keys: Sequence[str], inside: str = "") -> None:
        """Remember what was asked for and what there is; the texts are made only when they are read."""
        super().__init__(key)
        self.key = key
        self.keys = tuple(keys)
        self.inside = inside

    @property
    def what(self) -> str:
        """What failed, as a sentence without its full stop."""
        return f'there is no key "{tame(self.key, _KEY_LIMIT)}"'

    @property
    def remedy(self) -> str:
        """The keys that there are, those like the missing one first."""
        there = f"At {_shown(self.inside)} there" if self.inside else "There"
        if not self.keys:
            return f"{there} is nothing by that name."
        ordered = _closest_first(self.key.removeprefix(self.inside).removeprefix("/"), self.keys)
        listed = ", ".join(_shown(key) for key in ordered[:SHOWN_KEYS])
        more = f" and {len(ordered) - SHOWN_KEYS} more" if len(ordered) > SHOWN_KEYS else ""
        return f"{there} {'is' if len(ordered) == 1 else 'are'} {listed}{more}."

    def __str__(self) -> str:
        """Give both in one line."""
        return f"{self.what}. {self.remedy}"


def parse(text: str) -> Json:
    """Read a JSON document.

    Raises:
        NotJsonError: the text is not JSON (RFC 8259); says at which line and column.
        DocumentError: it is JSON, but a key stands twice in one object, it
            is deeper than :data:`MAX_DEPTH`, or a string is not Unicode text.

    """
    repeated: list[str] = []
    value = _decode(text, repeated)
    if repeated:
        msg = f'the key "{tame(repeated[0], _KEY_LIMIT)}" stands twice in one object'
        raise DocumentError(msg)
    _check(value)
    return value


def as_object(text: str) -> dict[str, Json] | None:
    """Read a text as a JSON object, or return None when it is some other text.

    Raises:
        DocumentError: it is a JSON object, but without keys or as :func:`parse` refuses it.

    """
    if not text.lstrip(_WHITE).startswith("{"):
        return None
    try:
        value = parse(text)
    except NotJsonError:
        return None
    if not value:
        msg = "the JSON object has no keys"
        raise DocumentError(msg)
    return value if isinstance(value, dict) else None


def compact(value: Json) -> str:
    """Return compact JSON text: order kept, non-ASCII as it is, numbers as they were written."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Number):
        return value.text
    if isinstance(value, list):
        return f"[{','.join(map(compact, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_quoted(key)}:{compact(item)}' for key, item in value.items())}}}"
    return {None: "null", True: "true", False: "false"}[value]


def in_order(value: Json) -> Json:
    """Return the same value with the keys of every object in order, so that equal values make equal texts."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


def text_of(value: Json) -> str:
    """Return what a variable holds for a value: a string as it is, all else as compact JSON."""
    return value if isinstance(value, str) else compact(value)


def pick(document: dict[str, Json], key: str) -> Json:
    """Return the value of a key: the literal key, else what a JSON pointer (RFC 6901) points at.

    Raises:
        NoSuchKeyError: neither is there; says which keys are.

    """
    if key in document:
        return document[key]
    if not re.fullmatch(_POINTER, key):
        raise NoSuchKeyError(key, list(document))
    value: Json = document
    found = ""
    for token in key[1:].split("/"):
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and re.fullmatch(_INDEX, name) and int(name) < len(value):
            value = value[int(name)]
        else:
            raise NoSuchKeyError(key, list(value) if isinstance(value, dict) else (), found)
        found += f"/{token}"
    return value


def _decode(text: str, repeated: list[str]) -> Json:
    """Read the text; keys that stand twice are noted, for the rest of the text decides whether it is JSON."""

    def to_object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        result = dict(pairs)
        if len(result) < len(pairs):
            repeated.append(_first_repeated([key for key, _ in pairs]))
        return result

    # The errors are made outside of "except": json's own holds the document, and would go along as the context.
    error: DocumentError
    try:
        value: Json = json.loads(
            text, object_pairs_hook=to_object, parse_int=Number, parse_float=Number, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as fault:
        error = NotJsonError(f"it is not JSON: see line {fault.lineno}, column {fault.colno}")
    except RecursionError:
        error = _too_deep()
    else:
        return value
    raise error


def _refuse_constant(_: str) -> Json:
    """Refuse what Python's reader takes and JSON does not know."""
    msg = "it is not JSON: NaN and Infinity are no JSON numbers"
    raise NotJsonError(msg)


def _first_repeated(keys: list[str]) -> str:
    """Return a key that stands twice."""
    ordered = sorted(keys)
    return next(key for key, after in itertools.pairwise(ordered) if key == after)


def _check(document: Json) -> None:
    """Refuse what is too deep and strings that are no text, level by level."""
    level: list[Json] = [document]
    depth = 0
    while level:
        depth += 1
        below: list[Json] = []
        for value in level:
            if isinstance(value, (dict, list)):
                if depth > MAX_DEPTH:
                    raise _too_deep()
                below += value
                below += value.values() if isinstance(value, dict) else ()
            elif isinstance(value, str) and _SURROGATE.search(value):
                msg = r"it holds half a character (a \ud800 to \udfff escape on its own), which no text can hold"
                raise DocumentError(msg)
        level = below


def _too_deep() -> DocumentError:
    return DocumentError(f"its lists and objects stand more than {MAX_DEPTH} deep inside each other")


def _shown(key: str) -> str:
    """Return a key as a list of keys shows it: bare, or in quotes when it could be misread."""
    tamed = tame(key, _KEY_LIMIT)
    return tamed if re.fullmatch(_BARE_KEY, key) else f'"{tamed}"'


def _closest_first(key: str, keys: Sequence[str]) -> list[str]:
    """Order keys: those like the wanted one first, then as they stand in the document."""
    import difflib  # noqa: PLC0415  # only an error needs it, and starting up must be quick

    folded = {name[:_KEY_LIMIT].casefold(): name for name in reversed(keys[:_COMPARED_KEYS])}
    close = [folded[name] for name in difflib.get_close_matches(key[:_KEY_LIMIT].casefold(), folded)]
    return close + [name for name in keys if name not in close]
