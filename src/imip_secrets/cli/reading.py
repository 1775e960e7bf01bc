"""What the commands share that give the secrets to somebody: read everything, and hide it from the log of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.cli.terminal import note
from imip_secrets.errors import ImipError
from imip_secrets.runner import delivery

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imip_secrets.request import Request
    from imip_secrets.runner.commands import Console
    from imip_secrets.stores.base import Context
    from imip_secrets.variables import Variable


def resolve_all(wanted: Request, given: Context, console: Console | None) -> tuple[Variable, ...]:
    """Return what was asked for, each value fit to be a variable; say what has a default or is not there.

    Args:
        wanted: The request.
        given: What the core works with.
        console: Hides values from the log of a job, if this is in one.

    Raises:
        ImipError: with every failure.

    """
    from imip_secrets.resolve import resolve  # noqa: PLC0415 - a request with a mistake needs no threads

    resolved = resolve(wanted, given)
    if console:
        _mask(resolved.variables, wanted, console)
    for line in resolved.absent:
        note(f"{line.where}: nothing is there, and it is optional: no variable.")
    for variable in resolved.variables:
        if variable.found is None:
            note(f"{variable.name} has its default: nothing is there at {variable.line.where}.")
    problems = delivery.unfit(resolved.variables)
    if problems:
        raise ImipError(*problems)
    return resolved.variables


def _mask(variables: Iterable[Variable], wanted: Request, console: Console) -> None:
    from imip_secrets.runner import report  # noqa: PLC0415 - only a job has a masked log

    for name in delivery.mask(variables, wanted.settings.number("mask-floor"), console):
        note(report.not_masked(name))
