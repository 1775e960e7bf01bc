from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.loaders import Loader

from imip_secrets.stores.aws.names import PARTITIONS, find_principal, is_region, parse_arn, partition_of, resource_of
from imip_secrets.stores.base import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

BOTOCORES = Loader().load_data("partitions")["partitions"]


def test_the_partitions_are_those_of_botocore() -> None:
    assert {name: partition.home for name, partition in PARTITIONS.items()} == {
        theirs["id"]: theirs["outputs"]["implicitGlobalRegion"] for theirs in BOTOCORES
    }


@pytest.mark.parametrize("theirs", BOTOCORES, ids=lambda theirs: theirs["id"])
def test_every_region_is_one_and_belongs_to_its_partition(theirs: Mapping[str, Any]) -> None:
    regions = [name for name in theirs["regions"] if not name.endswith("-global")]
    assert regions
    assert all(is_region(region) and partition_of(region) == theirs["id"] for region in regions)


@pytest.mark.parametrize(
    "text", ["", "us-east-1\n", "us-east-1.evil.example", "a/b-c-1", "US-EAST-1", "us-east-\u0661"]
)
def test_what_would_be_another_host_is_no_region(text: str) -> None:
    assert not is_region(text)


def test_an_arn_is_cut_at_five_colons() -> None:
    arn = parse_arn("arn:aws:secretsmanager:us-east-1:123456789012:secret:a-a1B2c3")
    assert arn == ("aws", "secretsmanager", "us-east-1", "123456789012", "secret:a-a1B2c3")


def test_the_resource_of_a_name_ends_in_any_six_characters() -> None:
    resource = resource_of(Target("imip/production"), "us-gov-west-1", "123456789012")
    assert resource == "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:imip/production-??????"


def test_the_resource_of_an_arn_is_the_arn() -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:a-a1B2c3"
    assert resource_of(Target(arn), "us-east-1", "210987654321") == arn


def test_a_principal_is_found_in_a_text() -> None:
    arn = "arn:aws-cn:sts::123456789012:assumed-role/imip-ci/run@1"
    assert find_principal(f"User: {arn} is not authorized") == arn
    assert find_principal("User: anonymous::stop is not authorized") == ""
