"""What ends credentials that Vault made: the token that they hang on, or, where that is not ours to end, each lease.

The process that got the credentials may be over by then. So all that is
needed can be written down, and taken up again by another process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.document import Number
from imip_secrets.errors import ImipError, StoreError
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret
from imip_secrets.settings import Settings
from imip_secrets.stores.vault.answer import part, span, whole, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imip_secrets.document import Json
    from imip_secrets.stores.vault.answer import Answer
    from imip_secrets.stores.vault.client import VaultClient

SECONDS = 10.0
"""How long the end of all leases of one login may take."""

# What another process needs to reach the same Vault.
_SETTINGS = ("vault-addr", "vault-namespace", "ca-certificate", "vault-ca-certificate", "vault-client-certificate")
_KEY = "vault-client-key"
_SHOWN = 120
_DENIED = 403
_GONE = ("invalid token", "bad token")  # Vault's and OpenBao's words for a token that has ended


class Held(NamedTuple):
    """A lease that somebody lives by.

    Args:
        path: Where the credentials come from.
        namespace: The namespace of that path.
        id: What revokes it.
        seconds: How long it lives from when it was given.

    """

    path: str
    namespace: str
    id: Secret
    seconds: int


class VaultKept:
    """The credentials of one login (an :class:`~imip_secrets.stores.base.Kept`).

    Args:
        client: Uses the token that the credentials hang on.
        settings: Where Vault is.
        token: The same token.
        leases: The credentials; more may come while this is not ended.
        by_token: Whether the token may be revoked, and everything with it.

    """

    def __init__(
        self, client: VaultClient, settings: Settings, token: Secret, leases: Sequence[Held], *, by_token: bool
    ) -> None:
        """Take note; nothing is sent."""
        self._client = client
        self._settings = settings
        self._token = token
        self._held = leases
        self._by_token = by_token

    @property
    def store(self) -> str:
        """The scheme of the store."""
        return "vault"

    @property
    def leases(self) -> int:
        """How many there are."""
        return len(self._held)

    @property
    def what(self) -> str:
        """What the credentials are for, and how long each lives by itself."""
        return ", ".join(f"{tame(held.path, _SHOWN)} for {span(held.seconds)}" for held in self._held)

    def end(self) -> str:
        """Revoke the credentials, within :data:`SECONDS`; return what went wrong, or "". Never raises."""
        self._client.extend(SECONDS)
        try:
            answers = [self._revoke_token()] if self._by_token else self._revoke_each()
            return next(filter(None, map(self._fault, answers)), "")
        except ImipError as error:
            return str(error)
        finally:
            self._client.close()

    def prolong(self) -> int:
        """Prolong the credentials, and the token that they hang on where it is ours; return how long all of them live.

        Raises:
            StoreError: Vault refused or failed.

        """
        self._client.extend(SECONDS)
        lives = [
            self._prolonged("sys/leases/renew", self._client.renew_lease(each.namespace, each.id))
            for each in self._held
        ]
        if self._by_token:
            namespace = self._settings["vault-namespace"].strip("/")
            lives.append(self._prolonged("auth/token/renew-self", self._client.renew_self(namespace)))
        return min(lives)

    def _prolonged(self, path: str, answer: Answer) -> int:
        """Return the seconds of an answer.

        Raises:
            StoreError: it is a refusal.

        """
        seconds = whole(part(answer.body, "auth") or answer.body, "lease_duration")
        if answer.ok and seconds:
            return seconds
        remedy = (
            f'A policy must have path "{path}" {{ capabilities = ["update"] }}.' if answer.status == _DENIED else ""
        )
        said = f"status {answer.status}{f', {answer.reason}' if answer.reason else ''}"
        what = f"Vault does not prolong what was made ({self.what}): {said}"
        raise StoreError(what, remedy)

    def leave(self) -> None:
        """Let the credentials live, and close the connections to Vault."""
        self._client.close()

    def record(self) -> dict[str, Json]:
        """Return what :func:`read` reads; it holds the token."""
        key = self._settings.secret(_KEY)
        return {
            "settings": {
                **{name: self._settings[name] for name in _SETTINGS if self._settings.given(name)},
                **({_KEY: key.reveal()} if key else {}),
            },
            "token": self._token.reveal(),
            "by-token": self._by_token,
            "leases": [
                [held.path, held.namespace, "" if self._by_token else held.id.reveal(), Number(str(held.seconds))]
                for held in self._held
            ],
        }

    def _revoke_token(self) -> Answer:
        return self._client.revoke_self(self._settings["vault-namespace"].strip("/"))

    def _revoke_each(self) -> list[Answer]:
        """Revoke all, whatever comes of the others."""
        return [self._client.revoke_lease(held.namespace, held.id) for held in self._held]

    def _fault(self, answer: Answer) -> str:
        """Say what is wrong with an answer, or ""; what had ended before is no fault."""
        if answer.ok or any(word in answer.reason for word in _GONE):
            return ""
        said = f"Vault answers {answer.status}{f', {answer.reason}' if answer.reason else ''}"
        if answer.status != _DENIED:
            return said
        path = "auth/token/revoke-self" if self._by_token else "sys/leases/revoke"
        return f'{said}; a policy must have path "{path}" {{ capabilities = ["update"] }}'


def read(record: dict[str, Json]) -> tuple[Settings, Secret, list[Held], bool]:
    """Read what :meth:`VaultKept.record` wrote.

    Raises:
        ValueError: it is something else.

    """
    given = part(record, "settings")
    leases, by_token = record.get("leases"), record.get("by-token")
    token = Secret(words(record, "token"))
    if not token or set(given) - {*_SETTINGS, _KEY} or not isinstance(leases, list) or not isinstance(by_token, bool):
        raise ValueError
    settings = Settings({name: words(given, name) for name in given})
    if any(settings.problems()) or not settings.given("vault-addr"):
        raise ValueError
    return settings, token, [_held(lease) for lease in leases], by_token


def _held(lease: Json) -> Held:
    match lease:
        case [str(path), str(namespace), str(name), Number() as seconds]:
            return Held(path, namespace, Secret(name), int(seconds.text))
    raise ValueError
