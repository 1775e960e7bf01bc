"""Azure: federated credentials for the job, and the one role on what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.policy.aws import ids_note
from imip_secrets.policy.document import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imip_secrets.policy.asked import Asked
    from imip_secrets.policy.subject import Job

_ROLE = "Key Vault Secrets User"


def documents(asked: Asked) -> Iterator[Document]:
    """Give what Azure needs: a credential for each form of ``sub``, and a role for each secret or vault."""
    lines = asked.of("azure")
    if not lines:
        return
    client = asked.settings["azure-client-id"] or "CLIENT_ID"
    scopes = {_scope(line.reference.target.path, line.reference.listing) for line in lines}
    # A role on a vault is one on each secret in it.
    wanted = sorted(scope for scope in scopes if not scope[1] or (scope[0], "") not in scopes)
    for vault, secret in wanted:
        yield _assignment(vault, secret, client)
    if asked.job is not None:
        for subject, suffix in zip(asked.job.subjects, ("", "-by-id"), strict=True):
            yield _credential(asked.job, subject, suffix, client, asked.settings["azure-audience"])


def _scope(path: str, listing: str) -> tuple[str, str]:
    vault, _, secret = path.partition("/")
    return vault.partition(".")[0], "" if listing else secret


def _assignment(vault: str, secret: str, client: str) -> Document:
    scope = f"$(az keyvault show --name {vault} --query id --output tsv)" + (f"/secrets/{secret}" if secret else "")
    what = f"the secret {secret} of {vault}" if secret else f"all secrets of {vault}, which a listing needs"
    end = "_".join(filter(None, (vault, secret))).replace("-", "_")
    variable = vault.replace("-", "_")
    resource = f"${{data.azurerm_key_vault.{variable}.id}}" + (f"/secrets/{secret}" if secret else "")
    return Document(
        f"azure.assignment.{vault}" + (f".{secret}" if secret else ""),
        f"Azure: {_ROLE} on {what}",
        {"role": _ROLE, "assignee": client, "vault": vault, **({"secret": secret} if secret else {})},
        "",
        f'az role assignment create --role "{_ROLE}" --assignee {client} --scope "{scope}"',
        (),
        {
            "azurerm_role_assignment": {
                end: {"role_definition_name": _ROLE, "scope": resource, "principal_id": "${var.imip_principal_id}"}
            }
        },
    )


def _credential(job: Job, subject: str, suffix: str, client: str, audience: str) -> Document:
    name = "imip-" + "".join(char if char.isalnum() else "-" for char in job.context)[:90] + suffix
    body = {"name": name, "issuer": job.issuer, "subject": subject, "audiences": [audience]}
    notes = tuple(ids_note(job)) if suffix else ()
    return Document(
        f"azure.credential{suffix}",
        "Azure: the job that the application trusts" + (", in the form with ids" if suffix else ""),
        body,
        f"credential{suffix}.json",
        f"az ad app federated-credential create --id {client} --parameters credential{suffix}.json",
        notes,
        {
            "azuread_application_federated_identity_credential": {
                f"imip_secrets{suffix.replace('-', '_')}": {
                    "application_id": "${var.imip_application_id}",
                    "display_name": name,
                    "issuer": job.issuer,
                    "subject": subject,
                    "audiences": [audience],
                }
            }
        },
    )
