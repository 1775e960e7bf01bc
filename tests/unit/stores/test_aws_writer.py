"""What AWS has against a write, said by a script."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from imip_secrets.errors import ImipError, StoreError
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Target
from imip_secrets.stores.writers import open_writer
from imip_secrets.stores.writers.changed import ChangedError
from stand_ins.aws_script import ROLE, Run, refusal, secret
from stand_ins.faults import json_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imip_secrets.stores.writers.aws import AwsWriter
    from stand_ins.faults import Request, Step

TARGET = Target("imip/production")
NEW = Secret("a-new-value-that-nobody-sees")
VERSION = "v" * 32
BEFORE = Found(Secret("old"), version=VERSION)
MISSING = refusal("ResourceNotFoundException", "can't find the specified secret value for staging label")
DONE = json_answer({"Name": "imip/production", "VersionId": "n" * 32})


@contextmanager
def writer(*steps: Step, **more: Any) -> Iterator[tuple[AwsWriter, Run]]:  # noqa: ANN401  # see Run
    with Run(*steps, **more) as run:
        opened: Any = open_writer("aws", run.context)
        opened.login()
        yield opened, run
        opened.close()


def said(ask: Callable[[], object]) -> str:
    with pytest.raises(StoreError) as caught:
        ask()
    text = str(caught.value)
    assert NEW.reveal() not in text
    return text


def action(request: Request) -> str:
    return request.headers.get("x-amz-target", "").partition(".")[2]


def denial(name: str) -> Step:
    who = "arn:aws:sts::123456789012:assumed-role/imip-ci/imip-secrets"
    return refusal("AccessDeniedException", f"User: {who} is not authorized to perform: secretsmanager:{name}")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (refusal("ResourceExistsException", "it already exists"), ["is there already, or was made meanwhile. Run it"]),
        (
            refusal("InvalidRequestException", "You can't create this secret: it is already scheduled for deletion."),
            ["is scheduled for deletion, so its name is taken", "restore-secret --secret-id imip/production"],
        ),
        (
            refusal("LimitExceededException", "You've reached the quota"),
            ["the account has no room for the secret imip/production", "raise its quota"],
        ),
        (
            denial("CreateSecret"),
            ["writing the secret imip/production", "is denied", f"to {ROLE}", "Allow secretsmanager:CreateSecret on"],
        ),
        (refusal("InvalidParameterException", "no such name"), ["refused to write the secret", "no such name"]),
    ],
    ids=["exists", "deleted", "limit", "denied", "other"],
)
def test_what_aws_has_against_a_new_secret_is_said_at_once(step: Step, words: list[str]) -> None:
    with writer(step, secret()) as (store, run):
        text = said(lambda: store.write(TARGET, NEW, None))
        asked = [action(request) for request in run.reads]
    assert [word for word in words if word not in text] == []
    # One that is there may have no value yet.
    assert asked in (["CreateSecret"], ["CreateSecret", "GetSecretValue"])


def test_a_secret_that_has_no_value_yet_gets_its_first() -> None:
    with writer(refusal("ResourceExistsException", "it already exists"), MISSING, DONE) as (store, run):
        store.write(TARGET, NEW, None)
        assert [action(request) for request in run.reads] == ["CreateSecret", "GetSecretValue", "PutSecretValue"]
        assert json.loads(run.reads[-1].body)["SecretString"] == NEW.reveal()


def test_a_session_that_is_over_again_ends_the_write() -> None:
    with writer(refusal("ExpiredTokenException", "it is expired")) as (store, run):
        assert "the AWS session is over" in said(lambda: store.write(TARGET, NEW, None))
        assert [action(request) for request in run.reads] == ["CreateSecret"] * 2


def test_a_repeated_write_is_the_same_write() -> None:
    with writer(refusal("InternalServiceError", "", 500), DONE) as (store, run):
        store.write(TARGET, NEW, None)
        tokens = [json.loads(request.body)["ClientRequestToken"] for request in run.reads]
    assert len(tokens) == 2
    assert len(set(tokens)) == 1


def test_a_new_version_is_put_over_the_one_that_was_read_alone() -> None:
    with writer(secret(), DONE) as (store, run):
        store.write(TARGET, NEW, BEFORE)
        assert [action(request) for request in run.reads] == ["GetSecretValue", "PutSecretValue"]
        assert json.loads(run.reads[-1].body)["SecretString"] == NEW.reveal()


@pytest.mark.parametrize("now", [secret(VersionId="w" * 32), MISSING], ids=["another version", "none"])
def test_what_somebody_else_changed_meanwhile_is_left_as_it_is(now: Step) -> None:
    with writer(now) as (store, run):
        with pytest.raises(ChangedError, match="was changed by somebody else meanwhile"):
            store.write(TARGET, NEW, BEFORE)
        with pytest.raises(ChangedError):
            store.switch(TARGET, Found(NEW, version="s" * 32), BEFORE)
        assert {action(request) for request in run.reads} == {"GetSecretValue"}


def test_each_step_of_a_rotation_says_which_permission_it_lacks() -> None:
    staged = Found(NEW, version="s" * 32)
    with writer(denial("PutSecretValue")) as (store, _):
        assert "Allow secretsmanager:PutSecretValue on" in said(lambda: store.stage(TARGET, NEW))
    with writer(secret(), denial("UpdateSecretVersionStage")) as (store, _):
        assert "Allow secretsmanager:UpdateSecretVersionStage on" in said(lambda: store.switch(TARGET, staged, BEFORE))
    with writer(secret(), denial("UpdateSecretVersionStage")) as (store, _):
        assert "Allow secretsmanager:UpdateSecretVersionStage on" in said(lambda: store.clear(TARGET))
    with writer(denial("DescribeSecret")) as (store, _):
        assert "Allow secretsmanager:DescribeSecret on" in said(lambda: store.has_rotated(TARGET, VERSION))
    with writer(denial("RotateSecret")) as (store, _):
        assert "Allow secretsmanager:RotateSecret on" in said(lambda: store.start_rotation(TARGET, "", 0))


def test_what_is_not_staged_is_none_and_is_not_cleared() -> None:
    with writer(MISSING) as (store, run):
        assert store.staged(TARGET) is None
        store.clear(TARGET)
        assert {action(request) for request in run.reads} == {"GetSecretValue"}
        assert json.loads(run.reads[-1].body)["VersionStage"] == "AWSPENDING"


def test_a_rotation_that_has_ended_leaves_nothing_staged() -> None:
    with writer(secret()) as (store, _):
        assert store.staged(TARGET) is None
    with writer(secret("pending", VersionId="p" * 32), secret()) as (store, _):
        found = store.staged(TARGET)
        assert found is not None
        assert found.version == "p" * 32


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            refusal("InvalidRequestException", "No Lambda rotation function ARN is associated with this secret."),
            ["cannot begin (No Lambda rotation function", "Set a function with --rotation-lambda"],
        ),
        (
            refusal("AccessDeniedException", "Secrets Manager cannot invoke the specified Lambda function."),
            ["AWS may not call the rotation function", "Allow lambda:InvokeFunction to secretsmanager.amazonaws.com"],
        ),
        (
            refusal("ResourceNotFoundException", "Function not found: lambda rotate"),
            ["AWS may not call the rotation function", "Function not found"],
        ),
    ],
    ids=["no function", "not allowed", "no such function"],
)
def test_why_aws_s_own_rotation_does_not_begin(step: Step, words: list[str]) -> None:
    with writer(step) as (store, run):
        text = said(lambda: store.start_rotation(TARGET, "arn:aws:lambda:us-east-1:1:function:rotate", 30))
        sent = json.loads(run.reads[-1].body)
    assert [word for word in words if word not in text] == []
    assert sent["RotationRules"] == {"AutomaticallyAfterDays": 30}
    assert sent["RotationLambdaARN"].endswith(":rotate")


def test_a_rotation_is_over_when_its_version_is_current() -> None:
    described = json_answer({"VersionIdsToStages": {VERSION: ["AWSCURRENT"], "s" * 32: ["AWSPENDING"]}})
    started = json_answer({"VersionId": "r" * 32})
    with writer(started, described) as (store, run):
        token = store.start_rotation(TARGET, "", 0)
        sent = json.loads(run.reads[0].body)
        assert sent == {"SecretId": "imip/production", "ClientRequestToken": token, "RotateImmediately": True}
        assert not store.has_rotated(TARGET, token)
        assert not store.has_rotated(TARGET, "s" * 32)
        assert store.has_rotated(TARGET, VERSION)


def test_nothing_is_written_without_a_login() -> None:
    with Run(DONE, login=(refusal("AccessDenied"),) * 5, seconds=1) as run:
        store: Any = open_writer("aws", run.context)
        with pytest.raises(ImipError):
            store.login()
        with pytest.raises(RuntimeError, match="not logged in"):
            store.write(TARGET, NEW, None)
        assert run.reads == []
        store.close()
