"""The same request, step by step, and no value: who we are, what each store says, what each line would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.foreign import tame
from imip_secrets.harvest import harvest
from imip_secrets.leases import end_all
from imip_secrets.resolve import look
from imip_secrets.runner.report import counted, facts
from imip_secrets.variables import check_names, named, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from imip_secrets.errors import Problem
    from imip_secrets.identity import IdToken
    from imip_secrets.request import Request
    from imip_secrets.stores.base import Context
    from imip_secrets.variables import Variable


def examine(
    request: Request,
    context: Context,
    say: Callable[[str], None],
    check: Callable[[Sequence[Variable]], Iterable[Problem]],
) -> list[Problem]:
    """Do everything but deliver, and say what comes of each step.

    Args:
        request: What would be exported.
        context: As for a real run; ID tokens asked for are shown by their claims.
        say: Shows one line; it may be called from several threads.
        check: Finds what keeps variables from being delivered.

    Returns:
        Every problem that a real run would stop for; none of them was said.

    """

    def id_token(audience: str) -> IdToken:
        token = context.id_token(audience)
        say(f"ID token for {tame(audience)}: {token.describe()}")
        return token

    try:
        result = harvest(request.lines, context.asking(id_token))
    finally:
        # Nobody gets what was made for this.
        end_all(context.kept, context.notice)
    for title, who in result.logins.items():
        say(f"{title}: {who}")
    problems = list(result.problems)
    variables: list[Variable] = []
    for line, outcomes in result.outcomes:
        for target, found in outcomes:
            given, mistakes = look(line, target, found, request.transform)
            variables += given
            problems += mistakes
            for variable in given:
                say(f"ok: {variable.name} from {place(line, target)}{_known(variable)}")
            if not given and not mistakes:
                say(f"ok: no variable from {place(line, target)}: nothing is there, and it is optional")
    problems += check_names(map(named, variables), request.allowed)
    problems += check(variables)
    unique = list(dict.fromkeys(problems))
    say("All is well." if not unique else f"Nothing would be exported: {counted(len(unique), 'problem')}.")
    return unique


def _known(variable: Variable) -> str:
    if variable.found is None:
        return " (the default: it is not there)"
    known = facts(variable.found)
    return f" ({known})" if known else ""
