"""What a release says: its part of the changelog, if its version is the one that the program has.

``python -m release.notes v1.2.3`` prints it, and fails where something does not fit.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_VERSION = re.compile(r"v(\d+\.\d+\.\d+)")


class NotReadyError(Exception):
    """The checkout is not one to be released under this name."""


def notes(tag: str, version: str, changelog: str) -> str:
    """Return the part of a changelog that belongs to a tag.

    Args:
        tag: As it will be: v1.2.3.
        version: What the program says of itself.
        changelog: Headings are ``## [1.2.3] - 2026-01-31``.

    Raises:
        NotReadyError: Says what does not fit.

    """
    named = _VERSION.fullmatch(tag)
    if named is None:
        msg = f"{tag} is no version like v1.2.3"
        raise NotReadyError(msg)
    if named[1] != version:
        msg = f"the tag says {named[1]}, and the program {version}"
        raise NotReadyError(msg)
    parts = re.split(r"^## ", changelog, flags=re.MULTILINE)
    wanted = [part for part in parts if re.match(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n", part)]
    text = wanted[0].partition("\n")[2].strip() if wanted else ""
    if not text:
        msg = f"CHANGELOG.md has no part '## [{version}] - DATE', or nothing in it"
        raise NotReadyError(msg)
    return text


def program_version(source: str) -> str:
    """Return the version that the package's ``__init__.py`` gives."""
    found = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    return found[1] if found else ""


def main(tag: str) -> int:
    """Print the notes of a tag."""
    version = program_version((ROOT / "src/imip_secrets/__init__.py").read_text(encoding="utf-8"))
    try:
        print(notes(tag, version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")))
    except NotReadyError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
