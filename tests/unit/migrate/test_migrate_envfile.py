from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

from imip_secrets.errors import ImipError
from imip_secrets.migrate import envfile

if TYPE_CHECKING:
    from pathlib import Path


def values(text: str, *, interpolate: bool = False) -> dict[str, str]:
    file = envfile.parse(text.encode(), ".env", interpolate=interpolate)
    return {key: value.reveal() for key, value in file.values.items()}


def theirs(text: str) -> dict[str, str]:
    found = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {key: value for key, value in found.items() if value is not None}


KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,8}", fullmatch=True)
PLAIN = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20)
VALUES = st.one_of(
    PLAIN.filter(lambda text: not text.startswith(("'", '"'))),
    PLAIN.map(lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    PLAIN.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
    st.sampled_from(['"a\nb"', '"a\\nb"', "'a\\nb'", "a # b", "a#b", '"a # b"', "${A}", '"${A:-x}"', "", '""', "''"]),
)
LINES = st.one_of(
    st.builds(
        "{}{}{}{}{}".format,
        st.sampled_from(["", "export ", "  "]),
        KEYS,
        st.sampled_from(["=", " = ", "= "]),
        VALUES,
        st.sampled_from(["", " # comment", "  "]),
    ),
    st.sampled_from(["", "# comment", "  # comment", "BARE", "'QUOTED KEY'=x"]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(LINES, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_a_file_is_read_as_python_dotenv_reads_it(lines: list[str], end: str) -> None:
    text = end.join(lines)
    try:
        ours = values(text)
    except ImipError:
        return  # a line that python-dotenv would drop with a warning is an error here
    assert ours == theirs(text)


def test_nothing_is_interpolated_unless_asked_and_then_by_the_file_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTSIDE", "no")
    text = "A=1\nB=${A}2\nC=${OUTSIDE}${D:-x}\nBARE\nE=${BARE}"
    assert values(text)["B"] == "${A}2"
    assert values(text, interpolate=True) == {"A": "1", "B": "12", "C": "x", "E": ""}


def test_a_key_that_stands_twice_is_said_and_the_last_counts() -> None:
    file = envfile.parse(b"# first\n\nA=1\nB=2\n\n\nA=3\n", ".env")
    assert file.repeated == {"A": (3, 7)}
    assert file.values["A"].reveal() == "3"


def test_a_key_without_a_value_is_said() -> None:
    assert envfile.parse(b"A\nB=\n", ".env").empty == (1,)


@pytest.mark.parametrize(
    ("rest", "is_odd"),
    [
        ("c2VjcmV0IG9mIHRoZSBm==", True),
        ("c2VjcmV0IG9mIHRoZSBm=", True),
        ("JBSWY3DPEHPK3PXP======", True),
        ("a/b+c=", True),
        ("'A\x1b[2J'=x", True),
        ("EMPTY=", False),
        ("empty_too=", False),
        ("spring.url=x", False),
        ("Mixed-Key9=x", False),
    ],
)
def test_a_key_that_may_be_the_rest_of_a_value_is_shown_by_its_line(rest: str, *, is_odd: bool) -> None:
    file = envfile.parse(f"A=1\n{rest}\n".encode(), ".env")
    _, key = file.values
    assert file.shown(key) == ("(line 2)" if is_odd else key)


def test_every_broken_line_is_said_by_its_number() -> None:
    with pytest.raises(ImipError) as told:
        envfile.parse(b"A=1\n=2\nB='open\nC=3\n%%%=1\n", "x/.env")
    places = [problem.where for problem in told.value.problems]
    assert places[0] == "x/.env line 2"
    assert len(places) >= 2
    assert "open" not in str(told.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("A=1".encode("utf-16"), "it is UTF-16"),
        ("A=1".encode("utf-16-be"), "binary data, or UTF-16"),
        (b"\x7fELF\0\0", "binary data, or UTF-16"),
        (b"A=\xff\xf0", "it is not UTF-8"),
        (b"A=" + b"x" * envfile.LIMIT, "larger than 1 MiB"),
    ],
)
def test_what_is_no_text_of_utf_8_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ImipError, match=words):
        envfile.parse(data, ".env")


def test_of_a_huge_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    with pytest.raises(ImipError, match="larger than 1 MiB"):
        envfile.read(path)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"\xef\xbb\xbfA=1")
    assert envfile.read(path).values["A"].reveal() == "1"


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImipError, match="cannot be read: No such file"):
        envfile.read(tmp_path / "none")
