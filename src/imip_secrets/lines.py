"""What the inputs of several lines have in common: comments, numbers, escapes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMENT = re.compile(r"(?:^|\s)#.*", re.DOTALL)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")


class EscapeError(ValueError):
    """A percent sign begins no escape, or the escapes are no UTF-8."""

    def __init__(self, what: str, remedy: str) -> None:
        """Say what is wrong, with ``{}`` for the place, and what is right."""
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def written(text: str) -> Iterator[tuple[int, str]]:
    """Give each line that says something with its number: counted from 1, comments cut off and counted."""
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        line = _COMMENT.sub("", raw, count=1).strip()
        if line:
            yield number, line


def unescape(text: str) -> str:
    """Percent-decode, without the cost of importing ``urllib.parse``.

    Raises:
        EscapeError: it cannot be decoded.

    """
    if any(match[1] is None for match in _ESCAPE.finditer(text)):
        raise EscapeError(what="the % in {} is no escape", remedy="Write %25 for a percent sign.")
    pieces = _ESCAPE.split(text)
    try:
        data = b"".join(bytes.fromhex(piece) if odd % 2 else piece.encode() for odd, piece in enumerate(pieces))
        return data.decode("utf-8")
    except UnicodeError:
        raise EscapeError(
            what="the escapes in {} are not UTF-8", remedy="Write the character itself, or its UTF-8."
        ) from None
