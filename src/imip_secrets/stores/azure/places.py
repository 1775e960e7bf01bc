"""Where a secret is: the clouds of Azure, the hosts of vaults, and what names may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imip_secrets.settings import Settings
    from imip_secrets.stores.base import Target

# Azure: "Naming rules and restrictions for Azure resources", Microsoft.KeyVault.
VAULT_NAME = re.compile(r"(?!.*--)[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]", re.ASCII)
SECRET_NAME = re.compile(r"[0-9A-Za-z-]{1,127}", re.ASCII)
VERSION = re.compile(r"[0-9a-f]{32}", re.ASCII | re.IGNORECASE)
HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cloud:
    """One of Azure's clouds.

    Args:
        authority: Where its Entra ID gives tokens (azure-identity: ``AzureAuthorityHosts``).
        suffix: What the hosts of its vaults end in, which is also the service that a token is for.

    """

    authority: str
    suffix: str

    @property
    def scope(self) -> str:
        """What a token for its vaults is asked for."""
        return f"https://{self.suffix}/.default"


CLOUDS: Mapping[str, Cloud] = {
    "public": Cloud("https://login.microsoftonline.com", "vault.azure.net"),
    "usgovernment": Cloud("https://login.microsoftonline.us", "vault.usgovcloudapi.net"),
    "china": Cloud("https://login.chinacloudapi.cn", "vault.azure.cn"),
}


def cloud_of(settings: Settings) -> Cloud:
    """Return the cloud that the settings name."""
    return CLOUDS[settings["azure-cloud"]]


def authority_of(settings: Settings) -> str:
    """Return where tokens are asked for: the setting, else the cloud's own."""
    return settings["azure-authority-host"].rstrip("/") or cloud_of(settings).authority


def is_host(vault: str) -> bool:
    """Tell whether a vault is given by its host: no name of a vault has a dot or a colon."""
    return "." in vault or ":" in vault


@dataclass(frozen=True, slots=True)
class Place:
    """A secret, or the start of names, in a vault.

    Args:
        host: The vault's host, with a port if there is one.
        name: The name, or for a listing its start.
        version: The version, or None for the current one.

    """

    host: str
    name: str
    version: str | None = None

    @classmethod
    def of(cls, target: Target, settings: Settings) -> Place:
        """Read a target that was checked."""
        vault, _, name = target.path.partition("/")
        host = vault if is_host(vault) else f"{vault}.{cloud_of(settings).suffix}"
        return cls(host.lower(), name, target.version)

    @property
    def vault(self) -> str:
        """The vault's name, as ``az keyvault`` takes it; a host of another kind does not tell it."""
        known = any(self.host.endswith(f".{cloud.suffix}") for cloud in CLOUDS.values())
        return self.host.partition(".")[0] if known else "VAULT_NAME"

    @property
    def url(self) -> str:
        """The vault's address."""
        return f"https://{self.host}"

    def __str__(self) -> str:
        """Name the secret for a person."""
        version = f" (version {self.version})" if self.version else ""
        return f"the secret {self.name}{version} of the vault {self.host}"
