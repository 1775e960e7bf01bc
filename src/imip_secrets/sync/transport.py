"""How PyGithub's requests travel: whole answers or none, within limits of time and size, and never elsewhere.

PyGithub's own connections follow a redirect with the token, read any body
whole, take their certificates from files that the environment names, and know
no deadline. Its ``Requester.requestJson`` takes another connection, which is
:class:`Connection`.
"""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import certifi
import urllib3
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame
from imip_secrets.settings import LOOPBACK
from imip_secrets.sync.broken import bad_proxy, broken, too_long, too_slow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imip_secrets.deadline import Deadline

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0  # GitHub ends a request after ten
# A page of a hundred repositories is some 700 KiB.
ANSWER_LIMIT = 16 * 1024 * 1024
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """An answer, read to its end.

    Args:
        status: The HTTP status.
        headers: The headers, by their names in lower case.
        body: The body.

    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def trust(ca_certificate: str) -> ssl.SSLContext:
    """Make the TLS settings: the system's authorities, and those given besides.

    Raises:
        StoreError: the certificate cannot be used.

    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not context.cert_store_stats()["x509_ca"]:
        # A Python or a container without the system's list: the one that requests brings along.
        context.load_verify_locations(certifi.where())
    if ca_certificate:
        try:
            context.load_verify_locations(cadata=ca_certificate)
        except (ssl.SSLError, ValueError, TypeError) as error:  # the last for text that is not ASCII
            reason = tame(getattr(error, "reason", None) or type(error).__name__, 120)
            what = f"the input ca-certificate holds no certificate that can be used ({reason})"
            raise StoreError(what, "Give certificates as PEM text.") from None
    return context


class Transport:
    """Exchanges with one server; for any number of threads.

    Args:
        api_url: The address of the API, https or http to loopback.
        ca_certificate: A PEM certificate to trust besides the system's, or "".
        connections: How many to keep open.

    """

    def __init__(self, api_url: str, ca_certificate: str, connections: int) -> None:
        """Prepare without network."""
        parts = urlsplit(api_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        tls = trust(ca_certificate) if parts.scheme == "https" else None
        self._pool = _pool(self._origin, parts.hostname or "", tls, connections)

    def exchange(self, method: str, target: str, headers: Mapping[str, str], body: str | None, end: Deadline) -> Reply:
        """Send a request once and read the answer; no redirect is followed.

        Raises:
            Fault: there was no answer, or not all of one.

        """
        if self._pool is None:
            raise bad_proxy()
        seconds = end.at_most(READ_SECONDS)
        last = time.monotonic() + seconds + CONNECT_SECONDS
        try:
            response = self._pool.request(
                method,
                f"{self._origin}{target}",
                body=body,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=end.at_most(CONNECT_SECONDS), read=seconds),
            )
            try:
                content = _read(response, last)
            except BaseException:
                response.close()
                raise
            return Reply(response.status, {name.lower(): text for name, text in response.headers.items()}, content)
        except (HTTPError, OSError, ValueError) as error:
            fault = broken(error, seconds)
        raise fault

    def close(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            self._pool.clear()


class Connection:
    """What PyGithub sends one request through; it keeps the answer and tells PyGithub no more than the status.

    (So neither a header that is no number nor a redirect makes PyGithub do anything of its own.)

    Args:
        transport: How to get there.
        end: The end of the run.

    """

    def __init__(self, transport: Transport, end: Deadline) -> None:
        """Send nothing yet."""
        self._transport = transport
        self._end = end
        self._message: tuple[str, str, Mapping[str, str], str | None] = ("", "", {}, None)
        self.reply = Reply(0, {}, b"")

    def request(
        self,
        verb: str,
        url: str,
        input: str | None,  # noqa: A002 - PyGithub's signature
        headers: Mapping[str, str],
        stream: object = None,  # noqa: ARG002 - likewise
    ) -> None:
        """Take the request."""
        self._message = (verb, url, headers, input)

    def getresponse(self) -> Connection:
        """Send it."""
        verb, url, headers, body = self._message
        accepted = {"Accept": "application/vnd.github+json", "Accept-Encoding": "gzip"}
        self.reply = self._transport.exchange(verb, url, {**accepted, **headers}, body, self._end)
        return self

    @property
    def status(self) -> int:
        """The status, made 200 where PyGithub would act on it: it follows a 301, and waits at a 202."""
        return self.reply.status if self.reply.status >= _REFUSED else 200

    def getheaders(self) -> list[tuple[str, str]]:
        """Tell PyGithub nothing."""
        return []

    def read(self) -> str:
        """Tell PyGithub nothing."""
        return ""


_REFUSED = 400


def _pool(origin: str, host: str, tls: ssl.SSLContext | None, connections: int) -> urllib3.PoolManager | None:
    """Make the pool: through a proxy where the environment says so, or None where it says nonsense."""
    proxies = {} if host in LOOPBACK else get_environ_proxies(origin)
    proxy = proxies.get(urlsplit(origin).scheme) or proxies.get("all")
    if not proxy:
        return urllib3.PoolManager(maxsize=connections, block=False, ssl_context=tls)
    with suppress(HTTPError, ValueError):
        url = proxy if "://" in proxy else f"http://{proxy}"
        if not urlsplit(url).hostname:
            return None
        return urllib3.ProxyManager(url, maxsize=connections, ssl_context=tls, proxy_headers=_proxy_headers(url))
    return None


def _proxy_headers(proxy: str) -> dict[str, str] | None:
    """Give the header with the user and password that the address of a proxy holds."""
    parts = urlsplit(proxy)
    if not parts.username:
        return None
    return urllib3.make_headers(proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}")


def _read(response: urllib3.BaseHTTPResponse, last: float) -> bytes:
    """Read a body as it comes, up to a limit of bytes and a point in time."""
    pieces, size = [], 0
    while piece := response.read1(_CHUNK, decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if size > ANSWER_LIMIT:
            raise too_long(ANSWER_LIMIT)
        if time.monotonic() >= last:
            raise too_slow()
    return b"".join(pieces)
