"""One request to Vault: sent, repeated where that is safe, and read as Vault's JSON.

hvac makes the paths and what is sent. Its own adapter has no retries, follows
redirects with the token, waits for each byte anew and takes any body; here is
another, so that whatever hvac calls gets it.
"""

from __future__ import annotations

import re
import threading
import time
from functools import partial
from json import dumps
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlencode, urlsplit

from imip_secrets import __version__, document
from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame
from imip_secrets.stores.vault.answer import Answer
from imip_secrets.stores.vault.connections import REDIRECTS, Connections, Limits, Message, Reply
from imip_secrets.stores.vault.faults import CONNECT_SECONDS, READ_SECONDS, Fault, garbled, redirected, unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imip_secrets.deadline import Deadline

TRIES = 6  # the waits between them are 8 s on average and 16 s at most
MAX_RETRY_AFTER = 20.0
_BACKOFF, _MAX_BACKOFF = 0.5, 8.0
_SAY_AGAIN = 5.0

# HTTP API, "HTTP status codes": 412 is a read before a write has arrived, 472 and 473 are standbys.
TRANSIENT = frozenset({412, 429, 472, 473, 500, 502, 503, 504})
# Of these, the ones by which Vault says that it has not begun.
NOT_BEGUN = frozenset({412, 429, 472, 473})
_HOPS = frozenset({307, 308})
_NO_CONTENT, _REFUSED, _DENIED = 204, 400, 403
# Tokens made moments ago: a performance standby may hear of them later than we do, and denies them until then.
FRESH_SECONDS = 2.0
_FRESH_WAIT = (0.3, 0.7)


class _Outcome(NamedTuple):
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
        import random  # noqa: PLC0415 - most runs wait for nothing

        backoff = random.uniform(0, min(_MAX_BACKOFF, _BACKOFF * 2**attempt))  # noqa: S311 - jitter
        return self.deadline.sleep(max(least, backoff))


class Fresh:
    """Whether a denial may mean that the token is not known yet where it was shown."""

    def __init__(self) -> None:
        """Start with the login."""
        self._until = time.monotonic() + FRESH_SECONDS

    def is_doubtful(self) -> bool:
        """Tell whether a denial is worth asking once more."""
        return time.monotonic() < self._until

    def settle(self) -> None:
        """Take denials for what they are from now on: one has stayed, so that the others of a run cost no wait."""
        self._until = 0.0


class Transport:
    """What hvac's methods send through (an ``hvac.adapters.Adapter`` by its methods): each gives an :class:`Answer`.

    Safe for many threads: nothing is changed after ``token`` and ``fresh`` are set.

    Args:
        address: The address of Vault, without a slash at the end; it may have a path.
        connections: How to get there.
        patience: How long to try.

    Attributes:
        transient: The statuses that another try may better.
        fresh: Set when the token is one that we have just made.

    """

    def __init__(self, address: str, connections: Connections, patience: Patience) -> None:
        """Send no token and no namespace yet."""
        self.address = address
        self.patience = patience
        self.token = ""
        self.namespace = ""
        self.transient = TRANSIENT
        self.fresh: Fresh | None = None
        self._connections = connections

    def get(self, url: str, params: Mapping[str, str] | None = None, *, once: bool = False) -> Answer:
        """Read a path; ``once`` says that each read makes something new."""
        query = f"?{urlencode(params)}" if params else ""
        return self._request("GET", url, query, once=True) if once else self._look("GET", url, query)

    def list(self, url: str) -> Answer:
        """List a path."""
        return self._look("LIST", url)

    def post(self, url: str, json: object = None) -> Answer:
        """Send an object, or nothing."""
        return self._request("POST", url, body=None if json is None else dumps(json).encode())

    def delete(self, url: str) -> Answer:
        """Delete what is at a path."""
        return self._request("DELETE", url)

    def send(self, url: str, body: bytes, *, once: bool = False) -> Answer:
        """Send JSON text as it stands; ``once`` as for :meth:`get`."""
        return self._request("POST", url, body=body, once=once)

    def login(self, url: str, use_token: bool, json: object) -> Answer:  # noqa: ARG002, FBT001 - hvac's signature
        """Log in; the token in the answer is not used."""
        return self.post(url, json)

    def close(self) -> None:
        """Close every connection."""
        self._connections.close()

    def _look(self, method: str, url: str, query: str = "") -> Answer:
        """Read what reading does not change; once more when a token that is new is denied."""
        answer = self._request(method, url, query)
        # What is asked of Vault itself has another way where it is denied (``mounts``), which costs no wait.
        of_vault = url.startswith("/v1/sys/")
        if answer.status != _DENIED or of_vault or self.fresh is None or not self.fresh.is_doubtful():
            return answer
        import random  # noqa: PLC0415 - most runs wait for nothing

        if not self.patience.deadline.sleep(random.uniform(*_FRESH_WAIT)):  # noqa: S311 - jitter
            return answer
        try:
            again = self._request(method, url, query)
        except StoreError:
            return answer
        if again.status == _DENIED:
            self.fresh.settle()
        return again

    def _request(
        self, method: str, url: str, query: str = "", body: bytes | None = None, *, once: bool = False
    ) -> Answer:
        """Send a request until there is an answer that another try would not better.

        Args:
            method: The HTTP method.
            url: The path, from ``/v1`` on.
            query: Empty, or what follows the path.
            body: The JSON text to send.
            once: The request makes something new each time, so it is not sent
                again once Vault may have begun with it.

        Raises:
            StoreError: there was no answer, or none of Vault's.

        """
        # As Vault's command line, which takes several slashes for one.
        path = re.sub("/{2,}", "/", urlsplit(self.address).path + url).rstrip("/")
        ask = partial(self._exchange, Message(method, path + query, self._headers(body), body))
        attempt = 1
        while True:
            outcome = _try(ask, NOT_BEGUN if once else self.transient, once=once)
            if attempt >= outcome.tries:
                break
            line = f"waiting for Vault at {self.address}: {outcome.reason}; trying again"
            if not self.patience.wait(attempt, outcome.retry_after, line):
                break
            attempt += 1
        if isinstance(outcome.result, Answer):
            return outcome.result
        raise self._failed(outcome.result, attempt, once=once)

    def _exchange(self, message: Message) -> Answer:
        """Send a request, to the leader too where a standby says so, and read the answer."""
        parts = urlsplit(self.address)
        reply = self._send(f"{parts.scheme}://{parts.netloc}", message)
        if reply.status in REDIRECTS:
            reply = self._send(_leader(reply, message.target), message)
            if reply.status in REDIRECTS:
                raise redirected(reply.headers.get("location", ""), "a second time")
        return _read(reply)

    def _send(self, address: str, message: Message) -> Reply:
        deadline = self.patience.deadline
        limits = Limits(deadline.at_most(CONNECT_SECONDS), deadline.at_most(READ_SECONDS), deadline.over)
        return self._connections.exchange(address, message, limits)

    def _headers(self, body: bytes | None) -> dict[str, str]:
        headers = {
            "Accept-Encoding": "identity",
            "User-Agent": f"imip-secrets/{__version__}",
            "X-Vault-Request": "true",
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.token:
            headers["X-Vault-Token"] = self.token
        if self.namespace:
            headers["X-Vault-Namespace"] = self.namespace
        return headers

    def _failed(self, fault: Fault, attempts: int, *, once: bool) -> StoreError:
        deadline = self.patience.deadline
        tries = f" ({attempts} tries)" if attempts > 1 else ""
        late = f", and timeout-seconds ({deadline.seconds:g}) is over" if deadline.over() else ""
        single = " It was not asked again, since each time may make new credentials." if once and fault.begun else ""
        return StoreError(f"Vault at {self.address}: {fault.what}{tries}{late}", f"{fault.remedy}{single}")


def _try(ask: Callable[[], Answer], transient: frozenset[int], *, once: bool) -> _Outcome:
    try:
        answer = ask()
    except Fault as fault:
        final = once and fault.begun
        return _Outcome(fault, 1 if final else fault.tries or TRIES)
    return _Outcome(answer, TRIES if answer.status in transient else 1)


def _leader(reply: Reply, target: str) -> str:
    """Return the address that a standby names: https, and the very same request.

    (Vault's HA page, "Client redirection"; its Go client goes one hop, and never from https to http.)
    """
    location = reply.headers.get("location", "")
    if reply.status not in _HOPS or not _same_request(location, target):
        raise redirected(location)
    return f"https://{urlsplit(location).netloc}"


def _same_request(location: str, asked: str) -> bool:
    """Tell whether a redirect only names another host, by https. Go may escape a path otherwise than Python."""
    try:
        new, old = urlsplit(location), urlsplit(asked)
    except ValueError:
        return False
    host = new.scheme == "https" and bool(new.hostname) and "@" not in new.netloc
    return host and unquote(new.path) == unquote(old.path) and new.query == old.query


def _read(reply: Reply) -> Answer:
    """Make an answer of a status and a body; a refusal may have any body, all else must have Vault's JSON."""
    status, body = reply.status, reply.body
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
    later = reply.headers.get("retry-after", "")
    seconds = float(later) if later.isascii() and later.isdigit() and len(later) < len("100000") else 0.0
    return Answer(status, parsed, date=tame(reply.headers.get("date", ""), 40), retry_after=seconds)
