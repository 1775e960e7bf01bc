"""Who the job is: an OIDC ID token and its claims."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from imip_secrets.secret import Secret

# The claims that trust policies are written against (GitHub: "OpenID Connect reference"; GitLab: "ID token payload").
TELLING_CLAIMS = ("sub", "aud", "iss", "repository", "project_path", "environment", "job_workflow_ref")
# How far AWS and Azure let two clocks be apart.
CLOCK_SECONDS = 300

# Three parts of base64url (RFC 7515 section 3.1).
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class IdToken(NamedTuple):
    """A signed token made for one audience, good for some five minutes.

    Args:
        token: The JWT itself.
        claims: Its decoded payload, not verified: the store does that.

    """

    token: Secret
    claims: Mapping[str, object]

    def describe(self) -> str:
        """Give the claims that trust policies name, never the token."""
        return ", ".join(f"{name}={tame(self.claims[name])}" for name in TELLING_CLAIMS if name in self.claims)


# Gives a fresh token for an audience; raises ImipError with the remedy when the job may have none.
IdTokenSource = Callable[[str], IdToken]


def is_jwt(text: str) -> bool:
    """Tell whether a text has the form of a signed token."""
    return _JWT.fullmatch(text) is not None


def claims_of(token: Secret) -> Mapping[str, object] | None:
    """Decode the payload of a token, without a look at its signature, which is for the store; None if it has none."""
    payload = token.reveal_bytes().split(b".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None
