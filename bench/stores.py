"""All stores in one run against each alone; and many secrets of Azure against one after the other.

Measured on the command line, which reads dotenv files too. Everything is in a
network of 40 ms: the stores' services, Entra ID, STS and the runner's endpoint
for ID tokens.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imip_secrets.settings import BY_NAME
from imip_secrets.stores.base import Target
from stand_ins.aws import Aws
from stand_ins.delay import DelayProxy
from stand_ins.family import HARNESSES, OfAws, reference
from stand_ins.oidc import Issuer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    # A line of the table: what, this action, the other side, ratio, at most, verdict.
    Cells = tuple[str, str, str, str, str, str]

ROUND_TRIP = 0.04
EACH = 10
MANY = 50
LIMIT_SECONDS = 60
_ADDRESSES = ("aws-endpoint-url", "vault-addr", "azure-authority-host")


@dataclass
class Far:
    """A store behind the network.

    Args:
        settings: Its inputs.
        lines: What is asked of it.

    """

    settings: Mapping[str, str]
    lines: list[str]


@dataclass
class World:
    """Every store, filled, behind a network."""

    folder: Path
    stack: ExitStack
    stores: dict[str, Far] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)

    def build(self, counts: Mapping[str, int]) -> None:
        """Start every service that is wanted, and put so many secrets into each."""
        issuer = self.stack.enter_context(Issuer())
        self.environ = {**issuer.environ(), "GITHUB_ACTIONS": "true"}
        self.environ["ACTIONS_ID_TOKEN_REQUEST_URL"] = self._far(issuer.request_url)
        # One address serves both stores of AWS.
        aws = self.stack.enter_context(Aws())
        for scheme, count in counts.items():
            made = HARNESSES[scheme](issuer)
            if isinstance(made, OfAws):
                made.aws = aws
            harness = self.stack.enter_context(made)
            targets = [harness.put(f"s{number:02}", f"value {number}") for number in range(count)]
            settings = {
                name: self._far(text) if name in _ADDRESSES else text for name, text in harness.settings.items()
            }
            if scheme == "azure":
                # Its vault is on the same address as its Entra ID.
                host = urlsplit(settings["azure-authority-host"]).netloc
                targets = [Target(f"{host}/{target.path.partition('/')[2]}") for target in targets]
            names = (f"{scheme.upper().replace('-', '_')}_{number:02}" for number in range(count))
            lines = [f"{name} = {reference(harness, target)}" for name, target in zip(names, targets, strict=True)]
            self.stores[scheme] = Far(settings, lines)

    def _far(self, url: str) -> str:
        parts = urlsplit(url)
        proxy = self.stack.enter_context(DelayProxy(parts.hostname or "", parts.port or 0, ROUND_TRIP))
        return url.replace(f"{parts.scheme}://{parts.netloc}", f"{parts.scheme}://127.0.0.1:{proxy.port}")

    def run(self, schemes: Iterable[str], lines: slice = slice(None)) -> float:
        """Run the program for some stores; return the seconds that it took."""
        stores = [self.stores[scheme] for scheme in schemes]
        settings = {name: text for store in stores for name, text in store.settings.items()}
        wanted = [line for store in stores for line in store.lines[lines]]
        references = self.folder / "references"
        references.write_text("\n".join(wanted), encoding="utf-8")
        command = [sys.executable, "-m", "imip_secrets", "export", "--format", "json", "--file", str(references)]
        for name, text in settings.items():
            command += [f"--{name}", self._file(name, text) if BY_NAME[name].kind == "lines" else text]
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.environ}
        started = time.perf_counter()
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False, cwd=self.folder
        )
        took = time.perf_counter() - started
        if done.returncode or len(_values(done.stdout)) != len(wanted):
            msg = f"the run failed: {done.stderr[-2000:]}"
            raise RuntimeError(msg)
        return took

    def _file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)


def _values(output: str) -> dict[str, str]:
    """Return what was exported; the commands of the runner's log come before it."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    values: dict[str, str] = json.loads(lines[-1]) if lines else {}
    return values


def all_at_once(rounds: int) -> list[Cells]:
    """Measure one run with every store against each alone: at most 1.3 times the slowest."""
    with ExitStack() as stack:
        world = World(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imip-bench-"))), stack)
        world.build(dict.fromkeys(HARNESSES, EACH))
        sides = [list(HARNESSES), *([scheme] for scheme in HARNESSES)]
        times = _in_turn([partial(world.run, side) for side in sides], rounds)
        together, *alone = times
        slowest = max(range(len(alone)), key=lambda number: alone[number])
        for scheme, seconds in zip(HARNESSES, alone, strict=True):
            print(f"  {scheme} alone: {seconds * 1000:.0f} ms", file=sys.stderr)
        what = f"{len(HARNESSES)} stores, {EACH} secrets each, 40 ms round trip"
        return [_cells(what, together, f"{sides[slowest + 1][0]} alone, the slowest", alone[slowest], 1.3)]


def azure_many(rounds: int) -> list[Cells]:
    """Measure fifty secrets of Azure against fifty that are read one after the other, in runs of their own login."""
    with ExitStack() as stack:
        world = World(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imip-bench-"))), stack)
        world.build({"azure": MANY})
        one, many = _in_turn([partial(world.run, ["azure"], slice(1)), partial(world.run, ["azure"])], rounds)
        # What one after the other takes at the least: the run for one, and a round trip for each further secret.
        serial = one + (MANY - 1) * ROUND_TRIP
        reading = max(0.0, many - one) + ROUND_TRIP
        what = f"azure: {MANY} secrets, 40 ms round trip"
        return [
            _cells(f"{what}, the whole run", many, "one after the other", serial, 1.0),
            _cells(f"{what}, the reading alone", reading, "one after the other", MANY * ROUND_TRIP, 0.2),
        ]


def _cells(what: str, ours: float, against: str, theirs: float, target: float) -> Cells:
    ratio = ours / theirs
    verdict = "reached" if ratio <= target else "MISSED"
    times = (f"{ours * 1000:.0f} ms", f"{theirs * 1000:.0f} ms")
    return f"{what}, against {against}", *times, f"{ratio:.2f}", f"{target:.2f}", verdict


def _in_turn(sides: list[Callable[[], float]], rounds: int) -> list[float]:
    """Run every side in turn, once to warm up; return the median of each."""
    times: list[list[float]] = [[] for _ in sides]
    for number in range(rounds + 1):
        for side, its_times in zip(sides, times, strict=True):
            took = side()
            if number:
                its_times.append(took)
    return [sorted(each)[len(each) // 2] for each in times]


CASES: Mapping[str, Callable[[int], list[Cells]]] = {
    "stores-5": all_at_once,
    "azure-50": azure_many,
}
