"""What a sync costs: whole runs of the command line, beside ``gh`` and PyGithub where they can do the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import IO, TYPE_CHECKING, Any, cast

from bench.job import Cost, StepFailedError, measure
from bench.sync_setting import HOME, MANIFEST, OWNER, SECRET, Places, Setting, names, values
from stand_ins import gh
from stand_ins.step import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

REPOSITORIES, SECRETS, DELAY = 10, 10, 0.05
MANY_REPOSITORIES, MANY_SECRETS = 1000, 20
# What is to be reached: a look-up, a listing and a key for each repository, its writes, and three for the manifest.
PUSH_REQUESTS = 3 * REPOSITORIES + REPOSITORIES * SECRETS + 3
PLAN_SECONDS, PLAN_MIB, MANIFEST_KB, OFF = 60, 200, 48, 0.1
LONG = 600.0
EVERYTHING = os.pathsep.join(map(str, (ROOT, ROOT / "src", ROOT / "tests")))
CELLS = tuple[str, str, str, str, str, str]

# What somebody writes who follows PyGithub's pages.
PYGITHUB = """
import json, os, github
hub = github.Github(auth=github.Auth.Token(os.environ["GH_TOKEN"]), base_url=os.environ["API"])
for name in json.loads(os.environ["REPOSITORIES"]):
    repository = hub.get_repo(name)
    for secret, value in json.loads(os.environ["VALUES"]).items():
        repository.create_secret(secret, value)
"""


class Servers:
    """The servers, and their questions.

    Args:
        places: Where they are.
        ask: Where questions go.
        told: Where answers come from.

    """

    def __init__(self, places: Places, ask: IO[str], told: IO[str]) -> None:
        """Take what there is."""
        self.places, self._ask, self._told = places, ask, told

    def question(self, text: str) -> Any:  # noqa: ANN401 - JSON
        """Ask, and wait for the answer."""
        self._ask.write(f"{text}\n")
        self._ask.flush()
        return json.loads(self._told.readline())

    def counts(self) -> tuple[int, int, int]:
        """Return how many requests GitHub was sent since the last time, how many it refused, and their points."""
        counts, refused, points = self.question("counts")
        return sum(counts.values()), refused, points


@contextmanager
def serving(setting: Setting) -> Iterator[Servers]:
    """Start the servers, and stop them at the end."""
    command = [sys.executable, "-m", "bench.serve_sync", json.dumps(asdict(setting))]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        ask, told = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
        line = told.readline()
        if not line:
            msg = "the servers did not start"
            raise StepFailedError(msg)
        # They end with their standard input, which is closed here.
        yield Servers(Places(**json.loads(line)), ask, told)


@dataclass(slots=True)
class Ours:
    """Our command line, which remembers what it wrote.

    Args:
        servers: Where it goes.
        targets: Where the secrets go.

    """

    servers: Servers
    targets: tuple[str, ...]

    def command(self, *more: str) -> list[str]:
        """Return the command."""
        to = [word for target in self.targets for word in ("--to", target)]
        return [sys.executable, "-m", "imip_secrets", "sync", "--yes", *to, *more, f"vault://{SECRET}"]

    def environ(self, **more: str) -> dict[str, str]:
        """Return its variables."""
        places = self.servers.places
        return {
            **clean(),
            "PYTHONPATH": str(ROOT / "src"),
            "GITHUB_API_URL": places.api,
            "GITHUB_TOKEN": places.token,
            "GITHUB_REPOSITORY": HOME,
            "VAULT_ADDR": places.vault,
            "VAULT_TOKEN": places.vault_token,
            **more,
        }


def clean() -> dict[str, str]:
    """Return what every program gets."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


def run(command: list[str], environ: Mapping[str, str], limit: float = LONG) -> tuple[Cost, str]:
    """Run a program to its end; return what it cost and what it said.

    Raises:
        StepFailedError: it failed.

    """
    with tempfile.TemporaryDirectory(prefix="imip-bench-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            status, cost = measure(command, environ, Path(folder), output.fileno(), limit)
        said = log.read_text(errors="replace")
    if status:
        msg = f"{' '.join(command[:5])} ended with status {status}:\n{said[-2000:]}"
        raise StepFailedError(msg)
    return cost, said


def _verdict(number: float, most: float) -> str:
    return "reached" if number <= most else "MISSED"


def push(rounds: int) -> Iterator[CELLS]:
    """Ten new secrets to each of ten repositories."""
    repositories, wanted = names(REPOSITORIES), values(SECRETS)
    with serving(Setting(REPOSITORIES, SECRETS, DELAY)) as servers, tempfile.TemporaryDirectory() as folder:
        ours = Ours(servers, tuple(f"repo:{name}" for name in repositories))
        remembering = ["--sync-manifest-secret", MANIFEST]
        environs = {"GH_TOKEN": servers.places.token, "GH_CONFIG_DIR": folder, "HOME": folder, **clean()}
        Path(folder, "config.yml").write_text(f"http_unix_socket: {servers.places.socket}\n", encoding="utf-8")
        lines = "".join(f"{name}={value}\n" for name, value in wanted.items())
        program = gh.program()

        def us() -> float:
            return run(ours.command(*remembering), ours.environ())[0].seconds

        def gh_for_each_repository() -> float:
            began = time.perf_counter()
            for name in repositories:
                command = [program or "gh", "secret", "set", "--repo", name, "--env-file", "-"]
                subprocess.run(
                    command, env=environs, input=lines.encode(), check=True, capture_output=True, timeout=LONG
                )
            return time.perf_counter() - began

        def pygithub() -> float:
            given = {"API": servers.places.api, "REPOSITORIES": json.dumps(repositories), "VALUES": json.dumps(wanted)}
            return run([sys.executable, "-c", PYGITHUB], {**environs, **given})[0].seconds

        def took(what: Callable[[], float]) -> tuple[float, int]:
            servers.question("forget")
            seconds = what()
            if servers.question("values") != [REPOSITORIES * SECRETS, True]:
                msg = f"{what.__name__} did not write every secret"
                raise StepFailedError(msg)
            return seconds, servers.counts()[0]

        mine, theirs = [], []
        for _ in range(rounds):
            mine.append(took(us))
            theirs.append(took(gh_for_each_repository))
        slow = took(pygithub)
    seconds, requests = median(each for each, _ in mine), mine[0][1]
    what = f"sync: {REPOSITORIES} repositories x {SECRETS} new secrets, {DELAY * 1000:.0f} ms a request"
    for title, (other, count), most in (
        (f"{what}; gh secret set -f -", (median(each for each, _ in theirs), theirs[0][1]), 1.0),
        (f"{what}; PyGithub's create_secret", slow, 0.1),
    ):
        ratio = seconds / other
        yield title, f"{seconds:.1f} s", f"{other:.1f} s", f"{ratio:.3f}", f"{most:.3f}", _verdict(ratio, most)
        yield "    requests", str(requests), str(count), "-", str(PUSH_REQUESTS), _verdict(requests, PUSH_REQUESTS)


def unchanged(_rounds: int) -> Iterator[CELLS]:
    """Nothing changed, in a thousand repositories."""
    setting = Setting(MANY_REPOSITORIES, MANY_SECRETS, hourly=1_000_000)
    with serving(setting) as servers:
        ours = Ours(servers, (f"repos:{OWNER}?topic=imip&max={MANY_REPOSITORIES}",))
        remembering = ours.command("--sync-manifest-secret", MANIFEST)
        unpaced = [sys.executable, "-m", "bench.sync", "unpaced", *remembering[4:]]
        # The first push, without the limits, which it would take two hours for.
        run(unpaced, ours.environ(PYTHONPATH=EVERYTHING))
        manifest = servers.question("manifest")
        servers.counts()
        free, _ = run(unpaced, ours.environ(PYTHONPATH=EVERYTHING, IMIP_SYNC_MANIFEST=manifest))
        servers.counts()
        cost, said = run(remembering, ours.environ(IMIP_SYNC_MANIFEST=manifest))
        requests = servers.counts()[0]
        if f"{MANY_REPOSITORIES * MANY_SECRETS} unchanged" not in said:
            msg = f"something had changed:\n{said[-500:]}"
            raise StepFailedError(msg)
    what = f"sync: nothing changed in {MANY_REPOSITORIES} repositories x {MANY_SECRETS} secrets"
    yield what, f"{free.seconds:.1f} s", "-", "-", f"{PLAN_SECONDS} s", _verdict(free.seconds, PLAN_SECONDS)
    # GitHub takes 900 points a minute, and these are more.
    yield "    at GitHub's pace", f"{cost.seconds:.1f} s", "-", "-", "", ""
    memory = cost.memory / 2**20
    yield "    memory at the peak", f"{memory:.0f} MiB", "-", "-", f"{PLAN_MIB} MiB", _verdict(memory, PLAN_MIB)
    # One listing each, and the repositories themselves, a hundred at a time.
    most = MANY_REPOSITORIES + MANY_REPOSITORIES // 100 + 1
    yield "    requests to GitHub", str(requests), "-", "-", str(most), _verdict(requests, most)
    size = len(manifest) / 1024
    yield "    the manifest", f"{size:.1f} KB", "-", "-", f"{MANIFEST_KB} KB", _verdict(size, MANIFEST_KB)


SPEED = 40.0


def estimate(_rounds: int) -> Iterator[CELLS]:
    """Push everything to a thousand repositories, by clocks that go faster, at limits that are enforced."""
    setting = Setting(MANY_REPOSITORIES, MANY_SECRETS, speed=SPEED, enforced=True)
    with serving(setting) as servers:
        ours = Ours(servers, (f"repos:{OWNER}?topic=imip&max={MANY_REPOSITORIES}",))
        command = [sys.executable, "-m", "bench.sync", "hurried", *ours.command("--timeout-seconds", "100000")[4:]]
        _, said = run(command, ours.environ(PYTHONPATH=EVERYTHING), limit=1200)
        _, refused, _ = servers.counts()
        told = re.search(r"estimate (\S+) took (\S+)", said)
        if not told or servers.question("values") != [MANY_REPOSITORIES * MANY_SECRETS, True]:
            msg = f"it did not write everything:\n{said[-500:]}"
            raise StepFailedError(msg)
    expected, took = map(float, told.groups())
    off = abs(expected - took) / took
    what = f"sync: everything new in {MANY_REPOSITORIES} repositories x {MANY_SECRETS} secrets"
    yield what, f"{took / 60:.0f} min", "-", "-", "", ""
    yield "    the estimate", f"{expected / 60:.0f} min", "-", f"{off:.3f}", f"{OFF:.3f}", _verdict(off, OFF)
    yield "    requests that GitHub refused", str(refused), "-", "-", "0", _verdict(refused, 0)


CASES: Mapping[str, Callable[[int], Iterator[CELLS]]] = {
    "sync-push": push,
    "sync-unchanged": unchanged,
    "sync-estimate": estimate,
}


def _with_other_limits(how: str, words: list[str]) -> int:
    """Run our command line with other limits than GitHub's, or with a clock that goes faster."""
    from imip_secrets import cli  # noqa: PLC0415 - only in the process that is measured
    from imip_secrets.sync import client, github, pacing  # noqa: PLC0415

    if how == "unpaced":
        github.open_github = lambda access: client.Client(  # type: ignore[misc, assignment]  # another one on purpose
            access, pacing.Limits(points=10**9, window=1.0, concurrent=16), always=False
        )
        return cli.main(["sync", *words])
    began = time.monotonic()

    def now(_self: pacing.Clock) -> float:
        return began + (time.monotonic() - began) * SPEED

    pacing.Clock.now = now  # type: ignore[method-assign, assignment]  # likewise
    pacing.Clock.wait = lambda _self, door, seconds: door.wait(seconds / SPEED)  # type: ignore[method-assign, assignment]  # likewise
    given: list[float] = []
    estimating = client.Client.estimate

    def note(self: client.Client, requests: int, points: int) -> float:
        given[:] = [estimating(self, requests, points), time.monotonic()]
        return given[0]

    client.Client.estimate = note  # type: ignore[method-assign]  # likewise
    status = cli.main(["sync", *words])
    print(f"estimate {given[0]:.1f} took {(time.monotonic() - given[1]) * SPEED:.1f}")
    return status


if __name__ == "__main__":
    sys.exit(_with_other_limits(sys.argv[1], sys.argv[2:]))
