"""One command, run in our place: what ends us or is typed at us is for it, and how it ends is how we end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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
    try:
        process = subprocess.Popen([program, *command[1:]], env=environment)
    except OSError as error:
        what = f"cannot start {tame(command[0], 80)!r}: {tame(error.strerror)}"
        raise ImipError(Problem(what, remedy="Check that it is a program for this machine.")) from None
    with process, _passing_signals_to(process):
        return _exit_status(process.wait())


def _exit_status(status: int) -> int:
    if status < 0:
        return 128 - status
    # Windows has unsigned ones (0xC000013A: interrupted), and os._exit takes only signed ones.
    return status if status < 2**31 else status - 2**32


@contextmanager
def _passing_signals_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Give the process what is sent to us. What is typed at a terminal goes to both: twice would mean more."""
    typed = os.name == "nt" or any(map(os.isatty, range(3)))

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if not (typed and signal.Signals(number).name in _TYPED):
            process.send_signal(number)

    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
