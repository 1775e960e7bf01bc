from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.settings import Settings
from imip_secrets.stores import SCHEMES
from imip_secrets.stores.aws.check import check
from imip_secrets.stores.aws.names import region_of
from imip_secrets.stores.base import Target

ROLE = "arn:aws:iam::123456789012:role/imip-ci"
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:imip/production-a1B2c3"


def problems(*targets: Target, **settings: str) -> list[str]:
    given = {f"aws-{name.replace('_', '-')}": text for name, text in settings.items()}
    return [str(problem) for _, problem in check(Settings(given), targets)]


def test_the_store_offers_the_check() -> None:
    assert SCHEMES["aws"].load().check is check


@pytest.mark.parametrize(
    "target",
    [
        Target("imip/production"),
        Target("/leading/slash"),
        Target(""),  # a listing of every secret
        Target("a_B-9.+=@"),
        Target("rds!db-0f8a"),
        Target("x" * 512),
        Target("a", stage="AWSPREVIOUS"),
        Target("a", version="0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"),
        Target("a", region="eusc-de-east-1"),
        Target("a", region="us-gov-west-1"),
        Target("a", region="us-isob-east-1"),
        Target(ARN),
        Target(ARN, region="eu-west-1"),
    ],
)
def test_what_aws_takes_is_no_problem(target: Target) -> None:
    assert problems(target, region="us-east-1") == []


@pytest.mark.parametrize(
    ("partition", "region"),
    [
        ("aws", "af-south-1"),
        ("aws-cn", "cn-north-1"),
        ("aws-us-gov", "us-gov-east-1"),
        ("aws-iso", "us-iso-west-1"),
        ("aws-iso-b", "us-isob-east-1"),
        ("aws-iso-e", "eu-isoe-west-1"),
        ("aws-iso-f", "us-isof-south-1"),
        ("aws-eusc", "eusc-de-east-1"),
        ("aws-new", "xx-new-north-1"),
    ],
)
def test_arns_of_every_partition_need_no_other_region(partition: str, region: str) -> None:
    target = Target(f"arn:{partition}:secretsmanager:{region}:123456789012:secret:imip/production-a1B2c3")
    assert problems(target) == []
    assert region_of(target, Settings()) == region


@pytest.mark.parametrize(
    ("target", "what"),
    [
        (Target("two words"), "'two words' is no name of a secret in AWS"),
        (Target("imip ?optional"), "options follow a ?: aws://imip/production?optional."),
        (Target("x" * 513), "is no name of a secret in AWS"),
        (Target("naïve"), "is no name of a secret in AWS"),
        (Target("a", region="us-east"), "'us-east' is no region of AWS"),
        (Target("a", region="us-east-1a"), "That is a zone; its region is us-east-1."),
        (Target("a", region="evil.example/us-east-1"), "is no region of AWS"),
        (Target("a", region="us-east-1.evil.example"), "is no region of AWS"),
        (Target("a", version="v" * 32, stage="AWSCURRENT"), "version and stage are two ways to name one version"),
        (Target("a", version="AWSPREVIOUS"), "Write version=ID, or stage=AWSPREVIOUS"),
        (Target("a", stage="x" * 257), "a label of more than 256 characters"),
        (Target("arn:aws"), "is no ARN that can be read"),
        (Target("arn:aws:secretsmanager:us-east-1:1234:secret:a-a1B2c3"), "is no ARN that can be read"),
        (Target("arn:amazon:secretsmanager:us-east-1:123456789012:secret:a-a1B2c3"), "is no ARN that can be read"),
        (Target("arn:aws:ssm:us-east-1:123456789012:parameter/a"), "is an ARN of ssm, not of a secret"),
        (Target("arn:aws:secretsmanager:us-east-1:123456789012:thing:a"), "an ARN of secretsmanager (thing)"),
        (Target("arn:aws:secretsmanager::123456789012:secret:a-a1B2c3"), "in the ARN, '' is no region of AWS"),
        (Target(ARN.replace("arn:aws:", "arn:aws-cn:")), "eu-west-1 is not one of the partition aws-cn"),
        (Target(ARN, region="us-east-1"), "region=us-east-1 contradicts the ARN, which is of eu-west-1"),
        (Target(ARN[:-7]), "does not end in a hyphen and six letters or digits"),
        (Target(ARN.replace("production", "two words")), "does not end in a hyphen and six letters or digits"),
        (Target(f"{ARN}:KEY::"), "Write ARN#KEY for a key"),
    ],
)
def test_a_target_that_aws_cannot_take_is_a_problem(target: Target, what: str) -> None:
    (problem,) = problems(target, region="us-east-1")
    assert what in problem


def test_a_name_without_any_region_is_a_problem() -> None:
    (problem,) = problems(Target("imip/production"))
    assert "the region is missing" in problem
    assert "aws-region" in problem


def test_every_mistake_is_found_and_comes_with_its_target() -> None:
    first, second = Target("two words", region="x"), Target("a", version="1", stage="s")
    found = list(check(Settings({"aws-region": "nowhere"}), [first, Target("fine"), second]))
    assert [target for target, _ in found] == [None, first, first, second, second]
    assert found[0][1].where == "input aws-region"


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"region": "us_east_1"}, "'us_east_1' is no region of AWS"),
        ({"role_to_assume": "imip-ci"}, "Write arn:aws:iam::ACCOUNT_ID:role/imip-ci"),
        ({"role_to_assume": "imip ci"}, "is not the ARN of an IAM role"),
        ({"role_to_assume": "arn:aws:s3:::bucket"}, "is not the ARN of an IAM role"),
        ({"role_to_assume": "arn:aws:iam:us-east-1:123456789012:role/a"}, "is not the ARN of an IAM role"),
        ({"role_to_assume": "arn:aws:sts::123456789012:assumed-role/a/b"}, "ARN of a session of a role"),
        ({"role_to_assume": "arn:aws:iam::123456789012:oidc-provider/x"}, "ARN of the identity provider"),
        ({"role_to_assume": "arn:aws:iam::123456789012:policy/x"}, "ARN of a policy"),
        ({"role_to_assume": "arn:aws:iam::123456789012:user/x"}, "ARN of a user"),
        ({"role_to_assume": "arn:aws:iam::123456789012:group/x"}, "ARN of something else"),
        ({"role_to_assume": "arn:aws:iam::123456789012:role/"}, "ARN of something else"),
        ({"role_to_assume": "arn:aws-new:iam::123456789012:role/a"}, "the home region of the partition aws-new"),
        ({"role_session_name": "x"}, "'x' is no name for a session"),
        ({"role_session_name": "a b"}, "'a b' is no name for a session"),
        ({"role_session_name": "x" * 65}, "is no name for a session"),
        ({"role_duration_seconds": "899"}, "a session cannot live for 899 seconds"),
        ({"role_duration_seconds": "43201"}, "a session cannot live for 43201 seconds"),
    ],
)
def test_a_setting_that_aws_cannot_take_is_a_problem(settings: dict[str, str], what: str) -> None:
    (problem,) = problems(**settings)
    assert what in problem
    assert problem.startswith("input aws-")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"region": "me-central-1"},
        {"role_to_assume": ROLE},
        {"role_to_assume": "arn:aws-us-gov:iam::123456789012:role/path/of/a_Role+=,.@-"},
        {"role_to_assume": "arn:aws-new:iam::123456789012:role/a", "region": "xx-new-north-1"},
        {"role_session_name": "ci@run=1,a.b+c-d_e"},
        {"role_duration_seconds": "900"},
        {"role_duration_seconds": "43200"},
        {"role_duration_seconds": "soon"},  # the settings themselves say that it is no number
    ],
)
def test_settings_that_aws_takes_are_no_problem(settings: dict[str, str]) -> None:
    assert problems(**settings) == []


@given(st.text(), st.one_of(st.none(), st.text()), st.one_of(st.none(), st.text()), st.one_of(st.none(), st.text()))
def test_no_text_breaks_the_check_or_gets_a_bad_region_through(
    path: str, region: str | None, version: str | None, stage: str | None
) -> None:
    target = Target(path, version, stage, region)
    settings = Settings({"aws-region": "us-east-1"})
    found = [problem for _, problem in check(settings, [target])]
    assert all("\n" not in str(problem) for problem in found)
    if not found:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)+-\d+", region_of(target, settings))


@given(st.text())
def test_no_text_as_a_role_breaks_the_check(role: str) -> None:
    assert all(
        problem.where.startswith("input aws-") for _, problem in check(Settings({"aws-role-to-assume": role}), [])
    )
