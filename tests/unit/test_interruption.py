from __future__ import annotations

import signal
import threading

import pytest

from imip_secrets.interruption import deferred


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_taken_up_when_the_rest_is_done(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)
    done: list[str] = []

    def work() -> None:
        with deferred():
            signal.raise_signal(number)
            signal.raise_signal(number)
            done.append("the rest")

    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert done == ["the rest"]
        assert signal.getsignal(number) is signal.default_int_handler
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)


def test_what_fails_within_is_not_hidden_by_an_interruption() -> None:
    def work() -> None:
        with deferred():
            signal.raise_signal(signal.SIGINT)
            msg = "within"
            raise ValueError(msg)

    with pytest.raises(ValueError, match="within"):
        work()


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_thread_has_no_signals_to_defer() -> None:
    done: list[str] = []

    def work() -> None:
        with deferred():
            done.append("work")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert done == ["work"]


def test_nothing_happens_where_nothing_interrupts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with deferred():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) == before
