"""The same request, step by step, and no value: who we are, what each store says, what each line would give."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError
from imip_secrets.foreign import tame
from imip_secrets.harvest import harvest
from imip_secrets.runner.report import facts
from imip_secrets.variables import check_names, expand, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from imip_secrets.errors import Problem
    from imip_secrets.identity import IdToken
    from imip_secrets.references import Line
    from imip_secrets.request import Request
    from imip_secrets.stores.base import Context, Found, Target
    from imip_secrets.variables import Variable


def examine(request: Request, context: Context, say: Callable[[str], None]) -> list[Problem]:
    """Do everything but deliver, and say what comes of each step.

    Args:
        request: What would be exported.
        context: As for a real run; ID tokens asked for are shown by their claims.
        say: Shows one line.

    Returns:
        Every problem that a real run would have stopped for, as far as they are not said by ``say``.

    """

    def id_token(audience: str) -> IdToken:
        token = context.id_token(audience)
        say(f"ID token for {tame(audience)}: {token.describe()}")
        return token

    result = harvest(request.lines, replace(context, id_token=id_token))
    for title, who in result.logins.items():
        say(f"{title}: {who}")
    problems = list(result.problems)
    variables: list[Variable] = []
    for line, outcomes in result.outcomes:
        for target, found in outcomes:
            given, mistakes = _look(line, target, found, request.transform)
            variables += given
            problems += mistakes
            for variable in given:
                say(f"ok  {variable.name} from {line.where}{_known(variable)}")
            if not given and not mistakes:
                say(f"ok  nothing from {line.where}: not there, and optional")
    return [*problems, *check_names(map(named, variables), request.allowed)]


def _look(
    line: Line, target: Target, found: Found | ImipError, transform: str
) -> tuple[list[Variable], tuple[Problem, ...]]:
    try:
        return expand(line, target, found, transform), ()
    except ImipError as error:
        return [], error.problems


def _known(variable: Variable) -> str:
    if variable.found is None:
        return " (the default: it is not there)"
    known = facts(variable.found)
    return f" ({known})" if known else ""
