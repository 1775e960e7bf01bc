from __future__ import annotations

import errno
import socket

from imip_secrets.causes import causes_of, said_by


class OuterError(Exception):
    def __init__(self, *args: object, reason: object = None, inner: object = None) -> None:
        super().__init__(*args)
        self.reason = reason
        self.inner_exception = inner


def test_all_that_an_exception_was_made_of_is_found_once() -> None:
    system = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    wrapped = OuterError("a", reason=system, inner=system)
    outer = OuterError(wrapped, "text")
    outer.__cause__ = wrapped
    wrapped.__context__ = outer
    assert list(causes_of(outer)) == [outer, wrapped, system]


def test_the_system_s_words_are_told_else_the_name_of_the_innermost() -> None:
    assert said_by([OuterError("s3cret"), ConnectionRefusedError(errno.ECONNREFUSED, "x")]) == "Connection refused"
    assert said_by([OuterError("s3cret"), TimeoutError("s3cret")]) == "TimeoutError"
    assert said_by([OuterError("s3cret"), socket.gaierror(socket.EAI_NONAME, "Name not known")]) == "Name not known"
    assert said_by([OSError("Tunnel connection failed: 407 Who are you?")]).startswith("Tunnel connection failed: 407")
