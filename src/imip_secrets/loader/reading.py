"""Reads what an application wants, all or nothing; what has a lease is kept, and prolonged, while it lives."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.loader import processes
from imip_secrets.loader.wording import worded
from imip_secrets.resolve import resolve
from imip_secrets.stores import SCHEMES
from imip_secrets.stores.base import Context, Renewer
from imip_secrets.variables import check_names, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imip_secrets.identity import IdToken, IdTokenSource
    from imip_secrets.references import Line
    from imip_secrets.request import Request
    from imip_secrets.secret import Secret
    from imip_secrets.stores.base import Lease, Target
    from imip_secrets.variables import Variable

Values = Mapping[str, "Secret"]
_Source = tuple[str, "Target"]

# Parts of a lease's time: when it is prolonged, and when other credentials are got because it could not be.
RENEWED_AT = 2 / 3
REPLACED_AT = 0.9
# A lease that is prolonged by less than this part of its time is near its last end (max_ttl).
LAST_PART = 1 / 3
# Seconds from one attempt to prolong a lease to the next, at least.
RETRY = 1.0


@dataclass(frozen=True, slots=True)
class _Held:
    """Dynamic credentials that live.

    Args:
        variables: What was made of them.
        lease: Their lease, as it was given or prolonged last.
        given: When that was, on the clock of the reader.
        renew_at: When to prolong it; infinite when it cannot be.
        replace_at: When to get others.

    """

    variables: tuple[Variable, ...]
    lease: Lease
    given: float
    renew_at: float
    replace_at: float

    @classmethod
    def of(cls, variables: tuple[Variable, ...], lease: Lease, now: float) -> _Held:
        """Plan the life of a lease that was given just now."""
        part = REPLACED_AT if lease.renewable else RENEWED_AT
        renew_at = now + RENEWED_AT * lease.seconds if lease.renewable else math.inf
        return cls(variables, lease, now, renew_at, now + part * lease.seconds)


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
        self._held: dict[_Source, _Held] = {}
        self._renewing = threading.Lock()
        self._changing = threading.Lock()

    def read(self) -> Values:
        """Read everything but what is still held by a lease.

        Raises:
            ImipError: with every failure.

        """
        now = self._clock()
        held = {source: each for source, each in self._held.items() if now < each.replace_at}
        lines = tuple(line for line in self._wanted.lines if _source(line) not in held)
        given: dict[Line, list[Variable]] = {}
        try:
            for variable in resolve(self._wanted._replace(lines=lines), self._context()).variables if lines else ():
                given.setdefault(variable.line, []).append(variable)
        except ImipError as error:
            raise ImipError(*map(worded, error.problems)) from None
        for each in held.values():
            for variable in each.variables:
                given.setdefault(variable.line, []).append(variable)
        variables = [variable for line in self._wanted.lines for variable in given.get(line, ())]
        problems = list(check_names(map(named, variables), self._wanted.allowed))
        if problems:
            raise ImipError(*problems)
        with self._changing:
            # A lease that was prolonged meanwhile stays so.
            still = {source: self._held.get(source, each) for source, each in held.items()}
            self._held = {**still, **dict(_leased(variables, held, now))}
        return {variable.name: variable.value for variable in variables}

    def has_leases(self) -> bool:
        """Tell whether anything that was read has an end."""
        return bool(self._held)

    def good_for(self) -> float:
        """Return the seconds until something must be got anew because its lease ends; infinite when nothing must."""
        return max(0.0, min((each.replace_at for each in self._held.values()), default=math.inf) - self._clock())

    def renewal_in(self) -> float:
        """Return the seconds until a lease is to be prolonged; infinite when there is none."""
        return max(0.0, min((each.renew_at for each in self._held.values()), default=math.inf) - self._clock())

    def renew(self) -> None:
        """Prolong the leases that are due; what fails is said and tried again, until others are got."""
        if self.renewal_in() > 0 or not self._renewing.acquire(blocking=False):
            return
        try:
            now = self._clock()
            for source, each in list(self._held.items()):
                if now >= each.renew_at:
                    self._put(source, each, self._renewed(source, each))
        finally:
            self._renewing.release()

    def after_fork(self) -> None:
        """Forget a thread that was renewing, or reading."""
        self._renewing = threading.Lock()
        self._changing = threading.Lock()

    def _put(self, source: _Source, before: _Held, after: _Held) -> None:
        """Take note of a lease that was prolonged, unless other credentials were got meanwhile."""
        with self._changing:
            if self._held.get(source) is before:
                self._held = {**self._held, source: after}

    def _renewed(self, source: _Source, held: _Held) -> _Held:
        scheme, target = source
        store = SCHEMES[scheme].load().open_store(self._context())
        try:
            store.login()
            if not isinstance(store, Renewer):
                return replace(held, renew_at=math.inf)
            lease = store.renew(target, held.lease)
        except ImipError as error:
            for problem in error.problems:
                processes.log().warning("a lease could not be prolonged: %s", worded(problem).at(tame(target.path, 80)))
            pause = max(RETRY, (held.replace_at - self._clock()) / 4)
            return replace(held, renew_at=self._clock() + pause)
        finally:
            store.close()
        if lease.seconds < held.lease.seconds * LAST_PART:
            # Once more would give even less: others are got while these still live.
            lease = lease._replace(renewable=False)
        return _Held.of(held.variables, lease, self._clock())

    def _context(self) -> Context:
        deadline = Deadline(self._wanted.settings.number("timeout-seconds"))
        return Context(self._wanted.settings, _id_tokens(deadline), _keep, _say, deadline, ambient=True)


def _source(line: Line) -> _Source:
    return line.reference.scheme, line.reference.target


def _leased(variables: list[Variable], held: Mapping[_Source, _Held], now: float) -> Iterator[tuple[_Source, _Held]]:
    """Give what has just been read with a lease, by where it came from."""
    by_source: dict[_Source, list[Variable]] = {}
    for variable in variables:
        if variable.found and variable.found.lease and _source(variable.line) not in held:
            by_source.setdefault(_source(variable.line), []).append(variable)
    for source, its in by_source.items():
        found = its[0].found
        if found and found.lease:
            yield source, _Held.of(tuple(its), found.lease, now)


def _keep(_: Secret) -> None:
    """Take note of a credential: there is no log here to keep it off, since nothing shows it."""


def _say(text: str) -> None:
    processes.log().info("%s", tame(text, 2000))


def _id_tokens(deadline: Deadline) -> IdTokenSource:
    from imip_secrets.runner import id_token  # noqa: PLC0415 - what makes requests is imported with the first of them

    if os.environ.get(id_token.URL_VARIABLE):
        return id_token.source(os.environ, deadline, _keep, _say)
    return _no_id_token


def _no_id_token(_: str) -> IdToken:
    raise ImipError(
        Problem(
            "this login needs the ID token of a GitHub job, and this is no such job",
            remedy="Use credentials of the application's own: a token for Vault, the role of the machine for AWS, its "
            "managed identity for Azure.",
        )
    )
