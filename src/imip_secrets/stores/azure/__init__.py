"""Azure Key Vault, through Microsoft's SDK (``docs/decisions/0012-azure-sdk.md``)."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from imip_secrets.errors import MissingError, StoreError
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret
from imip_secrets.stores.azure.check import check
from imip_secrets.stores.azure.places import Place
from imip_secrets.stores.base import Found, Target, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imip_secrets.stores.azure.assertions import Assertions
    from imip_secrets.stores.azure.refusals import Asked
    from imip_secrets.stores.azure.session import Session
    from imip_secrets.stores.azure.vaults import Facts
    from imip_secrets.stores.base import Context

__all__ = ["check", "open_store"]

# As many names as fit a line that is still read.
_NAMED = 20
# azure-identity: EnvironmentCredential and WorkloadIdentityCredential, which read the two ids from the environment too.
_PROOFS = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE")


def open_store(context: Context) -> AzureStore:
    """Make the store; the SDK is imported by its login, while the ID token is on its way."""
    return AzureStore(context)


class AzureStore:
    """The vaults that one identity may read. See :class:`~imip_secrets.stores.base.Store`."""

    def __init__(self, context: Context) -> None:
        """Remember the context."""
        self._context = context
        self._session: Session | None = None

    def login(self) -> str:
        """Change an ID token for one of the application's, or take the credentials of the machine.

        Raises:
            ImipError: there is no ID token, Entra ID refuses it, or there are no credentials.

        """
        self._session = self._log_in()
        return self._session.identity.line

    def _log_in(self) -> Session:
        if not _is_federated(self._context):
            return _import()(self._context, None)
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - imports logging

        from imip_secrets.stores.azure.assertions import Assertions  # noqa: PLC0415 - not needed by check()

        with ThreadPoolExecutor(1, "imip-secrets-azure") as threads:
            importing = threads.submit(_import)
            assertions = Assertions(self._context)
            return importing.result()(self._context, assertions)

    def fetch(self, target: Target) -> Found:
        """Read one secret: the role "Key Vault Secrets User" is all that it needs.

        A secret that has expired is given with a notice, as Key Vault gives it;
        one whose time has not come is refused.

        Raises:
            MissingError: there is no such secret or version, or it is deleted.
            StoreError: it cannot or must not be read.

        """
        session, asked = self._ask("get", target)
        if not asked.place.name:
            what = f"it names no secret of the vault {asked.place.host}"
            raise StoreError(what, f"Write azure://{target.path}SECRET, or azure://{target.path}* for all of them.")
        value, facts = session.vaults.read(asked)
        if facts.begins and facts.begins > _now():
            raise asked.not_yet_valid(_minute(facts.begins))
        if facts.ends and facts.ends <= _now():
            self._context.notice(f"Azure: {asked.place} has expired ({_minute(facts.ends)}); it is used all the same")
        return Found(Secret(value), version=tame(facts.version, 40), changed=facts.made)

    def version_of(self, target: Target) -> Version | None:
        """Give the version that a read would give: to a role that may read metadata, as "Key Vault Secrets User" may.

        Two that were made in the same second cannot be told apart.
        """
        session, asked = self._ask("list", target)
        try:
            versions = session.vaults.versions(asked) if asked.place.name else []
        except MissingError:
            raise
        except StoreError:
            return None
        if asked.place.version:
            named = [each for each in versions if each.version == asked.place.version]
        else:
            latest = max((each.made for each in versions if each.made), default=None)
            named = [each for each in versions if each.made == latest]
        one = named[0] if len(named) == 1 else None
        return Version(tame(one.version, 40), one.made) if one and not _state(one, _now()) else None

    def list(self, target: Target, *, deep: bool) -> Sequence[Target]:  # noqa: ARG002 - a vault has one level
        """Give the secrets whose names go on after the text (Key Vault's names know no case).

        Left out, and named in a notice, are those that are disabled, have expired or are not valid yet.

        Raises:
            StoreError: the vault does not give the list.

        """
        session, asked = self._ask("list", target)
        vault, start = target.path.partition("/")[0], asked.place.name.lower()
        fitting = [each for each in session.vaults.names(asked) if _goes_on(each.name.lower(), start)]
        states = {each.name: _state(each, _now()) for each in sorted(fitting, key=lambda facts: facts.name)}
        self._tell_of(asked.place.host, {name: state for name, state in states.items() if state})
        return [Target(f"{vault}/{name}") for name, state in states.items() if not state]

    def _tell_of(self, host: str, states: dict[str, str]) -> None:
        """Name the secrets that a listing leaves out."""
        if not states:
            return
        named = [f"{tame(name, 127)} ({state})" for name, state in list(states.items())[:_NAMED]]
        rest = f" and {len(states) - _NAMED} more" if len(states) > _NAMED else ""
        self._context.notice(f"Azure: left out of the listing of {host}: {', '.join(named)}{rest}")

    def close(self) -> None:
        """Close every connection and forget the token, which ends by itself."""
        if self._session:
            self._session.vaults.close()

    def _ask(self, verb: str, target: Target) -> tuple[Session, Asked]:
        """Return what to ask with, and the words for what is asked."""
        from imip_secrets.stores.azure.refusals import Asked  # noqa: PLC0415 - needed by then

        if self._session is None:
            msg = "the store is not logged in"
            raise RuntimeError(msg)
        return self._session, Asked(Place.of(target, self._context.settings), self._session.identity, verb)


def _import() -> Callable[[Context, Assertions | None], Session]:
    """Import the SDK, which takes a third of a second."""
    from imip_secrets.stores.azure.session import open_session  # noqa: PLC0415 - only a login needs it

    return open_session


def _is_federated(context: Context) -> bool:
    """Tell whether to log in with the job's ID token.

    At people's own machine, both ids may come from the environment beside a
    proof of their own (a client secret, a workload identity's file), and are
    meant for that.
    """
    own_proof = context.ambient and any(os.environ.get(name) for name in _PROOFS)
    return context.settings.given("azure-client-id") and not own_proof


def _goes_on(name: str, start: str) -> bool:
    return name.startswith(start) and name != start


def _state(facts: Facts, now: datetime) -> str:
    """Say why a secret is not to be used now, or ""."""
    if not facts.enabled:
        return "disabled"
    if facts.ends and facts.ends <= now:
        return "expired"
    if facts.begins and facts.begins > now:
        return f"not valid before {_minute(facts.begins)}"
    return ""


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
