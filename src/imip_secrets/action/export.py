"""``mode: export``: the secrets to the job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError
from imip_secrets.leases import ended_on_failure
from imip_secrets.resolve import resolve
from imip_secrets.runner import delivery, report
from imip_secrets.stores import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from imip_secrets.action.telling import Teller
    from imip_secrets.request import Request
    from imip_secrets.resolve import Resolved
    from imip_secrets.stores.base import Context, Kept


def perform(wanted: Request, context: Context, environ: Mapping[str, str], teller: Teller) -> int:
    """Read everything, hide it, check it, write it, and say so; or raise ``ImipError`` and have written nothing."""
    places = delivery.Places.of(wanted, environ)
    with ended_on_failure(context.kept, context.notice):
        resolved = resolve(wanted, context)
        bare = delivery.mask(resolved.variables, wanted.settings.number("mask-floor"), teller.console)
        problems = delivery.check(resolved.variables, wanted.settings, environ)
        if problems:
            raise ImipError(*problems)
        delivery.write(resolved.variables, places, teller.console, context.kept)
    _tell(resolved, bare, teller)
    _warn_of_short_lives(resolved, wanted.settings.number("vault-lease-minutes"), teller)
    _tell_who_ends(context.kept, teller, awaited=places.awaited)
    return 0


def _tell(resolved: Resolved, bare: Sequence[str], teller: Teller) -> None:
    """Say what was done, in the log and in the job summary."""
    console = teller.console
    for title, who in resolved.logins.items():
        console.say(f"{title}: {who}.")
    for line in resolved.absent:
        console.say(f"{line.where}: nothing is there, and it is optional: no variable.")
    for variable in resolved.variables:
        if variable.found is None:
            console.say(f"{variable.name} has its default: nothing is there at {variable.line.where}.")
    for name in bare:
        teller.warn(report.not_masked(name))
    names = ", ".join(variable.name for variable in resolved.variables)
    console.say(f"{report.counted(len(resolved.variables), 'variable')} set: {names or 'none'}.")
    teller.summarise(report.success(resolved, bare, console.hide))


def _warn_of_short_lives(resolved: Resolved, minutes: int, teller: Teller) -> None:
    """Name credentials that may end before the job does, once for all lines."""
    leases = {variable.target: variable.found.lease for variable in resolved.variables if variable.found}
    for target, lease in leases.items():
        if lease and lease.seconds < minutes * 60:
            teller.warn(report.short_lived(target.path, lease.seconds, minutes))


def _tell_who_ends(kept: Iterable[Kept], teller: Teller, *, awaited: bool) -> None:
    """Say what becomes of credentials that were made for this job."""
    for each in kept:
        each.leave()
        if awaited:
            counted = report.counted(each.leases, "lease")
            teller.console.say(f"{SCHEMES[each.store].title}: the cleanup step revokes {counted} when the job ends.")
        else:
            teller.warn(report.nobody_cleans_up(each.what))
