"""Reads everything that is asked for, from every store at once, and gives it as a whole.

Each store has threads of its own, so that one that hangs holds up no other;
it logs in once and reads each listing and each target once, however many lines
use them. Nothing is given up early: a refused login at one store stands beside
the missing secrets of another.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from imip_secrets.errors import ImipError, MissingError, Problem, StoreError
from imip_secrets.foreign import tame
from imip_secrets.interruption import deferred
from imip_secrets.stores import SCHEMES
from imip_secrets.stores.base import Foresighted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from imip_secrets.references import Line, Reference
    from imip_secrets.stores import Scheme
    from imip_secrets.stores.base import Context, Found, Kept, Store, Target

# Enough that fifty secrets take two round trips; each store's own pool of connections is as large.
THREADS = 32
# How often a person who waits is told what for, in seconds.
SIGN_OF_LIFE = 10.0
# How long the ends of all sessions may take, in seconds, even when the time of the run is over: a token that stays
# good is worse than a job that ends a little later.
CLOSING = 5.0
# How long a login is waited for that nobody needs any more, to end its session.
LOGGING_IN = 2.0

_SHOWN = 60  # characters of a path that is waited for
_SHOWN_PATHS = 3

_T = TypeVar("_T")
_R = TypeVar("_R")


class Harvest(Generic[_R]):
    """What came of a request.

    Attributes:
        logins: For each store that let us in, by its title, who we are there.
        outcomes: For each line, in order, each target with what was found or
            why it was not. A listing that failed or found nothing is there
            itself, with the reason. What was not asked for after all, because
            of one of the problems, is not there.
        problems: What failed apart from single lines: logins, and the time.

    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.logins: dict[str, str] = {}
        self.outcomes: list[tuple[Line, list[tuple[Target, _R | ImipError]]]] = []
        self.problems: list[Problem] = []


def harvest(lines: Sequence[Line], context: Context) -> Harvest[Found]:
    """Read all targets of the lines; see :func:`survey`."""
    return survey(lines, context, _fetch)


def _fetch(store: Store, target: Target) -> Found:
    return store.fetch(target)


def _list(store: Store, target: Target, *, deep: bool) -> Sequence[Target]:
    return store.list(target, deep=deep)


def survey(
    lines: Sequence[Line],
    context: Context,
    ask: Callable[[Store, Target], _R],
    find: Callable[..., Sequence[Target]] = _list,
) -> Harvest[_R]:
    """Ask the stores about all targets of the lines within the deadline; close each store as soon as it is done.

    Never raises for what a store refuses or for a defect in it: that is in
    the result. Credentials that somebody must end are in ``context.kept``, also
    when a person interrupts. Returns at most :data:`CLOSING` seconds after the deadline.
    """
    answers: SimpleQueue[Callable[[], None]] = SimpleQueue()
    visits: dict[str, _Visit[_R]] = {}
    result: Harvest[_R] = Harvest()
    # An interruption is one more answer: whenever it comes, no token that we made is left behind if that can be helped.
    with deferred(lambda: answers.put(_interrupted)):
        try:
            for scheme, references in _by_scheme(lines).items():
                visits[scheme] = _Visit(SCHEMES[scheme], references, context, answers, result, ask=ask, find=find)
            _take_up(answers, visits.values(), context, result)
        finally:
            _close(visits.values(), context)
    for line in lines:
        result.outcomes.append((line, list(visits[line.reference.scheme].outcomes(line.reference))))
    return result


def _interrupted() -> NoReturn:
    raise KeyboardInterrupt


def _by_scheme(lines: Iterable[Line]) -> dict[str, list[Reference]]:
    by_scheme: dict[str, list[Reference]] = {}
    for line in lines:
        by_scheme.setdefault(line.reference.scheme, []).append(line.reference)
    return by_scheme


def _take_up(
    answers: SimpleQueue[Callable[[], None]], visits: Collection[_Visit[_R]], context: Context, result: Harvest[_R]
) -> None:
    """Take up answers as they come, until there is nothing to wait for or no time left."""
    deadline = context.deadline
    while any(visit.awaited for visit in visits):
        take_up = _next(answers, min(SIGN_OF_LIFE, deadline.remaining()))
        if take_up:
            take_up()
        elif deadline.over():
            what = f"no answer in the {deadline.seconds:g} s of timeout-seconds from {_awaited(visits)}"
            remedy = "Check that the address can be reached from this machine, or raise timeout-seconds."
            result.problems.append(Problem(what, remedy=remedy))
            return
        else:
            context.notice(f"Still waiting for {_awaited(visits)}.")


def _next(answers: SimpleQueue[Callable[[], None]], seconds: float) -> Callable[[], None] | None:
    """Return the next answer, or None when there is none in so many seconds."""
    try:
        return answers.get(timeout=seconds)
    except Empty:
        return None


def _awaited(visits: Iterable[_Visit[_R]]) -> str:
    return "; ".join(visit.waits_for() for visit in visits if visit.awaited)


def _close(visits: Collection[_Visit[_R]], context: Context) -> None:
    """End every session that is not ended yet, and wait for all, but not for ever."""
    for visit in visits:
        visit.close()
    # A login that is under way may have made a token already.
    wait([visit.login for visit in visits], LOGGING_IN)
    closings = {visit.closing: visit.title for visit in visits if visit.closing and visit.login.done()}
    done, hanging = wait(closings, CLOSING)
    for closing in done:
        fault = closing.exception()
        if fault is not None:
            context.notice(f"The session at {closings[closing]} was not ended well ({type(fault).__name__}).")
            continue
        kept = closing.result()
        if kept is not None:
            context.kept.append(kept)
    for closing in hanging:
        context.notice(f"The session at {closings[closing]} could not be ended in {CLOSING:g} s: it ends by itself.")


class _Visit(Generic[_R]):
    """What is done at one store. All but the work itself, which is in threads, is done in the thread that waits.

    Args:
        scheme: The store.
        references: What is wanted from it.
        context: What it works with.
        answers: Where each piece of work puts what is to be done when it has ended.
        result: Where the login goes.
        ask: Gives what is wanted of a target.
        find: Gives the targets of a listing, as :meth:`~imip_secrets.stores.base.Store.list` does.

    """

    def __init__(
        self,
        scheme: Scheme,
        references: Sequence[Reference],
        context: Context,
        answers: SimpleQueue[Callable[[], None]],
        result: Harvest[_R],
        *,
        ask: Callable[[Store, Target], _R],
        find: Callable[..., Sequence[Target]],
    ) -> None:
        self.title = scheme.title
        self.awaited: list[str] = []
        self.closing: Future[Kept | None] | None = None
        self._references = references
        self._ask = ask
        self._find = find
        self._answers = answers
        self._result = result
        self._store: Store | None = None
        self._threads = ThreadPoolExecutor(THREADS, f"imip-secrets-{scheme.name}")
        self._found: dict[Target, _R | ImipError] = {}
        self._listed: dict[tuple[Target, str], Sequence[Target] | ImipError] = {}
        self._asked: set[Target] = set()

        def log_in() -> tuple[Store, str]:
            self._store = store = scheme.load().open_store(context)
            return store, store.login()

        self.login = self._submit("login", log_in, self._logged_in)

    def waits_for(self) -> str:
        """Say what has not come yet."""
        more = f" and {len(self.awaited) - _SHOWN_PATHS} more" if len(self.awaited) > _SHOWN_PATHS else ""
        return f"{self.title} ({', '.join(self.awaited[:_SHOWN_PATHS])}{more})"

    def outcomes(self, reference: Reference) -> Iterator[tuple[Target, _R | ImipError]]:
        """Give each target of a reference with what came of it."""
        targets: Sequence[Target] | ImipError = [reference.target]
        if reference.listing:
            targets = self._listed.get((reference.target, reference.listing), [])
        if isinstance(targets, ImipError):
            yield reference.target, targets
            return
        for target in targets:
            if target in self._found:
                yield target, self._found[target]

    def close(self) -> None:
        """Ask for nothing more, and end the session: once, and not before the login has ended, well or not."""
        if self.closing is not None:
            return
        # What hangs in the network is left behind: it has its own time-outs. So this needs another thread.
        self._threads.shutdown(wait=False, cancel_futures=True)
        closer = ThreadPoolExecutor(1, "imip-secrets-close")
        self.closing = closer.submit(self._end)
        closer.shutdown(wait=False)

    def _end(self) -> Kept | None:
        wait([self.login])
        return self._store.close() if self._store is not None else None

    def _logged_in(self, outcome: tuple[Store, str] | ImipError) -> None:
        """Ask for everything, each listing and each target once."""
        if isinstance(outcome, ImipError):
            self._result.problems += [problem.at(problem.where or self.title) for problem in outcome.problems]
            return
        store, self._result.logins[self.title] = outcome
        if isinstance(store, Foresighted):
            store.expect([*dict.fromkeys(each.target for each in self._references if not each.listing)])
        for target, listing in dict.fromkeys((each.target, each.listing) for each in self._references):
            if listing:
                self._list(store, target, listing)
            else:
                self._fetch(store, target)

    def _list(self, store: Store, target: Target, listing: str) -> None:
        def listed(outcome: Sequence[Target] | ImipError) -> None:
            if isinstance(outcome, ImipError):
                self._listed[target, listing] = outcome
                return
            nothing = MissingError("nothing is there that continues this path", "Check the path, or add ?optional.")
            self._listed[target, listing] = outcome or nothing
            for each in outcome:
                self._fetch(store, each)

        what = tame(target.path, _SHOWN) + listing
        self._submit(what, partial(self._find, store, target, deep=listing == "**"), listed)

    def _fetch(self, store: Store, target: Target) -> None:
        if target in self._asked:
            return
        self._asked.add(target)
        self._submit(
            tame(target.path, _SHOWN), partial(self._ask, store, target), partial(self._found.__setitem__, target)
        )

    def _submit(self, what: str, work: Callable[[], _T], done: Callable[[_T | ImipError], None]) -> Future[_T]:
        """Start a piece of work; what comes of it is taken up by the thread that waits."""

        def take(future: Future[_T]) -> None:
            self.awaited.remove(what)
            outcome = self._outcome(future)
            done(outcome)
            if not self.awaited:
                self.close()

        self.awaited.append(what)
        future = self._threads.submit(work)
        future.add_done_callback(lambda ended: self._answers.put(partial(take, ended)))
        return future

    def _outcome(self, future: Future[_T]) -> _T | ImipError:
        """Return what a piece of work gave."""
        fault = future.exception()
        if fault is None:
            return future.result()
        if isinstance(fault, ImipError):
            return fault
        # Of an error that nobody foresaw only the type is told: its text may hold a value.
        return StoreError(
            f"{self.title} could not be used, by a defect in imip-secrets ({type(fault).__name__})",
            "Please report this line: it holds no value.",
        )
