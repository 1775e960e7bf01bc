"""One request to Vault: sent, repeated where that is safe, and read with a limit.

hvac makes the addresses and headers; it has no retries, follows redirects with
the token, waits for each byte anew and takes any body. All of that is done
here, in an hvac adapter, so that whatever hvac calls gets it.
"""

from __future__ import annotations

import random
import threading
import time
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import requests
from hvac.adapters import RawAdapter
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from imip_secrets import document
from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame
from imip_secrets.settings import LOOPBACK
from imip_secrets.stores.vault_answer import Answer
from imip_secrets.stores.vault_faults import (
    CONNECT_SECONDS,
    READ_SECONDS,
    Fault,
    fault_of,
    garbled,
    redirected,
    too_long,
    too_slow,
    unusable,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from imip_secrets.deadline import Deadline

MAX_BODY = 8 * 1024 * 1024
TRIES = 6  # the waits between them are 8 s on average and 16 s at most
MAX_RETRY_AFTER = 20.0
_BACKOFF, _MAX_BACKOFF = 0.5, 8.0
_SAY_AGAIN = 5.0
_POOL = 32

# HTTP API, "HTTP status codes": 412 is a read before a write has arrived, 472 and 473 are standbys.
TRANSIENT = frozenset({412, 429, 472, 473, 500, 502, 503, 504})
# Of these, the ones by which Vault says that it has not begun.
NOT_BEGUN = frozenset({412, 429, 472, 473})
_HOPS = frozenset({307, 308})
_CHUNK = 64 * 1024
_NO_CONTENT, _REFUSED = 204, 400


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one try came to: an answer or a fault, and how many tries it is worth in all."""

    result: Answer | Fault
    tries: int

    @property
    def retry_after(self) -> float:
        return min(self.result.retry_after, MAX_RETRY_AFTER) if isinstance(self.result, Answer) else 0.0

    @property
    def reason(self) -> str:
        return f"it answers {self.result.status}" if isinstance(self.result, Answer) else self.result.what


class Patience:
    """The deadline of the run, and the one line now and then that says what is being waited for."""

    def __init__(self, deadline: Deadline, notice: Callable[[str], None]) -> None:
        """Start: the first line comes no earlier than after some seconds of trouble."""
        self.deadline = deadline
        self._notice = notice
        self._said = time.monotonic()
        self._lock = threading.Lock()

    def wait(self, attempt: int, least: float, line: str) -> bool:
        """Wait before the next try, with full jitter; return False, at once, when there is no time for it."""
        with self._lock:
            due = time.monotonic() - self._said >= _SAY_AGAIN
            if due:
                self._said = time.monotonic()
        if due:
            self._notice(line)
        backoff = random.uniform(0, min(_MAX_BACKOFF, _BACKOFF * 2**attempt))  # noqa: S311 - jitter
        return self.deadline.sleep(max(least, backoff))


class Transport(RawAdapter):  # type: ignore[misc] # hvac ships no types
    """An hvac adapter whose every request gives an :class:`Answer`, whatever its status.

    Safe for many threads: nothing is changed after ``token`` is set.
    """

    @classmethod
    def to(cls, address: str, tls: ssl.SSLContext | None, patience: Patience) -> Transport:
        """Make the adapter for an address; ``tls`` is None for plain http to loopback."""
        session = _Session()
        session.trust_env = False
        session.mount("https://", _Verified(tls))
        session.mount("http://", HTTPAdapter(pool_maxsize=_POOL))
        made = cls(base_uri=address, token="", session=session, allow_redirects=False)
        made.patience = patience
        return made

    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        raise_exception: bool = True,  # noqa: ARG002, FBT001, FBT002 - hvac's signature
        *,
        once: bool = False,
        **kwargs: Any,  # noqa: ANN401 - hvac's signature
    ) -> Answer:
        """Send a request until there is an answer that another try would not better.

        Args:
            method: The HTTP method, ``list`` too.
            url: The path, from ``/v1`` on.
            headers: More headers.
            raise_exception: Of no meaning here: an answer is given whatever its status.
            once: The request makes something new each time, so it is not sent
                again once Vault may have begun with it.
            kwargs: ``json`` or ``params``, for requests.

        Raises:
            StoreError: there was no answer, or none of Vault's.

        """
        attempt = 1
        while True:
            outcome = self._try(method, url, headers or {}, kwargs, once=once)
            if attempt >= outcome.tries:
                break
            line = f"waiting for Vault at {self.base_uri}: {outcome.reason}; trying again"
            if not self.patience.wait(attempt, outcome.retry_after, line):
                break
            attempt += 1
        if isinstance(outcome.result, Answer):
            return outcome.result
        raise self._failed(outcome.result, attempt, once=once)

    def _try(self, method: str, url: str, headers: dict[str, str], kwargs: dict[str, Any], *, once: bool) -> _Outcome:
        try:
            answer = self._exchange(method, url, headers, kwargs)
        except Fault as fault:
            final = once and fault.begun
            return _Outcome(fault, 1 if final else fault.tries or TRIES)
        again = answer.status in (NOT_BEGUN if once else TRANSIENT)
        return _Outcome(answer, TRIES if again else 1)

    def _exchange(self, method: str, url: str, headers: dict[str, str], kwargs: dict[str, Any]) -> Answer:
        """Send one request, to the leader too where a standby says so, and read the answer."""
        response = self._send(method, url, headers, kwargs)
        if response.is_redirect or response.status_code in _HOPS:
            leader = self._leader(response)
            response.close()
            response = leader._send(method, url, headers, kwargs)  # noqa: SLF001 - it is a copy of this one
            if response.is_redirect:
                response.close()
                raise redirected(response.headers.get("Location", ""), "a second time")
        with response:
            return _read(response, self._body(response))

    def _send(self, method: str, url: str, headers: dict[str, str], kwargs: dict[str, Any]) -> requests.Response:
        limits = (self.patience.deadline.at_most(CONNECT_SECONDS), self.patience.deadline.at_most(READ_SECONDS))
        try:
            response: requests.Response = super().request(
                method,
                url,
                headers={**headers, "Accept-Encoding": "identity"},
                raise_exception=False,
                stream=True,
                timeout=limits,
                proxies=_proxies(self.base_uri),
                **kwargs,
            )
        except (requests.RequestException, HTTPError, OSError) as error:
            raise fault_of(error, self.base_uri) from None
        return response

    def _body(self, response: requests.Response) -> bytes:
        """Read the body as it comes in: so much at most, until the deadline; urllib3 sees that it is whole."""
        body = bytearray()
        try:
            # Not read(): it would wait for a full buffer, and a body that trickles in would outlast the deadline.
            while chunk := response.raw.read1(_CHUNK):
                body += chunk
                if len(body) > MAX_BODY:
                    raise too_long(MAX_BODY)
                if self.patience.deadline.over():
                    raise too_slow()
        except (requests.RequestException, HTTPError, OSError) as error:
            raise fault_of(error, self.base_uri) from None
        return bytes(body)

    def _leader(self, response: requests.Response) -> Transport:
        """Return the adapter for the address that a standby names: https, and the very same request.

        (Vault's HA page, "Client redirection"; its Go client goes one hop, and never from https to http.)
        """
        location = response.headers.get("Location", "")
        if response.status_code not in _HOPS or not _same_request(location, response.request.path_url):
            response.close()
            raise redirected(location)
        leader = copy(self)
        # hvac joins the base address, with its own path if there is one, and the path of the request.
        leader.base_uri = f"https://{urlsplit(location).netloc}{urlsplit(self.base_uri).path}"
        return leader

    def _failed(self, fault: Fault, attempts: int, *, once: bool) -> StoreError:
        deadline = self.patience.deadline
        tries = f" ({attempts} tries)" if attempts > 1 else ""
        late = f", and timeout-seconds ({deadline.seconds:g}) is over" if deadline.over() else ""
        single = " It was not asked again, since such a read may make new credentials." if once and fault.begun else ""
        return StoreError(f"Vault at {self.base_uri}: {fault.what}{tries}{late}", f"{fault.remedy}{single}")


class _Session(requests.Session):
    """Leaves redirects alone; requests reads the whole body of one, and its target, even when it is not to follow."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 - requests' signature
        return None


class _Verified(HTTPAdapter):
    """Connects with one TLS context, whatever else is asked for: no list of requests' own, and never unverified."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        super().__init__(pool_maxsize=_POOL)

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


def _same_request(location: str, asked: str) -> bool:
    """Tell whether a redirect only names another host, by https. Go may escape a path otherwise than requests."""
    try:
        new, old = urlsplit(location), urlsplit(asked)
    except ValueError:
        return False
    host = new.scheme == "https" and bool(new.hostname) and "@" not in new.netloc
    return host and unquote(new.path) == unquote(old.path) and new.query == old.query


def _proxies(address: str) -> dict[str, str]:
    """Return HTTPS_PROXY unless NO_PROXY excepts the address; loopback is never proxied."""
    parts = urlsplit(address)
    if parts.scheme != "https" or parts.hostname in LOOPBACK:
        return {}
    proxy = get_environ_proxies(address).get("https")
    return {"https": proxy} if proxy else {}


def _read(response: requests.Response, body: bytes) -> Answer:
    """Make an answer of a status and a body; a refusal may have any body, all else must have Vault's JSON."""
    status = response.status_code
    refused = status >= _REFUSED
    empty = not body and (refused or status == _NO_CONTENT)
    parsed: document.Json
    try:
        parsed = {} if empty else document.parse(body.decode())
    except (document.NotJsonError, UnicodeDecodeError):
        parsed = None
    except document.DocumentError as error:
        raise unusable(error) from None
    if not isinstance(parsed, dict):
        if not refused:
            raise garbled()
        parsed = {}
    later = response.headers.get("Retry-After", "")
    seconds = float(later) if later.isascii() and later.isdigit() and len(later) < len("100000") else 0.0
    return Answer(status, parsed, date=tame(response.headers.get("Date", ""), 40), retry_after=seconds)
