from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import jwt
import pytest

from imip_secrets.errors import ImipError, Problem, StoreError
from stand_ins.faults import Answer, FaultServer, answer, json_answer
from stand_ins.vault_script import CLAIMS, CLIENT_TOKEN, Caller, NoTime, ScriptedVault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stand_ins.faults import Step


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))


@pytest.fixture
def server() -> Iterator[ScriptedVault]:
    with ScriptedVault({"secret/a": '{"K": "v"}'}) as running:
        yield running


def caller(server: FaultServer, **settings: str) -> Caller:
    return Caller({"vault-addr": f"{server.url}/", "vault-role": "imip-ci", **settings})


def log_in(told: Caller) -> str:
    opened = told.store()
    try:
        return opened.login()
    finally:
        opened.close()


def refusal(told: Caller) -> str:
    with pytest.raises(StoreError) as caught:
        log_in(told)
    said = str(caught.value)
    assert "\n" not in said
    assert "eyJ" not in said
    return said


def test_the_line_says_who_we_are(server: ScriptedVault) -> None:
    told = caller(server)
    assert log_in(told) == (f"logged in at {server.url} as role imip-ci, policies default, imip (token lives 20m)")
    assert told.protected == [CLIENT_TOKEN]


def test_a_bare_answer_makes_a_short_line() -> None:
    with ScriptedVault(auth={"token_policies": None, "lease_duration": 0}) as server:
        told = caller(server)
        server.script(answer(404), when=lambda request: request.path.endswith("revoke-self"))
        assert log_in(told) == f"logged in at {server.url} as role imip-ci"
    assert told.notices == ["the Vault token could not be revoked (status 404): it has no end"]


def test_the_audience_is_the_address_or_the_input(server: ScriptedVault) -> None:
    told = caller(server)
    log_in(told)
    other = caller(server, **{"vault-audience": "https://vault"})
    log_in(other)
    assert (told.audiences, other.audiences) == ([server.url], ["https://vault"])


def test_role_token_mount_and_namespace_are_sent(server: ScriptedVault) -> None:
    told = caller(server, **{"vault-auth-path": "/git hub/", "vault-namespace": "admin/"})
    log_in(told)
    sent = server.requests[0]
    assert (sent.target, sent.headers["x-vault-namespace"]) == ("/v1/auth/git%20hub/login", "admin")
    assert "x-vault-token" not in sent.headers
    assert b'"role": "imip-ci"' in sent.body


def test_the_token_is_masked_before_it_is_used(server: ScriptedVault) -> None:
    told = caller(server, **{"vault-auth-method": "token", "vault-token": "by-hand"})
    assert log_in(told) == f"using the token of vault-token at {server.url}"
    assert told.protected == ["by-hand"]
    assert told.audiences == []
    assert server.requests == []


def test_the_token_file_counts_only_where_people_are(server: ScriptedVault, tmp_path: Path) -> None:
    (tmp_path / ".vault-token").write_text("from-file\n")
    settings = {"vault-addr": server.url, "vault-auth-method": "token"}
    ambient = Caller(settings, ambient=True)
    assert log_in(ambient) == f"using the token of ~/.vault-token at {server.url}"
    assert ambient.protected == ["from-file"]
    assert "input vault-token is missing" in refusal(Caller(settings))
    (tmp_path / ".vault-token").write_text("\n")
    assert "input vault-token is missing" in refusal(ambient)


def test_a_home_that_is_not_ours_has_no_token(
    server: ScriptedVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path as RealPath  # noqa: PLC0415

    def no_home() -> Path:
        raise RuntimeError

    (tmp_path / ".vault-token").write_text("from-file")
    monkeypatch.setattr(RealPath, "home", no_home)
    told = Caller({"vault-addr": server.url, "vault-auth-method": "token"}, ambient=True)
    assert "input vault-token is missing" in refusal(told)


@pytest.mark.parametrize("token", ["two\nlines", "has space", "ключ", "\udc80"])
def test_what_no_token_has_is_refused_unseen(server: ScriptedVault, token: str) -> None:
    told = caller(server, **{"vault-auth-method": "token", "vault-token": token})
    said = refusal(told)
    assert said.startswith("the token of vault-token holds characters that no token has")
    assert token not in said
    assert told.protected == []


def test_a_made_token_that_no_header_can_hold_is_refused() -> None:
    with ScriptedVault(auth={"client_token": "hvs.x\r\nX-Evil: 1"}) as server:
        assert "holds characters that no token has" in refusal(caller(server))


def test_a_denial_of_a_token_by_hand_may_be_its_end(server: ScriptedVault) -> None:
    from imip_secrets.stores.base import Target  # noqa: PLC0415

    server.paths["secret/data/a"] = answer(403)
    told = caller(server, **{"vault-auth-method": "token", "vault-token": "by-hand"})
    opened = told.store()
    opened.login()
    with pytest.raises(
        StoreError, match=r"a policy of the token of vault-token: .* If the token has expired, renew it\.$"
    ):
        opened.fetch(Target("secret/a"))
    opened.close()


def test_no_id_token_is_the_error_of_the_source(server: ScriptedVault) -> None:
    def none(_: str) -> str:
        raise ImipError(Problem("the job may have no ID token"))

    told = Caller({"vault-addr": server.url, "vault-role": "r"}, id_token=none)
    with pytest.raises(ImipError, match="may have no ID token"):
        log_in(told)
    assert server.requests == []


@pytest.mark.parametrize("status", [412, 429, 472, 473, 500, 502, 503, 504])
def test_a_login_is_repeated_with_the_same_token(server: ScriptedVault, status: int) -> None:
    server.script(answer(status), "reset", when=lambda request: request.path.endswith("/login"))
    told = caller(server)
    assert "logged in" in log_in(told)
    assert len(told.audiences) == 1
    assert len({request.body for request in server.requests[:3]}) == 1


LATE = "error validating token: invalid not before (nbf) claim: token not yet valid"


@pytest.mark.parametrize(
    "said",
    [
        LATE,
        "error validating token: invalid expiration time (exp) claim: token is expired",
        "error validating token: invalid issued at (iat) claim: token issued in the future",
        "Token is expired",
    ],
)
def test_a_clock_that_differs_gets_a_fresh_token(server: ScriptedVault, said: str) -> None:
    late = json_answer({"errors": [said]}, 400)
    server.script(late, late, when=lambda request: request.path.endswith("/login"))
    told = caller(server)
    assert "logged in" in log_in(told)
    assert len(told.audiences) == 3


@pytest.mark.parametrize(("ahead", "said"), [(3600, "1h ahead of"), (-120, "2m behind")])
def test_a_clock_that_stays_wrong_is_an_error_that_says_how_wrong(ahead: int, said: str) -> None:
    now = int(time.time())
    late = Answer(400, {"Date": formatdate(now + ahead, usegmt=True)}, b'{"errors": ["Token is expired (exp)"]}')
    with FaultServer(late) as server:
        told = Caller(
            {"vault-addr": server.url, "vault-role": "r"},
            id_token=lambda audience: jwt.encode({**CLAIMS, "aud": audience, "iat": now}, "k" * 32),
        )
        text = refusal(told)
    assert f"Set the clocks right: Vault's is {said} the token's issuer; a fresh token did not help." in text
    assert len(told.audiences) == 3


def test_a_date_that_is_none_is_no_reason_to_fail_otherwise() -> None:
    absurd = Answer(
        400, {"Date": "Tue, 24 Nov 2026 05:00:00 +9999999999999"}, b'{"errors": ["Token is expired (exp)"]}'
    )
    with FaultServer(absurd) as server:
        assert "Set the clocks right; a fresh token did not help." in refusal(caller(server))


def test_without_a_date_the_clocks_are_not_compared() -> None:
    with FaultServer(json_answer({"errors": [LATE]}, 400)) as server:
        assert "Set the clocks right; a fresh token did not help." in refusal(caller(server))


def test_no_fresh_token_when_there_is_no_time_for_it() -> None:
    with FaultServer(json_answer({"errors": [LATE]}, 400)) as server:
        told = Caller({"vault-addr": server.url, "vault-role": "r"}, deadline=NoTime())
        refusal(told)
    assert len(told.audiences) == 1


# The words are those of a real OpenBao 2.7 (tests/integration/test_vault.py sees them from itself).
@pytest.mark.parametrize(
    ("status", "said", "remedy"),
    [
        (400, 'role "imip-ci" could not be found', "vault write auth/jwt/role/imip-ci ..."),
        (
            400,
            "invalid audience (aud) claim: audience claim does not match any expected audience",
            "bound_audiences of the",
        ),
        (
            400,
            'error validating claims: claim "repository" does not match any associated bound claim',
            "claim repository.",
        ),
        (
            400,
            'error validating claims: claim "environment" is missing',
            "Let bound_claims of the role fit the claim env",
        ),
        (
            400,
            "error validating token: invalid subject (sub) claim",
            "Let bound_subject of the role be the token's sub.",
        ),
        (400, "error validating token: invalid issuer (iss) claim", "Let bound_issuer of auth/jwt/config be"),
        (
            400,
            "error verifying token signature: failed to verify id token signature",
            "issuer, https://issuer.example.",
        ),
        (403, "permission denied", "Is a login method jwt mounted at auth/jwt, in this namespace?"),
        (404, 'no handler for route "auth/jwt/login"', "Is a login method jwt mounted at auth/jwt"),
        (404, "namespace not found", "knows no namespace"),
        (418, "teapot", "answers 418, it is not well: teapot"),
    ],
)
def test_each_refusal_names_the_setting_to_change(status: int, said: str, remedy: str) -> None:
    with FaultServer(json_answer({"errors": [said]}, status)) as server:
        text = refusal(caller(server))
    assert remedy in text
    assert said[:20] in text or "namespace" in said
    if "claim" in said and "(iss)" not in said:
        assert "The token has sub=repo:octo-org/octo-repo:environment:production, aud=http://127.0.0.1" in text


@pytest.mark.parametrize(
    ("subject", "explained"),
    [
        ("repo:octo-org/octo-repo:ref:refs/heads/a@b", "This repository sends the form without ids;"),
        ("repo:octo-org@1/octo-repo@2:environment:production", "This repository sends the form with ids"),
    ],
)
@pytest.mark.parametrize("said", ["invalid subject (sub) claim", 'claim "sub" does not match any'])
def test_the_two_forms_of_the_subject_are_explained(subject: str, explained: str, said: str) -> None:
    claims: Callable[[str], str] = lambda audience: jwt.encode({"sub": subject, "aud": audience}, "k" * 32)  # noqa: E731
    with FaultServer(json_answer({"errors": [said]}, 400)) as server:
        text = refusal(Caller({"vault-addr": server.url, "vault-role": "r"}, id_token=claims))
    assert explained in text
    assert "2026-07-15" in text
    assert f"sub={subject}" in text


def test_a_refusal_without_words_shows_the_status() -> None:
    with FaultServer(answer(403, "<html>")) as server:
        assert "with the role imip-ci of auth/jwt in namespace ns: status 403." in refusal(
            caller(server, **{"vault-namespace": "ns"})
        )


@pytest.mark.parametrize(
    "body", [{"auth": None}, {}, {"auth": {"client_token": ""}}, {"auth": {"mfa_requirement": {}}}]
)
def test_a_login_without_a_token_is_an_error(body: dict[str, object]) -> None:
    with FaultServer(json_answer(body)) as server:
        assert "answered the login without a token" in refusal(caller(server))


def test_hostile_policies_are_tamed() -> None:
    with ScriptedVault(auth={"token_policies": ["::stop-commands::x\n", "##[add-mask]"]}) as server:
        line = log_in(caller(server))
    assert "::" not in line
    assert "##[" not in line
    assert "\n" not in line


def test_a_sealed_vault_refuses_the_login() -> None:
    sealed: Step = json_answer({"errors": ["Vault is sealed"]}, 503)

    with FaultServer(handler=lambda r: json_answer({"sealed": True}) if "seal" in r.path else sealed) as server:
        assert "answers 503, it is sealed: Vault is sealed. Unseal it" in refusal(caller(server))
