"""Keeps the manifest while a run writes: what is to be written is noted before, and what was written after it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError, Problem
from imip_secrets.sync import intentions
from imip_secrets.sync.manifest import Row, key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from imip_secrets.sync.base import GitHub, Put, Scope
    from imip_secrets.sync.manifest import Manifest
    from imip_secrets.sync.plan import Entry


class Keeper:
    """Keeps the manifest, and saves it where it belongs.

    Args:
        manifest: What earlier runs wrote; changed in place.
        github: Where it is saved.
        home: The scope and the name of the secret that holds it, or None where nothing is remembered.
        save: Makes the secret's content of it.
        settled: Whether it has changed already, by what an interrupted run left.

    """

    def __init__(
        self,
        manifest: Manifest,
        github: GitHub,
        home: tuple[Scope, str] | None,
        save: Callable[[Manifest], Put],
        *,
        settled: bool = False,
    ) -> None:
        """Save nothing yet."""
        self.manifest = manifest
        self.home = home
        self._github = github
        self._save = save
        self._unsaved = settled
        self._latest = 0.0

    def saw(self, at: float) -> None:
        """Take note of the time by GitHub's clock."""
        self._latest = max(self._latest, at)

    def intend(self, writes: Iterable[tuple[Scope, Entry]]) -> Deadline | None:
        """Note what is about to be written, and save that with what was written before.

        Returns:
            Until when it may be written; None for no end, where nothing could be noted.

        """
        if self.home is None:
            return None
        until, now = Deadline(intentions.LASTS), self._github.clock()
        noted = now is not None and intentions.note(self.manifest, writes, now)
        self._unsaved = self._unsaved or noted
        saved = self.save() is None  # a failure that stays is told at the end
        return until if noted and saved else None

    def wrote(self, scope: Scope, entry: Entry, at: float) -> None:
        """Remember a write."""
        self.saw(at)
        offer = entry.offer
        if self.home is None or offer is None:
            return
        rows = self.manifest.rows.setdefault(key(scope), {})
        before = rows.get(entry.name)
        row = Row(offer.piece.mapping, offer.name, offer.version, int(at), entry.repositories)
        if entry.value_stays and before:
            # The value is whose it was.
            row = replace(row, at=before.at, surmised=before.surmised)
        rows[entry.name] = row
        self.manifest.intended.get(key(scope), {}).pop(entry.name, None)
        self._unsaved = True

    def found(self, scope: Scope, entry: Entry) -> None:
        """Remember that ``repos=`` turned out to be in force."""
        row = self.manifest.row(scope, entry.name)
        if self.home is not None and row is not None and entry.repositories and row.repositories != entry.repositories:
            self.manifest.rows[key(scope)][entry.name] = replace(row, repositories=entry.repositories)
            self._unsaved = True

    def forget(self, scope: Scope, name: str) -> None:
        """Forget what is there no more."""
        if self.manifest.rows.get(key(scope), {}).pop(name, None) is not None:
            self._unsaved = True

    def save(self) -> Problem | None:
        """Save the manifest if it has changed; return what kept it from that."""
        if self.home is None or not self._unsaved:
            return None
        self.manifest.saved = int(self._github.clock() or self._latest or time.time())
        try:
            self._github.put(self._save(self.manifest))
        except ImipError as error:
            problem = error.problems[0]
            return Problem(
                f"the manifest could not be saved: {problem.what}",
                f"{self.home[0].title} {self.home[1]}",
                f"{problem.remedy} The next run may write again what this one has written, and deletes nothing of it.",
            )
        self._unsaved = False
        return None
