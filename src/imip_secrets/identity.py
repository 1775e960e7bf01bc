"""Who the job is: an OIDC ID token and its claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from imip_secrets.secret import Secret

# The claims that trust policies are written against (GitHub: "OpenID Connect reference").
TELLING_CLAIMS = ("sub", "aud", "iss", "repository", "environment", "job_workflow_ref")


@dataclass(frozen=True, slots=True)
class IdToken:
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
