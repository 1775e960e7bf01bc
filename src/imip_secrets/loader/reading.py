"""Reads what an application wants, all or nothing; what has a lease is kept, and prolonged, while it lives."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.leases import end_all
from imip_secrets.loader import processes
from imip_secrets.loader.wording import worded
from imip_secrets.resolve import resolve
from imip_secrets.stores.base import Context, Prolongable
from imip_secrets.variables import check_names, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from imip_secrets.identity import IdToken, IdTokenSource
    from imip_secrets.references import Line
    from imip_secrets.request import Request
    from imip_secrets.secret import Secret
    from imip_secrets.stores.base import Kept, Target
    from imip_secrets.variables import Variable

Values = Mapping[str, "Secret"]
_Source = tuple[str, "Target"]

# Parts of the time of credentials: when they are prolonged, and when others are got because they could not be.
RENEWED_AT = 2 / 3
REPLACED_AT = 0.9
# What is prolonged by less than this part of its time is near its last end (max_ttl).
LAST_PART = 1 / 3
# Seconds from one attempt to prolong to the next, at least.
RETRY = 1.0


class _Held(NamedTuple):
    """Dynamic credentials of one store that live.

    Args:
        variables: What was made of them.
        kept: What prolongs and ends them, or None where the store has no such thing.
        seconds: How long they were given for at first.
        renew_at: When to prolong them, on the clock of the reader; infinite when they cannot be.
        replace_at: When to get others.

    """

    variables: tuple[Variable, ...]
    kept: Kept | None
    seconds: int
    renew_at: float
    replace_at: float

    @property
    def sources(self) -> set[_Source]:
        """Where they come from."""
        return {_source(variable.line) for variable in self.variables}

    def given(self, seconds: int, now: float, *, renewable: bool) -> _Held:
        """Return the same with a plan for a life of so many seconds from now."""
        part = REPLACED_AT if renewable else RENEWED_AT
        renew_at = now + RENEWED_AT * seconds if renewable else math.inf
        return self._replace(renew_at=renew_at, replace_at=now + part * seconds)


class Reader:
    """Reads one request, again and again.

    Args:
        wanted: The request.
        clock: A monotonic clock.

    """

    def __init__(self, wanted: Request, clock: Callable[[], float]) -> None:
        """Read nothing yet."""
        self._wanted = wanted
        self._clock = clock
        self._held: tuple[_Held, ...] = ()
        self._process = os.getpid()
        self._renewing = threading.Lock()
        self._changing = threading.Lock()

    def read(self) -> Values:
        """Read everything but what still lives by a lease.

        Raises:
            ImipError: with every failure.

        """
        now = self._clock()
        held = [each for each in self._held if now < each.replace_at]
        living = set().union(*(each.sources for each in held))
        lines = tuple(line for line in self._wanted.lines if _source(line) not in living)
        context = self._context()
        try:
            fresh = resolve(self._wanted._replace(lines=lines), context).variables if lines else ()
        except ImipError as error:
            raise ImipError(*map(worded, error.problems)) from None
        variables = self._in_order([*fresh, *(variable for each in held for variable in each.variables)])
        problems = list(check_names(map(named, variables), self._wanted.allowed))
        if problems:
            end_all(context.kept, _say)
            raise ImipError(*problems)
        with self._changing:
            # What was prolonged meanwhile stays so.
            replaced = [each for each in self._held if not each.sources <= living]
            self._held = (
                *(each for each in self._held if each.sources <= living),
                *_leased(fresh, context.kept, now),
            )
        for each in replaced:
            # The application may use it a little longer; it ends by itself.
            if each.kept:
                each.kept.leave()
        return {variable.name: variable.value for variable in variables}

    def has_leases(self) -> bool:
        """Tell whether anything that was read has an end."""
        return bool(self._held)

    def good_for(self) -> float:
        """Return the seconds until something must be got anew because it ends; infinite when nothing must."""
        return max(0.0, min((each.replace_at for each in self._held), default=math.inf) - self._clock())

    def renewal_in(self) -> float:
        """Return the seconds until something is to be prolonged; infinite when there is nothing."""
        return max(0.0, min((each.renew_at for each in self._held), default=math.inf) - self._clock())

    def renew(self) -> None:
        """Prolong what is due; a failure is logged and tried again, until others are got."""
        if self.renewal_in() > 0 or not self._renewing.acquire(blocking=False):
            return
        try:
            now = self._clock()
            for each in self._held:
                if now >= each.renew_at:
                    self._put(each, self._renewed(each))
        finally:
            self._renewing.release()

    def end(self) -> None:
        """End the credentials that this process got; those of its parent are the parent's to end."""
        with self._changing:
            held, self._held = self._held, ()
        if self._process == os.getpid():
            end_all([each.kept for each in held if each.kept], _say)

    def after_fork(self) -> None:
        """Forget a thread that was renewing, or reading."""
        self._renewing = threading.Lock()
        self._changing = threading.Lock()

    def _in_order(self, variables: Iterable[Variable]) -> list[Variable]:
        by_line: dict[Line, list[Variable]] = {}
        for variable in variables:
            by_line.setdefault(variable.line, []).append(variable)
        return [variable for line in self._wanted.lines for variable in by_line.get(line, ())]

    def _put(self, before: _Held, after: _Held) -> None:
        """Take note of what was prolonged, unless others were got meanwhile."""
        with self._changing:
            self._held = tuple(after if each is before else each for each in self._held)

    def _renewed(self, held: _Held) -> _Held:
        if not isinstance(held.kept, Prolongable):
            return held._replace(renew_at=math.inf)
        try:
            seconds = held.kept.prolong()
        except ImipError as error:
            for problem in error.problems:
                processes.log().warning("%s", tame(worded(problem), 2000))
            pause = max(RETRY, (held.replace_at - self._clock()) / 4)
            return held._replace(renew_at=self._clock() + pause)
        # Once more would give even less than a last part: others are got while these still live.
        return held.given(seconds, self._clock(), renewable=seconds >= held.seconds * LAST_PART)

    def _context(self) -> Context:
        deadline = Deadline(self._wanted.settings.number("timeout-seconds"))
        return Context(self._wanted.settings, _id_tokens(deadline), _keep, _say, deadline, ambient=True)


def _source(line: Line) -> _Source:
    return line.reference.scheme, line.reference.target


def _leased(variables: Iterable[Variable], kept: Iterable[Kept], now: float) -> Iterator[_Held]:
    """Give what has just been read with a lease, by its store."""
    by_scheme: dict[str, list[Variable]] = {}
    for variable in variables:
        if variable.found and variable.found.lease:
            by_scheme.setdefault(variable.line.reference.scheme, []).append(variable)
    keepers = {each.store: each for each in kept}
    for scheme, its in by_scheme.items():
        leases = [each.found.lease for each in its if each.found and each.found.lease]
        seconds = min(lease.seconds for lease in leases)
        held = _Held(tuple(its), keepers.get(scheme), seconds, math.inf, math.inf)
        yield held.given(seconds, now, renewable=all(lease.renewable for lease in leases))


def _keep(_: Secret) -> None:
    """Take note of a credential: there is no log here to keep it off, since nothing shows it."""


def _say(text: str) -> None:
    processes.log().info("%s", tame(text, 2000))


def _id_tokens(deadline: Deadline) -> IdTokenSource:
    """Return what gives an ID token to a login that asks for one: most applications have other credentials."""

    def id_token(audience: str) -> IdToken:
        from imip_secrets import handed_token  # noqa: PLC0415 - what it needs is imported with the first token
        from imip_secrets.runner import id_token as of_github  # noqa: PLC0415 - the same
        from imip_secrets.runner.id_token_permission import URL_VARIABLE  # noqa: PLC0415 - the same

        handed = handed_token.source(os.environ, deadline, _keep)
        if handed:
            return handed(audience)
        if os.environ.get(URL_VARIABLE):
            return of_github.source(os.environ, deadline, _keep, _say)(audience)
        raise ImipError(
            Problem(
                "this login needs an ID token, and there is none",
                remedy=f"Hand one over as {handed_token.FILE} or {handed_token.VARIABLE}; or use credentials of the "
                "application's own: a token for Vault, the machine's role for AWS, its managed identity for Azure.",
            )
        )

    return id_token
