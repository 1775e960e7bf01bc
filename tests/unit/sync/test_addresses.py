"""The paths of GitHub's API, whatever a name holds."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.sync import addresses
from imip_secrets.sync.base import App, Kind, Scope


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        (Scope(Kind.REPOSITORY, "org", "app"), "/repos/org/app/actions/secrets"),
        (Scope(Kind.REPOSITORY, "org", "app", app=App.DEPENDABOT), "/repos/org/app/dependabot/secrets"),
        (Scope(Kind.REPOSITORY, "org", "app", app=App.CODESPACES), "/repos/org/app/codespaces/secrets"),
        (Scope(Kind.REPOSITORY, "org", "app", app=App.AGENTS), "/repos/org/app/agents/secrets"),
        (Scope(Kind.ENVIRONMENT, "org", "app", "prod/eu 1"), "/repos/org/app/environments/prod%2Feu%201/secrets"),
        (Scope(Kind.ORGANIZATION, "org"), "/orgs/org/actions/secrets"),
        (Scope(Kind.ORGANIZATION, "org", app=App.DEPENDABOT), "/orgs/org/dependabot/secrets"),
    ],
)
def test_each_kind_has_its_address(scope: Scope, path: str) -> None:
    assert addresses.secrets(scope) == path
    assert addresses.public_key(scope) == f"{path}/public-key"
    assert addresses.secret(scope, "NAME") == f"{path}/NAME"
    assert addresses.selected(scope, "NAME") == f"{path}/NAME/repositories"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_environment_leads_out_of_its_repository(name: str) -> None:
    path = addresses.secrets(Scope(Kind.ENVIRONMENT, "org", "app", name))
    parts = path.split("/")
    assert len(parts) == 7
    assert unquote(parts[5]) == name
    assert not set(path) & set("?#\\ ;")
