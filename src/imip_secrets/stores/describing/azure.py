"""What Key Vault tells of a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.stores.azure import AzureStore
from imip_secrets.stores.describing.facts import Facts

if TYPE_CHECKING:
    from imip_secrets.stores.base import Context, Target


def open_describer(context: Context) -> AzureDescriber:
    """Make the describer; the SDK is imported by its login."""
    return AzureDescriber(context)


class AzureDescriber(AzureStore):
    """The vaults that one identity may read, described; who read a secret stands in the vault's own log alone."""

    def describe(self, target: Target) -> Facts:
        """Ask for the dates of a secret's versions.

        Raises:
            MissingError: there is no such secret.
            StoreError: the vault does not tell.

        """
        session, asked = self._ask("list", target)
        versions = session.vaults.versions(asked)
        made = sorted(each.made for each in versions if each.made)
        return Facts(
            made=made[0] if made else None,
            changed=made[-1] if made else None,
            versions=sum(each.enabled for each in versions),
        )
