"""A job on GitHub's runner: its folder, its files, its environment from step to step; and what each step took.

The process that measures must be smaller than what it measures: Linux counts
its memory as a child's own at the moment before the child's program is loaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner_model.env_file import parse_env_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILES = ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STATE", "GITHUB_STEP_SUMMARY")
LIMIT_SECONDS = 60.0
# Where a hosted runner's own Python is found; this one, and the installer beside it, where the system has none.
PATH = os.pathsep.join(
    [
        "/usr/local/bin",
        "/usr/bin",
        "/bin",
        str(Path(os.path.realpath(sys.executable)).parent),
        str(Path(sys.executable).parent),
    ]
)
# How the systems count: getrusage(2), ru_maxrss.
_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took: seconds by the clock on the wall, and bytes of memory at the peak."""

    seconds: float
    memory: int


class StepFailedError(Exception):
    """A step failed, or did not do what it was for."""


class Job:
    """One job.

    Args:
        folder: Its own, empty.
        tools: The runner's tool cache, which outlives jobs.
        environ: What it starts with besides.

    """

    def __init__(self, folder: Path, tools: Path, environ: Mapping[str, str]) -> None:
        """Prepare the environment."""
        self._folder = folder
        (folder / "home").mkdir()
        self.environ = {
            "PATH": PATH,
            "HOME": str(folder / "home"),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION": "bench",
            "GITHUB_WORKSPACE": str(folder),
            "RUNNER_TEMP": str(folder),
            "RUNNER_TOOL_CACHE": str(tools),
            "RUNNER_OS": "Linux",
            "LANG": "C.UTF-8",
            **environ,
        }

    def run(self, command: Sequence[str], environ: Mapping[str, str]) -> Cost:
        """Run a step; what it exports is there for the next.

        Raises:
            StepFailedError: its status is not 0, or it took longer than a minute.

        """
        files = {name: str(self._folder / name.lower()) for name in FILES}
        for file in files.values():
            Path(file).write_bytes(b"")
        log = self._folder / "log"
        with log.open("wb") as output:
            status, cost = measure(command, {**self.environ, **environ, **files}, self._folder, output.fileno())
        if status:
            msg = f"{' '.join(command)} ended with status {status}:\n{log.read_text(errors='replace')[-2000:]}"
            raise StepFailedError(msg)
        self.environ.update(parse_env_file(Path(files["GITHUB_ENV"]).read_bytes()))
        return cost


def measure(
    command: Sequence[str], environ: Mapping[str, str], folder: Path, output: int, limit: float = LIMIT_SECONDS
) -> tuple[int, Cost]:
    """Run a program to its end, or until the limit; return its status, and what it cost."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=output
    )
    watchdog = threading.Timer(limit, process.kill)
    watchdog.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    finally:
        watchdog.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, Cost(seconds, usage.ru_maxrss * _UNIT)
