"""What Entra ID's refusals mean, with the claims of the token beside what must match them."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame
from imip_secrets.stores.azure.places import authority_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.core.exceptions import HttpResponseError

    from imip_secrets.identity import IdToken
    from imip_secrets.settings import Settings

LOGINS = 3  # with a fresh ID token each, when it is the clocks or the keys that differ
_GITHUB = "https://token.actions.githubusercontent.com"
_CODE = re.compile(r"AADSTS([0-9]+): (.*)", re.DOTALL)
# Where the sentences end: links, and ids for Microsoft's support.
_REST = re.compile(r"\s*(?:See [^.]*: )?(?:https?://|Trace ID:|Correlation ID:).*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What Entra ID says.

    Args:
        status: The HTTP status, or 0 where it is not known.
        code: The number after AADSTS, or "".
        text: The sentences, fit to be shown.

    """

    status: int
    code: str
    text: str

    @classmethod
    def of(cls, error: HttpResponseError) -> Refusal:
        """Read an exception of azure-identity."""
        found = next(filter(None, map(_CODE.search, _texts(error))), None)
        code, text = found.groups() if found else ("", "")
        return cls(error.status_code or 0, code, tame(_REST.sub("", text)).rstrip("."))

    @property
    def passes(self) -> bool:
        """Whether another ID token may fare better: a clock that differs, keys that Entra ID does not have yet."""
        return self.code in _FRESH_HELPS

    @property
    def said(self) -> str:
        """The code and the sentences, or that there are none."""
        return f"AADSTS{self.code}: {self.text}" if self.code else f"status {self.status} without a reason"

    def error(self, settings: Settings, token: IdToken) -> StoreError:
        """Say why the login was refused, with the claims beside what must match them."""
        client, tenant = settings["azure-client-id"], settings["azure-tenant-id"]
        host = authority_of(settings).removeprefix("https://")
        what = f"Entra ID at {host} refused the login as application {client} of tenant {tenant} ({self.said})"
        remedy = next(remedy for start, remedy in _REMEDIES if self.code.startswith(start))
        return StoreError(what, remedy.format(**dict(_words(settings, token)), client=client, tenant=tenant))


def _texts(error: HttpResponseError) -> Iterator[str]:
    """Give what there is to read: the field of the answer, else what the SDK made of it."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        yield str(json.loads(error.response.text())["error_description"]) if error.response else ""
    yield error.message


def _words(settings: Settings, token: IdToken) -> Iterator[tuple[str, str]]:
    claims = token.claims
    yield "claims", f"The token has {token.describe()}."
    yield "issuer", tame(claims.get("iss", ""), 120)
    yield "subject", tame(claims.get("sub", ""), 200)
    yield "audience", tame(settings["azure-audience"], 120)
    yield "form", _subject_form(token)
    yield "cloud", settings["azure-cloud"]
    yield "logins", str(LOGINS)


def _subject_form(token: IdToken) -> str:
    """Explain the two forms of GitHub's sub (GitHub: "OpenID Connect reference", immutable subject claims)."""
    if token.claims.get("iss") != _GITHUB:
        return ""
    if "@" in str(token.claims.get("sub", "")).partition(":")[2].partition(":")[0]:
        return (
            " This repository sends the form with ids (repo:ORG@ID/REPO@ID:..., since 2026-07-15 for new, renamed and "
            "transferred repositories): a credential written for repo:ORG/REPO:... does not fit it."
        )
    return (
        " This repository sends the form without ids; new, renamed and transferred ones send repo:ORG@ID/REPO@ID:... "
        "since 2026-07-15, which is what the portal may have written."
    )


# 700024: the assertion is not within its valid time range; 50013: its signature cannot be verified.
_FRESH_HELPS = frozenset({"700024", "50013"})
# By the start of the code (Microsoft: "Microsoft Entra authentication and authorization error codes"); the first that
# fits. 70021, 700211 (issuer), 700212 (audience), 700213 (subject), 7002138 (subject in other case).
_REMEDIES = (
    (
        "70021",
        (
            "Give the application (App registrations, {client}, Certificates & secrets, Federated credentials) one "
            "with issuer {issuer}, subject {subject}, audience {audience}, letter by letter; a new one counts after "
            "some minutes. {claims}{form}"
        ),
    ),
    (
        "700016",
        (
            "The application {client} is not in the tenant {tenant}: correct azure-client-id (the application's id, "
            "not that of its object) or azure-tenant-id."
        ),
    ),
    ("90002", "There is no tenant {tenant} in the cloud {cloud}: correct azure-tenant-id or azure-cloud."),
    ("90038", "The tenant {tenant} is in another cloud than {cloud}: correct azure-cloud."),
    ("700024", "Set the clocks right; {logins} fresh tokens were tried. {claims}"),
    (
        "50013",
        (
            "Entra ID could not verify the token's signature with the keys of its issuer, {issuer}; {logins} fresh "
            "tokens were tried. It must reach the issuer's keys from the internet."
        ),
    ),
    ("7000112", "Enable the application {client} (Enterprise applications, Properties)."),
    ("50001", "Key Vault is not known to the tenant {tenant}: correct azure-cloud ({cloud}) or azure-tenant-id."),
    ("53003", "Let a Conditional Access policy for workload identities allow the application {client} from here."),
    ("", "Correct the application {client} in Entra ID. {claims}"),
)
