"""One command, run in our place: what ends us or is typed at us is for it, and how it ends is how we end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import FrameType

_SIGNALS = ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT")  # as far as the system has them
_TYPED = ("SIGINT", "SIGQUIT")


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command to its end.

    Returns:
        Its exit status, or 128 and the number of the signal that ended it, as
        a shell has it.

    Raises:
        ImipError: it cannot be started.

    """
    # With the suffix that Windows knows it by: npm is npm.cmd there.
    program = shutil.which(command[0]) or command[0]
    with _signals_passed_on() as to:
        try:
            process = subprocess.Popen([program, *command[1:]], env=environment)
        except OSError as error:
            what = f"cannot start {tame(command[0], 80)!r}: {tame(error.strerror)}"
            raise ImipError(Problem(what, remedy="Check that it is a program for this machine.")) from None
        with process:
            to(process)
            return _exit_status(process.wait())


def _exit_status(status: int) -> int:
    if status < 0:
        return 128 - status
    # Windows has unsigned ones (0xC000013A: interrupted), and os._exit takes only signed ones.
    return status if status < 2**31 else status - 2**32


@contextmanager
def _signals_passed_on() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Give a process what is sent to us. What is typed at a terminal goes to both: twice would mean more.

    Gives a function that is told the process. What comes before that waits for it: a command that has just been
    started must not be left alone because we end in that moment.
    """
    typed = os.name == "nt" or any(map(os.isatty, range(3)))
    before: dict[int, Any] = {}
    early: list[int] = []
    started: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if typed and signal.Signals(number).name in _TYPED:
            return
        if started:
            started[0].send_signal(number)
        else:
            early.append(number)

    def take(numbers: Iterable[int]) -> None:
        for number in numbers:
            before[number] = signal.signal(number, pass_on)

    def to(process: subprocess.Popen[bytes]) -> None:
        started.append(process)
        # What we ignore, the command was to begin with ignoring too: a handler would have been undone by its start.
        take(set(numbers) - set(before))
        for number in early:
            process.send_signal(number)

    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    try:
        take(number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN)
        yield to
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
