"""One request to GitHub: sent by PyGithub when the limits allow it, repeated where that helps, and read.

Of PyGithub this uses the ``Requester``, which it offers for what it has no method for: it knows no agents secrets,
reads the public key anew for every secret, hides whether one was created, and shows a value in an error
(``docs/decisions/0019-pygithub.md``). A ``Requester`` is not safe for threads, so each thread has its own.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from github.Requester import Requester

from imip_secrets import __version__
from imip_secrets.errors import StoreError
from imip_secrets.sync.base import READ_POINTS, WRITE_POINTS, TooLateError
from imip_secrets.sync.broken import TRIES, Fault, garbled, not_ready, too_late
from imip_secrets.sync.pacing import Seen
from imip_secrets.sync.transport import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from typing import TypeAlias
    from urllib.parse import SplitResult

    from github.Auth import Auth

    from imip_secrets.deadline import Deadline
    from imip_secrets.sync.pacing import Pacer
    from imip_secrets.sync.transport import Reply, Transport

    Body: TypeAlias = Mapping[str, object]

API_VERSION = "2022-11-28"
PER_PAGE = 100
# More pages than any listing has; a listing that does not end is a defect of the server.
MAX_PAGES = 1000

_REFUSED, _SERVER_ERRORS = 400, range(500, 600)
_FORBIDDEN, _TOO_MANY, _ACCEPTED = 403, 429, 202
_NEXT = re.compile(r'<([^<>]+)>\s*;[^<]*\brel="next"')
_LIMITED = ("rate limit", "abuse detection")

_SILENT = logging.getLogger("imip_secrets.github")
_SILENT.disabled = True


class Login(Protocol):
    """Who asks."""

    @property
    def account(self) -> str:
        """Whose limit of an hour the requests count for."""

    def auth(self) -> Auth:
        """Return what PyGithub makes the header from; fresh, if it had run out."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What GitHub said.

    Args:
        status: The HTTP status.
        headers: The headers, by their names in lower case.
        data: The body, of JSON, or None where there is none.
        tries: How many tries it took.

    """

    status: int
    headers: Mapping[str, str]
    data: Any = None
    tries: int = 1

    @property
    def refused(self) -> bool:
        """Whether GitHub did not do it."""
        return self.status >= _REFUSED

    @property
    def message(self) -> str:
        """GitHub's own words, or ""."""
        data = self.data if isinstance(self.data, dict) else {}
        errors = data.get("errors")
        texts = [data.get("message"), *(errors if isinstance(errors, list) else [])]
        texts = [text.get("message") if isinstance(text, dict) else text for text in texts]
        return "; ".join(text for text in texts if isinstance(text, str) and text)

    @property
    def date(self) -> datetime | None:
        """GitHub's clock."""
        return _date(self.headers)


class Api:
    """GitHub's API; for any number of threads.

    Args:
        api_url: Its address, without a slash at the end.
        transport: How to get there.
        pacer: When.
        end: The end of the run.

    """

    def __init__(self, api_url: str, transport: Transport, pacer: Pacer, end: Deadline) -> None:
        """Send nothing yet."""
        self.url = api_url
        self._transport = transport
        self._pacer = pacer
        self._end = end
        self._of_thread = threading.local()
        self._ahead: float | None = None

    def get(self, login: Login, path: str) -> Answer:
        """Read."""
        return self.send(login, "GET", path)

    def pages(self, login: Login, path: str) -> Iterator[Answer]:
        """Read a list, a hundred at a time, until there are no more or GitHub refuses."""
        following = f"{path}?per_page={PER_PAGE}"
        for _ in range(MAX_PAGES):
            answer = self.get(login, following)
            yield answer
            following = "" if answer.refused else self._next(answer)
            if not following:
                return
        raise self.failed(Fault(f"its list {path} does not end", garbled().remedy), 1)

    def _next(self, answer: Answer) -> str:
        """Return the path of the next page, which must be at the same server, or ""."""
        found = _NEXT.search(answer.headers.get("link", ""))
        if found is None:
            return ""
        ours = urlsplit(self.url)
        with suppress(ValueError):
            theirs = urlsplit(found[1])
            if _origin(ours) == _origin(theirs) and theirs.path.startswith(f"{ours.path}/"):
                return f"{theirs.path.removeprefix(ours.path)}?{theirs.query}"
        raise self.failed(Fault("the next page of its list is at another address", garbled().remedy), 1)

    def send(
        self,
        login: Login,
        method: str,
        path: str,
        body: Body | None = None,
        last: Deadline | None = None,
        *,
        until: Deadline | None = None,
    ) -> Answer:
        """Send a request until there is an answer that another try would not better.

        Args:
            login: Who asks.
            method: The HTTP method.
            path: The path and the query, escaped.
            body: What to send, without any plaintext of a secret.
            last: For what must be done at the end of a run: one try, at once, until then.
            until: Until when it may be sent, whatever it had to wait for.

        Raises:
            TooLateError: it was not sent until then.
            StoreError: there was no answer of GitHub's.

        """
        points = READ_POINTS if method == "GET" else WRITE_POINTS
        attempt = 0
        while True:
            if last is None and self._end.over():
                raise self.failed(too_late(), attempt)
            attempt += 1
            auth = login.auth()
            with self._pacer.visit(points, login.account, at_once=last is not None) as visit:
                if until is not None and until.over():
                    raise _left()
                outcome = self._try(auth, method, path, body, last or self._end)
                visit.seen = _seen(outcome) if isinstance(outcome, Answer) else None
                self._heard(outcome)
            if last is None and visit.seen and visit.seen.refused:
                attempt -= 1  # the pacer waits, and gives up when it is enough
                continue
            tries, why = _worth(outcome)
            if last is not None or attempt >= tries or not self._pacer.backoff(attempt, why):
                break
        if isinstance(outcome, Fault):
            raise self.failed(outcome, attempt)
        return Answer(outcome.status, outcome.headers, outcome.data, attempt)

    def clock(self) -> float | None:
        """Say what time it is by GitHub's clock, and never too late; None before it told."""
        return None if self._ahead is None else self._ahead + time.monotonic()

    def _heard(self, outcome: Answer | Fault) -> None:
        """Take note of GitHub's clock: it is later than any of its answers says."""
        date = outcome.date if isinstance(outcome, Answer) else None
        if date is not None:
            ahead = date.timestamp() - time.monotonic()
            self._ahead = ahead if self._ahead is None else max(self._ahead, ahead)

    def failed(self, fault: Fault, tries: int) -> StoreError:
        """Make the error for a request without an answer."""
        said = f" ({tries} tries)" if tries > 1 else ""
        late = f", and timeout-seconds ({self._end.seconds:g}) is over" if self._end.over() else ""
        return StoreError(f"GitHub at {urlsplit(self.url).netloc}: {fault.what}{said}{late}", fault.remedy)

    def _try(self, auth: Auth, method: str, path: str, body: Body | None, end: Deadline) -> Answer | Fault:
        connection = Connection(self._transport, end)
        try:
            self._requester(auth).requestJson(method, path, input=body, cnx=connection)  # type: ignore[arg-type]  # PyGithub asks for its own class, and uses these three methods of it
            return _read(connection.reply)
        except Fault as fault:
            return fault

    def _requester(self, auth: Auth) -> Requester:
        """Return this thread's own."""
        known: dict[Auth, Requester] = vars(self._of_thread).setdefault("requesters", {})
        if auth not in known:
            known[auth] = _Requester(
                auth,
                self.url,
                timeout=1,  # the transport has its own
                user_agent=f"imip-secrets/{__version__}",
                per_page=PER_PAGE,
                verify=True,
                retry=None,
                pool_size=None,
                api_version=API_VERSION,
            )
        return known[auth]


class _Requester(Requester):
    """Logs nothing: PyGithub's log of a request for a token holds the token."""

    @property
    def _logger(self) -> logging.Logger:
        return _SILENT


def _left() -> TooLateError:
    return TooLateError("it was not sent in the time that it had", "Please report this line: it holds no value.")


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Return which server an address is of, however it is written."""
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _worth(outcome: Answer | Fault) -> tuple[int, str]:
    """Say how many tries an outcome is worth in all, and why it is tried again."""
    if isinstance(outcome, Fault):
        return outcome.tries, outcome.what
    return (TRIES if outcome.status in _SERVER_ERRORS else 1), f"it answers {outcome.status}"


def _read(reply: Reply) -> Answer:
    """Make an answer; a refusal may have any body, all else must have GitHub's JSON or none."""
    try:
        data = json.loads(reply.body) if reply.body else None
    except (ValueError, RecursionError):
        data = None
        if reply.status < _REFUSED:
            raise garbled() from None
    if reply.status == _ACCEPTED:
        raise not_ready()
    return Answer(reply.status, reply.headers, data)


def _seen(answer: Answer) -> Seen:
    """Read what an answer says about limits."""
    headers = answer.headers
    limit, remaining = _number(headers, "x-ratelimit-limit"), _number(headers, "x-ratelimit-remaining")
    reset, date = _number(headers, "x-ratelimit-reset"), _date(headers)
    # By GitHub's own clock: ours may be wrong.
    resets_in = max(0.0, reset - date.timestamp()) if reset is not None and date else None
    after = _number(headers, "retry-after")
    refused = answer.status == _TOO_MANY or (
        answer.status == _FORBIDDEN
        and (after is not None or remaining == 0 or any(word in answer.message.lower() for word in _LIMITED))
    )
    return Seen(limit, remaining, resets_in, refused, after)


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < len("10000000000000") else None


def _date(headers: Mapping[str, str]) -> datetime | None:
    with suppress(ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(headers.get("date", ""))
    return None
