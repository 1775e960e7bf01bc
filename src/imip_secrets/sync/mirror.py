"""One run of the sync, from the stores to GitHub: ask, plan, show, carry out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from imip_secrets.errors import ImipError, Problem, StoreError
from imip_secrets.leases import end_all
from imip_secrets.runner.report import counted, span
from imip_secrets.secret import Secret
from imip_secrets.sync import source
from imip_secrets.sync.apply import Results, carry_out, delete, keep
from imip_secrets.sync.base import READ_POINTS, WRITE_POINTS, Access, Put, Usage
from imip_secrets.sync.intentions import settle
from imip_secrets.sync.keeper import Keeper
from imip_secrets.sync.lock import PruneLock
from imip_secrets.sync.manifest import dump, key
from imip_secrets.sync.opening import app_key
from imip_secrets.sync.plan import WRITES, Facts, Plan, Planner, State
from imip_secrets.sync.source import Nothing
from imip_secrets.sync.wishes import gather, too_large

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from imip_secrets.references import Line
    from imip_secrets.request import Request
    from imip_secrets.stores.base import Context
    from imip_secrets.sync.base import GitHub, RepositoryFacts, Scope
    from imip_secrets.sync.inputs import Inputs
    from imip_secrets.sync.manifest import Manifest
    from imip_secrets.sync.source import Harvested, Memory, Offer, Piece
    from imip_secrets.sync.targets import Destination
    from imip_secrets.sync.wishes import Wishes

READERS = 12
"""How many things are asked of GitHub at once."""
WORTH_SAYING = 30.0
"""From so many seconds on, it is said beforehand how long the writes take."""

_T = TypeVar("_T")
_K = TypeVar("_K")


@dataclass(slots=True)
class Mirrored:
    """What came of a run.

    Args:
        plan: What was to be done.
        results: What was done, or None where the plan was only to be shown.
        logins: For each store, and for GitHub, who we were there.
        absent: The lines that had nothing to give, which their option allows.
        usage: What was asked of GitHub.

    """

    plan: Plan
    results: Results | None = None
    logins: dict[str, str] = field(default_factory=dict)
    absent: Sequence[Line] = ()
    usage: Usage = field(default_factory=Usage)

    def failed(self) -> bool:
        """Tell whether the run has to end as a failure."""
        forbidden = any(scope.problem for scope in self.plan.scopes)
        return forbidden or bool(self.plan.problems) or (self.results is not None and self.results.failed())


@dataclass(frozen=True, slots=True)
class Hands:
    """What the front gives a run to work with.

    Args:
        open_github: Makes the client (:func:`imip_secrets.sync.github.open_github`).
        say: Shows one line; from several threads.
        hide: Keeps values from being shown, before anything else is done with them.
        agree: Is shown the plan, and tells whether it is to be carried out.

    """

    open_github: Callable[[Access], GitHub]
    say: Callable[[str], None]
    hide: Callable[[Iterable[Secret]], None]
    agree: Callable[[Plan], bool]


class Mirror:
    """One run.

    Args:
        wanted: What is to be read.
        inputs: Where it goes, and how.
        context: What stores work with.
        hands: What the front gives.

    """

    def __init__(self, wanted: Request, inputs: Inputs, context: Context, hands: Hands) -> None:
        """Do nothing yet."""
        self._wanted = wanted
        self._inputs = inputs
        self._context = context
        self._hands = hands
        self._memory: Memory = inputs.manifest if inputs.home and not inputs.rules.force else Nothing()
        self._logins: dict[str, str] = {}
        self._absent: list[Line] = []
        self._lost: list[tuple[Scope, str]] = []
        self._settled = False

    def run(self) -> Mirrored:
        """Do it.

        Raises:
            ImipError: with every reason why nothing was written.

        """
        try:
            return self._run()
        finally:
            # Nobody gets credentials that were made for this run.
            end_all(self._context.kept, self._hands.say)

    def _run(self) -> Mirrored:
        known = source.ask(self._wanted, self._context, self._memory)
        self._took(known)
        self._absent += known.absent
        with self._github() as github:
            plan, offers = self._plan(known, github)
            mirrored = Mirrored(plan, None, self._logins, self._absent)
            if self._hands.agree(plan) and not self._inputs.dry_run:
                self._estimate(plan, github)
                mirrored.results = self._carry_out(plan, offers, github)
            mirrored.usage = github.used()
        return mirrored

    # --- the stores

    def _took(self, harvested: Harvested) -> None:
        """Hide the values that came, and stop for what did not."""
        self._hands.hide(offer.value for offer in harvested.offers if offer.value is not None)
        self._logins.update(harvested.logins)
        if harvested.problems:
            raise ImipError(*harvested.problems)

    def _read(self, pieces: Iterable[Piece]) -> list[Offer]:
        wanted = list(dict.fromkeys(pieces))
        if not wanted:
            return []
        harvested = source.read(wanted, self._wanted, self._context)
        self._took(harvested)
        return harvested.offers

    # --- GitHub

    @contextmanager
    def _github(self) -> Iterator[GitHub]:
        """Log in, and give up in the end what that gave us."""
        settings = self._context.settings
        github = self._hands.open_github(
            Access(
                self._inputs.api_url,
                self._inputs.reaches(),
                settings.secret("github-token"),
                settings["github-app-id"],
                app_key(self._context),
                settings["ca-certificate"],
                self._context.protect,
                self._hands.say,
                self._context.deadline,
            )
        )
        try:
            self._logins["GitHub"] = github.login()
            yield github
        finally:
            github.close()

    def _plan(self, known: Harvested, github: GitHub) -> tuple[Plan, list[Offer]]:
        """Make the plan: list everything, read what is to be written, decide."""
        facts = Facts()
        planner = Planner(self._inputs.rules, self._inputs.manifest, facts)
        matched, failed, notes = self._matches(github)
        draft = self._wishes(matched, known.offers)
        facts.listings.update(_all(github.listing, [each.scope for each in draft.scopes], self._hands.say, "listing"))
        facts.settled.update(settle(self._inputs.manifest, facts.listings))
        self._settled = bool(facts.settled)
        pieces = {
            wish.offer.piece
            for each in draft.scopes
            for name, wish in each.secrets.items()
            if wish.offer.value is None and planner.state(each.scope, name, wish)[0] in WRITES
        }
        fresh = self._read([*known.unread, *pieces])
        offers = [*(offer for offer in known.offers if offer.piece not in pieces), *fresh]
        problems = [*source.twice(offers), *too_large(offers)]
        wishes = self._wishes(matched, offers)
        problems += self._own_secret(wishes)
        if problems or wishes.problems:
            raise ImipError(*problems, *wishes.problems)
        repositories = planner.repositories_wanted(wishes.scopes)
        looked_up = _all(lambda each: github.look_up(*each), repositories, self._hands.say, "look-up")
        facts.repositories.update({(owner.lower(), name.lower()): found for (owner, name), found in looked_up.items()})
        selections = planner.selections_wanted(wishes.scopes)
        facts.selected.update(_all(lambda each: github.selected(*each), selections, self._hands.say, "list"))
        plan = planner.plan(wishes.scopes)
        self._lost += planner.lost(wishes.scopes)
        return Plan(plan.scopes, (*notes, *plan.warnings), (*failed, *plan.problems)), offers

    def _own_secret(self, wishes: Wishes) -> Iterator[Problem]:
        """Find what would be written over the manifest."""
        for each in wishes.scopes:
            if (
                self._inputs.home
                and key(each.scope) == key(self._inputs.home[0])
                and self._inputs.home[1] in each.secrets
            ):
                what = f"{self._inputs.home[1]} is where the manifest is kept"
                yield Problem(what, each.where, "Give the secret another NAME, or sync-manifest-secret another.")

    def _wishes(self, matched: dict[int, list[RepositoryFacts]], offers: Iterable[Offer]) -> Wishes:
        wishes = gather(self._inputs.destinations, matched, offers)
        wishes.scopes = [each for each in wishes.scopes if self._inputs.shard.holds(each.scope)]
        return wishes

    def _matches(self, github: GitHub) -> tuple[dict[int, list[RepositoryFacts]], list[Problem], list[str]]:
        """Find the repositories of each line that is a match; what keeps one from that stops no other line."""
        lines = [each for each in self._inputs.destinations if each.match is not None]
        owners = {each.owner.lower(): each.owner for each in lines}
        asks_properties = {each.owner.lower() for each in lines if each.match is not None and each.match.properties}
        found = _all(
            lambda owner: github.repositories(owners[owner], properties=owner in asks_properties),
            owners,
            self._hands.say,
            "list of repositories",
        )
        matched: dict[int, list[RepositoryFacts]] = {}
        failed: list[Problem] = []
        notes: list[str] = []
        for line in lines:
            repositories = found[line.owner.lower()]
            if isinstance(repositories, ImipError):
                failed += [problem.at(line.where) for problem in repositories.problems]
                continue
            matched[line.number], note = _matching(line, repositories)
            notes += note
        return matched, failed, notes

    # --- carrying out

    def _estimate(self, plan: Plan, github: GitHub) -> None:
        """Say how long the writes take, and do not begin what cannot be brought to its end.

        Raises:
            ImipError: the time of the run is too short.

        """
        writes = sum(1 for _ in plan.entries(*WRITES, State.DELETE))
        keys = len({scope.scope for scope, _ in plan.entries(*WRITES)})
        requests, points = writes + keys, writes * WRITE_POINTS + keys * READ_POINTS
        seconds = github.estimate(requests, points)
        if seconds > self._context.deadline.remaining():
            needed = int(seconds + self._context.deadline.seconds - self._context.deadline.remaining()) + 60
            raise ImipError(
                Problem(
                    f"{counted(writes, 'write')} take {span(seconds)} within GitHub's rate limits, longer than the run "
                    "may last",
                    "input timeout-seconds",
                    f"Nothing was written. Set timeout-seconds: {needed}, or share the targets out with sync-shard.",
                )
            )
        if seconds >= WORTH_SAYING:
            self._hands.say(f"{counted(writes, 'write')} take about {span(seconds)} within GitHub's rate limits.")

    def _carry_out(self, plan: Plan, offers: Iterable[Offer], github: GitHub) -> Results:
        """Write, and then delete what may be deleted."""
        manifest, home = self._inputs.manifest, self._inputs.home
        needed = {key(scope.scope) for scope in plan.scopes}
        keeper = Keeper(manifest, github, home, lambda rows: _put(rows, home, needed), settled=self._settled)
        _learn(manifest, offers)
        for scope, name in self._lost:
            keeper.forget(scope, name)
        say, deadline = self._hands.say, self._context.deadline
        if not self._inputs.rules.prune or home is None or not plan.changes():
            return carry_out(plan, github, keeper, deadline, say)
        with PruneLock(github, home, manifest.saved, deadline, say) as lock:
            if lock.at:
                keeper.saw(lock.at.timestamp())
            results = carry_out(plan, github, keeper, deadline, say)
            if any(True for _ in plan.entries(State.DELETE)):
                refusal = self._refusal(plan, results) or lock.refusal()
                if refusal is None:
                    delete(plan, github, keeper, results)
                else:
                    keep(plan, results)
                    results.problems.append(refusal)
        return results

    def _refusal(self, plan: Plan, results: Results) -> Problem | None:
        """Say why nothing may be deleted after these results."""
        if not results.failed() and not plan.problems and not any(scope.problem for scope in plan.scopes):
            return None
        what = "nothing was deleted, since not everything could be written"
        return Problem(what, "input sync-prune", "Mend the rest first: the next run deletes what it finds then.")


def _put(manifest: Manifest, home: tuple[Scope, str] | None, needed: set[str]) -> Put:
    """Return the write that saves a manifest."""
    if home is None:
        msg = "there is nowhere to save the manifest"
        raise RuntimeError(msg)
    return Put(home[0], home[1], Secret(dump(manifest, needed)))


def _learn(manifest: Manifest, offers: Iterable[Offer]) -> None:
    """Note which variables each piece gives at its version, so that a later run need not read it to know."""
    names: dict[tuple[str, str], dict[str, None]] = {}
    for offer in offers:
        names.setdefault((offer.piece.mapping, offer.version), {})[offer.name] = None
    manifest.sources.update({given: tuple(variables) for given, variables in names.items()})


def _matching(line: Destination, repositories: Iterable[RepositoryFacts]) -> tuple[list[RepositoryFacts], list[str]]:
    """Return the repositories of a match, and what a person should know of the others.

    Raises:
        ImipError: there is none, or there are too many.

    """
    match = line.match
    if match is None:
        return [], []
    fitting = [facts for facts in repositories if match.fits(facts)]
    left_out = [facts for facts in fitting if match.left_out(facts)]
    taken = [facts for facts in fitting if not match.left_out(facts)]
    reasons = sorted({reason for facts in left_out if (reason := match.left_out(facts))})
    note = f"{counted(len(left_out), 'repository')} left out ({'; '.join(reasons)})".replace(
        "repositorys", "repositories"
    )
    if not taken:
        what = "it matches no repository that this credential sees"
        more = f"; {note}" if left_out else ""
        raise ImipError(
            Problem(f"{what}{more}", line.where, "Check topic=, property= and name=, and the App's access.")
        )
    if len(taken) > match.limit:
        what = f"it matches {len(taken)} repositories, more than the {match.limit} that it may"
        raise ImipError(Problem(what, line.where, f"Narrow it, or add max={len(taken)} if all of them are meant."))
    return taken, [f"{line.where}: {note}."] if left_out else []


def _all(
    ask: Callable[[_K], _T], items: Iterable[_K], say: Callable[[str], None], noun: str
) -> dict[_K, _T | ImipError]:
    """Ask for every item, several at once; what fails is in the result, and stops no other."""

    def answer(item: _K) -> _T | ImipError:
        try:
            return ask(item)
        except ImipError as error:
            return error
        except Exception as defect:  # noqa: BLE001 - of an error that nobody foresaw only the type is told
            what = f"GitHub could not be asked, by a defect in imip-secrets ({type(defect).__name__})"
            return StoreError(what, "Please report this line: it holds no value.")

    wanted = list(items)
    if len(wanted) <= 1:
        return {item: answer(item) for item in wanted}
    found: dict[_K, _T | ImipError] = {}
    with ThreadPoolExecutor(READERS, "imip-secrets-github") as pool:
        for count, (item, each) in enumerate(zip(wanted, pool.map(answer, wanted), strict=True), start=1):
            found[item] = each
            if count % _PROGRESS == 0 and count < len(wanted):
                say(f"{count} of {counted(len(wanted), noun)} read.")
    return found


_PROGRESS = 200
