"""How botocore's requests travel: one pool, certificates read once, whole answers or none.

botocore would read its file of certificates anew for every connection (some 30 ms each), takes an answer that was cut
short for a whole one, reads without a limit, and knows no deadline. So its requests are sent here, by the event
``before-send``, which lets a handler give the answer (``botocore/endpoint.py``, ``_do_get_response``).
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import urllib3
from botocore.awsrequest import AWSResponse
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from urllib3.exceptions import HTTPError, LocationValueError, ProxyError, ReadTimeoutError

from imip_secrets.causes import causes_of, said_by
from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame
from imip_secrets.settings import LOOPBACK
from imip_secrets.stores.aws.failure import PERSISTENT, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.awsrequest import AWSPreparedRequest

    from imip_secrets.deadline import Deadline

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
# As many as threads that read at once; each further one would connect anew for each request.
CONNECTIONS = 32
# A secret has at most 64 KiB; a hundred descriptions of secrets, with all their tags, less than two MiB.
ANSWER_LIMIT = 8 * 1024 * 1024

_CHUNK = 64 * 1024
_SETTING = "the input aws-endpoint-url"
_SERVER_ERRORS = range(500, 600)
_NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_REACHABLE = "Check that this machine may reach it: firewall, VPC endpoint, HTTPS_PROXY."
_NO_PROXY = "Check HTTPS_PROXY and what the proxy allows, or except the host by NO_PROXY."


def trust(ca_certificate: str, ca_bundle: str | None) -> ssl.SSLContext:
    """Make the TLS settings: the system's authorities, and those given besides.

    Args:
        ca_certificate: PEM text, or "".
        ca_bundle: A file, or None.

    Raises:
        StoreError: one of them cannot be used.

    """
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        # A Python or a container without the system's list: the one that comes with botocore.
        context.load_verify_locations(get_cert_path(verify=True))
    try:
        if ca_certificate:
            context.load_verify_locations(cadata=ca_certificate)
        if ca_bundle:
            context.load_verify_locations(ca_bundle)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = tame(getattr(error, "strerror", None) or type(error).__name__, 120)
    else:
        return context
    name = f"the file {tame(ca_bundle, 120)} (AWS_CA_BUNDLE)" if ca_bundle else "the input ca-certificate"
    what = f"{name} holds no certificate that can be used ({reason})"
    raise StoreError(what, "Give certificates as PEM text.")


class Transport:
    """Sends what botocore signed; safe for many threads.

    Args:
        tls: Whom to trust, or None where only plain http to loopback is spoken.
        deadline: The end of the run.

    """

    def __init__(self, tls: ssl.SSLContext | None, deadline: Deadline) -> None:
        """Prepare without network."""
        self._tls = tls
        self._deadline = deadline
        self._direct = urllib3.PoolManager(maxsize=CONNECTIONS, ssl_context=tls)
        self._proxied: dict[str, urllib3.ProxyManager] = {}

    def send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Answer the event ``before-send``: one try.

        Raises:
            Failure: no answer, or none that is AWS's.

        """
        host, seconds = urlsplit(request.url).netloc, self._deadline.at_most(READ_SECONDS)
        try:
            return self._send(request, seconds)
        except LocationValueError:
            failure = Failure(
                f"{tame(request.url, 120)} is no address to ask at", f"Write {_SETTING} like https://HOST."
            )
        except (HTTPError, OSError) as error:
            failure = _broken(error, host, seconds)
        except _NotWholeError as error:
            failure = Failure(f"{host} {error}", f"Check what answers there: a proxy, or {_SETTING}.", tries=2)
        raise failure

    def _send(self, request: AWSPreparedRequest, seconds: float) -> AWSResponse:
        end = time.monotonic() + seconds + CONNECT_SECONDS
        response = self._manager(request.url).urlopen(
            request.method,
            request.url,
            body=request.body,
            headers=request.headers,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=self._deadline.at_most(CONNECT_SECONDS), read=seconds),
        )
        try:
            body = _read(response, end)
        except BaseException:
            response.close()
            raise
        if response.status not in _SERVER_ERRORS and _is_page(body):
            msg = "answered with a web page instead of AWS's data"
            raise _NotWholeError(msg)
        return AWSResponse(request.url, response.status, response.headers, _Body(body))

    def _manager(self, url: str) -> urllib3.PoolManager:
        """Return the pool to use for an address: through a proxy where the environment says so."""
        proxy = None if urlsplit(url).hostname in LOOPBACK else get_environ_proxies(url).get(urlsplit(url).scheme)
        if not proxy:
            return self._direct
        if proxy not in self._proxied:
            self._proxied[proxy] = self._through(proxy if "://" in proxy else f"http://{proxy}")
        return self._proxied[proxy]

    def _through(self, proxy: str) -> urllib3.ProxyManager:
        """Make the pool for a proxy; its address may hold a password, so that no error shows it."""
        with suppress(HTTPError, ValueError):
            headers = _proxy_headers(proxy)
            return urllib3.ProxyManager(proxy, maxsize=CONNECTIONS, ssl_context=self._tls, proxy_headers=headers)
        what = "HTTPS_PROXY holds no address of a proxy"
        raise Failure(what, "Write it like http://proxy.example.com:3128.")

    def close(self) -> None:
        """Close every connection."""
        for manager in (self._direct, *self._proxied.values()):
            manager.clear()


class _NotWholeError(Exception):
    """An answer that is not AWS's."""


class _Body(BytesIO):
    """A body that is there already, in the form that botocore reads."""

    def stream(self) -> Iterator[bytes]:
        yield self.getvalue()


def _read(response: urllib3.BaseHTTPResponse, end: float) -> bytes:
    """Read a body as it comes, up to a limit of bytes and a point in time."""
    pieces, size = [], 0
    while piece := response.read1(_CHUNK):
        pieces.append(piece)
        size += len(piece)
        if size > ANSWER_LIMIT:
            msg = f"gave an answer of more than {ANSWER_LIMIT >> 20} MiB"
            raise _NotWholeError(msg)
        if time.monotonic() >= end:
            raise TimeoutError
    return b"".join(pieces)


def _is_page(body: bytes) -> bool:
    """Tell whether a body is HTML, as captive portals and proxies send."""
    return body[:256].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _proxy_headers(proxy: str) -> dict[str, str] | None:
    """Give the header with the user and password that the address of a proxy holds."""
    parts = urlsplit(proxy)
    if not parts.username:
        return None
    return urllib3.make_headers(proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}")


def _broken(error: Exception, host: str, seconds: float) -> Failure:
    """Say why there was no answer; of an error of urllib3 only what the system or OpenSSL said is shown."""
    causes = list(causes_of(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(cause, host)
        # Of a proxy, it is the proxy's name that is looked up.
        if isinstance(cause, socket.gaierror) and not isinstance(error, ProxyError):
            return _unknown(cause, host)
    if isinstance(error, ProxyError):
        unknown = any(isinstance(cause, socket.gaierror) and cause.errno in _NO_SUCH_HOST for cause in causes)
        refused = unknown or any("Tunnel connection failed: 4" in str(cause) for cause in causes)
        what = f"the proxy of HTTPS_PROXY did not connect to {host} ({said_by(causes)})"
        return Failure(what, _NO_PROXY, tries=1 if refused else PERSISTENT)
    if any(isinstance(cause, (ReadTimeoutError, TimeoutError)) for cause in causes):
        return Failure(f"{host} did not answer within {max(1, seconds):.0f} s", _REACHABLE, tries=PERSISTENT)
    tls = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    if tls and not isinstance(tls, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        reason = tame((tls.reason or type(tls).__name__).replace("_", " ").lower(), 120)
        remedy = f"Check what answers there: TLS 1.2 or newer is needed, from AWS or {_SETTING}."
        return Failure(f"{host} does not speak TLS as it should ({reason})", remedy)
    return Failure(f"the connection to {host} failed ({said_by(causes)})", _REACHABLE, tries=PERSISTENT)


def _untrusted(error: ssl.SSLCertVerificationError, host: str) -> Failure:
    remedy = (
        "Give the PEM certificate of the authority that signed it as the input ca-certificate; if it has expired or "
        "is for another host, correct the server."
    )
    return Failure(f"the certificate of {host} cannot be verified ({tame(error.verify_message, 120)})", remedy)


def _unknown(error: socket.gaierror, host: str) -> Failure:
    if error.errno in _NO_SUCH_HOST:
        remedy = f"Check the region (or {_SETTING}), the DNS of this machine, and HTTPS_PROXY if its network has one."
        return Failure(f"the host {host} is not known", remedy)
    return Failure(f"the name {host} could not be looked up", "Check the DNS of this machine.", tries=PERSISTENT)
