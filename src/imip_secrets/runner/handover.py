"""What a step leaves to the cleanup step, which ends and removes it when the job does.

All of it is in folders of ``RUNNER_TEMP``, which the runner names anew for each
step: no variable that an earlier step can set leads there. A folder has a name
that nobody can foresee, and counts only if it is no link, is ours and is closed
to all others. So what another user has put there is passed over; what runs as
the same user could read the memory of this process as well.

``cleanup/announce.js`` leaves a mark, by which a step knows that somebody will
clean up. Where there is none, nothing is left that holds a credential.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets import document
from imip_secrets.runner import files
from imip_secrets.stores import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from imip_secrets.document import Json
    from imip_secrets.stores.base import Kept

# No variable has such a name, so no file of a value is taken for one of these.
MARK = ".cleanup"
NOTE = ".handover"

_FOLDER = re.compile(r"imip-secrets-[0-9a-f]{32}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Handover(NamedTuple):
    """What one step has left.

    Args:
        names: The variables that it has set.
        kept: The credentials to be ended: the store's scheme, and what its ``resume`` takes.

    """

    names: tuple[str, ...] = ()
    kept: tuple[tuple[str, dict[str, Json]], ...] = ()

    def __repr__(self) -> str:
        """Show nothing: it holds credentials."""
        return "Handover()"


class Ahead:
    """What a step leaves while it works: the end of credentials that it is having made, should it be killed.

    From ``with`` on; gone at its end, when they are ended, or are in the note that stays.

    Args:
        temporary: ``RUNNER_TEMP``, or "".

    """

    def __init__(self, temporary: str) -> None:
        """Leave nothing yet."""
        self._temporary = temporary
        self._left: list[Path] = []

    def note(self, kept: Kept) -> None:
        """Leave a note for the cleanup step, where there is one.

        Raises:
            ImipError: it cannot be written.

        """
        from pathlib import Path  # noqa: PLC0415 - most runs leave none

        temporary = Path(self._temporary)
        if not temporary.is_absolute() or not is_awaited(temporary):
            return
        folder = files.private_folder(temporary)
        self._left.append(folder)
        files.put([files.Change(folder / NOTE, note([], [kept]), given=True)])

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take back what was left."""
        for folder in self._left:
            with suppress(OSError):
                remove(folder)


def folders(temporary: Path) -> Iterator[Path]:
    """Give each folder of ours; for root, also those of the user whose ``RUNNER_TEMP`` it is."""
    try:
        owners, there = _owners(temporary), sorted(temporary.iterdir())
    except OSError:  # of a folder that we cannot read nothing is ours
        return
    for folder in there:
        if _FOLDER.fullmatch(folder.name) and _is_private(folder, owners):
            yield folder


def is_awaited(temporary: Path) -> bool:
    """Tell whether a cleanup step has left its mark."""
    return any((folder / MARK).exists() for folder in folders(temporary))


def note(names: Sequence[str], kept: Iterable[Kept]) -> bytes:
    """Return the content of a step's note."""
    left: list[Json] = [[each.store, each.record()] for each in kept]
    return document.compact({"names": [*names], "kept": left}).encode()


def read(folder: Path) -> Handover:
    """Read the note in one of our folders; nothing is left where there is none.

    Raises:
        ImipError: it is a link or no file.
        ValueError: it is no such note.

    """
    data = files.content(folder / NOTE)
    if data is None:
        return Handover()
    found = document.parse(data.decode())
    if not isinstance(found, dict):
        raise ValueError  # noqa: TRY004 - what is wrong is the note, not the program
    return Handover(tuple(map(_name, _items(found, "names"))), tuple(map(_record, _items(found, "kept"))))


def values(folder: Path) -> int:
    """Count the files of values in one of our folders; none in one that cannot be looked into."""
    with suppress(OSError):
        return sum(not path.name.startswith(".") for path in folder.iterdir())
    return 0


def remove(folder: Path) -> None:
    """Remove one of our folders with all that is in it; links in it are removed, not followed.

    Raises:
        OSError: something cannot be removed.

    """
    import shutil  # noqa: PLC0415 - the end of a job alone needs it, and it takes its time to import

    shutil.rmtree(folder)


def _owners(temporary: Path) -> set[int]:
    """Return whose folders may be ours: a container's root works for the user of the runner."""
    if os.name != "posix":
        return set()
    ours = os.geteuid()
    return {ours, temporary.stat().st_uid} if ours == 0 else {ours}


def _is_private(folder: Path, owners: set[int]) -> bool:
    """Tell whether something is a folder, and open to none but its owner, who is one of ours."""
    try:
        facts = folder.lstat()
    except OSError:  # it has just gone
        return False
    if not stat.S_ISDIR(facts.st_mode):
        return False
    return not owners or (facts.st_uid in owners and not facts.st_mode & _OTHERS)


def _items(found: dict[str, Json], key: str) -> list[Json]:
    items = found.get(key)
    if not isinstance(items, list):
        raise ValueError  # noqa: TRY004 - what is wrong is the note, not the program
    return items


def _name(item: Json) -> str:
    if not isinstance(item, str) or not _NAME.fullmatch(item):
        raise ValueError
    return item


def _record(item: Json) -> tuple[str, dict[str, Json]]:
    match item:
        case [str(scheme), dict(record)] if scheme in SCHEMES:
            return scheme, record
    raise ValueError
