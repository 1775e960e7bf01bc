from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from imip_secrets.leases import end_all, ended_on_failure
from stand_ins.memory import MemoryKept

if TYPE_CHECKING:
    from imip_secrets.stores.base import Kept


def test_all_are_ended_and_only_what_fails_is_said() -> None:
    well, ill = MemoryKept(["a"]), MemoryKept(["b", "c"], fault="Vault answers 403.\n::add-mask::x")
    said: list[str] = []
    kept: list[Kept] = [ill, well]
    end_all(kept, said.append)
    assert kept == []
    end_all(kept, said.append)
    assert (well.calls, ill.calls) == (["end"], ["end"])
    assert said == [
        "Credentials could not be revoked (Vault answers 403. : :add-mask: :x). They live: b for 1h, c for 1h."
    ]


@pytest.mark.parametrize("fault", [ValueError(), KeyboardInterrupt()])
def test_what_nobody_has_got_is_ended(fault: BaseException) -> None:
    kept = MemoryKept(["a"])
    with pytest.raises(type(fault)), ended_on_failure([kept], print):
        raise fault
    assert kept.calls == ["end"]


def test_what_somebody_has_got_is_left() -> None:
    kept = MemoryKept(["a"])
    with ended_on_failure([kept], print):
        pass
    assert kept.calls == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_what_has_begun_to_end_is_ended_though_a_person_interrupts_again() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    calls: list[str] = []

    class Interrupted(MemoryKept):
        def end(self) -> str:
            signal.raise_signal(signal.SIGINT)
            calls.append(self.what)
            return super().end()

    try:
        with pytest.raises(KeyboardInterrupt):
            end_all([Interrupted(["a"]), Interrupted(["b"])], print)
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == ["a for 1h", "b for 1h"]
