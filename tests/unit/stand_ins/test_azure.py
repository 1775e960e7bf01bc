"""The stand-in for Key Vault says nothing that the real one cannot say.

Azure's description of the API is in no package registry, but the models of Microsoft's SDK are generated from it.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from azure.keyvault.secrets._generated import models

from stand_ins.azure import DENIALS, VAULT, Azure
from stand_ins.faults import Answer, Request
from stand_ins.oidc import Issuer

if TYPE_CHECKING:
    from collections.abc import Iterator

OPTIONAL_PARTS = {"attributes": models.SecretAttributes, "innererror": models.KeyVaultErrorError}
TIMES = {"nbf", "exp", "created", "updated", "deletedDate", "scheduledPurgeDate"}


@pytest.fixture
def azure() -> Iterator[Azure]:
    with Issuer() as issuer, Azure(issuer) as running:
        running.tokens.append(jwt.encode({"aud": "https://vault.azure.net/.default"}, "k" * 32))
        running.put("a", "old")
        running.put("a", "new", begins=1_700_000_000, ends=2_000_000_000, content_type="text/plain")
        running.put("gone", "x")
        running.put("off", "x", enabled=False)
        running.delete("gone")
        yield running


def asked(azure: Azure, path: str, *, token: bool = True) -> tuple[Answer, Any]:
    headers = {"host": f"{VAULT}.vault.azure.net"}
    if token:
        headers["authorization"] = f"Bearer {azure.tokens[0]}"
    step = azure._respond(Request("GET", f"{path}?api-version=7.6", headers, b""))
    assert isinstance(step, Answer)
    return step, json.loads(step.body)


def conforms(said: dict[str, Any], model: Any) -> None:  # noqa: ANN401 - a class that the SDK generates
    """See that each field is one of the model, and is read as what it is to be."""
    read = model(said)
    fields = {field._rest_name: name for name, field in model._attr_to_rest_field.items()}
    assert set(said) <= set(fields), f"{model.__name__} has no {set(said) - set(fields)}"
    for name, value in said.items():
        part = OPTIONAL_PARTS.get(name)
        if part:
            conforms(value, part)
        elif name in TIMES:
            assert isinstance(getattr(read, fields[name]), datetime)
        elif value is not None:
            assert getattr(read, fields[name]) == value


def test_a_secret_is_a_bundle(azure: Azure) -> None:
    version = azure.vaults[VAULT]["a"][0].id
    for path in ("/secrets/a", f"/secrets/a/{version}"):
        conforms(asked(azure, path)[1], models.SecretBundle)


@pytest.mark.parametrize("path", ["/secrets", "/secrets/a/versions"])
def test_a_listing_has_items_and_a_link(azure: Azure, path: str) -> None:
    _, page = asked(azure, path)
    assert set(page) == {"value", "nextLink"}
    assert page["value"]
    for item in page["value"]:
        conforms(item, models.SecretItem)


def test_a_deleted_secret_is_an_item_with_its_dates(azure: Azure) -> None:
    conforms(asked(azure, "/deletedsecrets/gone")[1], models.DeletedSecretBundle)


@pytest.mark.parametrize(
    ("path", "status"), [("/secrets/none", 404), ("/secrets/off", 403), ("/deletedsecrets/a", 404), ("/keys/a", 404)]
)
def test_a_refusal_is_an_error(azure: Azure, path: str, status: int) -> None:
    answer, said = asked(azure, path)
    assert answer.status == status
    assert set(said) == {"error"}
    conforms(said["error"], models.KeyVaultErrorError)


@pytest.mark.parametrize("kind", DENIALS)
def test_every_denial_is_an_error_with_a_code_inside(azure: Azure, kind: str) -> None:
    azure.denial = kind
    answer, said = asked(azure, "/secrets/a")
    assert answer.status == 403
    conforms(said["error"], models.KeyVaultErrorError)
    assert said["error"]["innererror"]["code"] == kind


def test_without_a_token_there_is_a_challenge(azure: Azure) -> None:
    answer, said = asked(azure, "/secrets/a", token=False)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith('Bearer authorization="https://login.microsoftonline.com/')
    conforms(said["error"], models.KeyVaultErrorError)
