"""Asks the stores, the logs and GitHub, and puts it together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from imip_secrets.audit import cost, findings, hub, vault_log
from imip_secrets.audit.findings import Audit, Reader, Rules, Secret
from imip_secrets.errors import ImipError
from imip_secrets.leases import end_all
from imip_secrets.resolve import resolve
from imip_secrets.stores import SCHEMES
from imip_secrets.stores.describing import DESCRIBERS, Describer, open_describer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from imip_secrets.references import Line
    from imip_secrets.request import Request
    from imip_secrets.stores.base import Context, Target
    from imip_secrets.stores.describing.aws import Read
    from imip_secrets.stores.describing.facts import Facts
    from imip_secrets.sync.base import GitHub, Scope

_PARALLEL = 8
_OF_AWS = frozenset({"aws"})
_DAYS_OF_CLOUDTRAIL = 90


class Wish(NamedTuple):
    """What is looked at.

    Args:
        rules: What is asked of the secrets.
        days: How far back it is looked who read them; 0 for not at all.
        vault_log: The file of a Vault audit device, or None.
        calls: How many calls a month AWS has, or None to reckon them by who read the secrets.
        scopes: GitHub's, to be compared with what the references give.
        github: Opens GitHub.
        workflows: The folder of the repository's workflows, or None.

    """

    rules: Rules
    days: int
    vault_log: Path | None = None
    calls: int | None = None
    scopes: tuple[Scope, ...] = ()
    github: Callable[[], GitHub] | None = None
    workflows: Path | None = None


class _Tells(Protocol):
    """A describer that also knows who read its secrets."""

    def reads(self, target: Target, days: int) -> Iterator[Read]:
        """Give the readings in the region of a secret."""


class _Seen(NamedTuple):
    secrets: list[Secret]
    reads: list[Read]
    unseen: list[str]
    broken: list[ImipError]


def survey(wanted: Request, context: Context, wish: Wish) -> Audit:
    """Look at everything.

    Raises:
        ImipError: a store refuses the login, or a secret is not there; whatever else cannot be seen is in the result.

    """
    seen = _Seen([], [], [], [])
    for scheme in dict.fromkeys(line.reference.scheme for line in wanted.lines):
        _look(scheme, [line for line in wanted.lines if line.reference.scheme == scheme], context, wish, seen)
    if seen.broken:
        raise ImipError(*(problem for error in seen.broken for problem in error.problems))
    if wish.vault_log:
        seen.reads.extend(vault_log.reads(wish.vault_log, wish.days))
    secrets = tuple(_with_readers(secret, seen.reads) for secret in seen.secrets)
    breaches = [*findings.judge(secrets, wish.rules), *_hub(wanted, context, wish, seen)]
    return Audit(secrets, tuple(breaches), tuple(seen.unseen), _cost(secrets, wish), wish.days, _now())


def _look(scheme: str, lines: Sequence[Line], context: Context, wish: Wish, seen: _Seen) -> None:
    title = SCHEMES[scheme].title
    if scheme not in DESCRIBERS:
        seen.unseen.append(f"{title}: it tells nothing but values")
        return
    store = open_describer(scheme, context)
    try:
        store.login()
        targets = list(dict.fromkeys(_targets(store, lines)))
        with ThreadPoolExecutor(_PARALLEL, "imip-secrets-audit") as pool:
            outcomes = list(pool.map(lambda target: _described(store, target), targets))
        for target, outcome in zip(targets, outcomes, strict=True):
            if isinstance(outcome, ImipError):
                seen.unseen.extend(str(problem.at(f"{scheme}://{target.path}")) for problem in outcome.problems)
                seen.secrets.append(Secret(scheme, target.path, None))
            else:
                seen.secrets.append(Secret(scheme, target.path, outcome))
        _who_read(scheme, store, targets, wish, seen)
    except ImipError as error:
        seen.broken.append(ImipError(*(problem.at(problem.where or title) for problem in error.problems)))
    finally:
        store.close()


def _targets(store: Describer, lines: Iterable[Line]) -> Iterator[Target]:
    for line in lines:
        reference = line.reference
        if reference.listing:
            yield from store.list(reference.target, deep=reference.listing == "**")
        else:
            yield reference.target


def _described(store: Describer, target: Target) -> Facts | ImipError:
    try:
        return store.describe(target)
    except ImipError as error:
        return error


def _who_read(scheme: str, store: Describer, targets: Sequence[Target], wish: Wish, seen: _Seen) -> None:
    """Ask the store's own log, once for each region."""
    if not wish.days or not targets:
        return
    if scheme not in _OF_AWS:
        logs = {"vault": "give the file of an audit device with --vault-log", "azure": "look at its diagnostic log"}
        if not (scheme == "vault" and wish.vault_log):
            how = logs.get(scheme, "it keeps no log of that")
            seen.unseen.append(f"{SCHEMES[scheme].title}: who read the secrets ({how})")
        return
    regions = {target.region: target for target in targets}
    for target in regions.values():
        _look_up(cast("_Tells", store), target, min(wish.days, _DAYS_OF_CLOUDTRAIL), seen)


def _look_up(store: _Tells, target: Target, days: int, seen: _Seen) -> None:
    try:
        seen.reads.extend(store.reads(target, days))
    except ImipError as error:
        seen.unseen.extend(str(problem) for problem in error.problems)


def _with_readers(secret: Secret, reads: Iterable[Read]) -> Secret:
    by_name: dict[str, list[Read]] = {}
    for read in reads:
        if _is_of(read.secret, secret.path):
            by_name.setdefault(read.who, []).append(read)
    readers = [
        Reader(who, len(found), max(read.at for read in found), sum(read.denied for read in found))
        for who, found in by_name.items()
    ]
    return secret._replace(readers=tuple(sorted(readers, key=lambda reader: (-reader.times, reader.who))))


def _is_of(asked: str, path: str) -> bool:
    """Tell whether a name or an ARN in a log is that of a secret; an ARN ends in six characters of AWS's."""
    if asked == path:
        return True
    name = asked.partition(":secret:")[2]
    return bool(name) and (name == path or (name.rpartition("-")[0] == path and len(name) == len(path) + 7))


def _hub(wanted: Request, context: Context, wish: Wish, seen: _Seen) -> list[str]:
    """Compare GitHub's secrets with what the references give; for that alone the values are read."""
    if not wish.scopes or wish.github is None:
        return []
    try:
        given = {variable.name.upper() for variable in resolve(wanted, context).variables}
    finally:
        # Dynamic credentials that were made for this reading are for nobody.
        end_all(context.kept, context.notice)
    github = wish.github()
    try:
        github.login()
        there = hub.listings(github, wish.scopes)
    finally:
        github.close()
    missing = hub.unseen(wish.workflows)
    if missing:
        seen.unseen.append(missing)
    return list(hub.judge(there, given, wish.workflows))


def _cost(secrets: Sequence[Secret], wish: Wish) -> float | None:
    ours = [secret for secret in secrets if secret.scheme in _OF_AWS]
    if not ours:
        return None
    reads = sum(reader.times for secret in ours for reader in secret.readers)
    calls = cost.calls_a_month(reads, wish.days) if wish.calls is None else wish.calls
    return cost.monthly(len(ours), calls)


def _now() -> datetime:
    return datetime.now(timezone.utc)
