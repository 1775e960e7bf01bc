"""``make benchscan``: 5 GB of mixed files, 500 secrets in their encodings: no miss, no false hit, how fast, how large.

``make benchscan SIZE=1`` is for 1 GB; ``make test`` does it with 60 MB. The files are made in ``.cache/scan``: source
text, logs, random bytes, base64, hex, JSON in one line, UTF-16, zip and tar.gz.
Every secret is put into one of them in each encoding; what was put where is
what must be found, and nothing else may be.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import random
import shutil
import string
import sys
import tarfile
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets.scan import sweep
from imip_secrets.scan.places import Excluded, files
from imip_secrets.scan.spellings import sought
from job import resolved
from spellings import ENCODINGS
from stand_ins.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[1] / ".cache/scan"
SECRETS = 500
FILE = 64 * 1024 * 1024
FEWEST = 40
LETTERS = string.ascii_letters + string.digits


def main() -> int:
    """Make the files, search them, and print what came of it; return 1 if a figure is missed."""
    parser = argparse.ArgumentParser(description="Measure the scan.")
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to make the files; it is removed")
    options = parser.parse_args()
    folder: Path = options.folder
    chance = random.Random(20)  # noqa: S311 - the same each time
    values = {f"SECRET_{number}": _secret(chance, number) for number in range(SECRETS)}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        expected = _make(folder, chance, values, int(options.gigabytes * 1e9))
        # In a process of its own: making the files takes more memory than searching them.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(_search, folder, values, expected).result()
    finally:
        shutil.rmtree(folder)


def _search(folder: Path, values: dict[str, str], expected: set[tuple[str, str]]) -> int:
    _, result = resolved("\n".join(f"{name} = memory://{name}" for name in values), Memory(values))
    start, wall = time.process_time(), time.perf_counter()
    chosen = sought(result.variables, 4, {})
    sweep.FINDINGS_LIMIT = 1_000_000
    report = sweep.Sweep(chosen).over(files([str(folder)], Excluded([])))
    seconds, waited = time.process_time() - start, time.perf_counter() - wall
    found = {(Path(each.place).name.partition("!")[0], each.name) for each in report.findings}
    memory = int(Path("/proc/self/status").read_text(encoding="utf-8").partition("VmHWM:")[2].split()[0]) * 1024
    speed = report.size / seconds
    rows = [
        ("missed", f"{len(expected - found)}", "0", expected <= found),
        ("found where nothing was put", f"{len(found - expected)}", "0", found <= expected),
        ("speed, processor time", f"{speed * 60 / 1e9:.2f} GB/min", "1 GB/min", speed * 60 >= 1e9),  # noqa: PLR2004 - the figure
        ("speed, by the clock", f"{report.size * 60 / 1e9 / waited:.2f} GB/min", "", True),
        ("memory at the peak", f"{memory / 2**20:.0f} MiB", "under 200 MiB", memory < 200 * 2**20),
    ]
    print(f"{report.size / 1e9:.2f} GB in {report.files} files, {len(chosen.cores)} texts of {len(values)} secrets;")
    print(f"{len(expected)} pairs of a secret and a file, {len(report.findings)} findings, unread: {report.unread}\n")
    for what, figure, target, reached in rows:
        print(f"{what:<32} {figure:>16}  {target:<14} {'reached' if reached else 'MISSED'}")
    return 0 if all(reached for *_, reached in rows) else 1


def _secret(chance: random.Random, number: int) -> str:
    kind = number % 5
    if kind == 0:
        return "".join(chance.choices(LETTERS, k=chance.randint(12, 64)))
    if kind == 1:
        return "p" + "".join(chance.choices(LETTERS + "!@#$%^&*()-_=+/'\"<>\\ ", k=chance.randint(10, 40))) + "q"
    if kind == 2:  # noqa: PLR2004 - kinds are counted
        return f"mongodb+srv://imip:{''.join(chance.choices(LETTERS, k=20))}@cluster.mongodb.net/imip?w=majority"
    if kind == 3:  # noqa: PLR2004 - kinds are counted
        return "".join(chance.choices(string.hexdigits.lower(), k=40))
    return "Zür" + "".join(chance.choices("äöüéßλж" + LETTERS, k=chance.randint(10, 30)))


def _make(folder: Path, chance: random.Random, values: dict[str, str], size: int) -> set[tuple[str, str]]:
    """Make the files; return which value stands in which."""
    kinds = [_source, _log, _noise, _base64, _hex, _json]
    expected: set[tuple[str, str]] = set()
    names = [f"{number:03}" for number in range(max(FEWEST, size // FILE))]
    length = min(FILE, size // len(names))
    placed: dict[str, list[tuple[str, str, str]]] = {name: [] for name in names}
    for index, (name, value) in enumerate(values.items()):
        for way, encode in enumerate(ENCODINGS):
            placed[names[(index + way * 7) % len(names)]].append((name, value, encode))
    for number, file in enumerate(names):
        block = b"".join(kinds[number % len(kinds)](chance))
        data = (block * (1 + length // len(block)))[:length]
        at = [data.find(b"\n", chance.randrange(length)) + 1 for _ in placed[file]]
        pieces, before = [], 0
        for place, (name, value, encode) in sorted(zip(at, placed[file], strict=True)):
            pieces += [data[before:place], f"x={ENCODINGS[encode](value)}\n".encode()]
            before = place
            expected.add((file, name))
        _write(folder / file, b"".join([*pieces, data[before:]]), number % FEWEST)
    return expected


def _write(path: Path, data: bytes, number: int) -> None:
    if number == FEWEST - 3:  # a few are archives
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("inside", data)
    elif number == FEWEST - 2:
        with tarfile.open(path, "w:gz", compresslevel=1) as packed:
            member = tarfile.TarInfo("inside")
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    else:
        path.write_bytes(data)


def _source(_: random.Random) -> Iterator[bytes]:
    folder = Path(os.__file__).parent
    for path in sorted(folder.glob("*.py")):
        yield path.read_bytes()


def _log(chance: random.Random) -> Iterator[bytes]:
    for number in range(20_000):
        key = "".join(chance.choices(LETTERS, k=24))
        yield f"2026-11-27T21:00:{number % 60:02}Z INFO request={key} status=200 path=/api/v1/{number}\n".encode()


def _noise(chance: random.Random) -> Iterator[bytes]:
    yield chance.randbytes(8_000_000)


def _base64(chance: random.Random) -> Iterator[bytes]:
    yield base64.encodebytes(chance.randbytes(4_000_000))


def _hex(chance: random.Random) -> Iterator[bytes]:
    for _ in range(60_000):
        yield chance.randbytes(32).hex().encode() + b"\n"


def _json(chance: random.Random) -> Iterator[bytes]:
    rows = [{"id": chance.getrandbits(64), "token": "".join(chance.choices(LETTERS, k=32))} for _ in range(40_000)]
    yield json.dumps(rows).encode() + b"\n"


if __name__ == "__main__":
    sys.exit(main())
