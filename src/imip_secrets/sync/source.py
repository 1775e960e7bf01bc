"""What the stores have to offer: names and versions first, values only of what is to be written.

A version says that a value is the one that it was. So a value that an earlier
run has written (the manifest knows) is not read again, as long as its store
tells the version without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from imip_secrets.errors import MissingError, Problem
from imip_secrets.harvest import harvest, survey
from imip_secrets.resolve import look
from imip_secrets.stores.base import Found, Namer, Version, Versioned
from imip_secrets.variables import place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from imip_secrets.errors import ImipError
    from imip_secrets.references import Line
    from imip_secrets.request import Request
    from imip_secrets.secret import Secret
    from imip_secrets.settings import Settings
    from imip_secrets.stores.base import Context, Store, Target
    from imip_secrets.variables import Variable

# What a reference leaves to the inputs: the same reference means another secret when one of them changes.
_PLACES: Mapping[str, tuple[str, ...]] = {
    "aws": ("aws-region", "aws-endpoint-url"),
    "aws-ssm": ("aws-region", "aws-endpoint-url"),
    "vault": ("vault-addr", "vault-namespace"),
    "azure": ("azure-cloud",),
}
# They change nothing of a value that is there.
_WITHOUT_EFFECT = frozenset({"target", "listing", "optional", "default", "mask", "as_file"})


@dataclass(frozen=True, slots=True)
class Piece:
    """One target of one line.

    Args:
        line: The line.
        target: What is read; one of many, where the line is a listing.
        mapping: Stands for all that the line says of how names and values are
            made. The same for the same words, and nothing of a value is in it.

    """

    line: Line
    target: Target
    mapping: str


@dataclass(frozen=True, slots=True)
class Offer:
    """One variable that the stores have for the targets.

    Args:
        name: Its name, in capitals.
        piece: What gives it.
        version: Stands for the value; "" when nothing does.
        changed: When the version was made, or None where the store does not tell.
        value: The value, or None when it was not read.

    """

    name: str
    piece: Piece
    version: str = ""
    changed: datetime | None = None
    value: Secret | None = None


class Memory(Protocol):
    """What earlier runs know of the stores."""

    def is_empty(self) -> bool:
        """Tell whether nothing was ever written."""

    def knows(self, mapping: str) -> bool:
        """Tell whether anything was ever written from this mapping."""

    def recall(self, mapping: str, version: str) -> Sequence[str] | None:
        """Return the names that a mapping gave at a version, or None when that is not known."""


class Nothing:
    """The memory of a first run, and of one that is to write everything again."""

    def is_empty(self) -> bool:
        """Have nothing."""
        return True

    def knows(self, _mapping: str) -> bool:
        """Know nothing."""
        return False

    def recall(self, _mapping: str, _version: str) -> Sequence[str] | None:
        """Recall nothing."""
        return None


@dataclass(slots=True)
class Harvested:
    """What came of asking the stores.

    Args:
        offers: Every variable that is known now.
        unread: The pieces whose variables are not known without their values.
        absent: The lines that have nothing to give, which their option allows.
        logins: For each store, by its title, who we were there.
        problems: Every failure; with one, the offers are not all there is.

    """

    offers: list[Offer] = field(default_factory=list)
    unread: list[Piece] = field(default_factory=list)
    absent: list[Line] = field(default_factory=list)
    logins: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def ask(wanted: Request, context: Context, memory: Memory) -> Harvested:
    """Ask every store for what the lines name: the version alone where the memory may know it, else the value."""
    known = _KnownTargets(wanted, memory)

    def version_or_value(store: Store, target: Target) -> Version | Found:
        version = store.version_of(target) if isinstance(store, Versioned) and target in known else None
        return version or store.fetch(target)

    def names(store: Store, target: Target, *, deep: bool) -> Sequence[Target]:
        if isinstance(store, Namer) and not memory.is_empty():
            return store.names(target, deep=deep)
        return store.list(target, deep=deep)

    result = survey(wanted.lines, context, version_or_value, names)
    harvested = Harvested(logins=result.logins, problems=list(result.problems))
    for line, outcomes in result.outcomes:
        before = len(harvested.offers) + len(harvested.unread) + len(harvested.problems)
        for target, outcome in outcomes:
            if isinstance(outcome, MissingError) and target != line.reference.target:
                continue  # a name of a listing whose secret is deleted
            piece = Piece(line, target, mapping_of(line, target, wanted.settings))
            if isinstance(outcome, Version):
                _remember(piece, outcome, memory, harvested)
            else:
                _take(piece, outcome, wanted, harvested)
        if len(harvested.offers) + len(harvested.unread) + len(harvested.problems) == before:
            harvested.absent.append(line)
    harvested.problems[:] = dict.fromkeys(harvested.problems)
    return harvested


def read(pieces: Collection[Piece], wanted: Request, context: Context) -> Harvested:
    """Read the values of some pieces."""
    alone = [
        piece.line._replace(reference=piece.line.reference._replace(target=piece.target, listing=""))
        for piece in pieces
    ]
    result = harvest(alone, context)
    harvested = Harvested(logins=result.logins, problems=list(result.problems))
    for piece, (_, outcomes) in zip(pieces, result.outcomes, strict=True):
        for _, outcome in outcomes:
            _take(piece, outcome, wanted, harvested)
    harvested.problems[:] = dict.fromkeys(harvested.problems)
    return harvested


def mapping_of(line: Line, target: Target, settings: Settings) -> str:
    """Return what stands for all that is said of how the variables of a target are made."""
    reference = line.reference
    said = {
        "how": {name: text for name, text in reference._asdict().items() if name not in _WITHOUT_EFFECT},
        "target": target._asdict(),
        "place": [settings[name] for name in _PLACES.get(reference.scheme, ())],
        "name": [line.name, line.prefix, settings["name-transform"]],
    }
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def stamp(version: str, changed: datetime | None) -> str:
    """Return what stands for a value.

    A number is not enough: a secret that was deleted and made anew counts from 1 again.
    """
    return f"{version}@{int(changed.timestamp())}" if version.isdigit() and changed else version


def twice(offers: Iterable[Offer]) -> Iterable[Problem]:
    """Find variables that stand for two things."""
    first: dict[str, Offer] = {}
    for offer in offers:
        other = first.setdefault(offer.name, offer)
        if other is not offer and (other.piece.mapping != offer.piece.mapping or other.piece == offer.piece):
            yield Problem(
                f"{offer.name} is given by {place(other.piece.line, other.piece.target)} as well",
                place(offer.piece.line, offer.piece.target),
                "Give one of them another NAME, or a prefix: GitHub keeps names in capitals.",
            )


class _KnownTargets:
    """The targets that a line might take by their version alone."""

    def __init__(self, wanted: Request, memory: Memory) -> None:
        # What is found by a listing is not known yet; its version tells as well that it is deleted.
        self._all = not memory.is_empty() and any(line.reference.listing for line in wanted.lines)
        self._known = {
            line.reference.target
            for line in wanted.lines
            if memory.knows(mapping_of(line, line.reference.target, wanted.settings))
        }

    def __contains__(self, target: Target) -> bool:
        return self._all or target in self._known


def _remember(piece: Piece, version: Version, memory: Memory, harvested: Harvested) -> None:
    """Take up a version: what it gave before, it gives again."""
    standing = stamp(version.id, version.changed)
    names = memory.recall(piece.mapping, standing)
    if names is None:
        harvested.unread.append(piece)
    else:
        harvested.offers += [Offer(name, piece, standing, version.changed) for name in names]


def _take(piece: Piece, outcome: Found | ImipError, wanted: Request, harvested: Harvested) -> None:
    """Take up a value, or the reason why there is none."""
    if isinstance(outcome, Found) and outcome.lease is not None:
        what = "its credentials are made for this run and end with it, and a secret of GitHub would outlive them"
        remedy = "Read it in the workflow that needs it (mode: export)."
        harvested.problems.append(Problem(what, place(piece.line, piece.target), remedy))
        return
    variables, mistakes = look(piece.line, piece.target, outcome, wanted.transform)
    harvested.problems += mistakes
    harvested.offers += [_offer(piece, variable) for variable in variables]


def _offer(piece: Piece, variable: Variable) -> Offer:
    found = variable.found
    # Where the default stands in, nothing says that it is what it was.
    if found is None:
        return Offer(variable.name.upper(), piece, value=variable.value)
    return Offer(variable.name.upper(), piece, stamp(found.version, found.changed), found.changed, variable.value)
