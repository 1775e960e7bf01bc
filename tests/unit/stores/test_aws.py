from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imip_secrets.errors import MissingError, StoreError
from imip_secrets.stores.aws import failure as aws_failure
from imip_secrets.stores.base import Target
from stand_ins.aws_script import KEYS, ROLE, Run, refusal, secret
from stand_ins.faults import Answer, answer, bad_json, html_answer, json_answer, redirect
from stand_ins.time_up import end_at

if TYPE_CHECKING:
    from stand_ins.faults import Step

TARGET = Target("imip/production")
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:imip/production-a1B2c3"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_failure, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(aws_failure, "LONGEST_WAIT_SECONDS", 0.002)


def failure(*steps: Step, target: Target = TARGET) -> StoreError:
    """Return the error of a read that gets these answers."""
    with Run(*steps) as run, pytest.raises(StoreError) as caught:
        run.logged_in().fetch(target)
    return caught.value


def asked(run: Run) -> dict[str, object]:
    """Return what the last read asked for."""
    return dict(json.loads(run.reads[-1].body))


def test_importing_the_store_imports_no_sdk() -> None:
    code = (
        "import sys; sys.path.insert(0, 'src'); from imip_secrets.stores.aws import secrets_manager; "
        "secrets_manager.open_store(None); "
        "print([name for name in ('boto3', 'botocore', 'urllib3', 'ssl', 'logging', 'socket') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout == "[]\n"


def test_a_read_before_the_login_is_a_mistake_of_the_caller() -> None:
    with Run() as run, pytest.raises(RuntimeError, match="not logged in"):
        run.store.fetch(TARGET)


# --- reading


def test_a_text_comes_byte_for_byte_with_its_version_and_date() -> None:
    text = '{"a": 1.0, "ä": " \\r\\n "}\r\n\x00\u2028'
    with Run(secret(text)) as run:
        found = run.logged_in().fetch(TARGET)
    assert found.value.reveal() == text
    assert not found.is_data
    assert found.version == "v" * 32
    assert found.changed == datetime(2023, 11, 14, 22, 13, 20, 500000, timezone.utc)
    assert found.lease is None


def test_bytes_come_as_they_are() -> None:
    data = bytes(range(256))
    with Run(secret(data)) as run:
        assert run.logged_in().fetch(TARGET).value.reveal_bytes() == data


def test_an_empty_text_is_a_value() -> None:
    with Run(secret("")) as run:
        assert run.logged_in().fetch(TARGET).value.reveal() == ""


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Target("a"), {"SecretId": "a", "VersionStage": "AWSCURRENT"}),
        (Target("a", stage="AWSPREVIOUS"), {"SecretId": "a", "VersionStage": "AWSPREVIOUS"}),
        (Target("a", version="0" * 32), {"SecretId": "a", "VersionId": "0" * 32}),
        (Target(ARN), {"SecretId": ARN, "VersionStage": "AWSCURRENT"}),
    ],
)
def test_a_read_asks_for_one_version(target: Target, expected: dict[str, str]) -> None:
    with Run() as run:
        run.logged_in().fetch(target)
        assert asked(run) == expected
        (request,) = run.reads
    assert request.headers["x-amz-target"] == "secretsmanager.GetSecretValue"


@pytest.mark.parametrize(
    ("target", "region"),
    [
        (TARGET, "us-east-1"),
        (Target("a", region="ap-south-2"), "ap-south-2"),
        (Target(ARN), "eu-west-1"),
    ],
)
def test_a_read_is_signed_with_the_session_for_the_region(target: Target, region: str) -> None:
    with Run() as run:
        run.logged_in().fetch(target)
        headers = run.reads[-1].headers
    assert f"{KEYS[0]}/" in headers["authorization"]
    assert f"/{region}/secretsmanager/aws4_request" in headers["authorization"]
    assert headers["x-amz-security-token"] == KEYS[2]
    assert "imip-secrets/" in headers["user-agent"]


def test_several_regions_need_one_login() -> None:
    with Run() as run:
        store = run.logged_in()
        for region in ("us-east-1", "eu-west-1", "us-east-1"):
            store.fetch(Target("a", region=region))
        assert len(run.logins) == len(run.audiences) == 1


def test_many_threads_read_at_once() -> None:
    with Run() as run:
        store = run.logged_in()
        with ThreadPoolExecutor(32) as threads:
            found = list(threads.map(lambda number: store.fetch(Target(f"n{number}")), range(100)))
        assert len(found) == len(run.reads) == 100
        assert {json.loads(request.body)["SecretId"] for request in run.reads} == {f"n{n}" for n in range(100)}


# --- answers that are no values


@pytest.mark.parametrize(
    "step",
    [
        json_answer({}),
        json_answer({"Name": "a", "VersionId": "v"}),
        json_answer({"SecretString": None}),
        json_answer({"SecretString": "a", "SecretBinary": "YQ=="}),
        bad_json(),
        answer(200, ""),
    ],
)
def test_an_answer_without_one_value_is_an_error_after_a_second_try(step: Step) -> None:
    with Run(step) as run:
        with pytest.raises(StoreError) as caught:
            run.logged_in().fetch(TARGET)
        assert len(run.reads) == 2
    assert "AWS answered without a value for the secret imip/production in us-east-1" in str(caught.value)
    assert not isinstance(caught.value, MissingError)


@pytest.mark.parametrize("step", [json_answer({}), bad_json(), html_answer()])
def test_an_answer_without_a_value_may_be_followed_by_one_with_it(step: Step) -> None:
    with Run(step, secret("right")) as run:
        assert run.logged_in().fetch(TARGET).value.reveal() == "right"


@pytest.mark.parametrize(
    "step",
    [
        json_answer(["a", "list"]),
        json_answer("a text"),
        json_answer({"SecretBinary": "canar"}),
        json_answer({"SecretBinary": 5}),
        json_answer({"SecretString": {"an": "object"}}),
        json_answer({"SecretString": "canary", "CreatedDate": "no date"}),
        Answer(200, {}, b"[" * 100_000),
        Answer(200, {}, b'{"SecretString": "\xff"}'),
    ],
)
def test_an_answer_of_another_form_is_an_error_that_shows_none_of_it(step: Step) -> None:
    with Run(step) as run:
        with pytest.raises(StoreError) as caught:
            run.logged_in().fetch(TARGET)
        assert len(run.reads) == 2
    assert "is not of AWS's form" in str(caught.value) or "without a value" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None or "canary" not in repr(caught.value.__context__)


# --- refusals

NOT_FOUND = "Secrets Manager can't find the specified secret"
DENIED = (
    "User: arn:aws:sts::999999999999:assumed-role/other/run is not authorized to perform: "
    "secretsmanager:GetSecretValue on resource: imip/production because no identity-based policy allows the action"
)


@pytest.mark.parametrize(
    ("code", "message", "target", "words"),
    [
        (
            "ResourceNotFoundException",
            f"{NOT_FOUND}.",
            TARGET,
            ("there is no secret imip/production in us-east-1 (account 123456789012)", "Check the name and the region"),
        ),
        (
            "ResourceNotFoundException",
            f"{NOT_FOUND} value for staging label: AWSCURRENT",
            TARGET,
            ("has no value yet", "put-secret-value --secret-id imip/production --region us-east-1"),
        ),
        (
            "ResourceNotFoundException",
            f"{NOT_FOUND} value for staging label: AWSPREVIOUS",
            Target("a", stage="AWSPREVIOUS"),
            ("has no version with the label AWSPREVIOUS", "list-secret-version-ids"),
        ),
        (
            "ResourceNotFoundException",
            f"{NOT_FOUND} value for VersionId: {'0' * 32}",
            Target("a", version="0" * 32),
            (f"has no version {'0' * 32}", "list-secret-version-ids"),
        ),
        (
            "InvalidRequestException",
            "You can't perform this operation on the secret because it was marked for deletion.",
            TARGET,
            ("is deleted, or scheduled for it", "restore-secret --secret-id imip/production --region us-east-1"),
        ),
        (
            "InvalidRequestException",
            "You tried to perform the operation on a secret that's currently marked deleted.",
            TARGET,
            ("is deleted, or scheduled for it",),
        ),
    ],
)
def test_what_is_not_there_is_missing(code: str, message: str, target: Target, words: tuple[str, ...]) -> None:
    error = failure(refusal(code, message), target=target)
    assert isinstance(error, MissingError)
    assert all(word in str(error) for word in words), str(error)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            refusal("AccessDeniedException", DENIED),
            (
                "access to the secret imip/production in us-east-1 (account 123456789012) is denied",
                "Allow secretsmanager:GetSecretValue on "
                "arn:aws:secretsmanager:us-east-1:123456789012:secret:imip/production-?????? to " + ROLE,
            ),
        ),
        (
            refusal("AccessDeniedException", "with an explicit deny in a service control policy"),
            ("A policy denies secretsmanager:GetSecretValue on arn:aws:", "outright"),
        ),
        (
            refusal("AccessDeniedException", "Access to KMS is not allowed"),
            ("not its KMS key", f"Allow kms:Decrypt to {ROLE}", "arn:aws:kms:us-east-1:123456789012:key/KEY_ID"),
        ),
        (
            refusal("DecryptionFailure", "Secrets Manager can't decrypt the protected secret text"),
            ("not its KMS key", "check that the key is enabled"),
        ),
        (
            refusal("UnrecognizedClientException", "The security token included in the request is invalid."),
            ("AWS does not know the credentials in us-east-1", "has us-east-1 enabled"),
        ),
        (
            refusal("InvalidSignatureException", "The request signature we calculated does not match"),
            ("does not accept the signature", "AWS_SECRET_ACCESS_KEY"),
        ),
        (
            refusal("InvalidParameterException", "Invalid name. Request ID: 0a1b2c3d"),
            ("AWS refused to give the secret imip/production", "(InvalidParameterException: Invalid name)"),
        ),
        (redirect("https://evil.example/"), ("the answer is a redirect (HTTP 302), which is never followed",)),
    ],
)
def test_a_refusal_says_what_to_do_and_is_not_repeated(step: Step, words: tuple[str, ...]) -> None:
    with Run(step) as run:
        with pytest.raises(StoreError) as caught:
            run.logged_in().fetch(TARGET)
        assert len(run.reads) == 1
    assert not isinstance(caught.value, MissingError)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "Request ID" not in str(caught.value)


def test_a_denied_arn_is_named_as_it_is() -> None:
    error = failure(refusal("AccessDeniedException", "no"), target=Target(ARN))
    assert f"Allow secretsmanager:GetSecretValue on {ARN} to" in str(error)


@pytest.mark.parametrize(("minutes", "direction"), [(-20, "ahead of"), (20, "behind")])
def test_a_wrong_clock_is_told_by_the_date_of_the_answer(minutes: int, direction: str) -> None:
    date = format_datetime(datetime.now(timezone.utc) + timedelta(minutes=minutes), usegmt=True)
    step = refusal("InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than", Date=date)
    text = str(failure(step))
    assert "refuses the time of this machine's clock" in text
    assert f"s {direction} AWS's" in text
    assert "NTP" in text


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_wrong_clock_is_told_without_a_date_too(date: str) -> None:
    text = str(failure(refusal("RequestTimeTooSkewed", "", Date=date)))
    assert "clock. Set the clock by NTP" in text


@pytest.mark.parametrize(
    "step",
    [
        refusal("ThrottlingException", "Rate exceeded"),
        refusal("TooManyRequestsException"),
        answer(429),
        refusal("InternalServiceError", "", 500),
        refusal("InternalServiceError", "", 400),
        answer(502),
        html_answer(503),
        answer(504),
        "reset",
        "close",
    ],
)
def test_what_may_pass_is_tried_again(step: Step) -> None:
    with Run(step, step, step, secret("there")) as run:
        assert run.logged_in().fetch(TARGET).value.reveal() == "there"
        assert len(run.reads) == 4


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (refusal("ThrottlingException"), ("AWS is asked too often (ThrottlingException)", "higher quota")),
        (answer(503), ("AWS answers HTTP 503", "health.aws.amazon.com")),
        ("reset", ("the connection to 127.0.0.1:", "failed")),
    ],
)
def test_what_does_not_pass_ends_with_the_deadline(step: Step, words: tuple[str, ...]) -> None:
    with Run(step, seconds=99) as run:
        store = run.logged_in()
        end_at(run.server, 3, run.context.deadline)
        with pytest.raises(StoreError) as caught:
            store.fetch(TARGET)
        assert len(run.reads) > 2
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "tries in" in str(caught.value)
    assert "The 99 s of the run (timeout-seconds) left no time" in str(caught.value)


def test_a_refusal_shows_no_token_and_no_command() -> None:
    token = "eyJhbGciOiJSUzI1NiJ9." + "c" * 400 + ".s1gnature"
    message = f"Value '{token}' at 'webIdentityToken' failed\n::stop-commands::x ##[add-matcher]y"
    text = str(failure(refusal("Odd\n::set-env::", message)))
    assert "eyJ" not in text
    assert "::stop" not in text
    assert "::set" not in text
    assert "##[" not in text
    assert "\n" not in text


@given(st.text(max_size=400), st.text(max_size=2000), st.sampled_from([400, 403, 404, 500]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_refusal_breaks_the_store_or_speaks_to_the_runner(code: str, message: str, status: int) -> None:
    from imip_secrets.stores.aws.errors import Place, Refusal  # noqa: PLC0415  # brings botocore's helpers

    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    read = Refusal.of(response)
    place = Place(TARGET, "us-east-1", "", "")
    for explained in (read.common() or place.not_read(read), place.not_listed(read)):
        text = str(explained.error())
        assert text.isprintable()
        assert "##[" not in text
        assert not text.startswith("::")


# --- listing


def page(*names: str, token: str | None = None, **deleted: float) -> Answer:
    entries: list[dict[str, object]] = [{"Name": name} for name in names]
    entries += [{"Name": name, "DeletedDate": when} for name, when in deleted.items()]
    return json_answer({"SecretList": entries, **({"NextToken": token} if token else {})})


def test_a_listing_goes_over_every_page_in_the_order_of_names() -> None:
    with Run(page("p/c", "p/a", token="one"), page("p/b", "p/a", token="two"), page()) as run:
        found = run.logged_in().list(Target("p/"), deep=False)
        bodies = [json.loads(request.body) for request in run.reads]
    assert [target.path for target in found] == ["p/a", "p/b", "p/c"]
    assert [body.get("NextToken") for body in bodies] == [None, "one", "two"]
    assert all(body["MaxResults"] == 100 for body in bodies)
    assert all(body["Filters"] == [{"Key": "name", "Values": ["p/"]}] for body in bodies)


@pytest.mark.parametrize(("deep", "expected"), [(False, ["p/a"]), (True, ["p/a", "p/b/c"])])
def test_a_listing_goes_to_the_next_slash_or_over_all(deep: bool, expected: list[str]) -> None:  # noqa: FBT001  # a case
    with Run(page("p/", "p/a", "p/b/c", "P/d", "pp/e", gone=1.0)) as run:
        assert [target.path for target in run.logged_in().list(Target("p/"), deep=deep)] == expected


def test_a_listing_leaves_out_what_is_to_be_deleted() -> None:
    with Run(page("pa", pb=1.7e9)) as run:
        assert [target.path for target in run.logged_in().list(Target("p"), deep=False)] == ["pa"]


def test_a_listing_of_everything_has_no_filter() -> None:
    with Run(page("a", "b/c")) as run:
        found = run.logged_in().list(Target(""), deep=True)
        assert "Filters" not in asked(run)
    assert [target.path for target in found] == ["a", "b/c"]


def test_what_a_listing_finds_keeps_region_and_stage() -> None:
    with Run(page("p/a")) as run:
        (found,) = run.logged_in().list(Target("p/", region="eu-west-1", stage="AWSPREVIOUS"), deep=False)
        assert "/eu-west-1/secretsmanager/" in run.reads[-1].headers["authorization"]
    assert found == Target("p/a", region="eu-west-1", stage="AWSPREVIOUS")


def test_a_page_is_tried_again_alone() -> None:
    with Run(page("a", token="one"), answer(503), page("b")) as run:
        assert len(run.logged_in().list(Target(""), deep=False)) == 2
        assert [json.loads(request.body).get("NextToken") for request in run.reads] == [None, "one", "one"]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            refusal("AccessDeniedException", "no"),
            (f"Allow secretsmanager:ListSecrets on * to {ROLE}", "Or write one line for each secret"),
        ),
        (refusal("ExpiredTokenException"), ("the AWS session is over",)),
        (refusal("InvalidNextTokenException", "Odd"), ("AWS refused to list the secrets of us-east-1",)),
        (json_answer({"Secrets": []}), ("is not of AWS's form",)),
    ],
)
def test_a_listing_that_fails_says_what_to_do(step: Step, words: tuple[str, ...]) -> None:
    with Run(step) as run, pytest.raises(StoreError) as caught:
        run.logged_in().list(Target("p/"), deep=False)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_an_arn_cannot_be_listed() -> None:
    with Run() as run:
        with pytest.raises(StoreError, match="not an ARN"):
            run.logged_in().list(Target(ARN), deep=False)
        assert run.reads == []


def test_a_closed_store_has_no_connection_and_may_be_closed_again() -> None:
    with Run() as run:
        store = run.logged_in()
        store.fetch(TARGET)
        store.close()
        store.close()


def test_a_store_that_never_logged_in_is_closed() -> None:
    with Run() as run:
        run.store.close()


@pytest.mark.parametrize("step", [refusal("AccessDeniedException", "no"), json_answer({}), bad_json()])
def test_who_may_not_describe_a_secret_gets_no_version(step: Step) -> None:
    with Run(step) as run:
        assert run.logged_in().version_of(TARGET) is None
