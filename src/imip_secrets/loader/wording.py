"""Problems in the words of who writes an application: its variables, not the action's inputs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imip_secrets.settings import INPUTS

if TYPE_CHECKING:
    from imip_secrets.errors import Problem

_NAMES = {item.name: item.variables[0] if item.variables else f"settings['{item.name}']" for item in INPUTS} | {
    "secrets": "load_secrets"
}
_ANY = "|".join(_NAMES)
# "the input vault-addr", "the token of vault-token", and "vault-addr: VALUE" as in a workflow.
_INPUT = re.compile(rf"(?:\bthe )?\binput ({_ANY})\b|(?<=\bof )({_ANY})\b|\b({_ANY}): (?=\S)")


def worded(problem: Problem) -> Problem:
    """Return the problem with each input called what it is called here."""
    return problem._replace(what=_said(problem.what), where=_said(problem.where), remedy=_said(problem.remedy))


def _said(text: str) -> str:
    return _INPUT.sub(lambda match: _NAMES[match[match.lastindex or 0]] + ("=" if match[3] else ""), text)
