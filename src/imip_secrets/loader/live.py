"""What keeps an application's secrets up to date: who reads them when, and who is told of a change."""

from __future__ import annotations

import inspect
import math
from asyncio import events
from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError
from imip_secrets.loader import processes
from imip_secrets.loader.cache import Cache
from imip_secrets.loader.keeper import Keeper

if TYPE_CHECKING:
    from imip_secrets.loader.reading import Reader, Values

OnChange = Callable[[frozenset[str]], object]


class Live:
    """Values that are current; every method may be called from several threads at once.

    Args:
        reader: Reads them.
        ttl: How long they are fresh, in seconds.
        stale: How much longer they are given out when they cannot be read again.
        clock: A monotonic clock.

    """

    __slots__ = ("__weakref__", "_aside", "_callbacks", "_keeper", "cache", "reader")

    def __init__(self, reader: Reader, *, ttl: float, stale: float, clock: Callable[[], float]) -> None:
        """Read nothing yet."""
        self.reader = reader
        self.cache: Cache[Values] = Cache(
            reader.read, ttl=ttl, stale=stale, until=reader.good_for, replaced=self._replaced, clock=clock
        )
        self._callbacks: tuple[OnChange, ...] = ()
        self._aside: Thread | None = None
        self._keeper = Keeper(self)
        processes.remember(self)

    def current(self) -> Values:
        """Return the values, read again if they are old; in an event loop what is there, and read again aside.

        Raises:
            ImipError: they are too old, and cannot be read.

        """
        found = self.cache.fresh()
        if found is not None:
            return found
        at_hand = self.cache.at_hand() if in_event_loop() else None
        if at_hand is not None:
            self._refresh_aside()
            return at_hand
        values = self.cache.get()
        self._keeper.start()
        return values

    def tell(self, callback: OnChange) -> None:
        """Call a function with the names that changed, from now on, and look for changes by ourselves.

        Raises:
            TypeError: it is a coroutine function, which nobody would await.

        """
        if inspect.iscoroutinefunction(callback):
            msg = "on_change takes a plain function; one that has a loop can use loop.call_soon_threadsafe"
            raise TypeError(msg)
        if callback not in self._callbacks:
            self._callbacks = (*self._callbacks, callback)
        self._keeper.start()

    def is_tended(self) -> bool:
        """Tell whether there is something to do that nobody's access would do: somebody to tell, or a lease."""
        return bool(self._callbacks) or self.reader.has_leases()

    def tend(self) -> float:
        """Renew the leases that are due, and read what is old; return the seconds until something is due again."""
        try:
            self.reader.renew()
            if self.reader.good_for() <= 0:
                self.cache.expire()
            if self.cache.due_in() <= 0:
                self.cache.get()
        except ImipError as error:
            processes.log().warning("%s", error)
        # What could not be got anew is tried again when the cache says so.
        return min(self.cache.due_in(), self.reader.renewal_in(), self.reader.good_for() or math.inf)

    def close(self) -> None:
        """Tend no more, and end what was made for this process."""
        self._keeper.stop()
        self.reader.end()

    def after_fork(self) -> None:
        """Put locks and threads in order in a process that was forked off: it has the values, and no thread but one."""
        self.cache.after_fork()
        self.reader.after_fork()
        self._aside = None
        self._keeper.after_fork()

    def _refresh_aside(self) -> None:
        """Read again in another thread; of two that start at once one gives up at the cache's lock."""
        if (self._aside is None or not self._aside.is_alive()) and self.cache.due_in() <= 0:
            self._aside = Thread(target=self.tend, name="imip-secrets-refresh", daemon=True)
            self._aside.start()

    def _replaced(self, old: Values, new: Values) -> None:
        """Tell the callbacks what changed; one that fails must not keep a value from who asked for it."""
        changed = frozenset(name for name in {**old, **new} if old.get(name) != new.get(name))
        if not changed:
            return
        for callback in self._callbacks:
            try:
                callback(changed)
            except Exception as error:  # noqa: BLE001, PERF203 - it is the application's; there are few
                # Its text may hold a value.
                processes.log().error("an on_change callback failed (%s)", type(error).__name__)


def in_event_loop() -> bool:
    """Tell whether this thread runs an event loop, which must not wait for a store."""
    return events._get_running_loop() is not None  # noqa: SLF001 - it is in asyncio's __all__, and needs no try
