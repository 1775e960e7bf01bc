"""Reads what a store trusts, and names what is wrong with it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from imip_secrets.errors import Problem, UsageError
from imip_secrets.foreign import tame
from imip_secrets.policy import check_aws
from imip_secrets.policy.check_subject import ENTERPRISE, EVERYBODY, EXACT, ISSUER, mapping, subjects_of, texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The claims by which the jobs of one repository differ.
_NARROWING = frozenset({"environment", "ref", "job_workflow_ref"})
_SHOWN_BY = (
    "`aws iam get-role --query Role.AssumeRolePolicyDocument`, "
    "`vault read -format=json -field=data auth/jwt/role/NAME` or `az ad app federated-credential show`"
)


def check(text: str) -> list[Problem]:
    """Return every known mistake of a trust policy; none when it trusts one job and no other.

    Raises:
        UsageError: the text is none of the three.

    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        if "Statement" in data:
            return list(check_aws.mistakes(data))
        if {"bound_claims", "bound_audiences", "bound_subject", "role_type"} & data.keys():
            return list(_vault(data))
        if "subject" in data or "claimsMatchingExpression" in data:
            return list(_azure(data))
    raise UsageError(
        Problem(
            "it is neither a trust policy of AWS, nor a JWT role of Vault, nor a federated credential of Azure",
            remedy=f"Give the JSON that {_SHOWN_BY} prints.",
        )
    )


def _vault(role: Mapping[str, Any]) -> Iterator[Problem]:
    if not texts(role.get("bound_audiences")):
        yield Problem(
            "bound_audiences is empty: a token made for another service is taken too",
            remedy="Write the address of Vault, or the audience of vault-audience.",
        )
    claims = mapping(role.get("bound_claims"))
    is_pattern = role.get("bound_claims_type") == "glob"
    subject = texts(role.get("bound_subject"))
    subjects = [(text, is_pattern) for text in texts(claims.get("sub"))] + [(text, False) for text in subject]
    if not subjects and not texts(claims.get("repository")):
        yield Problem(
            f"neither sub nor repository is bound: {EVERYBODY} may log in",
            remedy=f"Add bound_claims.sub. {EXACT}",
        )
    elif not subjects and not _NARROWING & claims.keys():
        yield Problem(
            "only the repository is bound: every branch of it may log in, and whoever may push one",
            remedy="Bind sub, or environment or ref besides.",
        )
    elif not subjects and is_pattern and all(_has_pattern(claims, name) for name in _NARROWING & claims.keys()):
        yield Problem(
            f"what is bound besides the repository ({', '.join(sorted(_NARROWING & claims.keys()))}) is a pattern: "
            "whatever fits may log in",
            remedy="Write it whole, or bind sub.",
        )
    if is_pattern and _has_pattern(claims, "repository"):
        yield Problem(
            "repository is a pattern: every repository that fits may log in", remedy="Write it whole: ORG/REPO."
        )
    yield from subjects_of(subjects)


def _has_pattern(claims: Mapping[str, Any], name: str) -> bool:
    """Tell whether one of the texts that a claim may be is a pattern."""
    return any("*" in text for text in texts(claims.get(name)))


def _azure(credential: Mapping[str, Any]) -> Iterator[Problem]:
    issuer = str(credential.get("issuer") or "").removeprefix("https://").rstrip("/")
    if issuer != ISSUER and not ENTERPRISE.fullmatch(issuer):
        yield Problem(
            f"the issuer {tame(credential.get('issuer') or 'none', 80)} is not GitHub's",
            remedy=f"For github.com it is https://{ISSUER}, for an Enterprise Server https://HOST/_services/token.",
        )
    if texts(credential.get("audiences")) != ["api://AzureADTokenExchange"]:
        yield Problem(
            "the audience is not api://AzureADTokenExchange",
            remedy="Write that, or the same audience as in azure-audience.",
        )
    expression = credential.get("claimsMatchingExpression")
    if expression:
        found = re.findall(r"\s(eq|matches)\s'([^']*)'", str(mapping(expression).get("value", "")))
        yield from subjects_of([(text, word == "matches") for word, text in found])
    else:
        yield from subjects_of([(text, False) for text in texts(credential.get("subject"))])
