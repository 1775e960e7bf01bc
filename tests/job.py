"""A step of a job, run in this process: its files, its inputs, and the runner's model for what it says."""

from __future__ import annotations

import io
import os
import pathlib
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

from imip_secrets import __main__, request
from imip_secrets.resolve import resolve
from runner_model import Log
from stand_ins.memory import context, registered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed import ReadableBuffer

    from imip_secrets.request import Request
    from imip_secrets.resolve import Resolved
    from stand_ins.memory import Memory

BEFORE = b"EARLIER=1\n"


class Watched(io.BytesIO):
    """A stream that tells what was in other places when each piece was written."""

    def __init__(self, look: Callable[[], object]) -> None:
        super().__init__()
        self._look = look
        self.moments: list[tuple[bytes, object]] = []

    def write(self, data: ReadableBuffer, /) -> int:
        self.moments.append((bytes(data), self._look()))
        return super().write(data)


class Job:
    """One step.

    Attributes:
        environ: The variables that the step starts with.
        moments: What was printed, piece by piece, with what the step's files held then.
        stderr: What was printed to standard error.

    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.temp, self.workspace = folder / "temp", folder / "work"
        self.env, self.output, self.summary = (folder / name for name in ("env", "output", "summary"))
        for place in (self.temp, self.workspace):
            place.mkdir()
        self.env.write_bytes(BEFORE)
        self.output.write_bytes(BEFORE)
        self.summary.write_bytes(b"")
        self.environ = {
            "GITHUB_ENV": str(self.env),
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": str(self.temp),
            "PATH": os.environ["PATH"],
        }
        self.moments: list[tuple[bytes, object]] = []
        self.stdout = b""
        self.stderr = ""

    def run(self, secrets: str, store: Memory, **inputs: str) -> int:
        """Run ``imip-secrets action`` with these inputs (``_`` for ``-``); return its exit status."""
        given = {f"INPUT_{name.upper()}": text for name, text in inputs.items()}
        return self.start("action", store, INPUT_SECRETS=secrets, **given)

    def start(self, command: str, store: Memory, **environ: str) -> int:
        """Run a command of the program with these variables besides; return its exit status."""
        with registered(store), mock.patch.dict(os.environ, {**self.environ, **environ}, clear=True):
            return self.watch(lambda: __main__.main([command]))

    def watch(self, program: Callable[[], int]) -> int:
        """Run a program and keep what it prints."""
        stream = Watched(lambda: (self.env.read_bytes(), self.output.read_bytes()))
        out = io.TextIOWrapper(stream, encoding="utf-8", write_through=True)
        errors = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        with mock.patch.object(sys, "stdout", out), mock.patch.object(sys, "stderr", errors):
            status = program()
        self.moments, self.stdout = stream.moments, stream.getvalue()
        self.stderr = errors.buffer.getvalue().decode()
        return status

    def log(self) -> Log:
        """Return what the runner makes of it all: the step's output first, then its files."""
        log = Log(debug=True).feed(self.stdout)
        log.apply_env(self.env.read_bytes())
        log.apply_output(self.output.read_bytes())
        return log.end_step()

    def everything(self) -> dict[str, bytes]:
        """Return every file of the job but its summary, by its path."""
        paths = (path for path in self.folder.rglob("*") if path != self.summary and path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}


def resolved(secrets: str, store: Memory, **inputs: str) -> tuple[Request, Resolved]:
    """Return a request and what the store gives for it; the store is not there any more."""
    values = {name.replace("_", "-"): text for name, text in inputs.items()}
    with registered(store):
        wanted = request.read({"secrets": secrets, **values})
        return wanted, resolve(wanted, context())


@contextmanager
def failing_at(number: int, fault: BaseException) -> Iterator[list[str]]:
    """Have the call of that number, counted from 0, raise: of all that puts a change on the disk.

    Gives the names of the calls, in order.
    """
    calls: list[str] = []

    def counted(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            calls.append(name)
            if len(calls) == number + 1:
                raise fault
            return real(*args, **options)

        return call

    with (
        mock.patch.object(os, "fsync", counted("fsync", os.fsync)),
        mock.patch.object(pathlib.Path, "replace", counted("replace", pathlib.Path.replace)),
        mock.patch.object(pathlib.Path, "mkdir", counted("mkdir", pathlib.Path.mkdir)),
    ):
        yield calls
