"""Every store is read at once, once, within the time, and closed; no failure hides another."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from imip_secrets import harvest as module
from imip_secrets import references
from imip_secrets.errors import ImipError, MissingError, Problem
from imip_secrets.harvest import THREADS, harvest
from imip_secrets.stores.base import Target
from stand_ins.faults import wait_until
from stand_ins.memory import Memory, MemoryKept, context, denied, missing, registered, slow
from stand_ins.time_up import time_up_after

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from imip_secrets.harvest import Harvest
    from imip_secrets.references import Line
    from imip_secrets.stores.base import Found
    from stand_ins.memory import Content

MARK = "S3cr3t-m4rk"


@pytest.fixture
def stores() -> Iterator[ExitStack]:
    """Keep what is entered until the test is over, then let go what hangs and wait until every thread has ended."""
    before = set(threading.enumerate())
    with ExitStack() as stack:
        yield stack
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive(), thread


def lines_of(*written: str) -> list[Line]:
    lines, problems = references.parse("\n".join(written))
    assert not problems
    return lines


def reap(*written: str, seconds: float = 30.0, said: list[str] | None = None) -> Harvest[Found]:
    return harvest(lines_of(*written), context(seconds, said))


def shown(result: Harvest[Found]) -> list[list[str]]:
    """Return, for each line, what came of each target: the value, or the error."""
    return [
        [
            f"{target.path}: {found if isinstance(found, ImipError) else found.value.reveal()}"
            for target, found in outcomes
        ]
        for _, outcomes in result.outcomes
    ]


def wait_for(store: Memory, call: str) -> None:
    """Wait until a store was called so."""
    assert wait_until(lambda: call in store.calls, 60), store.calls


# --- what is asked


def test_each_line_gets_its_targets_in_order(stores: ExitStack) -> None:
    store = stores.enter_context(registered(Memory({"a": slow(0.05, "1"), "b": "2"})))
    result = reap("# first", "A = memory://a", "B = memory://b", "memory://a#k")
    assert [line.number for line, _ in result.outcomes] == [2, 3, 4]
    assert shown(result) == [["a: 1"], ["b: 2"], ["a: 1"]]
    assert result.problems == []
    assert result.logins == {"Memory": "who we are"}
    assert store.calls[0] == "login"
    assert store.calls[-1] == "close"


def test_a_secret_is_read_once_however_many_lines_use_it(stores: ExitStack) -> None:
    store = stores.enter_context(registered(Memory({"a": "1", "b": "2"})))
    reap("A = memory://a", "B = memory://a#k?x", "memory://a?optional#k", "memory://*", "X_* = memory://**")
    assert sorted(store.fetched()) == ["a", "b"]
    assert store.calls.count("login") == 1
    assert store.calls.count("close") == 1


def test_a_store_that_wants_to_know_hears_once_what_will_be_fetched(stores: ExitStack) -> None:
    class Expecting(Memory):
        def expect(self, targets: Sequence[Target]) -> None:
            self._note(f"expect {' '.join(target.path for target in targets)}")

    store = stores.enter_context(registered(Expecting({"a": "1", "b": "2", "x/c": "3"})))
    reap("memory://a", "memory://b", "A = memory://a", "memory://x/*")
    assert store.calls[:2] == ["login", "expect a b"]
    assert sorted(store.fetched()) == ["a", "b", "x/c"]


def test_another_version_is_another_target(stores: ExitStack) -> None:
    store = stores.enter_context(registered(Memory({"a": "1"})))
    reap("A = memory://a", "B = memory://a?version=2", "C = memory://a?version=2#k")
    assert store.fetched() == ("a", "a")


def test_the_same_path_in_two_stores_is_two_targets(stores: ExitStack) -> None:
    stores.enter_context(registered(Memory({"a": "1"})))
    stores.enter_context(registered(Memory({"a": "2"}), "other", "Other"))
    result = reap("A = memory://a", "B = other://a")
    assert shown(result) == [["a: 1"], ["a: 2"]]
    assert result.logins == {"Memory": "who we are", "Other": "who we are"}


def test_a_store_that_no_line_names_is_left_alone(stores: ExitStack) -> None:
    stores.enter_context(registered(Memory({"a": "1"})))
    other = stores.enter_context(registered(Memory(), "other"))
    reap("A = memory://a")
    assert other.calls == []


def test_nothing_is_asked_before_the_login_has_succeeded(stores: ExitStack) -> None:
    store = stores.enter_context(registered(Memory({"a": "1"}, login=slow(0.1, "me"))))
    reap("A = memory://a", "memory://a/*")
    assert store.calls[0] == "login"


# --- listings


def test_a_listing_gives_every_target_of_all_pages(stores: ExitStack) -> None:
    secrets = {f"imip/{number}": f"v{number}" for number in range(5)}
    store = stores.enter_context(registered(Memory({**secrets, "imip/deep/x": "d", "other": "o"})))
    result = reap("memory://imip/*")
    assert shown(result) == [[f"imip/{number}: v{number}" for number in range(5)]]
    assert [call for call in store.calls if call.startswith("list")] == [f"list imip/* from {at}" for at in (0, 2, 4)]


def test_a_deep_listing_goes_over_every_level(stores: ExitStack) -> None:
    stores.enter_context(registered(Memory({"imip/a": "1", "imip/deep/x": "2"})))
    assert shown(reap("memory://imip/**", "memory://imip/*")) == [["imip/a: 1", "imip/deep/x: 2"], ["imip/a: 1"]]


def test_a_listing_is_made_once_however_many_lines_use_it(stores: ExitStack) -> None:
    store = stores.enter_context(registered(Memory({"imip/a": "1"})))
    result = reap("memory://imip/*", "P_* = memory://imip/*")
    assert shown(result) == [["imip/a: 1"]] * 2
    assert store.calls == ["login", "list imip/* from 0", "fetch imip/a", "close"]


def test_a_listing_that_finds_nothing_is_there_as_missing(stores: ExitStack) -> None:
    stores.enter_context(registered(Memory({"other": "1"})))
    ((_, ((target, found),)),) = reap("memory://imip/*").outcomes
    assert target == Target("imip/")
    assert isinstance(found, MissingError)
    assert str(found) == "nothing is there that continues this path. Check the path, or add ?optional."


def test_a_listing_that_fails_is_there_with_the_reason(stores: ExitStack) -> None:
    stores.enter_context(registered(Memory({"a": "1"}, listing=denied("memory:List"))))
    assert shown(reap("memory://imip/*", "A = memory://a")) == [
        ["imip/: access is denied. Allow memory:List."],
        ["a: 1"],
    ]


# --- failures


def test_no_failure_hides_another(stores: ExitStack) -> None:
    stores.enter_context(registered(Memory({"a": missing(), "b": denied(), "c": "1"})))
    stores.enter_context(registered(Memory(login=denied("a login")), "other", "Other"))
    stores.enter_context(registered(Memory(listing=denied()), "third", "Third"))
    result = reap("A = memory://a", "B = other://b", "C = memory://b", "third://*", "D = memory://c")
    assert result.problems == [Problem("access is denied", "Other", "Allow a login.")]
    assert shown(result) == [
        ["a: there is no such secret. Check the path."],
        [],
        ["b: access is denied. Allow memory:Read."],
        [": access is denied. Allow memory:Read."],
        ["c: 1"],
    ]
    assert result.logins == {"Memory": "who we are", "Third": "who we are"}


def test_after_a_refused_login_nothing_is_asked_and_the_store_is_closed(stores: ExitStack) -> None:
    store = stores.enter_context(registered(Memory({"a": "1"}, login=denied())))
    reap("A = memory://a", "memory://*")
    assert store.calls == ["login", "close"]


def test_a_login_that_says_where_its_problem_is_keeps_that_place(stores: ExitStack) -> None:
    fault = ImipError(Problem("it may not have one", "ID token"), Problem("and more"))
    stores.enter_context(registered(Memory(login=fault)))
    assert [problem.where for problem in reap("A = memory://a").problems] == ["ID token", "Memory"]


class Odd(Exception):  # noqa: N818 - what an SDK may raise has any name
    """An exception that nobody foresaw, with a value in its text."""


def is_defect(text: str, kind: str) -> bool:
    return f"Memory could not be used, by a defect in imip-secrets ({kind}). Please report this line" in text


@pytest.mark.parametrize(
    "fault",
    [Odd(MARK), ValueError(MARK), SystemExit(MARK), KeyboardInterrupt(MARK)],
    ids=lambda fault: type(fault).__name__,
)
def test_of_an_unforeseen_error_only_the_type_is_told_and_the_rest_goes_on(
    stores: ExitStack, fault: BaseException
) -> None:
    store = stores.enter_context(registered(Memory({"a": fault, "b": "1", "c": missing()})))
    result = reap("A = memory://a", "B = memory://b", "C = memory://c")
    assert is_defect(shown(result)[0][0], type(fault).__name__)
    assert MARK not in repr(shown(result))
    assert shown(result)[1:] == [["b: 1"], ["c: there is no such secret. Check the path."]]
    assert store.calls.count("close") == 1


def test_an_unforeseen_error_of_a_login_is_a_problem_beside_others(stores: ExitStack) -> None:
    store = stores.enter_context(registered(Memory(login=Odd(MARK))))
    stores.enter_context(registered(Memory({"a": missing()}), "other", "Other"))
    result = reap("A = memory://a", "B = other://a")
    (problem,) = result.problems
    assert is_defect(problem.what + ". " + problem.remedy, "Odd")
    assert problem.where == "Memory"
    assert MARK not in str(problem)
    assert len(shown(result)[1]) == 1
    assert store.calls == ["login", "close"]


def test_an_unforeseen_error_of_a_listing_is_an_outcome(stores: ExitStack) -> None:
    stores.enter_context(registered(Memory(listing=Odd(MARK))))
    assert is_defect(shown(reap("memory://*"))[0][0], "Odd")


def test_a_store_that_cannot_be_made_is_a_problem_and_is_not_closed(
    stores: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stores.enter_context(registered(Memory({"a": "1"})))

    def fail(_: object) -> Memory:
        raise Odd(MARK)

    monkeypatch.setattr(store, "open_store", fail)
    (problem,) = reap("A = memory://a").problems
    assert "(Odd)" in problem.what
    assert store.calls == []


# --- at once, and in bounds


def test_fetches_run_at_once_and_in_bounds(stores: ExitStack) -> None:
    """Each waits until as many are under way as may be: with fewer it would never end. A further one would be seen."""
    together = threading.Barrier(THREADS, timeout=60)
    lock = threading.Lock()
    under_way: list[int] = []
    most: list[int] = []

    def meet() -> str:
        with lock:
            under_way.append(1)
            most.append(len(under_way))
        together.wait()
        with lock:
            under_way.pop()
        return "1"

    number = 3 * THREADS
    stores.enter_context(registered(Memory({f"s{at}": meet for at in range(number)})))
    result = reap(*(f"V{at} = memory://s{at}" for at in range(number)), seconds=100)
    assert shown(result) == [[f"s{at}: 1"] for at in range(number)]
    assert max(most) == THREADS


def test_stores_do_not_wait_for_each_other(stores: ExitStack) -> None:
    """Each store's login waits until the other has begun: one after the other would never end."""
    barrier = threading.Barrier(2, timeout=60)

    def meet() -> str:
        barrier.wait()
        return "me"

    stores.enter_context(registered(Memory({"a": "1"}, login=meet)))
    stores.enter_context(registered(Memory({"a": "2"}, login=meet), "other"))
    assert shown(reap("A = memory://a", "B = other://a")) == [["a: 1"], ["a: 2"]]


def test_a_store_is_closed_as_soon_as_it_is_done(stores: ExitStack) -> None:
    quick = stores.enter_context(registered(Memory({"a": "1"})))

    def after_the_other() -> str:
        wait_for(quick, "close")
        return "2"

    stores.enter_context(registered(Memory({"b": after_the_other}), "other"))
    assert shown(reap("A = memory://a", "B = other://b")) == [["a: 1"], ["b: 2"]]


def test_a_store_that_hangs_with_all_its_threads_holds_up_no_other(stores: ExitStack) -> None:
    hung = Memory()
    hung.secrets = {f"s{at}": hung.hang for at in range(2 * THREADS)}
    stores.enter_context(registered(hung))
    other = stores.enter_context(registered(Memory({"a": "1"}), "other"))
    with time_up_after(3, lambda: len(hung.fetched()) >= THREADS):  # two logins and the other's secret
        result = reap(*(f"V{at} = memory://s{at}" for at in range(2 * THREADS)), "A = other://a")
    assert shown(result)[-1] == ["a: 1"]
    assert len(hung.fetched()) == THREADS
    assert hung.calls.count("close") == other.calls.count("close") == 1


def test_what_has_not_begun_when_the_time_is_over_never_does(stores: ExitStack) -> None:
    hung = Memory()
    hung.secrets = {f"s{at}": hung.hang for at in range(2 * THREADS)}
    stores.enter_context(registered(hung))
    before = set(threading.enumerate())
    with time_up_after(1, lambda: len(hung.fetched()) >= THREADS):
        reap(*(f"V{at} = memory://s{at}" for at in range(2 * THREADS)))
    hung.released.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
    assert len(hung.fetched()) == THREADS


# --- the time


def test_when_the_time_is_over_it_is_told_what_was_waited_for(stores: ExitStack) -> None:
    hung = Memory({"b": "2", "c": missing()})
    hung.secrets["a"] = hung.hang
    stores.enter_context(registered(hung))
    with time_up_after(3):
        result = reap("A = memory://a", "B = memory://b", "C = memory://c", seconds=0.3)
    assert result.problems == [
        Problem(
            "no answer in the 0.3 s of timeout-seconds from Memory (a)",
            remedy="Check that the address can be reached from this machine, or raise timeout-seconds.",
        )
    ]
    assert shown(result) == [[], ["b: 2"], ["c: there is no such secret. Check the path."]]
    assert hung.calls.count("close") == 1


def test_the_time_is_over_by_the_clock(stores: ExitStack) -> None:
    hung = Memory()
    hung.secrets["a"] = hung.hang
    stores.enter_context(registered(hung))
    start = time.monotonic()
    (problem,) = reap("A = memory://a", seconds=0.3).problems
    # What hangs hangs for a minute.
    assert 0.25 < time.monotonic() - start < 45
    assert problem.what.startswith("no answer in the 0.3 s of timeout-seconds from Memory (")


def test_the_login_that_hangs_is_named_and_every_store_that_does(stores: ExitStack) -> None:
    one, two = Memory(), Memory()
    one.identity = one.hang
    two.secrets = {f"p{at}": two.hang for at in range(5)}
    stores.enter_context(registered(one))
    stores.enter_context(registered(two, "other", "Other"))
    with time_up_after(1):
        result = reap("A = memory://a", *(f"P{at} = other://p{at}" for at in range(5)))
    (problem,) = result.problems
    assert "from Memory (login); Other (p0, p1, p2 and 2 more)" in problem.what
    assert result.logins == {"Other": "who we are"}


def test_a_store_is_not_closed_before_its_login_has_ended_but_then(
    stores: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOGGING_IN", 0.2)
    hung = Memory()
    hung.identity = hung.hang
    stores.enter_context(registered(hung))
    start = time.monotonic()
    with time_up_after(0, lambda: hung.calls == ["login"]):
        reap("A = memory://a")
    assert time.monotonic() - start < 45  # what hangs hangs for a minute
    assert hung.calls == ["login"]
    hung.released.set()
    wait_for(hung, "close")
    assert hung.calls == ["login", "close"]


def test_a_path_that_is_waited_for_is_tamed(stores: ExitStack) -> None:
    hung = Memory()
    hung.secrets = {"a::b" + "x" * 100: hung.hang}
    stores.enter_context(registered(hung))
    with time_up_after(2):
        (problem,) = reap("memory://a*").problems
    assert "::" not in problem.what
    assert "x" * 70 not in problem.what


def test_a_listing_that_hangs_is_named(stores: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = Memory()

    def hang(_: Target, *, deep: bool) -> list[Target]:
        assert deep
        hung.hang()
        return []

    monkeypatch.setattr(hung, "list", hang)
    stores.enter_context(registered(hung))
    with time_up_after(1):
        result = reap("memory://imip/**")
    assert "Memory (imip/**)" in result.problems[0].what
    assert shown(result) == [[]]


def test_a_person_who_waits_is_told_what_for(stores: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIGN_OF_LIFE", 0.1)
    hung = Memory()
    hung.secrets["a"] = hung.hang
    stores.enter_context(registered(hung))

    class Heard(list[str]):
        """Lets the secret come when its name was said three times."""

        def append(self, line: str) -> None:
            super().append(line)
            if self.count("Still waiting for Memory (a).") == 3:
                hung.released.set()

    said, start = Heard(), time.monotonic()
    assert shown(reap("A = memory://a", said=said)) == [["a: too late"]]
    assert set(said) <= {"Still waiting for Memory (a).", "Still waiting for Memory (login)."}
    assert len(said) * 0.09 < time.monotonic() - start


def test_nobody_is_told_of_a_wait_that_is_short(stores: ExitStack) -> None:
    stores.enter_context(registered(Memory({"a": slow(0.1, "1")})))
    said: list[str] = []
    reap("A = memory://a", said=said)
    assert said == []


def test_an_answer_that_is_there_when_the_time_is_over_still_counts(stores: ExitStack) -> None:
    hung = Memory()
    hung.secrets["b"] = hung.hang
    stores.enter_context(registered(Memory({"a": "1"})))
    stores.enter_context(registered(hung, "other"))
    with time_up_after(3):
        result = reap("A = memory://a", "B = other://b")
    assert shown(result) == [["a: 1"], []]
    assert len(result.problems) == 1


# --- the ends of the sessions


def test_the_result_waits_for_the_end_of_a_session(stores: ExitStack) -> None:
    ended = threading.Event()

    def end() -> str:
        time.sleep(0.1)
        ended.set()
        return ""

    stores.enter_context(registered(Memory({"a": "1"}, closing=end)))
    assert shown(reap("A = memory://a")) == [["a: 1"]]
    assert ended.is_set()


def test_an_end_that_hangs_spoils_nothing_and_is_told(stores: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSING", 0.2)
    store = Memory({"a": "1"})
    store.closing = store.hang
    stores.enter_context(registered(store))
    said: list[str] = []
    start = time.monotonic()
    result = reap("A = memory://a", said=said)
    assert time.monotonic() - start < 45  # what hangs hangs for a minute
    assert (shown(result), result.problems) == ([["a: 1"]], [])
    assert said == ["The session at Memory could not be ended in 0.2 s: it ends by itself."]


def test_an_end_that_fails_spoils_nothing_and_is_told_by_its_type(stores: ExitStack) -> None:
    stores.enter_context(registered(Memory({"a": "1"}, closing=Odd(MARK))))
    said: list[str] = []
    result = reap("A = memory://a", said=said)
    assert (shown(result), result.problems) == ([["a: 1"]], [])
    assert said == ["The session at Memory was not ended well (Odd)."]


def test_sessions_are_ended_when_a_person_interrupts(stores: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIGN_OF_LIFE", 0.1)
    hung, done = Memory(), Memory({"a": "1"})
    hung.secrets["a"] = hung.hang
    stores.enter_context(registered(hung))
    stores.enter_context(registered(done, "other"))

    class Interrupting(list[str]):
        def append(self, _: str) -> None:
            if hung.fetched() and "close" in done.calls:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reap("A = memory://a", "B = other://a", said=Interrupting())
    assert hung.calls == ["login", "fetch a", "close"]
    assert done.calls == ["login", "fetch a", "close"]


@pytest.mark.parametrize("number", [1, 2, 40])
def test_every_store_is_closed_exactly_once_whatever_happens(stores: ExitStack, number: int) -> None:
    contents: list[Content] = [missing(), denied(), "1", Odd()]
    entered: list[AbstractContextManager[Memory]] = [
        registered(Memory({f"s{at}": contents[at % 4] for at in range(number)}, login=login), name)
        for name, login in (("one", "me"), ("two", denied()), ("three", Odd()))
    ]
    kept = [stores.enter_context(each) for each in entered]
    reap(*(f"A{at} = {name}://s{at}" for at in range(number) for name in ("one", "two", "three")))
    assert [store.calls.count("close") for store in kept] == [1, 1, 1]
    assert all(store.calls[-1] == "close" for store in kept)


# --- what is kept


def test_credentials_that_live_by_a_login_come_with_what_was_found(stores: ExitStack) -> None:
    kept = MemoryKept(["a"])
    stores.enter_context(registered(Memory({"a": "1"}, kept=kept)))
    given = context()
    harvest(lines_of("memory://a"), given)
    assert given.kept == [kept]
    assert kept.calls == []


def test_credentials_of_an_interrupted_run_are_known(stores: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIGN_OF_LIFE", 0.1)
    kept = MemoryKept(["b"])
    hung = Memory()
    hung.secrets["a"] = hung.hang
    stores.enter_context(registered(hung))
    done = stores.enter_context(registered(Memory({"b": "1"}, kept=kept), "other"))

    class Interrupting(list[str]):
        def append(self, _: str) -> None:
            if "close" in done.calls:
                raise KeyboardInterrupt

    given = context(said=Interrupting())
    with pytest.raises(KeyboardInterrupt):
        harvest(lines_of("A = memory://a", "B = other://b"), given)
    assert given.kept == [kept]


def test_a_login_under_way_is_waited_for_a_moment_and_its_session_ended(
    stores: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOGGING_IN", 60.0)
    store = stores.enter_context(registered(Memory(login=slow(0.3, "me"))))
    with time_up_after(0, lambda: store.calls == ["login"]):
        assert reap("memory://a").problems
    assert store.calls == ["login", "close"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["login", "fetch a", "close"])
def test_a_signal_at_any_moment_ends_the_run_at_once_and_every_session(
    stores: ExitStack, when: str, number: signal.Signals
) -> None:
    kept = MemoryKept(["a"])
    store = Memory({"a": "1"}, kept=kept)

    def send() -> Content:
        os.kill(os.getpid(), number)
        time.sleep(0.1)
        return "1"

    if when == "login":
        store.identity = send
    elif when == "close":
        store.closing = send
    else:
        store.secrets["a"] = send
    stores.enter_context(registered(store))
    before = signal.signal(number, signal.default_int_handler)
    given = context()
    try:
        with pytest.raises(KeyboardInterrupt):
            harvest(lines_of("memory://a"), given)
    finally:
        signal.signal(number, before)
    assert store.calls[-1] == "close"
    assert given.kept == [kept]
