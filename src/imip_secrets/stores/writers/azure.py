"""Writes to Azure Key Vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.errors import MissingError
from imip_secrets.secret import Secret
from imip_secrets.stores.azure import AzureStore
from imip_secrets.stores.base import Found
from imip_secrets.stores.writers.changed import ChangedError

if TYPE_CHECKING:
    from imip_secrets.stores.base import Context, Target

_NOTHING = Secret("-")


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

    def staged(self, target: Target) -> Found | None:
        """Return what is held back, in a secret of its own (see :meth:`stage`).

        Raises:
            StoreError: it cannot be read.

        """
        try:
            found = self._read_quietly(_side(target))
        except MissingError:
            return None
        return None if found.value == _NOTHING else found

    def stage(self, target: Target, value: Secret) -> None:
        """Set the value as the secret ``imip-rotation-NAME``, which has expired, so that no listing gives it.

        Raises:
            StoreError: the vault refuses or fails.

        """
        session, asked = self._ask("set", _side(target))
        session.vaults.write(asked, value.reveal(), expired=True)

    def switch(self, target: Target, staged: Found, before: Found) -> None:
        """Set the staged value as a new version; the versions before it stay readable.

        Raises:
            ChangedError: another version than ``before`` is current.
            StoreError: the vault refuses or fails.

        """
        self.write(target, staged.value, before)

    def clear(self, target: Target) -> None:
        """Put a mark in place of what is held back: a deleted secret would keep its name taken for months.

        Raises:
            StoreError: the vault refuses or fails.

        """
        if self.staged(target) is not None:
            self.stage(target, _NOTHING)

    def _read_quietly(self, target: Target) -> Found:
        """Read what is expired on purpose, without a notice that it is."""
        session, asked = self._ask("get", target)
        value, facts = session.vaults.read(asked)
        return Found(Secret(value), version=facts.version)

    def _version(self, target: Target) -> str:
        try:
            return self.fetch(target).version
        except MissingError:
            return ""


def _side(target: Target) -> Target:
    vault, _, name = target.path.partition("/")
    return target._replace(path=f"{vault}/imip-rotation-{name}", version=None)
