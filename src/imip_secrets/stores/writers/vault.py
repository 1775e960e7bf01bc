"""Writes to the KV engines of Vault and OpenBao."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.stores.vault import VaultStore, start_client
from imip_secrets.stores.writers.changed import ChangedError

if TYPE_CHECKING:
    from imip_secrets.secret import Secret
    from imip_secrets.stores.base import Context, Found, Target


def open_writer(context: Context) -> VaultWriter:
    """Make the writer, without network."""
    return VaultWriter(context, start_client(context))


class VaultWriter(VaultStore):
    """One Vault, to be written to."""

    def write(self, target: Target, value: Secret, before: Found | None) -> None:
        """Write a secret of a KV engine, in version 2 by compare-and-set: ``create`` and ``update`` on its path.

        A write whose answer was lost is sent again and then fails by that
        comparison, so a refusal is believed only where the value is another.

        Raises:
            ChangedError: there is another version than ``before``.
            StoreError: the path is in no KV engine, or Vault refuses or fails.

        """
        current = int(before.version) if before and before.version else None
        if self._reader.write(self._namespace_of(target), target.path, value.reveal(), current):
            return
        if self.fetch(target).value != value:
            raise ChangedError(target.path)
