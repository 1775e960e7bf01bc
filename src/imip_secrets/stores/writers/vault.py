"""Writes to the KV engines of Vault and OpenBao."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.errors import MissingError
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
        self._write(target, value, before)

    def staged(self, target: Target) -> Found | None:
        """Return what is held back, in a folder of its own in the same engine (see :meth:`stage`).

        Raises:
            StoreError: it cannot be read.

        """
        try:
            return self.fetch(self._side(target))
        except MissingError:
            return None

    def stage(self, target: Target, value: Secret) -> None:
        """Write the value to ``MOUNT/imip-rotation/PATH``, where no listing of the secret's folder finds it.

        Raises:
            StoreError: the engine is not KV version 2, so that no value before the current one would be kept, or Vault
                refuses or fails.

        """
        side = self._side(target)
        self._write(side, value, self.staged(target))

    def switch(self, target: Target, staged: Found, before: Found) -> None:
        """Write the staged value as a new version; the versions before it stay readable.

        Raises:
            ChangedError: another version than ``before`` is current.
            StoreError: Vault refuses or fails.

        """
        self._write(target, staged.value, before)

    def clear(self, target: Target) -> None:
        """Remove what is held back with all its versions.

        Raises:
            StoreError: Vault refuses or fails.

        """
        side = self._side(target)
        self._reader.remove(self._namespace_of(side), side.path)

    def _side(self, target: Target) -> Target:
        return target._replace(path=self._reader.beside(self._namespace_of(target), target.path), version=None)

    def _write(self, target: Target, value: Secret, before: Found | None) -> None:
        current = int(before.version) if before and before.version else None
        if self._reader.write(self._namespace_of(target), target.path, value.reveal(), current):
            return
        if self.fetch(target).value != value:
            raise ChangedError(target.path)
