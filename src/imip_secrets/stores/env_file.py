"""A dotenv file as a store, for people at their own machine; the action refuses it.

python-dotenv reads it: what quotes and escapes mean is what it says. Nothing is
put in the place of ``${NAME}``, whatever the machine's environment has.
"""

from __future__ import annotations

import os
import stat
from datetime import datetime, timezone
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets import document
from imip_secrets.errors import MissingError, Problem, StoreError
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imip_secrets.settings import Settings
    from imip_secrets.stores.base import Context

MAX_BYTES = 8 * 1024 * 1024
MAX_LISTED = 10_000
"""How many files one listing may come to."""

_SHOWN = 160
_NOT_LINES = "Mend the line, or quote its value: NAME='value'."


def check(settings: Settings, targets: Iterable[Target]) -> Iterator[tuple[Target | None, Problem]]:  # noqa: ARG001 - it has no settings
    """Find what is wrong before any file is touched; see :class:`~imip_secrets.stores.base.StoreModule`."""
    for target in targets:
        if "\0" in target.path:
            yield target, Problem("a path holds no NUL", remedy="Write it like env-file://.env.")


def open_store(context: Context) -> EnvFileStore:  # noqa: ARG001 - it needs nothing
    """Make the store."""
    return EnvFileStore()


class EnvFileStore:
    """The dotenv files of this machine. See :class:`~imip_secrets.stores.base.Store`."""

    def login(self) -> str:
        """Say where files are looked for; there is nobody to log in to."""
        return f"reads files of this machine, from {tame(Path.cwd(), _SHOWN)}"

    def fetch(self, target: Target) -> Found:
        """Read one file: every NAME=value in it, in its order.

        Raises:
            MissingError: there is no such file.
            StoreError: it cannot be read, or is no dotenv file.

        """
        path = _path(target.path)
        text, changed = _read(path)
        return Found(Secret(document.compact(_parse(text, path))), is_data=True, changed=changed)

    def list(self, target: Target, *, deep: bool) -> Sequence[Target]:
        """Give the files whose paths go on after ``target.path``; no link to a folder is followed.

        Raises:
            StoreError: a folder cannot be read, or there are too many.

        """
        folder, _, start = target.path.rpartition("/")
        folder = f"{folder}/" if "/" in target.path else ""
        found: list[str] = []
        for place in self._files(_path(folder or "."), start, deep=deep):
            found.append(folder + place)
            if len(found) > MAX_LISTED:
                what = f"the listing of {tame(target.path, _SHOWN)} comes to more than {MAX_LISTED} files"
                raise StoreError(what, "Name a folder further down, or the files line by line.")
        return [Target(path) for path in sorted(found)]

    def _files(self, folder: Path, start: str, *, deep: bool) -> Iterator[str]:
        """Give the files in a folder that begin so, by their paths from it; with ``deep`` those in its folders too."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unreadable(folder, error) from None
        for entry in entries:
            if not entry.name.startswith(start) or (entry.name == start and start):
                continue
            if entry.is_file():
                yield entry.name
            elif deep and entry.is_dir(follow_symlinks=False):
                yield from (f"{entry.name}/{rest}" for rest in self._files(folder / entry.name, "", deep=True))

    def close(self) -> None:
        """Have nothing to give up."""


def _path(text: str) -> Path:
    """Return the path; a tilde at its start is the home of whoever runs this."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # there is no home, or no such user
        return Path(text)


def _read(path: Path) -> tuple[str, datetime]:
    """Return what is in a file, and when it was changed."""
    try:
        # Neither opened nor waited for, if it is something that blocks: a pipe, a terminal.
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            what = f"{tame(path, _SHOWN)} is a folder"
            raise StoreError(what, f"Write env-file://{tame(path, _SHOWN)}/* for all that is in it.")
        if not stat.S_ISREG(mode):
            what = f"{tame(path, _SHOWN)} is no ordinary file"
            raise StoreError(what, "Give the path of a file that is kept on a disk.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
            changed = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, timezone.utc)
    except (FileNotFoundError, NotADirectoryError):
        what = f"there is no file {tame(path, _SHOWN)}"
        raise MissingError(what, f"A path is meant from {tame(Path.cwd(), _SHOWN)}.") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(data) > MAX_BYTES:
        what = f"{tame(path, _SHOWN)} has more than {MAX_BYTES >> 20} MiB"
        raise StoreError(what, "Is it a dotenv file?")
    text = Secret(data.removeprefix(b"\xef\xbb\xbf"))
    if not text.is_text():
        what = f"{tame(path, _SHOWN)} is no text in UTF-8"
        raise StoreError(what, "Is it a dotenv file? Save it as UTF-8.")
    return text.reveal(), changed


def _unreadable(path: Path, error: OSError) -> StoreError:
    what = f"{tame(path, _SHOWN)} cannot be read ({error.strerror})"
    return StoreError(what, "Check the permissions of the file and of the folders above it.")


def _parse(text: str, path: Path) -> dict[str, document.Json]:
    """Read every assignment; a name without "=" gives nothing, as in a shell it exports what is there."""
    try:
        from dotenv.parser import parse_stream  # noqa: PLC0415 - only a dotenv file needs it
    except ImportError:  # the image and the bundle are for jobs, which read none
        what = "this installation has no python-dotenv, which reads dotenv files"
        raise StoreError(what, "Install it: pip install python-dotenv.") from None
    values: dict[str, document.Json] = {}
    lines: dict[str, int] = {}
    shown = tame(path, _SHOWN)
    for binding in parse_stream(StringIO(text, newline="")):
        # What is on the line may be a part of a secret, so it is named by its number alone.
        line = binding.original.line
        if binding.error:
            what = f"line {line} of {shown} is no NAME=value"
            raise StoreError(what, _NOT_LINES)
        if binding.key is None or binding.value is None:
            continue
        if binding.key in values:
            what = f"{tame(binding.key, 80)} stands twice in {shown}, in lines {lines[binding.key]} and {line}"
            raise StoreError(what, "Take one of them out.")
        values[binding.key], lines[binding.key] = binding.value, line
    return values
