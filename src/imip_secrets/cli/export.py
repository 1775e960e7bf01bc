"""``imip-secrets export``: the secrets as text, to standard output or a private file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets import dotenv
from imip_secrets.cli.options import REFERENCES, add_request, read_request
from imip_secrets.cli.reading import resolve_all
from imip_secrets.cli.terminal import context, job_console, note
from imip_secrets.errors import Problem
from imip_secrets.leases import ended_on_failure
from imip_secrets.runner import files

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from imip_secrets.request import Request

USAGE = "[options] REFERENCE ..."
EPILOG = f"""{REFERENCES}
examples:
  imip-secrets export --output .env.local aws://imip/development
  eval "$(imip-secrets export --format shell vault://secret/imip)"
  imip-secrets export --format json aws://imip/production | jq -r .MONGO_URI
"""

_FORMATS: Mapping[str, Callable[[Iterable[tuple[str, str]]], str]] = {
    "dotenv": dotenv.dotenv,
    "shell": dotenv.shell,
    "json": lambda pairs: dotenv.as_json(pairs) + "\n",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--format", choices=tuple(_FORMATS), default="dotenv", help="(default: dotenv)")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write to a file of mode 0600, not to stdout")
    parser.add_argument("--show", action="store_true", help="write to a terminal as well, for everybody to see")
    add_request(parser)


def main(options: argparse.Namespace, _child: Sequence[str]) -> int:
    """Write the secrets, all of it or nothing."""
    wanted = read_request(options, _mistakes(options), _files)
    console = job_console()
    given = context(wanted.settings, console)
    with ended_on_failure(given.kept, note):
        variables = resolve_all(wanted, given, console)
        text = _FORMATS[options.format]((variable.name, variable.value.reveal()) for variable in variables)
        if options.output is None:
            sys.stdout.buffer.write(text.encode())
            sys.stdout.flush()
        else:
            files.write_private(options.output, text.encode())
    for kept in given.kept:
        kept.leave()
        note(f"Credentials end by themselves, with the login that made them: {kept.what}.")
    return 0


def _mistakes(options: argparse.Namespace) -> Iterator[Problem]:
    if options.output is None and not options.show and sys.stdout.isatty():
        yield Problem(
            "standard output is a terminal, and everybody who sees it would see the secrets",
            remedy="Redirect it, write to a file with --output FILE, or give --show if you mean it.",
        )


def _files(wanted: Request) -> Iterator[Problem]:
    for line in wanted.lines:
        if line.reference.as_file:
            yield Problem("as=file is for imip-secrets run and the action", line.where, "Use encode=base64 here.")
