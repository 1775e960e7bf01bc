"""What Key Vault's refusals mean, and what to do about each."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from imip_secrets.errors import MissingError, StoreError
from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure.core.exceptions import HttpResponseError
    from azure.core.rest import HttpResponse

    from imip_secrets.stores.azure.login import Identity
    from imip_secrets.stores.azure.places import Place

ROLE = "Key Vault Secrets User"
WRITING_ROLE = "Key Vault Secrets Officer"

_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _CONFLICT = 401, 403, 404, 409
_REDIRECTS = range(300, 400)
_RESOURCE = re.compile(r"Resource: '([\w./ ()-]+?/vaults/[\w-]+)", re.ASCII | re.IGNORECASE)
_ADDRESS = re.compile(r"Client address: ([0-9A-Fa-f.:]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of Key Vault that is not what was asked for.

    Args:
        status: The HTTP status.
        code: The error's code, or "".
        inner: The code inside, which tells the kinds of "Forbidden" apart, or "".
        raw: Key Vault's sentences, not yet fit to be shown.
        location: Where a redirect leads.

    """

    status: int
    code: str = ""
    inner: str = ""
    raw: str = ""
    location: str = ""

    @classmethod
    def of(cls, error: HttpResponseError) -> Refusal:
        """Read an exception of the SDK's client."""
        response = cast("HttpResponse | None", error.response)
        if response is None:
            return cls(0)
        try:
            said = json.loads(response.text())["error"]
            inner = said.get("innererror") or said.get("innerError") or {}
            code, deep, raw = (str(text or "") for text in (said.get("code"), inner.get("code"), said.get("message")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            code, deep, raw = "", "", ""
        location = str(response.headers.get("Location", ""))
        return cls(response.status_code, code, deep, raw, location)

    @property
    def text(self) -> str:
        """Key Vault's sentences as one harmless line; a few words where it gives none."""
        return tame(self.raw).rstrip(".") or "it gives no reason"

    @property
    def is_missing(self) -> bool:
        """Whether Key Vault itself says that there is no such secret; anything may answer 404."""
        return self.status == _NOT_FOUND and self.code == "SecretNotFound"


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, by whom: the words for what came of it.

    Args:
        place: The secret, or the start of names.
        identity: Who asks.
        verb: ``get``, ``list`` or ``set``.

    """

    place: Place
    identity: Identity
    verb: str = "get"

    def refused(self, refusal: Refusal) -> StoreError:
        """Explain a refusal."""
        if refusal.status == _FORBIDDEN:
            return StoreError(*self._denied(refusal))
        if refusal.status == _UNAUTHORISED:
            tenant = f"now {self.identity.tenant}" if self.identity.tenant else "that of the credentials"
            what = f"the vault {self.place.host} does not accept our token ({refusal.text})"
            remedy = f"The tenant must be that of the vault's subscription ({tenant}), and azure-cloud its cloud."
            return StoreError(what, remedy)
        if refusal.status == _CONFLICT and self.verb == "set":
            return self._not_written(refusal)
        if refusal.status in _REDIRECTS:
            what = f"{self.place.host} redirects to {_host(refusal.location)}, which is not followed with a token"
            return StoreError(what, "Give the vault's own name or host.")
        what = f"{self.place.host} answers {refusal.status} to the reading of {self._what()} ({refusal.text})"
        return StoreError(what, "Is it a vault? Look at the name and at what stands between this runner and Azure.")

    def missing(self) -> MissingError:
        """Say that there is no such secret, nor a deleted one that we may see."""
        version = " or version" if self.place.version else ""
        what = f"there is no {self._what().removeprefix('the ')}"
        remedy = f"Correct the name{version}, or create it: az keyvault secret set --vault-name {self.place.vault} "
        return MissingError(what, f"{remedy}--name {self.place.name} --file FILE.")

    def deleted(self, since: str, until: str) -> MissingError:
        """Say that the secret can be brought back.

        Args:
            since: The day when it was deleted, or "".
            until: The day when it will be gone for good, or "".

        """
        days = ", ".join(filter(None, (since and f"since {since}", until and f"gone for good on {until}")))
        what = f"{self._what()} is soft-deleted{f' ({days})' if days else ''}"
        remedy = f"Bring it back: az keyvault secret recover --vault-name {self.place.vault} --name {self.place.name}."
        return MissingError(what, remedy)

    def not_yet_valid(self, begins: str) -> StoreError:
        """Say that a secret is not to be used before a time, which Key Vault leaves to its readers to respect."""
        return StoreError(f"{self._what()} is not to be used before {begins}", self._of_dates("not-before"))

    def of_another_tenant(self, tenant: str) -> StoreError:
        """Say that the vault names another tenant than the one that we are in."""
        what = (
            f"the vault {self.place.host} belongs to the tenant {tame(tenant, 80)}, but azure-tenant-id is "
            f"{self.identity.tenant}"
        )
        return StoreError(what, "Correct the vault's name or azure-tenant-id; the application must be in that tenant.")

    def without_token(self, said: str) -> StoreError:
        """Say that Entra ID gives no token for what the vault asks for, though it let us in."""
        return StoreError(
            f"there is no token for the vault {self.place.host} ({said})",
            f"Is it a vault of the tenant and cloud that {self.identity.who} belongs to?",
        )

    def of_another_service(self) -> StoreError:
        """Say that the host wants a token that no vault of this name would want; it does not get one."""
        what = f"{self.place.host} asks for a token of a service that it does not belong to, so it got none"
        return StoreError(what, "Is it a vault? Give the name of the vault, or its own host.")

    def without_value(self) -> StoreError:
        """Say that a success holds no secret; that must not become an empty one."""
        what = f"the answer of {self.place.host} holds no value for {self._what()}"
        return StoreError(what, "Look at what stands between this runner and Azure.")

    def _not_written(self, refusal: Refusal) -> StoreError:
        """Say why a name is not free; a secret is purged by a person alone, since nobody can bring it back then."""
        if refusal.inner == "ObjectIsDeletedButRecoverable":
            of = f"--vault-name {self.place.vault} --name {self.place.name}"
            remedy = (
                f"Bring it back (az keyvault secret recover {of}) and run it again; or, if nobody will ever need it, "
                f"purge it (az keyvault secret purge {of})."
            )
            return StoreError(f"{self.place} is soft-deleted, so its name is taken", remedy)
        return StoreError(f"{self.place} cannot be written now ({refusal.text})", "Run it again in a minute.")

    def _what(self) -> str:
        if self.verb == "get":
            return str(self.place)
        return f"the secrets of the vault {self.place.host}"

    def _denied(self, refusal: Refusal) -> tuple[str, str]:
        """Tell the kinds of "Forbidden" apart (Azure: "Common error codes for Azure Key Vault", and its own texts)."""
        host, vault, who = self.place.host, self.place.vault, self.identity.who
        denied = f"{who} may not {self.verb} {self._what()}"
        role = WRITING_ROLE if self.verb == "set" else ROLE
        if refusal.inner == "ForbiddenByRbac":
            found = _RESOURCE.search(refusal.raw)
            scope = found[1] if found else f"RESOURCE_ID_OF_{vault}"
            return denied, (
                f"Assign it the role {role} on the vault (az role assignment create --role '{role}' --assignee "
                f"{self.identity.client} --scope {tame(scope, 200)}); a new assignment counts after up to 10 minutes."
            )
        if refusal.inner in {"ForbiddenByPolicy", "AccessDenied"}:
            return denied, (
                f"Allow it in an access policy of the vault: az keyvault set-policy --name {vault} "
                f"--secret-permissions get list{' set' if self.verb == 'set' else ''} --spn {self.identity.client}."
            )
        if refusal.inner == "ForbiddenByFirewall":
            found = _ADDRESS.search(refusal.raw)
            return f"the firewall of the vault {host} does not let {found[1] if found else 'this runner'} in", (
                "Allow the address (the vault's page, Networking) or the runner's network; the addresses of "
                "GitHub-hosted runners change from job to job."
            )
        if refusal.inner == "ForbiddenByConnection":
            return f"the vault {host} allows no access from public networks", (
                "Run in a network that has a private endpoint of the vault, or allow public access on the vault's "
                "page, Networking."
            )
        for code, (state, option) in _STATES.items():
            if refusal.inner == code:
                return f"{self._what()} is {state}", self._of_dates(option)
        return f"{denied} ({refusal.text})", f"Look at the roles, access policies and networking of the vault {host}."

    def _of_dates(self, option: str) -> str:
        value = "true" if option == "enabled" else "TIME"
        return (
            f"Name another version, or change it: az keyvault secret set-attributes --vault-name {self.place.vault} "
            f"--name {self.place.name} --{option} {value}."
        )


_STATES: Mapping[str, tuple[str, str]] = {
    "SecretDisabled": ("disabled", "enabled"),
    "SecretExpired": ("expired", "expires"),
    "SecretNotYetValid": ("not yet valid", "not-before"),
}


def _host(location: str) -> str:
    """Return the host of a redirect, of which nothing else is shown."""
    try:
        return tame(urlsplit(location).hostname or "another path", 120)
    except ValueError:
        return "something that is no address"
