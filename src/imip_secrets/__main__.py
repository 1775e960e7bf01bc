"""The program's way in and its one way out."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Run a command; the one boundary where what nobody foresaw becomes a line of text without a value.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit status.

    """
    try:
        if list(arguments) == ["action"]:
            # The action is no command line: it starts without the modules that one needs.
            from imip_secrets import action  # noqa: PLC0415 - either this or the command line

            return action.main(os.environ)
        from imip_secrets import cli  # noqa: PLC0415 - see above

        return cli.main(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who reads has gone (``| head``). What is still in the buffer must not raise again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the boundary
        mark = "::error title=imip-secrets::" if list(arguments) == ["action"] else ""
        print(f"{mark}{_unforeseen(error)}", flush=True)  # noqa: T201 - the console may be the cause
        return 1


def run() -> NoReturn:
    """Run this process's command line and end the process.

    It ends at once, since a thread that still hangs in the network would hold
    it up, and there is nothing left to be done.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    _quiet_libraries()
    status = main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Take a termination as an interruption, so that what was begun is put in order."""
    raise KeyboardInterrupt


def _quiet_libraries() -> None:
    """Keep the libraries' own log off the job's: it shows what servers say, and on request whole answers."""
    import logging  # noqa: PLC0415 - the SDKs import it anyway; a run with a mistake in it need not

    logging.getLogger().addHandler(logging.NullHandler())


def _unforeseen(error: Exception) -> str:
    """Describe a defect by its type and place alone: its text and its variables may hold a value."""
    where, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if "imip_secrets" in code.co_filename:
            where = f" at {os.path.basename(code.co_filename)}:{trace.tb_lineno}"  # noqa: PTH119 - no pathlib here
        trace = trace.tb_next
    return (
        f"imip-secrets has a defect ({type(error).__name__}{where}). Nothing more was done. "
        "Please report this line: it holds no value."
    )


if __name__ == "__main__":
    run()
