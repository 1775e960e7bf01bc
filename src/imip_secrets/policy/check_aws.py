"""The mistakes of a trust policy of AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imip_secrets.errors import Problem
from imip_secrets.foreign import tame
from imip_secrets.policy.check_subject import ENTERPRISE, EVERYBODY, EXACT, ISSUER, listed, mapping, subjects_of, texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ASSUME = "sts:AssumeRoleWithWebIdentity"


def mistakes(policy: Mapping[str, Any]) -> Iterator[Problem]:
    """Give every mistake of a trust policy, each with its statement."""
    statements = listed(policy["Statement"])
    for number, statement in enumerate(statements, start=1):
        where = f"statement {number}"
        if isinstance(statement, dict) and statement.get("Effect") == "Allow":
            yield from (problem.at(where) for problem in _statement(statement))
    if not statements:
        yield Problem("it has no statement", remedy="Nobody may assume the role: add one.")


def _statement(statement: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _actions(statement)
    federated = _federated(statement.get("Principal"))
    if "NotPrincipal" in statement or federated is None:
        right = f"arn:aws:iam::ACCOUNT_ID:oidc-provider/{ISSUER}"
        what = "the principal is not GitHub's identity provider alone"
        yield Problem(what, remedy=f"Write Principal.Federated: {right}, and nothing else there.")
        return
    provider = federated.partition(":oidc-provider/")[2]
    if provider != ISSUER and not ENTERPRISE.fullmatch(provider):
        yield Problem(
            f"the identity provider {tame(provider or federated, 80)} is not GitHub's",
            remedy=f"For github.com it is {ISSUER}, for an Enterprise Server HOST/_services/token.",
        )
    yield from _conditions(statement.get("Condition"), provider)


def _actions(statement: Mapping[str, Any]) -> Iterator[Problem]:
    actions = texts(statement.get("Action"))
    wrong = [action for action in actions if action not in {_ASSUME, "sts:TagSession"}]
    if "NotAction" in statement or not actions or wrong:
        named = f" ({', '.join(tame(action, 40) for action in wrong)})" if wrong else ""
        yield Problem(f"the action is not {_ASSUME} alone{named}", remedy=f"Write Action: {_ASSUME}.")


def _federated(principal: object) -> str | None:
    if not isinstance(principal, dict) or set(principal) != {"Federated"}:
        return None
    names = texts(principal["Federated"])
    return names[0] if len(names) == 1 else None


def _conditions(raw: object, provider: str) -> Iterator[Problem]:
    compared = [
        (operator, key, values) for operator, keys in mapping(raw).items() for key, values in mapping(keys).items()
    ]
    if not compared:
        yield Problem(f"there is no condition: {EVERYBODY} may assume the role", remedy=EXACT)
        return
    audiences: list[str] = []
    subjects: list[tuple[str, bool]] = []
    for operator, key, values in compared:
        claim = _claim(key, provider)
        if claim == "aud":
            audiences += texts(values)
        elif claim == "sub":
            subjects += [(text, "like" in operator.lower()) for text in texts(values)]
        yield from _condition(operator, key, claim, provider)
    yield from _audience(audiences, provider)
    if not subjects:
        only = "only the audience is compared" if audiences else "sub is not compared"
        what = f"{only}: {EVERYBODY} may assume the role"
        yield Problem(what, remedy=f"Add {provider}:sub to StringEquals. {EXACT}")
    yield from subjects_of(subjects)


def _condition(operator: str, key: str, claim: str | None, provider: str) -> Iterator[Problem]:
    if claim is None:
        what = f"the condition {tame(key, 80)} is of another provider, and is never met"
        yield Problem(what, remedy=f"Write {provider}:sub and {provider}:aud.")
    elif claim in {"sub", "aud"}:
        yield from _operator(operator, claim)


def _audience(audiences: list[str], provider: str) -> Iterator[Problem]:
    if not audiences:
        what = "the audience is not compared: a token made for another service is taken too"
        yield Problem(what, remedy=f'Add {provider}:aud: "sts.amazonaws.com" to StringEquals.')
    elif any("*" in audience or "?" in audience for audience in audiences):
        yield Problem("the audience is a pattern", remedy='Write "sts.amazonaws.com", or the audience of aws-audience.')


def _claim(key: str, provider: str) -> str | None:
    """Return the claim that a condition key compares; None when it is of another provider."""
    before, mark, claim = key.rpartition(":")
    if key.startswith("aws:") or not mark:
        return ""
    return claim.lower() if before.lower() == provider.lower() else None


def _operator(operator: str, claim: str) -> Iterator[Problem]:
    name = operator.lower()
    if name.startswith("forallvalues:") or name.endswith("ifexists"):
        yield Problem(
            f"{tame(operator, 40)} is met as well when the token has no {claim}",
            remedy="Write StringEquals.",
        )
    elif "not" in name:
        yield Problem(
            f"{tame(operator, 40)} says who may not, so everybody else of GitHub may", remedy="Write StringEquals."
        )
