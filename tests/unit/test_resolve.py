"""From a request to variables: all of them, or every reason why not."""

from __future__ import annotations

import threading
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imip_secrets import request
from imip_secrets.errors import ImipError
from imip_secrets.resolve import resolve
from stand_ins.memory import Memory, MemoryKept, context, denied, missing, registered
from stand_ins.time_up import time_up_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imip_secrets.resolve import Resolved
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


def resolved(*written: str, seconds: float = 30.0, **inputs: str) -> Resolved:
    values = {"secrets": "\n".join(written), **{name.replace("_", "-"): text for name, text in inputs.items()}}
    return resolve(request.read(values), context(seconds))


def values(result: Resolved) -> dict[str, str]:
    """Return the variables; each name must be there once."""
    names = [variable.name for variable in result.variables]
    assert len(set(names)) == len(names)
    return {variable.name: variable.value.reveal() for variable in result.variables}


def problems(*written: str, seconds: float = 30.0, **inputs: str) -> list[str]:
    with pytest.raises(ImipError) as caught:
        resolved(*written, seconds=seconds, **inputs)
    said = list(map(str, caught.value.problems))
    assert MARK not in "".join(said)
    return said


def memory(stores: ExitStack, secrets: dict[str, Content], name: str = "memory", title: str = "Memory") -> Memory:
    return stores.enter_context(registered(Memory(secrets), name, title))


# --- what is given


def test_every_form_of_a_reference_in_one_request(stores: ExitStack) -> None:
    secrets: dict[str, Content] = {
        "imip/production": '{"SECRET_KEY":"s","MONGO_URI":"m"}',
        "imip/plain": "p",
        "list/one": "1",
        "list/two": '{"k":"2"}',
        "list/deep/three": "3",
    }
    store = memory(stores, secrets)
    result = resolved(
        "memory://imip/production  # every key",
        "DATABASE_URL = memory://imip/production#MONGO_URI",
        "APP_* = memory://imip/production",
        "WHOLE = memory://imip/production",
        "memory://imip/plain",
        "L_* = memory://list/*",
        "D_* = memory://list/**",
        "memory://imip/none?optional",
        "NONE = memory://imip/none?default=d",
        "F = memory://imip/plain?as=file&mask=off",
    )
    assert values(result) == {
        "SECRET_KEY": "s",
        "MONGO_URI": "m",
        "DATABASE_URL": "m",
        "APP_SECRET_KEY": "s",
        "APP_MONGO_URI": "m",
        "WHOLE": '{"SECRET_KEY":"s","MONGO_URI":"m"}',
        "PLAIN": "p",
        "L_ONE": "1",
        "L_K": "2",
        "D_THREE": "3",
        "D_ONE": "1",
        "D_K": "2",
        "NONE": "d",
        "F": "p",
    }
    assert [line.number for line in result.absent] == [8]
    assert result.logins == {"Memory": "who we are"}
    assert sorted(store.fetched()) == sorted({*secrets, "imip/none"})
    last = result.variables[-1]
    assert (last.name, last.line.reference.as_file, last.line.reference.mask) == ("F", True, False)


def test_variables_stand_in_the_order_of_the_lines(stores: ExitStack) -> None:
    memory(stores, {"a": '{"z":1,"a":2}', "b": "3"})
    memory(stores, {"c": "4"}, "other")
    assert list(values(resolved("B = memory://b", "C = other://c", "memory://a"))) == ["B", "C", "Z", "A"]


def test_the_transform_of_the_request_is_used(stores: ExitStack) -> None:
    memory(stores, {"a": '{"Key":1}'})
    assert list(values(resolved("memory://a", name_transform="lower"))) == ["key"]


def test_the_same_line_twice_gives_one_variable_and_one_request(stores: ExitStack) -> None:
    store = memory(stores, {"a": '{"k":"1"}'})
    assert values(resolved("memory://a", "memory://a", "N = memory://a#k", "N = memory://a#k")) == {"K": "1", "N": "1"}
    assert store.fetched() == ("a",)


def test_lines_that_give_nothing_are_told(stores: ExitStack) -> None:
    memory(stores, {"a": '{"k":"1"}'})
    result = resolved(
        "memory://a#k",
        "memory://gone?optional",
        "memory://a?optional#gone",
        "memory://none/*?optional",
        "D = memory://gone?optional&default=d",
        "E = memory://a?optional#k",
    )
    assert values(result) == {"K": "1", "D": "d", "E": "1"}
    assert [line.number for line in result.absent] == [2, 3, 4]


def test_a_listed_secret_that_is_gone_when_it_is_read_is_optional_too(stores: ExitStack) -> None:
    memory(stores, {"l/a": "1", "l/b": missing()})
    result = resolved("memory://l/*?optional")
    assert values(result) == {"A": "1"}
    assert result.absent == ()
    assert problems("memory://l/*") == ["line 1, memory://l/* (l/b): there is no such secret. Check the path."]


def test_all_optional_and_nothing_there_is_an_empty_result(stores: ExitStack) -> None:
    memory(stores, {})
    result = resolved("memory://a?optional")
    assert result.variables == ()
    assert len(result.absent) == 1


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.from_regex(r"\AV[A-Z_]{0,9}\Z"), st.binary(), min_size=1, max_size=8))
def test_any_bytes_come_back_under_their_names(contents: dict[str, bytes]) -> None:
    with registered(Memory({name.lower(): data for name, data in contents.items()})):
        result = resolved(*(f"{name} = memory://{name.lower()}" for name in contents))
    assert {variable.name: variable.value.reveal_bytes() for variable in result.variables} == contents


# --- what fails


def test_a_failure_that_lines_share_is_one_problem_that_names_them(stores: ExitStack) -> None:
    memory(stores, {"a": denied(), "b": denied(), "o": '{"k":1}'})
    assert problems(
        "A = memory://a",
        "memory://a#x",
        "B = memory://b",
        "memory://a#y",
        "memory://o#gone",
        "G = memory://o#gone",
    ) == [
        "line 1, memory://a (and lines 2, 4): access is denied. Allow memory:Read.",
        "line 3, memory://b: access is denied. Allow memory:Read.",
        'line 5, memory://o#gone (and line 6): there is no key "gone". There is k.',
    ]


def test_the_same_words_about_two_secrets_are_two_problems(stores: ExitStack) -> None:
    memory(stores, {"a": f"!{MARK}", "b": f"?{MARK}"})
    memory(stores, {"a": f"?{MARK}"}, "other")
    assert [
        each.partition(": ")[0]
        for each in problems(
            *(f"V{at} = {where}?decode=base64" for at, where in enumerate(["memory://a", "memory://b", "other://a"]))
        )
    ] == ["line 1, memory://a?decode=base64", "line 2, memory://b?decode=base64", "line 3, other://a?decode=base64"]


def test_every_failing_key_is_named_and_its_line_once(stores: ExitStack) -> None:
    memory(stores, {"a": '{"schlüssel":1,"ключ\\n":2,"ключ ":3}'})
    said = problems("memory://a")
    assert len(said) == 2
    assert all(each.startswith("line 1, memory://a: ") for each in said)


def test_every_failing_secret_of_a_listing_is_named(stores: ExitStack) -> None:
    memory(stores, {"l/a": "{}", "l/b": "fine", "l/c": "{}", "l/d": denied()})
    assert [each.partition(": ")[0] for each in problems("P_* = memory://l/*", "Q_* = memory://l/*")] == [
        "line 1, memory://l/* (l/a) (and line 2)",
        "line 1, memory://l/* (l/c) (and line 2)",
        "line 1, memory://l/* (l/d) (and line 2)",
    ]


def test_a_listing_that_finds_nothing_is_an_error_unless_optional(stores: ExitStack) -> None:
    memory(stores, {"a": "1"})
    (only,) = problems("memory://l/*", "memory://l/**", "memory://l/*?optional", "X_* = memory://l/*")
    assert only == (
        "line 1, memory://l/* (and lines 2, 4): nothing is there that continues this path. "
        "Check the path, or add ?optional."
    )


def test_a_denied_listing_is_an_error_even_when_optional(stores: ExitStack) -> None:
    stores.enter_context(registered(Memory(listing=denied("memory:List"))))
    assert problems("memory://l/*?optional") == ["line 1, memory://l/*?optional: access is denied. Allow memory:List."]


def test_all_failures_of_all_stores_are_told_together(stores: ExitStack) -> None:
    memory(stores, {"a": missing(), "b": MARK, "c": '{"LD_PRELOAD":"x","ok":"1"}', "d": ValueError(MARK), "e": "1"})
    stores.enter_context(registered(Memory(login=denied("a login")), "other", "Other"))
    said = problems(
        "A = memory://a",
        "B = other://b",
        "memory://b#k",
        "memory://c",
        "D = memory://d",
        "OK = memory://e",
    )
    assert [each.partition(": ")[0] for each in said] == [
        "Other",
        "line 1, memory://a",
        "line 3, memory://b#k",
        "line 5, memory://d",
        'line 4, memory://c (key "LD_PRELOAD")',
        "line 6, memory://e",
    ]
    assert 'OK is given by line 4, memory://c (key "ok") as well' in said[-1]
    assert "(ValueError)" in said[3]


def test_both_logins_are_told_and_neither_store_is_asked_for_more(stores: ExitStack) -> None:
    first = stores.enter_context(registered(Memory(login=denied()), "memory", "Memory"))
    second = stores.enter_context(registered(Memory(login=denied()), "other", "Other"))
    assert problems("A = memory://a", "B = other://b") == [
        "Memory: access is denied. Allow memory:Read.",
        "Other: access is denied. Allow memory:Read.",
    ]
    assert first.calls == second.calls == ["login", "close"]


def test_a_hung_store_is_told_beside_the_failures_of_another(stores: ExitStack) -> None:
    hung = memory(stores, {})
    hung.secrets["a"] = hung.hang
    memory(stores, {"b": missing()}, "other", "Other")
    with time_up_after(3):
        said = problems("A = memory://a", "B = other://b", seconds=0.3)
    assert said[0].startswith("no answer in the 0.3 s of timeout-seconds from Memory (a). Check that the address")
    assert said[1].startswith("line 2, other://b: there is no such secret")


FAULTS: dict[str, Callable[[Memory], Content]] = {
    "missing": lambda _: missing(),
    "denied": lambda _: denied(),
    "unforeseen": lambda _: RuntimeError(MARK),
    "not an object": lambda _: MARK,
    "no keys": lambda _: "{}",
    "no such key": lambda _: f'{{"other":"{MARK}"}}',
    "no base64": lambda _: f'{{"k":"!{MARK}"}}',
    "hung": lambda store: store.hang,
}
NUMBER = 6


@pytest.mark.parametrize("position", range(NUMBER))
@pytest.mark.parametrize("fault", FAULTS)
def test_one_failure_at_any_position_gives_no_variable(stores: ExitStack, fault: str, position: int) -> None:
    store = memory(stores, {f"s{at}": '{"k":"aGk="}' for at in range(NUMBER)})
    store.secrets[f"s{position}"] = FAULTS[fault](store)
    lines = [f"V{at} = memory://s{at}?decode=base64#k" for at in range(NUMBER)]
    # The login and all but one of the secrets.
    with time_up_after(NUMBER) if fault == "hung" else nullcontext():
        said = problems(*lines)
    (only,) = said
    assert f"s{position}" in only
    assert store.calls.count("close") == 1


@pytest.mark.parametrize("position", range(NUMBER))
def test_a_refused_name_at_any_position_gives_no_variable(stores: ExitStack, position: int) -> None:
    memory(stores, {f"s{at}": f'{{"k{at}":"1"}}' if at != position else '{"Path":"1"}' for at in range(NUMBER)})
    (only,) = problems(*(f"memory://s{at}" for at in range(NUMBER)))
    assert only.startswith(f'line {position + 1}, memory://s{position} (key "Path"): the name PATH is refused')


# --- names from the store


@pytest.mark.parametrize(
    ("written", "secrets", "name"),
    [
        ("memory://a", {"a": '{"LD_PRELOAD":"x"}'}, "LD_PRELOAD"),
        ("memory://a", {"a": '{"path":"x"}'}, "PATH"),
        ("GIT_* = memory://a", {"a": '{"ssh_command":"x"}'}, "GIT_SSH_COMMAND"),
        ("memory://l/*", {"l/bash_env": "x"}, "BASH_ENV"),
        ("HTTP_* = memory://l/**", {"l/in/proxy": "x"}, "HTTP_PROXY"),
        ("memory://l/node_options", {"l/node_options": "x"}, "NODE_OPTIONS"),
    ],
)
def test_a_name_from_the_store_that_changes_programs_is_refused(
    stores: ExitStack, written: str, secrets: dict[str, Content], name: str
) -> None:
    memory(stores, secrets)
    (only,) = problems(written)
    assert f"the name {name} is refused" in only


def test_an_allowed_name_from_the_store_is_given(stores: ExitStack) -> None:
    memory(stores, {"a": '{"PATH":"x","http_proxy":"y"}'})
    assert values(resolved("memory://a", allow_names="path, HTTP_PROXY")) == {"PATH": "x", "HTTP_PROXY": "y"}
    assert len(problems("memory://a", allow_names="PATH")) == 1


def test_a_name_that_two_secrets_give_is_an_error_that_names_both(stores: ExitStack) -> None:
    memory(stores, {"a": '{"k":"1"}', "b": '{"K":"1"}'})
    (only,) = problems("memory://a", "memory://b", name_transform="none")
    assert only == (
        'line 2, memory://b (key "K"): K (or k, the same on Windows) is given by line 1, memory://a (key "k") as well. '
        "Give one of them another NAME, or a prefix."
    )


def test_a_name_that_is_written_collides_with_one_from_a_store(stores: ExitStack) -> None:
    memory(stores, {"a": '{"k":"1"}', "b": "2"})
    (only,) = problems("K = memory://b", "memory://a")
    assert "K is given by line 1, memory://b as well" in only


def test_a_name_that_is_not_given_collides_with_nothing(stores: ExitStack) -> None:
    memory(stores, {"a": '{"k":"1"}'})
    assert values(resolved("memory://k?optional", "memory://a")) == {"K": "1"}


# --- credentials that somebody must end


def test_credentials_come_with_the_variables(stores: ExitStack) -> None:
    kept = MemoryKept(["a"])
    stores.enter_context(registered(Memory({"a": "1"}, kept=kept)))
    given = context()
    resolve(request.read({"secrets": "memory://a"}), given)
    assert given.kept == [kept]
    assert kept.calls == []


@pytest.mark.parametrize("written", ["memory://b", "B = memory://a#k", "other://LD_PRELOAD", "other://none"])
def test_credentials_are_ended_when_anything_fails(stores: ExitStack, written: str) -> None:
    kept = MemoryKept(["a"])
    stores.enter_context(registered(Memory({"a": "1", "b": denied()}, kept=kept)))
    stores.enter_context(registered(Memory({"LD_PRELOAD": "1"}), "other"))
    with pytest.raises(ImipError):
        resolved("memory://a", written)
    assert kept.calls == ["end"]
