"""GitHub's REST API, as far as secrets go, on loopback.

>>> with GitHub() as github:
...     github.repository("org/app").environment("production")
...     ...  # a client writes to github.url with github.token
...     assert github.values("repo:org/app") == {"NAME": "value"}
...     assert github.counts() == {"PUT /repos/{owner}/{repo}/{app}/secrets/{secret_name}": 1, ...}

It opens what it is sent with the private key of the place, so a test sees what a
job would. Every request and answer is compared with GitHub's own description of
its API (:mod:`stand_ins.github.description`); leaving ``with`` fails the test that
caused a difference. What no document says is marked in :mod:`stand_ins.github.routes`;
nothing here was verified against the real service.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING

from stand_ins.faults import Answer, FaultServer
from stand_ins.github import access, routes
from stand_ins.github.access import Access, App, Installation, Unauthorized
from stand_ins.github.graphql import respond as graphql
from stand_ins.github.limits import Exceeded, Limits, points_of
from stand_ins.github.state import APPS, SERVER_APPS, Kept, Repository, State, Vault

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from stand_ins.faults import Request, Step
    from stand_ins.github.description import Description

__all__ = ["GitHub", "Repo", "Sent"]

SERVER_PREFIX = "/api/v3"
SERVER_VERSION = "3.19.0"
GRAPHQL = frozenset({"/graphql", "/api/graphql"})
WRITES = frozenset({"PUT", "POST", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Sent:
    """One request and what became of it.

    Args:
        number: The how manieth it was, from 1.
        request: The request.
        path: Its path, as it was written, without what stands before it on an Enterprise Server.
        operation: ``METHOD template``, or "" when the API has no such thing.
        token: The text of the token.
        at: When it came, by the stand-in's clock.
        status: The status of the answer; 0 when there was none.

    """

    number: int
    request: Request = field(repr=False)
    path: str
    operation: str
    token: str = field(repr=False)
    at: float
    status: int

    @property
    def method(self) -> str:
        """The method."""
        return self.request.method

    @property
    def points(self) -> int:
        """What it costs."""
        return points_of(self.method)


@dataclass(slots=True)
class _Fault:
    when: Callable[[Request], bool]
    step: Step
    served: bool
    times: int


class Repo:
    """A repository, for tests to arrange.

    Args:
        state: What GitHub remembers.
        repository: The repository.

    """

    def __init__(self, state: State, repository: Repository) -> None:
        """Take what is arranged."""
        self._state, self._repository = state, repository
        self.id, self.full_name = repository.id, repository.full_name

    def environment(self, *names: str) -> Repo:
        """Make environments."""
        for name in names:
            self._state.environment(self._repository, name)
        return self

    def rename(self, name: str) -> Repo:
        """Give it another name; the old one leads to it."""
        return Repo(self._state, self._state.rename(self.full_name, name))

    def update(self, **facts: object) -> Repo:
        """Change facts of :class:`stand_ins.github.state.Repository`."""
        for name, value in facts.items():
            setattr(self._repository, name, value)
        return self


class GitHub:
    """GitHub's API with what a test puts there.

    Args:
        tls: A server context; the address is then https.
        enterprise: Whether it is an Enterprise Server: under ``/api/v3``, without Codespaces, agents and limits.
        check: Whether what is said is compared with GitHub's description; without, a request takes a fifth of the time.
        strict: Whether a request that is not as described is a mistake; off for tests that mean to send one.
        time: The clock, in seconds since 1970.

    Attributes:
        url: The address of the API.
        token: A classic token that may do everything.
        limits: What is counted, and the limits to set.
        state: What GitHub remembers.
        access: Tokens and Apps.
        sent: Every request, in the order of their answers.
        mismatches: What was not as GitHub's description says.
        delay: How many seconds an answer takes.

    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        enterprise: bool = False,
        check: bool = True,
        strict: bool = True,
        time: Callable[[], float] = time.time,
    ) -> None:
        """Bind to a free port; requests are answered from ``with`` on."""
        self.enterprise, self.strict, self.time = enterprise, strict, time
        self._prefix = SERVER_PREFIX if enterprise else ""
        self._server = FaultServer(handler=functools.partial(self._respond, "https" if tls else "http"), tls=tls)
        self.host = f"127.0.0.1:{self._server.port}"
        self.url = self._server.url + self._prefix
        self.state = State(time, SERVER_APPS if enterprise else APPS)
        self.access = Access()
        self.limits = Limits(headers=not enterprise)
        self.token = self.access.classic()
        self.sent: list[Sent] = []
        self.mismatches: list[str] = []
        self.delay = 0.0
        self._description = _described(enterprise=enterprise) if check else None
        self._lock = threading.RLock()
        self._faults: list[_Fault] = []
        self._once: list[tuple[Callable[[Request], bool], Callable[[], object]]] = []
        self._stop: tuple[int, Callable[[], object]] | None = None
        self._lag = 0

    # --- what is there

    def organization(self, login: str) -> int:
        """Make an organisation, and give its id."""
        return self.state.account(login).id

    def repository(self, full_name: str, **facts: object) -> Repo:
        """Make a repository, private if nothing is said; the facts are those of ``state.Repository``."""
        return Repo(self.state, self.state.repository(full_name)).update(**facts)

    def vault(self, label: str, app: str = "actions") -> Vault:
        """Give a place: ``repo:org/app``, ``env:org/app/production``, ``org:my-org``."""
        return self.state.vault(label, app)

    def values(self, label: str, app: str = "actions") -> dict[str, str]:
        """Give every value of a place by its name, as a job would have them."""
        return self.vault(label, app).values

    # --- who may

    def app(self, slug: str = "imip-sync", **permissions: str) -> App:
        """Register a GitHub App; ``app.id`` and ``app.pem`` are what its owner has."""
        number = self.state.next_id()
        made = App(number, slug, f"Iv23li{number}", permissions)
        return self.access.apps.setdefault(number, made)

    def install(
        self, app: App, account: str, *repositories: str, permissions: Mapping[str, str] | None = None
    ) -> Installation:
        """Install an App on an account: on these repositories (full names), or on all."""
        chosen = frozenset(self.state.repository(name).id for name in repositories) or None
        agreed = dict(app.permissions if permissions is None else permissions)
        number = self.state.next_id()
        made = Installation(number, app, self.state.account(account), agreed, chosen)
        return self.access.installations.setdefault(number, made)

    def fine_grained(self, *repositories: str, **permissions: str) -> str:
        """Make a fine-grained token for these repositories (full names), or for all."""
        chosen = frozenset(self.state.repository(name).id for name in repositories) or None
        return self.access.fine_grained(permissions, chosen)

    # --- what goes wrong

    def fail(
        self, step: Step, *, when: Callable[[Request], bool] = lambda _: True, times: int = 1, served: bool = False
    ) -> None:
        """Answer the next requests that ``when`` takes with this step.

        Args:
            step: An answer, ``reset``, ``close`` or ``hang``.
            when: Which requests.
            times: How many.
            served: Whether the request takes effect all the same, and only its answer is lost.

        """
        with self._lock:
            self._faults.append(_Fault(when, step, served, times))

    def once(self, do: Callable[[], object], *, when: Callable[[Request], bool] = lambda _: True) -> None:
        """Do something just before the next request that ``when`` takes."""
        with self._lock:
            self._once.append((when, do))

    def stop_after(self, requests: int, do: Callable[[], object] = lambda: None) -> None:
        """Serve this many more requests; then do something once, such as a kill, and reset every connection."""
        with self._lock:
            self._stop = (len(self.sent) + requests, do)

    def drain(self) -> None:
        """Wait until nothing more can come of clients that are gone."""
        self._server.drain()

    def go_on(self) -> None:
        """Serve again after :meth:`stop_after`."""
        with self._lock:
            self._stop = None

    def lag(self, reads: int) -> None:
        """Have this many reads after each write see what was there before it; 0 for none."""
        with self._lock:
            self._lag = reads

    # --- what was asked

    def counts(self) -> Counter[str]:
        """Count the requests by operation."""
        return Counter(one.operation or f"{one.method} {one.path}" for one in self.sent)

    def writes(self) -> list[Sent]:
        """Give the requests that would change something."""
        return [one for one in self.sent if one.method in WRITES]

    def forget(self) -> None:
        """Forget the requests so far; everything else stays."""
        with self._lock:
            self.sent.clear()
            self._stop = None

    # --- serving

    def listen(self, *, tls: ssl.SSLContext | None = None, at: Path | None = None) -> FaultServer:
        """Answer at one more address as well: over TLS, or at a Unix socket; from ``with`` on."""
        return FaultServer(handler=functools.partial(self._respond, "https" if tls else "http"), tls=tls, at=at)

    def __enter__(self) -> Self:
        """Start to answer."""
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; what was not as GitHub describes it fails the test."""
        self._server.__exit__(kind, error, trace)
        if self.mismatches and error is None:
            raise AssertionError("\n".join(["not as GitHub describes its API:", *self.mismatches]))

    def _respond(self, scheme: str, request: Request) -> Step:
        with self._lock:
            self.limits.at_once += 1
            self.limits.most_at_once = max(self.limits.most_at_once, self.limits.at_once)
        try:
            step = self._step(scheme, request)
            if self.delay:
                time.sleep(self.delay)
            return step
        finally:
            with self._lock:
                self.limits.at_once -= 1

    def _step(self, scheme: str, request: Request) -> Step:
        """Serve a request, or fail as a test planned."""
        with self._lock:
            for waiting in [one for one in self._once if one[0](request)]:
                self._once.remove(waiting)
                waiting[1]()
            fault = self._fault(request)
            served = fault is None or fault.served
            path = self._path(request)
            operation, whole = self._serve(scheme, request, path) if served else ("", None)
            step = whole if fault is None else fault.step
            assert step
            status = step.status if isinstance(step, Answer) else 0
            token = request.headers.get("authorization", "").partition(" ")[2]
            sent = Sent(len(self.sent) + 1, request, path, operation, token, self.time(), status)
            self.sent.append(sent)
            stopped = self._stopped()
        if whole and path not in GRAPHQL:
            self._compare(request, path, whole)
        return "reset" if stopped else step

    def _stopped(self) -> bool:
        """Tell whether a test has stopped the server before this request was to be answered."""
        if self._stop is None or len(self.sent) < self._stop[0]:
            return False
        last, do = self._stop
        if len(self.sent) == last:
            do()
        return len(self.sent) > last

    def _fault(self, request: Request) -> _Fault | None:
        if self._stop and len(self.sent) >= self._stop[0]:
            return _Fault(lambda _: True, "reset", served=False, times=1)
        for fault in self._faults:
            if fault.times and fault.when(request):
                fault.times -= 1
                return fault
        return None

    def _path(self, request: Request) -> str:
        """Give the path as on github.com, whichever way the client came."""
        path = request.path.removeprefix(SERVER_PREFIX)
        number, _, rest = path.removeprefix("/repositories/").partition("/")
        known = self.state.by_id.get(int(number)) if path.startswith("/repositories/") and number.isdecimal() else None
        return f"/repos/{known.full_name}/{rest}".rstrip("/") if known else path

    def _serve(self, scheme: str, request: Request, path: str) -> tuple[str, Answer]:
        """Answer as GitHub does; give the operation besides."""
        if path in GRAPHQL:
            return "POST /graphql", graphql(request, self.state)
        now = self.time()
        operation, headers = "", dict(self._headers(now))
        token = request.headers.get("authorization", "").partition(" ")[2]
        prefix = SERVER_PREFIX if request.path.startswith(SERVER_PREFIX) else ""
        api = f"{scheme}://{request.headers.get('host', self.host)}{prefix}"
        try:
            if path != "/rate_limit":
                self.limits.take(token, request.method, now)
            caller = self.access.check(request.headers.get("authorization", ""), now)
            template, function, parts = routes.find(request.method, path) or routes.NOWHERE
            operation = f"{request.method} {template}" if template else ""
            asked = routes.Asked(request, caller, api, path, self.state, self.access, self.limits, now, parts)
            before = self._snapshots(asked) if self._lag and request.method in WRITES else {}
            given = function(asked)
            for vault, secrets in before.items():
                vault.lag(secrets, self._lag)
        except Exceeded as exceeded:
            given = self._refuse(exceeded)
        except Unauthorized as refused:
            status = 404 if str(refused) == access.NO_APP else 401
            given = routes.Refusal(status, str(refused)).answer()
        except routes.Refusal as refused:
            given = refused.answer()
        except Exception as defect:  # noqa: BLE001 - a defect of the stand-in must fail the test, not end a connection
            self.mismatches.append(f"{request.method} {path}: {type(defect).__name__} in the stand-in: {defect}")
            given = routes.Refusal(500, "Server Error").answer()
        return operation, self._tagged(request, given, headers, token, now)

    def _headers(self, now: float) -> Mapping[str, str]:
        facts = {
            "Date": formatdate(now, usegmt=True),
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Request-Id": "E2E1:1F4A:1B2C3D",
        }
        return {**facts, "X-GitHub-Enterprise-Version": SERVER_VERSION} if self.enterprise else facts

    def _tagged(self, request: Request, given: Answer, headers: Mapping[str, str], token: str, now: float) -> Answer:
        """Give an answer its headers; a read that the client has already is a 304, and free."""
        tag = f'W/"{hashlib.sha256(given.body).hexdigest()}"'
        tagged = {"ETag": tag} if request.method == "GET" and given.status == 200 else {}
        known = bool(tagged) and request.headers.get("if-none-match") == tag
        if known:
            self.limits.give_back(token, now)
        headers = {**headers, **self.limits.facts(token, now), **given.headers, **tagged}
        if not known:
            return Answer(given.status, headers, given.body)
        return Answer(304, {name: value for name, value in headers.items() if name != "Content-Type"})

    def _refuse(self, exceeded: Exceeded) -> Answer:
        wait = exceeded.retry_after if self.limits.retry_after else None
        headers = {} if wait is None else {"Retry_After": str(wait)}
        return routes.Refusal(self.limits.status, exceeded.message, **headers).answer(exceeded.docs)

    def _snapshots(self, asked: routes.Asked) -> dict[Vault, dict[str, Kept]]:
        """Remember what is in the place that a write is for."""
        with contextlib.suppress(routes.Refusal, KeyError):
            vault = asked.vault("read")
            return {vault: dict(vault.secrets)}
        return {}

    def _compare(self, request: Request, path: str, given: Answer) -> None:
        """Compare a request and its answer with GitHub's description."""
        description = self._description
        if description is None or given.status == 304:
            return
        if not description.knows(request.method, path):
            wrong = ["no such operation"]
        else:
            wrong = description.of_request(request, path) if self.strict else []
            wrong += description.of_answer(request, path, given)
        with self._lock:
            self.mismatches += [f"{request.method} {path}: {what}" for what in wrong]


def _described(*, enterprise: bool) -> Description:
    from stand_ins.github.description import CLOUD, SERVER, described  # noqa: PLC0415 - half a second, if it is wanted

    return described(SERVER if enterprise else CLOUD)
