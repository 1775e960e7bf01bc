from __future__ import annotations

from imip_secrets.identity import TELLING_CLAIMS, IdToken
from imip_secrets.secret import Secret

CANARY = "eyJhbGciOi.canary.signature"


def test_the_claims_that_policies_name_are_told_in_their_order_and_no_others() -> None:
    claims = {
        "jti": "x",
        "aud": "sts.amazonaws.com",
        "sub": "repo:o/r:ref:refs/heads/main",
        "repository": "o/r",
        "exp": 1,
    }
    assert IdToken(Secret(CANARY), claims).describe() == (
        "sub=repo:o/r:ref:refs/heads/main, aud=sts.amazonaws.com, repository=o/r"
    )


def test_every_telling_claim_is_told() -> None:
    described = IdToken(Secret(CANARY), {name: f"the {name}" for name in TELLING_CLAIMS}).describe()
    assert described == ", ".join(f"{name}=the {name}" for name in TELLING_CLAIMS)


def test_a_claim_of_any_type_can_be_told() -> None:
    assert IdToken(Secret(CANARY), {"aud": ["a", "b"], "sub": None}).describe() == "sub=None, aud=['a', 'b']"


def test_no_claims_tell_nothing() -> None:
    assert IdToken(Secret(CANARY), {}).describe() == ""


def test_foreign_claims_are_tamed() -> None:
    described = IdToken(Secret(CANARY), {"sub": "a\n::stop-commands::x ##[error]" + "b" * 9999}).describe()
    assert "::" not in described
    assert "##[" not in described
    assert "\n" not in described
    assert len(described) < 400


def test_the_token_is_never_shown() -> None:
    token = IdToken(Secret(CANARY), {"sub": "s"})
    assert CANARY not in f"{token} {token!r} {token.describe()}"
