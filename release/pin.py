"""Puts the digest of a release's image into ``docker/action.yml``: ``python -m release.pin sha256:...``.

A tag of an image can be moved, and one that is gone breaks whoever uses it; a
digest in the release's own commit is the image for good.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ACTION = Path(__file__).parents[1] / "docker" / "action.yml"
_COMMENT = "  # In a release this is a digest (release/pin.py): only the main branch has a tag here.\n"
_IMAGE = re.compile(r"^(  image: docker://[\w./-]+):v\d+ # zizmor.*$", re.MULTILINE)


def pinned(action: str, digest: str) -> str:
    """Return the text of an action with its image by digest.

    Raises:
        ValueError: It is no digest, or there is no image to be pinned.

    """
    if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) is None:
        msg = f"no digest: {digest}"
        raise ValueError(msg)
    text, count = _IMAGE.subn(rf"\1@{digest}", action)
    if count != 1:
        msg = "the action has no image by tag"
        raise ValueError(msg)
    return text.replace(_COMMENT, "")


def main(digest: str) -> int:
    """Write it."""
    ACTION.write_text(pinned(ACTION.read_text(encoding="utf-8"), digest), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
