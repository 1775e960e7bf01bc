"""Ages: ``90d`` as people write them, and whether a secret is older."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_AGE = re.compile(r"([0-9]{1,5})([hdw])", re.ASCII)
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def parse(text: str) -> timedelta | None:
    """Read ``12h``, ``90d`` or ``4w``; None for anything else, and for nought."""
    found = _AGE.fullmatch(text)
    age = int(found[1]) * _UNITS[found[2]] if found else None
    return age or None


def is_older(changed: datetime, age: timedelta, now: datetime | None = None) -> bool:
    """Tell whether something was changed longer ago."""
    return (now or datetime.now(timezone.utc)) - changed >= age
