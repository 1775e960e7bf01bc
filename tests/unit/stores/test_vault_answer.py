from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from imip_secrets.document import Number
from imip_secrets.stores.vault.answer import Answer, moment, part, span, whole, words

if TYPE_CHECKING:
    from imip_secrets.document import Json


def test_an_answer_shows_nothing_of_itself() -> None:
    assert "s3cret" not in repr(Answer(200, {"data": {"A": "s3cret"}}))


def test_parts_of_another_kind_count_as_absent() -> None:
    body: dict[str, Json] = {"a": "text", "n": Number("5"), "o": {"k": "v"}}
    assert (part(body, "o"), part(body, "a"), part(body, "none")) == ({"k": "v"}, {}, {})
    assert (words(body, "a"), words(body, "n"), words(body, "none")) == ("text", "", "")
    assert (whole(body, "n"), whole(body, "a"), whole({"n": Number("1e400")}, "n")) == (5, 0, 0)
    assert whole({"n": Number("9" * 5000)}, "n") == 0


def test_the_reason_is_one_harmless_line() -> None:
    errors = Answer(400, {"errors": ["1 error occurred:\n\t* ::debug::x", None, "##[group]y"], "warnings": ["w"]})
    assert errors.reason == "1 error occurred: * : :debug: :x; ## [group]y"
    assert Answer(404, {"warnings": ["w"]}).reason == "w"
    assert Answer(404, {"errors": "text"}).reason == ""


def test_times_are_read_to_the_second() -> None:
    assert moment("2026-11-24T04:01:09.629618885Z") == dt.datetime(2026, 11, 24, 4, 1, 9, tzinfo=dt.timezone.utc)
    assert moment("") is None
    assert moment("yesterday") is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (45, "45s"), (60, "1m"), (1200, "20m"), (3599, "1h"), (3600, "1h"), (5400, "1h30m"), (86400, "24h")],
)
def test_spans_are_written_as_people_say_them(seconds: float, text: str) -> None:
    assert span(seconds) == text
