"""Which secrets the guide's variables mean."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets import references
from imip_secrets.errors import UsageError
from imip_secrets.loader.choice import DEVELOPMENT, choose, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

AWS = {"AWS_REGION": "us-east-1"}
VAULT = {"VAULT_ADDR": "https://vault.company.com:8200", "VAULT_TOKEN": "t"}


def chosen(environ: Mapping[str, str]) -> str:
    (reference,) = choose(environ, "/srv/.env").references
    return reference


@pytest.mark.parametrize(
    ("environ", "reference"),
    [
        # The guide's own examples: Docker Compose and Kubernetes, Vault.
        ({"ENVIRONMENT": "production", "SECRET_NAME": "imip/production", **AWS}, "aws://imip/production"),
        ({"VAULT_SECRET_PATH": "imip/production", **VAULT}, "vault://secret/imip/production"),
        ({"VAULT_SECRET_PATH": "/secret/imip/production/", **VAULT}, "vault://secret/imip/production"),
        ({"AZURE_KEY_VAULT_URL": "https://imip-vault.vault.azure.net/"}, "azure://imip-vault.vault.azure.net/*"),
        ({"KEY_VAULT_URL": "https://imip-vault.vault.azure.net"}, "azure://imip-vault.vault.azure.net/*"),
        ({"KEY_VAULT_URL": "imip-vault.vault.azure.net"}, "azure://imip-vault.vault.azure.net/*"),
        # Without a name the environment is one.
        ({"ENVIRONMENT": "production", **AWS}, "aws://imip/production"),
        ({"ENVIRONMENT": " Prod ", **AWS}, "aws://imip/production"),
        ({"ENVIRONMENT": "stage", **VAULT}, "vault://secret/imip/staging"),
        ({"ENVIRONMENT": "qa-7", "BAO_ADDR": "https://v"}, "vault://secret/imip/qa-7"),
        # The variable that names a secret says more than the one that names a place.
        ({"SECRET_NAME": "a", **AWS, **VAULT}, "aws://a"),
        ({"VAULT_SECRET_PATH": "a", **AWS, **VAULT}, "vault://secret/a"),
        # Development.
        ({"ENVIRONMENT": "development"}, "env-file:///srv/.env"),
        ({"ENVIRONMENT": "development", **AWS, **VAULT}, "env-file:///srv/.env"),
        ({"ENVIRONMENT": "development", "SECRET_NAME": "imip/development", **AWS}, "aws://imip/development"),
        ({"ENVIRONMENT": "TEST", "SECRET_NAME": "  "}, "env-file:///srv/.env"),
    ],
)
def test_the_variables_choose(environ: Mapping[str, str], reference: str) -> None:
    assert chosen(environ) == reference


def test_two_names_of_one_thing_are_no_contradiction() -> None:
    environ = {"KEY_VAULT_URL": "https://b.vault.azure.net", "AZURE_KEY_VAULT_URL": "https://a.vault.azure.net"}
    assert chosen(environ) == "azure://a.vault.azure.net/*"


@pytest.mark.parametrize(
    ("host", "cloud"),
    [
        ("imip.vault.azure.net", {}),
        ("imip.vault.azure.cn", {"azure-cloud": "china"}),
        ("IMIP.vault.usgovcloudapi.net", {"azure-cloud": "usgovernment"}),
    ],
)
def test_the_host_of_a_vault_tells_its_cloud(host: str, cloud: Mapping[str, str]) -> None:
    assert choose({"KEY_VAULT_URL": f"https://{host}"}, ".env").settings == cloud


@given(st.text().filter(lambda text: text.strip().lower() not in DEVELOPMENT))
def test_nothing_but_development_reads_a_file(environment: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose({"ENVIRONMENT": environment}, ".env")
    assert "\n" not in str(caught.value)
    assert "ENVIRONMENT=development" in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "error"),
    [
        (
            {},
            (
                "load_secrets: ENVIRONMENT is not set, which is not development, and no variable names a store. "
                "Set SECRET_NAME and AWS_REGION, VAULT_ADDR and VAULT_SECRET_PATH, or AZURE_KEY_VAULT_URL; "
                "give references, as in load_secrets('aws://imip/production'); "
                "or set ENVIRONMENT=development to read a .env file."
            ),
        ),
        (
            {"SECRET_NAME": "a", "VAULT_SECRET_PATH": "b"},
            (
                "load_secrets: SECRET_NAME and VAULT_SECRET_PATH are set, and name different stores. "
                "Unset all but one of them, or give references to load_secrets()."
            ),
        ),
        (
            {"ENVIRONMENT": "production", **AWS, **VAULT},
            (
                "load_secrets: VAULT_ADDR and AWS_REGION are set, and name different stores. "
                "Set VAULT_SECRET_PATH or SECRET_NAME: it says which of them is meant."
            ),
        ),
        (
            AWS,
            (
                "variable ENVIRONMENT: it is not set, so the secret has no name. "
                "Set ENVIRONMENT=production for imip/production, or SECRET_NAME for the name itself."
            ),
        ),
        (
            {"ENVIRONMENT": "../x", **VAULT},
            (
                "variable ENVIRONMENT: '../x' is no environment. "
                "Set ENVIRONMENT=production for imip/production, or VAULT_SECRET_PATH for the name itself."
            ),
        ),
        (
            {"KEY_VAULT_URL": "http://u:hunter2@imip.vault.azure.net"},
            (
                "KEY_VAULT_URL: 'imip.vault.azure.net' is no address of a Key Vault. "
                "Write it like https://imip-vault.vault.azure.net/."
            ),
        ),
    ],
)
def test_what_cannot_be_chosen_is_one_line_with_a_remedy(environ: Mapping[str, str], error: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(environ, ".env")
    assert str(caught.value) == error


@given(st.text(min_size=1).filter(lambda text: text.isprintable() and text.strip() == text))
def test_any_name_of_a_secret_is_its_own_path(name: str) -> None:
    assert unquote(quoted(name)) == name
    lines, problems = references.parse(f"aws://{quoted(name)}")
    assert problems == []
    assert (lines[0].reference.target.path, lines[0].reference.listing, lines[0].reference.key) == (name, "", None)
