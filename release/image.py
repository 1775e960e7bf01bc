"""``make image``: the folder that the image is built of.

``python -m release.image FOLDER --bundle BUNDLE --python 3.13`` puts together
the launcher, the bundle as it is released, and the library sets that are not
in it, by their locks, for the Python and the processor of the image. The build
itself needs no network then, and no installer.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from release.contents import SETS as BUNDLED

ROOT = Path(__file__).parents[1]
# Debian 12 has glibc 2.36.
PLATFORM = "manylinux_2_28"
# What is for installers and developers alone.
_NEEDLESS = ("bin", "*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED", "**/*.pyi", "**/py.typed")


def base_python(dockerfile: str) -> str:
    """Return the version of Python that the base of a Dockerfile has, by its name."""
    found = re.search(r"^ARG BASE_IMAGE=\S*?/python:(\d+\.\d+)-", dockerfile, re.MULTILINE)
    if found is None:
        msg = "the Dockerfile's BASE_IMAGE does not say its Python"
        raise ValueError(msg)
    return found[1]


def sets() -> list[str]:
    """Return the library sets that the program may ask for and that are not in the bundle."""
    locks = (path.stem for path in (ROOT / "requirements").glob("*.txt"))
    return sorted(name for name in locks if name != "dev" and name not in BUNDLED)


def build(folder: Path, bundle: Path, python: str, machine: str) -> None:
    """Fill a folder that is not there yet."""
    folder.mkdir(parents=True)
    for name in ("launch.py", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copyfile(Path(__file__).with_name("finish.py"), folder / "finish.py")
    shutil.copytree(bundle, folder / "bundle")
    (folder / "PYTHON").write_text(f"{python}\n", encoding="utf-8")
    _install(folder / "libraries", python, machine)


def _install(folder: Path, python: str, machine: str) -> None:
    """Install the sets as one folder: a package has one version in all locks."""
    uv = Path(sys.executable).with_name("uv")
    command = [
        *(str(uv), "--no-config", "pip", "install", "--quiet", "--target", str(folder), "--link-mode", "copy"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-python-downloads"),
        *("--python-version", python, "--python-platform", f"{machine}-{PLATFORM}"),
    ]
    for name in sets():
        command += ["--requirement", str(ROOT / "requirements" / f"{name}.txt")]
    subprocess.run(command, check=True)
    for pattern in _NEEDLESS:
        for place in list(folder.glob(pattern)):
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    (folder / ".lock").unlink(missing_ok=True)


def main() -> int:
    """Build the folder, and say for what."""
    parser = argparse.ArgumentParser(description="Make the folder that the image is built of.")
    parser.add_argument("folder", type=Path, help="where to; what is there is replaced")
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle, as `make bundle` makes it")
    parser.add_argument("--python", metavar="X.Y", help="the base's Python (default: that of the Dockerfile)")
    parser.add_argument("--machine", default=platform.machine(), choices=("x86_64", "aarch64"), help="the processor")
    given = parser.parse_args()
    python = given.python or base_python((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    shutil.rmtree(given.folder, ignore_errors=True)
    build(given.folder, given.bundle, python, given.machine)
    print(f"{given.folder}: Python {python}, {given.machine}, with the sets {', '.join(sets())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
