"""The program's way in and its one way out."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

INTERRUPTED = 130
_ACTION, _CLEANUP = "action", "cleanup"


def main(arguments: Sequence[str]) -> int:
    """Run a command; the one boundary where what nobody foresaw becomes a line of text without a value.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit status.

    """
    in_job = list(arguments) in ([_ACTION], [_CLEANUP])
    try:
        status = _run(arguments, in_job=in_job)
        _flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who reads has gone (``| head``). What is still in the buffers must not raise again at the end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in _streams():
            os.dup2(nowhere, stream.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the boundary
        # Not by the console, which may be the cause. Standard output is the log of the action; else it is data.
        mark, stream = ("::error title=imip-secrets::", sys.stdout) if in_job else ("", sys.stderr)
        print(f"{mark}{_unforeseen(error)}", file=stream, flush=True)
        return 1
    return status


def _run(arguments: Sequence[str], *, in_job: bool) -> int:
    # The steps of a job are no command line: they start without the modules that one needs.
    if in_job and arguments[0] == _ACTION:
        from imip_secrets import action  # noqa: PLC0415 - one of the three

        return action.main(os.environ)
    if in_job:
        from imip_secrets import cleanup  # noqa: PLC0415 - see above

        return cleanup.main(os.environ)
    from imip_secrets import cli, libraries  # noqa: PLC0415 - see above

    libraries.provide_all()
    return cli.main(arguments)


def _flush() -> None:
    for stream in _streams():
        stream.flush()


def _streams() -> list[TextIO]:
    """Return standard output and error, as far as they are open."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]


def run() -> NoReturn:
    """Run this process's command line and end the process.

    It ends at once, since a thread that still hangs in the network would hold
    it up, and there is nothing left to be done.
    """
    # A run is short: a search for cycles at Python's usual pace costs a twentieth of it, and finds next to nothing.
    gc.set_threshold(50_000)
    signal.signal(signal.SIGTERM, _interrupt)
    _quiet_libraries()
    _quiet_defects()
    os._exit(main(sys.argv[1:]))


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Take a termination as an interruption, so that what was begun is put in order."""
    raise KeyboardInterrupt


def _quiet_libraries() -> None:
    """Keep the libraries' own log off the job's: it shows what servers say, and on request whole answers."""
    import logging  # noqa: PLC0415 - who imports this module to call main() keeps a log of his own

    logging.getLogger().addHandler(logging.NullHandler())


def _quiet_defects() -> None:
    """Keep Python from showing what an error says that nobody can catch: in a library's thread, at an object's end.

    Such an error ends nothing, and its text may hold a value.
    """
    import threading  # noqa: PLC0415 - logging has it already

    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None


def _unforeseen(error: Exception) -> str:
    """Describe a defect by its type and place alone: its text and its variables may hold a value."""
    where, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if "imip_secrets" in code.co_filename:
            # Several modules have the same name in different folders.
            place = code.co_filename.replace(os.sep, "/").rpartition("imip_secrets/")[2]
            where = f" at {place}:{trace.tb_lineno}"
        trace = trace.tb_next
    return (
        f"imip-secrets has a defect ({type(error).__name__}{where}), and stopped. "
        "Please report this line: it holds no value."
    )


if __name__ == "__main__":
    run()
