"""Stores that can be written to: for migration and rotation, never for a job's export.

A writer is its store with one more method. It writes a whole value, and only over what the caller has read.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from imip_secrets.stores.base import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imip_secrets.secret import Secret
    from imip_secrets.stores.base import Context, Found, Target

# The schemes that can be written to, each with the module of its writer.
WRITERS: Mapping[str, str] = {
    "aws": "imip_secrets.stores.writers.aws",
    "vault": "imip_secrets.stores.writers.vault",
    "azure": "imip_secrets.stores.writers.azure",
}


class Writer(Store, Protocol):
    """A store that is open, and can be written to."""

    def write(self, target: Target, value: Secret, before: Found | None) -> None:
        """Write a value: a new secret, or a new version of one.

        Args:
            target: Which.
            value: The whole value; of a store of objects, a JSON object.
            before: What :meth:`fetch` gave for it, or None where there was none.

        Raises:
            ChangedError: there is another value than ``before``; nothing was written.
            StoreError: it could not be written.

        """


class Rotatable(Writer, Protocol):
    """A writer that can hold a new value back until it is known to work, and keeps the one before it."""

    def staged(self, target: Target) -> Found | None:
        """Return the value that is held back, or None where there is none.

        Raises:
            StoreError: it cannot be read.

        """

    def stage(self, target: Target, value: Secret) -> None:
        """Hold a value back, in place of one that may be held back already; readers still get the current one.

        Raises:
            StoreError: it cannot be kept, or the store keeps no value before the current one.

        """

    def switch(self, target: Target, staged: Found, before: Found) -> None:
        """Make the staged value the current one; the one before it stays readable as an older version.

        Raises:
            ChangedError: another value than ``before`` is current.
            StoreError: it cannot be done.

        """

    def clear(self, target: Target) -> None:
        """Hold nothing back any more.

        Raises:
            StoreError: it cannot be done.

        """


def open_writer(scheme: str, context: Context) -> Writer:
    """Import the SDK and make the writer of a scheme, without network."""
    writer = importlib.import_module(WRITERS[scheme])
    return cast("Writer", writer.open_writer(context))
