"""Finishes the image from inside, in the build, with the Python that the image will have.

It takes out of the base what the program never runs (installers, Perl, the
parts of Python that are for developers, programs that run as root for anybody)
and puts the program's own files where the entry points expect them.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import shutil
import stat
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent

# What the base has and the program does not need, below the root. Debian's list of packages stays, for scanners, and so
# do the licences.
NEEDLESS = (
    *("usr/bin/apt*", "usr/lib/apt", "etc/apt", "var/lib/apt", "var/cache/apt"),
    *("usr/bin/dpkg*", "usr/bin/deb*", "usr/lib/dpkg", "usr/libexec/dpkg", "etc/dpkg", "usr/share/debconf"),
    *("var/lib/dpkg/info/*.p*inst", "var/lib/dpkg/info/*.p*rm", "var/lib/dpkg/info/*.config", "usr/share/bug"),
    *("usr/bin/perl*", "usr/lib/*/perl*", "usr/share/perl*", "usr/bin/update-alternatives"),
    *("usr/sbin/*", "etc/cron.*", "etc/init.d", "etc/rc?.d", "etc/logrotate.d", "etc/systemd", "usr/lib/systemd"),
    *("usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/doc/*/*changelog*", "usr/share/doc/*/*NEWS*"),
    *("usr/local/bin/pip*", "usr/local/bin/idle*", "usr/local/bin/pydoc*", "usr/local/bin/2to3*"),
    *("usr/bin/pydoc*", "usr/bin/pygettext*", "usr/bin/py3*", "usr/share/python3", "usr/lib/python3"),
    *("usr/local/bin/python*-config", "usr/bin/python*-config", "usr/local/include", "usr/local/share/man"),
    *("usr/lib/*/libpython*.a", "var/log/*", "var/cache/*", "root/.cache"),
)
# Of Python's own library: installers, editors, teaching, tests.
NEEDLESS_OF_PYTHON = (
    *("ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tkinter", "turtledemo", "turtle.py"),
    *("config-*", "venv", "EXTERNALLY-MANAGED"),
)
SHEBANG = f"#!{HERE}/python -ISXutf8\n"
START = f"""
__file__ = "{HERE}/launch.py"
with open(__file__, encoding="utf-8") as file:
    exec(file.read())
"""
# The entry points of docker/action.yml. The runner gives one the arguments of the other, so they take none.
ENTRY_POINTS = {
    # Leaves the mark that cleanup/announce.js leaves: the end of this action follows for sure.
    "step": """\
import os, sys

if os.environ.get("RUNNER_TEMP"):
    folder = os.path.join(os.environ["RUNNER_TEMP"], "imip-secrets-" + os.urandom(16).hex())
    os.mkdir(folder, 0o700)
    with open(os.path.join(folder, ".cleanup"), "x"):
        pass
sys.argv[1:] = ["action"]
""",
    "cleanup": """\
import sys

sys.argv[1:] = ["cleanup"]
""",
}


def main() -> None:
    """Do it, and leave no trace of it."""
    wanted = (HERE / "PYTHON").read_text(encoding="utf-8").strip()
    here = "{}.{}".format(*sys.version_info)
    if here != wanted:
        sys.exit(f"the base has Python {here}, and the folder was made for {wanted}: give `make image` PYTHON_IN_IMAGE")
    compile_libraries()
    for file in list(HERE.glob("bundle/**/*.pyc")):
        if not file.name.endswith(f".{sys.implementation.cache_tag}.pyc"):
            file.unlink()
    (HERE / "python").symlink_to(Path(sys.executable).resolve())
    write_starters()
    for place in needless():
        remove(place)
    lower_programs()
    (HERE / "PYTHON").unlink()
    Path(__file__).unlink()


def compile_libraries() -> None:
    """Compile the sets with code for one kind of machine. Nobody can write to them: their sources are not asked for."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(HERE / "libraries", quiet=1, invalidation_mode=mode):
        sys.exit("a library cannot be compiled")


def write_starters() -> None:
    """Make the launcher a command on the PATH, and write the entry points of the action."""
    launcher = HERE / "launch.py"
    texts = {launcher: launcher.read_text(encoding="utf-8")}
    texts |= {HERE / name: text + START for name, text in ENTRY_POINTS.items()}
    for file, text in texts.items():
        file.write_text(SHEBANG + text, encoding="utf-8")
        file.chmod(0o755)
    Path("/usr/local/bin/imip-secrets").symlink_to(launcher)


def needless() -> Iterator[Path]:
    """Give what is to go."""
    root = Path("/")
    for pattern in NEEDLESS:
        yield from root.glob(pattern)
    library = Path(sysconfig.get_path("stdlib"))
    for pattern in NEEDLESS_OF_PYTHON:
        yield from library.glob(pattern)


def remove(place: Path) -> None:
    """Remove a file, a link or a tree."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def lower_programs() -> None:
    """Take the right to run as somebody else from every program."""
    for folder in ("/usr", "/bin", "/sbin"):
        for base, _, names in os.walk(folder):
            for name in names:
                file = Path(base, name)
                mode = file.lstat().st_mode
                if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                    file.chmod(stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID))


if __name__ == "__main__":
    main()
