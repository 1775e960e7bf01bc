from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from dotenv import dotenv_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imip_secrets import dotenv

if TYPE_CHECKING:
    from pathlib import Path

PIECES = (
    "\\", "\\\\", "'", '"', "\n", "\r", "\r\n", " ", "\t", "#", " #", "=", "$", "$(id)", "`id`", "${HOME}", "%0A", "!",
    "\\n", "\\'", '\\"', "export A=", "A='x'\n", "\u2028", "\x85", "\x0b", "\x0c", "\x1c", "\ufeff", "é", "🔑", "a",
)  # fmt: skip
# What reaches these functions is UTF-8 without NUL.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
VALUE = TEXT | st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
VALUES = st.lists(VALUE, min_size=8, max_size=8).map(lambda values: {f"V{i}": value for i, value in enumerate(values)})


@settings(max_examples=1300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES)
def test_python_dotenv_reads_any_value_byte_for_byte(tmp_path: Path, values: dict[str, str]) -> None:
    path = tmp_path / ".env"
    path.write_bytes(dotenv.dotenv(values.items()).encode())
    assert dotenv_values(path, interpolate=False) == values


@pytest.mark.parametrize(
    "value",
    ["plain", "", "two words", "a # b", "$HOME and `id`", 'say "hi"', "C:\\dir\\file", "line 1\nline 2\n", '{"a": 1}'],
)
def test_what_single_quotes_can_hold_is_written_as_it_stands(value: str) -> None:
    assert dotenv.dotenv([("A", value)]) == f"A='{value}'\n"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("it's", '"it\'s"'),
        ("a\rb\n", '"a\\rb\\n"'),
        ("end\\", '"end\\\\"'),
        ("\\\\server", '"\\\\\\\\server"'),
        ("'\"", '"\'\\""'),
    ],
)
def test_the_rest_is_in_double_quotes_with_escapes(value: str, written: str) -> None:
    assert dotenv.dotenv([("A", value)]) == f"A={written}\n"


@pytest.mark.parametrize("name", ["sh", "bash", "dash", "busybox"])
def test_a_real_shell_reads_any_value_byte_for_byte(name: str, tmp_path: Path) -> None:
    shell = shutil.which(name)
    if os.name != "posix" or not shell:
        pytest.skip(f"there is no {name} here")
    command = [shell, "sh"] if name == "busybox" else [shell]
    # Each value in a variable of its own, all in one process: the shell starts a program that shows what it got.
    show = "import os, json; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('V')}))"
    collected: dict[str, str] = {}

    @settings(max_examples=300, deadline=None)
    @given(VALUES)
    def collect(values: dict[str, str]) -> None:
        collected.update({f"V{len(collected) + i}": value for i, value in enumerate(values.values())})

    collect()
    script = tmp_path / "script"
    script.write_bytes(
        dotenv.shell(collected.items()).encode() + f"exec '{sys.executable}' -X utf8 -c \"{show}\"\n".encode()
    )
    done = subprocess.run([*command, str(script)], capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
    assert done.stderr == b""
    assert json.loads(done.stdout) == collected
    assert len(collected) >= 800


def test_a_shell_takes_it_with_eval_too() -> None:
    if os.name != "posix":
        pytest.skip("there is no sh here")
    value = 'it\'s\n$HOME `id` \\ "x"\n'
    text = dotenv.shell([("A", value), ("B", "2")])
    script = 'eval "$TEXT"; printf "%s|%s|" "$A" "$B"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, env={**os.environ, "TEXT": text})  # noqa: S607 - any sh will do
    assert done.stdout.decode() == f"{value}|2|"


@given(VALUES)
def test_json_reads_any_value_byte_for_byte(values: dict[str, str]) -> None:
    assert json.loads(dotenv.as_json(values.items())) == values


def test_json_keeps_the_order_and_what_is_not_ascii() -> None:
    assert dotenv.as_json([("B", "é"), ("A", "\n")]) == '{"B": "é", "A": "\\n"}'
