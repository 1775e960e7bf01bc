"""From variables to the job: masked first, checked again, written at once.

The order is the contract's (section 4, steps 6 to 8) and the reason of this
module: no byte of a value leaves the process before its masks, and nothing is
written before everything is known to be writable.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets import dotenv
from imip_secrets.errors import ImipError, Problem
from imip_secrets.runner import files, masks
from imip_secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from imip_secrets.runner.commands import Console
    from imip_secrets.settings import Settings
    from imip_secrets.variables import Variable


@dataclass(frozen=True, slots=True)
class Places:
    """Where the job's variables go.

    Args:
        environment: ``GITHUB_ENV``, or None when variables are not exported.
        outputs: ``GITHUB_OUTPUT``, or None outside a step with outputs.
        dotenv: The file of ``env-file``, or None.
        temporary: ``RUNNER_TEMP``, for files of values.

    """

    environment: Path | None
    outputs: Path | None
    dotenv: Path | None
    temporary: Path | None

    @classmethod
    def of(cls, settings: Settings, environ: Mapping[str, str]) -> Places:
        """Find the places in the inputs and the runner's variables.

        Raises:
            ImipError: variables are to be exported and there is no ``GITHUB_ENV``.

        """
        environment = _path(environ, "GITHUB_ENV") if settings.flag("export-env") else None
        if environment is None and settings.flag("export-env"):
            raise ImipError(
                Problem(
                    "there is no GITHUB_ENV to write to",
                    "input export-env",
                    "Only a step of a job has it: elsewhere use imip-secrets run or imip-secrets export.",
                )
            )
        workspace = Path(environ.get("GITHUB_WORKSPACE", ""))
        return cls(
            environment,
            _path(environ, "GITHUB_OUTPUT"),
            # A relative path is meant from the workspace, where the other steps of the job start.
            workspace / settings["env-file"] if settings.given("env-file") else None,
            _path(environ, "RUNNER_TEMP"),
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
    plain = [variable for variable in variables if not variable.line.reference.as_file]
    problems = [
        problem.at(variable.line.where)
        for variable in plain
        if (problem := files.check_value(variable.name, variable.value))
    ]
    total = files.check_total((variable.name, variable.value) for variable in plain)
    if total:
        problems.append(total)
    if settings.flag("export-env") and not settings.flag("overwrite-env"):
        problems += _taken(variables, environ)
    return problems


def write(variables: Sequence[Variable], places: Places, console: Console) -> None:
    """Write everything; the environment last, since it alone cannot be taken back.

    Raises:
        ImipError: something cannot be written; the environment is as it was.

    """
    with _Undo() as undo:
        pairs = list(_pairs(variables, places, undo))
        if places.dotenv:
            files.write_private(places.dotenv, dotenv.dotenv(pairs).encode())
            undo.remove(places.dotenv)
        if places.outputs:
            files.replace(places.outputs, files.block(_outputs(pairs, console)))
        if places.environment:
            files.replace(places.environment, files.block(pairs))
        undo.keep()


class _Undo:
    """What to remove again when a later write fails."""

    def __init__(self) -> None:
        self._made: list[Path] = []

    def __enter__(self) -> _Undo:  # noqa: PYI034 - typing.Self is younger than Python 3.10
        return self

    def remove(self, path: Path) -> None:
        self._made.append(path)

    def keep(self) -> None:
        self._made.clear()

    def __exit__(self, *_: object) -> None:
        for path in reversed(self._made):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)


def _pairs(variables: Iterable[Variable], places: Places, undo: _Undo) -> Iterator[tuple[str, str]]:
    """Give each name with its text: the value, or the path of the private file that holds it."""
    folder: Path | None = None
    for variable in variables:
        if not variable.line.reference.as_file:
            yield variable.name, variable.value.reveal()
            continue
        if folder is None:
            folder = _folder(places)
            undo.remove(folder)
        path = files.private_file(folder, variable.name, variable.value.reveal_bytes())
        undo.remove(path)
        yield variable.name, str(path)


def _folder(places: Places) -> Path:
    if places.temporary is None:
        raise ImipError(
            Problem("as=file needs RUNNER_TEMP, which is not set", remedy="Set RUNNER_TEMP to a private folder.")
        )
    return files.private_folder(places.temporary)


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
        if now and Secret(now) != variable.value:
            yield Problem(
                f"{variable.name} is already set to something else in this job",
                variable.line.where,
                "Give it another NAME, or set overwrite-env: true.",
            )


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    return Path(environ[name]) if environ.get(name) else None
