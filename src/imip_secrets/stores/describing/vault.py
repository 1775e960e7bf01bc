"""What KV version 2 tells of a secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imip_secrets.stores.describing.facts import Facts
from imip_secrets.stores.vault import VaultStore, start_client
from imip_secrets.stores.vault.answer import moment, part, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imip_secrets.document import Json
    from imip_secrets.stores.base import Context, Target

_VERSION = re.compile(r"[0-9]{1,18}", re.ASCII)


def open_describer(context: Context) -> VaultDescriber:
    """Make the describer, without network."""
    return VaultDescriber(context, start_client(context))


class VaultDescriber(VaultStore):
    """One Vault, described."""

    def describe(self, target: Target) -> Facts:
        """Ask for a secret's metadata: ``read`` on its path below ``metadata/``.

        Raises:
            MissingError: there is no such secret.
            StoreError: the engine keeps no metadata, or Vault refuses or fails.

        """
        data = self._reader.metadata(self._namespace_of(target), target.path)
        versions = part(data, "versions")
        current = part(versions, str(max((int(each) for each in versions if _VERSION.fullmatch(each)), default=0)))
        return Facts(
            made=moment(words(data, "created_time")),
            changed=moment(words(current, "created_time")) or moment(words(data, "updated_time")),
            versions=sum(_is_readable(part(versions, each)) for each in versions),
        )


def _is_readable(facts: Mapping[str, Json]) -> bool:
    return not facts.get("deletion_time") and not facts.get("destroyed")
