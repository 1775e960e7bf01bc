"""What a run is about to write, noted in the manifest before it is written.

A process that is killed cannot say any more what it has written, and GitHub
shows of a secret no more than when it was written last. So each lot of writes
is noted first. The next run finds the note, and GitHub's times tell it which of
these writes have taken place:

- before the note: it was not written, and is written now;
- while the note was good for: it counts as written by the run that was killed;
- later: somebody has edited it since.

A note is good for two minutes, and no write is sent under one that has run out.
An edit by hand in these two minutes, in a run that is then killed, is not told
from our own write. So what is known by a note alone is never deleted
(:attr:`imip_secrets.sync.manifest.Row.surmised`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError
from imip_secrets.sync.manifest import Row, key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from imip_secrets.sync.base import Existing, Scope
    from imip_secrets.sync.manifest import Manifest
    from imip_secrets.sync.plan import Entry

LASTS = 120.0
"""For so many seconds writes may be sent: a hundred take half a minute at GitHub's pace, after a minute's wait."""

# The clocks of GitHub's machines, apart by at most so many seconds.
_APART = 2
# So long after it was sent a write may still arrive: GitHub ends a request after ten seconds.
_ON_ITS_WAY = 30
_WINDOW = _APART + int(LASTS) + _ON_ITS_WAY + _APART


def note(manifest: Manifest, writes: Iterable[tuple[Scope, Entry]], now: float) -> bool:
    """Note what is about to be written; tell whether there is anything that could be known again by its version.

    Args:
        manifest: Where it is noted.
        writes: What is about to be written.
        now: The time, by GitHub's clock and not later than that.

    """
    noted = False
    for scope, entry in writes:
        offer = entry.offer
        if offer is None or not offer.version or entry.value_stays:
            continue
        since = int(now) - _APART
        if entry.updated is not None:
            # Whatever has the time that it had before is what it was before.
            since = max(since, int(entry.updated.timestamp()) + 1)
        row = Row(offer.piece.mapping, offer.name, offer.version, since)
        manifest.intended.setdefault(key(scope), {})[entry.name] = row
        noted = True
    return noted


def settle(
    manifest: Manifest, listings: Mapping[Scope, Mapping[str, Existing] | ImipError]
) -> dict[tuple[Scope, str], bool]:
    """Make of each note what GitHub's times tell, where there is a listing; return which writes have taken place."""
    settled: dict[tuple[Scope, str], bool] = {}
    for scope, listing in listings.items():
        if isinstance(listing, ImipError):
            continue
        for name, row in manifest.intended.pop(key(scope), {}).items():
            existing = listing.get(name)
            at = int(existing.updated.timestamp()) if existing and existing.updated else -1
            written = row.at <= at <= row.at + _WINDOW
            settled[scope, name] = written
            if at >= row.at:
                # Where it was edited later, the row's own time says so.
                surmised = replace(row, at=at if written else row.at, surmised=True)
                manifest.rows.setdefault(key(scope), {})[name] = surmised
    return settled
