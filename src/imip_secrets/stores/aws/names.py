"""What AWS calls things: partitions, regions, ARNs. Nothing here knows botocore or the network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from imip_secrets.settings import Settings
    from imip_secrets.stores.base import Target


class Partition(NamedTuple):
    """A part of AWS with accounts of its own.

    Args:
        prefix: What its regions' names start with.
        home: The region to log in at when no setting names one.

    """

    prefix: str
    home: str


# botocore's data/partitions.json, whose implicitGlobalRegion is the home; a test compares them.
PARTITIONS = {
    "aws-cn": Partition("cn-", "cn-northwest-1"),
    "aws-eusc": Partition("eusc-", "eusc-de-east-1"),
    "aws-iso": Partition("us-iso-", "us-iso-east-1"),
    "aws-iso-b": Partition("us-isob-", "us-isob-east-1"),
    "aws-iso-e": Partition("eu-isoe-", "eu-isoe-west-1"),
    "aws-iso-f": Partition("us-isof-", "us-isof-south-1"),
    "aws-us-gov": Partition("us-gov-", "us-gov-west-1"),
    "aws": Partition("", "us-east-1"),
}

ARN_START = "arn:"
_ARN_PARTS = 6
_REGION = re.compile(r"[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}", re.ASCII)
_PARTITION = re.compile(r"aws(-[a-z]+)*", re.ASCII)
_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::[0-9]{12}:[\w+=,.@/-]{1,700}", re.ASCII)
_KMS_KEY = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]{5,40}:[0-9]{12}:key/[\w-]{1,200}", re.ASCII)


class Arn(NamedTuple):
    """The parts of an ARN, as they stand in it."""

    partition: str
    service: str
    region: str
    account: str
    resource: str


def parse_arn(text: str) -> Arn | None:
    """Cut an ARN at its colons; None when it does not have six parts, a partition and an account."""
    parts = text.split(":", _ARN_PARTS - 1)
    if len(parts) != _ARN_PARTS or parts[0] != "arn":
        return None
    arn = Arn(*parts[1:])
    return arn if _PARTITION.fullmatch(arn.partition) and _ACCOUNT.fullmatch(arn.account) else None


def find_principal(text: str) -> str:
    """Return the first ARN of a user, role or session in a text, or ""; it is harmless in spite of its "::"."""
    found = _PRINCIPAL.search(text)
    return found[0] if found else ""


def find_key(text: str) -> str:
    """Return the first ARN of a KMS key in a text, or ""."""
    found = _KMS_KEY.search(text)
    return found[0] if found else ""


def is_region(text: str) -> bool:
    """Tell whether a text can be a region: it becomes a part of the host that gets the ID token."""
    return bool(_REGION.fullmatch(text))


def partition_of(region: str) -> str:
    """Return the partition that a region belongs to."""
    return next(name for name, partition in PARTITIONS.items() if region.startswith(partition.prefix))


def region_of(target: Target, settings: Settings) -> str:
    """Return the region of a target that :func:`~imip_secrets.stores.aws.check.check` found right."""
    arn = parse_arn(target.path)
    return target.region or (arn.region if arn else settings["aws-region"])


def resource_of(target: Target, region: str, account: str) -> str:
    """Return the ARN that a policy must name for a target; AWS ends every ARN with six characters of its own."""
    if target.path.startswith(ARN_START):
        return target.path
    return f"arn:{partition_of(region)}:secretsmanager:{region}:{account}:secret:{target.path}-??????"


def parameter_arn(name: str, region: str, account: str) -> str:
    """Return the ARN of a parameter, or of a path of parameters: a slash before the name is not in it twice."""
    return f"arn:{partition_of(region)}:ssm:{region}:{account}:parameter/{name.lstrip('/')}"
