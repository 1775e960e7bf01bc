"""Makes values that nobody can guess, by the system's source of randomness."""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Signs that no shell, URL or quoted text takes for anything else.
SYMBOLS = "-._~+^%"
KINDS = ("password", "token", "hex", "ed25519", "rsa")
SHORTEST, LONGEST = 12, 512


class Recipe(NamedTuple):
    """What is to be made.

    Args:
        kind: ``password`` (letters, digits and symbols, at least one of each), ``token`` (URL-safe letters),
            ``hex``, or a private key in PEM: ``ed25519``, ``rsa`` (3072 bits).
        length: Characters; of a key it is nothing.
        symbols: The symbols of a password; "" for none.
        exclude: Characters that a password must not have.

    """

    kind: str = "password"
    length: int = 40
    symbols: str = SYMBOLS
    exclude: str = ""

    def problem(self) -> str:
        """Say what is wrong with it, or ""."""
        if not SHORTEST <= self.length <= LONGEST:
            return f"a length from {SHORTEST} to {LONGEST} is wanted"
        if self.kind == "password" and not all(self.classes()):
            return "nothing is left of one kind of characters"
        return ""

    def classes(self) -> list[str]:
        """Return the kinds of characters of a password, each of which it has at least once."""
        kinds = [string.ascii_lowercase, string.ascii_uppercase, string.digits]
        if self.symbols:
            kinds.append(self.symbols)
        return ["".join(char for char in kind if char not in self.exclude) for kind in kinds]

    def make(self) -> Secret:
        """Make a value."""
        return Secret(_MAKERS[self.kind](self))


def _password(recipe: Recipe) -> str:
    classes = recipe.classes()
    every = "".join(dict.fromkeys("".join(classes)))
    while True:
        # Drawn anew until it has each kind, so that all that fit are equally likely.
        text = "".join(secrets.choice(every) for _ in range(recipe.length))
        if all(set(kind) & set(text) for kind in classes):
            return text


def _token(recipe: Recipe) -> str:
    return secrets.token_urlsafe(recipe.length)[: recipe.length]


def _hex(recipe: Recipe) -> str:
    return secrets.token_hex(recipe.length)[: recipe.length]


def _ed25519(_: Recipe) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - for keys alone

    return _pem(Ed25519PrivateKey.generate())


def _rsa(_: Recipe) -> str:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key  # noqa: PLC0415 - for keys alone

    return _pem(generate_private_key(65537, 3072))


def _pem(key: object) -> str:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - for keys alone

    data: bytes = key.private_bytes(  # type: ignore[attr-defined]  # both kinds of keys have it
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return data.decode()


_MAKERS: Mapping[str, Callable[[Recipe], str]] = {
    "password": _password,
    "token": _token,
    "hex": _hex,
    "ed25519": _ed25519,
    "rsa": _rsa,
}
