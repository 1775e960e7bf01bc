"""What is wrong with a request to Key Vault before anything is asked of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imip_secrets.errors import Problem
from imip_secrets.foreign import tame
from imip_secrets.stores.azure.places import CLOUDS, HOST, SECRET_NAME, VAULT_NAME, VERSION, is_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imip_secrets.settings import Settings
    from imip_secrets.stores.base import Target

_SHOWN = 80
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_IDS = {
    "azure-tenant-id": "the directory (tenant) id",
    "azure-client-id": "the application (client) id",
}
_ID_LIKE = "11112222-bbbb-3333-cccc-4444dddd5555"


def check(settings: Settings, targets: Iterable[Target]) -> Iterator[tuple[Target | None, Problem]]:
    """Find what is wrong before any network; see :class:`~imip_secrets.stores.base.StoreModule`."""
    for what, name, remedy in _settings(settings):
        yield None, Problem(what, f"input {name}", remedy)
    for target in targets:
        mistake = _path(target) or _cloud(target, settings["azure-cloud"]) or _version(target)
        if mistake:
            yield target, Problem(mistake[0], remedy=mistake[1])


def _settings(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Give what is wrong, with which input, and what would be right."""
    given = [name for name in _IDS if settings.given(name)]
    for name, title in _IDS.items():
        if name in given and not _ID.fullmatch(settings[name]):
            what = f"{tame(settings[name], _SHOWN)!r} is not {title}"
            yield what, name, f"Copy it from the application's page in Entra ID; it looks like {_ID_LIKE}."
        if given and name not in given:
            what = f"it is missing, while {given[0]} is given"
            yield what, name, f"Give {title} too; or leave out both, for the credentials of the machine."
    if settings["azure-authority-host"].startswith("http:"):
        yield "an ID token is sent there, so it must be https", "azure-authority-host", "Write it with https://."


def _path(target: Target) -> tuple[str, str] | None:
    """Say what is wrong with the vault or the name, and what would be right."""
    vault, slash, name = target.path.partition("/")
    shown = tame(vault, _SHOWN)
    if not vault:
        return "it names no vault", "Write azure://VAULT/SECRET, or azure://VAULT/* for all secrets of a vault."
    if not slash:
        return "it names no secret", f"Write azure://{shown}/SECRET, or azure://{shown}/* for all secrets of the vault."
    if is_host(vault):
        if not HOST.fullmatch(vault):
            return f"{shown!r} is no host", "Write it like azure://imip-vault.vault.azure.net/SECRET-KEY."
    elif not VAULT_NAME.fullmatch(vault):
        what = f"{shown!r} is no name of a vault: 3 to 24 letters, digits and single hyphens, a letter first"
        return what, "Write it like azure://imip-vault/SECRET-KEY, or give the vault's host."
    return _name(target, shown, name)


def _name(target: Target, vault: str, name: str) -> tuple[str, str] | None:
    """Judge the name; it may be empty, for a listing of all."""
    start, _, rest = name.partition("/")
    pasted = rest or (target.version or "") if start == "secrets" else ""
    if pasted and not VERSION.fullmatch(pasted):
        what = "between the vault and the secret there is the word secrets, which is only in addresses"
        return what, f"Leave it out: azure://{vault}/{tame(pasted, _SHOWN)}."
    if rest or "/" in name:
        what = "the path goes on after the version, or a part of it is empty: Key Vault has no folders"
        return what, f"Write azure://{vault}/SECRET, or azure://{vault}/SECRET/VERSION."
    if name and not SECRET_NAME.fullmatch(name):
        what = f"{tame(name, _SHOWN)!r} is no name of a secret in Key Vault"
        better = re.sub(r"[^0-9A-Za-z]+", "-", name[:127]).strip("-") or "SECRET-KEY"
        remedy = f"Names have 1 to 127 ASCII letters, digits and hyphens, such as azure://{vault}/{better}."
        return what, remedy
    return None


def _cloud(target: Target, chosen: str) -> tuple[str, str] | None:
    """See that a host given by hand is not one of another cloud, whose vaults take no token of this one."""
    host = target.path.partition("/")[0].partition(":")[0].lower()
    for name, cloud in CLOUDS.items():
        if name != chosen and host.endswith(f".{cloud.suffix}"):
            return f"{host} is a vault of the cloud {name}, but azure-cloud is {chosen}", f"Write azure-cloud: {name}."
    return None


def _version(target: Target) -> tuple[str, str] | None:
    if target.version is None or VERSION.fullmatch(target.version):
        return None
    what = f"{tame(target.version, _SHOWN)!r} is no version of a secret in Key Vault, which has 32 hexadecimal digits"
    return what, "Write azure://VAULT/SECRET/VERSION, or leave the version out for the current one."
