"""What every scope is to have: the targets and the stores' offers brought together, before GitHub is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imip_secrets.errors import Problem
from imip_secrets.sync.targets import name_fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from imip_secrets.sync.base import RepositoryFacts, Scope
    from imip_secrets.sync.source import Offer
    from imip_secrets.sync.targets import Destination

LIMIT = 48 * 1024
"""How large a secret may be, in bytes."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One secret that a scope is to have.

    Args:
        offer: What it is to be.
        destination: The line that says so.

    """

    offer: Offer
    destination: Destination


@dataclass(slots=True)
class ScopeWishes:
    """All that a scope is to have.

    Args:
        scope: The scope.
        where: The first line that names it, for people.
        facts: What is known of its repository, or None.
        secrets: By the name in capitals.

    """

    scope: Scope
    where: str
    facts: RepositoryFacts | None = None
    secrets: dict[str, Wish] = field(default_factory=dict)


@dataclass(slots=True)
class Wishes:
    """What is to be where.

    Args:
        scopes: One for each list of secrets, in the order of the lines.
        problems: What cannot be, whatever GitHub says.

    """

    scopes: list[ScopeWishes] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def gather(
    destinations: Iterable[Destination],
    matched: Mapping[int, Iterable[RepositoryFacts]],
    offers: Iterable[Offer],
) -> Wishes:
    """Say what every scope is to have.

    Args:
        destinations: The lines of ``sync-to``.
        matched: For each line that is a match, by its number, the repositories.
        offers: What the stores have, each name once.

    """
    unique = {offer.name: offer for offer in offers}
    wishes = Wishes()
    by_scope: dict[Scope, ScopeWishes] = {}
    problems: dict[Problem, None] = {}
    for destination in destinations:
        own, mistakes = _own(destination, unique.values())
        problems.update(dict.fromkeys(mistakes))
        for scope, facts in _scopes(destination, matched):
            wanted = by_scope.setdefault(_folded(scope), ScopeWishes(scope, destination.where))
            wanted.facts = wanted.facts or facts
            for name, wish in own.items():
                other = wanted.secrets.setdefault(name, wish)
                if other.offer is not wish.offer:
                    problems[_collision(wanted.scope, name, other, wish)] = None
    wishes.scopes += by_scope.values()
    wishes.problems += problems
    return wishes


def too_large(offers: Iterable[Offer]) -> Iterator[Problem]:
    """Find values that GitHub does not take: too many bytes, or none."""
    for offer in offers:
        size = len(offer.value.reveal_bytes()) if offer.value is not None else 1
        if size > LIMIT:
            what = f"the value of {offer.name} is larger than 48 KB, which is all that a secret of GitHub holds"
            remedy = "Keep it in its store, and read it there in the workflow (mode: export, as=file)."
        elif size == 0:
            what = f"the value of {offer.name} is empty, and GitHub takes no empty secret"
            remedy = "Give it a value at its store, or leave its line out."
        else:
            continue
        yield Problem(what, offer.piece.line.where, remedy)


def _own(destination: Destination, offers: Iterable[Offer]) -> tuple[dict[str, Wish], list[Problem]]:
    """Return the secrets of one line by name, and what is wrong with the names."""
    own: dict[str, Wish] = {}
    problems: list[Problem] = []
    for offer in offers:
        name = destination.secret(offer.name)
        if name is None:
            continue
        fault = name_fault(name)
        if fault:
            problems.append(Problem(fault[0], offer.piece.line.where, fault[1]))
            continue
        wish = Wish(offer, destination)
        other = own.setdefault(name, wish)
        if other is not wish:
            problems.append(_collision(None, name, other, wish))
    return own, problems


def _collision(scope: Scope | None, name: str, one: Wish, other: Wish) -> Problem:
    where = f"{scope.title}, " if scope else ""
    return Problem(
        f"{name} would be both {one.offer.name} and {other.offer.name}"
        if one.offer.name != other.offer.name
        else f"{name} would be written twice",
        f"{where}{other.destination.where}",
        "Let only= or rename= of a target keep them apart; GitHub keeps names in capitals.",
    )


def _scopes(
    destination: Destination, matched: Mapping[int, Iterable[RepositoryFacts]]
) -> Iterator[tuple[Scope, RepositoryFacts | None]]:
    if destination.match is None:
        for scope in destination.scopes():
            yield scope, None
        return
    for facts in matched.get(destination.number, ()):
        for scope in destination.scopes(facts.name):
            yield scope, facts


def _folded(scope: Scope) -> Scope:
    """Return what is the same for scopes that GitHub takes for the same."""
    return type(scope)(scope.kind, scope.owner.lower(), scope.repo.lower(), scope.environment.lower(), scope.app)
