"""What the core of the sync asks of GitHub, and what it gets.

The core decides: what is to be written where, and what is left alone. The back
end (:mod:`imip_secrets.sync.github`) knows GitHub's addresses, keys, sealing,
rate limits and credentials, and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from imip_secrets.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from imip_secrets.deadline import Deadline
    from imip_secrets.secret import Secret

# What GitHub's secondary rate limit counts for a request.
READ_POINTS = 1
WRITE_POINTS = 5


class Kind(Enum):
    """What a scope belongs to; the value is the word in ``sync-to``."""

    REPOSITORY = "repo"
    ENVIRONMENT = "env"
    ORGANIZATION = "org"


class App(Enum):
    """Who reads the secrets; the value is the word in the address and in ``app=``."""

    ACTIONS = "actions"
    DEPENDABOT = "dependabot"
    CODESPACES = "codespaces"
    AGENTS = "agents"


class Visibility(Enum):
    """Which repositories of an organisation see one of its secrets."""

    ALL = "all"
    PRIVATE = "private"
    SELECTED = "selected"


@dataclass(frozen=True, slots=True)
class Scope:
    """One list of secrets: it has one public key and one listing.

    Args:
        kind: What it belongs to.
        owner: The organisation or user, as it is written.
        repo: The repository without its owner, or "" for an organisation's.
        environment: The environment, as it is written and not encoded, or "".
        app: Who reads the secrets; an environment has those of Actions alone.

    """

    kind: Kind
    owner: str
    repo: str = ""
    environment: str = ""
    app: App = App.ACTIONS

    @property
    def title(self) -> str:
        """The scope for people, as ``sync-to`` writes it: ``repo:org/app?app=dependabot``."""
        path = "/".join(filter(None, (self.owner, self.repo, self.environment)))
        app = "" if self.app is App.ACTIONS else f"?app={self.app.value}"
        return f"{self.kind.value}:{path}{app}"


@dataclass(frozen=True, slots=True)
class RepositoryFacts:
    """What GitHub tells of a repository.

    Args:
        id: Its number, which an organisation's secret selects it by.
        owner: The organisation or user.
        name: Its name without the owner.
        archived: Whether it can be read only.
        fork: Whether it was made from another.
        visibility: ``public``, ``private`` or ``internal``.
        topics: In lower case, as GitHub keeps them.
        properties: The organisation's custom properties by name, as far as they were asked for.

    """

    id: int
    owner: str
    name: str
    archived: bool = False
    fork: bool = False
    visibility: str = "private"
    topics: frozenset[str] = frozenset()
    properties: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Existing:
    """A secret that a listing shows; GitHub never shows its value.

    Args:
        name: In capitals, as GitHub keeps it.
        created: When it was made, or None where GitHub does not tell.
        updated: When it was written last, to the second, or None likewise.
        visibility: Of an organisation's secret, else None.

    """

    name: str
    created: datetime | None = None
    updated: datetime | None = None
    visibility: Visibility | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """A secret to be written.

    Args:
        scope: Where.
        name: Under which name.
        value: What, to be sealed for the scope; at most 48 KB, checked before.
        visibility: Of an organisation's secret, always; else None.
        selected: The repositories that see it: exactly when the visibility is ``selected``.
        until: Until when it may be sent, or None for as long as the run may last.

    """

    scope: Scope
    name: str
    value: Secret
    visibility: Visibility | None = None
    selected: frozenset[int] | None = None
    until: Deadline | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What came of a :class:`Put`.

    Args:
        created: Whether the secret is new (201), else it was updated (204).
        at: GitHub's clock when it answered (the header ``Date``), or None.

    """

    created: bool
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """What of one owner the run is to touch, so that an App's token is good for no more.

    Args:
        owner: The organisation or user.
        uses: Which lists of secrets are read and written.
        repositories: The names of the repositories, without the owner; empty
            for all, where they are found out later.
        properties: Whether custom properties of repositories are read.

    """

    owner: str
    uses: frozenset[tuple[Kind, App]]
    repositories: frozenset[str] = frozenset()
    properties: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """What the back end is given to work with.

    Args:
        api_url: The address of GitHub's API, without a slash at its end.
        reaches: What is to be touched, one for each owner.
        token: A token, or None where there is an App.
        app_id: The App's id or client id, or "".
        app_key: The App's private key (PEM), or None. Where the input was a
            reference to a store, this is what the store gave.
        ca_certificate: A PEM certificate to trust besides the system's, or "".
        protect: Masks a credential at once; to be called before it is used.
        notice: Shows one line to the person who reads the log.
        deadline: The end of the run; no wait may pass it.

    """

    api_url: str
    reaches: Sequence[Reach]
    token: Secret | None
    app_id: str
    app_key: Secret | None
    ca_certificate: str
    protect: Callable[[Secret], None]
    notice: Callable[[str], None]
    deadline: Deadline


@dataclass(frozen=True, slots=True)
class Usage:
    """What the run asked of GitHub so far.

    Args:
        requests: How many requests were sent.
        points: What they count for the secondary rate limit.
        refused: How many of them were answered with a rate limit (403 or 429).
        waited: How many seconds the limits made us wait.

    """

    requests: int = 0
    points: int = 0
    refused: int = 0
    waited: float = 0.0


class DeniedError(StoreError):
    """GitHub does not let this credential do it, or hides whether the thing is there.

    What GitHub answers with 401, 403 (no rate limit) and most 404: the error
    names the permission and every meaning that the answer can have.
    """


class TooLateError(StoreError):
    """A write was not sent, since the time until which it might be was over (:attr:`Put.until`)."""


class GitHub(Protocol):
    """GitHub. Every method may be called from several threads at once, after ``login`` returned.

    Each raises :class:`~imip_secrets.errors.StoreError` with a remedy:
    :class:`~imip_secrets.errors.MissingError` only where it is sure that a
    thing is not there, else :class:`DeniedError`. Retries of what is transient
    and the waits that rate limits ask for, within the deadline, are its own.
    Names of owners, repositories and secrets are compared without case.
    """

    def login(self) -> str:
        """Get what tokens there are to get; return one line that says who we are now (no credential in it)."""

    def look_up(self, owner: str, repo: str) -> RepositoryFacts:
        """Read one repository: one request."""

    def repositories(self, owner: str, *, properties: bool) -> Sequence[RepositoryFacts]:
        """Give every repository of an owner that we may see, over all pages; custom properties only when asked."""

    def listing(self, scope: Scope) -> Mapping[str, Existing]:
        """Give every secret of a scope by its name in capitals, over all pages: one request a hundred."""

    def selected(self, scope: Scope, name: str) -> frozenset[int]:
        """Give the repositories that see an organisation's secret whose visibility is ``selected``."""

    def clock(self) -> float | None:
        """Say what time it is by GitHub's clock, in seconds since 1970 and never too late; None before it told."""

    def put(self, put: Put) -> Written:
        """Seal and write one secret; the scope's key is read once in a run, and once more if GitHub refuses it.

        Raises:
            TooLateError: it was not sent before :attr:`Put.until`.

        """

    def set_selected(self, scope: Scope, name: str, repositories: frozenset[int]) -> None:
        """Change the repositories that see an organisation's secret, and not its value."""

    def delete(self, scope: Scope, name: str) -> bool:
        """Delete one secret; return False where it was not there."""

    def estimate(self, requests: int, points: int) -> float:
        """Say how many seconds so many further requests of so many points take within the rate limits."""

    def used(self) -> Usage:
        """Say what was asked of GitHub so far."""

    def close(self) -> None:
        """Give up what ``login`` got: revoke tokens that we made. Never raises."""


class GitHubModule(Protocol):
    """The two functions that :mod:`imip_secrets.sync.github` offers."""

    def open_github(self, access: Access) -> GitHub:
        """Import the libraries and make the client, without network."""

    def is_enterprise_server(self, api_url: str) -> bool:
        """Tell whether an API's address is that of a GitHub Enterprise Server (no codespaces, no agents)."""
