"""What git knows of ``.env`` files: whether they are tracked or ignored, and where they stand in its history."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.errors import ImipError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_PATTERNS = (":(glob,icase)**/.env", ":(glob,icase)**/.env.*", ":(glob,icase)**/*.env")
_LIMIT_SECONDS = 300
_OF_HISTORY = frozenset({"log", "cat-file"})
_AT_ONCE = 64
_ENTRY = re.compile(r":[0-7]{6} [0-7]{6} [0-9a-f]{40,64} ([0-9a-f]{40,64}) [A-Z][0-9]*")


class Blob(NamedTuple):
    """One content of a file in history.

    Args:
        path: The file.
        commit: The first commit that has this content.
        date: When, by the commit.
        id: The content's name in git.

    """

    path: str
    commit: str
    date: str
    id: str


class Git:
    """A working tree.

    Args:
        folder: In it, at any depth.

    """

    def __init__(self, folder: Path) -> None:
        """Ask nothing yet."""
        self._folder = folder

    def is_there(self) -> bool:
        """Tell whether there is git, and a working tree."""
        return shutil.which("git") is not None and self._run("rev-parse", "--is-inside-work-tree", check=False) != b""

    def tracked(self) -> set[str]:
        """Return the ``.env`` files that the next commit has."""
        return set(self._names("ls-files", "-z", "--", *_PATTERNS))

    def ignored(self, paths: Iterable[str]) -> set[str]:
        """Return which of the files are ignored."""
        given = "\0".join(paths).encode(errors="surrogateescape")
        out = self._run("check-ignore", "-z", "--stdin", "--no-index", given=given, check=False)
        return set(_split(out))

    def is_shallow(self) -> bool:
        """Tell whether only the last commits are here, as a job's checkout has them."""
        return self._run("rev-parse", "--is-shallow-repository", check=False).strip() == b"true"

    def history(self) -> list[Blob]:
        """Return every content that a ``.env`` file ever had in any branch or tag, the oldest first.

        Those too that a branch had and took back before it was merged, and those that only a merge has.

        Raises:
            ImipError: git fails.

        """
        out = self._run(
            "log",
            "--all",
            # Else git leaves out what a merged branch had, where it comes to nothing.
            "--full-history",
            "-m",
            "--reverse",
            "--no-renames",
            "--diff-filter=AM",
            "--raw",
            "--no-abbrev",
            "-z",
            "--date=short",
            "--format=%x01%H %ad",
            "--",
            *_PATTERNS,
        )
        found: dict[tuple[str, str], Blob] = {}
        commit = date = ""
        # A record: "\x01COMMIT DATE", then for each file ":MODES OLD NEW STATUS" and its name, which may hold anything
        # but NUL: it is taken as it stands, whatever it looks like.
        fields = iter(_split(out))
        for field in fields:
            entry = _ENTRY.fullmatch(field.lstrip("\n"))
            if entry is None:
                commit, _, date = field.strip("\n\x01").partition(" ")
                continue
            path, blob = next(fields, ""), entry[1]
            found.setdefault((path, blob), Blob(path, commit, date, blob))
        return list(found.values())

    def contents(self, ids: Sequence[str], limit: int) -> Iterator[tuple[str, bytes]]:
        """Give contents from history with their names; none that is larger than the limit, or is not here."""
        for start in range(0, len(ids), _AT_ONCE):
            yield from self._some(ids[start : start + _AT_ONCE], limit).items()

    def _some(self, ids: Sequence[str], limit: int) -> dict[str, bytes]:
        """Ask for several contents at once; one that makes git fail is found by halves, and left out."""
        try:
            return self._batch(ids, limit)
        except ImipError:
            half = len(ids) // 2
            return self._some(ids[:half], limit) | self._some(ids[half:], limit) if half else {}

    def _batch(self, ids: Sequence[str], limit: int) -> dict[str, bytes]:
        # "NAME SIZE", or "NAME missing".
        sizes = self._run("cat-file", "--batch-check=%(objectname) %(objectsize)", given="\n".join(ids).encode())
        rows = (line.split() for line in sizes.decode().splitlines())
        known = {name: int(size) for name, size in rows if size.isdigit() and int(size) <= limit}
        data = self._run("cat-file", "--batch", given="\n".join(known).encode()) if known else b""
        found, at = {}, 0
        for name, size in known.items():
            # "NAME blob SIZE", the content, and the end of its line.
            start = data.index(b"\n", at) + 1
            found[name] = data[start : start + size]
            at = start + size + 1
        return found

    def _names(self, *arguments: str) -> list[str]:
        return _split(self._run(*arguments))

    def _run(self, *arguments: str, given: bytes = b"", check: bool = True) -> bytes:
        """Run git without its user's aliases, pagers and hooks; return what it prints."""
        # A repository's own configuration may name programs; these are the ones that reading could start.
        settings = (
            *("core.fsmonitor=false", "core.pager=cat", "diff.external=", "core.quotePath=off"),
            # Signatures are verified by a program that the configuration names.
            "log.showSignature=false",
            # These would hide files of the first commit, or of other folders.
            *("log.showRoot=true", "diff.relative=false", "log.diffMerges=separate"),
        )
        quiet = [word for setting in settings for word in ("-c", setting)]
        try:
            done = subprocess.run(
                ["git", *quiet, "-C", str(self._folder), *arguments],  # noqa: S607 - git is the user's own
                input=given,
                capture_output=True,
                check=False,
                timeout=_LIMIT_SECONDS,
                # What a partial clone lacks is not fetched: how to do that is a program of the configuration, too.
                # What a commit was replaced by here, a clone may not have.
                env={
                    **os.environ,
                    "GIT_OPTIONAL_LOCKS": "0",
                    "GIT_ALLOW_PROTOCOL": "",
                    "GIT_NO_REPLACE_OBJECTS": "1",
                    "LC_ALL": "C",
                },
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            what = f"git could not be asked ({type(error).__name__})"
            raise ImipError(Problem(what, remedy="Use --no-history.")) from None
        if check and done.returncode:
            what = f"git {arguments[0]} failed with status {done.returncode}"
            way = ", or use --no-history" if arguments[0] in _OF_HISTORY else ""
            raise ImipError(Problem(what, remedy=f"Run it by hand to see why{way}."))
        return done.stdout


def _split(data: bytes) -> list[str]:
    return [each.decode(errors="surrogateescape") for each in data.split(b"\0") if each]
