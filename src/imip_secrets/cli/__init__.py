"""The command line, for people and for other CI systems.

Here the usual variables (``AWS_*``, ``VAULT_ADDR``, ``VAULT_TOKEN``) and the
SDKs' own chains count, as they do for the tools that people are used to.

A command is one module here (see :class:`Command`) and one row in :data:`COMMANDS`.
"""

from __future__ import annotations

import argparse
import os
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from imip_secrets import __version__
from imip_secrets.cli.terminal import complain
from imip_secrets.errors import ImipError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What each command does, in the order of --help. Its module has its name, and is imported only when it is called.
COMMANDS: Mapping[str, str] = {
    "run": "run a command with the secrets in its environment, and nowhere else",
    "export": "write the secrets as dotenv, shell or JSON",
    "sync": "write the secrets to GitHub: its repositories, environments and organisations",
    "doctor": "go through the same request step by step, and show no value",
    "scan": "search files for the values of the secrets, before they leave this machine",
    "migrate": "move the secrets of .env files to a store, in steps that can be looked at",
    "rotate": "give secrets new values, in steps that can be run again, and keep the ones before",
    "audit": "judge the age, rotation, readers and cost of the secrets, and show no value",
    "policy": "print the policies, roles and trust that a request needs, and no more",
}
_ACTION = "action"


class Command(Protocol):
    """What the module of a command offers."""

    USAGE: str
    """What follows the command's name."""
    EPILOG: str
    """What ``--help`` teaches at its end: references, examples."""

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own options."""

    def main(self, options: argparse.Namespace, child: Sequence[str]) -> int:
        """Do what was asked for; return the exit status.

        Args:
            options: The command line.
            child: What stands behind ``--``, for the one command that runs another.

        Raises:
            UsageError: the request itself is wrong, with every mistake.
            ImipError: with every failure.

        """


def main(arguments: Sequence[str]) -> int:
    """Run one command of the command line; return the exit status."""
    try:
        module, options, child = parse(arguments)
    except SystemExit as end:  # how argparse ends after --help, --version and a mistake
        return int(end.code or 0)
    if module is None:
        from imip_secrets import action  # noqa: PLC0415 - the one command that reads no command line

        return action.main(os.environ)
    try:
        return module.main(options, child)
    except ImipError as error:
        complain(error.problems)
        return 2 if isinstance(error, UsageError) else 1


def parse(arguments: Sequence[str]) -> tuple[Command | None, argparse.Namespace, list[str]]:
    """Read a command line.

    Returns:
        The command's module (of ``action`` there is none), its options, and
        the command to run with its arguments, for ``run``.

    Raises:
        SystemExit: it has been told what is wrong, or asked for help.

    """
    own, child = _cut_child(arguments)
    command = own[0] if own and own[0] in COMMANDS else ""
    module = cast("Command", import_module(f"imip_secrets.cli.{command}")) if command else None
    return module, parser(command, module).parse_args(own), child


def _cut_child(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Cut the command to run off, which stands behind ``--`` and is nobody's but the user's."""
    own = list(arguments)
    if own[:1] != ["run"] or "--" not in own:
        return own, []
    cut = own.index("--")
    return own[:cut], own[cut + 1 :]


def parser(command: str = "", module: Command | None = None) -> argparse.ArgumentParser:
    """Return the parser; of all commands only the one that is called has its options."""
    program = argparse.ArgumentParser(
        "imip-secrets",
        description="Secrets from their stores to a process, a file or a GitHub job: all or nothing.",
        epilog="`imip-secrets COMMAND --help` tells more about each.",
        allow_abbrev=False,
    )
    program.add_argument("--version", action="version", version=__version__)
    commands = program.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser(_ACTION, help="what the GitHub Action runs: inputs from INPUT_* variables")
    for name, about in COMMANDS.items():
        if module is None or name != command:
            commands.add_parser(name, help=about)
            continue
        own = commands.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            usage=f"imip-secrets {name} {module.USAGE}",
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add(own)
    return program
