"""The files of a tree: each regular file once, no link followed, and a word for what was left out."""

from __future__ import annotations

import os
import stat
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

# What other files of a tree are, by the test that knows them.
_SPECIAL: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


class Place(NamedTuple):
    """A file, or what is there in place of one.

    Args:
        path: Where it is.
        shown: Its path for people, from the folder that was named.
        fault: Why it is not read, or "".
        named: Whether it was named itself, so that it ought to be there.
        skipped: Whether it is left alone by rule, and not by a fault.

    """

    path: Path
    shown: str
    fault: str = ""
    named: bool = False
    skipped: bool = False


class Excluded:
    """The patterns of what is left out.

    A pattern without a slash is for the name of any file or folder; one with
    slashes is for a path from where the scan began, and all that is below it.

    Args:
        patterns: With ``*``, ``?`` and ``[...]``; a star goes over slashes too.

    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Tell the two kinds apart."""
        plain = [pattern.replace("\\", "/").removeprefix("./").rstrip("/") for pattern in patterns]
        self._names = [pattern for pattern in plain if "/" not in pattern]
        self._paths = [pattern.lstrip("/") for pattern in plain if "/" in pattern]

    def has(self, shown: str) -> bool:
        """Tell whether a file or folder is left out."""
        path = shown.removeprefix("./")
        name = path.rpartition("/")[2]
        return any(fnmatchcase(name, pattern) for pattern in self._names) or any(
            fnmatchcase(path, pattern) for pattern in self._paths
        )


def files(named: Sequence[str], excluded: Excluded, base: Path | None = None) -> Iterator[Place]:
    """Give every file below the named ones, in order; a link is followed only where it is named itself.

    Args:
        named: Files and folders.
        excluded: What is left out.
        base: Where relative ones begin; the working directory by default.

    """
    seen: set[tuple[int, int]] = set()
    for name in named:
        path = (base or Path()) / name
        shown = name.replace(os.sep, "/").rstrip("/") or "/"
        try:
            facts = path.stat()
        except OSError as error:
            yield Place(path, shown, _reason(error), named=True)
            continue
        if stat.S_ISDIR(facts.st_mode):
            yield from _below(path, "" if shown == "." else shown, excluded, seen)
        elif not excluded.has(shown):
            yield from _regular(Place(path, shown), facts, seen)


def _below(top: Path, top_shown: str, excluded: Excluded, seen: set[tuple[int, int]]) -> Iterator[Place]:
    waiting = [Place(top, top_shown)]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder.path) as listing:
                names = sorted(entry.name for entry in listing)
        except OSError as error:
            yield Place(folder.path, folder.shown or ".", _reason(error))
            continue
        folders = []
        for name in names:
            place = Place(folder.path / name, f"{folder.shown.rstrip('/')}/{name}" if folder.shown else name)
            if excluded.has(place.shown):
                continue
            kind = yield from _one(place, top, seen)
            if kind == _FOLDER:
                folders.append(place)
        waiting += reversed(folders)


_FOLDER = "folder"


def _one(place: Place, top: Path, seen: set[tuple[int, int]]) -> Generator[Place, None, str]:
    """Give what a name stands for; return whether it is a folder."""
    try:
        facts = place.path.lstat()
    except OSError as error:
        yield place._replace(fault=_reason(error))
        return ""
    if stat.S_ISDIR(facts.st_mode):
        return _FOLDER
    if stat.S_ISLNK(facts.st_mode):
        if _leads_out(place.path, top):
            yield place._replace(fault="a link that leads out of the tree, which is not followed", skipped=True)
    else:
        yield from _regular(place, facts, seen)
    return ""


def _leads_out(link: Path, top: Path) -> bool:
    """Tell whether a link leads to something outside; what it leads to within is read where it is."""
    try:
        return link.exists() and not link.resolve().is_relative_to(top.resolve())
    except (OSError, RuntimeError):  # a loop of links, which leads nowhere
        return False


def _regular(place: Place, facts: os.stat_result, seen: set[tuple[int, int]]) -> Iterator[Place]:
    kind = next((word for test, word in _SPECIAL if test(facts.st_mode)), "")
    identity = (facts.st_dev, facts.st_ino)
    if kind:
        yield place._replace(fault=f"{kind}, which is not read", skipped=True)
    elif facts.st_nlink == 1 or not facts.st_ino or identity not in seen:
        # A file with several names is read once.
        if facts.st_nlink > 1:
            seen.add(identity)
        yield place


def _reason(error: OSError) -> str:
    return f"it cannot be read: {error.strerror or type(error).__name__}"
