"""What GitHub remembers: organisations, repositories, environments, and the places that hold secrets.

A place (:class:`Vault`) is what one public key belongs to: the Actions secrets of
a repository are one, its Dependabot secrets another, those of each of its
environments a third. Each keeps the plaintext of what it was sent, for tests.
"""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

APPS = ("actions", "dependabot", "codespaces", "agents")
# GitHub Enterprise Server 3.17 to 3.19 has no others.
SERVER_APPS = ("actions", "dependabot")
REPOSITORY_LIMIT = 100
ORGANIZATION_LIMIT = 1000
# What docs.github.com says of Codespaces; of Dependabot and agents it says nothing, so those go by Actions'.
CODESPACES_ORGANIZATION_LIMIT = 100
MOST_BYTES = 48 * 1024

# One number for an application, whatever the place, as in recorded traffic; the last two are made up in its likeness.
KEY_IDS: Mapping[str, int] = {
    "actions": 3380204578043523366,
    "dependabot": 3380217566468950943,
    "codespaces": 3380214417117446135,
    "agents": 3380219982251412771,
}


def moment(seconds: float) -> str:
    """Write a time as GitHub does, to the second."""
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Kept:
    """One secret as it stands; times are seconds since 1970.

    Args:
        name: In capitals.
        value: The plaintext.
        created: When it was first written.
        updated: When it was last written.
        visibility: ``all``, ``private`` or ``selected``; "" for a secret that is not an organisation's.
        selected: The ids of the repositories that may have it.

    """

    name: str
    value: bytes = field(repr=False)
    created: float
    updated: float
    visibility: str = ""
    selected: frozenset[int] = frozenset()


class Improper(Exception):  # noqa: N818 - what GitHub calls it: "an improperly encrypted secret"
    """A value that was not sealed for this place."""


class Vault:
    """A place that holds secrets, with the key pair that they are sealed for.

    Args:
        label: How tests name it: ``repo:org/app``, ``env:org/app/production``, ``org:my-org``.
        app: One of :data:`APPS`.
        limit: How many secrets it can hold.
        key_id: Gives the present number of the application's keys.
        time: Gives the present moment.

    """

    def __init__(self, label: str, app: str, limit: int, key_id: Callable[[], int], time: Callable[[], float]) -> None:
        """Start empty; the key pair is made when it is first asked for."""
        self.label, self.app, self.limit = label, app, limit
        self._key_id, self._time = key_id, time
        self._key: PrivateKey | None = None
        self._public = ""
        self.secrets: dict[str, Kept] = {}
        self._before: Mapping[str, Kept] = {}
        self._stale_reads = 0

    @property
    def organization(self) -> bool:
        """Whether its secrets have a visibility."""
        return self.label.startswith("org:")

    @property
    def values(self) -> dict[str, str]:
        """Every value as text, by name."""
        return {name: kept.value.decode() for name, kept in self.secrets.items()}

    @property
    def key_id(self) -> str:
        """The number that the public key goes by."""
        return str(self._key_id())

    @property
    def public_key(self) -> str:
        """The public key, base64."""
        self._private()
        return self._public

    def rotate(self) -> None:
        """Forget the key pair, so that what is sealed for it is refused."""
        self._key = None

    def open(self, sealed: str, key_id: str) -> bytes:
        """Give the plaintext of what was sealed for the present key.

        Raises:
            Improper: When it was not.

        """
        if key_id != self.key_id:
            raise Improper
        try:
            return bytes(SealedBox(self._private()).decrypt(base64.b64decode(sealed, validate=True)))
        except (CryptoError, ValueError, TypeError) as error:
            raise Improper from error

    def write(
        self,
        name: str,
        value: str | bytes,
        visibility: str = "",
        selected: frozenset[int] = frozenset(),
        at: float | None = None,
    ) -> bool:
        """Write a secret, as the API does and as a person at GitHub's page does; tell whether it is new."""
        name = name.upper()
        value = value.encode() if isinstance(value, str) else value
        now = self._time() if at is None else at
        old = self.secrets.get(name)
        self.secrets[name] = Kept(name, value, old.created if old else now, now, visibility, selected)
        return old is None

    def remove(self, name: str) -> bool:
        """Delete a secret; tell whether it was there."""
        return self.secrets.pop(name.upper(), None) is not None

    def reselect(self, name: str, selected: frozenset[int]) -> None:
        """Change the repositories of a secret; whether GitHub then changes ``updated_at`` is unknown, so it stays."""
        self.secrets[name] = replace(self.secrets[name], selected=selected)

    def lag(self, before: Mapping[str, Kept], reads: int) -> None:
        """Have the next reads see an earlier state."""
        if not self._stale_reads:
            self._before = before
        self._stale_reads = reads

    def read(self) -> Mapping[str, Kept]:
        """Give the secrets as a read of the API sees them."""
        if self._stale_reads:
            self._stale_reads -= 1
            return self._before
        return self.secrets

    def _private(self) -> PrivateKey:
        if self._key is None:
            self._key = PrivateKey.generate()
            self._public = base64.b64encode(bytes(self._key.public_key)).decode()
        return self._key


@dataclass(slots=True)
class Environment:
    """A deployment environment of a repository."""

    id: int
    name: str
    created: float


@dataclass(slots=True)
class Account:
    """An organisation, or a user.

    Args:
        id: Its number.
        login: Its name.
        kind: ``Organization`` or ``User``.
        created: When it was made.

    """

    id: int
    login: str
    kind: str
    created: float


@dataclass(slots=True)
class Repository:
    """A repository and what a match of repositories looks at.

    Args:
        id: Its number.
        owner: Whose it is.
        name: Its name, as written.
        visibility: ``public``, ``private`` or ``internal``.
        created: When it was made.
        archived: Whether it is read-only.
        fork: Whether it is one.
        topics: Its topics.
        properties: The custom properties that the organisation gave it.
        environments: By name in small letters, since GitHub compares them so.

    """

    id: int
    owner: Account
    name: str
    visibility: str
    created: float
    archived: bool = False
    fork: bool = False
    topics: list[str] = field(default_factory=list)
    properties: dict[str, str | list[str] | None] = field(default_factory=dict)
    environments: dict[str, Environment] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """``owner/name``."""
        return f"{self.owner.login}/{self.name}"


class State:
    """Everything that the stand-in remembers.

    Args:
        time: Gives the present moment, in seconds since 1970.
        apps: What can hold secrets here.

    """

    def __init__(self, time: Callable[[], float], apps: tuple[str, ...] = APPS) -> None:
        """Start with nothing."""
        self.time, self.apps = time, apps
        self.accounts: dict[str, Account] = {}
        self.repositories: dict[str, Repository] = {}
        self.by_id: dict[int, Repository] = {}
        self.renamed: dict[str, int] = {}
        self.key_ids = dict(KEY_IDS)
        self._vaults: dict[tuple[str, str], Vault] = {}
        self._ids = itertools.count(700_000_001)

    def next_id(self) -> int:
        """Give a number that nothing else has."""
        return next(self._ids)

    def account(self, login: str, kind: str = "Organization") -> Account:
        """Find an account, or make it."""
        known = self.accounts.get(login.lower())
        return known or self.accounts.setdefault(login.lower(), Account(self.next_id(), login, kind, self.time()))

    def repository(self, full_name: str) -> Repository:
        """Find a repository, or make a private one; its owner is made an organisation if there is none."""
        known = self.repositories.get(full_name.lower())
        if known:
            return known
        owner, _, name = full_name.partition("/")
        made = Repository(self.next_id(), self.account(owner), name, "private", self.time())
        self.by_id[made.id] = made
        return self.repositories.setdefault(full_name.lower(), made)

    def rename(self, full_name: str, name: str) -> Repository:
        """Rename a repository; the old name leads to the new one."""
        repository = self.repositories.pop(full_name.lower())
        self.renamed[full_name.lower()] = repository.id
        old = f"{repository.full_name}/".lower()
        repository.name = name
        self.repositories[repository.full_name.lower()] = repository
        for (label, app), vault in list(self._vaults.items()):
            kind, _, place = label.partition(":")
            if kind != "org" and f"{place}/".startswith(old):
                vault.label = f"{kind}:{repository.full_name.lower()}/{place[len(old) :]}".rstrip("/")
                self._vaults[vault.label, app] = self._vaults.pop((label, app))
        return repository

    def environment(self, repository: Repository, name: str) -> Environment:
        """Find an environment, or make it."""
        known = repository.environments.get(name.lower())
        made = known or Environment(self.next_id(), name, self.time())
        return repository.environments.setdefault(name.lower(), made)

    def vault(self, label: str, app: str = "actions") -> Vault:
        """Find the place that a label names, which need not have been used yet."""
        label = label.lower()
        known = self._vaults.get((label, app))
        if known:
            return known
        limit = REPOSITORY_LIMIT
        if label.startswith("org:"):
            limit = CODESPACES_ORGANIZATION_LIMIT if app == "codespaces" else ORGANIZATION_LIMIT
        return self._vaults.setdefault((label, app), Vault(label, app, limit, lambda: self.key_ids[app], self.time))

    def vaults(self) -> list[Vault]:
        """Give every place that was used."""
        return list(self._vaults.values())

    def rotate(self, app: str = "actions") -> None:
        """Give every place of an application a new key pair, and the keys a new number."""
        self.key_ids[app] += 1
        for vault in self._vaults.values():
            if vault.app == app:
                vault.rotate()

    def sees(self, repository: Repository, kept: Kept) -> bool:
        """Tell whether an organisation's secret reaches one of its repositories."""
        if kept.visibility == "selected":
            return repository.id in kept.selected
        return kept.visibility == "all" or repository.visibility != "public"
