"""A request is checked as a whole, and every mistake told, before anything is contacted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imip_secrets import request
from imip_secrets.errors import Problem, UsageError
from stand_ins.memory import Memory, registered

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def memory() -> Iterator[Memory]:
    with registered(Memory()) as store:
        yield store


def read(secrets: str, **inputs: str) -> request.Request:
    return request.read({"secrets": secrets, **{name.replace("_", "-"): text for name, text in inputs.items()}})


def mistakes(secrets: str, **inputs: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read(secrets, **inputs)
    return list(map(str, caught.value.problems))


def test_a_request_without_a_mistake_has_its_lines_and_settings(memory: Memory) -> None:
    wanted = read("# mine\nA = memory://a\nmemory://b#k", name_transform="lower", allow_names="path, ld_preload")
    assert [line.number for line in wanted.lines] == [2, 3]
    assert wanted.transform == "lower"
    assert wanted.allowed == {"PATH", "LD_PRELOAD"}
    assert wanted.settings["secrets"].startswith("# mine")
    assert memory.calls == []


@pytest.mark.usefixtures("memory")
def test_names_are_made_in_upper_case_unless_told_otherwise() -> None:
    assert read("memory://a").transform == "upper"


@pytest.mark.usefixtures("memory")
def test_lines_are_counted_from_the_first_even_when_that_is_empty() -> None:
    assert [line.number for line in read("\n\n  memory://a\n").lines] == [3]
    assert mistakes("\n\nmemory:/a")[0].startswith("line 3, memory:/a: ")


@pytest.mark.parametrize("secrets", ["", "  \n", "# nothing\n\n"])
def test_a_request_for_nothing_is_a_mistake(secrets: str) -> None:
    (said,) = mistakes(secrets)
    assert said.startswith("input secrets: it names no secret. Write one reference per line")


def test_an_absent_input_is_as_good_as_an_empty_one() -> None:
    with pytest.raises(UsageError, match="input secrets: it names no secret"):
        request.read({})


def test_every_mistake_of_every_kind_is_told_at_once() -> None:
    problems = {"": Problem("it is missing", "input vault-addr", "Write it."), "b": Problem("no such name")}
    with registered(Memory(problems=problems)) as store:
        said = mistakes(
            "memory://a?opt\n1A = memory://a\nPATH = memory://a\nA = memory://b\nA = memory://c\nmemory://c#ключ",
            name_transform="camel",
            mask_floor="none",
            allow_names="GITHUB_*",
        )
    assert [each.partition(": ")[0] for each in said] == [
        "input name-transform",
        "input mask-floor",
        "line 1, memory://a?opt",
        "line 2, 1A = memory://a",
        "input allow-names",
        "line 6, memory://c#ключ",
        "line 3, memory://a",
        "line 5, memory://c",
        "input vault-addr",
        "line 4, memory://b",
    ]
    assert "A is given by line 4, memory://b as well" in said[7]
    assert store.calls == []


def test_what_is_wrong_with_an_input_is_told_once() -> None:
    missing = Problem("it is missing", "input vault-addr", "Write it.")
    with registered(Memory(problems={"": missing})):
        said = mistakes("memory://a", vault_addr="http://vault.example.com")
    (only,) = said
    assert only.startswith("input vault-addr: plain http to vault.example.com would show every secret")


@pytest.mark.usefixtures("memory")
def test_beside_a_wrong_input_the_lines_are_checked_as_if_it_were_not_given() -> None:
    assert [each.partition(": ")[0] for each in mistakes("memory://a#path", name_transform="camel")] == [
        "input name-transform",
        "line 1, memory://a#path",
    ]


@pytest.mark.usefixtures("memory")
def test_the_same_mistake_is_told_once() -> None:
    assert len(mistakes("memory://a", allow_names="GITHUB_ENV GITHUB_ENV")) == 1


def test_each_store_looks_at_each_of_its_targets_once(memory: Memory) -> None:
    with registered(Memory(), "other") as other:
        read("A = memory://a#k\nB = memory://a#l\nmemory://b/*\nC = other://a")
    assert memory.checked == ["a", "b/"]
    assert other.checked == ["a"]
    assert memory.calls == other.calls == []


def test_a_store_that_is_not_used_is_not_asked(memory: Memory) -> None:
    with registered(Memory(problems={"": Problem("it is missing", "input vault-addr")}), "other"):
        read("memory://a")
    assert memory.checked == ["a"]


def test_the_mistake_of_a_target_names_every_line_that_it_is_on() -> None:
    with registered(Memory(problems={"b": Problem("that is no name", remedy="Write another.")})):
        assert mistakes("memory://a\nB = memory://b\nC = memory://b#k\nD = memory://b") == [
            "line 2, memory://b (and lines 3, 4): that is no name. Write another."
        ]


@pytest.mark.parametrize("name", ["PATH", "path", "LD_PRELOAD", "CI", "BASH_ENV", "GITHUB_ENV", "NODE_OPTIONS"])
def test_a_refused_name_that_is_written_is_told_before_anything_is_contacted(memory: Memory, name: str) -> None:
    (said,) = mistakes(f"{name} = memory://a")
    assert f"the name {name} is refused" in said
    assert memory.calls == []


@pytest.mark.parametrize("key", ["LD_PRELOAD", "http_proxy", "PYTHONPATH", "GIT_SSH_COMMAND"])
def test_a_refused_name_from_a_key_is_told_before_anything_is_contacted(memory: Memory, key: str) -> None:
    (said,) = mistakes(f"memory://a#{key}")
    assert f"the name {key.upper()} is refused" in said
    assert memory.calls == []


@pytest.mark.usefixtures("memory")
def test_names_that_only_a_key_may_not_choose_may_be_written() -> None:
    assert len(read("HTTP_PROXY = memory://a\nPYTHONPATH = memory://b").lines) == 2


@pytest.mark.usefixtures("memory")
def test_allowed_names_are_allowed_and_the_runners_own_never() -> None:
    assert len(read("PATH = memory://a\nmemory://a#http_proxy", allow_names="path HTTP_PROXY").lines) == 2
    assert len(mistakes("GITHUB_ENV = memory://a", allow_names="GITHUB_ENV")) == 2


@pytest.mark.usefixtures("memory")
def test_a_name_that_stands_twice_is_fine_for_the_very_same_reference() -> None:
    assert len(read("A = memory://a#k\nA = memory://a#k").lines) == 2


@pytest.mark.usefixtures("memory")
def test_the_names_transform_decides_whether_names_collide() -> None:
    assert len(mistakes("memory://a#k\nmemory://a#K")) == 1
    assert "same on Windows" in mistakes("memory://a#k\nmemory://a#K", name_transform="none")[0]


@pytest.mark.usefixtures("memory")
def test_the_libraries_are_those_of_the_stores_that_are_named() -> None:
    assert request.libraries_of("aws://a\naws://b\nmemory://c\nnonsense\nvault://d?wrong") == {
        "aws",
        "memory-libraries",
    }
    assert request.libraries_of("") == set()
