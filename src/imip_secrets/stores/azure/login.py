"""Who we are to Azure: an application, by the job's ID tokens, or what the machine itself has."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame
from imip_secrets.stores.azure.credential import NoTokenError, ambient, federated
from imip_secrets.stores.azure.entra import LOGINS, Refusal
from imip_secrets.stores.azure.faults import Fault
from imip_secrets.stores.azure.places import cloud_of

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError

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
    try:
        tokens = ambient(context, transport)
        _ask(tokens, context.settings)
    except NoTokenError as refused:
        failure = _without_credentials(refused.error)
    except (ValueError, OSError) as error:
        # What the environment says is of no use to the SDK: a word that it does not know, a file that is not there.
        what = f"the Azure credentials of this machine cannot be used ({tame(error)})"
        failure = StoreError(what, "Correct the AZURE_ variables of the environment.")
    else:
        return tokens, Identity("ambient credentials of this machine", "the identity of this machine")
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
    attempt = 0
    while True:
        attempt += 1
        try:
            _ask(tokens, settings)
        except NoTokenError as refused:
            refusal = Refusal.of(refused.error)
        except Fault as fault:
            raise fault.error() from None
        else:
            return tokens, _identity(settings)
        late = not refusal.passes or attempt == LOGINS
        if late or not context.deadline.sleep(random.uniform(1, 2) * attempt):  # noqa: S311 - jitter
            raise refusal.error(settings, assertions.last)
        tokens.forgive()


def _ask(tokens: Tokens, settings: Settings) -> None:
    """Get a token for the cloud's vaults, in the form in which the clients will look for it."""
    tokens.get_token_info(cloud_of(settings).scope, options={"enable_cae": True})


def _identity(settings: Settings) -> Identity:
    client, tenant = settings["azure-client-id"], settings["azure-tenant-id"]
    who = f"the application {client}"
    return Identity(f"logged in as {who} of tenant {tenant}", who, client, tenant)


def _without_credentials(error: HttpResponseError) -> StoreError:
    """Say that the chain found nothing that works; of its long text, those parts that failed though they were there."""
    refusal = Refusal.of(error)
    tried = [line.strip() for line in error.message.splitlines() if line.startswith("\t")]
    broken = "; ".join(line for line in tried if "unavailable" not in line)
    said = refusal.said if refusal.code else tame(broken)
    what = f"the machine has no Azure credentials that work{f' ({said})' if said else ''}"
    remedy = (
        "Give the inputs azure-tenant-id and azure-client-id, and the job `permissions: {id-token: write, contents: "
        "read}`; or run where the machine has a managed identity."
    )
    return StoreError(what, remedy)
