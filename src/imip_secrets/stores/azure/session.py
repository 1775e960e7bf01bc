"""One run's way to Azure: the connections, who we are, and the vaults that can be asked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imip_secrets.stores.azure.login import Identity, log_in, take_ambient
from imip_secrets.stores.azure.patience import Patience
from imip_secrets.stores.azure.transport import Transport
from imip_secrets.stores.azure.trust import tls_context
from imip_secrets.stores.azure.vaults import Vaults

if TYPE_CHECKING:
    from imip_secrets.stores.azure.assertions import Assertions
    from imip_secrets.stores.base import Context


@dataclass(frozen=True, slots=True)
class Session:
    """A login and what it opens.

    Args:
        identity: Who we are.
        vaults: What can be asked.

    """

    identity: Identity
    vaults: Vaults


def open_session(context: Context, assertions: Assertions | None) -> Session:
    """Log in: as the application that the ID tokens are shown for, or, without any, with what the machine has.

    Raises:
        ImipError: that is refused, or a certificate cannot be used.

    """
    ca_file = os.environ.get("REQUESTS_CA_BUNDLE") if context.ambient else None
    transport = Transport(tls_context(context.settings["ca-certificate"], ca_file), context.deadline)
    patience = Patience(context.deadline, context.notice)
    try:
        if assertions:
            tokens, identity = log_in(context, transport, patience, assertions)
        else:
            tokens, identity = take_ambient(context, transport)
    except BaseException:
        transport.end()
        raise
    return Session(identity, Vaults(tokens, transport, patience))
