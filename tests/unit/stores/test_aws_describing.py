"""What AWS tells of secrets and parameters, and of who read them, by a script and by moto."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from imip_secrets.errors import MissingError, StoreError
from imip_secrets.stores.base import Target
from imip_secrets.stores.describing import aws as describing
from imip_secrets.stores.describing import open_describer
from stand_ins.aws import REGION, Aws
from stand_ins.aws_script import ROLE, SESSION, Run, refusal
from stand_ins.faults import json_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stand_ins.faults import Step

TARGET = Target("imip/production")
AT = 1_700_000_000
DENIED = refusal("AccessDeniedException", f"User: {SESSION} is not authorized to perform this")


@contextmanager
def describer(*steps: Step, scheme: str = "aws", **more: Any) -> Iterator[tuple[Any, Run]]:  # noqa: ANN401  # see Run
    with Run(*steps, **more) as run:
        opened: Any = open_describer(scheme, run.context)
        opened.login()
        yield opened, run
        opened.close()


def event(who: str | None = SESSION, *, secret: object = "imip/production", **more: object) -> dict[str, object]:
    record = {"requestParameters": {"secretId": secret}, "userIdentity": {"arn": who} if who else {}, **more}
    return {"EventTime": AT, "Username": "imip-secrets", "CloudTrailEvent": json.dumps(record)}


def page(*events: object, token: str = "") -> Step:
    return json_answer({"Events": list(events), **({"NextToken": token} if token else {})})


# --- Secrets Manager


def test_the_age_is_that_of_the_current_version() -> None:
    stages = {"1": ["AWSPREVIOUS"], "2": ["AWSCURRENT"]}
    described = {"CreatedDate": AT - 99, "LastChangedDate": AT, "RotationEnabled": True, "VersionIdsToStages": stages}
    versions = {"Versions": [{"VersionId": "1", "CreatedDate": AT - 90}, {"VersionId": "2", "CreatedDate": AT - 50}]}
    with describer(json_answer(described), json_answer(versions)) as (store, _):
        facts = store.describe(TARGET)
    assert facts.changed.timestamp() == AT - 50
    assert facts.made.timestamp() == AT - 99
    assert (facts.versions, facts.rotation, facts.rotated, facts.accessed) == (2, True, None, None)


def test_a_role_that_may_not_list_versions_still_gets_an_age() -> None:
    described = {"LastChangedDate": AT, "VersionIdsToStages": {"2": ["AWSCURRENT"]}}
    with describer(json_answer(described), DENIED) as (store, _):
        assert store.describe(TARGET).changed.timestamp() == AT


def test_a_secret_without_a_value_has_no_versions() -> None:
    with describer(json_answer({"CreatedDate": AT})) as (store, run):
        facts = store.describe(TARGET)
        assert (facts.changed, facts.versions) == (None, None)
        assert len(run.reads) == 1


def test_what_may_not_be_described_is_said_with_the_permission() -> None:
    with describer(DENIED) as (store, _), pytest.raises(StoreError) as caught:
        store.describe(TARGET)
    text = str(caught.value)
    assert "describing the secret imip/production" in text
    assert "Allow secretsmanager:DescribeSecret on" in text
    assert f"to {ROLE}" in text


def test_what_is_not_there_is_missing() -> None:
    absent = refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
    with describer(absent) as (store, _), pytest.raises(MissingError, match="there is no secret imip/production"):
        store.describe(TARGET)


# --- CloudTrail


def test_every_page_of_the_events_is_read() -> None:
    with describer(page(event(), token="t1"), page(token="t2"), page(event())) as (store, run):
        reads = list(store.reads(TARGET, 7))
        asked = [json.loads(request.body) for request in run.reads]
    assert [(read.secret, read.at.timestamp(), read.denied) for read in reads] == [("imip/production", AT, False)] * 2
    assert [each.get("NextToken") for each in asked] == [None, "t1", "t2"]
    assert {each["EndTime"] - each["StartTime"] for each in asked} == {7 * 86400.0}
    assert run.notices == []


def test_events_without_end_are_cut_off_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describing, "MAX_PAGES", 3)
    with describer(page(event(), token="more")) as (store, run):
        assert len(list(store.reads(TARGET, 7))) == 3
        assert len(run.reads) == 3
        assert run.notices == ["CloudTrail has more events than 3 pages: the rest is left out"]


def test_what_an_event_tells_and_what_is_no_reading() -> None:
    events = [
        event(errorCode="AccessDenied"),
        event(None),
        event(secret=None),
        event(secret=7),
        {"EventTime": AT, "CloudTrailEvent": "{no JSON"},
        {"EventTime": AT},
        {"CloudTrailEvent": event()["CloudTrailEvent"]},
    ]
    with describer(page(*events)) as (store, _):
        refused, nameless = store.reads(TARGET, 1)
    assert refused.denied
    assert not nameless.denied
    assert nameless.who == "imip-secrets"


def test_a_trail_that_does_not_answer_is_said() -> None:
    with describer(DENIED) as (store, _), pytest.raises(StoreError, match="Allow cloudtrail:LookupEvents on"):
        list(store.reads(TARGET, 1))
    strange = refusal("InvalidMaxResultsException", "no")
    with describer(strange) as (store, _), pytest.raises(StoreError, match="say who read the secrets of us-east-1"):
        list(store.reads(TARGET, 1))


# --- Parameter Store


def test_a_parameter_s_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": REGION}.items():
        monkeypatch.setenv(name, value)
    with Aws() as moto:
        client = moto.client("ssm")
        for value in ("one", "two"):
            client.put_parameter(Name="/imip/a", Value=value, Type="SecureString", Overwrite=True)
        more: dict[str, Any] = {"scheme": "aws-ssm", "url": moto.url, "ambient": True, "aws_role_to_assume": ""}
        with describer(**more) as (store, _):
            facts = store.describe(Target("/imip/a"))
            with pytest.raises(MissingError, match="there is no parameter /imip/none in us-east-1"):
                store.describe(Target("/imip/none"))
    assert facts.versions == 2
    assert abs(facts.changed - datetime.now(timezone.utc)) < timedelta(minutes=5)
    assert facts.rotation is None


def test_a_parameter_keeps_a_hundred_versions_and_may_tell_nothing() -> None:
    with describer(json_answer({"Parameters": [{"Name": "/a", "Version": 4711}]}), scheme="aws-ssm") as (store, _):
        facts = store.describe(Target("/a"))
        assert (facts.versions, facts.changed) == (100, None)
    with describer(json_answer({"Parameters": [{"Name": "/a"}]}), scheme="aws-ssm") as (store, _):
        assert store.describe(Target("/a")).versions is None


def test_a_parameter_that_may_not_be_described_is_said_with_the_permission() -> None:
    with describer(DENIED, scheme="aws-ssm") as (store, _), pytest.raises(StoreError) as caught:
        store.describe(Target("/a"))
    assert f"Allow ssm:DescribeParameters on * to {ROLE}" in str(caught.value)
