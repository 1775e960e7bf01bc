"""The one type that holds a secret value."""

from __future__ import annotations

import hmac
from typing import NoReturn

HIDDEN = "***"


class NotTextError(ValueError):
    """A value that is wanted as text is not UTF-8."""


class Secret:
    """Bytes that nothing shows by accident.

    ``repr``, ``str``, ``format`` and ``%s`` give ``***``; pickling and hashing
    are refused; it has no length. Only :meth:`reveal` and
    :meth:`reveal_bytes` give the value, so a search for "reveal" finds every
    place where one can leave the process.
    """

    __slots__ = ("_value",)

    # A hash of a short value can be turned back by trying them all.
    __hash__ = None  # type: ignore[assignment]  # the documented way to say "unhashable"

    def __init__(self, value: str | bytes) -> None:
        """Hold the value; text is kept as UTF-8 (lone surrogates pass through)."""
        self._value = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)

    def reveal(self) -> str:
        """Return the value as text.

        Raises:
            NotTextError: the value is not UTF-8; see :meth:`is_text`.

        """
        text = self._decoded()
        if text is None:
            # Not raised inside "except": Python's own error shows a byte of the value and holds all of them.
            msg = "the value is not UTF-8 text"
            raise NotTextError(msg)
        return text

    def reveal_bytes(self) -> bytes:
        """Return the value byte for byte."""
        return self._value

    def is_text(self) -> bool:
        """Tell whether the value is UTF-8 without NUL, so that a variable can hold it."""
        return b"\0" not in self._value and self._decoded() is not None

    def _decoded(self) -> str | None:
        """Return the value as text, or None when it is not UTF-8."""
        try:
            return self._value.decode("utf-8")
        except UnicodeDecodeError:
            return None

    def __bool__(self) -> bool:
        """Tell whether there is any value at all."""
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __repr__(self) -> str:
        """Show nothing."""
        return HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        """Show nothing, whatever the format asks for."""
        return format(HIDDEN, spec)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled or copied into something that can be."""
        msg = "a Secret cannot be pickled"
        raise TypeError(msg)
