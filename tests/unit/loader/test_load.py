"""What an application gets from load_secrets(), over a store in memory."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import logging
import multiprocessing
import os
import pickle
import pprint
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import jwt
import pytest

import imip_secrets
from imip_secrets import ImipError, Secrets, aload_secrets, load_secrets
from imip_secrets.errors import UsageError
from imip_secrets.loader import loading
from stand_ins.memory import Memory, denied, registered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VALUE = "hunter2-is-no-password"
TIMEOUT = 60
fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")


class Clock:
    """Stands still until it is put forward."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENVIRONMENT", "SECRET_NAME", "AWS_REGION", "VAULT_ADDR", "VAULT_SECRET_PATH", "KEY_VAULT_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store() -> Iterator[Memory]:
    with registered(Memory({"imip/a": json.dumps({"SECRET_KEY": VALUE, "PORT": 5432})})) as memory:
        yield memory
        for secrets in list(loading._LOADED._by_key.values()):
            secrets.close()


def load(clock: Clock, *references: str, stale: float = 120) -> Secrets:
    given = references or ("memory://imip/a",)
    return loading.load(given, env_file=".env", times=(300, stale), settings={}, clock=clock)


def wait_for(condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# --- a mapping that shows nothing -------------------------------------------------------------------------------------


def test_it_is_a_read_only_mapping(store: Memory, clock: Clock) -> None:
    secrets = load(clock)
    assert secrets["SECRET_KEY"] == VALUE
    assert secrets.get("PORT") == "5432"
    assert secrets.get("NONE") is None
    assert secrets.get("NONE", "x") == "x"
    assert list(secrets) == ["SECRET_KEY", "PORT"]
    assert "NONE" not in secrets
    assert dict(secrets) == {"SECRET_KEY": VALUE, "PORT": "5432"}
    assert len(secrets) == 2
    assert "PORT" in secrets
    with pytest.raises(KeyError, match="there is no secret 'NONE'; there are: SECRET_KEY, PORT"):
        secrets["NONE"]
    with pytest.raises(TypeError):
        secrets["SECRET_KEY"] = "x"  # type: ignore[index]  # that is the point
    with pytest.raises(AttributeError):
        secrets.other = "x"  # type: ignore[attr-defined]  # that is the point
    assert store.fetched() == ("imip/a",)


def test_nothing_shows_a_value(store: Memory, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    secrets = load(clock)
    logging.getLogger("app").warning("%s %r", secrets, secrets)
    shown = [
        repr(secrets),
        str(secrets),
        f"{secrets:>100}",
        f"{secrets!s} {secrets}",
        pprint.pformat({"config": secrets}),
        repr(secrets.items()),
        repr(secrets.values()),
        repr(dir(secrets)),
        str(secrets._live),
        repr(secrets._live.cache._kept),
        caplog.text,
    ]
    assert shown[0] == "Secrets(SECRET_KEY=***, PORT=***)"
    assert [text for text in shown if VALUE in text or "5432" in text] == []
    with pytest.raises(TypeError):
        vars(secrets)
    with pytest.raises(TypeError):
        hash(secrets)
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            way(secrets)
    with pytest.raises(TypeError):
        json.dumps(secrets)
    # Read after an hour it would have to be read again, and is not for this.
    clock.now += 3600
    assert repr(secrets) == "Secrets()"
    assert store.fetched() == ("imip/a",)


def test_a_traceback_with_its_variables_shows_no_value(store: Memory, clock: Clock) -> None:
    secrets = load(clock)
    clock.now += 3600
    store.secrets["imip/a"] = denied()
    try:
        secrets["SECRET_KEY"]
    except ImipError as error:
        told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "access is denied" in told
    assert VALUE not in told


# --- up to date -------------------------------------------------------------------------------------------------------


def test_an_access_after_the_time_to_live_has_the_new_value(store: Memory, clock: Clock) -> None:
    secrets = load(clock)
    store.secrets["imip/a"] = '{"SECRET_KEY": "new"}'
    assert secrets["SECRET_KEY"] == VALUE
    clock.now += 301
    assert secrets["SECRET_KEY"] == "new"
    assert list(secrets) == ["SECRET_KEY"]


def test_an_outage_serves_what_there_is_for_two_minutes(store: Memory, clock: Clock) -> None:
    secrets = load(clock)
    store.identity = denied("login")
    clock.now += 300 + 119
    assert secrets["SECRET_KEY"] == VALUE
    clock.now += 2
    with pytest.raises(ImipError, match="access is denied") as caught:
        secrets["SECRET_KEY"]
    assert all(". " in line for line in str(caught.value).splitlines())
    # It is no missing key: get() must not give a default for it.
    with pytest.raises(ImipError):
        secrets.get("SECRET_KEY", "default")
    # Who asks for the same again has the same object, which comes back with the store.
    with pytest.raises(ImipError):
        load(clock)
    store.identity = "who we are"
    clock.now += 30
    assert secrets["SECRET_KEY"] == VALUE


def test_nothing_half_new_is_given_out(store: Memory, clock: Clock) -> None:
    store.secrets["imip/b"] = "old b"
    secrets = load(clock, "A = memory://imip/a", "B = memory://imip/b")
    store.secrets |= {"imip/a": "new a", "imip/b": denied()}
    clock.now += 301
    assert (json.loads(secrets["A"])["SECRET_KEY"], secrets["B"]) == (VALUE, "old b")


def test_who_wants_to_know_is_told_the_names_that_changed(store: Memory, clock: Clock) -> None:
    secrets = load(clock)
    told: list[tuple[frozenset[str], str]] = []

    @secrets.on_change
    def changed(names: frozenset[str]) -> None:
        told.append((names, secrets["SECRET_KEY"]))

    secrets.on_change(changed)
    secrets.refresh()
    assert told == []
    store.secrets["imip/a"] = '{"SECRET_KEY": "new", "TOKEN": "t"}'
    secrets.refresh()
    assert told == [(frozenset({"SECRET_KEY", "PORT", "TOKEN"}), "new")]


def test_a_callback_makes_changes_come_by_themselves(store: Memory) -> None:
    told = threading.Event()
    secrets = load_secrets("memory://imip/a", ttl=0.1, on_change=lambda _: told.set())
    store.secrets["imip/a"] = '{"SECRET_KEY": "new"}'
    assert told.wait(TIMEOUT)
    assert secrets["SECRET_KEY"] == "new"
    threads = {thread.name for thread in threading.enumerate()}
    assert "imip-secrets-keeper" in threads
    with secrets:
        pass
    wait_for(lambda: "imip-secrets-keeper" not in {thread.name for thread in threading.enumerate()})


def test_the_keeper_goes_with_the_secrets(store: Memory) -> None:
    secrets = load_secrets("memory://imip/a", ttl=0.1, on_change=lambda _: None)
    secrets._forget()
    del secrets
    gc.collect()
    wait_for(lambda: "imip-secrets-keeper" not in {thread.name for thread in threading.enumerate()})
    assert store.fetched()


def test_the_keeper_outlives_an_outage(store: Memory, caplog: pytest.LogCaptureFixture) -> None:
    told = threading.Event()
    load_secrets("memory://imip/a", ttl=0.1, stale=0, on_change=lambda _: told.set())
    store.identity = denied("login")
    wait_for(lambda: "access is denied" in caplog.text)
    store.identity = "who we are"
    store.secrets["imip/a"] = '{"SECRET_KEY": "new"}'
    assert told.wait(TIMEOUT)


def test_a_callback_that_fails_is_told_of_without_its_text(
    store: Memory, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = load(clock)

    def fails(_: frozenset[str]) -> None:
        raise ValueError(VALUE)

    told: list[frozenset[str]] = []
    secrets.on_change(fails)
    secrets.on_change(told.append)
    store.secrets["imip/a"] = '{"SECRET_KEY": "new"}'
    secrets.refresh()
    assert len(told) == 1
    assert "an on_change callback failed (ValueError)" in caplog.text
    assert VALUE not in caplog.text


def test_a_coroutine_function_would_never_be_awaited(store: Memory, clock: Clock) -> None:
    async def changed(_: frozenset[str]) -> None: ...

    with pytest.raises(TypeError, match="call_soon_threadsafe"):
        load(clock).on_change(changed)
    assert store.fetched()


# --- loading ----------------------------------------------------------------------------------------------------------


def test_the_same_is_read_once_however_often_it_is_loaded(store: Memory, clock: Clock) -> None:
    assert load(clock) is load(clock)
    assert store.fetched() == ("imip/a",)
    assert load(clock, "X_* = memory://imip/a") is not load(clock)


def test_sixty_four_threads_that_load_make_one_request(store: Memory, clock: Clock) -> None:
    barrier = threading.Barrier(64)

    def run(_: int) -> str:
        barrier.wait(TIMEOUT)
        return load(clock)["SECRET_KEY"]

    with ThreadPoolExecutor(64) as pool:
        assert set(pool.map(run, range(64))) == {VALUE}
    assert store.calls == ["login", "fetch imip/a", "close"]


def test_what_could_not_be_loaded_is_tried_anew(store: Memory, clock: Clock) -> None:
    content = store.secrets.pop("imip/a")
    with pytest.raises(ImipError, match=r"line 1, memory://imip/a: there is no such secret. Check the path."):
        load(clock)
    store.secrets["imip/a"] = content
    assert load(clock)["SECRET_KEY"] == VALUE


def test_secrets_that_were_closed_are_loaded_anew(store: Memory, clock: Clock) -> None:
    with load(clock) as secrets:
        pass
    assert load(clock) is not secrets
    assert secrets["SECRET_KEY"] == VALUE
    assert len(store.fetched()) == 2


@pytest.mark.parametrize(
    ("references", "given", "error"),
    [
        (("memory://a?as=file",), {}, "as=file is for imip-secrets run and the action"),
        (("memory://a",), {"ttl": 0}, "load_secrets: ttl=0 is no number of seconds. Try ttl=300."),
        (("memory://a",), {"stale": float("nan")}, "load_secrets: stale=nan is no number of seconds"),
        (("memory://a",), {"settings": {"region": "x"}}, "load_secrets: there is no setting 'region'"),
        (("memory://a",), {"settings": {"timeout-seconds": "x"}}, r"settings['timeout-seconds']: 'x' is no whole"),
        (("memroy://a",), {}, "line 1, memroy://a: 'memroy' is no store that is known here"),
        (("vault://secret/a",), {}, "VAULT_ADDR: it is missing. Write VAULT_ADDR=https://vault.example.com:8200."),
        (("memory://a", "A-B = memory://b"), {}, "line 2, A-B = memory://b: 'A-B' is no name for a variable"),
    ],
)
def test_a_mistake_is_told_in_the_words_of_the_library(
    store: Memory, references: tuple[str, ...], given: dict[str, float], error: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load_secrets(*references, **given)  # type: ignore[arg-type]  # some of it is wrong on purpose
    assert error in str(caught.value)
    assert store.calls == []


def test_refused_logins_are_told_in_the_words_of_the_library(store: Memory, clock: Clock) -> None:
    store.identity = ImipError(imip_secrets.errors.Problem("no way in", "input vault-token", "Give vault-token: x."))
    with pytest.raises(ImipError) as caught:
        load(clock)
    assert str(caught.value) == "VAULT_TOKEN: no way in. Give VAULT_TOKEN=x."


def test_names_that_meet_are_refused_as_everywhere(store: Memory, clock: Clock) -> None:
    store.secrets["imip/b"] = '{"PORT": 1}'
    with pytest.raises(ImipError, match="PORT is given by"):
        load(clock, "memory://imip/a", "memory://imip/b")


def test_only_an_id_token_of_a_job_would_do(store: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    from imip_secrets.deadline import Deadline  # noqa: PLC0415 - one test of several
    from imip_secrets.loader import reading  # noqa: PLC0415 - the same

    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_URL", raising=False)
    with pytest.raises(ImipError, match="Hand one over as IMIP_ID_TOKEN_FILE or IMIP_ID_TOKEN; or use credentials of"):
        reading._id_tokens(Deadline(1))("audience")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "https://id.example")
    with pytest.raises(ImipError, match=r"^ID token: "):
        reading._id_tokens(Deadline(1))("audience")
    # One that is handed over comes before the job's own, as at the command line.
    monkeypatch.setenv("IMIP_ID_TOKEN", jwt.encode({"aud": "audience"}, "k" * 32))
    assert reading._id_tokens(Deadline(1))("audience").claims == {"aud": "audience"}
    assert store.calls == []


# --- event loops ------------------------------------------------------------------------------------------------------


def test_an_event_loop_is_never_held_up(store: Memory, clock: Clock) -> None:
    secrets = load(clock)
    clock.now += 301
    store.secrets["imip/a"] = store.hang

    async def serve() -> str:
        # In the loop an old value is given out at once, and read again in another thread.
        for _ in range(10):
            assert secrets["SECRET_KEY"] == VALUE
        waiting = asyncio.create_task(secrets.aget("SECRET_KEY"))
        await asyncio.sleep(0.05)
        store.secrets["imip/a"] = '{"SECRET_KEY": "new"}'
        store.released.set()
        return await waiting

    assert asyncio.run(asyncio.wait_for(serve(), TIMEOUT)) in {VALUE, "new"}
    wait_for(lambda: len(store.fetched()) == 2)


def test_awaiting_reads_what_is_old(store: Memory, clock: Clock) -> None:
    secrets = load(clock)
    store.secrets["imip/a"] = '{"SECRET_KEY": "new"}'

    async def serve() -> list[str]:
        before = await secrets.aget("SECRET_KEY")
        clock.now += 301
        after = await secrets.aget("SECRET_KEY")
        store.secrets["imip/a"] = '{"SECRET_KEY": "newest"}'
        await secrets.arefresh()
        return [before, after, await secrets.aget("SECRET_KEY")]

    assert asyncio.run(serve()) == [VALUE, "new", "newest"]


def test_loading_can_be_awaited(store: Memory) -> None:
    async def start() -> Secrets:
        return await aload_secrets("memory://imip/a", ttl=60)

    secrets = asyncio.run(start())
    assert secrets["SECRET_KEY"] == VALUE
    assert secrets is load_secrets("memory://imip/a", ttl=60)
    assert store.fetched() == ("imip/a",)


# --- forks ------------------------------------------------------------------------------------------------------------


@fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # the fork under threads is the point
def test_a_fork_while_another_thread_reads_leaves_the_child_a_working_cache(store: Memory, clock: Clock) -> None:
    secrets = load(clock)
    clock.now += 301
    store.secrets["imip/a"] = store.hang
    reading = threading.Thread(target=secrets.get, args=("SECRET_KEY",))
    reading.start()
    wait_for(lambda: len(store.fetched()) == 2)

    def child(answers: multiprocessing.queues.Queue[str]) -> None:
        store.secrets["imip/a"] = '{"SECRET_KEY": "new"}'
        clock.now += 3600
        answers.put(secrets["SECRET_KEY"])
        answers.put(load(clock)["SECRET_KEY"])

    forking = multiprocessing.get_context("fork")
    answers: multiprocessing.queues.Queue[str] = forking.Queue()
    try:
        process = forking.Process(target=child, args=(answers,))
        process.start()
        assert [answers.get(timeout=TIMEOUT), answers.get(timeout=TIMEOUT)] == ["new", "new"]
        process.join(TIMEOUT)
        assert process.exitcode == 0
    finally:
        store.released.set()
        reading.join(TIMEOUT)


@fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # the fork under threads is the point
def test_a_child_tends_its_secrets_itself(store: Memory) -> None:
    secrets = load_secrets("memory://imip/a", ttl=0.2, on_change=lambda _: None)
    forking = multiprocessing.get_context("fork")
    answers: multiprocessing.queues.Queue[int] = forking.Queue()

    def child() -> None:
        before = len(store.fetched())
        end = time.monotonic() + TIMEOUT
        while len(store.fetched()) <= before and time.monotonic() < end:
            time.sleep(0.01)
        answers.put(len(store.fetched()) - before)

    process = forking.Process(target=child)
    process.start()
    assert answers.get(timeout=TIMEOUT) > 0
    process.join(TIMEOUT)
    assert secrets["SECRET_KEY"] == VALUE


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_importing_it_imports_no_library_and_little_else() -> None:
    script = (
        "import sys; before = set(sys.modules); "
        "from imip_secrets import load_secrets; "
        "print(*set(sys.modules) - before)"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=200
    ).stdout
    tops = {name.partition(".")[0] for name in said.split()}
    assert tops - sys.stdlib_module_names == {"imip_secrets"}
    assert {"asyncio", "inspect", "dataclasses", "logging", "ssl", "threading"}.isdisjoint(tops)


def test_an_unknown_name_of_the_package_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'secrets'"):
        imip_secrets.secrets  # noqa: B018 - that is the point
    assert {"load_secrets", "aload_secrets", "Secrets", "ImipError"} <= set(imip_secrets.__all__)
    assert imip_secrets.ImipError is ImipError


def test_memory_is_flat_over_many_accesses_and_refreshes(store: Memory, clock: Clock) -> None:
    secrets = load(clock)

    def use(times: int) -> int:
        for number in range(times):
            secrets["SECRET_KEY"]
            secrets.get("NONE")
            if number % 1000 == 0:
                clock.now += 301
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        use(20_000)
        del store.calls[:]
        first = use(20_000)
        del store.calls[:]
        # One object kept for each access would be a megabyte and more; what measures coverage grows a little too.
        assert use(20_000) - first < 200_000
    finally:
        tracemalloc.stop()


def test_the_file_of_development_needs_development(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("SECRET_KEY='x${HOME}'\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for environment in ("", "production", "staging", "Prod", "unknown"):
        monkeypatch.setenv("ENVIRONMENT", environment)
        with pytest.raises(UsageError, match="ENVIRONMENT=development"):
            load_secrets()
