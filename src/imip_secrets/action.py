"""``imip-secrets action``: what the action runs. Reads the runner's variables and inputs, and delivers to the job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets import libraries, request
from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError
from imip_secrets.foreign import tame
from imip_secrets.runner import inputs, surroundings
from imip_secrets.settings import Settings
from imip_secrets.stores.base import Context

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    from imip_secrets.errors import Problem
    from imip_secrets.request import Request
    from imip_secrets.resolve import Resolved
    from imip_secrets.runner.commands import Console

TITLE = "imip-secrets"


def main(environ: MutableMapping[str, str]) -> int:
    """Do what the inputs ask for.

    Args:
        environ: The process's own environment (``os.environ``). Ambient
            addresses and trust are taken out of it.

    Returns:
        The exit status: 0, or 1 when nothing was exported.

    """
    before = dict(environ)
    ignored = surroundings.neutralise(environ)
    values = inputs.read(before)
    try:
        # Before the console, which needs one of them.
        libraries.provide(("runner", *sorted(request.libraries_of(values.get("secrets", "")))), environ)
    except ImipError as error:
        _say_bare(error)
        return 1
    from imip_secrets.runner.commands import Console  # noqa: PLC0415 - its library is importable only now

    console = Console()
    for credential in Settings(values).secrets():
        console.protect(credential)
    try:
        return _run(values, before, ignored, console)
    except ImipError as error:
        _fail(error.problems, before, console)
        return 1


def _run(values: Mapping[str, str], environ: Mapping[str, str], ignored: Sequence[str], console: Console) -> int:
    wanted = request.read(values)
    from imip_secrets.runner import id_token  # noqa: PLC0415 - a request with a mistake needs no token

    if ignored:
        console.say(f"Ignored, since only inputs count here: {', '.join(ignored)}.")
    deadline = Deadline(wanted.settings.number("timeout-seconds"))
    context = Context(
        wanted.settings,
        id_token.source(environ, deadline, console.protect, console.say),
        console.protect,
        console.say,
        deadline,
    )
    if wanted.settings["mode"] == "doctor":
        return _examine(wanted, context, environ, console)
    _export(wanted, context, environ, console)
    return 0


def _examine(wanted: Request, context: Context, environ: Mapping[str, str], console: Console) -> int:
    from imip_secrets.doctor import examine  # noqa: PLC0415 - the other mode
    from imip_secrets.runner import delivery  # noqa: PLC0415 - a request with a mistake delivers nothing

    problems = examine(
        wanted, context, console.say, lambda variables: delivery.check(variables, wanted.settings, environ)
    )
    for problem in problems:
        console.error(str(problem), TITLE)
    return 1 if problems else 0


def _export(wanted: Request, context: Context, environ: Mapping[str, str], console: Console) -> None:
    """Read everything, hide it, check it, write it, and say so; or raise ``ImipError`` and have written nothing."""
    from imip_secrets.resolve import resolve  # noqa: PLC0415 - a request with a mistake needs no threads
    from imip_secrets.runner import delivery  # noqa: PLC0415 - the same

    places = delivery.Places.of(wanted, environ)
    resolved = resolve(wanted, context)
    bare = delivery.mask(resolved.variables, wanted.settings.number("mask-floor"), console)
    problems = delivery.check(resolved.variables, wanted.settings, environ)
    if problems:
        raise ImipError(*problems)
    delivery.write(resolved.variables, places, console)
    _tell(resolved, bare, environ, console)


def _tell(resolved: Resolved, bare: Sequence[str], environ: Mapping[str, str], console: Console) -> None:
    """Say what was done, in the log and in the job summary."""
    from imip_secrets.runner import report  # noqa: PLC0415 - nothing is reported before it is done

    for title, who in resolved.logins.items():
        console.say(f"{title}: {who}.")
    for line in resolved.absent:
        console.say(f"{line.where}: nothing is there, and it is optional: no variable.")
    for variable in resolved.variables:
        if variable.found is None:
            console.say(f"{variable.name} has its default: nothing is there at {variable.line.where}.")
    for name in bare:
        console.warning(report.not_masked(name), TITLE)
    names = ", ".join(variable.name for variable in resolved.variables)
    console.say(f"{report.counted(len(resolved.variables), 'variable')} set: {names or 'none'}.")
    _summarise(report.success(resolved, bare, console.hide), environ, console)


def _fail(problems: Sequence[Problem], environ: Mapping[str, str], console: Console) -> None:
    """Say everything that is wrong, in the log and in the job summary."""
    from imip_secrets.runner import report  # noqa: PLC0415 - only a failure needs it here

    for problem in problems:
        console.error(str(problem), TITLE)
    console.say(f"Nothing was exported: {report.counted(len(problems), 'problem')}.")
    _summarise(report.failure(problems, console.hide), environ, console)


def _summarise(markdown: str, environ: Mapping[str, str], console: Console) -> None:
    """Add to the job summary; that it cannot be written is no reason to fail a job that has its secrets."""
    from imip_secrets.runner import files  # noqa: PLC0415 - with what calls this

    path = environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        files.summary(Path(path), markdown)
    except ImipError as error:
        console.warning(str(error), TITLE)


def _say_bare(error: ImipError) -> None:
    """Say an error without the library that knows how commands are escaped: tamed text needs "%" escaped alone."""
    for problem in error.problems:
        print(f"::error title={TITLE}::{tame(problem, 2000).replace('%', '%25')}")  # noqa: T201 - see above
    sys.stdout.flush()
