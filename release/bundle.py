"""``make bundle``: from the locks and this checkout, the folder that a release has beside ``launch.py``.

``python -m release.bundle FOLDER`` writes the tree, with the byte-code of each
Python that is found, and beside it the same as an archive, and prints their
digests. The same checkout gives the same bytes, wherever it is built; only
which Pythons there are makes a difference, and the digest of the sources none.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from release.contents import PYTHONS, REPLACED, SETS, has_byte_code, is_kept, keeps_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).parents[1]
MANIFEST = "MANIFEST"
_BYTECODE = Path(__file__).with_name("bytecode.py")
_DOCUMENTATION = "documentation"


def build(folder: Path, pythons: Sequence[Path]) -> None:
    """Write the bundle to a folder that is made for it.

    Args:
        folder: Must not be there yet.
        pythons: Whose byte-code it is to have.

    """
    folder.mkdir(parents=True)
    for path, content in sorted(_files()):
        _write(folder / path, content)
    for python in pythons:
        _compile(folder, python)
    seal(folder)


def seal(folder: Path) -> None:
    """Write the manifest: the digest of every file, as sha256sum writes and checks them."""
    lines = (f"{sha256(file.read_bytes()).hexdigest()}  {path}\n" for path, file in _listed(folder))
    (folder / MANIFEST).write_bytes("".join(lines).encode())


def digest(folder: Path, *, sources: bool = False) -> str:
    """Return the digest of a whole bundle, or of all but the byte-code: that of the manifest's lines."""
    lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines(keepends=True)
    kept = (line for line in lines if not (sources and line.endswith(".pyc\n")))
    return sha256("".join(kept).encode()).hexdigest()


def archive(folder: Path) -> bytes:
    """Return the bundle as a .tar.gz that knows no time and no user, as GitHub makes them for a download."""
    stream = BytesIO()
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=6, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path, file in [*_listed(folder), (MANIFEST, folder / MANIFEST)]:
            facts = tarfile.TarInfo(f"bundle/{path}")
            facts.size = file.stat().st_size
            tar.addfile(facts, BytesIO(file.read_bytes()))
    return stream.getvalue()


def find_pythons() -> list[Path]:
    """Find a Python of each version that the bundle is for: on the PATH, of pyenv, in the runner's tool cache."""
    return [python for version in PYTHONS if (python := _find(*version)) is not None]


def _find(major: int, minor: int) -> Path | None:
    name = f"python{major}.{minor}"
    tools = Path(os.environ.get("RUNNER_TOOL_CACHE") or os.devnull, "Python")
    places = [
        *sorted(tools.glob(f"{major}.{minor}.*/*/bin/{name}")),
        *sorted(Path.home().glob(f".pyenv/versions/{major}.{minor}.*/bin/{name}")),
    ]
    on_path = shutil.which(name)
    return next(filter(_starts, [*places, *([Path(on_path)] if on_path else [])]), None)


def _starts(python: Path) -> bool:
    """Tell whether it is a Python: pyenv puts scripts of these names on the PATH for versions that are not there."""
    try:
        return subprocess.run([python, "-I", "-S", "-c", ""], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _files() -> Iterator[tuple[str, bytes]]:
    """Give the package, the libraries with their licences, and the locks that they are from."""
    source = ROOT / "src"
    for file in (source / "imip_secrets").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file.relative_to(source).as_posix(), file.read_bytes()
    for name in SETS:
        yield f"requirements/{name}.txt", (ROOT / "requirements" / f"{name}.txt").read_bytes()
    with TemporaryDirectory(prefix="imip-wheels-") as folder:
        _download(Path(folder))
        for wheel in Path(folder).iterdir():
            yield from _unpacked(wheel)


def _download(folder: Path) -> None:
    """Get the wheels that the locks name, by hash; only such as are for every machine."""
    command = [
        *(sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "download", "--quiet"),
        *("--require-hashes", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)),
        *("--platform", "any", "--implementation", "py", "--abi", "none"),
        *("--python-version", ".".join(map(str, PYTHONS[0]))),
    ]
    for name in SETS:
        command += ["--requirement", str(ROOT / "requirements" / f"{name}.txt")]
    subprocess.run(command, check=True)


def _unpacked(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Give what the bundle has of a wheel."""
    distribution = "-".join(wheel.stem.split("-")[:2])
    with ZipFile(wheel) as files:
        names = [name for name in files.namelist() if not name.endswith("/")]
        code = [name for name in names if ".dist-info/" not in name and ".data/" not in name and is_kept(name)]
        if not code:
            return
        for name in code:
            yield _slim(name, REPLACED.get(name, files.read(name)))
        for name in names:
            if ".dist-info/" in name and _is_licence(name):
                yield f"licences/{distribution}/{name.rpartition('/')[2]}", files.read(name)


def _is_licence(path: str) -> bool:
    return path.rpartition("/")[2].upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))


def _slim(path: str, content: bytes) -> tuple[str, bytes]:
    """Give a model of botocore without what it says for people: it is a fifth then, and read in as much less time."""
    if not path.startswith("botocore/data/"):
        return path, content
    text = gzip.decompress(content) if path.endswith(".gz") else content
    model = _without_documentation(json.loads(text))
    return path.removesuffix(".gz"), json.dumps(model, separators=(",", ":")).encode()


def _without_documentation(node: Any) -> Any:  # noqa: ANN401  # JSON
    """Leave out the documentation, which is text; what only has that name is an object, and stays."""
    if isinstance(node, dict):
        return {
            name: _without_documentation(value)
            for name, value in node.items()
            if not (name == _DOCUMENTATION and isinstance(value, str))
        }
    return [_without_documentation(value) for value in node] if isinstance(node, list) else node


def _write(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)


def _compile(folder: Path, python: Path) -> None:
    names = [path for path, _ in _listed(folder) if path.endswith(".py") and has_byte_code(path)]
    lines = "".join(f"{'' if keeps_lines(name) else '-'}{name}\n" for name in names)
    command = [str(python), "-S", "-s", "-W", "ignore", "-X", "no_debug_ranges", str(_BYTECODE), str(folder)]
    subprocess.run(command, input=lines.encode(), env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}, check=True)


def _listed(folder: Path) -> Iterable[tuple[str, Path]]:
    """Give the files of a bundle but its manifest, by their paths in it, in order."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    files.pop(MANIFEST, None)
    return sorted(files.items())


def main() -> int:
    """Build, and say what was built."""
    parser = argparse.ArgumentParser(description="Build the bundle of a release.")
    parser.add_argument("folder", type=Path, help="where to; what is there is replaced")
    folder: Path = parser.parse_args().folder
    pythons = find_pythons()
    shutil.rmtree(folder, ignore_errors=True)
    build(folder, pythons)
    packed = archive(folder)
    file = folder.with_name("imip-secrets-bundle.tar.gz")
    file.write_bytes(packed)
    print(f"Pythons   {', '.join(python.name.removeprefix('python') for python in pythons) or 'none'}")
    print(f"files     {sum(1 for _ in _listed(folder))}")
    print(f"archive   {len(packed) / 1e6:.2f} MB  {file}")
    print(f"sources   sha256:{digest(folder, sources=True)}")
    print(f"bundle    sha256:{digest(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
