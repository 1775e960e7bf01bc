"""The libraries of a run: hash-locked sets in a private place, each installed once.

A set is one lock, ``requirements/NAME.txt``, installed as one folder beside
Python and not into it: nothing of the machine's own Python is used, changed or
asked for, and what stands in a set is what its hashes say. The folder's name
holds a key of the lock and of this Python, so a set that is there is the right
one, and one ``stat`` is all that a warm run pays for it.

The private place is in the runner's tool cache, which self-hosted runners keep
from job to job. It is not used when somebody else could write to it.
"""

from __future__ import annotations

import os
import stat
import sys
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError, Problem
from imip_secrets.stores.aws.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping


class _Launch:
    """How this process was started."""

    locks: Path | None = None
    bundled: Collection[str] = ()


def use_locks(root: Path, bundled: Collection[str] = ()) -> None:
    """Take the libraries of this process from the locks in ``root``.

    ``launch.py`` says so, since it starts a Python that has nothing else.

    Args:
        root: The folder of the locks.
        bundled: The sets that are there already, in the bundle of a release, which is then the last on the path.

    """
    _Launch.locks = root
    _Launch.bundled = bundled


def provide(names: Iterable[str], environ: Mapping[str, str]) -> None:
    """Make the named sets importable; install those that are not there yet.

    Does nothing unless :func:`use_locks` was called: a console script has its
    libraries already. The image has every set in one folder beside the locks'.

    Args:
        names: Sets, each a lock ``NAME.txt``.
        environ: Says where the runner keeps things, and how the network is reached.

    Raises:
        ImipError: There is no safe place, or a set could not be installed.

    """
    lacking = [name for name in names if name not in _Launch.bundled]
    if _Launch.locks is None or not lacking:
        return
    whole = _whole(_Launch.locks)
    _use([whole] if whole.is_dir() else _installed(lacking, _Launch.locks, environ))


def provide_all() -> None:
    """Make every set importable that is there, for a command line, which may need any: those of the image."""
    if _Launch.locks is not None and _whole(_Launch.locks).is_dir():
        _use([_whole(_Launch.locks)])


def _whole(locks: Path) -> Path:
    """Return where the image has all sets that are not in the bundle."""
    return locks.with_name("libraries")


def _use(places: Iterable[Path]) -> None:
    """Put folders on the path: behind Python's own modules, before the bundle.

    Two sets may hold the same package, in the same version; what the bundle has of one is not the whole of it.
    """
    last = len(sys.path) - bool(_Launch.bundled)
    sys.path[last:last] = [str(place) for place in places if str(place) not in sys.path]


def _installed(names: Iterable[str], locks: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return the folders of sets, after installing those that are not there yet."""
    folder = _private_folder(environ)
    sets = {lock: folder / _key(lock) for lock in (locks / f"{name}.txt" for name in names)}
    missing = {lock: place for lock, place in sets.items() if not place.is_dir()}
    if missing:
        from imip_secrets.installing import install  # noqa: PLC0415 - what a warm run never needs

        install(missing, environ)
    return list(sets.values())


def _key(lock: Path) -> str:
    """Name the folder of a set: the same of the same lock on the same kind of Python gives the same name.

    The suffix of extension modules tells the C library, macOS's leaves out the processor.
    """
    machine = "" if sys.platform == "win32" else os.uname().machine
    rest = f"{sys.implementation.cache_tag} {EXTENSION_SUFFIXES[0]} {machine} {SERVICES}"
    return f"{lock.stem}-{sha256(lock.read_bytes() + rest.encode()).hexdigest()[:20]}"


def _private_folder(environ: Mapping[str, str]) -> Path:
    """Return the first folder that only we can write to, made if need be."""
    refusals = []
    for folder in _places(environ):
        refusal = _refusal(folder)
        if refusal is None:
            return folder
        refusals.append(f"{folder} {refusal}")
    raise ImipError(
        Problem(
            f"there is no safe folder for libraries: {'; '.join(refusals) or 'no place for one is known'}",
            remedy="Give the user of the runner a RUNNER_TOOL_CACHE or RUNNER_TEMP that it alone may write to.",
        )
    )


def _places(environ: Mapping[str, str]) -> Iterator[Path]:
    """Give the folders that may be ours, the longest-lived first.

    A job in a container shares the tool cache with the host under another user: each has a folder of its own.
    """
    name = "imip-secrets" if sys.platform == "win32" else f"imip-secrets-{os.geteuid()}"
    home = Path(environ.get("LOCALAPPDATA" if sys.platform == "win32" else "HOME", ""))
    for place in (Path(environ.get("RUNNER_TOOL_CACHE", "")), Path(environ.get("RUNNER_TEMP", "")), home / ".cache"):
        if place.is_absolute():
            yield place / name


def _refusal(folder: Path) -> str | None:
    """Say why a folder cannot be ours, or None; make it when it is not there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        return f"cannot be made ({error.strerror})"
    if not stat.S_ISDIR(facts.st_mode):
        return "is a symbolic link"
    if sys.platform != "win32" and facts.st_uid != os.geteuid():
        return "belongs to somebody else"
    if sys.platform != "win32" and facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written to by others"
    if not os.access(folder, os.W_OK):
        return "cannot be written to"
    return None
