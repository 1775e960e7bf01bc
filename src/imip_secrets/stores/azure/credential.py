"""Tokens for every client of the run: asked for once, and masked before anything is done with them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from azure.core.exceptions import HttpResponseError
from azure.identity import ClientAssertionCredential, DefaultAzureCredential

from imip_secrets.secret import Secret
from imip_secrets.stores.azure.patience import Retries
from imip_secrets.stores.azure.places import authority_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from azure.core.credentials import AccessTokenInfo, SupportsTokenInfo, TokenRequestOptions
    from typing_extensions import Self

    from imip_secrets.stores.azure.assertions import Assertions
    from imip_secrets.stores.azure.patience import Patience
    from imip_secrets.stores.azure.transport import Transport
    from imip_secrets.stores.base import Context


class ForeignTenantError(Exception):
    """A vault belongs to another tenant than the one that we log in to."""

    def __init__(self, tenant: str) -> None:
        """Remember the vault's tenant, in the vault's words."""
        super().__init__(tenant)
        self.tenant = tenant


class NoTokenError(Exception):
    """Entra ID, or what else gives tokens, refuses one."""

    def __init__(self, error: HttpResponseError) -> None:
        """Keep the SDK's exception, which is never shown as it stands."""
        super().__init__()
        self.error = error


class Tokens:
    """What the SDK's clients ask for tokens. Safe for many threads: one asks, the others find its token there.

    Args:
        credential: The SDK's.
        protect: Masks a token.
        tenant: The tenant that the credential is for, or "" for whatever it takes.

    """

    def __init__(self, credential: SupportsTokenInfo, protect: Callable[[Secret], None], tenant: str) -> None:
        """Ask for nothing yet."""
        self._credential = credential
        self._protect = protect
        self._tenant = tenant
        self._lock = threading.Lock()
        self._masked: set[str] = set()
        self._failed: dict[tuple[str, ...], Exception] = {}

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Give a token for a service; what failed once, with all its tries, is not begun again by the next thread.

        Raises:
            ForeignTenantError: the token is wanted of another tenant.
            NoTokenError: it is refused.
            Exception: whatever else the credential raises: a Fault, an ImipError.

        """
        wanted = (options or {}).get("tenant_id", "")
        if self._tenant and wanted and wanted.lower() != self._tenant.lower():
            raise ForeignTenantError(wanted)
        with self._lock:
            if scopes in self._failed:
                raise self._failed[scopes]
            try:
                token = self._credential.get_token_info(*scopes, options=options)
            except HttpResponseError as error:
                self._failed[scopes] = NoTokenError(error)
                raise self._failed[scopes] from None
            except Exception as error:
                self._failed[scopes] = error
                raise
            if token.token not in self._masked:
                self._protect(Secret(token.token))
                self._masked.add(token.token)
            return token

    def forgive(self) -> None:
        """Let what failed be tried again."""
        self._failed.clear()

    def close(self) -> None:
        """Give up what the credential holds."""
        self._credential.close()

    def __enter__(self) -> Self:
        """Return itself; the SDK wants credentials to be context managers."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def federated(context: Context, transport: Transport, patience: Patience, assertions: Assertions) -> Tokens:
    """Make the credential that changes the job's ID tokens for tokens of an application."""
    settings = context.settings
    tenant = settings["azure-tenant-id"]
    credential = ClientAssertionCredential(
        tenant,
        settings["azure-client-id"],
        assertions,
        authority=authority_of(settings),
        transport=transport,
        retry_policy_class=lambda **_: Retries(patience),
    )
    return Tokens(credential, context.protect, tenant)


def ambient(context: Context, transport: Transport) -> Tokens:
    """Make the credential that takes what the machine itself has.

    Inside the action that is a service principal of the environment, a workload
    identity or a managed identity. The tools of developers (``az`` and its like)
    are left out there: they are programs that are looked for on a PATH which an
    earlier step can change.
    """
    tools = not context.ambient
    credential = DefaultAzureCredential(
        authority=authority_of(context.settings),
        disable_instance_discovery=context.settings.given("azure-authority-host"),
        transport=transport,
        exclude_shared_token_cache_credential=tools,
        exclude_visual_studio_code_credential=tools,
        exclude_cli_credential=tools,
        exclude_powershell_credential=tools,
        exclude_developer_cli_credential=tools,
        exclude_interactive_browser_credential=True,
        exclude_broker_credential=tools,
    )
    return Tokens(credential, context.protect, "")
