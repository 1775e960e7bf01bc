"""What ``imip-secrets policy`` prints is enough for a run, and no more: OpenBao and moto really refuse the rest."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.request
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from imip_secrets.errors import ImipError, StoreError
from imip_secrets.policy import aws, subject, vault
from imip_secrets.policy.asked import ask
from imip_secrets.stores.base import Target
from stand_ins.aws import ACCOUNT, REGION, Aws
from stand_ins.vault import Vault
from stand_ins.vault_script import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imip_secrets.stores.vault import VaultStore
    from stand_ins.oidc import Issuer

AUDIENCE = "https://vault.company.example"
SECRETS = """
vault://secret/imip/production
vault://secret/team/*
vault://secret/deep/**
vault://secret/part/pro*
vault://old/imip/x
"""


@pytest.fixture(scope="module")
def server(issuer: Issuer) -> Iterator[Vault]:
    """A Vault that is set up by what the command prints for a job, and by nothing else."""
    with Vault() as running:
        running.trust(issuer)
        running.mount_kv("old", 1)
        for path in ("imip/production", "imip/staging", "team/a", "team/sub/b", "deep/a", "deep/sub/b", "part/prod"):
            running.put(f"secret/{path}", {"K": path})
        running.put("secret/part/other", {"K": "other"})
        running.put("old/imip/x", {"K": "x"})
        running.put("old/imip/y", {"K": "y"})
        owner, _, name = str(issuer.claims["repository"]).partition("/")
        job = subject.Job(f"{owner}/{name}", subject.environment("production"))
        values = {"secrets": SECRETS, "vault-role": "imip-ci", "vault-audience": AUDIENCE}
        made = {each.key: each for each in vault.documents(ask("", values, job, mounts={"old": "kv1"}))}
        running.do("PUT", "sys/policies/acl/imip-ci", {"policy": made["vault.policy"].body})
        running.do("POST", "auth/jwt/role/imip-ci", made["vault.role"].body)
        yield running


@pytest.fixture
def store(server: Vault, issuer: Issuer) -> Iterator[VaultStore]:
    settings = {"vault-addr": server.url, "vault-role": "imip-ci", "vault-audience": AUDIENCE}
    opened = Caller(settings, id_token=issuer.token).store()
    opened.login()
    yield opened
    opened.close()


@pytest.mark.parametrize("path", ["secret/imip/production", "secret/team/a", "secret/deep/sub/b", "old/imip/x"])
def test_what_is_asked_for_can_be_read(store: VaultStore, path: str) -> None:
    assert store.fetch(Target(path)).value


@pytest.mark.parametrize(
    "path", ["secret/imip/staging", "secret/team/sub/b", "secret/part/other", "old/imip/y", "secret/imip"]
)
def test_what_is_not_asked_for_is_denied(store: VaultStore, path: str) -> None:
    with pytest.raises(StoreError, match="denies reading"):
        store.fetch(Target(path))


@pytest.mark.parametrize(
    ("path", "deep", "found"),
    [
        ("secret/team/", False, ["secret/team/a"]),
        ("secret/deep/", True, ["secret/deep/a", "secret/deep/sub/b"]),
        ("secret/part/pro", False, ["secret/part/prod"]),
    ],
)
def test_what_is_asked_for_can_be_listed(store: VaultStore, path: str, deep: bool, found: list[str]) -> None:  # noqa: FBT001
    assert [target.path for target in store.list(Target(path), deep=deep)] == found


def test_no_other_folder_can_be_listed(store: VaultStore) -> None:
    for path in ("secret/imip/", "secret/team/sub/", "secret/"):
        with pytest.raises(StoreError, match="denies listing"):
            store.list(Target(path), deep=False)


@pytest.mark.parametrize(
    "sub",
    [
        "repo:octo-org/octo-repo:environment:staging",
        "repo:octo-org/octo-repo:pull_request",
        "repo:evil/octo-repo:environment:production",
        "repo:octo-org/octo-repo-2:environment:production",
    ],
)
def test_no_other_job_can_log_in(server: Vault, issuer: Issuer, sub: str) -> None:
    settings = {"vault-addr": server.url, "vault-role": "imip-ci", "vault-audience": AUDIENCE}
    opened = Caller(settings, id_token=lambda audience: issuer.token(audience, sub=sub)).store()
    with pytest.raises(ImipError, match="sub"):
        opened.login()
    opened.close()


# --- AWS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moto() -> Iterator[Aws]:
    """A server that checks permissions, once its administrator has made a user with the policy that is printed."""
    with Aws() as running:
        for name in ("imip/production", "imip/staging"):
            running.put(name, {"K": name})
        yield running


def _enforced(moto: Aws, policy: Any, attempt: Any) -> Any:  # noqa: ANN401  # botocore has no types
    """Run an attempt as a user with one policy, while moto checks permissions."""
    import botocore.session  # noqa: PLC0415  # takes a fifth of a second, which only this needs

    for statement in policy["Statement"]:
        # moto asks whether the action is allowed on "*", whatever secret is meant.
        statement["Resource"] = "*"
    iam = moto.client("iam")
    name = f"user-{uuid4().hex}"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    client = botocore.session.Session().create_client(
        "secretsmanager",
        region_name=REGION,
        endpoint_url=moto.url,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    _check_after(moto, 0)
    try:
        return attempt(client)
    finally:
        _check_after(moto, float("inf"))


def _check_after(moto: Aws, count: float) -> None:
    """Let moto check permissions after so many requests (moto: "IAM-like Access Control")."""
    headers = {"Content-Type": "text/plain"}
    request = urllib.request.Request(f"{moto.url}/moto-api/reset-auth", str(count).encode(), headers)
    urllib.request.urlopen(request).close()


def _policy(secrets: str) -> Any:  # noqa: ANN401  # JSON
    role = f"arn:aws:iam::{ACCOUNT}:role/imip-ci"
    wanted = ask("", {"secrets": secrets, "aws-region": REGION, "aws-role-to-assume": role}, None)
    return next(iter(aws.documents(wanted))).body


def test_aws_gives_what_the_policy_allows(moto: Aws) -> None:
    answer = _enforced(
        moto, _policy("aws://imip/production"), lambda it: it.get_secret_value(SecretId="imip/production")
    )
    assert json.loads(answer["SecretString"]) == {"K": "imip/production"}


def test_the_resource_fits_the_arn_that_aws_made_and_no_other(moto: Aws) -> None:
    """Compares as IAM does (IAM: "Using wildcards in Resource"): moto asks for any resource of this service alike."""
    client = moto.client()
    for name in ("imip/production", "imip/production-2", "imip/production/sub", "imip/staging"):
        with contextlib.suppress(ClientError):
            client.create_secret(Name=name, SecretString="x")
    (pattern,) = _policy("aws://imip/production")["Statement"][0]["Resource"]
    fits = re.compile("".join({"*": ".*", "?": "."}.get(char) or re.escape(char) for char in pattern))
    listed = client.list_secrets()["SecretList"]
    assert [each["Name"] for each in listed if fits.fullmatch(each["ARN"])] == ["imip/production"]


def test_aws_refuses_another_action(moto: Aws) -> None:
    for attempt in (
        lambda it: it.list_secrets(),
        lambda it: it.describe_secret(SecretId="imip/production"),
        lambda it: it.put_secret_value(SecretId="imip/production", SecretString="x"),
    ):
        with pytest.raises(ClientError, match="not authorized to perform"):
            _enforced(moto, _policy("aws://imip/production#K"), attempt)


def test_aws_lists_when_the_policy_has_a_listing(moto: Aws) -> None:
    names = _enforced(
        moto, _policy("aws://imip/*"), lambda it: [each["Name"] for each in it.list_secrets()["SecretList"]]
    )
    assert set(names) >= {"imip/production", "imip/staging"}
