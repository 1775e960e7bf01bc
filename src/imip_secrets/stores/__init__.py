"""The stores there are: one row each."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imip_secrets.stores.base import StoreModule


class Scheme(NamedTuple):
    """What a reference's scheme stands for.

    Args:
        name: The scheme as it is written.
        title: The store's name for people.
        module: The module of the store (see :class:`~imip_secrets.stores.base.StoreModule`).
        options: The options it takes besides those of every store.
        example: A reference that is right, for error texts.
        libraries: The lock of its libraries, ``requirements/NAME.txt``, or "" where the action needs none.
        slash_forgiven: Whether slashes before the path mean nothing.
        version_after: After how many parts of the path a version may follow as one more part, or 0 for never.
        local: Whether it reads this machine's own files: for people, refused in the action.

    """

    name: str
    title: str
    module: str
    options: frozenset[str]
    example: str
    libraries: str
    slash_forgiven: bool = False
    version_after: int = 0
    local: bool = False

    def load(self) -> StoreModule:
        """Import the store's module (not yet its SDK)."""
        return cast("StoreModule", importlib.import_module(self.module))


SCHEMES: Mapping[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            "aws",
            "AWS Secrets Manager",
            "imip_secrets.stores.aws.secrets_manager",
            frozenset({"version", "stage", "region"}),
            "aws://imip/production#DATABASE_URL",
            "aws",
        ),
        Scheme(
            "aws-ssm",
            "AWS SSM Parameter Store",
            "imip_secrets.stores.aws.ssm",
            frozenset({"version", "region"}),
            "aws-ssm:///imip/prod/db-password",
            "aws",
        ),
        Scheme(
            "vault",
            "Vault",
            "imip_secrets.stores.vault",
            frozenset({"version", "namespace", "body"}),
            "vault://secret/imip/production#DATABASE_URL",
            "vault",
            slash_forgiven=True,
        ),
        Scheme(
            "azure",
            "Azure Key Vault",
            "imip_secrets.stores.azure",
            frozenset({"version"}),
            "azure://imip-vault/SECRET-KEY",
            "azure",
            version_after=2,
        ),
        Scheme(
            "env-file",
            "Dotenv file",
            "imip_secrets.stores.env_file",
            frozenset(),
            "env-file://.env#DATABASE_URL",
            "",
            local=True,
        ),
    )
}
