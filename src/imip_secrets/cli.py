"""The command line, for people and for other CI systems.

Here the usual variables (``AWS_*``, ``VAULT_ADDR``, ``VAULT_TOKEN``) and the
SDKs' own chains count, as they do for the tools that people are used to.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from imip_secrets import __version__, dotenv, request
from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError, Problem, UsageError
from imip_secrets.foreign import tame
from imip_secrets.runner import files, id_token
from imip_secrets.settings import INPUTS, from_environment
from imip_secrets.stores.base import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from imip_secrets.request import Request
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
_FORMATS: Mapping[str, Callable[[Iterable[tuple[str, str]]], str]] = {
    "dotenv": dotenv.dotenv,
    "shell": dotenv.shell,
    "json": lambda pairs: dotenv.as_json(pairs) + "\n",
}

_REFERENCES = """\
references:
  aws://imip/production                    every key of a JSON secret, or the one value
  DATABASE_URL = aws://imip/production#URI one key under another name
  APP_* = vault://secret/imip/production   every key with a prefix
  aws://imip/*                             every secret below imip/ (** for every level)
  vault://secret/x?optional#key            no mistake when it is not there
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
    options = _parser().parse_args(own)
    try:
        if options.command == "action":
            from imip_secrets import action  # noqa: PLC0415 - started with options that it does not take

            return action.main(os.environ)
        wanted = _request(options, os.environ)
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
    if "--" not in arguments:
        return list(arguments), []
    cut = list(arguments).index("--")
    return list(arguments[:cut]), list(arguments[cut + 1 :])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "imip-secrets",
        description="Secrets from AWS Secrets Manager and Vault to a process, a file or a GitHub job: all or nothing.",
        epilog="`imip-secrets COMMAND --help` tells more about each.",
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
    )
    parser.add_argument("references", nargs="*", metavar="REFERENCE", help="what to read, as in the action's `secrets`")
    parser.add_argument("--file", metavar="FILE", type=Path, help="read references from a file, one per line")
    groups: dict[str, argparse._ArgumentGroup] = {}
    for item in INPUTS:
        if item.name in _OF_THE_ACTION or (item.kind == "secret" and item.variables):
            continue
        if item.group not in groups:
            groups[item.group] = parser.add_argument_group(item.group)
        groups[item.group].add_argument(f"--{item.name}", metavar=_placeholder(item), help=_help(item))
    return parser


def _placeholder(item: Input) -> str:
    return "FILE" if item.kind in _FROM_FILES else "|".join(item.choices) or _PLACEHOLDERS.get(item.kind, "TEXT")


def _help(item: Input) -> str:
    variables = f" Else {' or '.join(item.variables)}." if item.variables else ""
    default = f" (default: {item.default})" if item.default else ""
    return f"{item.help}{variables}{default}".replace("%", "%%")


def _request(options: argparse.Namespace, environ: Mapping[str, str]) -> Request:
    """Turn the command line into a request.

    Raises:
        UsageError: with every mistake there is.

    """
    values = {"secrets": _references(options)}
    for item in INPUTS:
        text = getattr(options, item.name.replace("-", "_"), None)
        if text is not None and item.name not in _OF_THE_ACTION:
            values[item.name] = _text(Path(text), f"--{item.name}") if item.kind in _FROM_FILES else text
    values = from_environment(environ, values)
    # A person has a token and a job has a role; who names neither means the person's.
    if not values.get("vault-auth-method") and not values.get("vault-role"):
        values["vault-auth-method"] = "token"
    return request.read(values)


def _references(options: argparse.Namespace) -> str:
    lines = list(options.references)
    if options.file is not None:
        lines.append(_text(options.file, "--file"))
    return "\n".join(lines)


def _text(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(Problem(f"cannot read {tame(path)}: {reason}", where, "Name a text file.")) from None


def _context(wanted: Request) -> Context:
    deadline = Deadline(wanted.settings.number("timeout-seconds"))
    return Context(
        wanted.settings,
        id_token.source(os.environ, deadline, _hide_nothing, _note),
        _hide_nothing,
        _note,
        deadline,
        ambient=True,
    )


def _hide_nothing(_: Secret) -> None:
    """Take note of a credential: there is no log here to keep it off, since nothing shows it."""


def _resolve(wanted: Request) -> tuple[Variable, ...]:
    """Read everything; say on standard error what has a default or is not there.

    Raises:
        ImipError: with every failure.

    """
    from imip_secrets.resolve import resolve  # noqa: PLC0415 - a request with a mistake needs no threads

    resolved = resolve(wanted, _context(wanted))
    for line in resolved.absent:
        _note(f"{line.where}: nothing is there, and it is optional: no variable.")
    for variable in resolved.variables:
        if variable.found is None:
            _note(f"{variable.name} has its default: nothing is there at {variable.line.where}.")
    return resolved.variables


def _doctor(wanted: Request) -> int:
    from imip_secrets.doctor import examine  # noqa: PLC0415 - one command of several

    problems = examine(wanted, _context(wanted), lambda line: print(tame(line, 2000)))
    _complain(problems)
    return 1 if problems else 0


def _export(wanted: Request, options: argparse.Namespace) -> int:
    if options.output is None and sys.stdout.isatty() and not options.show:
        raise UsageError(
            Problem(
                "standard output is a terminal, and everybody who sees it would see the secrets",
                "--show",
                "Redirect it, write to a file with --output FILE, or give --show if you mean it.",
            )
        )
    variables = _resolve(wanted)
    as_files = [variable for variable in variables if variable.line.reference.as_file]
    problems = [
        Problem("as=file is for imip-secrets run and the action", variable.line.where, "Use encode=base64 here.")
        for variable in as_files
    ]
    problems += _unfit(variable for variable in variables if variable not in as_files)
    if problems:
        raise ImipError(*problems)
    text = _FORMATS[options.format]((variable.name, variable.value.reveal()) for variable in variables)
    if options.output is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
    else:
        files.write_private(options.output, text.encode())
    return 0


def _run(wanted: Request, child: Sequence[str]) -> int:
    """Run the command with the secrets in its environment; return its exit status."""
    if not child:
        raise UsageError(Problem("there is no command to run", "--", "Write it behind the references: -- COMMAND."))
    variables = _resolve(wanted)
    problems = list(_unfit(variable for variable in variables if not variable.line.reference.as_file))
    if problems:
        raise ImipError(*problems)
    with TemporaryDirectory(prefix="imip-secrets-") as folder:
        environment = {**os.environ, **dict(_for_child(variables, Path(folder)))}
        if os.environ.get("GITHUB_ACTIONS") == "true":
            _mask(variables, wanted)
        return _wait_for(child, environment)


def _for_child(variables: Iterable[Variable], folder: Path) -> Iterable[tuple[str, str]]:
    for variable in variables:
        if variable.line.reference.as_file:
            yield variable.name, str(files.private_file(folder, variable.name, variable.value.reveal_bytes()))
        else:
            yield variable.name, variable.value.reveal()


def _mask(variables: Iterable[Variable], wanted: Request) -> None:
    """Hide the values from the log of the job that the command writes to."""
    from imip_secrets.runner.commands import Console  # noqa: PLC0415 - only a job has a masked log
    from imip_secrets.runner.delivery import mask  # noqa: PLC0415 - the same

    mask(variables, wanted.settings.number("mask-floor"), Console())


def _wait_for(child: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command to its end; its exit status, or 128 and the signal that ended it, is ours."""
    try:
        with subprocess.Popen(child, env=environment) as process:
            while (status := _status(process)) is None:
                # A terminal sends its interrupt to both of us; what a supervisor sends to us must reach the child.
                process.terminate()
            return status if status >= 0 else 128 - status
    except FileNotFoundError:
        raise UsageError(Problem(f"there is no command {tame(child[0], 80)}", "--", "Check its spelling.")) from None
    except OSError as error:
        raise ImipError(Problem(f"cannot start {tame(child[0], 80)}: {error.strerror}", "--")) from None


def _status(process: subprocess.Popen[bytes]) -> int | None:
    """Wait for the end of a process; None if we are interrupted first."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        return None


def _unfit(variables: Iterable[Variable]) -> Iterable[Problem]:
    """Find values that no variable can hold."""
    plain = list(variables)
    for variable in plain:
        problem = files.check_value(variable.name, variable.value)
        if problem:
            yield problem.at(variable.line.where)
    total = files.check_total((variable.name, variable.value) for variable in plain)
    if total:
        yield total


def _note(text: str) -> None:
    print(f"imip-secrets: {tame(text, 2000)}", file=sys.stderr)


def _complain(problems: Iterable[Problem]) -> None:
    for problem in problems:
        print(f"imip-secrets: error: {tame(problem, 2000)}", file=sys.stderr)
