"""``make bench``: whole runs of this action and of others, in turn, on the same servers.

``make bench CASES="aws-1 vault-50"`` runs these alone. The checkouts of the
others are named by PEER_VAULT_ACTION, PEER_AWS_CREDENTIALS and
PEER_AWS_SECRETS. Times of a machine are noise; ratios within one run are what
counts. The action is as a release has it, with its bundle. What is warm: it
ran before from the same folder, so that files are in the system's cache. Cold
is the one run of a folder that was copied just now, as a job downloads it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.contestants import Steps, missing, our_inputs, their_steps
from bench.job import PATH, Cost, Job, StepFailedError
from bench.serve import Servers, secrets
from bench.stores import CASES as STORES
from bench.sync import CASES as SYNC
from stand_ins.step import ROOT, Step, imported, traced_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TOOLS = ROOT / ".cache" / "runner-tools"
MANY = 50
ROUND_TRIP = 0.04
WARM_UP = 2
SYNC_ROUNDS = 3
STORES_ROUNDS = 7
# The one that the step finds, unless it is too old.
PYTHON = shutil.which("python3", path=PATH) or sys.executable


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured, and how far it is to go.

    Args:
        name: As the command line has it.
        kind: The store: ``aws`` or ``vault``.
        count: How many secrets.
        round_trip: The network's, in seconds.
        target: The ratio of our time to theirs, at most.
        cold: The same for a cold run, or 0 where none is measured.
        rounds: How often each side runs, in turn.

    """

    name: str
    kind: str
    count: int
    round_trip: float
    target: float
    cold: float
    rounds: int

    @property
    def title(self) -> str:
        """Say it in words."""
        network = f", {self.round_trip * 1000:.0f} ms round trip" if self.round_trip else ""
        return f"{self.kind}: {self.count} secret{'s' if self.count > 1 else ''} through OIDC{network}"


CASES = (
    Case("aws-1", "aws", 1, 0.0, 0.6, 1.0, 15),
    Case("aws-50", "aws", MANY, ROUND_TRIP, 0.25, 0.0, 7),
    Case("vault-1", "vault", 1, 0.0, 0.9, 1.0, 15),
    Case("vault-50", "vault", MANY, ROUND_TRIP, 0.4, 0.0, 7),
)
# What a run for one store alone must not import.
FOREIGN = {"aws": ("hvac", "requests", "boto3", "github"), "vault": ("boto3", "botocore", "github")}


# From the locks, as on the main branch: with which installer, and how many seconds it may take.
INSTALLERS = {"locks-pip": 7.0, "locks-uv": 2.0}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: numbers as text."""

    what: str
    ours: str
    theirs: str = "-"
    ratio: str = "-"
    target: str = ""
    verdict: str = ""

    def cells(self) -> tuple[str, ...]:
        """Return the cells, in order."""
        return self.what, self.ours, self.theirs, self.ratio, self.target, self.verdict


@dataclass(slots=True)
class Bench:
    """One benchmark: the folder of the action, the step that is run from it, and the lines so far."""

    action: Path
    step: Step
    rows: list[Row] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def measure(self, case: Case, rounds: int) -> None:
        """Measure a case: A B A B.

        Raises:
            StepFailedError: one side did not export what it was asked for.

        """
        wanted = secrets(case.count)
        lacking = missing(case.kind)
        with serving(case) as servers:
            inputs = our_inputs(case.kind, servers, wanted)
            if lacking:
                self.words.append(f"{case.name}: nothing to compare with, for want of {', '.join(lacking)}")
            warm = [lambda _: _play([(self.step.command, self.step.environ(inputs))], servers, wanted)]
            cold = [lambda folder: self._play_cold(inputs, folder, servers, wanted)]
            if not lacking:
                steps = their_steps(case.kind, servers, wanted)
                warm.append(lambda _: _play(steps, servers, wanted))
                cold.append(lambda folder: _play(their_steps(case.kind, servers, wanted, folder), servers, wanted))
            costs = _in_turn(warm, rounds)
            fresh = _in_turn(cold, rounds) if case.cold else []
            if case.count == 1:
                self._look_at_imports(case, servers, inputs)
        print(f" {case.name}", file=sys.stderr)
        self._report(case.title, [[cost.seconds * 1000 for cost in each] for each in costs], "ms", case.target)
        if fresh:
            cold_ms = [[cost.seconds * 1000 for cost in each] for each in fresh]
            self._report(f"{case.title}, cold", cold_ms, "ms", case.cold)
        self._report(
            f"{case.kind}: memory at the peak, {case.name}",
            [[cost.memory / 2**20 for cost in each] for each in costs],
            "MiB",
            1.0,
        )

    def _play_cold(self, inputs: dict[str, str], folder: Path, servers: Servers, wanted: dict[str, str]) -> Cost:
        """Run this action once from a fresh copy of its folder."""
        copy = shutil.copytree(self.action, folder / "action")
        return _play([(self.step.command, Step(folder, copy).environ(inputs))], servers, wanted)

    def measure_locks(self, name: str, rounds: int) -> None:
        """Measure the first run of a checkout on a machine that has no library yet: one secret from AWS."""
        wanted = secrets(1)
        seconds = []
        with serving(CASES[0]) as servers:
            for _ in range(rounds):
                with tempfile.TemporaryDirectory(prefix="imip-bench-") as folder:
                    copy = Path(folder, "action")
                    for part in ("src", "requirements"):
                        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
                    for file in ("action.yml", "launch.py"):
                        shutil.copy(ROOT / file, copy)
                    environ = Step(Path(folder), copy).environ(our_inputs("aws", servers, wanted))
                    path = os.pathsep.join(each for each in PATH.split(os.pathsep) if not Path(each, "uv").exists())
                    if name == "locks-uv":
                        path += os.pathsep + str(Path(sys.executable).parent)
                    (copy / "tools").mkdir()
                    job = {**servers.job, "PATH": path, "RUNNER_TOOL_CACHE": str(copy / "tools")}
                    seconds.append(_play([(self.step.command, environ)], servers, wanted, job).seconds)
                print(".", end="", file=sys.stderr, flush=True)
        print(f" {name}", file=sys.stderr)
        took, limit = median(seconds), INSTALLERS[name]
        self.rows.append(
            Row(
                f"aws: first run from the locks, by {name.removeprefix('locks-')}",
                f"{took:.1f} s",
                target=f"{limit:.0f} s",
                verdict="reached" if took <= limit else "MISSED",
            )
        )

    def _report(self, what: str, numbers: list[list[float]], unit: str, target: float) -> None:
        ours, *theirs = (median(each) for each in numbers)
        if not theirs:
            self.rows.append(Row(what, f"{ours:.0f} {unit}", target=f"{target:.2f}"))
            return
        ratio = ours / theirs[0]
        verdict = "reached" if ratio <= target else "MISSED"
        self.rows.append(
            Row(what, f"{ours:.0f} {unit}", f"{theirs[0]:.0f} {unit}", f"{ratio:.2f}", f"{target:.2f}", verdict)
        )

    def _look_at_imports(self, case: Case, servers: Servers, inputs: dict[str, str]) -> None:
        with tempfile.TemporaryDirectory(prefix="imip-bench-") as folder:
            job = Job(Path(folder), TOOLS, servers.job)
            job.run(traced_command(PYTHON, self.action), self.step.environ(inputs))
            names = imported((Path(folder) / "log").read_text(encoding="utf-8"))
        tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
        found = [name for name in FOREIGN[case.kind] if name in tops]
        # A trace has also what was looked for in vain.
        there = {entry.name.partition(".")[0] for entry in (self.action / "bundle").iterdir()} - {"imip_secrets"}
        self.words.append(f"{case.kind} alone: {len(names)} modules, of libraries {', '.join(sorted(tops & there))}")
        self.rows.append(
            Row(
                f"{case.kind}: libraries that it does not need",
                ", ".join(found) or "none",
                target="none",
                verdict="MISSED" if found else "reached",
            )
        )


@contextmanager
def serving(case: Case) -> Iterator[Servers]:
    """Start the servers, and stop them at the end."""
    command = [sys.executable, "-m", "bench.serve", str(case.round_trip), str(case.count)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            msg = "the servers did not start"
            raise StepFailedError(msg)
        # They end with their standard input, which is closed here.
        yield Servers(**json.loads(line))


def _in_turn(sides: Sequence[Callable[[Path], Cost]], rounds: int) -> list[list[Cost]]:
    """Run each side in turn, each time with an empty folder for what it needs: A B A B."""
    costs: list[list[Cost]] = [[] for _ in sides]
    for number in range(WARM_UP + rounds):
        for play, its_costs in zip(sides, costs, strict=True):
            with tempfile.TemporaryDirectory(prefix="imip-bench-") as folder:
                cost = play(Path(folder))
            if number >= WARM_UP:
                its_costs.append(cost)
        print(".", end="", file=sys.stderr, flush=True)
    return costs


def _play(steps: Steps, servers: Servers, wanted: dict[str, str], environ: dict[str, str] | None = None) -> Cost:
    """Run one side in a job of its own, and see that the job has the secrets."""
    with tempfile.TemporaryDirectory(prefix="imip-bench-") as folder:
        job = Job(Path(folder), TOOLS, environ or servers.job)
        costs = [job.run(command, environ) for command, environ in steps]
        lost = [name for name, value in wanted.items() if job.environ.get(name) != value]
    if lost:
        msg = f"{' '.join(steps[-1][0])} did not export {', '.join(lost)}"
        raise StepFailedError(msg)
    return Cost(sum(cost.seconds for cost in costs), max(cost.memory for cost in costs))


def _show(rows: list[Row]) -> None:
    lines = [("", "this action", "others", "ratio", "at most", ""), *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *rest = (
            cell.ljust(width) if not number else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join([first, *rest]).rstrip())


def _release(action: Path) -> Path:
    """Make the folder of the action as a release has it; in a process of its own, since this one must stay small."""
    action.mkdir()
    for name in ("action.yml", "launch.py"):
        shutil.copy(ROOT / name, action)
    shutil.copytree(ROOT / "requirements", action / "requirements")
    subprocess.run([sys.executable, "-m", "release.bundle", str(action / "bundle")], cwd=ROOT, check=True)
    return action


def main() -> int:
    """Run the cases that are asked for, and print the table."""
    known = [*(case.name for case in CASES), *SYNC, *STORES, *INSTALLERS]
    parser = argparse.ArgumentParser(description="Measure whole runs; medians, in turn.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(known)}")
    parser.add_argument("--rounds", type=int, help="how often each side runs")
    asked = parser.parse_args()
    unknown = set(asked.cases) - set(known)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="imip-bench-") as folder:
        action = _release(Path(folder, "action"))
        bench = Bench(action, Step(Path(folder), action))
        for case in CASES:
            if not asked.cases or case.name in asked.cases:
                bench.measure(case, asked.rounds or case.rounds)
        for name, measured in SYNC.items():
            if not asked.cases or name in asked.cases:
                bench.rows += [Row(*cells) for cells in measured(asked.rounds or SYNC_ROUNDS)]
                print(f". {name}", file=sys.stderr)
        for name, measured_stores in STORES.items():
            if not asked.cases or name in asked.cases:
                bench.rows += [Row(*cells) for cells in measured_stores(asked.rounds or STORES_ROUNDS)]
                print(f". {name}", file=sys.stderr)
        for name in INSTALLERS:
            if not asked.cases or name in asked.cases:
                bench.measure_locks(name, asked.rounds or 3)
    versions = [
        subprocess.check_output([name, "--version"], text=True).strip()
        for name in (PYTHON, shutil.which("node"))
        if name
    ]
    print(f"\nMedians of runs in turn; {PYTHON} is {', node is '.join(versions)}.\n")
    _show(bench.rows)
    print()
    print("\n".join(bench.words))
    return 0


if __name__ == "__main__":
    sys.exit(main())
