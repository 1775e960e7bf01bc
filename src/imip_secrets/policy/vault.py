"""Vault and OpenBao: a policy of exact paths, and the role that a job logs in with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.policy.asked import KV1, KV2, OTHER, Asked
from imip_secrets.policy.aws import ids_note
from imip_secrets.policy.document import Document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imip_secrets.policy.subject import Job
    from imip_secrets.references import Reference
    from imip_secrets.settings import Settings

# Engines that are mounted under their own names as a rule, and are no KV engines.
_ENGINES = frozenset(
    {
        *("ad", "alicloud", "aws", "azure", "consul", "database", "gcp", "identity", "kubernetes", "ldap"),
        *("mongodbatlas", "nomad", "openldap", "pki", "rabbitmq", "ssh", "terraform", "totp", "transit"),
    }
)
_ORDER = ("read", "list", "update")

Rules = dict[str, set[str]]


def documents(asked: Asked) -> Iterator[Document]:
    """Give what Vault needs: a policy for each namespace, and the role for the job."""
    references = [line.reference for line in asked.of("vault")]
    if not references:
        return
    settings = asked.settings
    name = settings["vault-role"] or "imip-ci"
    home = settings["vault-namespace"]
    by_namespace: dict[str, Rules] = {}
    for reference in references:
        rules = by_namespace.setdefault(reference.target.namespace or home, {})
        for path, capability in _rules(reference, asked.mounts, syncs=bool(asked.destinations)):
            rules.setdefault(path, set()).add(capability)
    for namespace, rules in sorted(by_namespace.items()):
        yield _policy(name, namespace, rules, _guessed(references, asked.mounts))
    if asked.job is not None:
        yield role(asked.job, settings, name)


def role(job: Job, settings: Settings, name: str) -> Document:
    """Return the role that only this job can log in with."""
    mount = settings["vault-auth-path"] or "jwt"
    config = f"vault write auth/{mount}/config oidc_discovery_url={job.issuer} bound_issuer={job.issuer}"
    body = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": [settings["vault-audience"] or settings["vault-addr"].rstrip("/") or "VAULT_ADDR"],
        "bound_claims": {"sub": list(job.subjects)},
        "token_policies": [name],
        "token_ttl": "10m",
        "token_max_ttl": "10m",
    }
    return Document(
        "vault.role",
        f"Vault: the role {name}, for this job alone",
        body,
        "role.json",
        f"vault write auth/{mount}/role/{name} @role.json",
        (
            f"Once for each Vault: vault auth enable -path={mount} jwt; {config}",
            "Dynamic credentials end with the token: set token_ttl to as long as the job needs them.",
            *ids_note(job),
        ),
        {
            "vault_jwt_auth_backend_role": {
                "imip_secrets": {
                    "backend": mount,
                    "role_name": name,
                    "role_type": "jwt",
                    "user_claim": "sub",
                    "bound_audiences": body["bound_audiences"],
                    "bound_claims": {"sub": ",".join(job.subjects)},
                    "token_policies": [name],
                    "token_ttl": 600,
                    "token_max_ttl": 600,
                }
            }
        },
    )


def _policy(name: str, namespace: str, rules: Rules, guessed: list[str]) -> Document:
    text = "\n\n".join(
        f'path "{path}" {{\n  capabilities = [{", ".join(_quoted(each) for each in _ORDER if each in can)}]\n}}'
        for path, can in sorted(rules.items())
    )
    within = f" -namespace={namespace}" if namespace else ""
    notes = [f"Taken for KV version 2: {mount}. If not, say --vault-mount {mount}=kv1 or =other." for mount in guessed]
    return Document(
        "vault.policy" + (f".{namespace}" if namespace else ""),
        f"Vault: what the policy {name} allows" + (f" in the namespace {namespace}" if namespace else ""),
        text + "\n",
        "policy.hcl",
        f"vault policy write{within} {name} policy.hcl",
        tuple(notes),
        {
            "vault_policy": {
                "_".join(("imip_secrets", *namespace.split("/"))).strip("_"): {
                    "name": name,
                    "policy": text + "\n",
                    **({"namespace": namespace} if namespace else {}),
                }
            }
        },
    )


def _rules(reference: Reference, mounts: Mapping[str, str], *, syncs: bool = False) -> Iterator[tuple[str, str]]:
    """Give each path with one capability that reading this reference takes; a sync asks for versions first."""
    path = reference.target.path
    mount, kind = _mount(path, mounts)
    rest = path[len(mount) + 1 :]
    if kind == OTHER:
        yield path, "update" if reference.target.body is not None else "read"
        return
    data, names = (f"{mount}/data/", f"{mount}/metadata/") if kind == KV2 else (f"{mount}/", f"{mount}/")
    by_version = syncs and kind == KV2
    if not reference.listing:
        yield f"{data}{rest}", "read"
        if by_version:
            yield f"{names}{rest}", "read"
        return
    folder = rest[: rest.rfind("/") + 1]
    if reference.listing == "**":
        yield f"{data}{rest}*", "read"
        yield f"{names}{folder}*", "list"
        if by_version:
            yield f"{names}{folder}*", "read"
        return
    # A plus is one whole segment, which only the listing of a whole folder can be said with.
    end = "+" if rest == folder else "*"
    yield f"{data}{rest}{end}", "read"
    yield f"{names}{folder}", "list"
    if by_version:
        yield f"{names}{rest}{end}", "read"


def _mount(path: str, mounts: Mapping[str, str]) -> tuple[str, str]:
    """Return the engine of a path and its kind: as it was told, else as names go."""
    told = [mount for mount in mounts if path.startswith(f"{mount}/")]
    if told:
        longest = max(told, key=len)
        return longest, mounts[longest]
    first = path.partition("/")[0]
    if first == "cubbyhole":
        return first, KV1
    return first, OTHER if first in _ENGINES else KV2


def _guessed(references: list[Reference], mounts: Mapping[str, str]) -> list[str]:
    found = {_mount(reference.target.path, mounts) for reference in references}
    return sorted(mount for mount, kind in found if kind == KV2 and mount not in mounts)


def _quoted(text: str) -> str:
    return f'"{text}"'
