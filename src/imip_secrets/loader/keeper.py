"""The thread that keeps secrets up to date while nobody asks for one: for callbacks, and for leases that would end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import ref

if TYPE_CHECKING:
    from imip_secrets.loader.live import Live

# A machine that slept wakes up with a clock that did not: it is looked that often in any case, and never more often
# than the other, whatever a clock says.
LONGEST = 30.0
SHORTEST = 0.05


class Keeper:
    """Starts its thread when there is something to do, and lets it go with the secrets.

    Args:
        live: What it tends, and does not keep alive.

    """

    __slots__ = ("_live", "_lock", "_stopped", "_thread")

    def __init__(self, live: Live) -> None:
        """Start nothing yet."""
        self._live = ref(live)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread if there is anything for it to do, and it does not run."""
        live = self._live()
        if live is None or not live.is_tended():
            return
        with self._lock:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(
                    target=_keep, args=(self._live, self._stopped), name="imip-secrets-keeper", daemon=True
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


def _keep(live: ref[Live], stopped: threading.Event) -> None:
    pause = 0.0
    while not stopped.wait(min(LONGEST, max(SHORTEST, pause))):
        alive = live()
        if alive is None:
            return
        pause = alive.tend()
        del alive
