"""What a run will do, as a value: made before the first write, shown, and then carried out.

Everything is decided here from complete listings, and nothing here talks to
anybody.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError, Problem
from imip_secrets.sync.base import App, Kind, Visibility

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from imip_secrets.sync.base import Existing, RepositoryFacts, Scope
    from imip_secrets.sync.inputs import Rules
    from imip_secrets.sync.manifest import Manifest
    from imip_secrets.sync.source import Offer
    from imip_secrets.sync.wishes import ScopeWishes, Wish

MARGIN = 60
"""By how many seconds a secret must be newer than its source to count as the same, when nothing else is known."""

# What GitHub allows (its documentation of Actions, environments and Codespaces; it tells no number for the others).
COUNTS: Mapping[tuple[Kind, App], int] = {
    (Kind.REPOSITORY, App.ACTIONS): 100,
    (Kind.REPOSITORY, App.CODESPACES): 100,
    (Kind.ENVIRONMENT, App.ACTIONS): 100,
    (Kind.ORGANIZATION, App.ACTIONS): 1000,
    (Kind.ORGANIZATION, App.CODESPACES): 100,
}
INTERRUPTED = "written by an interrupted run"
"""Why a secret counts as unchanged that no finished run has written."""
SEEN = 100
"""How many secrets of an organisation a workflow sees: the first by name."""


class State(Enum):
    """What becomes of a secret; the value is the word for people."""

    CREATE = "create"
    UPDATE = "update"
    DRIFT = "drift"
    UNCHANGED = "unchanged"
    DELETE = "delete"
    FORBIDDEN = "forbidden"


WRITES = frozenset({State.CREATE, State.UPDATE, State.DRIFT})


@dataclass(frozen=True, slots=True)
class Entry:
    """One secret in the plan.

    Args:
        name: In capitals.
        state: What becomes of it.
        why: The reason, as a phrase.
        offer: What it is to be, or None where it goes.
        visibility: Of an organisation's secret that is written: who will see it.
        selected: The repositories that will see it: when the visibility is ``selected``.
        value_stays: Whether only the repositories change and the value is not written.
        repositories: The ``repos=`` that this puts into force, for the manifest.
        updated: When GitHub says that it was written last, or None where it is not there.

    """

    name: str
    state: State
    why: str = ""
    offer: Offer | None = None
    visibility: Visibility | None = None
    selected: frozenset[int] | None = None
    value_stays: bool = False
    repositories: str = ""
    updated: datetime | None = None


@dataclass(frozen=True, slots=True)
class ScopePlan:
    """What becomes of one scope.

    Args:
        scope: The scope.
        where: The line that names it.
        entries: By name.
        problem: Why nothing can be done here, or None.

    """

    scope: Scope
    where: str
    entries: tuple[Entry, ...] = ()
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the run will do.

    Args:
        scopes: In the order of the targets.
        warnings: What a person should know, a line each.
        problems: What keeps deletions from being made; everything else is done.

    """

    scopes: tuple[ScopePlan, ...]
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def counts(self) -> Counter[State]:
        """Count the secrets by what becomes of them."""
        return Counter(entry.state for scope in self.scopes for entry in scope.entries)

    def entries(self, *states: State) -> Iterator[tuple[ScopePlan, Entry]]:
        """Give the entries of some states."""
        for scope in self.scopes:
            for entry in scope.entries:
                if entry.state in states:
                    yield scope, entry

    def changes(self) -> bool:
        """Tell whether there is anything to write or to delete."""
        return any(True for _ in self.entries(*WRITES, State.DELETE))


@dataclass(slots=True)
class Facts:
    """What GitHub says.

    Args:
        listings: The secrets of each scope by name, or why they cannot be told.
        repositories: What is known of repositories, by owner and name in lower case, or why it is not.
        selected: The repositories that see an organisation's secret now, as far as that matters.
        settled: Whether it took place, of each write that an interrupted run had intended.

    """

    listings: dict[Scope, Mapping[str, Existing] | ImipError] = field(default_factory=dict)
    repositories: dict[tuple[str, str], RepositoryFacts | ImipError] = field(default_factory=dict)
    selected: dict[tuple[Scope, str], frozenset[int] | ImipError] = field(default_factory=dict)
    settled: dict[tuple[Scope, str], bool] = field(default_factory=dict)

    def listing(self, scope: Scope) -> Mapping[str, Existing]:
        """Return the secrets of a scope, or none where they cannot be told."""
        listing = self.listings.get(scope, {})
        return {} if isinstance(listing, ImipError) else listing

    def repository(self, owner: str, name: str) -> RepositoryFacts | ImipError | None:
        """Return what is known of a repository."""
        return self.repositories.get((owner.lower(), name.lower()))


class Planner:
    """Decides.

    Args:
        rules: How.
        manifest: What earlier runs wrote.
        facts: What GitHub says; it may be added to between the steps.

    """

    def __init__(self, rules: Rules, manifest: Manifest, facts: Facts) -> None:
        """Decide nothing yet."""
        self._rules = rules
        self._manifest = manifest
        self._facts = facts

    def state(self, scope: Scope, name: str, wish: Wish) -> tuple[State, str]:
        """Say what becomes of the value of one secret, and why."""
        existing = self._facts.listing(scope).get(name)
        if existing is None:
            return State.CREATE, ""
        ordered, present = wish.destination.visibility, existing.visibility
        if ordered is not None and present is not None and ordered is not present:
            return State.UPDATE, f"visibility {present.value} to {ordered.value}"
        if self._rules.force:
            return State.UPDATE, "by sync-force"
        if not self._rules.remembers:
            return _by_time(wish.offer, existing)
        if not wish.offer.version:
            return State.UPDATE, "its store tells no version"
        return self._remembered(scope, name, wish.offer, existing)

    def _remembered(self, scope: Scope, name: str, offer: Offer, existing: Existing) -> tuple[State, str]:
        row = self._manifest.row(scope, name)
        if row is None:
            return State.UPDATE, "not known to be ours"
        if (row.mapping, row.variable) != (offer.piece.mapping, offer.name):
            return State.UPDATE, "it comes from another reference"
        if row.version != offer.version:
            return State.UPDATE, "its source has a new version"
        if not row.is_ours(existing.updated):
            return State.DRIFT, f"edited in GitHub, {existing.updated:%Y-%m-%d %H:%M} UTC"
        return State.UNCHANGED, INTERRUPTED if self._facts.settled.get((scope, name)) else ""

    # --- what must be known before the plan can be made

    def repositories_wanted(self, wishes: Iterable[ScopeWishes]) -> set[tuple[str, str]]:
        """Give the repositories that must be looked up, by owner and name: written to, or to be selected."""
        wanted: dict[tuple[str, str], tuple[str, str]] = {}
        for each in wishes:
            scope = each.scope
            if isinstance(self._facts.listings.get(scope), ImipError):
                continue
            if scope.kind is Kind.ORGANIZATION:
                names = {
                    repo
                    for name, wish in each.secrets.items()
                    if self._selects(scope, name, wish)
                    for repo in wish.destination.repos or ()
                }
            else:
                names = {scope.repo} if each.facts is None and self._is_written(each) else set()
            for name in names:
                wanted.setdefault((scope.owner.lower(), name.lower()), (scope.owner, name))
        return set(wanted.values())

    def selections_wanted(self, wishes: Iterable[ScopeWishes]) -> set[tuple[Scope, str]]:
        """Give the secrets of organisations whose present list of repositories must be read."""
        return {
            (each.scope, name)
            for each in wishes
            if each.scope.kind is Kind.ORGANIZATION
            for name, wish in each.secrets.items()
            if self._keeps(each.scope, name)
            and (self._selects(each.scope, name, wish) or self._writes(each.scope, name, wish))
        }

    def _is_written(self, each: ScopeWishes) -> bool:
        return any(self._writes(each.scope, name, wish) for name, wish in each.secrets.items())

    def _writes(self, scope: Scope, name: str, wish: Wish) -> bool:
        return self.state(scope, name, wish)[0] in WRITES

    def _keeps(self, scope: Scope, name: str) -> bool:
        """Tell whether a secret is there and seen by selected repositories."""
        existing = self._facts.listing(scope).get(name)
        return existing is not None and existing.visibility is Visibility.SELECTED

    def _selects(self, scope: Scope, name: str, wish: Wish) -> bool:
        """Tell whether ``repos=`` may have to be put into force: it is new, or the secret is written."""
        if wish.destination.repos is None:
            return False
        row = self._manifest.row(scope, name)
        known = row is not None and row.repositories == _words(wish.destination.repos)
        return not known or self._writes(scope, name, wish)

    # --- the plan

    def plan(self, wishes: Sequence[ScopeWishes]) -> Plan:
        """Make the plan; all that was wanted must be known by now."""
        scopes = [self._scope(each) for each in wishes]
        warnings = [*self._unseen(wishes), *self._shadowed(wishes)]
        plan = Plan(tuple(scopes), tuple(warnings))
        return self._pruned(plan, wishes) if self._rules.prune else plan

    def _scope(self, each: ScopeWishes) -> ScopePlan:
        listing = self._facts.listing(each.scope)
        entries = tuple(
            replace(self._entry(each.scope, name, wish), updated=listing[name].updated if name in listing else None)
            for name, wish in sorted(each.secrets.items())
        )
        problem = self._problem(each, entries)
        if problem:
            entries = tuple(Entry(entry.name, State.FORBIDDEN, "", entry.offer) for entry in entries)
        return ScopePlan(each.scope, each.where, entries, problem)

    def _problem(self, each: ScopeWishes, entries: Sequence[Entry]) -> Problem | None:
        """Say why nothing can be written to a scope."""
        scope = each.scope
        listing = self._facts.listings.get(scope, {})
        if isinstance(listing, ImipError):
            return listing.problems[0].at(each.scope.title)
        new = sum(entry.state is State.CREATE for entry in entries)
        limit = COUNTS.get((scope.kind, scope.app))
        if limit is not None and new and len(listing) + new > limit:
            what = f"it has {len(listing)} secrets and would get {new} more, and GitHub allows {limit}"
            return Problem(what, scope.title, "Delete some there, or let fewer through with only=.")
        if not any(entry.state in WRITES for entry in entries):
            return None
        facts = each.facts or self._facts.repository(scope.owner, scope.repo)
        if isinstance(facts, ImipError):
            return facts.problems[0].at(scope.title)
        if facts is not None and facts.archived:
            return Problem("the repository is archived, and can only be read", scope.title, "Take it out of sync-to.")
        failed = [self._repositories_problem(scope, name, each.secrets[name]) for name in each.secrets]
        return next(filter(None, failed), None)

    def _repositories_problem(self, scope: Scope, name: str, wish: Wish) -> Problem | None:
        """Say why the repositories that are to see a secret are not known."""
        current = self._facts.selected.get((scope, name))
        if isinstance(current, ImipError):
            return current.problems[0].at(scope.title)
        for repo in wish.destination.repos or ():
            facts = self._facts.repository(scope.owner, repo)
            if isinstance(facts, ImipError):
                return facts.problems[0].at(f"{wish.destination.where} (repos={repo})")
        return None

    def _entry(self, scope: Scope, name: str, wish: Wish) -> Entry:
        state, why = self.state(scope, name, wish)
        if scope.kind is not Kind.ORGANIZATION:
            return Entry(name, state, why, wish.offer)
        existing = self._facts.listing(scope).get(name)
        visibility = wish.destination.visibility or (existing.visibility if existing else self._rules.visibility)
        repos = wish.destination.repos
        words = _words(repos) if repos is not None else ""
        if visibility is not Visibility.SELECTED:
            return Entry(name, state, why, wish.offer, visibility)
        now = self._facts.selected.get((scope, name), frozenset())
        current = frozenset() if isinstance(now, ImipError) else now
        wanted = current
        if repos is not None and self._selects(scope, name, wish):
            wanted = frozenset(
                facts.id
                for repo in repos
                if (facts := self._facts.repository(scope.owner, repo)) is not None and not isinstance(facts, ImipError)
            )
            if state is State.UNCHANGED and wanted != current:
                return Entry(
                    name,
                    State.UPDATE,
                    f"seen by {words}",
                    wish.offer,
                    visibility,
                    wanted,
                    value_stays=True,
                    repositories=words,
                )
        return Entry(name, state, why, wish.offer, visibility, wanted, repositories=words)

    # --- deletions

    def _pruned(self, plan: Plan, wishes: Sequence[ScopeWishes]) -> Plan:
        """Add the deletions: what we wrote, what is still as we wrote it, and what nobody wants any more."""
        scopes: list[ScopePlan] = []
        warnings: list[str] = []
        for scope_plan, each in zip(plan.scopes, wishes, strict=True):
            gone: list[Entry] = []
            for name, row in sorted(self._manifest.of(each.scope).items()):
                existing = self._facts.listing(each.scope).get(name)
                if name in each.secrets or existing is None:
                    continue
                is_ours = row.is_ours(existing.updated) and existing.updated is not None
                if is_ours and not row.surmised:
                    gone.append(Entry(name, State.DELETE, "we wrote it, and no line gives it any more"))
                    continue
                why = (
                    "an interrupted run wrote it, or somebody else at that time; delete it by hand"
                    if is_ours
                    else "somebody else has written it after us"
                )
                warnings.append(f"{each.scope.title}: {name} is not deleted, since {why}.")
            entries = tuple(sorted((*scope_plan.entries, *gone), key=lambda entry: entry.name))
            scopes.append(ScopePlan(scope_plan.scope, scope_plan.where, entries, scope_plan.problem))
        pruned = Plan(tuple(scopes), (*plan.warnings, *warnings))
        problem = self._too_many(pruned, wishes)
        if problem is None:
            return pruned
        kept = [
            ScopePlan(scope.scope, scope.where, tuple(_without_deletions(scope.entries)), scope.problem)
            for scope in scopes
        ]
        return Plan(tuple(kept), pruned.warnings, (problem,))

    def _too_many(self, plan: Plan, wishes: Sequence[ScopeWishes]) -> Problem | None:
        """Say why nothing may be deleted."""
        gone = [f"{scope.scope.title} {entry.name}" for scope, entry in plan.entries(State.DELETE)]
        if not gone:
            return None
        if not any(each.secrets for each in wishes):
            what = f"the stores have nothing for any target, so {len(gone)} secrets would be deleted"
            return Problem(what, "input sync-prune", "Check the references; nothing was deleted.")
        if len(gone) <= self._rules.max_deletions:
            return None
        named = ", ".join(gone[:20]) + (f" and {len(gone) - 20} more" if len(gone) > 20 else "")  # noqa: PLR2004 - a line
        return Problem(
            f"{len(gone)} secrets would be deleted, more than sync-max-deletions allows "
            f"({self._rules.max_deletions}): {named}",
            "input sync-prune",
            f"Nothing was deleted. If that is meant, set sync-max-deletions: {len(gone)} for one run.",
        )

    def lost(self, wishes: Iterable[ScopeWishes]) -> Iterator[tuple[Scope, str]]:
        """Give what we wrote once, nobody wants, and is not there any more as we wrote it: it is not ours now."""
        for each in wishes:
            if isinstance(self._facts.listings.get(each.scope), ImipError):
                continue
            for name, row in self._manifest.of(each.scope).items():
                existing = self._facts.listing(each.scope).get(name)
                if name not in each.secrets and (existing is None or not row.is_ours(existing.updated)):
                    yield each.scope, name

    # --- warnings

    def _unseen(self, wishes: Iterable[ScopeWishes]) -> Iterator[str]:
        """Find secrets of an organisation that no workflow will see."""
        for each in wishes:
            if each.scope.kind is not Kind.ORGANIZATION or each.scope.app is not App.ACTIONS:
                continue
            names = sorted({*self._facts.listing(each.scope), *each.secrets})
            unseen = [name for name in names[SEEN:] if name in each.secrets]
            if unseen:
                yield (
                    f"{each.scope.title}: a workflow sees the first {SEEN} secrets by name alone, and so not "
                    f"{_some(unseen)}."
                )

    def _shadowed(self, wishes: Sequence[ScopeWishes]) -> Iterator[str]:
        """Find secrets that another of the same name stands before: an environment's, then a repository's."""
        narrower: dict[tuple[App, str, str], list[ScopeWishes]] = {}
        for each in wishes:
            above = _above(each.scope)
            if above:
                narrower.setdefault(above, []).append(each)
        found: dict[tuple[str, str], list[str]] = {}
        for each in wishes:
            scope = each.scope
            for inside in narrower.get((scope.app, scope.owner.lower(), scope.repo.lower()), ()):
                for name in inside.secrets.keys() | self._facts.listing(inside.scope).keys():
                    if name in each.secrets and scope.kind is not Kind.ENVIRONMENT:
                        found.setdefault((scope.title, name), []).append(inside.scope.title)
        lines = [
            f"{wide}: {name} is not used where {_some(narrow)} has one too."
            for (wide, name), narrow in sorted(found.items())
        ]
        yield from lines[:SHOWN]
        if len(lines) > SHOWN:
            yield f"{len(lines) - SHOWN} more secrets are not used where a repository or environment has one too."


SHOWN = 10
"""How many of a kind of warning are told one by one."""


def _by_time(offer: Offer, existing: Existing) -> tuple[State, str]:
    """Decide without a manifest: what was written well after its source was changed has the source's value."""
    if offer.changed is None:
        return State.UPDATE, "its store tells no time"
    if existing.updated is None:
        return State.UPDATE, "GitHub tells no time"
    if (existing.updated - offer.changed).total_seconds() >= MARGIN:
        return State.UNCHANGED, ""
    return State.UPDATE, "its source is newer"


def _above(scope: Scope) -> tuple[App, str, str] | None:
    """Return what stands for the scope whose secrets give way to this one's: an organisation has no repository."""
    if scope.kind is Kind.ORGANIZATION:
        return None
    return scope.app, scope.owner.lower(), "" if scope.kind is Kind.REPOSITORY else scope.repo.lower()


def _without_deletions(entries: Iterable[Entry]) -> Iterator[Entry]:
    return (entry for entry in entries if entry.state is not State.DELETE)


def _words(repos: Iterable[str]) -> str:
    return ",".join(sorted({repo.lower() for repo in repos}))


def _some(names: Sequence[str]) -> str:
    few = ", ".join(names[:SHOWN])
    return f"{few} and {len(names) - SHOWN} more" if len(names) > SHOWN else few
