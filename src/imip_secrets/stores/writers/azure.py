"""Writes to Azure Key Vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.errors import MissingError
from imip_secrets.stores.azure import AzureStore
from imip_secrets.stores.writers.changed import ChangedError

if TYPE_CHECKING:
    from imip_secrets.secret import Secret
    from imip_secrets.stores.base import Context, Found, Target


def open_writer(context: Context) -> AzureWriter:
    """Make the writer; the SDK is imported by its login."""
    return AzureWriter(context)


class AzureWriter(AzureStore):
    """The vaults that one identity may write to."""

    def write(self, target: Target, value: Secret, before: Found | None) -> None:
        """Set a secret, which makes a new version: the role "Key Vault Secrets Officer" is needed.

        Key Vault has no comparison on writing, so the version is looked at
        once more right before.

        Raises:
            ChangedError: there is another version than ``before``.
            StoreError: the vault refuses or fails.

        """
        session, asked = self._ask("set", target)
        if self._version(target) != (before.version if before else ""):
            raise ChangedError(str(asked.place))
        session.vaults.write(asked, value.reveal())

    def _version(self, target: Target) -> str:
        try:
            return self.fetch(target).version
        except MissingError:
            return ""
