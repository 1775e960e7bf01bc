from __future__ import annotations

import json
import urllib.error
import urllib.request

import jwt
import pytest

from stand_ins.oidc import Issuer


def ask(issuer: Issuer, audience: str, token: str | None = None) -> dict[str, object]:
    request = urllib.request.Request(
        f"{issuer.request_url}&audience={audience}",
        headers={"Authorization": f"bearer {token or issuer.request_token}"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answered: dict[str, object] = json.load(response)
    return answered


def test_a_token_verifies_against_the_published_keys() -> None:
    with Issuer() as issuer:
        token = str(ask(issuer, "sts.amazonaws.com")["value"])
        with urllib.request.urlopen(f"{issuer.url}/.well-known/openid-configuration", timeout=60) as response:
            jwks_url = json.load(response)["jwks_uri"]
        key = jwt.PyJWKClient(jwks_url).get_signing_key_from_jwt(token).key
        claims = jwt.decode(token, key, ["RS256"], audience="sts.amazonaws.com", issuer=issuer.url)
    assert claims["sub"] == "repo:octo-org/octo-repo:environment:production"
    assert issuer.asked == ["sts.amazonaws.com"]
    assert issuer.issued == [token]


def test_the_request_token_is_checked() -> None:
    with Issuer() as issuer, pytest.raises(urllib.error.HTTPError) as refused:
        ask(issuer, "a", token="another")
    refused.value.close()
    assert refused.value.code == 401
    assert issuer.asked == []


def test_faults_come_in_order_and_then_it_works_again() -> None:
    with Issuer() as issuer:
        issuer.fail_next(503, "no-value")
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(issuer, "a")
        refused.value.close()
        assert ask(issuer, "a") == {"count": 0}
        assert ask(issuer, "b")["value"] == issuer.issued[0]
    assert issuer.asked == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("fault", "expected"), [("early", jwt.ImmatureSignatureError), ("expired", jwt.ExpiredSignatureError)]
)
def test_tokens_can_be_made_for_another_time(fault: str, expected: type[Exception]) -> None:
    with Issuer() as issuer:
        issuer.fail_next(fault)
        token = str(ask(issuer, "a")["value"])
        key = jwt.PyJWKClient(issuer.jwks_url).get_signing_key_from_jwt(token).key
        with pytest.raises(expected):
            jwt.decode(token, key, ["RS256"], audience="a")


def test_the_environment_matches_the_claims() -> None:
    issuer = Issuer()
    with issuer:
        issuer.claims["repository"] = "octo-org/renamed"
        assert issuer.environ()["GITHUB_REPOSITORY"] == "octo-org/renamed"
        assert issuer.environ()["ACTIONS_ID_TOKEN_REQUEST_URL"].endswith("?api-version=2.0")
        assert issuer.immutable_sub == "repo:octo-org@9919/octo-repo@74107:environment:production"
