from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imip_secrets.foreign import LIMIT, flatten, harmless, tame

HOSTILE = st.text(
    st.sampled_from(":#[]\r\n\t\x00\x1b\u2028\u2029\x85\u202e\u2066\u200b\ud800\ufeff\xa0 abé😀…"), max_size=60
)


@given(st.text() | HOSTILE, st.integers(1, 400))
@example("::::::", 4)
@example("x ##[stop-commands]t", 300)
@example("#" * 9 + "[" * 9, 300)
@example(":\u200b:", 300)
@example("##\u202e[", 300)
def test_tamed_text_can_neither_speak_to_the_runner_nor_fill_the_log(text: str, limit: int) -> None:
    tamed = tame(text, limit)
    assert "::" not in tamed
    assert "##[" not in tamed
    assert len(tamed) <= limit
    assert len(tamed.splitlines()) <= 1
    assert tamed == tamed.strip()
    # Letters, marks, numbers, punctuation, symbols and spaces; no control, format, private or half character.
    assert {unicodedata.category(char)[0] for char in tamed} <= set("LMNPSZ")
    assert tamed.replace(" ", "").isprintable()
    tamed.encode()


@given(st.text() | HOSTILE)
def test_taming_twice_changes_nothing_more(text: str) -> None:
    assert tame(tame(text)) == tame(text)


@pytest.mark.parametrize(
    ("text", "tamed"),
    [
        ("", ""),
        ("imip/production", "imip/production"),
        ("  a \t b\r\n c ", "a b c"),
        ("\n::set-env name=PATH::x", ": :set-env name=PATH: :x"),
        (":::", ": : :"),
        ("a ##[error]b", "a ## [error]b"),
        ("é 😀 名", "é 😀 名"),
        ("a\u202eb\u2066c\u200dd", "a b c d"),
        ("a\u2028b\u2029c\x85d\x0be\x0cf\x1cg", "a b c d e f g"),
        ("\x1b[31mred\x07", "[31mred"),
        ("\ud800a\udfff", "a"),
        ("a\xa0b", "a b"),
        ("\ufeffa", "a"),
    ],
)
def test_what_taming_makes_of_a_text(text: str, tamed: str) -> None:
    assert tame(text) == tamed


def test_text_that_is_too_long_is_cut_with_an_ellipsis() -> None:
    assert tame("a" * LIMIT) == "a" * LIMIT
    assert tame("a" * (LIMIT + 1)) == "a" * (LIMIT - 1) + "…"
    assert tame("abc", 2) == "a…"


def test_anything_can_be_tamed() -> None:
    assert tame(None) == "None"
    assert tame(["a", "::"]) == "['a', ': :']"
    assert tame(ValueError("a\nb")) == "a b"


def test_flat_text_is_one_line_in_which_commands_stay() -> None:
    assert flatten("arn:aws:iam::1:role/a\n##[b]\x1b") == "arn:aws:iam::1:role/a ##[b]"
    assert flatten("abc", 2) == "a…"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("role arn:aws:iam::123456789012:role/x", "role arn:aws:iam::123456789012:role/x"),
        ("::error::x", ": :error::x"),
        ("  ::error::x", "  : :error::x"),
        ("a ##[add-matcher]b", "a ## [add-matcher]b"),
        ("a\x1b[31m\nb", "a [31m b"),
        ("x" * 2001, "x" * 2000 + "…"),
    ],
)
def test_a_line_of_our_own_is_no_command_and_keeps_its_arns(line: str, expected: str) -> None:
    assert harmless(line, 2000) == expected
