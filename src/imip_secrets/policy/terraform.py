"""The same documents in Terraform's JSON syntax, for a file ``imip-secrets.tf.json``.

JSON needs no rules of quoting but its own, and Terraform reads both syntaxes side by side (Terraform: "JSON
Configuration Syntax"). Nothing in it is a template but what this module writes as one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imip_secrets.policy.document import Document

_VARIABLES = {
    "imip_principal_id": "The object ID of the application's service principal.",
    "imip_application_id": "The resource ID of the application (azuread_application.NAME.id).",
    "imip_resource_group": "The resource group of the key vaults.",
}
# What IAM takes as a text with JSON in it.
_POLICIES = ("policy", "assume_role_policy")
# What is a template of ours; in every other text "${" stands for itself.
_TEMPLATES = ("scope", "principal_id", "application_id")


def configuration(documents: Iterable[Document]) -> dict[str, Any]:
    """Return one configuration with a resource for each document."""
    resources: dict[str, dict[str, Any]] = {}
    vaults: dict[str, Any] = {}
    for document in documents:
        for kind, named in document.terraform.items():
            for name, body in named.items():
                resources.setdefault(kind, {})[name] = {key: _value(key, value) for key, value in body.items()}
        if document.key.startswith("azure.assignment"):
            vault = document.body["vault"]
            vaults[vault.replace("-", "_")] = {"name": vault, "resource_group_name": "${var.imip_resource_group}"}
    text = json.dumps([resources, vaults])
    variables = {name: {"type": "string", "description": what} for name, what in _VARIABLES.items() if name in text}
    return {
        **({"variable": variables} if variables else {}),
        **({"data": {"azurerm_key_vault": vaults}} if vaults else {}),
        "resource": resources,
    }


def _value(key: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, list) and key in _POLICIES:
        value = json.dumps({"Version": "2012-10-17", "Statement": value})
    if key in _TEMPLATES:
        return value
    if isinstance(value, list):
        return [_literal(each) for each in value]
    if isinstance(value, dict):
        return {name: _literal(each) for name, each in value.items()}
    return _literal(value)


def _literal(value: Any) -> Any:  # noqa: ANN401 - JSON
    return value.replace("${", "$${").replace("%{", "%%{") if isinstance(value, str) else value
