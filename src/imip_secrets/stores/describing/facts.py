"""What a store knows of a secret besides its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime


class Facts(NamedTuple):
    """Each is None where the store does not tell.

    Args:
        made: When the secret was made.
        changed: When its current value was.
        accessed: When it was read last; AWS tells the day.
        rotated: When the store itself rotated it last.
        rotation: Whether the store rotates it by itself.
        versions: How many versions can be read.

    """

    made: datetime | None = None
    changed: datetime | None = None
    accessed: datetime | None = None
    rotated: datetime | None = None
    rotation: bool | None = None
    versions: int | None = None
