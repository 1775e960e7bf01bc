"""``imip-secrets run``: one process gets the secrets in its environment."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from imip_secrets import handed_token
from imip_secrets.child import run
from imip_secrets.cli.options import REFERENCES, add_request, read_request
from imip_secrets.cli.reading import resolve_all
from imip_secrets.cli.terminal import context, job_console, note
from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.leases import end_all
from imip_secrets.runner import files

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from imip_secrets.variables import Variable

USAGE = "[options] REFERENCE ... -- COMMAND [ARGUMENT ...]"
EPILOG = f"""{REFERENCES}
examples:
  imip-secrets run aws://imip/production -- ./deploy.sh
  imip-secrets run 'DB = vault://secret/imip#db' -- sh -c 'psql "$DB"'
"""

add = add_request


def main(options: argparse.Namespace, child: Sequence[str]) -> int:
    """Run the command with the secrets in its environment; return its exit status."""
    wanted = read_request(options, _mistakes(child))
    console = job_console()
    given = context(wanted.settings, console)
    try:
        variables = resolve_all(wanted, given, console)
        with _folder(variables) as folder:
            return run(child, {**_environment(), **dict(_for_child(variables, folder))})
    finally:
        end_all(given.kept, note)


@contextmanager
def _folder(variables: Iterable[Variable]) -> Iterator[Path]:
    """Give a private folder for the values that go to files; where none does, there need be no place for one."""
    if not any(variable.line.reference.as_file for variable in variables):
        yield Path()
        return
    try:
        made = TemporaryDirectory(prefix="imip-secrets-")
    except OSError as error:
        what = f"there is no place for files: {tame(error.strerror)}"
        raise ImipError(
            Problem(what, remedy="Give this machine a /tmp that can be written to, or set TMPDIR.")
        ) from None
    with made as folder:
        yield Path(folder)


def _environment() -> dict[str, str]:
    """Return our own environment without who we are: the command is to have the secrets, not our ID tokens."""
    return {name: text for name, text in os.environ.items() if not handed_token.is_ours(name)}


def _mistakes(child: Sequence[str]) -> Iterator[Problem]:
    """Find what is wrong with the command to run."""
    if not child:
        yield Problem("there is no command to run", remedy="Write it behind the references: -- COMMAND.")
    elif not shutil.which(child[0]):
        yield Problem(f"there is no command {tame(child[0], 80)!r}", remedy="Check its spelling, and PATH.")


def _for_child(variables: Iterable[Variable], folder: Path) -> Iterator[tuple[str, str]]:
    for variable in variables:
        if variable.line.reference.as_file:
            path = folder / variable.name
            files.write_private(path, variable.value.reveal_bytes())
            yield variable.name, str(path)
        else:
            yield variable.name, variable.value.reveal()
