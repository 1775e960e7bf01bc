"""Who may do what: personal tokens, GitHub Apps, their JWTs and the tokens of their installations.

A permission is a pair such as ``("secrets", "write")``. A classic token has scopes
(``repo``, ``admin:org``) instead; what they open is in :data:`SCOPES`.
"""

from __future__ import annotations

import base64
import functools
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwt.types import Options

    from stand_ins.github.state import Account, Repository

Kind = Literal["classic", "fine-grained", "installation", "app"]

TOKEN_SECONDS = 3600
JWT_SECONDS = 600
# GitHub's clock and the client's may differ by this much before a JWT is "of the future".
LEEWAY = 60

# What every permission of an organisation is called, and the scope that a classic token needs for it.
ORGANIZATION_SCOPE = "admin:org"
SCOPES = ("repo", ORGANIZATION_SCOPE)

EXPIRES_NUMBER = (
    "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion "
    "expires"
)
EXPIRES_TOO_FAR = "'Expiration time' claim ('exp') is too far in the future"
ISSUED_NUMBER = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
BAD, NOBODY = "Bad credentials", "Requires authentication"
NO_APP = "Integration not found"
NOT_DECODED = "A JSON web token could not be decoded"


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    """Make an App's key once a process: it takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Unauthorized(Exception):  # noqa: N818 - the status's name
    """A credential that is none; the message is GitHub's."""


@dataclass(slots=True)
class App:
    """A GitHub App.

    Args:
        id: Its number.
        slug: Its name in addresses.
        client_id: The other thing that a JWT may say it is issued by.
        permissions: What it was registered with.
        key: The private key that its JWTs are signed with.

    """

    id: int
    slug: str
    client_id: str
    permissions: dict[str, str]
    key: rsa.RSAPrivateKey = field(default_factory=_key, repr=False)

    @property
    def pem(self) -> str:
        """The private key as GitHub gives it out: PEM, PKCS #1."""
        form = serialization.PrivateFormat.TraditionalOpenSSL
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@dataclass(slots=True)
class Installation:
    """An App on an account.

    Args:
        id: Its number.
        app: The App.
        account: Whose repositories they are.
        permissions: What the account agreed to.
        repositories: Which repositories, by id; None for all of them.
        suspended: Whether the account has it suspended.

    """

    id: int
    app: App
    account: Account
    permissions: dict[str, str]
    repositories: frozenset[int] | None = None
    suspended: bool = False

    def has(self, repository: Repository) -> bool:
        """Tell whether a repository is one of the installation's."""
        chosen = self.repositories is None or repository.id in self.repositories
        return repository.owner is self.account and chosen


@dataclass(slots=True)
class Token:
    """What a client shows, and what it opens.

    Args:
        kind: Whose token it is.
        text: The token.
        permissions: By name, ``read`` or ``write``; of a classic token its scopes, each ``write``.
        repositories: Which repositories, by id; None for all that the owner has.
        installation: The installation, of whose account the repositories are.
        app: The App that signed, of a JWT.
        expires: When it ends, or None.
        revoked: Whether its owner gave it back.

    """

    kind: Kind
    text: str = field(repr=False)
    permissions: Mapping[str, str] = field(default_factory=dict)
    repositories: frozenset[int] | None = None
    installation: Installation | None = None
    app: App | None = None
    expires: float | None = None
    revoked: bool = False

    def reaches(self, repository: Repository) -> bool:
        """Tell whether the token has to do with a repository; a public one it may look at all the same."""
        if self.installation and not self.installation.has(repository):
            return False
        return self.repositories is None or repository.id in self.repositories

    def may(self, permission: str, level: str) -> bool:
        """Tell whether the token has a permission."""
        if self.kind == "classic":
            return (ORGANIZATION_SCOPE if permission.startswith("organization_") else "repo") in self.permissions
        if permission == "metadata":
            return True
        held = self.permissions.get(permission)
        return held == level or held in {"write", "admin"}


class Access:
    """Every token and App that GitHub knows.

    Attributes:
        apps: The Apps, by id.
        installations: Their installations, by id.
        tokens: Every token that was ever given, by its text.

    """

    def __init__(self) -> None:
        """Start with nobody."""
        self.apps: dict[int, App] = {}
        self.installations: dict[int, Installation] = {}
        self.tokens: dict[str, Token] = {}

    def classic(self, *scopes: str) -> str:
        """Make a classic personal token with these scopes."""
        return self._add(Token("classic", f"ghp_{_letters(36)}", dict.fromkeys(scopes or SCOPES, "write")))

    def fine_grained(self, permissions: Mapping[str, str], repositories: frozenset[int] | None = None) -> str:
        """Make a fine-grained personal token."""
        text = f"github_pat_{_letters(22)}_{_letters(59)}"
        return self._add(Token("fine-grained", text, dict(permissions), repositories))

    def issue(
        self,
        installation: Installation,
        permissions: Mapping[str, str],
        repositories: frozenset[int] | None,
        now: float,
    ) -> Token:
        """Make a token of an installation, good for an hour."""
        # Since April 2026 these are "ghs_", the App's number and a JWT: some hundred characters, not forty.
        claims = {
            "iss": "github.com",
            "sub": str(installation.id),
            "exp": int(now) + TOKEN_SECONDS,
            "jti": _letters(12),
        }
        parts = [{"alg": "ES256", "typ": "JWT"}, claims]
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        text = f"ghs_{installation.app.id}_{'.'.join([*encoded, _letters(86)])}"
        token = Token("installation", text, dict(permissions), repositories, installation)
        token.expires = now + TOKEN_SECONDS
        self._add(token)
        return token

    def check(self, authorization: str, now: float) -> Token:
        """Find out who asks.

        Raises:
            Unauthorized: When nobody does.

        """
        scheme, _, text = authorization.partition(" ")
        text = text.strip()
        known = self.tokens.get(text)
        if known:
            ended = known.revoked or (known.expires is not None and now >= known.expires)
            if ended or scheme.lower() not in {"bearer", "token"}:
                raise Unauthorized(BAD)
            return known
        if scheme.lower() == "bearer" and text.count(".") == 2 and not text.startswith("gh"):
            return Token("app", text, app=self._signer(text, now))
        raise Unauthorized(BAD if text else NOBODY)

    def _signer(self, text: str, now: float) -> App:
        """Verify an App's JWT, in the order and the words of GitHub."""
        try:
            issuer = str(jwt.decode(text, options={"verify_signature": False}).get("iss", ""))
        except jwt.InvalidTokenError as error:
            raise Unauthorized(NOT_DECODED) from error
        app = next((app for app in self.apps.values() if issuer in {str(app.id), app.client_id}), None)
        if app is None:
            raise Unauthorized(NO_APP)
        # The times are compared with the stand-in's clock, which a test may have turned.
        unchecked: Options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}
        try:
            claims = jwt.decode(text, app.key.public_key(), algorithms=["RS256"], options=unchecked)
        except jwt.InvalidTokenError as error:
            raise Unauthorized(NOT_DECODED) from error
        issued, ends = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int) or issued > now + LEEWAY:
            raise Unauthorized(ISSUED_NUMBER)
        if not isinstance(ends, int) or ends <= now:
            raise Unauthorized(EXPIRES_NUMBER)
        if ends > now + JWT_SECONDS + LEEWAY:
            raise Unauthorized(EXPIRES_TOO_FAR)
        return app

    def _add(self, token: Token) -> str:
        self.tokens[token.text] = token
        return token.text


def _letters(count: int) -> str:
    """Make up letters and digits."""
    return "".join(
        secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") for _ in range(count)
    )
