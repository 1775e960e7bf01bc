"""Who read what, by the file of a Vault audit device: a JSON object a line (Vault: "Audit devices", "File")."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.stores.describing.aws import Read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LONGEST_LINE = 1024 * 1024


def reads(path: Path, days: int, now: datetime | None = None) -> Iterator[Read]:
    """Give each reading of the last days; of KV version 2 under the path of the secret, without ``data/``.

    A line that is no entry is passed over: a log may have been cut while it was written.

    Raises:
        ImipError: the file cannot be read.

    """
    since = (now or datetime.now(timezone.utc)) - timedelta(days=days)
    try:
        with path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                found = _read(line)
                if found and found.at >= since:
                    yield found
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise ImipError(Problem(what, tame(path), "Name the file of `vault audit enable file`.")) from None


def _read(line: bytes) -> Read | None:
    try:
        entry = json.loads(line)
        request, who = entry["request"], entry.get("auth") or {}
        # A response tells whether it was given; a request alone may still be refused.
        if entry["type"] != "response" or request["operation"] != "read":
            return None
        at = datetime.fromisoformat(entry["time"][:19]).replace(tzinfo=timezone.utc)
        mount, _, rest = str(request["path"]).partition("/")
        point = str(request.get("mount_point") or f"{mount}/").rstrip("/")
        rest = str(request["path"]).removeprefix(f"{point}/")
        secret = f"{point}/{rest.removeprefix('data/')}"
        name = who.get("display_name") or who.get("entity_id") or "somebody"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Read(secret, tame(name, 120), at, bool(entry.get("error")))
