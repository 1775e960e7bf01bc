"""What Vault answered, in the parts that matter; and times as people say them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.document import Number
from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from imip_secrets.document import Json

_MAX_DIGITS = 12  # what a number of seconds or of a version may have; more is a hostile server's
_SECONDS_END = len("2026-11-24T04:01:09")


class Answer(NamedTuple):
    """An answer of Vault's API, whatever its status. It may hold secrets, so it shows nothing of itself.

    Args:
        status: The HTTP status.
        body: The JSON object, or an empty one where there was none.
        date: The header ``Date``, by which a wrong clock shows.
        retry_after: The header ``Retry-After`` in seconds, or 0.

    """

    status: int
    body: dict[str, Json]
    date: str = ""
    retry_after: float = 0.0

    def __repr__(self) -> str:
        """Show nothing but the status."""
        return f"Answer({self.status})"

    @property
    def ok(self) -> bool:
        """Whether Vault did what it was asked."""
        return self.status in {200, 204}

    @property
    def data(self) -> dict[str, Json]:
        """The object ``data``; empty where there is none."""
        return part(self.body, "data")

    @property
    def reason(self) -> str:
        """What Vault says about it (``errors``, else ``warnings``), as one harmless line, or ""."""
        said = self.body.get("errors") or self.body.get("warnings")
        texts = [text for text in said if isinstance(text, str)] if isinstance(said, list) else []
        return tame("; ".join(" ".join(text.split()) for text in texts))


def part(body: dict[str, Json], name: str) -> dict[str, Json]:
    """Return an object inside an object; empty where it is something else."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def words(body: dict[str, Json], name: str) -> str:
    """Return a text inside an object; empty where it is something else."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def whole(body: dict[str, Json], name: str) -> int:
    """Return a whole number inside an object; 0 where it is something else."""
    value = body.get(name)
    text = value.text if isinstance(value, Number) else ""
    return int(text) if text.isdigit() and len(text) <= _MAX_DIGITS else 0


def moment(text: str) -> datetime | None:
    """Read a time as Go writes it (``2026-11-24T04:01:09.629618885Z``, always UTC), to the second."""
    try:
        return datetime.fromisoformat(text[:_SECONDS_END]).replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def span(seconds: float) -> str:
    """Write a length of time: 45s, 20m, 1h, 1h30m."""
    minutes = round(seconds / 60)
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{round(seconds)}s"
    hours, rest = divmod(minutes, 60)
    return f"{f'{hours}h' if hours else ''}{f'{rest}m' if rest or not hours else ''}"
