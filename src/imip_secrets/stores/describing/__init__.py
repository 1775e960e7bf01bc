"""Stores that tell about a secret without its value: for the audit alone, so that a job's export imports none of it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from imip_secrets.stores.base import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imip_secrets.stores.base import Context, Target
    from imip_secrets.stores.describing.facts import Facts

# The schemes that can be described, each with its module.
DESCRIBERS: Mapping[str, str] = {
    "aws": "imip_secrets.stores.describing.aws",
    "aws-ssm": "imip_secrets.stores.describing.aws_ssm",
    "vault": "imip_secrets.stores.describing.vault",
    "azure": "imip_secrets.stores.describing.azure",
}


class Describer(Store, Protocol):
    """A store that is open, and tells about its secrets."""

    def describe(self, target: Target) -> Facts:
        """Give what the store knows of a secret besides its value.

        Raises:
            MissingError: there is no such secret.
            StoreError: the store does not tell.

        """


def open_describer(scheme: str, context: Context) -> Describer:
    """Import the SDK and make the describer of a scheme, without network."""
    module = importlib.import_module(DESCRIBERS[scheme])
    return cast("Describer", module.open_describer(context))
