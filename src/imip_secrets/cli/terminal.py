"""What a command says to the person who runs it, and what it works with there."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from imip_secrets import handed_token
from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import harmless
from imip_secrets.runner import id_token
from imip_secrets.runner.id_token_permission import URL_VARIABLE
from imip_secrets.settings import INPUTS
from imip_secrets.stores.base import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from imip_secrets.identity import IdToken, IdTokenSource
    from imip_secrets.runner.commands import Console
    from imip_secrets.secret import Secret
    from imip_secrets.settings import Settings

LINE = 2000
"""Characters of a line that a person is shown."""

# The problems speak of "the input vault-addr" and show "vault-addr: VALUE", as in a workflow.
_OPTIONS = {
    item.name: item.variables[0] if item.kind == "secret" and item.variables else f"--{item.name}" for item in INPUTS
} | {"secrets": "REFERENCE"}
_NAMES = "|".join(_OPTIONS)
_INPUT = re.compile(rf"(?:\bthe )?\binput ({_NAMES})\b|(?<![\w-])({_NAMES}): (?=\S)")


def note(text: str) -> None:
    """Say something that is no error: to standard error, since standard output is the command's data."""
    print(f"imip-secrets: {harmless(text, LINE)}", file=sys.stderr)


def complain(problems: Iterable[Problem]) -> None:
    """Say what is wrong, a line each."""
    for problem in problems:
        print(f"imip-secrets: error: {harmless(_as_options(str(problem)), LINE)}", file=sys.stderr)


def job_console() -> Console | None:
    """Return the way to hide values from the log of a GitHub job, if this is in one.

    Standard error, since standard output is the command's, and often goes into
    a variable or a file. Of what has come, the runner takes up standard error
    first (actions/runner ``ProcessInvoker.cs``), so masks are there in time.
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return None
    from imip_secrets.runner.commands import Console  # noqa: PLC0415 - only a job has a masked log

    return Console(sys.stderr.buffer)


def context(settings: Settings, console: Console | None) -> Context:
    """Return what the core works with at a command line: ambient addresses and trust count."""
    deadline = Deadline(settings.number("timeout-seconds"))
    protect = console.protect if console else _hide_nothing
    return Context(settings, _id_tokens(deadline, protect), protect, note, deadline, ambient=True)


def _hide_nothing(_: Secret) -> None:
    """Take note of a credential: there is no log here to keep it off, since nothing shows it."""


def _id_tokens(deadline: Deadline, protect: Callable[[Secret], None]) -> IdTokenSource:
    handed = handed_token.source(os.environ, deadline, protect)
    if handed:
        return handed
    if os.environ.get("GITHUB_ACTIONS") == "true" or os.environ.get(URL_VARIABLE):
        return id_token.source(os.environ, deadline, protect, note)
    return _no_id_token


def _no_id_token(_: str) -> IdToken:
    raise ImipError(
        Problem(
            "this login needs the ID token of a job, and there is none",
            remedy=f"In GitLab and elsewhere hand one over as {handed_token.VARIABLE}. At your own machine use "
            "credentials of your own: for Vault set VAULT_TOKEN and give --vault-auth-method token; for AWS "
            "leave --aws-role-to-assume out, and for Azure --azure-client-id.",
        )
    )


def _as_options(text: str) -> str:
    """Call the inputs of the action what they are called here."""
    return _INPUT.sub(lambda match: _OPTIONS[match[1] or match[2]] + (" " if match[2] else ""), text)
