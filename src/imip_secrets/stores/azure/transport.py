"""How the requests of Microsoft's SDK travel: one pool of connections, whole answers or none.

azure-core sends through requests, as ever; here that is given one set of
authorities, the deadline, a limit on answers, and the proxy of the environment
for everything but loopback.
"""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from imip_secrets.deadline import Deadline
from imip_secrets.settings import LOOPBACK
from imip_secrets.stores.azure.faults import (
    CONNECT_SECONDS,
    READ_SECONDS,
    Fault,
    fault_of,
    garbled,
    too_long,
    too_slow,
)
from imip_secrets.stores.azure.patience import MAX_RETRY_AFTER

if TYPE_CHECKING:
    import ssl

# A secret has at most 25 KB, a page of a listing 25 descriptions.
ANSWER_LIMIT = 8 * 1024 * 1024
# As many as threads that read at once; each further one would connect anew for each request.
CONNECTIONS = 32

_CHUNK = 64 * 1024
_OK = 200


class Transport(RequestsTransport):  # type: ignore[misc] # azure-core gives its class out without a type
    """Sends for every pipeline of the run; safe for many threads.

    Args:
        tls: Whom to trust.
        deadline: The end of the run.

    """

    def __init__(self, tls: ssl.SSLContext, deadline: Deadline) -> None:
        """Prepare without network."""
        self._own = requests.Session()
        self._own.trust_env = False
        # A compressed answer could be small on the way and without limit here.
        self._own.headers["Accept-Encoding"] = "identity"
        self._own.mount("https://", _Adapter(tls, deadline))
        self._own.mount("http://", _Adapter(None, deadline))
        self._deadline = deadline
        super().__init__(session=self._own, session_owner=False)

    def send(self, request: Any, **options: Any) -> Any:  # noqa: ANN401 - azure-core has two kinds of each
        """Send one request, once.

        Raises:
            Fault: there was no whole answer.

        """
        limits = {
            "connection_timeout": self._deadline.at_most(options.pop("connection_timeout", CONNECT_SECONDS)),
            "read_timeout": self._deadline.at_most(options.pop("read_timeout", READ_SECONDS)),
        }
        try:
            return super().send(request, **{**options, **limits, "proxies": _proxies(request.url)})
        except Fault:
            raise
        except AzureError as error:
            fault = fault_of(error, request.url)
        raise fault

    def sleep(self, duration: float) -> None:
        """Wait as one of the SDK's own policies asks: those of managed identities cannot be replaced."""
        self._deadline.sleep(min(duration, MAX_RETRY_AFTER))

    def end(self) -> None:
        """Close every connection."""
        self._own.close()


class _Adapter(HTTPAdapter):
    """Connects with one TLS context, whatever else is asked for, and reads answers to their end.

    Args:
        tls: Whom to trust; None where only plain http is spoken (managed identities have theirs on such addresses).
        deadline: The end of the run.

    """

    def __init__(self, tls: ssl.SSLContext | None, deadline: Deadline) -> None:
        self._tls = tls
        self._deadline = deadline
        super().__init__(pool_maxsize=CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - requests' signature
        super().init_poolmanager(*args, **kwargs, ssl_context=self._tls)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401 - requests' signature
        return super().proxy_manager_for(proxy, **kwargs, ssl_context=self._tls)

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        verify: object,  # noqa: ARG002 - requests' signature
        cert: object = None,  # noqa: ARG002 - requests' signature
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return super().build_connection_pool_key_attributes(request, True, None)  # noqa: FBT003 - requests' signature

    def cert_verify(self, conn: Any, url: str, verify: object, cert: object) -> None:  # noqa: ANN401
        """Leave the connection to the context; requests would trust certifi's list besides."""

    def build_response(self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse) -> requests.Response:
        """Make the response of a body that is there already.

        Raises:
            Fault: it is not whole, too long or too slow, or a success without JSON.

        """
        url = str(req.url)
        try:
            body = _read(resp, url, Deadline(self._deadline.at_most(READ_SECONDS)))
        except BaseException:
            resp.close()
            raise
        if resp.status == _OK and not _is_object(body):
            raise garbled(url)
        headers = resp.headers.copy()
        headers.discard("Content-Encoding")
        whole = urllib3.HTTPResponse(
            BytesIO(body), headers, resp.status, resp.version, reason=resp.reason, preload_content=False
        )
        return super().build_response(req, whole)


def _read(response: urllib3.BaseHTTPResponse, url: str, limit: Deadline) -> bytes:
    """Read the body as it comes in: at most so much, within the limit of time, and all of it."""
    body = bytearray()
    try:
        # Not read(): it would wait for a full buffer, and a body that trickles in would outlast the limit.
        while chunk := response.read1(_CHUNK, decode_content=False):
            body += chunk
            if len(body) > ANSWER_LIMIT:
                raise too_long(url, ANSWER_LIMIT)
            if limit.over():
                raise too_slow(url)
    except (HTTPError, OSError) as error:
        fault = fault_of(error, url)
    else:
        return bytes(body)
    raise fault


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False


def _proxies(url: str) -> dict[str, str]:
    """Return HTTPS_PROXY unless NO_PROXY excepts the address; loopback and plain http are never proxied."""
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname in LOOPBACK:
        return {}
    proxy = get_environ_proxies(url).get("https")
    return {"https": proxy} if proxy else {}
