"""What an App's token needs, and how permissions are called."""

from __future__ import annotations

import pytest

from imip_secrets.sync import permissions
from imip_secrets.sync.base import App, Kind, Reach


def test_a_token_is_asked_for_what_the_lists_need_and_no_more() -> None:
    uses = frozenset({(Kind.REPOSITORY, App.ACTIONS), (Kind.ENVIRONMENT, App.ACTIONS), (Kind.REPOSITORY, App.AGENTS)})
    assert permissions.needed(Reach("org", uses)) == {
        "metadata": "read",
        "secrets": "write",
        "environments": "write",
        "agent_secrets": "write",
    }


def test_an_organisation_has_permissions_of_its_own() -> None:
    reach = Reach("org", frozenset({(Kind.ORGANIZATION, app) for app in App}), properties=True)
    assert permissions.needed(reach) == {
        "metadata": "read",
        "organization_secrets": "write",
        "organization_dependabot_secrets": "write",
        "organization_codespaces_secrets": "write",
        "organization_agent_secrets": "write",
        "organization_custom_properties": "read",
    }


@pytest.mark.parametrize(
    ("given", "level", "enough"),
    [
        ("write", "write", True),
        ("write", "read", True),
        ("admin", "write", True),
        ("read", "write", False),
        (None, "read", False),
        ("own", "read", False),
    ],
)
def test_a_higher_level_holds_the_lower(given: str | None, level: str, enough: bool) -> None:  # noqa: FBT001 - a table
    assert permissions.suffices(given, level) is enough


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("secrets=write", '"Secrets: write"'),
        ("dependabot_secrets=read", '"Dependabot secrets: read"'),
        ("organization_secrets=write", '"Secrets: write" (of the organisation)'),
        ("organization_custom_properties=read", '"Custom properties: read" (of the organisation)'),
        ("secrets=read; actions=read", '"Secrets: read", or "Actions: read"'),
        ("actions=read,environments=write", '"Actions: read" with "Environments: write"'),
        (" ; ", ""),
        ("allows_permissionless_access=true", '"Allows permissionless access: true"'),
        ("a\n::error::b=c", '"A : :error: :b: c"'),
    ],
)
def test_github_s_header_is_written_as_its_pages_write_permissions(header: str, text: str) -> None:
    assert permissions.accepted(header) == text
