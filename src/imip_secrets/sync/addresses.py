"""Where GitHub keeps what: the paths of its API, with every name escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from imip_secrets.sync.base import Kind

if TYPE_CHECKING:
    from imip_secrets.sync.base import Scope


def repository(owner: str, repo: str) -> str:
    """Return the path of a repository."""
    return f"/repos/{_(owner)}/{_(repo)}"


def environments(owner: str, repo: str) -> str:
    """Return the path of a repository's environments."""
    return f"{repository(owner, repo)}/environments"


def secrets(scope: Scope) -> str:
    """Return the path of a scope's secrets."""
    if scope.kind is Kind.ENVIRONMENT:
        return f"{environments(scope.owner, scope.repo)}/{_(scope.environment)}/secrets"
    within = f"/orgs/{_(scope.owner)}" if scope.kind is Kind.ORGANIZATION else repository(scope.owner, scope.repo)
    return f"{within}/{scope.app.value}/secrets"


def public_key(scope: Scope) -> str:
    """Return the path of the key that a scope's secrets are sealed with."""
    return f"{secrets(scope)}/public-key"


def secret(scope: Scope, name: str) -> str:
    """Return the path of a secret."""
    return f"{secrets(scope)}/{_(name)}"


def selected(scope: Scope, name: str) -> str:
    """Return the path of the repositories that see an organisation's secret."""
    return f"{secret(scope, name)}/repositories"


def _(name: str) -> str:
    return quote(name, safe="")
