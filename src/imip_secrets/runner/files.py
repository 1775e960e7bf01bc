"""The runner's files, and files for secrets: written whole or not at all, never through a link.

The runner reads ``GITHUB_ENV`` even when the step failed, and applies the
pairs that stand before a bad record (actions/runner ``ActionRunner.cs``,
``FileCommandManager.cs``). So a block is built in memory and put in place by
one rename; a process that is killed leaves the old file or the new one. Files
that belong together change together (:func:`put`).
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from imip_secrets.secret import Secret

# Linux refuses to start a process with a "NAME=value" of more than 128 KiB, or some 2 MiB in all (execve(2));
# the rest is left to the job's own variables. Both are the contract's numbers (section 2).
VALUE_LIMIT = 96 * 1024
TOTAL_LIMIT = 1024 * 1024
# A larger summary is not shown at all (actions/runner FileCommandManager.cs).
SUMMARY_LIMIT = 1024 * 1024
SUMMARY_CUT = b"\n*The rest is left out: a summary may have 1 MiB.*\n"

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NAMED_WHEN_TOO_MANY = 3
_AS_FILE = "Add as=file to its reference: the value goes to a private file, and the variable holds the path."
_AS_FILE_OR_BASE64 = "Add as=file to its reference for a file with these bytes, or encode=base64 for their base64 text."

# A rename that cannot be made though the file itself can be written: the file is a mount of its own, the folder
# is not ours to write (so that there is nothing to rename), or (Windows, which says EACCES) another process has the
# file open.
_NO_RENAME = frozenset({errno.EXDEV, errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT})
# Windows has neither; there the check for a link is all there is.
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def block(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Return the bytes that set these names in ``GITHUB_ENV`` or ``GITHUB_OUTPUT``, to be written as they are.

    Each value stands between lines of a fresh random delimiter that it does
    not hold. Frames end as the machine's lines do: on Windows a value that
    ends in CR would lose it to a frame of LF alone.

    Raises:
        ValueError: a name is not one that the format can hold, or a value has no UTF-8.

    """
    # uuid, which this imports, is needed nowhere else.
    from actions_toolkit.file_command import prepare_key_value_message  # noqa: PLC0415 - see above

    written = []
    for name, value in pairs:
        if not _NAME.fullmatch(name):
            msg = f"not a name for the runner: {tame(name)}"
            raise ValueError(msg)
        written += [prepare_key_value_message(name, value), os.linesep]
    return "".join(written).encode()


class Change:
    """New content for one file: first written beside it, then put in its place.

    Args:
        path: The file. It need not be there; a link or anything but a regular
            file is refused.
        data: The content of a file of mode 0600, in place of one that may be
            there.
        given: The file belongs to whom its folder belongs to, where we may give
            it away: in a container we may be root, and the other steps are not.
        adds: The data is added to what the file holds instead, and the file
            keeps its owner and mode. Where no rename is possible (the file is
            a mount, the folder is not ours, another process of Windows holds
            it) it goes in by one append.

    """

    def __init__(self, path: Path, data: bytes, *, given: bool = False, adds: bool = False) -> None:
        """Take note; nothing is written."""
        self._given = given
        self._path = path
        self._data = data
        self._adds = adds
        self._temporary = _beside(path)
        self._before = b""
        self._state: os.stat_result | None = None
        self._begun = False

    def prepare(self) -> None:
        """Write the new content beside the file. Whatever is likely to fail (no room, no right, a link) fails here."""
        with _explained(self._path):
            self._before, self._state = _read(self._path)
            if self._adds and self._before and not self._before.endswith(b"\n"):
                self._data = b"\n" + self._data
            try:
                if self._adds:
                    _create(self._temporary, self._before + self._data, like=self._state)
                else:
                    _create(self._temporary, self._data)
                    if self._given:
                        _give(self._temporary)
            except OSError as error:
                self._must_append(error)
                _open(self._path, "a").close()

    def put(self) -> None:
        """Put the new content in place."""
        self._begun = True
        with _explained(self._path):
            try:
                self._temporary.replace(self._path)
            except OSError as error:
                self._must_append(error)
                _append(self._path, self._data)
                _remove(self._temporary)

    def undo(self) -> None:
        """Put back what was there before, as far as that can be done."""
        _remove(self._temporary)
        if not self._begun:
            return
        if self._state is None:
            _remove(self._path)
            return
        with suppress(OSError, ImipError):
            try:
                _swap(self._path, self._before, like=self._state)
            except OSError as error:
                self._must_append(error)
                _truncate(self._path, len(self._before))

    def _must_append(self, error: OSError) -> None:
        """Raise the error unless it only says that there can be no rename, and we can do without."""
        if not self._adds or error.errno not in _NO_RENAME:
            raise error


def put(changes: Sequence[Change]) -> None:
    """Make several changes, in their order: all of them, or none.

    Raises:
        ImipError: one of the files is a link or no regular file, or cannot be
            written. All are as they were.

    """
    with ExitStack() as undoing:
        for change in changes:
            undoing.callback(change.undo)
            change.prepare()
        for change in changes:
            change.put()
        undoing.pop_all()


def replace(path: Path, addition: bytes) -> None:
    """Add a block to one of the runner's files, all of it or nothing.

    Raises:
        ImipError: the path is a link or no regular file, or cannot be written.

    """
    put([Change(path, addition, adds=True)])


def write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600, in place of one that may be there, all of it or nothing.

    Raises:
        ImipError: the path is a link or no regular file, or cannot be written.

    """
    put([Change(path, data)])


def private_folder(parent: Path) -> Path:
    """Make a folder of mode 0700 with a name that nobody can foresee.

    Raises:
        ImipError: it cannot be made.

    """
    folder = parent / f"imip-secrets-{os.urandom(16).hex()}"
    with _explained(folder):
        folder.mkdir(mode=PRIVATE_FOLDER)
        _give(folder)
    return folder


def content(path: Path) -> bytes | None:
    """Return what a regular file holds, or None if it is not there.

    Raises:
        ImipError: the path is a link or no regular file, or cannot be read.

    """
    with _explained(path, "read"):
        data, state = _read(path)
    return None if state is None else data


def summary(path: Path, text: str) -> None:
    """Add Markdown to the job summary; what goes beyond the runner's limit is left out, and said to be.

    Raises:
        ImipError: the path is a link or no regular file, or cannot be written.

    """
    with _explained(path):
        before, _ = _read(path)
        _append(path, _cut(text.encode("utf-8", "replace"), SUMMARY_LIMIT - len(before)))


def check_value(name: str, value: Secret) -> Problem | None:
    """Say what keeps a value from being the variable ``name``, or None if nothing does."""
    data = value.reveal_bytes()
    if b"\0" in data:
        return Problem(f"the value of {name} holds a NUL byte, which no variable can", remedy=_AS_FILE_OR_BASE64)
    if not value.is_text():
        return Problem(f"the value of {name} is not UTF-8 text", remedy=_AS_FILE_OR_BASE64)
    if _size(name, value) > VALUE_LIMIT:
        return Problem(
            f"the value of {name} is larger than 96 KiB, and no later step could start with it", remedy=_AS_FILE
        )
    return None


def check_total(variables: Iterable[tuple[str, Secret]]) -> Problem | None:
    """Say that the variables are too much together, or None if they are not."""
    sizes = {name: _size(name, value) for name, value in variables}
    if sum(sizes.values()) <= TOTAL_LIMIT:
        return None
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:_NAMED_WHEN_TOO_MANY]
    return Problem(
        "the variables together are larger than 1 MiB, and no later step could start with them",
        remedy=f"Add as=file to the references of the largest: {', '.join(largest)}.",
    )


def _size(name: str, value: Secret) -> int:
    """Count the bytes of ``NAME=value``."""
    return len(name) + 1 + len(value.reveal_bytes())


def _read(path: Path) -> tuple[bytes, os.stat_result | None]:
    """Return what a regular file holds and what it is; nothing and None if it is not there."""
    try:
        with _open(path, "r") as file:
            return file.read(), os.fstat(file.fileno())
    except FileNotFoundError:
        return b"", None


def _open(path: Path, mode: str) -> FileIO:
    """Open a regular file, unbuffered, without following a link or waiting for a pipe."""
    if path.is_symlink():
        raise ImipError(Problem(f"{tame(path)} is a link", remedy="Remove it, or name a regular file."))
    file = FileIO(path, mode, opener=_opener)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ImipError(Problem(f"{tame(path)} is no regular file", remedy="Remove it, or name a regular file."))
    return file


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | _SAFELY, PRIVATE_FILE)


def _beside(path: Path) -> Path:
    """Return a new name in the folder of a file."""
    return path.parent / f".imip-secrets-{os.urandom(16).hex()}"


def _swap(path: Path, data: bytes, *, like: os.stat_result) -> None:
    """Put other content in place of a file by one rename."""
    temporary = _beside(path)
    _create(temporary, data, like=like)
    try:
        temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise


def _create(path: Path, data: bytes, *, like: os.stat_result | None = None) -> None:
    """Make a new file, on the disk before this returns; leave nothing if it cannot be filled.

    It is private, or has the owner and mode of another.
    """
    file = _open(path, "x")
    try:
        with file:
            _write(file, data)
        if like is not None:
            _resemble(path, like)
    except BaseException:
        _remove(path)
        raise


def _resemble(path: Path, like: os.stat_result) -> None:
    """Give a file the owner and mode of another: in a container we may be root, and the runner is not."""
    if hasattr(os, "chown"):
        os.chown(path, like.st_uid, like.st_gid)
    path.chmod(stat.S_IMODE(like.st_mode))


def _give(path: Path) -> None:
    """Give what we have made to the owner of its folder, as root may; anybody else keeps what is his."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _append(path: Path, data: bytes) -> None:
    with _open(path, "a") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            _write(file, data)
        except BaseException:
            file.truncate(size)
            raise


def _truncate(path: Path, size: int) -> None:
    """Take away what was appended."""
    with _open(path, "a") as file:
        file.truncate(size)


def _write(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    os.fsync(file.fileno())


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _cut(data: bytes, room: int) -> bytes:
    """Return the whole lines that fit in ``room`` bytes, and the word that more is left out."""
    if len(data) <= room:
        return data
    kept = data[: max(room - len(SUMMARY_CUT), 0)]
    lines = kept[: kept.rfind(b"\n") + 1]
    return lines + SUMMARY_CUT if len(lines) + len(SUMMARY_CUT) <= room else b""


@contextmanager
def _explained(path: Path, done: str = "written") -> Iterator[None]:
    """Turn what the system says about a file into a problem."""
    try:
        yield
    except OSError as error:
        raise ImipError(
            Problem(
                f"{tame(path)} cannot be {done}: {tame(error.strerror or 'unknown reason')}",
                remedy="Check that its folder is there, has room and may be written by the user that runs this.",
            )
        ) from None
