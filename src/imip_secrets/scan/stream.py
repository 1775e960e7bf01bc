"""One stream of bytes, a piece at a time: which spellings stand in it, and in which line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from imip_secrets.scan.automaton import Automaton

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imip_secrets.scan.spellings import Sought

PIECE = 256 * 1024
# Where a NUL makes a file one that has no lines, as git has it.
BINARY_WITHIN = 8000


class Readable(Protocol):
    """Gives bytes."""

    def read(self, size: int, /) -> bytes:
        """Return up to so many bytes, none at the end."""


class Hit(NamedTuple):
    """A spelling that stands in a stream.

    Args:
        name: Whose value it is.
        how: What was made of it.
        line: In which line it begins, counted from 1.
        offset: After how many bytes it begins, counted from 0.

    """

    name: str
    how: str
    line: int
    offset: int


class Searcher:
    """Searches streams, one after the other.

    Args:
        sought: What to look for.

    """

    def __init__(self, sought: Sought) -> None:
        """Build the automaton."""
        self._automaton = Automaton(sought.cores)
        self._entries = sought.entries
        # A spelling that ends with a piece is judged with the next: by then it has both neighbours.
        self._overlap = sought.longest + 1

    def search(self, stream: Readable) -> Iterator[Hit]:
        """Give what stands in a stream, in the order of its pieces, each spelling at each place once."""
        passage = self.passage()
        while True:
            piece = stream.read(PIECE)
            yield from passage.take(piece)
            if not piece:
                return

    def passage(self) -> Passage:
        """Return a search of a stream that somebody else reads."""
        return Passage(self._judge, self._overlap)

    def finds(self, text: bytes) -> list[tuple[int, int, str]]:
        """Return what stands in a short text: from where to where, and whose value it is."""
        found = []
        for number, core in self._automaton.find(text):
            for entry in self._entries[number]:
                stands = entry.stands_at(text, core)
                if stands:
                    found.append((*stands, entry.name))
        return found

    def _judge(self, buffer: bytes, base: int, lines: int, span: tuple[int, int]) -> Iterator[Hit]:
        """Give what ends within a span of the stream that was not judged before."""
        counted, line = 0, lines + 1
        hits = []
        for number, core in self._automaton.find(buffer):
            for entry in self._entries[number]:
                stands = entry.stands_at(buffer, core)
                if stands and span[0] < base + stands[1] <= span[1]:
                    hits.append((stands[0], entry))
        for start, entry in sorted(hits, key=lambda hit: hit[0]):
            line += buffer.count(b"\n", counted, start)
            counted = start
            yield Hit(entry.name, entry.how, line, base + start)


class Passage:
    """Searches a stream as its pieces are handed over.

    Args:
        judge: Gives what ends within a span of a buffer.
        overlap: How many bytes of a piece are kept for the next one.

    """

    def __init__(self, judge: Callable[[bytes, int, int, tuple[int, int]], Iterator[Hit]], overlap: int) -> None:
        """Begin before the first byte."""
        self._judge = judge
        self._overlap = overlap
        self._buffer = b""
        self._base = self._lines = self._judged = 0

    def take(self, piece: bytes) -> Iterator[Hit]:
        """Give what stands there as far as can be told; an empty piece is the end."""
        buffer = self._buffer + piece
        # What ends no later than this, counted from the start of the stream, can be judged now.
        until = self._base + len(buffer) - (1 if piece else 0)
        yield from self._judge(buffer, self._base, self._lines, (self._judged, until))
        self._judged = until
        cut = max(0, len(buffer) - self._overlap)
        self._lines += buffer.count(b"\n", 0, cut)
        self._base += cut
        self._buffer = buffer[cut:]
