"""``GITHUB_ENV``, ``GITHUB_OUTPUT`` and ``GITHUB_STATE``: ``Runner.Worker/FileCommandManager.cs``."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# The byte order marks that .NET's File.ReadAllText looks for; the longest first, as one starts like another.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class EnvFileError(Exception):
    """The runner stops here; the pairs before this place are applied already."""


def read_text(data: bytes) -> str:
    """Decode as File.ReadAllText does: a byte order mark decides, bad bytes become U+FFFD."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    return data.decode("utf-8", "replace")


def parse_env_file(data: bytes, *, windows: bool = False) -> Iterator[tuple[str, str]]:
    """Yield names and values one by one, as the runner applies them.

    Raises:
        EnvFileError: at the first bad record, after the good ones before it.

    """
    lines = _Lines(read_text(data), windows=windows)
    while (line := lines.next()) is not None:
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            name, _, value = line.partition("=")
        elif heredoc >= 0:
            name, _, delimiter = line.partition("<<")
            if not name or not delimiter:
                msg = f"Invalid format '{line}'. Name must not be empty and delimiter must not be empty"
                raise EnvFileError(msg)
            value = lines.until(delimiter)
        else:
            msg = f"Invalid format '{line}'"
            raise EnvFileError(msg)
        yield name, value


class _Lines:
    """The text of a file, read line by line with each line's own end."""

    def __init__(self, text: str, *, windows: bool) -> None:
        self._text = text
        self._windows = windows
        self._at = 0
        self._end: str | None = None

    def next(self) -> str | None:
        """Return the next line, or None at the end of the text."""
        start, self._end = self._at, None
        if start >= len(self._text):
            return None
        feed = self._text.find("\n", start)
        if feed < 0:
            self._at = len(self._text)
            return self._text[start:]
        self._at = feed + 1
        self._end = "\n"
        # Only on Windows is CRLF one line end; elsewhere the CR belongs to the line.
        if self._windows and feed > start and self._text[feed - 1] == "\r":
            self._end = "\r\n"
        return self._text[start : self._at - len(self._end)]

    def until(self, delimiter: str) -> str:
        """Return the raw text up to a line that is the delimiter, without its last line end."""
        start = stop = self._at
        while (line := self.next()) != delimiter:
            if line is None:
                msg = f"Invalid value. Matching delimiter not found '{delimiter}'"
                raise EnvFileError(msg)
            if self._end is None:
                msg = "Invalid value. EOF marker missing new line."
                raise EnvFileError(msg)
            stop = self._at - len(self._end)
        return self._text[start:stop]
