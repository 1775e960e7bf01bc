"""The permissions that GitHub asks for: their names in the API, and as its pages show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.foreign import tame
from imip_secrets.sync.base import App, Kind

if TYPE_CHECKING:
    from imip_secrets.sync.base import Reach

_OF_REPOSITORIES = {
    App.ACTIONS: "secrets",
    App.DEPENDABOT: "dependabot_secrets",
    App.CODESPACES: "codespaces_secrets",
    App.AGENTS: "agent_secrets",
}
_OF_ORGANIZATIONS = {app: f"organization_{name}" for app, name in _OF_REPOSITORIES.items()}
METADATA = "metadata"  # every App has it, whether an answer says so or not
_PROPERTIES = "organization_custom_properties"
_LEVELS = ("read", "write", "admin")

# What the API's name does not say as GitHub's pages do.
_TITLES = {"organization_secrets": "Secrets", _PROPERTIES: "Custom properties"}


def of(kind: Kind, app: App) -> str:
    """Return the permission for a list of secrets; an environment's are not under "Secrets"."""
    if kind is Kind.ENVIRONMENT:
        return "environments"
    return (_OF_ORGANIZATIONS if kind is Kind.ORGANIZATION else _OF_REPOSITORIES)[app]


def needed(reach: Reach) -> dict[str, str]:
    """Return what an App's token needs, by permission."""
    wanted = {METADATA: "read"} | {of(kind, app): "write" for kind, app in reach.uses}
    return wanted | ({_PROPERTIES: "read"} if reach.properties else {})


def suffices(given: str | None, level: str) -> bool:
    """Tell whether a level holds another."""
    return given in _LEVELS and level in _LEVELS and _LEVELS.index(given) >= _LEVELS.index(level)


def shown(name: str, level: str) -> str:
    """Write a permission as the settings of an App or of a token show it: ``"Secrets: write"``."""
    plain = name.removeprefix("organization_").replace("_", " ").capitalize()
    whose = " (of the organisation)" if name.startswith("organization_") else ""
    return f'"{_TITLES.get(name, plain)}: {level}"{whose}'


def accepted(header: str) -> str:
    """Write the header ``X-Accepted-GitHub-Permissions`` for people: sets by semicolon, what is in one by comma."""
    sets = []
    for one in header.split(";"):
        pairs = [pair.strip().partition("=") for pair in one.split(",") if pair.strip()]
        if pairs:
            sets.append(" with ".join(shown(tame(name, 60), tame(level, 20)) for name, _, level in pairs))
    return ", or ".join(dict.fromkeys(sets))
