from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from imip_secrets import child
from imip_secrets.errors import ImipError

needs_posix = pytest.mark.skipif(os.name != "posix", reason="signals and programs of POSIX")
ROOT = Path(__file__).parents[2]


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(script), *arguments]


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_the_exit_status_is_the_commands(status: int) -> None:
    assert child.run(python(f"raise SystemExit({status})"), os.environ) == status


@needs_posix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_the_end_by_a_signal_is_said_as_a_shell_says_it(number: signal.Signals) -> None:
    assert child.run(python(f"import os; os.kill(os.getpid(), {int(number)})"), os.environ) == 128 + number


@pytest.mark.parametrize(("status", "ours"), [(3, 3), (-9, 137), (0xC000013A, -1073741510), (2**31 - 1, 2**31 - 1)])
def test_a_status_of_windows_is_one_that_a_process_can_end_with(status: int, ours: int) -> None:
    assert child._exit_status(status) == ours


def test_arguments_and_environment_arrive_as_they_are(tmp_path: Path) -> None:
    script = "import sys, os, json; json.dump([sys.argv[2:], os.environ['A']], open(sys.argv[1], 'w'))"
    arguments = ["--", "-x", "a b", "", "$HOME", "*", "é\n'\""]
    assert child.run(python(script, str(tmp_path / "got"), *arguments), {**os.environ, "A": "it's\n"}) == 0
    assert (tmp_path / "got").read_text() == '[["--", "-x", "a b", "", "$HOME", "*", "\\u00e9\\n\'\\""], "it\'s\\n"]'


@needs_posix
def test_a_program_is_found_by_its_name() -> None:
    assert child.run(["sh", "-c", "exit 3"], os.environ) == 3


def test_a_program_that_is_not_there_is_one_problem() -> None:
    with pytest.raises(ImipError, match=r"^cannot start 'no-such-program': "):
        child.run(["no-such-program"], os.environ)


@needs_posix
def test_a_file_that_is_no_program_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    with pytest.raises(ImipError, match=r"No such file or directory\. Check that it is a program for this machine\.$"):
        child.run([str(path)], os.environ)
    path.write_text("no program at all")
    with pytest.raises(ImipError, match=r"Exec format error"):
        child.run([str(path)], os.environ)


def test_our_own_handlers_are_back_afterwards() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    child.run(python("pass"), os.environ)
    assert {number: signal.getsignal(number) for number in before} == before


@needs_posix
def test_what_comes_while_the_command_is_being_started_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def start(*arguments: Any, **more: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - passed on as they came
        process: subprocess.Popen[bytes] = real(*arguments, **more)
        signal.raise_signal(signal.SIGTERM)
        return process

    monkeypatch.setattr(subprocess, "Popen", start)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        assert child.run(python("import time; time.sleep(300)"), os.environ) == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


@needs_posix
def test_what_we_ignore_the_command_begins_with_ignoring_as_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    script = "import signal; raise SystemExit(40 + (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN))"
    try:
        assert child.run(python(script), os.environ) == 41
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@needs_posix
def test_a_termination_of_ours_is_the_commands() -> None:
    script = f"import os, time; os.kill(os.getppid(), {int(signal.SIGTERM)}); time.sleep(300)"
    assert child.run(python(script), os.environ) == 128 + signal.SIGTERM


@needs_posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_an_interrupt_at_a_terminal_is_left_to_the_terminal(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 2)
    script = f"import os, time; os.kill(os.getppid(), {int(number)}); time.sleep(0.3); os._exit(3)"
    assert child.run(python(script), os.environ) == 3


# Ends with 40 and the signal's number, and says when it can take signals.
LISTENS = """
    import os, signal, sys, time
    def end(number, _):
        os._exit(40 + number)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, end)
    print("ready", flush=True)
    time.sleep(300)
"""
RUNS = """
    import os, sys
    from imip_secrets import __main__, child, cli
    cli.main = lambda arguments: child.run(arguments, os.environ)
    __main__.run()
"""


def parent(*, terminal: int | None = None) -> subprocess.Popen[bytes]:
    command = python(RUNS, *python(LISTENS))
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if terminal is None else terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )


@needs_posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT"])
def test_what_is_sent_to_us_reaches_the_command_and_its_status_is_ours(name: str) -> None:
    number = getattr(signal, name)
    with parent() as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=100)
    assert (out, err) == (b"", b"")
    assert process.returncode == 40 + number


@needs_posix
def test_what_is_typed_at_a_terminal_is_not_sent_a_second_time() -> None:
    """The terminal has sent it to the command already; a second interrupt makes many programs give up at once."""
    master, slave = os.openpty()
    with parent(terminal=slave) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=100)
    os.close(master)
    os.close(slave)
    assert process.returncode == 40 + signal.SIGTERM
