from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from imip_secrets.errors import ImipError, Problem, StoreError
from imip_secrets.identity import IdToken
from imip_secrets.secret import Secret
from imip_secrets.stores.aws import failure as aws_failure
from imip_secrets.stores.aws import login as aws_login
from imip_secrets.stores.base import Target
from stand_ins.aws_script import KEYS, ROLE, SESSION, Run, refusal, secret, session, sts_refusal, xml
from stand_ins.faults import answer, bad_json, html_answer, json_answer
from stand_ins.time_up import end_in

if TYPE_CHECKING:
    from pathlib import Path

    from stand_ins.faults import Request, Step


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_failure, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(aws_failure, "LONGEST_WAIT_SECONDS", 0.002)


def form(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


def failure(*login: Step, run: Run | None = None, tries: int = 1) -> str:
    """Return the error of a login that gets these answers, and check how often it was tried."""
    with run or Run(login=login) as open_run, pytest.raises(StoreError) as caught:
        open_run.store.login()
    assert len(open_run.logins) == tries
    return str(caught.value)


# --- a role


def test_the_role_is_assumed_with_the_id_token_and_nothing_else() -> None:
    with Run() as run:
        line = run.store.login()
        (request,) = run.logins
    assert form(request) == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "imip-secrets",
        "DurationSeconds": "900",
        "WebIdentityToken": "header.claims-1.signature",
    }
    assert "authorization" not in request.headers
    assert run.audiences == ["sts.amazonaws.com"]
    assert line.startswith(f"assumed {SESSION} until ")
    assert line.endswith(" UTC")


def test_the_settings_of_the_role_count() -> None:
    with Run(
        aws_role_session_name="imip-secrets-1234", aws_role_duration_seconds="3600", aws_audience="sts.amazonaws.com.cn"
    ) as run:
        run.store.login()
        sent = form(run.logins[0])
    assert (sent["RoleSessionName"], sent["DurationSeconds"]) == ("imip-secrets-1234", "3600")
    assert run.audiences == ["sts.amazonaws.com.cn"]


def test_the_line_tells_the_end_in_utc() -> None:
    with Run(login=(session(until="2026-11-24T14:34:56+02:00"),)) as run:
        assert run.store.login() == f"assumed {SESSION} until 12:34 UTC"


def test_a_session_of_a_hostile_name_is_tamed() -> None:
    with Run(login=(session(arn="x&#10;::stop-commands::y ##[z]"),)) as run:
        line = run.store.login()
    assert "::" not in line
    assert "##[" not in line
    assert "\n" not in line


def test_every_part_of_the_credentials_is_protected_before_the_first_read() -> None:
    seen: list[tuple[str, int]] = []
    with Run(protect=lambda part: seen.append((part.reveal(), len(run.reads)))) as run:
        run.logged_in().fetch(Target("a"))
    assert seen == [(part, 0) for part in KEYS]


@pytest.mark.parametrize(
    ("role", "region", "home"),
    [
        (ROLE, "", "us-east-1"),
        (ROLE, "eu-west-3", "eu-west-3"),
        ("arn:aws-us-gov:iam::123456789012:role/a", "", "us-gov-west-1"),
        ("arn:aws-cn:iam::123456789012:role/a", "", "cn-northwest-1"),
    ],
)
def test_the_login_is_at_the_region_or_at_home(role: str, region: str, home: str) -> None:
    with Run(aws_role_to_assume=role, aws_region=region) as run:
        assert aws_login.login_region(run.context.settings) == home


def test_no_region_is_needed_where_each_secret_names_its_own() -> None:
    with Run(aws_region="") as run:
        run.logged_in().fetch(Target("a", region="eu-west-1"))
        assert "/eu-west-1/secretsmanager/" in run.reads[0].headers["authorization"]


def test_an_id_token_that_is_not_to_be_had_is_the_error() -> None:
    def none(_: str) -> IdToken:
        raise ImipError(Problem("no permission", "ID token"))

    with Run(id_token=none) as run:
        with pytest.raises(ImipError, match="no permission"):
            run.store.login()
        assert run.server.requests == []


@pytest.mark.parametrize(
    "step",
    [
        sts_refusal("IDPCommunicationError", "retry"),
        sts_refusal("Throttling", "Rate exceeded"),
        sts_refusal("InternalFailure", "", 500),
        answer(503),
        "reset",
    ],
)
def test_a_login_is_tried_again_with_the_same_young_token(step: Step) -> None:
    with Run(login=(step, step)) as run:
        assert run.store.login()
        assert len(run.logins) == 3
    assert len(run.audiences) == 1


def test_an_old_token_is_replaced_before_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_login, "TOKEN_SECONDS", 0.0)
    with Run(login=(answer(503),)) as run:
        run.store.login()
        tokens = [form(request)["WebIdentityToken"] for request in run.logins]
    assert tokens == ["header.claims-2.signature", "header.claims-3.signature"]


@pytest.mark.parametrize(
    "step",
    [
        sts_refusal("ExpiredTokenException", "Token expired: current date/time must be before the expiration"),
        sts_refusal("InvalidIdentityToken", "The ID Token is not yet valid"),
        sts_refusal("InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider"),
    ],
)
def test_a_token_out_of_time_is_replaced_and_tried_again(step: Step) -> None:
    with Run(login=(step, step)) as run:
        run.store.login()
        tokens = [form(request)["WebIdentityToken"] for request in run.logins]
    assert tokens == [f"header.claims-{number}.signature" for number in (1, 2, 3)]


def test_a_further_id_token_that_is_not_to_be_had_is_the_error() -> None:
    given = [IdToken(Secret("header.claims.signature"), {})]

    def once(_: str) -> IdToken:
        if not given:
            raise ImipError(Problem("no permission", "ID token"))
        return given.pop()

    with Run(login=(sts_refusal("ExpiredTokenException", "over"),), id_token=once) as run:
        with pytest.raises(ImipError, match="no permission"):
            run.store.login()
        assert len(run.logins) == 1


@pytest.mark.parametrize(
    "name", ["AWS_STS_REGIONAL_ENDPOINTS", "AWS_DEFAULTS_MODE", "AWS_REQUEST_CHECKSUM_CALCULATION"]
)
def test_a_setting_of_the_environment_that_the_sdk_does_not_take_is_said(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "nonsense")
    text = failure(run=Run(), tries=0)
    assert "the AWS SDK could not make the request (" in text
    assert "Check the AWS settings of this machine (" in text
    assert name in text


def test_a_profile_that_is_not_there_is_said_though_a_role_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    assert "The config profile (nosuch) could not be found" in failure(run=Run(ambient=True), tries=0)


def test_a_token_that_stays_out_of_time_is_an_error_with_the_claims_and_the_clock() -> None:
    step = sts_refusal("ExpiredTokenException", "Token expired", Date="Tue, 01 Jan 2030 00:00:00 GMT")
    text = failure(step, step, step, step, tries=3)
    assert "AWS did not accept the ID token (Token expired; sub=repo:octo-org/octo-repo" in text
    assert "clock differs from AWS's by" in text
    assert "(3 tries in" in text


PROVIDER = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Incorrect token audience", (f"Add sts.amazonaws.com to the audiences of the identity provider {PROVIDER}",)),
        (
            "No OpenIDConnect provider found in your account for https://token.actions.githubusercontent.com",
            (f"Create the identity provider {PROVIDER} in IAM", "check the account in aws-role-to-assume"),
        ),
        (
            "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
            ("Correct the thumbprints of", PROVIDER),
        ),
    ],
)
def test_a_provider_that_is_not_set_up_is_told_at_once(message: str, words: tuple[str, ...]) -> None:
    text = failure(sts_refusal("InvalidIdentityToken", message))
    assert all(word in text for word in words), text
    assert "aud=sts.amazonaws.com" in text


def test_a_refused_role_shows_the_claims_beside_the_conditions() -> None:
    text = failure(sts_refusal("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", 403))
    for words in (
        f"the trust policy of {ROLE} does not let this job in, or there is no such role",
        "sub=repo:octo-org/octo-repo:environment:production, aud=sts.amazonaws.com",
        f"allow sts:AssumeRoleWithWebIdentity to the identity provider {PROVIDER}",
        "token.actions.githubusercontent.com:sub match repo:octo-org/octo-repo:environment:production",
        "token.actions.githubusercontent.com:aud be sts.amazonaws.com",
        "since 2026-07-15 has a sub of the immutable form repo:ORG@ID/REPO@ID:...",
    ):
        assert words in text, text
    assert "header.claims" not in text


def refused(**claims: object) -> str:
    run = Run(login=(sts_refusal("AccessDenied", "no", 403),))
    run.claims.update(claims)
    return failure(run=run)


def test_a_refused_sub_with_ids_is_explained() -> None:
    text = refused(sub="repo:octo-org@9919/octo-repo@74107:environment:production")
    assert "This sub is of the immutable form" in text
    assert "a condition without the ids does not match it" in text


def test_another_issuer_has_conditions_of_its_own_name() -> None:
    text = refused(iss="https://github.example.com/_services/token")
    assert "github.example.com/_services/token:sub match" in text
    assert "oidc-provider/github.example.com/_services/token" in text
    assert "immutable" not in text


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            sts_refusal("RegionDisabledException", "STS is not activated", 403),
            ("STS is not active in us-east-1", "Account settings"),
        ),
        (
            sts_refusal("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for it"),
            (f"the role {ROLE} does not allow sessions of 900 s", "Lower aws-role-duration-seconds"),
        ),
        (
            sts_refusal("PackedPolicyTooLarge", "Too large"),
            (f"AWS refused to let this job assume {ROLE} (PackedPolicyTooLarge: Too large)",),
        ),
    ],
)
def test_a_refusal_says_what_to_do(step: Step, words: tuple[str, ...]) -> None:
    text = failure(step)
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    "step",
    [
        html_answer(),
        bad_json(),
        json_answer({"a": 1}),
        xml("<AssumeRoleWithWebIdentityResponse/>"),
        xml(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult/></AssumeRoleWithWebIdentityResponse>"
        ),
        session(keys=("", "canary", "canary")),
        session(arn=""),
        session(until="no date"),
        xml("<unfinished><SecretAccessKey>canary"),
    ],
)
def test_an_answer_without_credentials_is_an_error_after_a_second_try(step: Step) -> None:
    text = failure(step, step, tries=2)
    assert "is not of AWS's form" in text or "a web page" in text
    assert "canary" not in text


# --- ambient credentials


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine without any credentials, nor the network to ask for them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return monkeypatch


def test_keys_of_the_environment_are_used_and_protected(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIAAMBIENT")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "ambient-secret-key")
    with Run(secret("there"), aws_role_to_assume="") as run:
        assert run.store.login() == "ambient credentials: keys in the environment"
        assert run.store.fetch(Target("a")).value.reveal() == "there"
        assert "AKIAAMBIENT/" in run.reads[0].headers["authorization"]
    assert run.protected == ["AKIAAMBIENT", "ambient-secret-key"]
    assert run.audiences == []


def test_a_machine_without_credentials_is_told_how_to_get_some(bare: pytest.MonkeyPatch) -> None:
    del bare
    with Run(aws_role_to_assume="") as run, pytest.raises(StoreError) as caught:
        run.store.login()
    assert "there are no AWS credentials. Give the input aws-role-to-assume" in str(caught.value)
    assert "id-token: write" in str(caught.value)


def test_half_a_key_is_an_error(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIAAMBIENT")
    with Run(aws_role_to_assume="") as run, pytest.raises(StoreError) as caught:
        run.store.login()
    assert "PartialCredentialsError" in str(caught.value)
    assert "AWS_SECRET_ACCESS_KEY" in str(caught.value)


def test_a_web_identity_of_the_machine_is_exchanged_at_the_given_address(
    bare: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("of.the.pod")
    bare.setenv("AWS_ROLE_ARN", ROLE)
    bare.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    with Run(secret("there"), aws_role_to_assume="", ambient=True, aws_endpoint_url="") as run:
        bare.setenv("AWS_ENDPOINT_URL", run.server.url)
        assert run.store.login() == "ambient credentials: the web identity of this machine"
        assert run.store.fetch(Target("a")).value.reveal() == "there"
        assert form(run.logins[0])["WebIdentityToken"] == "of.the.pod"
    assert run.protected == list(KEYS)


def test_a_web_identity_whose_token_is_not_there_is_told_with_the_file(
    bare: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare.setenv("AWS_ROLE_ARN", ROLE)
    bare.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    text = failure(run=Run(aws_role_to_assume="", ambient=True), tries=0)
    assert "a file that the AWS settings of this machine name cannot be read" in text
    assert "No such file" in text
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in text


def test_credentials_from_an_address_that_is_not_allowed_are_none(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/secret-path")
    text = failure(run=Run(aws_role_to_assume="", ambient=True), tries=0)
    assert "what the AWS settings of this machine name gives no credentials (ValueError)" in text
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in text
    assert "secret-path" not in text


@pytest.mark.parametrize("address", ["nonsense", "ftp://127.0.0.1"])
def test_an_address_of_the_environment_that_is_none_is_told_at_once(bare: pytest.MonkeyPatch, address: str) -> None:
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIAAMBIENT")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "ambient-secret-key")
    with Run(aws_role_to_assume="", ambient=True, aws_endpoint_url="") as run:
        bare.setenv("AWS_ENDPOINT_URL", address)
        run.store.login()
        with pytest.raises(StoreError, match=r"AWS_ENDPOINT_URL|aws-endpoint-url") as caught:
            run.store.fetch(Target("a"))
    assert "tries in" not in str(caught.value)
    assert run.notices == []


def test_who_is_denied_is_told_by_aws_where_no_role_is_assumed(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIAAMBIENT")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "ambient-secret-key")
    user = "arn:aws:iam::210987654321:user/ops"
    with Run(refusal("AccessDeniedException", f"User: {user} is not authorized"), aws_role_to_assume="") as run:
        run.store.login()
        with pytest.raises(StoreError) as caught:
            run.store.fetch(Target("a"))
    assert f"arn:aws:secretsmanager:us-east-1:210987654321:secret:a-?????? to {user}." in str(caught.value)


def test_the_login_does_not_outlast_the_deadline() -> None:
    run = Run(login=("hang",))
    give = run.context.id_token

    def last_minute(audience: str) -> IdToken:
        end_in(run.context.deadline, 3.0)
        return give(audience)

    run.context.id_token = last_minute
    text = failure(run=run)
    # By itself a try would wait for ten seconds.
    assert re.search(r"did not answer within [123] s", text)
    assert "timeout-seconds" in text
