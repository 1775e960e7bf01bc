from __future__ import annotations

import html
import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.errors import Problem
from imip_secrets.foreign import flatten
from imip_secrets.resolve import Resolved
from imip_secrets.runner import report
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Lease
from job import resolved
from stand_ins.memory import Memory, registered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stand_ins.memory import Content

NOW = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
# Letters, digits, what makes nothing within a line, entities, and the comment that breaks a mention.
INERT = re.compile(r"(?:[^\W_]|[ ,/-]|&#\d+;(?:<!-- -->)?)*")

HOSTILE = (
    "a | b", "`code`", "<b>x</b>", "<script>alert(1)</script>", "[text](https://evil.example)", "https://evil.example",
    "www.evil.example", "mail@evil.example", "@octocat", "org/repo#1", "#1", "![x](y)", "**b** __i__ _i_ *i* ~~s~~",
    ":tada:", "a\n| b |", "\\|", "\\", "&lt;b&gt;", "&#64;octocat", "<!-- x -->", "$x^2$", "- [ ] x", "::error::x",
    "\x00\x1b[31m",
)  # fmt: skip


def plain(text: str) -> str:
    return text


def success(secrets: str, store: Mapping[str, Content], *unmasked: str) -> str:
    memory = Memory(store, login="as octocat@example.com | here")
    _, got = resolved(secrets, memory)
    with registered(memory):
        return report.success(got, unmasked, plain, NOW)


def cells(row: str) -> list[str]:
    """Return what a reader sees in the cells of a row."""
    return [seen(cell.strip()) for cell in row.strip().strip("|").split("|")]


def seen(text: str) -> str:
    return html.unescape(text.replace("<!-- -->", ""))


def found(value: str = "correct horse", **more: object) -> Found:
    return Found(Secret(value), **more)  # type: ignore[arg-type]  # the fields of Found


def test_a_run_that_went_well_is_a_table() -> None:
    markdown = success(
        "memory://imip/a\nDB_USER = memory://db#username\nPORT = memory://port\nFLAG = memory://no?default=on\n"
        "KEY = memory://pem?as=file\nmemory://gone?optional",
        {
            "imip/a": found(version="7", changed=NOW - timedelta(days=3)),
            "db": found('{"username": "u"}', is_data=True, lease=Lease(Secret("id"), 3600, renewable=True)),
            "port": "5432",
            "pem": found(changed=NOW - timedelta(minutes=59)),
        },
        "PORT",
        "KEY",
    )
    head, _, logins, _, *table = markdown.rstrip().split("\n")
    assert head == "### imip-secrets: 5 variables set"
    assert seen(logins) == "- Memory: as octocat@example.com | here"
    assert cells(table[0]) == ["Variable", "Store", "Secret", "Version", "Age", "Note"]
    assert table[1] == "| --- | --- | --- | --- | --- | --- |"
    assert [cells(row) for row in table[2:-2]] == [
        ["`A`", "Memory", "imip/a", "7", "3 days", ""],
        ["`DB_USER`", "Memory", "db # username", "", "", "lives 1 hour"],
        ["`PORT`", "Memory", "port", "", "", "not masked"],
        ["`FLAG`", "Memory", "no", "", "", "the default"],
        ["`KEY`", "Memory", "pem", "", "59 minutes", "a file, not masked"],
    ]
    assert table[-2] == ""
    assert seen(table[-1]) == "- line 6, memory://gone?optional: nothing is there, and it is optional"
    assert markdown.endswith("\n")


def test_a_table_is_readable_before_it_is_shown_too() -> None:
    assert "| `A` | Memory | imip/production | 7 |  |  |" in success(
        "A = memory://imip/production", {"imip/production": found(version="7")}
    )


def test_no_value_is_in_it_nor_its_length() -> None:
    value = "correct horse battery staple"
    markdown = success("A = memory://a\nB = memory://a?as=file\nC = memory://a?mask=off", {"a": value})
    assert not any(word in markdown for word in value.split())
    assert str(len(value)) not in markdown


def test_problems_are_a_table_too() -> None:
    markdown = report.failure(
        [Problem("access is denied", "line 1, aws://a", "Allow `x:Read` | more."), Problem("no answer")], plain
    )
    head, _, *table = markdown.rstrip().split("\n")
    assert head == "### imip-secrets: nothing was exported, 2 problems"
    assert [cells(row) for row in table[2:]] == [
        ["line 1, aws://a", "access is denied", "Allow `x:Read` | more."],
        ["", "no answer", ""],
    ]
    assert cells(table[0]) == ["Where", "What", "What to do"]


def rows_of(markdown: str) -> list[str]:
    return [line for line in markdown.split("\n") if line.startswith("|")][2:]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_foreign_is_active_in_a_table(text: str) -> None:
    (row,) = rows_of(report.failure([Problem(text, text, text)], plain))
    parts = row.split("|")[1:-1]
    assert len(parts) == 3
    for part in parts:
        assert INERT.fullmatch(part)
        assert seen(part.strip()) == flatten(text)


@given(st.text())
def test_no_text_at_all_is_active_in_a_table(text: str) -> None:
    (row,) = rows_of(report.failure([Problem(text, text, text)], plain))
    assert [seen(part[1:-1]) for part in row.split("|")[1:-1]] == [flatten(text)] * 3
    assert all(INERT.fullmatch(part) for part in row.split("|")[1:-1])


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_foreign_is_active_in_what_went_well(text: str) -> None:
    memory = Memory({"a": found('{"k": "correct horse"}', version=text)}, login=text)
    _, got = resolved(f"A = memory://a#k\nmemory://{''.join(f'%{ord(c):02X}' for c in 'x|<y>')}?optional", memory)
    variables = tuple(type(v)(v.name, v.value, v.line, type(v.target)(text), text, v.found) for v in got.variables)
    with registered(memory):
        markdown = report.success(Resolved(variables, got.logins, got.absent), (), plain, NOW)
    (row,) = rows_of(markdown)
    name, *others = (part.strip() for part in row.split("|")[1:-1])
    assert name == "`A`"
    assert len(others) == 5
    assert all(INERT.fullmatch(part) for part in others)
    items = [line.removeprefix("- ") for line in markdown.split("\n") if line.startswith("- ")]
    assert len(items) == 2
    assert all(INERT.fullmatch(item.replace(": ", " ", 1)) for item in items)


def test_what_is_masked_is_taken_out_before_signs_become_entities() -> None:
    """The runner looks for ``a.b-c@d``, and would not find ``a&#46;b-c&#64;d``."""
    token = "a.b-c@d"

    def hide(text: str) -> str:
        return text.replace(token, "***")

    failed = report.failure([Problem(f"what {token}", f"where {token}", f"remedy {token}")], hide)
    assert [cells(row) for row in rows_of(failed)] == [["where ***", "what ***", "remedy ***"]]
    memory = Memory({token: found(version=token)}, login=f"as {token}")
    _, got = resolved(f"A = memory://{token}\nB = memory://x{token}?optional", memory)
    with registered(memory):
        markdown = seen(report.success(got, (), hide, NOW))
    assert token not in markdown
    assert markdown.count("***") == 4


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 seconds"), (0, "0 seconds"), (1, "1 second"), (59.9, "59 seconds"), (60, "1 minute"),
        (3599, "59 minutes"), (3600, "1 hour"), (86399, "23 hours"), (86400, "1 day"), (400 * 86400, "400 days"),
    ],
)  # fmt: skip
def test_a_span_has_the_unit_that_tells_most(seconds: float, text: str) -> None:
    assert report.span(seconds) == text


def test_facts_are_for_a_line_of_text() -> None:
    assert report.facts(found()) == ""
    assert report.facts(found(version="7")) == "version 7"
    assert report.facts(found(changed=NOW - timedelta(hours=2)), NOW) == "2 hours old"
    assert report.facts(found(version="a\nb", changed=NOW - timedelta(hours=2)), NOW) == "version a b, 2 hours old"


def test_a_warning_names_the_variable_and_both_ways_out() -> None:
    text = report.not_masked("PORT")
    assert text.startswith("The value of PORT is not masked")
    assert "mask=on" in text
    assert "mask=off" in text


def test_an_age_is_counted_from_now() -> None:
    made = datetime.now(timezone.utc) - timedelta(days=2, hours=1)
    assert report.facts(found(changed=made)) == "2 days old"
    _, got = resolved("A = memory://a", Memory({"a": found(changed=made)}))
    with registered(Memory()):
        assert "2 days" in report.success(got, (), plain)
