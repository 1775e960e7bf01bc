"""Commands in a step's output: ``Runner.Common/ActionCommand.cs``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# What char.IsWhiteSpace of .NET says; Python's own str.strip() takes U+001C to U+001F as well.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029"
    "\u202f\u205f\u3000"
)

# In the runner's order: "%25" last, so that "%250A" gives "%0A" and not a line feed.
DATA = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))
PROPERTY = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))
LEGACY = (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%25", "%"))


@dataclass(frozen=True, slots=True)
class Command:
    """One command that the runner read out of a line."""

    name: str
    data: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


def parse(line: str, registered: Collection[str]) -> Command | None:
    """Return the command in a line of output, or None. ``registered`` holds lower-case names."""
    return _parse_modern(line, registered) or _parse_legacy(line, registered)


def unescape(text: str, mapping: tuple[tuple[str, str], ...]) -> str:
    """Undo the escapes, one kind after the other."""
    for written, meant in mapping:
        text = text.replace(written, meant)
    return text


def _parse_modern(line: str, registered: Collection[str]) -> Command | None:
    """Read ``::name key=value,key=value::data``: only at the start of a line, white space apart."""
    line = line.lstrip(WHITE_SPACE)
    if not line.startswith("::"):
        return None
    head, found, data = line[2:].partition("::")
    name, _, rest = head.partition(" ")
    if not found or name.lower() not in registered:
        return None
    return Command(name.lower(), unescape(data, DATA), _properties(rest.strip(WHITE_SPACE), ",", PROPERTY))


def _parse_legacy(line: str, registered: Collection[str]) -> Command | None:
    """Read ``##[name key=value;key=value]data``, which may stand anywhere in a line."""
    _, found, rest = line.partition("##[")
    head, closed, data = rest.partition("]")
    name, _, rest = head.partition(" ")
    if not found or not closed or name.lower() not in registered:
        return None
    return Command(name.lower(), unescape(data, LEGACY), _properties(rest, ";", LEGACY))


def _properties(text: str, separator: str, mapping: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Read the properties; one without a name or a value is left out."""
    pairs = {}
    for item in text.split(separator):
        # .NET drops the empty parts of the split, so "=" before the name or the value does not count.
        name, _, value = item.lstrip("=").partition("=")
        if value := value.lstrip("="):
            pairs[name.lower()] = unescape(value, mapping)
    return pairs
