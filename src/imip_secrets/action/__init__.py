"""``imip-secrets action``: what the action runs. Reads the runner's variables and inputs, and does what ``mode`` says.

A mode is one module here (see :class:`Mode`) and one row in :data:`MODES`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from imip_secrets import libraries, request
from imip_secrets.action.telling import TITLE, Teller
from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError
from imip_secrets.foreign import tame
from imip_secrets.runner import inputs, surroundings
from imip_secrets.settings import Settings
from imip_secrets.stores.base import Context

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    from imip_secrets.request import Request
    from imip_secrets.runner.commands import Console


class ModeRow(NamedTuple):
    """What is known of a mode before its module is imported.

    Args:
        nothing: What a failure means, as in "Nothing was exported".
        libraries: The sets that it needs besides the stores' own, ``requirements/NAME.txt``.

    """

    nothing: str
    libraries: tuple[str, ...] = ()


class Mode(Protocol):
    """What the module of a mode offers."""

    def perform(self, wanted: Request, context: Context, environ: Mapping[str, str], teller: Teller) -> int:
        """Do it, and say so; return the exit status.

        Raises:
            ImipError: with every failure.

        """


# A module has the name of its mode.
MODES: Mapping[str, ModeRow] = {
    "export": ModeRow("Nothing was exported"),
    "doctor": ModeRow("Nothing would be exported"),
    "sync": ModeRow("Nothing was written", ("github",)),
    "scan": ModeRow("Nothing was searched", ("scan",)),
    "audit": ModeRow("Nothing was judged"),
}


def main(environ: MutableMapping[str, str]) -> int:
    """Do what the inputs ask for.

    Args:
        environ: The process's own environment (``os.environ``). Ambient
            addresses and trust are taken out of it.

    Returns:
        The exit status: 0, or 1 when nothing was done.

    """
    before = dict(environ)
    ignored = surroundings.neutralise(environ)
    values = inputs.read(before)
    mode = MODES.get(values.get("mode", ""), MODES["export"])
    # The key of a GitHub App may be in a store of its own.
    named = "\n".join(values.get(name, "") for name in ("secrets", "github-app-private-key"))
    sets = request.libraries_of(named) | set(mode.libraries)
    try:
        # Before the console, which needs one of them.
        libraries.provide(("runner", *sorted(sets)), environ)
    except ImipError as error:
        _say_bare(error)
        return 1
    from imip_secrets.runner.commands import Console  # noqa: PLC0415 - its library is importable only now

    console = Console()
    for credential in Settings(values).secrets():
        console.protect(credential)
    teller = Teller(console, before, mode.nothing)
    try:
        return _run(values, before, ignored, teller)
    except ImipError as error:
        teller.fail(error.problems)
        return 1


def _run(values: Mapping[str, str], environ: Mapping[str, str], ignored: Sequence[str], teller: Teller) -> int:
    wanted = request.read(values, local=False)
    from imip_secrets.runner import handover, id_token  # noqa: PLC0415 - a request with a mistake needs neither

    console: Console = teller.console
    if ignored:
        console.say(f"Ignored, since only inputs count here: {', '.join(ignored)}.")
    deadline = Deadline(wanted.settings.number("timeout-seconds"))
    tokens = id_token.source(environ, deadline, console.protect, console.say)
    mode = cast("Mode", import_module(f"{__name__}.{wanted.settings['mode']}"))
    with handover.Ahead(environ.get("RUNNER_TEMP", "")) as ahead:
        context = Context(wanted.settings, tokens, console.protect, console.say, deadline, foretell=ahead.note)
        return mode.perform(wanted, context, environ, teller)


def _say_bare(error: ImipError) -> None:
    """Say an error without the library that knows how commands are escaped: tamed text needs "%" escaped alone."""
    for problem in error.problems:
        print(f"::error title={TITLE}::{tame(problem, 2000).replace('%', '%25')}")  # noqa: T201 - see above
    sys.stdout.flush()
