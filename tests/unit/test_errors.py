from __future__ import annotations

import pytest

from imip_secrets.errors import ImipError, MissingError, Problem, StoreError, UsageError


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("it failed"), "it failed."),
        (Problem("it failed."), "it failed."),
        (Problem("it failed", "line 3"), "line 3: it failed."),
        (Problem("it failed", remedy="Do this."), "it failed. Do this."),
        (Problem("it failed", "line 3", "Do this. Or that."), "line 3: it failed. Do this. Or that."),
    ],
)
def test_a_problem_is_one_line_with_place_fault_and_remedy(problem: Problem, line: str) -> None:
    assert str(problem) == line


def test_a_problem_can_be_said_to_be_at_another_place() -> None:
    problem = Problem("it failed", remedy="Do this.")
    assert str(problem.at("line 4")) == "line 4: it failed. Do this."
    assert problem.where == ""


def test_problems_that_say_the_same_are_the_same() -> None:
    assert len({Problem("a"), Problem("a"), Problem("b")}) == 2


def test_an_error_shows_every_problem_on_its_own_line() -> None:
    error = UsageError(Problem("one"), Problem("two", "here"))
    assert isinstance(error, ImipError)
    assert str(error) == "one.\nhere: two."
    assert error.problems == (Problem("one"), Problem("two", "here"))


def test_a_store_error_carries_one_problem() -> None:
    error = StoreError("it was denied", "Allow it.")
    assert error.problem == Problem("it was denied", remedy="Allow it.")
    assert str(error) == "it was denied. Allow it."


def test_what_is_missing_can_be_told_from_what_is_denied() -> None:
    assert isinstance(MissingError("it is not there"), StoreError)
    assert not isinstance(StoreError("it was denied"), MissingError)
    assert not isinstance(StoreError("it was denied"), UsageError)
