"""The job's ID token: who may have one, and that the one we got is ours.

The runner gives a job with ``id-token: write`` the variables
``ACTIONS_ID_TOKEN_REQUEST_URL`` and ``ACTIONS_ID_TOKEN_REQUEST_TOKEN``. What is
asked with them, and what is tried again, is in
:mod:`imip_secrets.runner.id_token_endpoint`.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.identity import CLOCK_SECONDS, IdToken, claims_of
from imip_secrets.secret import Secret
from imip_secrets.settings import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from imip_secrets.deadline import Deadline
    from imip_secrets.identity import IdTokenSource

URL_VARIABLE = "ACTIONS_ID_TOKEN_REQUEST_URL"
TOKEN_VARIABLE = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105  # the name of a variable
PERMISSION = "`permissions: {id-token: write, contents: read}`"
EVENT_LIMIT = 32 * 1024 * 1024

_PULL_REQUESTS = ("pull_request", "pull_request_review", "pull_request_review_comment")
# A token of another repository or run is no proof of who this job is, however genuine it may be.
_OF_THIS_JOB = (("repository", "GITHUB_REPOSITORY"), ("run_id", "GITHUB_RUN_ID"))
_CHANGED = f"Look for a step of the job that sets {URL_VARIABLE}: only the runner may."


def source(
    environ: Mapping[str, str],
    deadline: Deadline,
    protect: Callable[[Secret], None],
    notice: Callable[[str], None],
) -> IdTokenSource:
    """Return the function that gets a fresh ID token; it may be called from several threads at once.

    Nothing is read or contacted before that function is called: a request
    that needs no token needs no permission either.

    Args:
        environ: The job's environment.
        deadline: The end of the run; no wait passes it.
        protect: Masks a token; called with each before anybody else has it.
        notice: Shows one line, when a retry makes the reader wait.

    The function raises ``ImipError`` with one problem, and ``ValueError`` for
    an empty audience: GitHub would take that for one that others accept.

    """

    def id_token(audience: str) -> IdToken:
        if not audience:
            msg = "an ID token needs an audience"
            raise ValueError(msg)
        url, bearer = _endpoint(environ)
        # urllib takes longer to import than all of ours; only those who need a token pay for it.
        from imip_secrets.runner.id_token_endpoint import Endpoint  # noqa: PLC0415

        secret = Endpoint(url, bearer, environ).ask(audience, deadline, notice)
        protect(secret)
        claims = _claims(secret)
        _check(claims, audience, environ)
        return IdToken(secret, claims)

    return id_token


def _problem(what: str, remedy: str) -> Problem:
    return Problem(what, "ID token", remedy)


def _endpoint(environ: Mapping[str, str]) -> tuple[str, Secret]:
    """Read the runner's two variables; refuse an address that is not GitHub's."""
    url, bearer = environ.get(URL_VARIABLE, ""), environ.get(TOKEN_VARIABLE, "")
    if not url or not bearer:
        raise ImipError(_no_permission(environ))
    if not all("!" <= char <= "~" for char in url + bearer):
        raise ImipError(_problem(f"{URL_VARIABLE} or {TOKEN_VARIABLE} holds what no request can", _CHANGED))
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ImipError(_problem(f"{URL_VARIABLE} is no address", _CHANGED)) from None
    if not _is_githubs(parts, environ):
        place = tame(f"{parts.scheme}://{parts.hostname or ''}", 100)
        raise ImipError(_problem(f"{URL_VARIABLE} leads to {place}, which is not this job's GitHub", _CHANGED))
    return url, Secret(bearer)


def _is_githubs(parts: SplitResult, environ: Mapping[str, str]) -> bool:
    """Tell whether an address may see the request token.

    Runners of github.com use ``*.actions.githubusercontent.com``. GitHub
    Enterprise Server uses its own host, and data residency a host below
    ``SUBDOMAIN.ghe.com``: both stand in GITHUB_SERVER_URL, which the runner sets
    anew for each step. Loopback is a test or a local runner.
    """
    if parts.username is not None or parts.password is not None:
        return False
    host = parts.hostname or ""
    if host in LOOPBACK:
        return parts.scheme in {"http", "https"}
    homes = ["actions.githubusercontent.com", _host(environ.get("GITHUB_SERVER_URL", ""))]
    return parts.scheme == "https" and any(home and f".{host}".endswith(f".{home}") for home in homes)


def _host(url: str) -> str:
    """Return the host of an address, or "" where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _claims(token: Secret) -> Mapping[str, object]:
    claims = claims_of(token)
    if claims is None:
        raise ImipError(_problem("the endpoint gave a token whose claims cannot be read", _CHANGED))
    return claims


def _check(claims: Mapping[str, object], audience: str, environ: Mapping[str, str]) -> None:
    """Refuse a token that was not made now, for this job and for this audience."""
    aud = claims.get("aud")
    if audience not in (aud if isinstance(aud, list) else [aud]):
        what = f"the token is for the audience {tame(aud, 120)}, asked for was {tame(audience, 120)}"
        raise ImipError(_problem(what, _CHANGED))
    for claim, variable in _OF_THIS_JOB:
        theirs, ours = claims.get(claim), environ.get(variable)
        if theirs is not None and ours and str(theirs).lower() != ours.lower():
            what = f"the token belongs to another job: its {claim} is {tame(theirs, 120)}, ours is {tame(ours, 120)}"
            raise ImipError(_problem(what, _CHANGED))
    end = claims.get("exp")
    if isinstance(end, (int, float)) and end + CLOCK_SECONDS < time.time():
        remedy = "Set the runner's clock, which is ahead, or look for a proxy that keeps answers."
        raise ImipError(_problem("the token was already over when it came, by the clock of this runner", remedy))


def _no_permission(environ: Mapping[str, str]) -> Problem:
    """Say why the runner's variables are missing; for sure where the event tells."""
    if _is_for_a_fork(environ):
        return _problem(
            "a job for a pull request from a fork has no permission to ask for an ID token",
            "GitHub gives it none, whatever `permissions` says. Read secrets after the merge, and leave this step out "
            "before with `if: github.event.pull_request.head.repo.full_name == github.repository`.",
        )
    return _problem(
        "the job has no permission to ask for an ID token",
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
            return json.loads(file.read(EVENT_LIMIT))
    except (OSError, ValueError, RecursionError):
        return None


def _at(value: object, *keys: str) -> object:
    """Follow keys into nested objects; None where one is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
