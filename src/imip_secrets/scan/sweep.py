"""All of it together: every file of the places, and what is inside it, searched for what is sought."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from imip_secrets.scan.archives import FAULTS, HEAD, Rejoined, open_archive
from imip_secrets.scan.detect import SIZE_LIMIT
from imip_secrets.scan.spellings import COMPARED
from imip_secrets.scan.stream import BINARY_WITHIN, PIECE, Searcher
from imip_secrets.secret import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from imip_secrets.scan.archives import Member
    from imip_secrets.scan.detect import Detector
    from imip_secrets.scan.places import Place
    from imip_secrets.scan.spellings import Sought
    from imip_secrets.scan.stream import Hit, Passage, Readable

DEPTH = 8
"""How many archives may be within each other."""

# What an archive may unpack to: a bomb is told, and not unpacked to the end.
TIMES = 200
AT_LEAST = 256 * 1024 * 1024
# Of one file: a log that shows a secret in each line is one mistake.
FINDINGS_LIMIT = 100
# How often a person who waits is told how far it is, in seconds.
SIGN_OF_LIFE = 30.0
LOOKS_LIKE = "looks like a secret"
BETWEEN = "!"
"""Stands between an archive and what is in it."""


_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Finding(NamedTuple):
    """A secret that stands where it should not.

    Args:
        place: The file, and the way to it through archives.
        line: The first line, or None where there are no lines.
        last: The last line of those that follow each other, or None.
        offset: The first byte, where there are no lines, else None.
        name: The variable whose value it is, or what kind of secret it looks like.
        how: How it stands there.

    """

    place: str
    line: int | None
    last: int | None
    offset: int | None
    name: str
    how: str

    @property
    def where(self) -> str:
        """The place within the file, as editors take it."""
        if self.offset is not None:
            return f"{self.place} at byte {self.offset}"
        if self.line is None:
            return self.place
        lines = f"{self.line}-{self.last}" if self.last != self.line else str(self.line)
        return f"{self.place}:{lines}"


class Report(NamedTuple):
    """What came of a scan.

    Args:
        findings: In the order of the files.
        unread: What could not be searched, and why: nobody knows what is in it.
        more: For files with too many findings, how many more there are.
        files: How many files were searched.
        size: How many bytes that were, archives unpacked.
        absent: What was named and is not there: nobody has looked where somebody wanted it.
        skipped: What was not searched by rule, or by hand, and why.

    """

    findings: list[Finding]
    unread: list[tuple[str, str]]
    more: list[tuple[str, int]]
    files: int
    size: int
    absent: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()


class _BombError(Exception):
    """An archive unpacks to far more than it should."""


class Sweep:
    """Goes through places.

    Args:
        sought: What to look for.
        detector: Finds what looks like a secret, or None.
        notice: Shows a line to a person who waits.
        allowed: Tells of a place whether it may stay unsearched, if it cannot be searched.

    """

    def __init__(
        self,
        sought: Sought,
        detector: Detector | None = None,
        notice: Callable[[str], object] = lambda _: None,
        allowed: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Find nothing yet."""
        self._notice = notice
        self._allowed = allowed
        self._searcher = Searcher(sought)
        self._detector = detector
        self._findings: list[Finding] = []
        self._unread: list[tuple[str, str]] = []
        self._skipped: list[tuple[str, str]] = []
        self._more: list[tuple[str, int]] = []
        self._absent: list[str] = []
        self._files = 0
        self._size = 0
        self._left = 0

    def over(self, places: Iterable[Place]) -> Report:
        """Search everything."""
        told = time.monotonic()
        for place in places:
            if time.monotonic() - told > SIGN_OF_LIFE:
                told = time.monotonic()
                self._notice(f"Still searching: {self._files} files so far.")
            shown = self.safe(place.shown)
            if place.fault:
                if place.skipped:
                    self._skipped.append((shown, place.fault))
                elif place.named:
                    self._unread.append((shown, place.fault))
                    self._absent.append(shown)
                else:
                    self._miss(shown, place.fault)
                continue
            self._name(place.shown, shown)
            self._file(place.path, shown)
            self._detect(place.path, shown)
        absent, skipped = tuple(self._absent), tuple(self._skipped)
        return Report(self._findings, self._unread, self._more, self._files, self._size, absent, skipped)

    def safe(self, shown: str) -> str:
        """Return a path that shows no secret, though one be a part of it."""
        data = shown.encode("utf-8", "surrogateescape")
        for start, end, _ in sorted(self._searcher.finds(data), reverse=True):
            data = data[:start] + HIDDEN.encode() + data[end:]
        return data.decode("utf-8", "replace")

    def _detect(self, path: Path, shown: str) -> None:
        """Look for what was never in a store: in files themselves, not within archives."""
        if self._detector is None:
            return
        try:
            size = path.stat().st_size
            if size > SIZE_LIMIT:
                self._skipped.append((shown, "it is too large for detect-secrets"))
                return
            found = self._detector.look(path)
        except (OSError, ValueError):
            return  # why it cannot be read was said
        except Exception as error:  # noqa: BLE001 - a library's, over files that anybody may have written
            self._miss(shown, f"detect-secrets fails on it ({type(error).__name__})")
            return
        self._findings += [Finding(shown, line, line, None, kind, LOOKS_LIKE) for line, kind in found]

    def _name(self, raw: str, shown: str) -> None:
        """Look into the name of a file itself."""
        names = dict.fromkeys(name for *_, name in self._searcher.finds(raw.encode("utf-8", "surrogateescape")))
        self._findings += [Finding(shown, None, None, None, name, "in its name") for name in names]

    def _file(self, path: Path, shown: str) -> None:
        try:
            with open(path, "rb", opener=_open_regular) as file:
                size = os.fstat(file.fileno()).st_size
                self._files += 1
                self._left = max(AT_LEAST, TIMES * size)
                self._look(shown, file, 0)
        except FAULTS as error:
            self._miss(shown, _fault(error))

    def _look(self, shown: str, stream: IO[bytes], depth: int) -> None:
        """Search a stream, or what is in it if it holds others."""
        try:
            head = stream.read(BINARY_WITHIN)
        except FAULTS as error:
            self._miss(shown, _fault(error))
            return
        own = _Own(self._searcher)
        if depth == 0:
            stream.seek(0)
            whole = stream
        else:
            whole = cast("IO[bytes]", Rejoined(head, stream, lambda data: self._take(data, own)))
        archive = open_archive(head[:HEAD], whole)
        if archive and depth == DEPTH:
            self._miss(shown, f"it is within {DEPTH} archives, and not unpacked")
            archive = None
        before = len(self._findings)
        try:
            if archive is None:
                self._search(shown, head, whole)
                return
            own.begins()
            self._within(archive, shown, depth)
        except _BombError:
            if depth:
                raise
            self._miss(shown, f"it unpacks to more than {TIMES} times its size: the rest was not searched")
            return
        except FAULTS as error:
            self._miss(shown, _fault(error))
            if depth == 0:
                # Whatever it was: its bytes as they stand.
                stream.seek(0)
                self._search(shown, head, stream)
                return
        if depth == 0:
            stream.seek(0)
            own.read(stream)
        else:
            _exhaust(whole)
        # What was found in its members is not told twice.
        known = {finding.name for finding in self._findings[before:]}
        self._findings += (
            Finding(shown, None, None, hit.offset, hit.name, hit.how) for hit in own.hits() if hit.name not in known
        )

    def _within(self, archive: Iterable[Member], shown: str, depth: int) -> None:
        """Search the members of an archive."""
        for name, content, fault in archive:
            inside = f"{shown}{BETWEEN}{self.safe(name)}" if name else shown
            if name:
                self._name(name, inside)
            if content is None:
                self._miss(inside, f"it is {fault}")
            else:
                self._look(inside, content, depth + 1)

    def _miss(self, shown: str, fault: str) -> None:
        """Note that something could not be searched; a failure that is seen from within and from without is one."""
        missed = self._skipped if self._allowed(shown) else self._unread
        if (shown, fault) not in missed[-DEPTH:]:
            missed.append((shown, fault))

    def _take(self, data: bytes, own: _Own) -> None:
        """Take up what is read of something within an archive."""
        self._left -= len(data)
        if self._left < 0:
            raise _BombError
        own.take(data)

    def _search(self, shown: str, head: bytes, stream: Readable) -> None:
        """Search a stream that holds nothing but itself."""
        has_lines = b"\0" not in head or head.startswith(_UTF_16)
        gathered = _Gathered(shown, has_lines=has_lines)
        counted = _Counted(stream)
        for hit in self._searcher.search(counted):
            gathered.add(hit)
        self._size += counted.size
        self._findings += gathered.findings
        if gathered.more:
            self._more.append((shown, gathered.more))


class _Own:
    """Searches an archive's own bytes: comments, links, names of folders, what stands behind its end.

    Of each value the first place is kept: an archive of many files may have as many comments.

    Args:
        searcher: Knows what to look for.

    """

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._passage: Passage | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._first: dict[str, Hit] = {}

    def begins(self) -> None:
        """Say that it is an archive whose bytes are read from now on."""
        self._passage = self._searcher.passage()

    def read(self, stream: Readable) -> None:
        """Read a stream to its end."""
        while data := stream.read(PIECE):
            self.take(data)

    def take(self, data: bytes) -> None:
        """Take bytes up; they are searched many at once."""
        if self._passage is None:
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= PIECE:
            self._judge(self._passage)

    def hits(self) -> Iterable[Hit]:
        """Return what stands there, after the last byte."""
        if self._passage is not None:
            self._judge(self._passage)
            self._keep(self._passage.take(b""))
        return self._first.values()

    def _judge(self, passage: Passage) -> None:
        data = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        if data:
            self._keep(passage.take(data))

    def _keep(self, hits: Iterable[Hit]) -> None:
        for hit in hits:
            self._first.setdefault(hit.name, hit)


def _exhaust(stream: Readable) -> None:
    """Read on to the end, as far as that can be done; whoever reads what it is in says why it cannot."""
    with suppress(*FAULTS):
        while stream.read(PIECE):
            pass


class _Gathered:
    """The hits of one stream as a person wants them: a value that stands there in ten lines is one finding."""

    def __init__(self, shown: str, *, has_lines: bool) -> None:
        self.findings: list[Finding] = []
        self.more = 0
        self._shown = shown
        self._has_lines = has_lines
        self._last: dict[str, int] = {}

    def add(self, hit: Hit) -> None:
        """Take a hit up: it widens the last finding of the same value, or is one more."""
        index = self._last.get(hit.name)
        before = None if index is None else self.findings[index]
        if index is not None and before is not None and self._is_beside(hit, before):
            if before.last is not None:
                self.findings[index] = before._replace(last=max(before.last, hit.line))
        elif len(self.findings) >= FINDINGS_LIMIT:
            self.more += 1
        else:
            self._last[hit.name] = len(self.findings)
            line, offset = (hit.line, None) if self._has_lines else (None, hit.offset)
            self.findings.append(Finding(self._shown, line, line, offset, hit.name, hit.how))

    @staticmethod
    def _is_beside(hit: Hit, before: Finding) -> bool:
        """Tell whether a hit is in the lines of a finding or the next one, or within the bytes of one spelling."""
        if before.offset is not None:
            return hit.offset <= before.offset + COMPARED
        return before.last is not None and hit.line <= before.last + 1


class _Counted:
    """Counts what is read."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.size = 0

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self.size += len(data)
        return data


def _open_regular(path: str, flags: int) -> int:
    """Open a file that is still a regular one, and wait for nothing if it has become a pipe."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        msg = "it is no regular file any more"
        raise OSError(0, msg)
    return descriptor


def _fault(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read: {error.strerror}"
    # The text of the others is the library's, and may be about what is in the file.
    return f"it cannot be unpacked ({type(error).__name__}): what is in it was searched up to there"
