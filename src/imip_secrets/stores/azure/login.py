"""Who we are to Azure: an application, by the job's ID tokens, or what the machine itself has."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from imip_secrets.errors import StoreError
from imip_secrets.stores.azure.credential import ambient, federated
from imip_secrets.stores.azure.entra import LOGINS, Refusal
from imip_secrets.stores.azure.faults import Fault
from imip_secrets.stores.azure.places import cloud_of

if TYPE_CHECKING:
    from imip_secrets.settings import Settings
    from imip_secrets.stores.azure.assertions import Assertions
    from imip_secrets.stores.azure.credential import Tokens
    from imip_secrets.stores.azure.patience import Patience
    from imip_secrets.stores.azure.transport import Transport
    from imip_secrets.stores.base import Context


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are after the login.

    Args:
        line: Says it to a person.
        who: Who needs a role, to follow "assign the role to".
        client: The application's id for ``az``, or "CLIENT_ID" where it is not known.
        tenant: The tenant's id, or "".

    """

    line: str
    who: str
    client: str = "CLIENT_ID"
    tenant: str = ""


def take_ambient(context: Context, transport: Transport) -> tuple[Tokens, Identity]:
    """Log in with what the machine has.

    Raises:
        StoreError: it has nothing, or that is refused.

    """
    tokens = ambient(context, transport)
    try:
        _ask(tokens, context.settings)
    except ClientAuthenticationError as error:
        failure = _without_credentials(error)
    except AzureError as error:
        failure = _broken(error)
    else:
        return tokens, Identity("ambient credentials of this machine", "the identity of this machine")
    tokens.close()
    raise failure


def log_in(
    context: Context, transport: Transport, patience: Patience, assertions: Assertions
) -> tuple[Tokens, Identity]:
    """Log in as the application of the settings; once more with a fresh ID token when Entra finds it early or late.

    Raises:
        ImipError: Entra ID refuses, or no further ID token is to be had.

    """
    settings = context.settings
    tokens = federated(context, transport, patience, assertions)
    for attempt in range(1, LOGINS + 1):
        try:
            _ask(tokens, settings)
        except HttpResponseError as error:
            refusal = Refusal.of(error)
        except AzureError as error:
            raise _broken(error) from None
        else:
            return tokens, _identity(settings)
        if not refusal.passes or attempt == LOGINS:
            break
        if not context.deadline.sleep(random.uniform(1, 2) * attempt):  # noqa: S311 - jitter
            break
        tokens.forgive()
    raise refusal.error(settings, assertions.last)


def _ask(tokens: Tokens, settings: Settings) -> None:
    """Get a token for the cloud's vaults, in the form in which the clients will look for it."""
    tokens.get_token_info(cloud_of(settings).scope, options={"enable_cae": True})


def _identity(settings: Settings) -> Identity:
    client, tenant = settings["azure-client-id"], settings["azure-tenant-id"]
    who = f"the application {client}"
    return Identity(f"logged in as {who} of tenant {tenant}", who, client, tenant)


def _without_credentials(error: ClientAuthenticationError) -> StoreError:
    """Say that the chain found nothing that works; its own text is a wall of all that it tried."""
    refusal = Refusal.of(error)
    said = f" (AADSTS{refusal.code}: {refusal.text})" if refusal.code else ""
    what = f"the machine has no Azure credentials that work{said}"
    remedy = (
        "Give the inputs azure-tenant-id and azure-client-id, and the job `permissions: {id-token: write, contents: "
        "read}`; or run where the machine has a managed identity."
    )
    return StoreError(what, remedy)


def _broken(error: AzureError) -> StoreError:
    """Make the error for a login that got no answer."""
    if isinstance(error, Fault):
        return error.error()
    return StoreError(f"the Azure SDK could not ask for a token ({type(error).__name__})", "Look at the azure- inputs.")
