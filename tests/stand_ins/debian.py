"""A base image that is made of the Debian (or Ubuntu) packages of this machine's own sources, for where no registry is.

``debootstrap`` takes the packages from the mirror that apt is set up with, and
checks them with the distribution's own keys. It takes a minute or two, so the
result is kept below ``.cache``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

TOOLS = ("debootstrap", "apt-get")
PACKAGES = "python3,ca-certificates"
ENDS_WITHIN = 900.0
# debootstrap is the administrator's.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def lacking() -> str:
    """Return why no base can be made here, or ""."""
    if os.name != "posix" or not Path("/etc/debian_version").exists():
        return "a base is made of Debian's packages, on Debian or Ubuntu"
    if os.geteuid() != 0:
        return "a base is made as root"
    missing = [name for name in TOOLS if shutil.which(name, path=_PATH) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def tree(folder: Path) -> Path:
    """Return the file system of a base, which is made if it is not there yet."""
    suite = _release()["VERSION_CODENAME"]
    made = folder / f"base-{suite}"
    if made.is_dir():
        return made
    unfinished = folder / f"base-{suite}.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    mirror = _mirror(folder / "lists", suite)
    environ = {**os.environ, "PATH": _PATH, **_proxy()}
    what = ["--variant=minbase", f"--include={PACKAGES}", suite, str(unfinished), mirror]
    _run(["debootstrap", *what], environ)
    for packages in (unfinished / "var/cache/apt/archives").glob("*.deb"):
        packages.unlink()
    shutil.rmtree(unfinished / "var/lib/apt/lists")
    unfinished.rename(made)
    return made


def python(base: Path) -> str:
    """Return the version of a base's Python, as X.Y."""
    return (base / "usr/bin/python3").readlink().name.removeprefix("python")


def _release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def _mirror(lists: Path, suite: str) -> str:
    """Ask apt where it takes the distribution from; what it needs to read for that goes to a folder of ours."""
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    apart = ["-o", f"Dir::State::lists={lists}", "-o", "APT::Sandbox::User=root"]
    _run(["apt-get", "-qq", *apart, "update"], dict(os.environ))
    wanted = ["--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    told = _run(["apt-get", *apart, "indextargets", *wanted], dict(os.environ))
    found = [words[2] for words in map(str.split, told.splitlines()) if words[:2] == [suite, "main"]]
    if not found:
        msg = f"apt knows no source of {suite} main"
        raise RuntimeError(msg)
    return found[0]


def _proxy() -> dict[str, str]:
    """Give the proxy that apt goes by, in the variable that debootstrap's wget reads."""
    told = _run(["apt-config", "shell", "proxy", "Acquire::http::Proxy"], dict(os.environ))
    _, _, proxy = told.strip().partition("=")
    return {"http_proxy": proxy.strip("'")} if proxy else {}


def _run(command: list[str], environ: dict[str, str]) -> str:
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=ENDS_WITHIN, check=False)
    if done.returncode:
        msg = f"{command[0]} failed ({done.returncode}): {(done.stderr or done.stdout)[-2000:]}"
        raise RuntimeError(msg)
    return done.stdout
