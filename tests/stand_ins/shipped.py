"""The action as a job downloads it: of the main branch, or of a release, which has a bundle."""

from __future__ import annotations

import os
import shutil
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from release import bundle

CHECKOUT = Path(__file__).parents[2]
_BUILT = CHECKOUT / ".cache" / "bundles"
_MADE_OF = ("src", "requirements", "release")
_UNWANTED = shutil.ignore_patterns("__pycache__")


def download(place: Path, *, released: bool = False) -> Path:
    """Make the folder of the action at ``place``, which is not there yet, and return it."""
    place.mkdir(parents=True)
    for name in ("action.yml", "launch.py"):
        shutil.copy(CHECKOUT / name, place)
    for name in ("requirements", "cleanup"):
        shutil.copytree(CHECKOUT / name, place / name)
    if released:
        shutil.copytree(built(), place / "bundle")
    else:
        shutil.copytree(CHECKOUT / "src", place / "src", ignore=_UNWANTED)
    return place


def built() -> Path:
    """Return the bundle of this checkout, with the byte-code of this Python; it is built once for each state of it.

    A release's workflow names the one that it has built, so that what is tried is what is signed.
    """
    if os.environ.get("IMIP_BUNDLE"):
        return Path(os.environ["IMIP_BUNDLE"]).absolute()
    python = Path(os.path.realpath(sys.executable))
    place = _BUILT / f"{sys.implementation.cache_tag}-{_state()}"
    if not place.is_dir():
        _BUILT.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".new-", dir=_BUILT, ignore_cleanup_errors=True) as folder:
            made = Path(folder, "bundle")
            bundle.build(made, [python])
            try:
                made.rename(place)
            except OSError:
                if not place.is_dir():  # another process was first
                    raise
    return place


def _state() -> str:
    """Return a digest of what a bundle is made of."""
    state = sha256()
    for name in _MADE_OF:
        for file in sorted((CHECKOUT / name).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                state.update(f"{file.relative_to(CHECKOUT)}\0{sha256(file.read_bytes()).hexdigest()}\n".encode())
    return state.hexdigest()[:20]
