"""The job's ID token: where it may be asked for, and that the one we got is ours.

Whether there is one at all is in :mod:`imip_secrets.runner.id_token_permission`; what is asked, and
what is tried again, in :mod:`imip_secrets.runner.id_token_endpoint`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.identity import CLOCK_SECONDS, IdToken, claims_of
from imip_secrets.runner.id_token_permission import TOKEN_VARIABLE, URL_VARIABLE, missing
from imip_secrets.secret import Secret
from imip_secrets.settings import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from imip_secrets.deadline import Deadline
    from imip_secrets.identity import IdTokenSource

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
        raise ImipError(missing(environ))
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
