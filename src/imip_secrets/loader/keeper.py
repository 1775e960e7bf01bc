"""The thread that keeps secrets up to date while nobody asks for one: for callbacks, and for leases that would end."""

from __future__ import annotations

import threading
from typing import Protocol
from weakref import ref

# A machine that slept wakes up with a clock that did not: it is looked that often in any case, and never more often
# than the other, whatever a clock says.
LONGEST = 30.0
SHORTEST = 0.05


class Tended(Protocol):
    """What changes by itself while nobody asks for it."""

    def is_tended(self) -> bool:
        """Tell whether there is anything to do."""

    def tend(self) -> float:
        """Do what is due; return the seconds until something is due again."""


class Keeper:
    """Starts its thread when there is something to do, and lets it go with the secrets.

    Args:
        tended: What it tends, and does not keep alive.

    """

    __slots__ = ("_lock", "_stopped", "_tended", "_thread")

    def __init__(self, tended: Tended) -> None:
        """Start nothing yet."""
        self._tended = ref(tended)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread if there is anything for it to do, and it does not run."""
        tended = self._tended()
        if tended is None or not tended.is_tended():
            return
        with self._lock:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(
                    target=_keep, args=(self._tended, self._stopped), name="imip-secrets-keeper", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """End the thread; it is not waited for, since it may be reading."""
        self._stopped.set()

    def after_fork(self) -> None:
        """Start again in a process that was forked off, which has none of its parent's threads."""
        ran = self._thread is not None and not self._stopped.is_set()
        self._lock, self._thread = threading.Lock(), None
        if ran:
            self._stopped = threading.Event()
            self.start()


def _keep(tended: ref[Tended], stopped: threading.Event) -> None:
    pause = 0.0
    while not stopped.wait(min(LONGEST, max(SHORTEST, pause))):
        alive = tended()
        if alive is None:
            return
        pause = alive.tend()
        del alive
