"""The secrets of an application: a mapping that is read-only, up to date, and shows nothing by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn, TypeVar, overload

from imip_secrets.foreign import tame
from imip_secrets.secret import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from imip_secrets.loader.live import Live, OnChange

_D = TypeVar("_D")
_C = TypeVar("_C", bound="OnChange")


class Secrets(Mapping[str, str]):
    """Secrets by name, as :func:`imip_secrets.load_secrets` gives them.

    A value is had by its name alone: ``secrets["MONGO_URI"]``. ``repr``,
    ``str``, ``format`` and a traceback with its variables show names at most;
    ``vars`` finds nothing; pickling and copying are refused.

    Every access gives what is current. Values that are older than their time
    to live are read again by the access that finds them so. In an event loop
    that access gives what is there, and they are read again in another thread;
    :meth:`aget` waits for what is new.
    """

    __slots__ = ("__weakref__", "_forget", "_live")

    # As for a dict; and what is current may change.
    __hash__ = None  # type: ignore[assignment]  # the documented way to say "unhashable"

    def __init__(self, live: Live, forget: Callable[[], object] = lambda: None) -> None:
        """Show what is live; for :func:`imip_secrets.load_secrets`."""
        self._live = live
        self._forget = forget

    def __getitem__(self, name: str) -> str:
        """Return a value.

        Raises:
            KeyError: there is no such secret.
            ImipError: the values are old and cannot be read again.

        """
        values = self._live.current()
        found = values.get(name)
        if found is None:
            msg = f"there is no secret {tame(name, 80)!r}; there are: {', '.join(values) or 'none'}"
            raise KeyError(msg)
        return found.reveal()

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: str) -> str: ...
    @overload
    def get(self, name: str, /, default: _D) -> str | _D: ...
    def get(self, name: str, /, default: object = None) -> object:
        """Return a value, or the default where there is no such secret.

        Raises:
            ImipError: the values are old and cannot be read again.

        """
        found = self._live.current().get(name)
        return default if found is None else found.reveal()

    def __iter__(self) -> Iterator[str]:
        """Give the names, in the order of the references."""
        return iter(self._live.current())

    def __len__(self) -> int:
        """Count the secrets."""
        return len(self._live.current())

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a secret of this name."""
        return name in self._live.current()

    async def aget(self, name: str) -> str:
        """Return a value; old ones are read again first, without holding up the event loop.

        Raises:
            KeyError: there is no such secret.
            ImipError: the values are old and cannot be read again.

        """
        if self._live.cache.fresh() is None:
            import asyncio  # noqa: PLC0415 - who awaits this has it

            await asyncio.to_thread(self._live.current)
        return self[name]

    def refresh(self) -> None:
        """Read everything again now, for instance when a password was refused.

        Raises:
            ImipError: it cannot be read; what was there stays.

        """
        self._live.cache.refresh()

    async def arefresh(self) -> None:
        """Read everything again now, without holding up the event loop.

        Raises:
            ImipError: it cannot be read; what was there stays.

        """
        import asyncio  # noqa: PLC0415 - who awaits this has it

        await asyncio.to_thread(self._live.cache.refresh)

    def on_change(self, callback: _C) -> _C:
        """Have a function called with the names of the secrets that are new, changed or gone; also as a decorator.

        From then on the secrets are read again when they are old, whether
        anybody asks for one or not. The function runs in the thread that read
        them, when the new values can be had.

        Raises:
            TypeError: it is a coroutine function, which nobody would await.

        """
        self._live.tell(callback)
        return callback

    def close(self) -> None:
        """End the thread that keeps the secrets up to date, if there is one, and revoke dynamic credentials."""
        self._forget()
        self._live.close()

    def __enter__(self) -> Self:
        """Give the secrets."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        self.close()

    def __repr__(self) -> str:
        """Show the names, of what was read last; nothing is read for that."""
        values = self._live.cache.at_hand() or {}
        return f"Secrets({', '.join(f'{name}={HIDDEN}' for name in values)})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        """Show the names, whatever the format asks for."""
        return format(repr(self), spec)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled or copied into something that can be."""
        msg = "Secrets cannot be pickled or copied: load them where they are needed"
        raise TypeError(msg)
