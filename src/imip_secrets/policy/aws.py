"""IAM: what the role may read, and who may assume it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imip_secrets.policy.asked import Asked, distinct
from imip_secrets.policy.document import Document
from imip_secrets.stores.aws.names import ARN_START, parameter_arn, parse_arn, partition_of, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imip_secrets.policy.subject import Job
    from imip_secrets.references import Reference

_VERSION = "2012-10-17"
_GET = "secretsmanager:GetSecretValue"
_ACCOUNT, _REGION = "ACCOUNT_ID", "REGION"

Statement = dict[str, Any]


def documents(asked: Asked) -> Iterator[Document]:
    """Give what AWS needs: a policy for the role, and who may assume it."""
    lines = asked.of("aws", "aws-ssm")
    if not lines:
        return
    region = asked.settings["aws-region"] or _REGION
    role = parse_arn(asked.settings["aws-role-to-assume"])
    account = asked.account or (role.account if role else _ACCOUNT)
    name = role.resource.rpartition("/")[2] if role else "imip-ci"
    statements = list(_statements([line.reference for line in lines], region, account, syncs=bool(asked.destinations)))
    yield Document(
        "aws.permissions",
        f"AWS: what the role {name} may read",
        {"Version": _VERSION, "Statement": statements},
        "read.json",
        f"aws iam put-role-policy --role-name {name} --policy-name imip-secrets --policy-document file://read.json",
        tuple(_notes(asked, statements)),
        {"aws_iam_role_policy": {"imip_secrets": {"name": "imip-secrets", "role": name, "policy": statements}}},
    )
    if asked.job is not None:
        partition = role.partition if role else partition_of(region)
        yield trust(asked.job, account, partition, name, asked.settings["aws-audience"])


def trust(job: Job, account: str, partition: str, role: str, audience: str) -> Document:
    """Return who may assume the role: this job, in both forms of its ``sub``, and nobody else."""
    once = f"aws iam create-open-id-connect-provider --url {job.issuer} --client-id-list {audience}"
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:{partition}:iam::{account}:oidc-provider/{job.provider}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{job.provider}:aud": audience, f"{job.provider}:sub": list(job.subjects)}},
    }
    return Document(
        "aws.trust",
        f"AWS: who may assume the role {role}",
        {"Version": _VERSION, "Statement": [statement]},
        "trust.json",
        f"aws iam create-role --role-name {role} --assume-role-policy-document file://trust.json",
        (f"Once for each account: {once}", *ids_note(job)),
        {"aws_iam_role": {"imip_secrets": {"name": role, "assume_role_policy": [statement]}}},
    )


def ids_note(job: Job) -> Iterator[str]:
    """Say what to do about the two forms of ``sub``."""
    if not job.knows_ids:
        yield (
            f"ORG_ID and REPO_ID: gh api repos/{job.repository} --jq '\"\\(.owner.id) \\(.id)\"', or give --owner-id "
            "and --repository-id."
        )
    yield "Keep the form of sub that your repository sends (mode: doctor shows it), and take the other out."


def _statements(
    references: Iterable[Reference], region: str, account: str, *, syncs: bool = False
) -> Iterator[Statement]:
    """Give the statements: reading by resource; listing, which AWS allows for all names or none.

    A sync asks for versions first, and reads no value whose version it has written already.
    """
    secrets: list[str] = []
    parameters: list[str] = []
    paths: list[str] = []
    every: list[str] = []
    for reference in references:
        where = reference.target.region or region
        if reference.scheme == "aws":
            secrets.append(_secret(reference, where, account))
            every += ["secretsmanager:ListSecrets"] if reference.listing else []
            continue
        resource = _parameter(reference.target.path, where, account)
        if not reference.listing:
            parameters.append(resource)
        elif reference.target.path.startswith("/"):
            folder = _parameter(reference.target.path.rpartition("/")[0] or "/", where, account)
            paths += [folder, f"{folder.rstrip('/')}/*"]
        else:
            parameters.append(f"{resource}*")
            every.append("ssm:DescribeParameters")
    reading = ["secretsmanager:DescribeSecret", _GET] if syncs else _GET
    for action, resources in (
        (reading, secrets),
        ("ssm:GetParameters", parameters),
        ("ssm:GetParametersByPath", paths),
    ):
        if resources:
            yield {"Effect": "Allow", "Action": action, "Resource": distinct(resources)}
    if every:
        yield {"Effect": "Allow", "Action": distinct(every), "Resource": "*"}


def _secret(reference: Reference, region: str, account: str) -> str:
    if not reference.listing:
        return resource_of(reference.target, region, account)
    return f"arn:{partition_of(region)}:secretsmanager:{region}:{account}:secret:{reference.target.path}*"


def _parameter(path: str, region: str, account: str) -> str:
    return path if path.startswith(ARN_START) else parameter_arn(path, region, account)


def _notes(asked: Asked, statements: Iterable[Statement]) -> Iterator[str]:
    yield "A secret encrypted with a key of your own needs kms:Decrypt on it too, here and in the key's own policy."
    if any(statement["Resource"] == "*" for statement in statements):
        yield "Listing shows the names of all secrets of the region, no values: AWS allows it for all or for none."
    if any(line.reference.listing == "*" for line in asked.of("aws", "aws-ssm")):
        yield "IAM knows no levels: what one * lists may be read over every level."
