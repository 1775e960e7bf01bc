"""The action's inputs as the runner gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.settings import INPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN_ID = "GITHUB_RUN_ID"
SESSION = "aws-role-session-name"


def read(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the inputs that were given, by name.

    The runner keeps the hyphens of a name in ``INPUT_VAULT-ADDR`` for Docker
    and JavaScript actions (actions/runner ``Handler.cs``); a composite action
    maps its own, with underscores. Without a session name AWS's log shall tell
    the run.
    """
    values: dict[str, str] = {}
    for item in INPUTS:
        name = f"INPUT_{item.name.upper()}"
        text = environ.get(name) or environ.get(name.replace("-", "_")) or ""
        if text.strip():
            values[item.name] = text
    run = environ.get(RUN_ID, "")
    if SESSION not in values and run.isascii() and run.isdigit():
        values[SESSION] = f"imip-secrets-{run}"[:64]
    return values
