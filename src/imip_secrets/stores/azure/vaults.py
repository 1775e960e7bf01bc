"""The vaults of a run, through Microsoft's client: each request an answer or a reason."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TypeVar, cast

from azure.core.exceptions import HttpResponseError
from azure.keyvault.secrets import SecretClient

from imip_secrets import __version__
from imip_secrets.errors import ImipError
from imip_secrets.stores.azure import entra
from imip_secrets.stores.azure.credential import ForeignTenantError, NoTokenError
from imip_secrets.stores.azure.faults import Fault, garbled
from imip_secrets.stores.azure.patience import Retries
from imip_secrets.stores.azure.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from azure.core.credentials import TokenCredential
    from azure.keyvault.secrets import SecretProperties

    from imip_secrets.errors import MissingError, StoreError
    from imip_secrets.stores.azure.credential import Tokens
    from imip_secrets.stores.azure.patience import Patience
    from imip_secrets.stores.azure.places import Place
    from imip_secrets.stores.azure.refusals import Asked
    from imip_secrets.stores.azure.transport import Transport

T = TypeVar("T")

_LONG_AGO = datetime(2000, 1, 1, tzinfo=timezone.utc)

# Without a handler of their own, Python would print their warnings, and with them whatever a server wrote.
for _name in ("azure", "msal"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Facts:
    """What a vault tells of a secret besides its value.

    Args:
        name: Its name.
        version: The id of the version, or "" in a listing.
        enabled: Whether it may be read.
        begins: When it may be used from, or None for ever.
        ends: When it may be used to, or None for ever.
        made: When the version was made.

    """

    name: str
    version: str
    enabled: bool
    begins: datetime | None
    ends: datetime | None
    made: datetime | None

    @classmethod
    def of(cls, about: SecretProperties) -> Facts:
        """Take the facts off the SDK's model, which reads the answer no earlier than here."""
        return cls(
            str(about.name),
            about.version or "",
            about.enabled is not False,
            _moment(about.not_before),
            _moment(about.expires_on),
            _moment(about.created_on or about.updated_on),
        )


def _moment(value: object) -> datetime | None:
    """Refuse what the SDK's model lets through where it expects a time."""
    if value is None or isinstance(value, datetime):
        return value
    msg = "this is no time"
    raise TypeError(msg)


class Vaults:
    """Asks any number of vaults, from any number of threads.

    Args:
        tokens: What the clients ask for tokens.
        transport: What all of them send through.
        patience: What all of them share when they try again.

    """

    def __init__(self, tokens: Tokens, transport: Transport, patience: Patience) -> None:
        """Make no client yet."""
        self._tokens = tokens
        self._transport = transport
        self._patience = patience
        # A client of the SDK's drops its token when it is challenged, while another thread may be about to use it.
        self._of_thread = threading.local()

    def read(self, asked: Asked) -> tuple[str, Facts]:
        """Read a secret.

        Raises:
            MissingError: it is not there, or soft-deleted.
            StoreError: it cannot be read.

        """

        def ask(client: SecretClient) -> tuple[str | None, Facts]:
            secret = client.get_secret(asked.place.name, asked.place.version)
            return secret.value, Facts.of(secret.properties)

        value, facts = self._answer(asked, ask)
        if value is None:
            raise asked.without_value()
        return value, facts

    def write(self, asked: Asked, value: str, *, expired: bool = False) -> None:
        """Set a secret, which makes a new version of it.

        Args:
            asked: Which.
            value: What.
            expired: Whether it is past its time from the start, so that no listing gives it.

        Raises:
            StoreError: the vault refuses; a name may be taken by a soft-deleted secret.

        """
        until = _LONG_AGO if expired else None
        self._answer(asked, lambda client: client.set_secret(asked.place.name, value, expires_on=until))

    def names(self, asked: Asked) -> Sequence[Facts]:
        """Give what a vault tells of its secrets, over all pages.

        Raises:
            StoreError: the vault does not give the list.

        """
        return self._answer(asked, lambda client: [Facts.of(each) for each in client.list_properties_of_secrets()])

    def versions(self, asked: Asked) -> Sequence[Facts]:
        """Give what a vault tells of the versions of a secret, over all pages.

        Raises:
            MissingError: it is not there, or soft-deleted.
            StoreError: the vault does not tell.

        """
        name = asked.place.name
        return self._answer(
            asked, lambda client: [Facts.of(each) for each in client.list_properties_of_secret_versions(name)]
        )

    def _answer(self, asked: Asked, ask: Callable[[SecretClient], T]) -> T:
        """Return what ``ask`` returns; whatever the SDK raises becomes an error of ours that holds none of it."""
        try:
            return ask(self._client(asked.place))
        except ImipError:
            raise
        except Fault as fault:
            error: StoreError = fault.error()
        except ForeignTenantError as foreign:
            error = asked.of_another_tenant(foreign.tenant)
        except NoTokenError as kept:
            error = asked.without_token(entra.Refusal.of(kept.error).said)
        except HttpResponseError as refused:
            refusal = Refusal.of(refused)
            error = self._missing(asked) if refusal.is_missing else asked.refused(refusal)
        except ValueError as wrong:
            # The SDK's check of the challenge has no exception of its own.
            challenge = str(wrong).startswith("The challenge")
            error = asked.of_another_service() if challenge else garbled(asked.place.url).error()
        except Exception:  # noqa: BLE001 - the SDK's models raise whatever an answer of the wrong form leads them to
            error = garbled(asked.place.url).error()
        raise error

    def _missing(self, asked: Asked) -> MissingError:
        """Look whether the secret is soft-deleted, where we may know that."""
        try:
            deleted = self._client(asked.place).get_deleted_secret(asked.place.name)
        except Exception:  # noqa: BLE001 - whatever it is, there is no such secret
            return asked.missing()
        days = [
            f"{moment:%Y-%m-%d}" if moment else "" for moment in (deleted.deleted_date, deleted.scheduled_purge_date)
        ]
        return asked.deleted(*days)

    def _client(self, place: Place) -> SecretClient:
        """Return the client of a vault that this thread has."""
        clients: dict[str, SecretClient] = self._of_thread.__dict__.setdefault("clients", {})
        if place.host not in clients:
            clients[place.host] = SecretClient(
                place.url,
                cast("TokenCredential", self._tokens),  # it takes either kind of credential
                transport=self._transport,
                retry_policy=Retries(self._patience),
                permit_redirects=False,
                user_agent=f"imip-secrets/{__version__}",
            )
        return clients[place.host]

    def close(self) -> None:
        """Close every connection; the tokens end by themselves."""
        self._tokens.close()
        self._transport.end()
