from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from imip_secrets import __main__, __version__, action, cleanup, cli
from imip_secrets.secret import Secret

ROOT = Path(__file__).parents[2]
VALUE = "correct-horse/battery+staple"
needs_posix = pytest.mark.skipif(os.name != "posix", reason="pipes and signals of POSIX")


class OddError(Exception):
    pass


def fail(*_: object) -> int:
    held = VALUE
    raise OddError(held, Secret(held))


def program(*arguments: str, script: str = "") -> list[str]:
    start = ["-c", script] if script else ["-m", "imip_secrets"]
    return [sys.executable, *start, *arguments]


def environ() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")]),
    }


def test_action_alone_is_the_action(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    def main(environ: object) -> int:
        given.append(environ)
        return 7

    monkeypatch.setattr(action, "main", main)
    assert __main__.main(["action"]) == 7
    assert given == [os.environ]


def test_cleanup_alone_is_the_end_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "main", lambda environ: 7 if environ is os.environ else 8)
    assert __main__.main(["cleanup"]) == 7


def test_a_defect_of_the_cleanup_is_an_annotation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cleanup, "main", fail)
    assert __main__.main(["cleanup"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("::error title=imip-secrets::imip-secrets has a defect (OddError")
    assert VALUE not in out + err


@pytest.mark.parametrize("arguments", [[], ["run"], ["action", "--help"], ["cleanup", "now"]])
def test_everything_else_is_the_command_line(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "main", lambda given: 7 if given == arguments else 8)
    assert __main__.main(arguments) == 7


@pytest.mark.parametrize("arguments", [["action"], ["run"]])
def test_an_interruption_says_nothing(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(action, "main", interrupt)
    monkeypatch.setattr(cli, "main", interrupt)
    assert __main__.main(arguments) == 130
    assert capfd.readouterr() == ("", "")


def test_a_defect_of_the_action_is_one_annotation(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(action, "main", fail)
    assert __main__.main(["action"]) == 1
    out, err = capfd.readouterr()
    assert err == ""
    assert re.fullmatch(
        r"::error title=imip-secrets::imip-secrets has a defect \(OddError at __main__\.py:\d+\), and stopped\. "
        r"Please report this line: it holds no value\.\n",
        out,
    )


def test_a_defect_of_the_command_line_leaves_standard_output_to_data(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "main", fail)
    assert __main__.main(["export"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("imip-secrets has a defect (OddError at __main__.py:")
    assert VALUE not in err


def test_the_place_of_a_defect_is_the_last_of_ours(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(action.inputs, "read", lambda _: re.compile("("))  # type: ignore[attr-defined]  # what it imports
    assert __main__.main(["action"]) == 1
    assert "(error at action/__init__.py:" in capfd.readouterr().out.replace("PatternError", "error")


@needs_posix
@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_reader_that_has_gone_is_no_traceback(closed: str) -> None:
    arguments = ["--version"] if closed == "stdout" else ["run", "bogus"]
    read, write = os.pipe()
    os.close(read)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, closed: write}
    done = subprocess.run(program(*arguments), check=False, env=environ(), **streams)  # type: ignore[call-overload]  # the streams
    os.close(write)
    assert done.returncode == 1
    assert not done.stdout
    assert not done.stderr


def test_after_a_broken_pipe_nothing_is_written_any_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(_: object) -> int:
        sys.stdout.write("half")
        raise BrokenPipeError

    monkeypatch.setattr(cli, "main", broken)
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        assert __main__.main(["run"]) == 1
    assert (tmp_path / "out").read_bytes() == b""


@needs_posix
def test_a_stream_that_is_closed_is_no_traceback() -> None:
    shell = shutil.which("sh") or "sh"
    for closed, arguments, ours in (("1", ["run", "bogus"], 2), ("2", ["--version"], 0)):
        command = [shell, "-c", f'exec "$@" {closed}>&-', "sh", *program(*arguments)]
        done = subprocess.run(command, capture_output=True, check=False, env=environ())
        assert done.returncode == ours
        assert b"Traceback" not in done.stderr


class Ended(BaseException):
    pass


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses that the process would have ended with; its handlers are put back."""
    statuses: list[int] = []

    def end(status: int) -> None:
        statuses.append(status)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    return statuses


def test_the_process_ends_with_the_status_and_without_the_libraries_log(
    ended: list[int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["imip-secrets", "--version"])
    # So that they are put back.
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    before, handlers = signal.getsignal(signal.SIGTERM), list(logging.getLogger().handlers)
    try:
        with pytest.raises(Ended):
            __main__.run()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        (added,) = set(logging.getLogger().handlers) - set(handlers)
        assert isinstance(added, logging.NullHandler)
    finally:
        signal.signal(signal.SIGTERM, before)
        logging.getLogger().handlers[:] = handlers
    assert ended == [0]
    assert capfd.readouterr().out == f"{__version__}\n"


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run(program("--version"), capture_output=True, check=True, env=environ())
    assert done.stdout.decode().strip() == __version__


@needs_posix
def test_an_error_that_nobody_can_catch_shows_nothing_of_what_it_says() -> None:
    script = (
        "import threading\n"
        "from imip_secrets import __main__, cli\n"
        "class Ends:\n"
        "    def __del__(self):\n"
        "        int('it says: secret')\n"
        "def main(_):\n"
        "    thread = threading.Thread(target=int, args=('it says: secret',))\n"
        "    thread.start()\n"
        "    thread.join()\n"
        "    Ends()\n"
        "    return 5\n"
        "cli.main = main\n"
        "__main__.run()\n"
    )
    done = subprocess.run(program(script=script), capture_output=True, check=False, env=environ(), timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (5, b"", b"")


@needs_posix
def test_what_libraries_log_is_not_shown_and_a_thread_that_hangs_holds_nobody_up() -> None:
    script = (
        "import logging, sys, threading, time\n"
        "from imip_secrets import __main__, cli\n"
        "def main(_):\n"
        "    logging.getLogger('botocore').error('it says: secret')\n"
        "    threading.Thread(target=time.sleep, args=(300,)).start()\n"
        "    print('data')\n"
        "    return 5\n"
        "cli.main = main\n"
        "__main__.run()\n"
    )
    done = subprocess.run(program(script=script), capture_output=True, check=False, env=environ(), timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (5, b"data\n", b"")
