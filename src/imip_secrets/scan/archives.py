"""What is inside a file that holds others: zip, tar, gzip, bzip2, xz, and so the layers of images.

Everything is read as it comes; nothing is unpacked to the disk, but a zip
within another archive, which can be read from its end only.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

    from imip_secrets.scan.stream import Readable

HEAD = 512
"""How many bytes tell what a file is."""

# What reading a broken, cut or encrypted archive raises. RuntimeError: zipfile, for a password; NotImplementedError,
# its child: a method of compression that Python does not know.
FAULTS = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, ValueError)

# What is no member by itself, but tells of the next one or of all.
_DESCRIBING = frozenset(
    {
        *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
        *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    }
)
_DESCRIPTION_LIMIT = 1024 * 1024
_XZ = b"\xfd7zXZ\0"
# Twice what "xz -9" takes.
_XZ_MEMORY = 128 * 1024 * 1024
_XZ_PIECE = 64 * 1024
_IN_MEMORY = 8 * 1024 * 1024
_TAR = 257, b"ustar"
# A digit for the level, and what each block begins with, or the end of an empty file: "BZh" alone may be a word.
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_ZSTD = b"\x28\xb5\x2f\xfd"

Member = tuple[str, "IO[bytes] | None", str]
"""Its name, its bytes, and why it has none: an encrypted one has no bytes for us."""


def open_archive(head: bytes, stream: IO[bytes]) -> Iterator[Member] | None:
    """Return the members of an archive, to be read one after the other; None when it is none.

    Args:
        head: The first :data:`HEAD` bytes.
        stream: The file from its start, seekable or not.

    Raises:
        Exception: one of :data:`FAULTS`, also while members are read.

    """
    unpacked = _unpacked(head, stream)
    if unpacked:
        return iter([("", unpacked, "")])
    if head[_TAR[0] :].startswith(_TAR[1]):
        return _tar(stream)
    if head.startswith(_ZIP):
        return _zip(stream)
    if head.startswith(_ZSTD):
        return iter([("", None, "Zstandard, which is not looked into")])
    return None


def _unpacked(head: bytes, stream: IO[bytes]) -> IO[bytes] | None:
    """Return the one file that is compressed here, or None."""
    if head.startswith(b"\x1f\x8b\x08"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=stream))
    if _BZIP2.match(head):
        return cast("IO[bytes]", bz2.BZ2File(stream))
    if head.startswith(_XZ):
        return cast("IO[bytes]", io.BufferedReader(_Unxz(stream)))
    return None


def _tar(stream: IO[bytes]) -> Iterator[Member]:
    with tarfile.open(fileobj=stream, mode="r|", errorlevel=1, tarinfo=_Member) as archive:
        for member in archive:
            # Links and devices have no bytes of their own.
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name, content, ""
            # It would remember every member, of which an image has a hundred thousand.
            archive.members = []  # type: ignore[attr-defined]  # documented to be for this (bpo-33269), not in the stub


class _Unxz(io.RawIOBase):
    """What is compressed with xz, unpacked within a limit of memory, which Python's own file for that has not.

    Args:
        stream: The streams of xz, one behind the other.

    """

    def __init__(self, stream: IO[bytes]) -> None:
        """Read nothing yet."""
        super().__init__()
        self._stream = stream
        self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - a buffer, as the base class has it
        """Fill a buffer as far as there is something.

        Raises:
            LZMAError: it is broken, or would need more memory.
            EOFError: it is cut.

        """
        while True:
            packed = b""
            if self._unpacker.eof:
                packed = self._next()
                if not packed or not _XZ.startswith(packed[: len(_XZ)]):
                    # What follows is none of it.
                    return 0
                self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)
            elif self._unpacker.needs_input:
                packed = self._stream.read(_XZ_PIECE)
                if not packed:
                    raise EOFError
            data = self._unpacker.decompress(packed, len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)

    def _next(self) -> bytes:
        """Return the beginning of the next stream, without the padding before it; nothing at the end."""
        packed = self._unpacker.unused_data
        while not (rest := packed.lstrip(b"\0")):
            packed = self._stream.read(_XZ_PIECE)
            if not packed:
                return b""
        return rest


class _Member(tarfile.TarInfo):
    """A member of a tar; what describes one (a long name, more facts) is taken into memory, and so has a limit."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header.

        Raises:
            tarfile.ReadError: what it announces is far too large.

        """
        member = super().frombuf(buf, encoding, errors)
        if member.type in _DESCRIBING and member.size > _DESCRIPTION_LIMIT:
            raise tarfile.ReadError
        return member


def _zip(stream: IO[bytes]) -> Iterator[Member]:
    with _seekable(stream) as whole, zipfile.ZipFile(whole) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            if member.flag_bits & 1:
                yield member.filename, None, "encrypted"
                continue
            try:
                content = archive.open(member)
            except NotImplementedError:
                yield member.filename, None, "packed in a way that is not known here"
                continue
            with content:
                yield member.filename, content, ""


@contextmanager
def _seekable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """Give a stream that can be read from its end; a large one goes to a private file meanwhile."""
    if stream.seekable():
        yield stream
        return
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
        shutil.copyfileobj(stream, copy)
        yield cast("IO[bytes]", copy)


class Rejoined(io.RawIOBase):
    """A stream whose first bytes were read already.

    Args:
        head: These bytes.
        rest: The stream behind them.
        taken: Given every byte that is read; it can stop the reading by an exception.

    """

    def __init__(self, head: bytes, rest: Readable, taken: Callable[[bytes], None]) -> None:
        """Put them together."""
        super().__init__()
        self._head = head
        self._rest = rest
        self._taken = taken

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return up to so many bytes; all of them when less than one is asked for."""
        if size < 0:
            return self.readall()
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
        else:
            data = self._rest.read(size)
        self._taken(data)
        return data

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - a buffer, as the base class has it
        """Fill a buffer as far as there is something."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
