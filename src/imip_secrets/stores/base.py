"""What the core asks of a store, and what it gets.

A store is one module with two functions, ``check`` and ``open_store`` (see
:class:`StoreModule`), and one row in :data:`imip_secrets.stores.SCHEMES`. It
knows its own service and nothing of GitHub's runner, of variables or of other
stores, and imports its SDK no earlier than in ``open_store``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from imip_secrets.deadline import Deadline
    from imip_secrets.document import Json
    from imip_secrets.errors import Problem
    from imip_secrets.identity import IdTokenSource
    from imip_secrets.secret import Secret
    from imip_secrets.settings import Settings

T = TypeVar("T")


class Target(NamedTuple):
    """One thing to read, however many lines use it.

    Args:
        path: The percent-decoded path of the reference, without a wildcard.
        version: The version as the store names it, or None for the current one.
        stage: AWS's staging label, or None.
        region: AWS's region when the reference names one, else None.
        namespace: Vault's namespace when the reference names one, else None.
        body: The JSON object that is sent to a path of Vault that wants one, or
            None for a plain read. The same object is always the same text.

    """

    path: str
    version: str | None = None
    stage: str | None = None
    region: str | None = None
    namespace: str | None = None
    body: str | None = None


class Lease(NamedTuple):
    """How long dynamic credentials live.

    Args:
        id: What revokes or renews it; never shown.
        seconds: Time to live from when it was given.
        renewable: Whether it can be prolonged.

    """

    id: Secret
    seconds: int
    renewable: bool


class Found(NamedTuple):
    """What a store gave for a target.

    Args:
        value: The whole value, byte for byte. Data that is an object by nature
            (Vault's) comes as compact JSON text: order kept, numbers as written.
        is_data: The value is such an object, always to be taken key by key.
        version: The version as the store names it, to be shown, or "".
        changed: When that version was made, or None where the store does not tell.
        lease: The lease of dynamic credentials.

    """

    value: Secret
    is_data: bool = False
    version: str = ""
    changed: datetime | None = None
    lease: Lease | None = None


class Shared:
    """What several stores of one run use together, such as one login at AWS: made by the first, ended by the last."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._lock = threading.Lock()
        self._held: dict[str, tuple[Any, int]] = {}

    def take(self, key: str, make: Callable[[], T]) -> T:
        """Return what is shared under the key; ``make`` makes it, without network, where there is none."""
        with self._lock:
            thing, users = self._held.get(key) or (make(), 0)
            self._held[key] = thing, users + 1
            taken: T = thing
            return taken

    def give_back(self, key: str) -> bool:
        """Give up what was taken; tell whether nobody else has it, so that it is to be ended."""
        with self._lock:
            thing, users = self._held.pop(key, (None, 0))
            if users > 1:
                self._held[key] = thing, users - 1
            return users == 1


class Kept(Protocol):
    """Credentials that a store made and that would end with our login there, so the login stays with them.

    Whoever gets the credentials ends them; where nobody can, they end by
    themselves. A store that keeps nothing has none of this.
    """

    @property
    def store(self) -> str:
        """The scheme of the store."""

    @property
    def leases(self) -> int:
        """How many there are."""

    @property
    def what(self) -> str:
        """What they are for, and how long each lives by itself, for the log."""

    def end(self) -> str:
        """End them and the login, within some seconds; return what went wrong, or "". Never raises."""

    def leave(self) -> None:
        """Leave them to somebody else, or to their own end."""

    def record(self) -> dict[str, Json]:
        """Return what the store's ``resume`` makes the same of, in another process. It holds a credential."""


class Version(NamedTuple):
    """Which version of a secret is the one that a read would give; told without its value.

    Args:
        id: As :attr:`Found.version` names it.
        changed: When it was made, or None where the store does not tell.

    """

    id: str
    changed: datetime | None = None


class Context:
    """What the core gives a store to work with.

    Args:
        settings: The checked inputs.
        id_token: Gives a fresh ID token for an audience; raises ImipError with
            the remedy where there is none to be had.
        protect: Masks a credential at once; to be called before it is used.
        notice: Shows one line to the person who reads the log.
        deadline: The end of the run; no wait may pass it.
        ambient: Whether addresses and trust from the process's environment
            (endpoint URLs, CA files, profiles) count. Never inside the action.
        shared: What stores of this run use together.
        kept: Credentials that the stores have made for this run; whoever got them ends them.
        foretell: Takes note, before credentials are made, of what would end them if this process were killed.

    """

    def __init__(
        self,
        settings: Settings,
        id_token: IdTokenSource,
        protect: Callable[[Secret], None],
        notice: Callable[[str], None],
        deadline: Deadline,
        *,
        ambient: bool = False,
        shared: Shared | None = None,
        kept: list[Kept] | None = None,
        foretell: Callable[[Kept], None] = lambda _: None,
    ) -> None:
        """Hold everything."""
        self.settings = settings
        self.id_token = id_token
        self.protect = protect
        self.notice = notice
        self.deadline = deadline
        self.ambient = ambient
        self.shared = shared or Shared()
        # Not "or": an empty list is one that somebody looks at afterwards.
        self.kept = [] if kept is None else kept
        self.foretell = foretell

    def under(self, settings: Settings) -> Context:
        """Return the same with other settings."""
        return self._with(settings, self.id_token)

    def asking(self, id_token: IdTokenSource) -> Context:
        """Return the same with another source of ID tokens."""
        return self._with(self.settings, id_token)

    def _with(self, settings: Settings, id_token: IdTokenSource) -> Context:
        return Context(
            settings,
            id_token,
            self.protect,
            self.notice,
            self.deadline,
            ambient=self.ambient,
            shared=self.shared,
            kept=self.kept,
            foretell=self.foretell,
        )


class Store(Protocol):
    """A store that is open. Every method may be called from several threads at once, after ``login`` returned.

    Each raises :class:`~imip_secrets.errors.StoreError` with a remedy, and
    :class:`~imip_secrets.errors.MissingError` for what is not there. Retries of
    what is transient, within the deadline, are the store's own.
    """

    def login(self) -> str:
        """Log in; return one line that says who we are now (no credential in it)."""

    def fetch(self, target: Target) -> Found:
        """Read one target."""

    def list(self, target: Target, *, deep: bool) -> Sequence[Target]:
        """Give every readable target whose path continues ``target.path``, over all pages.

        Up to the next ``/``, or over every level when ``deep``. The order is
        the store's name order. What is skipped by nature (deleted secrets) is
        left out.
        """

    def close(self) -> Kept | None:
        """Give up what ``login`` got: revoke a token that we made. Never raises.

        Returns:
            What must not end yet, since credentials that were given would end with it.

        """


@runtime_checkable
class Foresighted(Protocol):
    """A store that reads several targets by one request, and so wants to know what will be asked for."""

    def expect(self, targets: Sequence[Target]) -> None:
        """Hear, after ``login`` and before any of them is fetched, which targets will be; nothing is sent yet."""


@runtime_checkable
class Prolongable(Protocol):
    """What is kept (:class:`Kept`) and can live longer than it was first given for."""

    def prolong(self) -> int:
        """Prolong the credentials and the login; return the seconds that all of them live from now.

        Raises:
            StoreError: it cannot be done.

        """


@runtime_checkable
class Versioned(Protocol):
    """What a store may offer besides: versions without values, for who knows the value of that version already."""

    def version_of(self, target: Target) -> Version | None:
        """Give the version that :meth:`Store.fetch` would read now, or None where only a read can tell.

        So it is where the credentials may read values and no metadata: that is
        no failure. Raises :class:`~imip_secrets.errors.StoreError` otherwise,
        as a read would.
        """


@runtime_checkable
class Namer(Protocol):
    """What a store offers besides whose listing reads values, to leave out what is deleted."""

    def names(self, target: Target, *, deep: bool) -> Sequence[Target]:
        """Give what :meth:`Store.list` gives, deleted secrets among it, without a look at any value."""


class StoreModule(Protocol):
    """The two functions that a store's module offers."""

    def check(self, settings: Settings, targets: Iterable[Target]) -> Iterable[tuple[Target | None, Problem]]:
        """Find what is wrong before any network; a problem of one target comes with it, of the settings with None."""

    def open_store(self, context: Context) -> Store:
        """Import the SDK and make the store, without network."""


class KeepingModule(Protocol):
    """What the module of a store offers besides, if its ``close`` may give something that is kept."""

    def resume(self, record: dict[str, Json], context: Context) -> Kept:
        """Take up what another process has recorded; the settings of the context do not count.

        Raises:
            ImipError: the store cannot be reached with what is recorded.
            ValueError: it is no such record.

        """
