"""What an exception of a network library was made of: they wrap each other, the system's own words innermost."""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING

from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Give an exception and all that it was made of, outermost first."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and not any(cause is other for other in seen):
            seen.append(cause)
            yield cause
            # urllib3 has "reason", azure-core "inner_exception".
            waiting += [*cause.args, getattr(cause, "reason", None), getattr(cause, "inner_exception", None)]
            waiting += [cause.__cause__, cause.__context__]


def said_by(causes: Sequence[BaseException]) -> str:
    """Return the words of the system, else the name of the innermost exception."""
    for cause in reversed(causes):
        if isinstance(cause, socket.gaierror):
            # Its numbers are those of the resolver.
            return tame(cause.strerror, 120)
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
            return os.strerror(cause.errno)
        if isinstance(cause, OSError) and str(cause).startswith("Tunnel connection failed"):
            return tame(cause, 120)
    return type(causes[-1]).__name__
