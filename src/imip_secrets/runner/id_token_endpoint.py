"""How the runner's ID-token endpoint is asked, and what is tried again.

A GET with the audience in the query and the request token as bearer answers
``{"value": "<jwt>"}`` (actions/toolkit ``packages/core/src/oidc-utils.ts``).
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from base64 import b64encode
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection, InvalidURL
from random import SystemRandom
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, unquote, urlsplit

from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.identity import is_jwt
from imip_secrets.runner.id_token_permission import PERMISSION, URL_VARIABLE
from imip_secrets.secret import Secret
from imip_secrets.settings import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from http.client import HTTPResponse

    from imip_secrets.deadline import Deadline

TRIES = 5
TRY_SECONDS = 10.0
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 20.0
# After this long, who reads the log wonders what is going on.
SILENCE_SECONDS = 2.0
# GitHub's tokens have some 2 KiB.
ANSWER_LIMIT = 64 * 1024

_PROXY_PORTS = {"http": 80, "https": 443}
_OK = 200
_FORBIDDEN = (401, 403)
_BUSY = (408, 429)
_REDIRECTS = range(300, 400)
_SERVER_ERRORS = range(500, 600)
_UNWELL = "GitHub or the network on the way is unwell: see https://www.githubstatus.com and run the job again."
_NOT_GITHUB = f"Something that is not GitHub answers: check HTTPS_PROXY and what sets {URL_VARIABLE}."


class _FailedTry(Exception):  # noqa: N818  # one try failed; the error is made of the last
    """One try failed.

    Args:
        what: What failed.
        remedy: What to do if it is the last try.
        again: Whether another try may help: never, once, or each time.
        wait: How many seconds the server asks to wait at least.

    """

    def __init__(
        self, what: str, remedy: str = _UNWELL, *, again: Literal["no", "once", "yes"] = "yes", wait: float = 0.0
    ) -> None:
        super().__init__(what)
        self.what, self.remedy, self.again, self.wait = what, remedy, again, wait


class Endpoint:
    """Where ID tokens are to be had.

    Args:
        url: The checked address, which ends in a query.
        bearer: The request token.
        environ: Holds HTTPS_PROXY and NO_PROXY.

    """

    def __init__(self, url: str, bearer: Secret, environ: Mapping[str, str]) -> None:
        """Prepare without a look at the network."""
        self._bearer = bearer
        self._parts = urlsplit(url)
        self._target = f"{self._parts.path or '/'}?{self._parts.query}"
        self._proxy = _proxy(url, environ)
        # This reads the system's certificates, which plain loopback need not wait for.
        self._tls = ssl.create_default_context() if self._parts.scheme == "https" else None

    def ask(self, audience: str, deadline: Deadline, notice: Callable[[str], None]) -> Secret:
        """Return a token; try again, within the deadline, what may pass.

        Raises:
            ImipError: the last failure, with its remedy.

        """
        garbled, number = False, 1
        while True:
            started = time.monotonic()
            try:
                return self._try(audience, deadline)
            except _FailedTry as failed:
                last = failed
            if number == TRIES or last.again == "no" or (last.again == "once" and garbled):
                raise _given_up(last.what, last.remedy, number)
            garbled |= last.again == "once"
            # Full jitter: fifty jobs that failed together must not come back together.
            wait = max(last.wait, SystemRandom().uniform(0, FIRST_WAIT_SECONDS * 2 ** (number - 1)))
            if time.monotonic() - started + wait >= SILENCE_SECONDS:
                notice(f"ID token: {last.what}; try {number + 1} of {TRIES} follows in {wait:.0f} s")
            if not deadline.sleep(wait):
                no_time = f"The {deadline.seconds:g} s of the run (timeout-seconds) left no time for another try."
                raise _given_up(last.what, f"{last.remedy} {no_time}", number)
            number += 1

    def _try(self, audience: str, deadline: Deadline) -> Secret:
        """Ask once; raise ``_FailedTry``."""
        limit = deadline.at_most(TRY_SECONDS)
        end = time.monotonic() + limit
        headers = {"Authorization": f"bearer {self._bearer.reveal()}", "Accept": "application/json"}
        try:
            with closing(self._connection(limit)) as connection:
                # No redirect is followed: it would carry the request token elsewhere.
                connection.request("GET", f"{self._target}&audience={quote(audience, safe='')}", headers=headers)
                with connection.getresponse() as response:
                    status, retry_after = response.status, response.headers.get("Retry-After", "")
                    body = _read(response, end) if status == _OK else b""
        except (OSError, HTTPException, ValueError) as error:
            raise _unreachable(error, limit) from None
        if status != _OK:
            raise _refused(status, retry_after)
        return _token(body)

    def _connection(self, limit: float) -> HTTPConnection:
        """Prepare a connection, through the proxy where there is one; it is made by the first request."""
        host, port = self._parts.hostname or "", self._parts.port
        if self._tls is None:
            return HTTPConnection(host, port, timeout=limit)
        if self._proxy is None:
            return HTTPSConnection(host, port, timeout=limit, context=self._tls)
        proxy = urlsplit(self._proxy if "://" in self._proxy else f"http://{self._proxy}")
        if proxy.scheme not in _PROXY_PORTS or not proxy.hostname or proxy.path not in {"", "/"}:
            raise InvalidURL
        port_there = proxy.port or _PROXY_PORTS[proxy.scheme]
        connection = HTTPSConnection(proxy.hostname, port_there, timeout=limit, context=self._tls)
        connection.set_tunnel(host, port, _credentials(proxy.username, proxy.password))
        return connection


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    """Return the header for a proxy that wants to know who asks."""
    if user is None:
        return {}
    text = f"{unquote(user)}:{unquote(password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(text.encode()).decode()}"}


def _given_up(what: str, remedy: str, tries: int) -> ImipError:
    counted = f" ({tries} tries)" if tries > 1 else ""
    return ImipError(Problem(f"{what}{counted}", "ID token", remedy))


def _proxy(url: str, environ: Mapping[str, str]) -> str | None:
    """Return the proxy on the way to an address, or None; the lower-case names win, as everywhere."""
    proxy = environ.get("https_proxy") or environ.get("HTTPS_PROXY")
    excepted = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    parts = urlsplit(url)
    if not proxy or parts.hostname in LOOPBACK:
        return None
    import urllib.request  # noqa: PLC0415 - few have a proxy

    bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed leaves it out
    return None if bypass(parts.netloc, {"no": excepted}) else proxy


def _read(response: HTTPResponse, end: float) -> bytes:
    """Read a body as it comes, up to a limit of bytes and a point in time."""
    body = b""
    while len(body) <= ANSWER_LIMIT and (there := response.peek()):
        body += response.read(len(there))
        if time.monotonic() >= end:
            raise TimeoutError
    return body


def _unreachable(error: OSError | HTTPException | ValueError, limit: float) -> _FailedTry:
    """Say why there was no answer."""
    if isinstance(error, TimeoutError):
        return _FailedTry(f"the endpoint did not answer within {max(1, limit):.0f} s")
    if isinstance(error, ssl.SSLCertVerificationError):
        return _FailedTry(
            f"the endpoint's certificate cannot be verified ({tame(error.verify_message, 120)})",
            "Add the authority that signed it to the certificates of the runner's system.",
            again="no",
        )
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
        remedy = "Check the DNS of the runner, and HTTPS_PROXY if its network has a proxy."
        return _FailedTry("the endpoint's host is not known", remedy, again="no")
    # The endpoint's own address was checked, so it is the proxy's. The text would show the password in it.
    if isinstance(error, (InvalidURL, ValueError)) and not isinstance(error, OSError):
        remedy = "Write it like http://proxy.example.com:3128."
        return _FailedTry("HTTPS_PROXY holds no address of a proxy", remedy, again="no")
    # Of an answer that is no HTTP the text is the server's; the name of the error is enough.
    detail = tame(error, 120) if isinstance(error, OSError) else type(error).__name__
    return _FailedTry(f"the connection to the endpoint failed ({detail})")


def _refused(status: int, retry_after: str) -> _FailedTry:
    """Say what a status other than 200 means. The body is left out: it may repeat the request token."""
    what = f"the endpoint answered HTTP {status}"
    if status in _FORBIDDEN:
        remedy = f"Check that the job has {PERMISSION} and that its run goes on, then run it again."
        return _FailedTry(what, remedy, again="no")
    if status in _REDIRECTS:
        return _FailedTry(f"{what}, a redirect, which is never followed", _NOT_GITHUB, again="no")
    if status in _BUSY or status in _SERVER_ERRORS:
        asked = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
        return _FailedTry(what, wait=min(asked, LONGEST_WAIT_SECONDS))
    return _FailedTry(what, "Check the audience that this store is given.", again="no")


def _token(body: bytes) -> Secret:
    """Take the token out of an answer."""
    if len(body) > ANSWER_LIMIT:
        what = f"the endpoint gave an answer of more than {ANSWER_LIMIT} bytes"
        raise _FailedTry(what, _NOT_GITHUB, again="no")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    value = answer.get("value") if isinstance(answer, dict) else None
    if not isinstance(value, str) or not is_jwt(value):
        what = "the endpoint gave an answer without a token"
        raise _FailedTry(what, _NOT_GITHUB, again="once")
    return Secret(value)
