from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.errors import UsageError
from imip_secrets.policy import aws, azure, subject, vault
from imip_secrets.policy.asked import ask
from imip_secrets.policy.check import check

ISSUER = "token.actions.githubusercontent.com"
BY_ID = "repo:org@1/app@2:environment:production"


def statement(conditions: Any = None, **fields: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    return {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{ISSUER}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{ISSUER}:aud": "sts.amazonaws.com", f"{ISSUER}:sub": BY_ID}}
        if conditions is None
        else conditions,
        **fields,
    }


def said(document: Any) -> list[str]:  # noqa: ANN401  # JSON
    return [str(problem) for problem in check(json.dumps(document))]


def trust(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def equals(sub: object, aud: object = "sts.amazonaws.com", operator: str = "StringEquals") -> dict[str, Any]:
    return {"StringEquals": {f"{ISSUER}:aud": aud}, operator: {f"{ISSUER}:sub": sub, f"{ISSUER}:aud": aud}}


def test_an_exact_policy_has_no_mistake() -> None:
    assert said(trust(statement())) == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (statement({}), "there is no condition"),
        (statement({"StringEquals": {f"{ISSUER}:aud": "sts.amazonaws.com"}}), "only the audience is compared"),
        (statement({"StringEquals": {f"{ISSUER}:sub": BY_ID}}), "the audience is not compared"),
        (statement(equals("*", operator="StringLike")), "trusts every repository of GitHub"),
        (statement(equals("repo:*", operator="StringLike")), "trusts every repository of GitHub"),
        (statement(equals("repo:org*/app:*", operator="StringLike")), "trusts repositories of other owners too"),
        (statement(equals("repo:org/*", operator="StringLike")), "every repository whose name fits"),
        (statement(equals("repo:org/app:*", operator="StringLike")), "every branch, tag, environment and pull request"),
        (statement(equals("repo:org/app:ref:refs/heads/*", operator="StringLike")), "every branch, and whoever"),
        (statement(equals("repo:org/app:environment:*", operator="StringLike")), "every environment whose name fits"),
        (statement(equals("repo:org/app:ref:refs/tags/v?", operator="StringLike")), "is a pattern"),
        (statement(equals("repo:org/app:*")), "is compared letter by letter, so its star is never met"),
        (statement(equals("repo:org/app:pull_request")), "trusts every pull request"),
        (statement(equals("octo:org/app")), "is no sub of a job of GitHub"),
        (statement(equals("repo:org/app:environment:production")), "the form with names alone"),
        (statement(equals(BY_ID, operator="ForAllValues:StringEquals")), "is met as well when the token has no sub"),
        (statement(equals(BY_ID, operator="StringEqualsIfExists")), "is met as well when the token has no sub"),
        (statement(equals(BY_ID, operator="StringNotEquals")), "says who may not"),
        (statement(equals(BY_ID, aud="*", operator="StringLike")), "the audience is a pattern"),
        (statement({"StringEquals": {"gitlab.com:sub": BY_ID}}), "is of another provider, and is never met"),
        (statement(Principal={"AWS": "*"}), "the principal is not GitHub's identity provider alone"),
        (statement(Principal="*"), "the principal is not GitHub's identity provider alone"),
        (statement(Principal={"Federated": "arn:aws:iam::1:oidc-provider/evil.example"}), "is not GitHub's"),
        (statement(Action="sts:*"), "the action is not sts:AssumeRoleWithWebIdentity alone (sts:*)"),
        (statement(Action=["sts:AssumeRoleWithWebIdentity", "sts:AssumeRole"]), "alone (sts:AssumeRole)"),
    ],
)
def test_a_mistake_of_a_trust_policy_is_named_with_its_statement(found: dict[str, Any], words: str) -> None:
    told = said(trust(statement(), found))
    assert [line for line in told if line.startswith("statement 2: ") and words in line], told


def test_denials_and_policies_without_statements() -> None:
    assert said(trust(statement({}, Effect="Deny"))) == []
    assert "it has no statement" in said(trust())[0]


def test_one_statement_that_is_no_list_is_read_too() -> None:
    assert said({"Statement": statement()}) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bound_audiences": []}, "bound_audiences is empty"),
        ({"bound_claims": {}}, "neither sub nor repository is bound"),
        ({"bound_claims": {"repository": "org/app"}}, "only the repository is bound"),
        (
            {"bound_claims": {"repository": "org/*", "ref": "refs/heads/main"}, "bound_claims_type": "glob"},
            "repository is a pattern",
        ),
        (
            {"bound_claims": {"repository": "org/app", "environment": "*"}, "bound_claims_type": "glob"},
            "what is bound besides the repository (environment) is a pattern",
        ),
        (
            {"bound_claims": {"repository": "org/app", "ref": ["refs/heads/main", "*"]}, "bound_claims_type": "glob"},
            "what is bound besides the repository (ref) is a pattern",
        ),
        ({"bound_claims": {"sub": "repo:org/*"}, "bound_claims_type": "glob"}, "every repository whose name fits"),
        ({"bound_claims": {"sub": "repo:org/*"}}, "its star is never met"),
        ({"bound_claims": None, "bound_subject": "repo:o/a:pull_request"}, "trusts every pull request"),
    ],
)
def test_a_mistake_of_a_role_of_vault_is_named(fields: dict[str, Any], words: str) -> None:
    role = {"role_type": "jwt", "bound_audiences": ["https://v"], "bound_claims": {"sub": [BY_ID]}}
    assert said(role) == []
    assert [line for line in said({**role, **fields}) if words in line]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"issuer": "https://evil.example"}, "is not GitHub's"),
        ({"audiences": ["x"]}, "the audience is not api://AzureADTokenExchange"),
        ({"subject": "repo:org/app:pull_request"}, "trusts every pull request"),
        ({"subject": "repo:org/app:*"}, "its star is never met"),
        (
            {"subject": None, "claimsMatchingExpression": {"value": "claims['sub'] matches 'repo:org/*'"}},
            "every repository whose name fits",
        ),
    ],
)
def test_a_mistake_of_a_federated_credential_is_named(fields: dict[str, Any], words: str) -> None:
    credential = {"issuer": f"https://{ISSUER}", "subject": BY_ID, "audiences": ["api://AzureADTokenExchange"]}
    assert said(credential) == []
    assert [line for line in said({**credential, **fields}) if words in line]


def test_what_we_print_has_no_mistake_by_our_own_rules() -> None:
    job = subject.Job("org/app", subject.branch("main"), "1", "2")
    values = {"secrets": "aws://a\nvault://secret/a\nazure://v/a", "vault-addr": "https://v.example"}
    wanted = ask("", values, job)
    documents = [document for give in (aws.documents, vault.documents, azure.documents) for document in give(wanted)]
    checked = {each.key: said(each.body) for each in documents if each.key.endswith((".trust", ".role", "-by-id"))}
    assert checked == {"aws.trust": [], "vault.role": [], "azure.credential-by-id": []}


def test_an_enterprise_server_is_one_of_github_s() -> None:
    provider = "ghes.example/_services/token"
    found = statement(
        {"StringEquals": {f"{provider}:aud": "a", f"{provider}:sub": BY_ID}},
        Principal={"Federated": f"arn:aws:iam::123456789012:oidc-provider/{provider}"},
    )
    assert said(trust(found)) == []


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"a": 1}', "not json", "[" * 100_000])
def test_what_is_none_of_the_three_is_said(content: str) -> None:
    with pytest.raises(UsageError, match="neither a trust policy of AWS"):
        check(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([ISSUER, BY_ID, "Allow"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Statement",
                    "Effect",
                    "Principal",
                    "Federated",
                    "Condition",
                    "StringEquals",
                    f"{ISSUER}:sub",
                    "subject",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_judged_or_refused(content: object) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(check(json.dumps(content)), list)
