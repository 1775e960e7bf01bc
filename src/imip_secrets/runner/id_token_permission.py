"""Whether the job may have an ID token: the runner's variables, and why they are missing.

The runner gives a job with ``id-token: write`` the variables
``ACTIONS_ID_TOKEN_REQUEST_URL`` and ``ACTIONS_ID_TOKEN_REQUEST_TOKEN``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from imip_secrets.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

URL_VARIABLE = "ACTIONS_ID_TOKEN_REQUEST_URL"
TOKEN_VARIABLE = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105  # the name of a variable
PERMISSION = "`permissions: {id-token: write, contents: read}`"
_EVENT_LIMIT = 32 * 1024 * 1024

_PULL_REQUESTS = ("pull_request", "pull_request_review", "pull_request_review_comment")


def missing(environ: Mapping[str, str]) -> Problem:
    """Say why the runner's variables are missing; for sure where the event tells."""
    if _is_for_a_fork(environ):
        return Problem(
            "a job for a pull request from a fork has no permission to ask for an ID token",
            "ID token",
            "GitHub gives it none, whatever `permissions` says. Read secrets after the merge, and leave this step out "
            "before with `if: github.event.pull_request.head.repo.full_name == github.repository`.",
        )
    return Problem(
        "the job has no permission to ask for an ID token",
        "ID token",
        f"Add {PERMISSION} to the job (and to the job that calls it, if it is in a reusable workflow). Pull requests "
        "from forks get no token, and what Dependabot starts gets none by default.",
    )


def _is_for_a_fork(environ: Mapping[str, str]) -> bool:
    """Tell whether the event is, for sure, a pull request from another repository.

    ``head.repo.fork`` does not tell: a repository that is itself a fork has pull
    requests of its own. A fork that was deleted leaves ``head.repo`` null.
    """
    if environ.get("GITHUB_EVENT_NAME") not in _PULL_REQUESTS:
        return False
    event = _event(environ.get("GITHUB_EVENT_PATH", ""))
    head, here = _at(event, "pull_request", "head"), _at(event, "repository", "full_name")
    knows = isinstance(head, dict) and "repo" in head and isinstance(here, str)
    return knows and _at(head, "repo", "full_name") != here


def _event(path: str) -> object:
    """Read the event that started the run, or give None where that cannot be done."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # pathlib is imported by nothing else on the way to a token
            return json.loads(file.read(_EVENT_LIMIT))
    except (OSError, ValueError, RecursionError):
        return None


def _at(value: object, *keys: str) -> object:
    """Follow keys into nested objects; None where one is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
