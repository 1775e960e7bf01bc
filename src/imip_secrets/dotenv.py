"""Variables as text that other programs read: dotenv, shell, JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# What single quotes cannot hold for every reader of dotenv files: the quote, a backslash that is followed by another
# or by the closing quote, and CR, which readers in text mode turn into LF.
_NOT_SINGLE = re.compile(r"['\r]|\\\\|\\\Z")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\r": "\\r", "\n": "\\n"})


def dotenv(pairs: Iterable[tuple[str, str]]) -> str:
    """Return dotenv lines, each value as literal as the format allows.

    There is no standard. Single quotes are literal for python-dotenv, Docker
    Compose, Node's dotenv and Ruby's; the rest is in double quotes with escapes.
    python-dotenv replaces ``${NAME}`` in both unless told ``interpolate=False``.
    """
    return "".join(f"{name}={_quoted(value)}\n" for name, value in pairs)


def shell(pairs: Iterable[tuple[str, str]]) -> str:
    """Return ``export`` lines for a POSIX shell; every value comes out as it went in."""
    return "".join(f"export {name}='{value}'\n" for name, value in ((n, v.replace("'", "'\\''")) for n, v in pairs))


def as_json(pairs: Iterable[tuple[str, str]]) -> str:
    """Return one JSON object, for ``fromJSON`` and ``jq``."""
    return json.dumps(dict(pairs), ensure_ascii=False)


def _quoted(value: str) -> str:
    if _NOT_SINGLE.search(value):
        return f'"{value.translate(_ESCAPES)}"'
    return f"'{value}'"
