"""What is wrong with a request to AWS before anything is asked of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imip_secrets.errors import Problem
from imip_secrets.foreign import tame
from imip_secrets.stores.aws.names import ARN_START, PARTITIONS, is_region, parse_arn, partition_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imip_secrets.settings import Settings
    from imip_secrets.stores.aws.names import Arn
    from imip_secrets.stores.base import Target

_SHOWN = 120
_EXAMPLE_ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:imip/production-a1B2c3"
_EXAMPLE_ROLE = "arn:aws:iam::123456789012:role/imip-ci"

# IAM: AssumeRoleWithWebIdentity, RoleSessionName and DurationSeconds.
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_DURATION_SECONDS = range(900, 43200 + 1)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_ROLE = re.compile(r"role/[\w+=,.@/-]{1,576}", re.ASCII)
# Secrets Manager: CreateSecret, Name; the names of secrets that other services manage hold an exclamation mark.
_NAME = re.compile(r"[A-Za-z0-9/_+=.@!-]{1,512}", re.ASCII)
_ARN_END = re.compile(r"-[A-Za-z0-9]{6}", re.ASCII)
_ARN_END_LENGTH = 7
# Secrets Manager: GetSecretValue, VersionId and VersionStage.
_VERSION = re.compile(r"[A-Za-z0-9-]{32,64}", re.ASCII)
_STAGE_LENGTH = 256
_ZONE = re.compile(r"(.+-[0-9])[a-z]", re.ASCII)

# What people give instead of a role's ARN, by the start of the resource.
_NOT_ROLES = {
    "assumed-role/": "of a session of a role",
    "oidc-provider/": "of the identity provider",
    "policy/": "of a policy",
    "user/": "of a user",
    "instance-profile/": "of an instance profile",
}


def check(settings: Settings, targets: Iterable[Target]) -> Iterator[tuple[Target | None, Problem]]:
    """Find what is wrong before any network; see :class:`~imip_secrets.stores.base.StoreModule`."""
    yield from check_settings(settings)
    for target in targets:
        for what, remedy in _target(target, settings):
            yield target, Problem(what, remedy=remedy)


def check_settings(settings: Settings) -> Iterator[tuple[None, Problem]]:
    """Find what is wrong with the settings that all stores of AWS share."""
    for what, name, remedy in _settings(settings):
        yield None, Problem(what, f"input {name}", remedy)


def check_region(target: Target, default: str) -> Iterator[tuple[str, str]]:
    """Judge the region of what is given by its name; the setting itself is judged once, not for each."""
    if target.region:
        if not is_region(target.region):
            yield _no_region(target.region), _right_region(target.region)
    elif not default:
        yield "the region is missing", "Give the input aws-region, or write ?region=us-east-1 after the name."


def check_arn_region(target: Target, arn: Arn) -> Iterator[tuple[str, str]]:
    """Judge the region of an ARN."""
    if not is_region(arn.region):
        yield f"in the ARN, {_no_region(arn.region)}", _right_region(arn.region)
    elif partition_of(arn.region) != arn.partition and arn.partition in PARTITIONS:
        what = f"in the ARN, the region {arn.region} is not one of the partition {arn.partition}"
        yield what, f"Write arn:{partition_of(arn.region)}:..., or another region."
    elif target.region and target.region != arn.region:
        what = f"region={tame(target.region, _SHOWN)} contradicts the ARN, which is of {arn.region}"
        yield what, "Leave the option out: the ARN says it."


def _settings(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Give what is wrong, with which input, and what would be right."""
    region = settings["aws-region"]
    if region and not is_region(region):
        yield _no_region(region), "aws-region", _right_region(region)
    if settings.given("aws-role-to-assume"):
        yield from _role(settings["aws-role-to-assume"], region)
    name = settings["aws-role-session-name"]
    if name and not _SESSION_NAME.fullmatch(name):
        remedy = "Use 2 to 64 letters, digits and characters of _+=,.@- and no others."
        yield f"{tame(name, _SHOWN)!r} is no name for a session", "aws-role-session-name", remedy
    seconds = settings["aws-role-duration-seconds"]
    # What is no number at all was found with the settings themselves.
    if _NUMBER.fullmatch(seconds) and int(seconds) not in _DURATION_SECONDS:
        what = f"a session cannot live for {seconds} seconds"
        remedy = f"Write a number from {_DURATION_SECONDS[0]} to {_DURATION_SECONDS[-1]}."
        yield what, "aws-role-duration-seconds", remedy


def _role(role: str, region: str) -> Iterator[tuple[str, str, str]]:
    arn = parse_arn(role)
    like = f"Write it like {_EXAMPLE_ROLE}."
    if not role.startswith(ARN_START) and _ROLE.fullmatch(f"role/{role}"):
        what = f"{tame(role, _SHOWN)!r} is the name of a role, not its ARN"
        yield what, "aws-role-to-assume", f"Write arn:aws:iam::ACCOUNT_ID:role/{role}, with the account's 12 digits."
    elif arn is None or arn.service not in {"iam", "sts"} or arn.region:
        yield f"{tame(role, _SHOWN)!r} is not the ARN of an IAM role", "aws-role-to-assume", like
    elif arn.service == "sts" or not _ROLE.fullmatch(arn.resource):
        kinds = (kind for start, kind in _NOT_ROLES.items() if arn.resource.startswith(start))
        what = f"{tame(role, _SHOWN)!r} is the ARN {next(kinds, 'of something else')}, not that of a role"
        yield what, "aws-role-to-assume", like
    elif arn.partition not in PARTITIONS and not region:
        remedy = "Give the input aws-region: where to log in."
        yield f"the home region of the partition {arn.partition} is not known", "aws-role-to-assume", remedy


def _target(target: Target, settings: Settings) -> Iterator[tuple[str, str]]:
    """Give what is wrong with one target and what would be right."""
    if target.path.startswith(ARN_START):
        yield from _arn(target)
    else:
        yield from _name(target.path)
        yield from check_region(target, settings["aws-region"])
    if target.version and target.stage:
        remedy = "Leave one of them out, as in aws://imip/production?stage=AWSPREVIOUS."
        yield "version and stage are two ways to name one version", remedy
    if target.version and not _VERSION.fullmatch(target.version):
        what = (
            f"{tame(target.version, _SHOWN)!r} is no version id of AWS, which has 32 to 64 letters, digits and hyphens"
        )
        yield what, "Write version=ID, or stage=AWSPREVIOUS for a version by its label."
    if target.stage and len(target.stage) > _STAGE_LENGTH:
        yield f"a label of more than {_STAGE_LENGTH} characters does not exist", "Write it like stage=AWSPREVIOUS."


def _name(name: str) -> Iterator[tuple[str, str]]:
    # An empty text is the start of every name: of a listing, for the grammar has no other empty path.
    if name and not _NAME.fullmatch(name):
        what = f"{tame(name, _SHOWN)!r} is no name of a secret in AWS"
        remedy = "Names have up to 512 letters, digits and characters of /_+=.@-! and no others; options follow a ?"
        yield what, f"{remedy}: aws://imip/production?optional."


def _arn(target: Target) -> Iterator[tuple[str, str]]:
    arn = parse_arn(target.path)
    shown = tame(target.path, _SHOWN)
    if arn is None:
        yield f"{shown!r} is no ARN that can be read", f"Write it like {_EXAMPLE_ARN}."
    elif arn.service != "secretsmanager" or not arn.resource.startswith("secret:"):
        yield f"{shown!r} is an ARN of {_kind(arn)}, not of a secret", f"Write it like {_EXAMPLE_ARN}."
    else:
        of_region = list(check_arn_region(target, arn))
        yield from of_region or _arn_name(arn.resource.removeprefix("secret:"))


def _arn_name(name: str) -> Iterator[tuple[str, str]]:
    """Judge the end of an ARN: the secret's name with AWS's six characters."""
    if ":" in name:
        # The form of Amazon ECS task definitions (valueFrom).
        what = "after the secret's name, the ARN goes on with a colon"
        yield what, "Write ARN#KEY for a key, ARN?stage=LABEL or ARN?version=ID for a version."
    elif not _NAME.fullmatch(name) or not _ARN_END.fullmatch(name[-_ARN_END_LENGTH:]):
        what = "the ARN does not end in a hyphen and six letters or digits, as every secret's does"
        yield what, f"Write it whole, like {_EXAMPLE_ARN}, or give the name alone."


def _kind(arn: Arn) -> str:
    """Say what an ARN is of, for the error."""
    kind = re.split("[:/]", arn.resource)[0]
    return tame(f"{arn.service} ({kind})" if arn.service == "secretsmanager" else arn.service, 40)


def _no_region(text: str) -> str:
    return f"{tame(text, 40)!r} is no region of AWS"


def _right_region(text: str) -> str:
    zone = _ZONE.fullmatch(text)
    if zone and is_region(zone[1]):
        return f"That is a zone; its region is {zone[1]}."
    return "Write it like us-east-1 or eu-central-1."
