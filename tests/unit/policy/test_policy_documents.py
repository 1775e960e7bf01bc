from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from imip_secrets.errors import UsageError
from imip_secrets.policy import aws, azure, github, subject, terraform, text, vault
from imip_secrets.policy.asked import ask

if TYPE_CHECKING:
    from imip_secrets.policy.asked import Asked
    from imip_secrets.policy.document import Document

JOB = subject.Job("octo-org/app", subject.environment("production"), "1", "2")
ROLE = "arn:aws:iam::123456789012:role/team/imip-ci"


def asked(secrets: str, job: subject.Job | None = JOB, mounts: dict[str, str] | None = None, **inputs: str) -> Asked:
    values = {name.replace("_", "-"): value for name, value in inputs.items()}
    return ask("", {"secrets": secrets, **values}, job, mounts=mounts)


def by_key(documents: Any) -> dict[str, Document]:  # noqa: ANN401  # an iterator of them
    return {document.key: document for document in documents}


def statements(secrets: str, **inputs: str) -> list[dict[str, Any]]:
    given = {"aws_region": "eu-west-1", "aws_role_to_assume": ROLE, **inputs}
    body = by_key(aws.documents(asked(secrets, JOB, None, **given)))["aws.permissions"].body
    found: list[dict[str, Any]] = body["Statement"]
    return found


# --- who asks ---------------------------------------------------------------------------------------------------------


def test_a_job_has_a_subject_in_both_forms() -> None:
    assert JOB.subjects == (
        "repo:octo-org/app:environment:production",
        "repo:octo-org@1/app@2:environment:production",
    )


@pytest.mark.parametrize(
    ("context", "end"),
    [
        (subject.environment("a:b"), "environment:a%3Ab"),
        (subject.branch("main"), "ref:refs/heads/main"),
        (subject.tag("v1"), "ref:refs/tags/v1"),
    ],
)
def test_what_a_subject_ends_in(context: str, end: str) -> None:
    assert subject.Job("a/b", context).subjects[0] == f"repo:a/b:{end}"


# --- AWS --------------------------------------------------------------------------------------------------------------


def test_plain_names_need_one_action_on_exact_resources() -> None:
    assert statements("aws://imip/production#A\naws://imip/production#B\naws://imip/x?region=us-east-1") == [
        {
            "Effect": "Allow",
            "Action": "secretsmanager:GetSecretValue",
            "Resource": [
                "arn:aws:secretsmanager:eu-west-1:123456789012:secret:imip/production-??????",
                "arn:aws:secretsmanager:us-east-1:123456789012:secret:imip/x-??????",
            ],
        }
    ]


def test_an_arn_is_its_own_resource() -> None:
    arn = "arn:aws-us-gov:secretsmanager:us-gov-west-1:210987654321:secret:imip/x-a1B2c3"
    assert statements(f"aws://{arn}")[0]["Resource"] == [arn]


def test_a_listing_needs_all_names_of_the_region() -> None:
    reading, listing = statements("aws://imip/*")
    assert reading["Resource"] == ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:imip/*"]
    assert listing == {"Effect": "Allow", "Action": ["secretsmanager:ListSecrets"], "Resource": "*"}


def test_parameters_by_name_by_path_and_by_the_start_of_a_name() -> None:
    found = {str(each["Action"]): each["Resource"] for each in statements("aws-ssm:///imip/a\naws-ssm:///imip/p/**")}
    start = "arn:aws:ssm:eu-west-1:123456789012:parameter"
    assert found == {
        "ssm:GetParameters": [f"{start}/imip/a"],
        "ssm:GetParametersByPath": [f"{start}/imip/p", f"{start}/imip/p/*"],
    }
    reading, describing = statements("aws-ssm://imip-*")
    assert reading["Resource"] == [f"{start}/imip-*"]
    assert describing["Action"] == ["ssm:DescribeParameters"]


def test_the_trust_names_this_job_alone() -> None:
    document = by_key(aws.documents(asked("aws://a", aws_region="eu-west-1", aws_role_to_assume=ROLE)))["aws.trust"]
    assert document.body["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {
                    "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                    "token.actions.githubusercontent.com:sub": list(JOB.subjects),
                }
            },
        }
    ]
    assert "create-role --role-name imip-ci" in document.command


def test_without_a_job_nobody_is_trusted() -> None:
    assert set(by_key(aws.documents(asked("aws://a", None)))) == {"aws.permissions"}


def test_what_is_not_known_is_said_in_capitals() -> None:
    document = by_key(aws.documents(asked("aws://a", None)))["aws.permissions"]
    assert document.body["Statement"][0]["Resource"] == ["arn:aws:secretsmanager:REGION:ACCOUNT_ID:secret:a-??????"]


# --- Vault ------------------------------------------------------------------------------------------------------------


def rules(secrets: str, mounts: dict[str, str] | None = None, **inputs: str) -> str:
    return str(by_key(vault.documents(asked(secrets, None, mounts, **inputs)))["vault.policy"].body)


@pytest.mark.parametrize(
    ("secrets", "mounts", "expected"),
    [
        ("vault://secret/a/b#K", {}, {'path "secret/data/a/b"': ["read"]}),
        ("vault://kv/a", {"kv": "kv1"}, {'path "kv/a"': ["read"]}),
        ("vault://team/kv/a", {"team/kv": "kv2"}, {'path "team/kv/data/a"': ["read"]}),
        ("vault://database/creds/app", {}, {'path "database/creds/app"': ["read"]}),
        ("vault://pki/issue/app?body={}", {}, {'path "pki/issue/app"': ["update"]}),
        ("vault://my/creds/app", {"my": "other"}, {'path "my/creds/app"': ["read"]}),
        ("vault://secret/a/*", {}, {'path "secret/data/a/+"': ["read"], 'path "secret/metadata/a/"': ["list"]}),
        ("vault://secret/a/p*", {}, {'path "secret/data/a/p*"': ["read"], 'path "secret/metadata/a/"': ["list"]}),
        ("vault://secret/a/**", {}, {'path "secret/data/a/*"': ["read"], 'path "secret/metadata/a/*"': ["list"]}),
        ("vault://kv/a/**", {"kv": "kv1"}, {'path "kv/a/*"': ["read", "list"]}),
    ],
)
def test_a_reference_needs_these_paths(secrets: str, mounts: dict[str, str], expected: dict[str, list[str]]) -> None:
    blocks = [
        f"{path} {{\n  capabilities = [{', '.join(json.dumps(can) for can in cans)}]\n}}"
        for path, cans in sorted(expected.items())
    ]
    assert rules(secrets, mounts) == "\n\n".join(blocks) + "\n"


def test_each_namespace_has_a_policy_of_its_own() -> None:
    found = by_key(vault.documents(asked("vault://secret/a\nvault://secret/b?namespace=team", None)))
    assert set(found) == {"vault.policy", "vault.policy.team"}
    assert "vault policy write -namespace=team imip-ci" in found["vault.policy.team"].command


def test_an_engine_that_was_guessed_is_said() -> None:
    (document,) = vault.documents(asked("vault://secret/a", None))
    assert "--vault-mount secret=kv1" in document.notes[0]
    (document,) = vault.documents(asked("vault://secret/a", None, {"secret": "kv2"}))
    assert document.notes == ()


def test_the_role_binds_the_job_and_the_audience() -> None:
    found = by_key(vault.documents(asked("vault://secret/a", vault_addr="https://v.example/", vault_role="deploy")))
    body = found["vault.role"].body
    assert body["bound_claims"] == {"sub": list(JOB.subjects)}
    assert body["bound_audiences"] == ["https://v.example"]
    assert body["token_policies"] == ["deploy"]


# --- Azure ------------------------------------------------------------------------------------------------------------


def test_a_role_on_a_vault_makes_those_on_its_secrets_needless() -> None:
    found = by_key(azure.documents(asked("azure://v/a\nazure://v/b-*\nazure://w/c", None)))
    assert set(found) == {"azure.assignment.v", "azure.assignment.w.c"}
    assert found["azure.assignment.w.c"].command.endswith('/secrets/c"')


def test_a_credential_for_each_form_of_sub() -> None:
    found = by_key(azure.documents(asked("azure://v/a", azure_client_id="c")))
    bodies = [found["azure.credential"].body, found["azure.credential-by-id"].body]
    assert [body["subject"] for body in bodies] == list(JOB.subjects)
    assert {body["audiences"][0] for body in bodies} == {"api://AzureADTokenExchange"}
    assert len({body["name"] for body in bodies}) == 2


# --- GitHub -----------------------------------------------------------------------------------------------------------


def test_a_sync_needs_permissions_at_each_owner() -> None:
    wanted = ask("", {"secrets": "aws://a", "sync-to": "repo:o/a\nenv:o/a/prod\norg:p?app=dependabot"}, None)
    found = by_key(github.documents(wanted))
    assert found["github.o"].body == {"metadata": "read", "secrets": "write", "environments": "write"}
    assert found["github.p"].body == {"metadata": "read", "organization_dependabot_secrets": "write"}
    assert "these repositories alone: a" in found["github.o"].notes[0]


def test_a_sync_may_ask_for_versions_besides() -> None:
    secrets = "aws://a\nvault://secret/x\nvault://secret/f/*\nvault://secret/d/**"
    wanted = ask("", {"secrets": secrets, "sync-to": "repo:o/a", "aws-region": "us-east-1"}, None)
    statement = by_key(aws.documents(wanted))["aws.permissions"].body["Statement"][0]
    assert statement["Action"] == ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
    policy = str(by_key(vault.documents(wanted))["vault.policy"].body)
    for path in ("secret/metadata/x", "secret/metadata/f/+"):
        assert f'path "{path}" {{\n  capabilities = ["read"]\n}}' in policy
    assert 'path "secret/metadata/d/*" {\n  capabilities = ["read", "list"]\n}' in policy


# --- forms ------------------------------------------------------------------------------------------------------------

EVERYTHING = "aws://imip/production\naws-ssm:///imip/*\nvault://secret/imip/production\nazure://imip-vault/SECRET-KEY"


def everything() -> list[Document]:
    wanted = asked(EVERYTHING, aws_region="us-east-1", aws_role_to_assume=ROLE, vault_addr="https://v.example")
    return [document for give in (aws.documents, vault.documents, azure.documents) for document in give(wanted)]


def test_the_text_holds_each_document_whole_and_its_command() -> None:
    written = text.written(everything())
    for document in everything():
        assert document.command in written
        if document.file:
            body = document.body if isinstance(document.body, str) else json.dumps(document.body, indent=2)
            assert body.strip() in written
    comments = [line for line in written.splitlines() if line.startswith("# ")]
    assert len(comments) > len(everything())


def test_the_json_form_has_a_key_for_each_document() -> None:
    assert set(text.as_json(everything())) == {document.key for document in everything()}


def test_terraform_has_a_resource_for_each_document() -> None:
    made = terraform.configuration(everything())
    resources = made["resource"]
    assert set(resources) == {
        "aws_iam_role",
        "aws_iam_role_policy",
        "vault_policy",
        "vault_jwt_auth_backend_role",
        "azurerm_role_assignment",
        "azuread_application_federated_identity_credential",
    }
    policy = json.loads(resources["aws_iam_role_policy"]["imip_secrets"]["policy"])
    assert policy == everything()[0].body
    assert set(made["variable"]) == {"imip_principal_id", "imip_application_id", "imip_resource_group"}
    assert made["data"]["azurerm_key_vault"]["imip_vault"]["name"] == "imip-vault"


def test_nothing_of_a_request_becomes_a_template_of_terraform() -> None:
    made = terraform.configuration(vault.documents(asked("vault://secret/${file(1)}", None)))
    policy = made["resource"]["vault_policy"]["imip_secrets"]["policy"]
    assert "$${file(1)}" in policy


def test_mistakes_of_a_request_are_told_with_their_place() -> None:
    with pytest.raises(UsageError) as told:
        ask("deploy.yml, job a, step 1", {"secrets": "bogus", "mask-floor": "x"}, None)
    assert [str(problem).partition(": ")[0] for problem in told.value.problems] == ["deploy.yml, job a, step 1"] * 2


@pytest.mark.parametrize(
    ("secrets", "inputs"),
    [
        ("vault://secret/%2A", {}),
        ("vault://secret/a%2A/b", {}),
        ("vault://secret/+/b", {}),
        ("vault://secret/a/+", {}),
        ('vault://secret/a"b', {}),
        ("vault://secret/a\\b", {}),
        ("vault://secret/{{identity.entity.id}}", {}),
        ("vault://secret/a?namespace=x;id", {}),
        ("aws://%2A", {}),
        ("aws://imip/%3F", {}),
        ("aws-ssm:///imip/%2A", {}),
        ("vault://secret/a", {"vault_role": "x; id"}),
        ("vault://secret/a", {"vault_role": "x\nid"}),
        ("vault://secret/a", {"vault_auth_path": "$(id)"}),
        ("vault://secret/a", {"vault_namespace": "`id`"}),
        ("aws://a", {"aws_audience": "a|id"}),
        ("aws://a", {"aws_role_to_assume": "arn:aws:iam::123456789012:role/x;id"}),
    ],
)
def test_what_would_allow_or_run_more_than_it_names_is_refused(secrets: str, inputs: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"stand in no such name|means more there than itself"):
        asked(secrets, JOB, None, **inputs)


def test_a_plus_within_a_name_is_a_letter() -> None:
    assert 'path "secret/data/a+b"' in rules("vault://secret/a+b")
    assert asked("aws://imip/a+b=c@d")
