"""The core: a request in, variables out, or every reason why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.errors import ImipError
from imip_secrets.harvest import harvest
from imip_secrets.leases import ended_on_failure
from imip_secrets.variables import check_names, expand, named, places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from imip_secrets.errors import Problem
    from imip_secrets.harvest import Harvest
    from imip_secrets.references import Line
    from imip_secrets.request import Request
    from imip_secrets.stores.base import Context, Found, Target
    from imip_secrets.variables import Variable


class Resolved(NamedTuple):
    """Everything that was asked for.

    Args:
        variables: In the order of the lines, each name once.
        logins: For each store, by its title, who we were there.
        absent: The lines that gave no variable, which their option allows.

    """

    variables: tuple[Variable, ...]
    logins: Mapping[str, str]
    absent: tuple[Line, ...]


def resolve(request: Request, context: Context) -> Resolved:
    """Log in, read, and name what was read.

    Credentials that were made for this are in ``context.kept``, for whoever
    uses them to end; none is left when this fails.

    Raises:
        ImipError: with every failure of every store and line; nothing was resolved.

    """
    with ended_on_failure(context.kept, context.notice):
        return _named(request, harvest(request.lines, context))


def _named(request: Request, result: Harvest[Found]) -> Resolved:
    """Make variables of what was found."""
    variables: list[Variable] = []
    failures: dict[tuple[str, Target, Problem], list[Line]] = {}
    for line, outcomes in result.outcomes:
        for target, found in outcomes:
            given, mistakes = look(line, target, found, request.transform)
            variables += given
            for mistake in mistakes:
                failures.setdefault((line.reference.scheme, target, mistake.at("")), []).append(line)
    problems = [
        *result.problems,
        *(problem.at(places(lines, target)) for (_, target, problem), lines in failures.items()),
        *check_names(map(named, variables), request.allowed),
    ]
    if problems:
        raise ImipError(*dict.fromkeys(problems))
    return Resolved(_once(variables), result.logins, _absent(request.lines, variables))


def look(
    line: Line, target: Target, found: Found | ImipError, transform: str
) -> tuple[list[Variable], tuple[Problem, ...]]:
    """Return the variables that an outcome gives, or why it gives none; both are empty for what is optional."""
    try:
        return expand(line, target, found, transform), ()
    except ImipError as error:
        return [], error.problems


def _once(variables: Iterable[Variable]) -> tuple[Variable, ...]:
    """Leave out a variable that stands twice, which ``check_names`` allows when both come from the same thing."""
    by_name: dict[str, Variable] = {}
    for variable in variables:
        by_name.setdefault(variable.name, variable)
    return tuple(by_name.values())


def _absent(lines: Iterable[Line], variables: Iterable[Variable]) -> tuple[Line, ...]:
    gave = {variable.line for variable in variables}
    # A line that is not optional gives something, or the run ends.
    return tuple(line for line in lines if line not in gave)
