"""What a later step may make of a value and print: the encodings of threat T3, and the search for them."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import urllib.parse
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def b64(data: bytes) -> str:
    """Encode as ``base64`` does, in one line."""
    return base64.b64encode(data).decode()


ENCODINGS: Mapping[str, Callable[[str], str]] = {
    "as it is": lambda value: value,
    "base64": lambda value: b64(value.encode()),
    "base64 after a user name": lambda value: b64(f"u:{value}".encode()),
    "base64 among other bytes": lambda value: b64(f"usr:{value}\n".encode()),
    "base64url": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    "hex": lambda value: value.encode().hex(),
    "upper-case hex": lambda value: value.encode().hex().upper(),
    "percent": lambda value: urllib.parse.quote(value, safe=""),
    "percent, a path": urllib.parse.quote,
    "form": urllib.parse.quote_plus,
    "JSON": json.dumps,
    "JSON, not ASCII": lambda value: json.dumps(value, ensure_ascii=False),
    "JSON twice": lambda value: json.dumps(json.dumps(value)),
    "HTML": html.escape,
    "XML": lambda value: escape(value, {'"': "&quot;", "'": "&apos;"}),
    "shell": shlex.quote,
    "repr": repr,
    "repr of bytes": lambda value: repr(value.encode()),
    "repr in a list": lambda value: repr([value]),
    "percent, lower case": lambda value: re.sub("%..", lambda found: found[0].lower(), urllib.parse.quote(value, "")),
}


def spellings(value: str) -> set[str]:
    """Return every text that would show a value or a line of it, however it is surrounded."""
    return {text for part in {value, *value.splitlines()} for text in _spellings(part)}


def _spellings(value: str) -> set[str]:
    data = value.encode()
    whole = {encode(value).strip("\"'[]") for encode in ENCODINGS.values()}
    # Of base64 among other bytes: the characters that the value alone decides, for each place in a group of three.
    cores = {b64(bytes(shift) + data)[-(-8 * shift // 6) : 8 * (shift + len(data)) // 6] for shift in range(3)}
    return whole | cores


def shown(log: str, values: Iterable[str]) -> list[str]:
    """Return the spellings of values that stand in a log."""
    return [text for value in values for text in sorted(spellings(value)) if text in log]
