"""What is looked for: the values of secrets, and what encoders make of them.

The spellings are those of the masks (:mod:`imip_secrets.runner.masks`), and
the text in UTF-16. They are chosen so that a hit means something in gigabytes
of anything: what is short must stand by itself, and what an encoder makes of
little is not looked for.

The automaton is given a part of each long spelling, which keeps it small; what
stands around a hit is compared afterwards.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.runner.masks import (
    BASE64_COLUMNS,
    WHOLE_LIMIT,
    encodings_of,
    encodings_of_bytes,
    inner_texts,
    is_hideable,
    lines_of,
)
from imip_secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from imip_secrets.variables import Variable

# Shorter texts must stand by themselves: "hunter" is in "hunters".
ALONE_BELOW = 8
# Of an encoding. In 5 GB of random base64 the shortest is found once in fifty thousand scans, of hex once in two
# hundred.
ENCODED_FLOOR = 8
HEX_FLOOR = 10
# Of a text within a value: a line, a string of its JSON, a password of its address.
LINE_FLOOR = 16
INNER_FLOOR = 8
LINES_LIMIT = 256
# Bytes of a spelling that the automaton knows, and that are compared at a hit.
CORE = 48
COMPARED = 512
_TELLING = 8  # different bytes that a core should have

AS_IT_IS, ENCODED, UTF_16 = "as it is", "encoded", "in UTF-16"

_HEX = re.compile(rb"[0-9a-f]+|[0-9A-F]+")
_ARMOUR = "-----"
# A string of JSON that is all letters is "postgres" or "production" more often than a password.
_WORDS = re.compile(r"[^\W\d_]+(?:[-_./ ][^\W\d_]+)*")


class Spelling(NamedTuple):
    """One way in which a value may stand somewhere.

    Args:
        text: All of it, at most :data:`COMPARED` bytes.
        how: What was made of the value, for people.
        alone: Whether it counts only where no letter or digit is beside it.

    """

    text: bytes
    how: str
    alone: bool = False


class Entry:
    """A spelling of a value, as the automaton finds it. Not shown by anything: it holds the value.

    Args:
        name: Whose value it is.
        spelling: What stands there.

    """

    __slots__ = ("at", "how", "name", "spelling")

    def __init__(self, name: str, spelling: Spelling) -> None:
        """Choose the part that is searched for."""
        self.name = name
        self.how = spelling.how
        self.spelling = spelling
        self.at = _core_of(spelling.text)

    @property
    def core(self) -> bytes:
        """The part that the automaton knows."""
        return self.spelling.text[self.at : self.at + CORE]

    def stands_at(self, data: bytes, core: int) -> tuple[int, int] | None:
        """Return from where to where the whole spelling stands, given where its core does; None if it does not."""
        text = self.spelling.text
        start = core - self.at
        end = start + len(text)
        if start < 0 or (len(text) > CORE and data[start:end] != text):
            return None
        if self.spelling.alone and (_is_word(data[start - 1 : start]) or _is_word(data[end : end + 1])):
            return None
        return start, end


class Sought(NamedTuple):
    """Everything that is looked for.

    Args:
        cores: What the automaton is given, each once.
        entries: For each core, what it may be a part of.
        common: The names whose values are not looked for: too short or too common.
        anew: The names whose values are others each time they are read.

    """

    cores: list[bytes]
    entries: list[tuple[Entry, ...]]
    common: Sequence[str] = ()
    anew: Sequence[str] = ()

    @property
    def longest(self) -> int:
        """The length of the longest spelling."""
        return max((len(each.spelling.text) for entries in self.entries for each in entries), default=0)

    def __repr__(self) -> str:
        """Show nothing of what is looked for."""
        return f"Sought({len(self.cores)} texts)"


def sought(variables: Iterable[Variable], floor: int, environ: Mapping[str, str]) -> Sought:
    """Choose what to look for.

    ``mask=off`` says that a value is no secret, and a default stands in the request itself.

    Args:
        variables: The values, each with its reference.
        floor: Values of fewer characters are not looked for, as they are not masked.
        environ: Has what an earlier step got of dynamic credentials, of which each reading makes new ones.

    """
    by_core: dict[bytes, dict[tuple[str, bytes], Entry]] = {}
    common: list[str] = []
    anew: list[str] = []
    for variable in variables:
        if variable.found is None or variable.line.reference.mask is False:
            continue
        own = [variable.value, *([variable.stored] if variable.stored is not None else [])]
        if variable.found.lease is not None:
            own = [Secret(environ[variable.name])] if environ.get(variable.name) else []
            anew += [] if own else [variable.name]
        made = [spelling for value in own for spelling in spellings(value, floor)]
        common += [variable.name] if own and not made else []
        for spelling in made:
            entry = Entry(variable.name, spelling)
            by_core.setdefault(entry.core, {}).setdefault((entry.name, spelling.text), entry)
    return Sought(list(by_core), [tuple(entries.values()) for entries in by_core.values()], common, anew)


def spellings(value: Secret, floor: int) -> Iterator[Spelling]:
    """Give every spelling of a value, the value as it is first; none if it is too short or too common."""
    data = value.reveal_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        yield from _of_bytes(data)
        return
    if not is_hideable(text.strip(), floor):
        return
    inner = inner_texts(text) if len(data) <= WHOLE_LIMIT else [text]
    for each in inner:
        if each is text or _is_telling(each):
            yield from _of_text(each.strip(), floor, structured=each is text and len(inner) > 1)


def _of_bytes(data: bytes) -> Iterator[Spelling]:
    if len(data) >= ENCODED_FLOOR:
        yield Spelling(_cut(data), AS_IT_IS)
        if len(data) <= WHOLE_LIMIT:
            yield from _encoded(encodings_of_bytes(data), data)


def _of_text(text: str, floor: int, *, structured: bool) -> Iterator[Spelling]:
    data = text.encode("utf-8", "surrogatepass")
    lines = lines_of(text)
    short = len(text) < ALONE_BELOW
    yield Spelling(_cut(data), AS_IT_IS, short)
    if not short:
        yield from _utf_16(text)
    if len(lines) > 1:
        yield Spelling(_cut("\r\n".join(text.splitlines()).encode("utf-8", "surrogatepass")), AS_IT_IS)
        telling = [line for line in lines if len(line) >= max(LINE_FLOOR, floor) and not line.startswith(_ARMOUR)]
        for line in telling[:LINES_LIMIT]:
            yield Spelling(_cut(line.encode("utf-8", "surrogatepass")), AS_IT_IS)
            yield from _utf_16(line)
    if len(data) <= WHOLE_LIMIT:
        yield from _encoded(encodings_of(text), data)
        yield from _encoded(_wrapped(data, structured=structured), data)


def _wrapped(data: bytes, *, structured: bool) -> Iterator[str]:
    """Give base64 that is broken into lines, and such a line where it tells which value it is of.

    Addresses and documents have lines that are the same in others of their
    kind; PEM texts have their first.
    """
    encoded = b2a_base64(data, newline=False).decode().rstrip("=")
    for columns in BASE64_COLUMNS:
        if len(encoded) > columns:
            lines = [encoded[start : start + columns] for start in range(0, len(encoded), columns)]
            yield "\n".join(lines)
            yield "\r\n".join(lines)
            if not structured:
                yield from lines[data.startswith(_ARMOUR.encode()) : -1]


def _encoded(encodings: Iterable[str], data: bytes) -> Iterator[Spelling]:
    for encoding in encodings:
        made = encoding.encode("utf-8", "surrogatepass").strip()
        floor = HEX_FLOOR if _HEX.fullmatch(made) else ENCODED_FLOOR
        if len(made) >= floor and made != data:
            yield Spelling(_cut(made), ENCODED)


def _utf_16(text: str) -> Iterator[Spelling]:
    """Give a text as Windows writes it; without the last byte, if that is 0, ASCII is the same in both byte orders."""
    little = text.encode("utf-16-le", "surrogatepass")
    yield Spelling(_cut(little.removesuffix(b"\0")), UTF_16)
    if not text.isascii():
        yield Spelling(_cut(text.encode("utf-16-be", "surrogatepass")), UTF_16)


def _is_telling(inner: str) -> bool:
    """Tell whether a text within a value would be recognised by itself."""
    return len(inner.strip()) >= INNER_FLOOR and not _WORDS.fullmatch(inner.strip())


def _cut(spelling: bytes) -> bytes:
    """Return the middle of what is long: texts of one kind differ there, not at their ends."""
    return _middle(spelling, COMPARED)


def _middle(text: bytes, size: int) -> bytes:
    start = max(0, (len(text) - size) // 2)
    return text[start : start + size]


def _core_of(text: bytes) -> int:
    """Choose where the core begins: in the middle, unless what stands there repeats itself."""
    last = max(0, len(text) - CORE)
    places = (last // 2, last // 4, 3 * last // 4, 0, last)
    return max(places, key=lambda start: min(_TELLING, len(set(text[start : start + CORE]))))


def _is_word(char: bytes) -> bool:
    return char.isalnum() or char == b"_"
