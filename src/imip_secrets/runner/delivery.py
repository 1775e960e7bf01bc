"""From variables to the job: masked first, checked again, written at once.

The order is the contract's (section 4, steps 6 to 8) and the reason of this
module: no byte of a value leaves the process before its masks, no file changes
before every new content is on the disk, and all files change or none.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets import dotenv
from imip_secrets.errors import ImipError, Problem
from imip_secrets.runner import files, handover, masks
from imip_secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from imip_secrets.request import Request
    from imip_secrets.runner.commands import Console
    from imip_secrets.settings import Settings
    from imip_secrets.stores.base import Kept
    from imip_secrets.variables import Variable


class Places(NamedTuple):
    """Where the job's variables go.

    Args:
        environment: ``GITHUB_ENV``, or None when variables are not exported.
        outputs: ``GITHUB_OUTPUT``, or None outside a step with outputs.
        dotenv: The file of ``env-file``, or None.
        temporary: ``RUNNER_TEMP``, for files of values and for what the cleanup
            step is told, or None when there are none.
        outside: What the other steps of the job call that folder, where they see another path.
        awaited: Whether a cleanup step will end and remove what is left.

    """

    environment: Path | None
    outputs: Path | None
    dotenv: Path | None
    temporary: Path | None
    outside: Path | None = None
    awaited: bool = False

    @classmethod
    def of(cls, wanted: Request, environ: Mapping[str, str]) -> Places:
        """Find the places in the inputs and the runner's variables.

        Raises:
            ImipError: one that is needed is not there.

        """
        settings = wanted.settings
        temporary = _path(environ, "RUNNER_TEMP")
        awaited = temporary is not None and handover.is_awaited(temporary)
        if not awaited and not any(line.reference.as_file for line in wanted.lines):
            temporary = None
        workspace = Path(environ.get("GITHUB_WORKSPACE", ""))
        places = cls(
            _path(environ, "GITHUB_ENV") if settings.flag("export-env") else None,
            _path(environ, "GITHUB_OUTPUT"),
            # A relative path is meant from the workspace, where the other steps of the job start.
            workspace / settings["env-file"] if settings.given("env-file") else None,
            temporary,
            _outside(temporary, environ),
            awaited,
        )
        problems = list(places._missing(wanted))
        if problems:
            raise ImipError(*problems)
        return places

    def _missing(self, wanted: Request) -> Iterator[Problem]:
        if self.environment is None and wanted.settings.flag("export-env"):
            yield Problem(
                "there is no GITHUB_ENV to write to",
                "input export-env",
                "Only a step of a job has it: elsewhere use imip-secrets run or imip-secrets export.",
            )
        for line in wanted.lines:
            if line.reference.as_file and self.temporary is None:
                yield Problem(
                    "as=file needs RUNNER_TEMP, which is not set", line.where, "Set RUNNER_TEMP to a private folder."
                )


def mask(variables: Iterable[Variable], floor: int, console: Console) -> list[str]:
    """Have every value hidden from now on; return the names whose value is not, though nobody ordered that."""
    lines: list[str] = []
    bare: list[str] = []
    for variable in variables:
        wanted = variable.line.reference.mask
        if wanted is False:
            continue
        made = masks.forms(variable.value, floor, forced=wanted is True)
        lines += made.lines
        if variable.stored is not None:
            lines += masks.forms(variable.stored, floor, forced=wanted is True).lines
        if made.bare:
            bare.append(variable.name)
    console.mask(lines)
    return bare


def check(variables: Sequence[Variable], settings: Settings, environ: Mapping[str, str]) -> list[Problem]:
    """Find every value that cannot be a variable, and every variable that is already something else.

    Args:
        variables: All of the request.
        settings: Whether variables may be overwritten.
        environ: The job's environment, as it was before we changed ours.

    """
    problems = unfit(variables)
    if settings.flag("export-env") and not settings.flag("overwrite-env"):
        problems += _taken(variables, environ)
    return problems


def unfit(variables: Iterable[Variable]) -> list[Problem]:
    """Find every value that no variable can hold."""
    plain = [variable for variable in variables if not variable.line.reference.as_file]
    problems = [
        problem.at(variable.line.where)
        for variable in plain
        if (problem := files.check_value(variable.name, variable.value))
    ]
    total = files.check_total((variable.name, variable.value) for variable in plain)
    return [*problems, total] if total else problems


def write(variables: Sequence[Variable], places: Places, console: Console, kept: Sequence[Kept] = ()) -> None:
    """Write everything, or nothing: what the cleanup step must know first, the environment last.

    Args:
        variables: What the job gets.
        places: Where it goes.
        console: Where something is said.
        kept: Credentials among the values, for the cleanup step to end.

    Raises:
        ImipError: something cannot be written; every file is as it was.

    """
    with ExitStack() as undoing:
        in_files = [variable for variable in variables if variable.line.reference.as_file]
        told = places.awaited and (places.environment or kept)
        changes: list[files.Change] = []
        seen: dict[str, str] = {}
        if places.temporary and (in_files or told):
            folder = files.private_folder(places.temporary)
            undoing.callback(_remove_empty, folder)
            seen = {
                variable.name: str((places.outside or places.temporary) / folder.name / variable.name)
                for variable in in_files
            }
            if told:
                names = [variable.name for variable in variables] if places.environment else []
                changes.append(files.Change(folder / handover.NOTE, handover.note(names, kept), given=True))
            changes += [
                files.Change(folder / variable.name, variable.value.reveal_bytes(), given=True) for variable in in_files
            ]
        pairs = [(variable.name, seen.get(variable.name) or variable.value.reveal()) for variable in variables]
        if places.dotenv:
            changes.append(files.Change(places.dotenv, dotenv.dotenv(pairs).encode()))
        if places.outputs:
            changes.append(files.Change(places.outputs, files.block(_outputs(pairs, console)), adds=True))
        if places.environment:
            changes.append(files.Change(places.environment, files.block(pairs), adds=True))
        files.put(changes)
        undoing.pop_all()


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _outputs(pairs: list[tuple[str, str]], console: Console) -> Iterator[tuple[str, str]]:
    """Give the outputs; the runner drops a job's output that holds a masked text, so only ``json`` may."""
    yield "json", dotenv.as_json(pairs)
    for name, text in (("names", "\n".join(name for name, _ in pairs)), ("count", str(len(pairs)))):
        if console.hides(text):
            console.notice(f"The output {name} is left empty: a secret's value is part of it.")
        else:
            yield name, text


def _taken(variables: Iterable[Variable], environ: Mapping[str, str]) -> Iterator[Problem]:
    """Find variables that the job has with another value; an empty one counts as not set."""
    for variable in variables:
        now = environ.get(variable.name.upper() if sys.platform == "win32" else variable.name)
        # A file is a new one in each step, so the path in the variable is another as well.
        if now and (variable.line.reference.as_file or Secret(now) != variable.value):
            yield Problem(
                f"{variable.name} is already set to something else in this job",
                variable.line.where,
                "Give it another NAME, or set overwrite-env: true.",
            )


def _outside(temporary: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return what ``RUNNER_TEMP`` is called outside of a container that runs this step alone.

    A Docker action sees it as ``/github/runner_temp``, and of the machine's own
    paths only ``RUNNER_WORKSPACE``, the folder beside it; the runner translates
    back what a variable holds, for whoever needs that (actions/runner
    ``ContainerActionHandler.cs``). In a job's container all steps see the same.
    """
    if temporary == _IN_DOCKER_ACTION and environ.get("RUNNER_WORKSPACE", "").startswith("/"):
        return Path(environ["RUNNER_WORKSPACE"]).parent / "_temp"
    return None


_IN_DOCKER_ACTION = Path("/github/runner_temp")


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    return Path(environ[name]) if environ.get(name) else None
