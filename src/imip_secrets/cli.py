"""The command line, for people and for other CI systems.

Here the usual variables (``AWS_*``, ``VAULT_ADDR``, ``VAULT_TOKEN``) and the
SDKs' own chains count, as they do for the tools that people are used to.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from imip_secrets import __version__, dotenv, request
from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError, Problem, UsageError
from imip_secrets.foreign import tame
from imip_secrets.runner import delivery, files, id_token
from imip_secrets.settings import INPUTS, from_environment
from imip_secrets.stores.base import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from imip_secrets.identity import IdToken, IdTokenSource
    from imip_secrets.request import Request
    from imip_secrets.runner.commands import Console
    from imip_secrets.secret import Secret
    from imip_secrets.settings import Input
    from imip_secrets.variables import Variable

# What belongs to the action alone: it says how the job gets its variables.
_OF_THE_ACTION = frozenset(
    {"mode", "secrets", "export-env", "env-file", "overwrite-env", "mask-floor", "aws-role-session-name"}
)
# A command line is seen by every process of the machine: what is secret comes from a file or a variable.
_FROM_FILES = ("lines", "secret")
_PLACEHOLDERS = {"number": "N", "address": "URL"}
# Where the command line differs from the action.
_HELP = {
    "vault-auth-method": "How to log in: with jwt, the default when there is a --vault-role, or else with token, "
    "from VAULT_TOKEN, BAO_TOKEN or ~/.vault-token.",
}
_FORMATS: Mapping[str, Callable[[Iterable[tuple[str, str]]], str]] = {
    "dotenv": dotenv.dotenv,
    "shell": dotenv.shell,
    "json": lambda pairs: dotenv.as_json(pairs) + "\n",
}
# The problems speak of "the input vault-addr" and show "vault-addr: VALUE", as in a workflow.
_OPTIONS = {
    item.name: item.variables[0] if item.kind == "secret" and item.variables else f"--{item.name}" for item in INPUTS
} | {"secrets": "REFERENCE"}
_NAMES = "|".join(_OPTIONS)
_INPUT = re.compile(rf"(?:\bthe )?\binput ({_NAMES})\b|\b({_NAMES}): (?=\S)")

_REFERENCES = """\
references:
  aws://imip/production                     every key of a JSON secret, or the one value
  DATABASE_URL = aws://imip/production#URI  one key under another name
  APP_* = vault://secret/imip/production    every key with a prefix
  aws://imip/*                              every secret below imip/ (** for every level)
  vault://secret/x?optional#key             no mistake when it is not there
"""
_EXAMPLES = {
    "run": "  imip-secrets run aws://imip/production -- ./deploy.sh\n"
    "  imip-secrets run 'DB = vault://secret/imip#db' -- sh -c 'psql \"$DB\"'\n",
    "export": "  imip-secrets export --output .env.local aws://imip/development\n"
    '  eval "$(imip-secrets export --format shell vault://secret/imip)"\n'
    "  imip-secrets export --format json aws://imip/production | jq -r .MONGO_URI\n",
    "doctor": "  imip-secrets doctor --aws-region us-east-1 aws://imip/production\n",
}


def main(arguments: Sequence[str]) -> int:
    """Run one command of the command line; return the exit status."""
    own, child = _cut_child(arguments)
    try:
        options = _parser().parse_args(own)
    except SystemExit as end:  # how argparse ends after --help, --version and a mistake
        return int(end.code or 0)
    if options.command == "action":
        from imip_secrets import action  # noqa: PLC0415 - the one command that reads no command line

        return action.main(os.environ)
    try:
        wanted = _request(options, child)
        if options.command == "doctor":
            return _doctor(wanted)
        if options.command == "export":
            return _export(wanted, options)
        return _run(wanted, child)
    except ImipError as error:
        _complain(error.problems)
        return 2 if isinstance(error, UsageError) else 1


def _cut_child(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Cut the command to run off, which stands behind ``--`` and is nobody's but the user's."""
    own = list(arguments)
    if own[:1] != ["run"] or "--" not in own:
        return own, []
    cut = own.index("--")
    return own[:cut], own[cut + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "imip-secrets",
        description="Secrets from their stores to a process, a file or a GitHub job: all or nothing.",
        epilog="`imip-secrets COMMAND --help` tells more about each.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("action", help="what the GitHub Action runs: inputs from INPUT_* variables")
    run = _command(commands, "run", "run a command with the secrets in its environment, and nowhere else")
    run.usage = "imip-secrets run [options] REFERENCE ... -- COMMAND [ARGUMENT ...]"
    export = _command(commands, "export", "write the secrets as dotenv, shell or JSON")
    export.add_argument("--format", choices=tuple(_FORMATS), default="dotenv", help="(default: dotenv)")
    export.add_argument("--output", metavar="FILE", type=Path, help="write to a file of mode 0600, not to stdout")
    export.add_argument("--show", action="store_true", help="write to a terminal as well, for everybody to see")
    _command(commands, "doctor", "go through the same request step by step, and show no value")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, about: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        usage=f"imip-secrets {name} [options] REFERENCE ...",
        epilog=f"{_REFERENCES}\nexamples:\n{_EXAMPLES[name]}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("references", nargs="*", metavar="REFERENCE", help="what to read, as in the action's `secrets`")
    parser.add_argument("--file", metavar="FILE", type=Path, help="read references from a file, one per line")
    groups: dict[str, argparse._ArgumentGroup] = {}
    for item in INPUTS:
        if item.name in _OF_THE_ACTION:
            continue
        if item.kind == "secret" and item.variables:
            parser.add_argument(f"--{item.name}", action=_Refused, const=item.variables[0], help=argparse.SUPPRESS)
            continue
        if item.group not in groups:
            groups[item.group] = parser.add_argument_group(item.group)
        groups[item.group].add_argument(f"--{item.name}", metavar=_placeholder(item), help=_help(item))
    return parser


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


def _request(options: argparse.Namespace, child: Sequence[str]) -> Request:
    """Turn the command line into a request.

    Raises:
        UsageError: with every mistake there is.

    """
    mistakes = list(_mistakes(options, child))
    values, unread = _values(options)
    if unread:
        # What could not be read cannot be judged.
        raise UsageError(*mistakes, *unread)
    try:
        wanted = request.read(values)
    except UsageError as error:
        raise UsageError(*mistakes, *error.problems) from None
    if options.command == "export":
        mistakes += [
            Problem("as=file is for imip-secrets run and the action", line.where, "Use encode=base64 here.")
            for line in wanted.lines
            if line.reference.as_file
        ]
    if mistakes:
        raise UsageError(*mistakes)
    return wanted


def _mistakes(options: argparse.Namespace, child: Sequence[str]) -> Iterator[Problem]:
    """Find what is wrong with the command itself."""
    if options.command == "export" and options.output is None and not options.show and sys.stdout.isatty():
        yield Problem(
            "standard output is a terminal, and everybody who sees it would see the secrets",
            remedy="Redirect it, write to a file with --output FILE, or give --show if you mean it.",
        )
    if options.command == "run" and not child:
        yield Problem("there is no command to run", remedy="Write it behind the references: -- COMMAND.")
    elif options.command == "run" and not shutil.which(child[0]):
        yield Problem(f"there is no command {tame(child[0], 80)!r}", remedy="Check its spelling, and PATH.")


def _values(options: argparse.Namespace) -> tuple[dict[str, str], list[Problem]]:
    """Return the settings as they were given, here or by the usual variables, and what could not be read."""
    values: dict[str, str] = {}
    unread: list[Problem] = []

    def take(name: str, file: str | Path, option: str) -> None:
        try:
            values[name] = Path(file).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            unread.append(Problem(f"cannot read {tame(file)}: {reason}", option, "Name a text file."))

    if options.file is not None:
        take("secrets", options.file, "--file")
    # The file first, so that the numbers of its lines are right.
    values["secrets"] = "\n".join(filter(None, (values.get("secrets", ""), *options.references)))
    for item in INPUTS:
        text = getattr(options, item.name.replace("-", "_"), None)
        if text is None or item.name in _OF_THE_ACTION:
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


def _console() -> Console | None:
    """Return the way to hide values from the log of a GitHub job, if this is in one.

    Standard error, since standard output is the command's, and often goes into
    a variable or a file. Of what has come, the runner takes up standard error
    first (actions/runner ``ProcessInvoker.cs``), so masks are there in time.
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return None
    from imip_secrets.runner.commands import Console  # noqa: PLC0415 - only a job has a masked log

    return Console(sys.stderr.buffer)


def _context(wanted: Request, console: Console | None) -> Context:
    deadline = Deadline(wanted.settings.number("timeout-seconds"))
    protect = console.protect if console else _hide_nothing
    return Context(wanted.settings, _id_tokens(deadline, protect), protect, _note, deadline, ambient=True)


def _hide_nothing(_: Secret) -> None:
    """Take note of a credential: there is no log here to keep it off, since nothing shows it."""


def _id_tokens(deadline: Deadline, protect: Callable[[Secret], None]) -> IdTokenSource:
    if os.environ.get("GITHUB_ACTIONS") == "true" or os.environ.get(id_token.URL_VARIABLE):
        return id_token.source(os.environ, deadline, protect, _note)
    return _no_id_token


def _no_id_token(_: str) -> IdToken:
    raise ImipError(
        Problem(
            "this login needs the ID token of a GitHub job, and this is no such job",
            remedy="Use credentials of your own: for Vault set VAULT_TOKEN and give --vault-auth-method token; for AWS "
            "leave --aws-role-to-assume out, and for Azure --azure-client-id.",
        )
    )


def _resolve(wanted: Request) -> tuple[Variable, ...]:
    """Read everything and hide it from the log of a job; say what has a default or is not there.

    Raises:
        ImipError: with every failure.

    """
    from imip_secrets.resolve import resolve  # noqa: PLC0415 - a request with a mistake needs no threads

    console = _console()
    resolved = resolve(wanted, _context(wanted, console))
    if console:
        _mask(resolved.variables, wanted, console)
    for line in resolved.absent:
        _note(f"{line.where}: nothing is there, and it is optional: no variable.")
    for variable in resolved.variables:
        if variable.found is None:
            _note(f"{variable.name} has its default: nothing is there at {variable.line.where}.")
    return resolved.variables


def _mask(variables: Iterable[Variable], wanted: Request, console: Console) -> None:
    from imip_secrets.runner import report  # noqa: PLC0415 - only a job has a masked log

    for name in delivery.mask(variables, wanted.settings.number("mask-floor"), console):
        _note(report.not_masked(name))


def _doctor(wanted: Request) -> int:
    from imip_secrets.doctor import examine  # noqa: PLC0415 - one command of several

    problems = examine(
        wanted, _context(wanted, _console()), lambda line: print(tame(line, 2000), flush=True), delivery.unfit
    )
    _complain(problems)
    return 1 if problems else 0


def _export(wanted: Request, options: argparse.Namespace) -> int:
    """Write the secrets as text, all of it or nothing."""
    variables = _resolve(wanted)
    _refuse_unfit(variables)
    text = _FORMATS[options.format]((variable.name, variable.value.reveal()) for variable in variables)
    if options.output is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
    else:
        files.write_private(options.output, text.encode())
    return 0


def _run(wanted: Request, child: Sequence[str]) -> int:
    """Run the command with the secrets in its environment; return its exit status."""
    from tempfile import TemporaryDirectory  # noqa: PLC0415 - one command of several

    from imip_secrets.child import run  # noqa: PLC0415 - the same

    variables = _resolve(wanted)
    _refuse_unfit(variables)
    with TemporaryDirectory(prefix="imip-secrets-") as folder:
        return run(child, {**os.environ, **dict(_for_child(variables, Path(folder)))})


def _for_child(variables: Iterable[Variable], folder: Path) -> Iterator[tuple[str, str]]:
    for variable in variables:
        if variable.line.reference.as_file:
            path = folder / variable.name
            files.write_private(path, variable.value.reveal_bytes())
            yield variable.name, str(path)
        else:
            yield variable.name, variable.value.reveal()


def _refuse_unfit(variables: Sequence[Variable]) -> None:
    problems = delivery.unfit(variables)
    if problems:
        raise ImipError(*problems)


def _note(text: str) -> None:
    print(f"imip-secrets: {tame(text, 2000)}", file=sys.stderr)


def _complain(problems: Iterable[Problem]) -> None:
    for problem in problems:
        print(f"imip-secrets: error: {tame(_as_options(str(problem)), 2000)}", file=sys.stderr)


def _as_options(text: str) -> str:
    """Call the inputs of the action what they are called here."""
    return _INPUT.sub(lambda match: _OPTIONS[match[1] or match[2]] + (" " if match[2] else ""), text)
