"""A ``.env`` file as python-dotenv reads it, with what is odd about it."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Far more than any application's settings; what is larger is no such file.
LIMIT = 1024 * 1024
# What applications call their settings; anything else before a "=" may be a part of a value.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_PLAIN = re.compile(r"[A-Z_][A-Z0-9_]*|[a-z_][a-z0-9_.-]*", re.ASCII)
_ODD_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


class EnvFile(NamedTuple):
    """What a file says.

    Args:
        values: By key, in order; of a key that stands twice the last, as for python-dotenv.
        repeated: The keys that stand more than once, each with its lines.
        empty: The lines without any "=", which python-dotenv takes for keys. They may be what is left of a value of
            several lines that nobody has quoted, so they are shown nowhere.
        odd: The keys that may be such a rest as well (base64 ends in "="), each with its line.

    """

    values: dict[str, Secret]
    repeated: dict[str, tuple[int, ...]]
    empty: tuple[int, ...]
    odd: dict[str, int]

    def shown(self, key: str) -> str:
        """Return a key for people: by its line where it may be a part of a value."""
        return f"(line {self.odd[key]})" if key in self.odd else tame(key)

    def without(self) -> str:
        """Say which lines have no value; not what is in them."""
        lines = f"line{'s' if len(self.empty) > 1 else ''} {', '.join(map(str, self.empty))}"
        return f'without a "=", and left out: {lines}; the rest of a value belongs into quotes with it'


def read(path: Path, *, interpolate: bool = False) -> EnvFile:
    """Read a file.

    Raises:
        ImipError: it cannot be read, is no text of UTF-8, is far too large, or has lines that cannot be understood
            (each by its number).

    """
    try:
        # One byte more tells a file that is too large, without reading it whole.
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise ImipError(Problem(f"cannot be read: {error.strerror}", tame(path), "Name a .env file.")) from None
    return parse(data, tame(path), interpolate=interpolate)


def parse(data: bytes, where: str, *, interpolate: bool = False) -> EnvFile:
    """Read the content of a file.

    Args:
        data: The content.
        where: The file, for errors.
        interpolate: Whether ``${NAME}`` stands for another variable of the file. Python-dotenv does so by default;
            a migration takes what is written.

    Raises:
        ImipError: see :func:`read`.

    """
    text = _text(data, where)
    from dotenv.main import DotEnv  # noqa: PLC0415 - the library is imported when a file is read
    from dotenv.parser import parse_stream  # noqa: PLC0415 - the same

    lines: dict[str, list[int]] = {}
    problems = []
    empty = []
    for binding in parse_stream(io.StringIO(text)):
        # What stands before the line itself (blank lines, comments) counts to it.
        number = binding.original.line + _blank(binding.original.string)
        if binding.error:
            what = "it is no KEY=VALUE: a quote is not closed, or the key is none"
            problems.append(Problem(what, f"{where} line {number}", "Mend the line, or make it a comment."))
        elif binding.key is not None:
            lines.setdefault(binding.key, []).append(number)
            if binding.value is None:
                empty.append(number)
    if problems:
        raise ImipError(*problems)
    # Without the process's own environment: what is set here must not decide what is migrated.
    found = DotEnv(None, stream=io.StringIO(text), interpolate=False).dict()
    if interpolate:
        found = dict(_interpolated(found))
    values = {key: Secret(value) for key, value in found.items() if value is not None}
    repeated = {key: tuple(numbers) for key, numbers in lines.items() if len(numbers) > 1 and key in values}
    odd = {key: lines[key][-1] for key, value in values.items() if _is_odd(key, value)}
    return EnvFile(values, repeated, tuple(empty), odd)


def _is_odd(key: str, value: Secret) -> bool:
    """Tell whether a key may be a part of a value: no name, or the end of base64 with its padding."""
    text = value.reveal()
    padded = text.strip("=") == ""
    return not _NAME.fullmatch(key) or (padded and (text != "" or not _PLAIN.fullmatch(key)))


def _interpolated(found: dict[str, str | None]) -> Iterator[tuple[str, str | None]]:
    """Resolve ``${NAME}`` and ``${NAME:-default}`` by what stands above in the file, as python-dotenv does."""
    from dotenv.variables import parse_variables  # noqa: PLC0415 - the library is imported when a file is read

    above: dict[str, str | None] = {}
    for key, value in found.items():
        if value is not None:
            above[key] = "".join(atom.resolve(above) for atom in parse_variables(value))
        else:
            above[key] = None
        yield key, above[key]


def _text(data: bytes, where: str) -> str:
    if len(data) > LIMIT:
        raise ImipError(Problem("it is larger than 1 MiB, so it is no .env file", where, "Name a .env file."))
    kind = _ODD_MARKS.get(data[:2])
    if kind is None and b"\0" in data:
        kind = "binary data, or UTF-16"
    if kind is None:
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            kind = "not UTF-8"
    raise ImipError(Problem(f"it is {kind}", where, "Save it as UTF-8 text."))


def _blank(text: str) -> int:
    """Count the lines before the first that has something in it."""
    return len(text) - len(text.lstrip("\r\n")) if text.strip() else 0
