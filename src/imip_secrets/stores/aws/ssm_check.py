"""What is wrong with a request to Parameter Store before anything is asked of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imip_secrets.errors import Problem
from imip_secrets.foreign import tame
from imip_secrets.stores.aws.check import check_arn_region, check_region, check_settings
from imip_secrets.stores.aws.names import ARN_START, parse_arn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imip_secrets.settings import Settings
    from imip_secrets.stores.base import Target

_SHOWN = 120
_EXAMPLE_ARN = "arn:aws:ssm:us-east-1:123456789012:parameter/imip/prod/db-password"
_IN_ARN = "parameter/"
# Systems Manager: PutParameter, Name; the whole ARN has at most 2048 characters, of which the name has 1011.
_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_NAME_LENGTH = 1011
_LEVELS = 15
# Systems Manager: LabelParameterVersion, Labels.
_VERSION = re.compile(r"[0-9]{1,18}", re.ASCII)
_LABEL = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]{0,99}", re.ASCII)


def check(settings: Settings, targets: Iterable[Target]) -> Iterator[tuple[Target | None, Problem]]:
    """Find what is wrong before any network; see :class:`~imip_secrets.stores.base.StoreModule`."""
    yield from check_settings(settings)
    for target in targets:
        for what, remedy in _target(target, settings):
            yield target, Problem(what, remedy=remedy)


def _target(target: Target, settings: Settings) -> Iterator[tuple[str, str]]:
    """Give what is wrong with one target and what would be right."""
    if target.path.startswith(ARN_START):
        yield from _arn(target)
    else:
        yield from _name(target.path)
        yield from check_region(target, settings["aws-region"])
    version = target.version
    if version and not (_VERSION.fullmatch(version) or _LABEL.fullmatch(version)):
        what = f"{tame(version, 40)!r} is neither a version nor a label of a parameter"
        yield what, "Write version=3 for a version, or version=prod for the one with that label."


def _name(path: str) -> Iterator[tuple[str, str]]:
    """Judge a name, or the start of names: empty, or with a slash at its end."""
    shown = tame(path, _SHOWN)
    name, colon, version = path.partition(":")
    segments = name.removeprefix("/").removesuffix("/").split("/")
    if colon:
        what = "after the parameter's name there is a colon, as before a version in AWS's own tools"
        yield what, f"Write aws-ssm://{tame(name, _SHOWN)}?version={tame(version, 40) or 'N'}."
    elif "/" in name and not name.startswith("/"):
        yield "a parameter's name that has a slash begins with one", f"Write aws-ssm:///{shown}."
    elif segments != [""] and not all(map(_NAME.fullmatch, segments)):
        what = f"{shown!r} is no name of a parameter"
        yield what, "Names have letters, digits and characters of _.- in parts with one slash before each."
    elif len(name) > _NAME_LENGTH or len(segments) > _LEVELS:
        what = f"a name has at most {_NAME_LENGTH} characters and {_LEVELS} levels"
        yield what, "Write it like aws-ssm:///imip/prod/db-password."


def _arn(target: Target) -> Iterator[tuple[str, str]]:
    arn = parse_arn(target.path)
    shown = tame(target.path, _SHOWN)
    if arn is None:
        yield f"{shown!r} is no ARN that can be read", f"Write it like {_EXAMPLE_ARN}."
    elif arn.service != "ssm" or not arn.resource.startswith(_IN_ARN):
        what = f"{shown!r} is an ARN of {tame(arn.service, 40)}, not of a parameter"
        other = " A secret of Secrets Manager is aws://ARN." if arn.service == "secretsmanager" else ""
        yield what, f"Write it like {_EXAMPLE_ARN}.{other}"
    else:
        of_region = list(check_arn_region(target, arn))
        yield from of_region or _name(f"/{arn.resource.removeprefix(_IN_ARN)}")
