"""Installs library sets: by uv where the machine has it, else by pip, always by hash.

What an earlier step of the job left must have no say: the installer gets an
environment of our choosing, none of the user's settings and caches, and a
Python that reads no ``.pth`` and no ``sitecustomize``. What the machine's
administrator set counts: the global ``pip.conf``, ``/etc/uv/uv.toml``, the
proxy. Whatever index they name, the hashes decide what is installed.

Nearly all files of the set for AWS are botocore's models of services that
nothing here asks, and a disk can take longer to make them than the network to
bring them. So an installer works in memory where Linux has some, and only what
is needed is moved from there to the disk.
"""

from __future__ import annotations

import shutil
import site
import stat
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.stores.aws.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LIMIT_SECONDS = 90
_UNFINISHED = ".new-"
_UNFINISHED_IN_MEMORY = ".imip-secrets-new-"
_MEMORY = Path("/dev/shm")  # noqa: S108 - as in any such place, what is made there is for its owner alone
_MEMORY_NEEDED = 256 * 1024 * 1024
_STALE_SECONDS = 24 * 60 * 60
_UV_SETTINGS = Path("/etc/uv/uv.toml")
_WHAT = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--quiet")

# The names without which a process cannot find its files, its libraries or the network. Compared in upper case.
_KEPT = frozenset(
    {
        *("PATH", "HOME", "LD_LIBRARY_PATH"),
        *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    }
)
# uv: the machine's own certificates, as pip has them (the older name for older versions), and an early end.
_UV_ENVIRONMENT = {
    "UV_SYSTEM_CERTS": "true",
    "UV_NATIVE_TLS": "true",
    "UV_HTTP_TIMEOUT": "15",
    "UV_HTTP_RETRIES": "1",
}
# pip, found without the `site` module, which would run every `.pth` and `sitecustomize` of this Python.
_PIP = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); sys.argv[0] = 'pip'; "
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)


def install(wanted: Mapping[Path, Path], environ: Mapping[str, str]) -> None:
    """Install each lock as the folder it belongs to, all at once.

    A folder appears whole or not at all: it is filled under another name and
    then renamed. It lacks what no run can need. Where two runs install the same
    set, the first to finish wins.

    Args:
        wanted: For each lock its folder. All folders have the same parent.
        environ: The environment that an installer's is chosen from.

    Raises:
        ImipError: A set cannot be installed; says why and what to do.

    """
    parent = next(iter(wanted.values())).parent
    _remove_stale(parent, _UNFINISHED)
    _remove_stale(_MEMORY, _UNFINISHED_IN_MEMORY)
    try:
        with (
            TemporaryDirectory(prefix=_UNFINISHED, dir=parent, ignore_cleanup_errors=True) as unfinished,
            _work_folder(unfinished) as work,
            ThreadPoolExecutor(len(wanted)) as pool,
        ):
            installers = list(_installers(Path(work), environ))

            def install_one(lock: Path, place: Path) -> None:
                taken = Path(unfinished, place.name)
                _take(_installed(installers, lock, Path(work), environ), taken)
                _settle(taken, place)

            list(pool.map(install_one, wanted, wanted.values()))
    except OSError as error:
        what = f"the libraries could not be written to {parent}: {error.strerror}"
        raise ImipError(Problem(what, remedy="Make room there, or give RUNNER_TOOL_CACHE another place.")) from None


def _remove_stale(parent: Path, prefix: str) -> None:
    """Remove what killed runs left behind, long enough ago that nobody is still at it."""
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError):  # another run removed it
            if time.time() - folder.lstat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _work_folder(disk: str) -> TemporaryDirectory[str]:
    """Make the folder that installers work in: in memory, if there is enough that nobody else can rename."""
    if sys.platform == "linux":
        with suppress(OSError):
            enough = shutil.disk_usage(_MEMORY).free >= _MEMORY_NEEDED
            if enough and _MEMORY.stat().st_mode & stat.S_ISVTX:
                return TemporaryDirectory(prefix=_UNFINISHED_IN_MEMORY, dir=_MEMORY, ignore_cleanup_errors=True)
    return TemporaryDirectory(dir=disk, ignore_cleanup_errors=True)


def _installers(work: Path, environ: Mapping[str, str]) -> Iterator[Sequence[str]]:
    """Give the commands that can install on this machine, the fastest first."""
    uv = shutil.which("uv", path=environ.get("PATH", ""))
    if uv:
        settings = ("--config-file", str(_UV_SETTINGS)) if _UV_SETTINGS.is_file() else ("--no-config",)
        python = ("--python", str(_bare_python(work / "python")), "--no-python-downloads")
        # A cache of its own, beside the target, so that each file is written once; it goes with the work folder.
        cache = ("--cache-dir", str(work / "cache"), "--link-mode", "hardlink")
        yield uv, *settings, "pip", "install", *python, *cache, *_WHAT
    pip = _pip()
    if pip:
        yield (
            *(sys.executable, "-I", "-S", "-X", "utf8", "-c", _PIP, pip, "--isolated", "install", *_WHAT),
            *("--no-compile", "--no-cache-dir", "--no-input", "--disable-pip-version-check"),
            *("--timeout", "15", "--retries", "1"),
        )
    if not uv and not pip:
        raise ImipError(
            Problem(
                f"{sys.executable} has no pip to install libraries with, and there is no uv",
                remedy="Install pip (python3-pip, py3-pip) or uv on this machine, or put a step with "
                "actions/setup-python before this one.",
            )
        )


def _bare_python(folder: Path) -> Path:
    """Make a Python without any package: uv asks it for its version, and lets it run its ``.pth`` files first."""
    from venv import EnvBuilder  # noqa: PLC0415 - for uv alone

    windows = sys.platform == "win32"
    EnvBuilder(with_pip=False, symlinks=not windows).create(folder)
    return folder / ("Scripts/python.exe" if windows else "bin/python")


def _pip() -> str | None:
    """Find pip: as it is installed, else in the wheel that comes with Python."""
    for folder in site.getsitepackages([sys.base_prefix]):
        if Path(folder, "pip", "__main__.py").is_file():
            return folder
    of_system = sysconfig.get_config_var("WHEEL_PKG_DIR")
    bundle = Path(of_system or Path(sysconfig.get_path("stdlib"), "ensurepip", "_bundled"))
    return next((str(wheel) for wheel in bundle.glob("pip-*.whl")), None)


def _installed(installers: Sequence[Sequence[str]], lock: Path, work: Path, environ: Mapping[str, str]) -> Path:
    """Install one set with the first installer that can; return where it is."""
    problem = Problem("")
    for number, command in enumerate(installers):
        target = work / f"{lock.stem}-{number}"
        said = _run([*command, "--target", str(target), "--requirement", str(lock)], work, environ)
        if said is None:
            return target
        problem = _problem(lock.stem, said)
        if _is_mismatch(said):
            break
    raise ImipError(problem)


def _run(command: Sequence[str], work: Path, environ: Mapping[str, str]) -> str | None:
    """Run an installer; return what it said when it failed, or None."""
    kept = {name: value for name, value in environ.items() if name.upper() in _KEPT}
    try:
        done = subprocess.run(
            command,
            cwd=work,
            env=kept | _UV_ENVIRONMENT | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"error: no end after {LIMIT_SECONDS} seconds"
    return done.stdout.decode(errors="replace") if done.returncode else None


def _take(made: Path, place: Path) -> None:
    """Move a set, but for botocore's models of services that are not ours: on the disk, a rename for each file."""
    place.mkdir()
    for entry in made.iterdir():
        if not entry.is_dir():
            shutil.move(entry, place / entry.name)
        elif made.parts[-2:] != ("botocore", "data") or entry.name in SERVICES:
            _take(entry, place / entry.name)


def _settle(made: Path, place: Path) -> None:
    """Give a finished set its name, unless another run was first."""
    for pause in (0.1, 0.5, 2.0):  # Windows refuses for a moment while a virus scanner reads the new files
        with suppress(OSError):
            made.rename(place)
        if place.is_dir():
            return
        time.sleep(pause)
    made.rename(place)


def _is_mismatch(said: str) -> bool:
    """Tell whether an installer met a file whose hash is not in the lock."""
    return "DO NOT MATCH THE HASHES" in said or "Hash mismatch" in said


def _problem(name: str, said: str) -> Problem:
    """Turn what an installer said into what a person needs."""
    if _is_mismatch(said):
        return Problem(
            f"the package index gave other files for the libraries {name!r} than their lock allows",
            remedy="Nothing was installed. A mirror or proxy changes packages: tell whoever runs it.",
        )
    lines = [line for line in said.splitlines() if line.lower().startswith("error")] or said.splitlines()
    return Problem(
        f"the libraries {name!r} could not be installed: {tame(lines[-1] if lines else 'no reason was given')}",
        remedy="Let this machine reach the Python package index, through HTTPS_PROXY where it needs one, or name a "
        "mirror in its global pip.conf.",
    )
