"""The options that the settings make, and the request that a command line makes of them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from imip_secrets import request
from imip_secrets.errors import Problem, UsageError
from imip_secrets.foreign import tame
from imip_secrets.settings import INPUTS, from_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from imip_secrets.request import Request
    from imip_secrets.settings import Input

# What belongs to the action alone: it says how the job gets its variables.
OF_THE_ACTION = frozenset(
    {
        "mode",
        "secrets",
        "export-env",
        "env-file",
        "overwrite-env",
        "mask-floor",
        "aws-role-session-name",
        "vault-lease-minutes",
        *("scan-paths", "scan-exclude", "scan-detect"),
        *("audit-max-age", "audit-days", "audit-require-rotation", "audit-html"),
    }
)
# What says where secrets go in GitHub is for the one command that writes them there.
_OF_SYNC = "Sync"
REFERENCES = """\
references:
  aws://imip/production                     every key of a JSON secret, or the one value
  DATABASE_URL = aws://imip/production#URI  one key under another name
  APP_* = vault://secret/imip/production    every key with a prefix
  aws://imip/*                              every secret below imip/ (** for every level)
  vault://secret/x?optional#key             no mistake when it is not there
"""

# A command line is seen by every process of the machine: what is secret comes from a file or a variable.
_FROM_FILES = ("lines", "secret")
_PLACEHOLDERS = {"number": "N", "address": "URL"}
# Where the command line differs from the action.
_HELP = {
    "vault-auth-method": "How to log in: with jwt, the default when there is a --vault-role, or else with token, "
    "from VAULT_TOKEN, BAO_TOKEN or ~/.vault-token.",
}


def add_request(parser: argparse.ArgumentParser) -> None:
    """Add the references and an option for every setting that says how they are read."""
    add_references(parser)
    add_settings(parser)


def add_references(parser: argparse.ArgumentParser) -> None:
    """Add the references."""
    parser.add_argument("references", nargs="*", metavar="REFERENCE", help="what to read, as in the action's `secrets`")
    parser.add_argument("--file", metavar="FILE", type=Path, help="read references from a file, one per line")


def add_settings(parser: argparse.ArgumentParser, *, sync: bool = False, also: Collection[str] = ()) -> None:
    """Add an option for every setting that is not the action's alone, under the headings of the README.

    Args:
        parser: The command's.
        sync: Whether the settings of the sync are among them.
        also: Settings of the sync that are, where not all of them are.

    """
    groups: dict[str, argparse._ArgumentGroup] = {}
    for item in INPUTS:
        if item.name in OF_THE_ACTION or (item.group == _OF_SYNC and not sync and item.name not in also):
            continue
        if item.kind == "secret" and item.variables:
            parser.add_argument(f"--{item.name}", action=_Refused, const=item.variables[0], help=argparse.SUPPRESS)
            continue
        if item.group not in groups:
            groups[item.group] = parser.add_argument_group(item.group)
        groups[item.group].add_argument(f"--{item.name}", metavar=_placeholder(item), help=_help(item))


def read_request(
    options: argparse.Namespace,
    mistakes: Iterable[Problem] = (),
    unfit: Callable[[Request], Iterable[Problem]] = lambda _: (),
    given: Mapping[str, str] | None = None,
) -> Request:
    """Turn the command line into a request.

    Args:
        options: The command line.
        mistakes: What the command found wrong with it, to be told with all the rest.
        unfit: Finds what a request that is right has in it that the command cannot do.
        given: Settings that the command itself gives, before all others.

    Raises:
        UsageError: with every mistake there is.

    """
    known = list(mistakes)
    values, unread = read_values(options)
    if unread:
        # What could not be read cannot be judged.
        raise UsageError(*known, *unread)
    try:
        wanted = request.read({**values, **(given or {})})
    except UsageError as error:
        raise UsageError(*known, *error.problems) from None
    known += unfit(wanted)
    if known:
        raise UsageError(*known)
    return wanted


def read_values(options: argparse.Namespace) -> tuple[dict[str, str], list[Problem]]:
    """Return the settings as they were given, here or by the usual variables, and what could not be read."""
    values: dict[str, str] = {}
    unread: list[Problem] = []

    def take(name: str, file: str | Path, option: str) -> None:
        try:
            values[name] = Path(file).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            unread.append(Problem(f"cannot read {tame(file)}: {reason}", option, "Name a text file."))

    if getattr(options, "file", None) is not None:
        take("secrets", options.file, "--file")
    # The file first, so that the numbers of its lines are right.
    values["secrets"] = "\n".join(filter(None, (values.get("secrets", ""), *getattr(options, "references", ()))))
    for item in INPUTS:
        text = getattr(options, item.name.replace("-", "_"), None)
        if text is None or item.name in OF_THE_ACTION:
            continue
        if item.kind in _FROM_FILES:
            take(item.name, text, f"--{item.name}")
        else:
            values[item.name] = text
    values = from_environment(os.environ, values)
    # A person has a token and a job has a role; who names neither means the person's.
    if not values.get("vault-auth-method") and not values.get("vault-role"):
        values["vault-auth-method"] = "token"
    return values, unread


class _Refused(argparse.Action):
    """An option that people try, and that must not be: argparse's own error would show what they gave."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """End with the way that is right."""
        parser.error(f"every process of the machine can read a command line: set the variable {self.const} instead")


def _placeholder(item: Input) -> str:
    return "FILE" if item.kind in _FROM_FILES else "|".join(item.choices) or _PLACEHOLDERS.get(item.kind, "TEXT")


def _help(item: Input) -> str:
    if item.name in _HELP:
        return _HELP[item.name]
    variables = f" Else {' or '.join(item.variables)}." if item.variables else ""
    default = f" (default: {item.default})" if item.default else ""
    return f"{item.help}{variables}{default}".replace("%", "%%")
