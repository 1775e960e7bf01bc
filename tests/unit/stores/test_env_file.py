"""A dotenv file as a store."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imip_secrets import document, dotenv, request
from imip_secrets.errors import MissingError, StoreError, UsageError
from imip_secrets.settings import Settings
from imip_secrets.stores import SCHEMES
from imip_secrets.stores.base import Target
from imip_secrets.stores.env_file import MAX_BYTES, check, open_store
from stand_ins.memory import context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes, pipes and links are POSIX's")
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
# What a variable can hold; python-dotenv reads "\r\n" as it stands, and so do we.
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def keys(path: str) -> dict[str, object]:
    found = open_store(context()).fetch(Target(path))
    assert found.is_data
    return dict(document.as_object(found.value.reveal()) or {})


def failure(path: str) -> str:
    with pytest.raises(StoreError) as caught:
        open_store(context()).fetch(Target(path))
    assert "canary" not in str(caught.value)
    return str(caught.value)


def test_every_assignment_comes_in_its_order_and_nothing_is_put_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A", "of the machine")
    (folder / ".env").write_text(
        "# a comment\nB=1\nexport A='two words'\nC=\"x\\ny\"\nD=${A}$A\nE\nF=\nG = 'a\nb' # more\n", encoding="utf-8"
    )
    got = keys(".env")
    assert got == {"B": "1", "A": "two words", "C": "x\ny", "D": "${A}$A", "F": "", "G": "a\nb"}
    assert list(got) == ["B", "A", "C", "D", "F", "G"]


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=5))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_export_writes_is_read_back(folder: Path, wanted: dict[str, str]) -> None:
    (folder / ".env").write_bytes(dotenv.dotenv(wanted.items()).encode())
    assert keys(".env") == wanted


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_read_or_refused(folder: Path, data: bytes) -> None:
    (folder / ".env").write_bytes(data)
    store = open_store(context())
    try:
        assert store.fetch(Target(".env")).is_data
    except StoreError as error:
        assert str(error).isprintable()  # noqa: PT017 - either is right


def test_a_mark_of_the_byte_order_and_other_line_ends_are_no_matter(folder: Path) -> None:
    (folder / ".env").write_bytes(b"\xef\xbb\xbfA=1\r\nB=2\r\n")
    assert keys(".env") == {"A": "1", "B": "2"}


def test_the_age_is_that_of_the_file(folder: Path) -> None:
    (folder / ".env").write_text("A=1\n")
    os.utime(folder / ".env", (1_700_000_000, 1_700_000_000))
    found = open_store(context()).fetch(Target(".env"))
    assert found.changed
    assert found.changed.timestamp() == 1_700_000_000


def test_paths_are_from_here_from_home_or_from_the_root(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "x.env").write_text("A=1\n")
    for path in ("sub/x.env", "./sub/x.env", "~/sub/x.env", str(folder / "sub" / "x.env")):
        assert keys(path) == {"A": "1"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"A=1\nB=canary=\n'canary\n", "line 3 of .env is no NAME=value"),
        (b'A="canary\n', "line 1 of .env is no NAME=value"),
        (b"A=canary\nB=1\nA=canary\n", "A stands twice in .env, in lines 1 and 3"),
        (b"A=\xff\n", ".env is no text in UTF-8"),
        (b"A=x\0y\n", ".env is no text in UTF-8"),
        (b"#" * (MAX_BYTES + 1), "has more than 8 MiB"),
    ],
)
def test_what_is_no_dotenv_file_is_told_without_its_text(folder: Path, content: bytes, words: str) -> None:
    (folder / ".env").write_bytes(content)
    assert words in failure(".env")


def test_what_is_not_there_is_missing(folder: Path) -> None:
    (folder / "file").write_text("A=1\n")
    for path in ("none.env", "none/x.env", "file/x.env", "~nobody-of-this-name/x"):
        with pytest.raises(MissingError, match="there is no file"):
            open_store(context()).fetch(Target(path))


def test_a_folder_is_no_file(folder: Path) -> None:
    (folder / "sub").mkdir()
    assert "sub is a folder. Write env-file://sub/* for all that is in it." in failure("sub")


def test_an_installation_for_jobs_alone_says_what_it_lacks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("A=1\n")
    monkeypatch.setitem(sys.modules, "dotenv.parser", None)
    assert "Install it: pip install python-dotenv." in failure(".env")


@posix
def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert "is no ordinary file" in failure("pipe")


@posix
def test_what_may_not_be_read_is_no_missing_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "x.env").write_text("A=1\n")
    if os.geteuid() == 0:  # root may read everything

        def refuse(*_: object) -> Iterator[None]:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("pathlib.Path.stat", refuse)
        monkeypatch.setattr("os.scandir", refuse)
    else:
        (folder / "sub").chmod(0)
    for act in (lambda: open_store(context()).fetch(Target("sub/x.env")), lambda: listed("sub/")):
        with pytest.raises(StoreError, match="Permission denied") as caught:
            act()
        assert not isinstance(caught.value, MissingError)


def listed(start: str, *, deep: bool = False) -> list[str]:
    return [target.path for target in open_store(context()).list(Target(start), deep=deep)]


def test_a_listing_goes_on_after_the_text(folder: Path) -> None:
    for path in ("conf/b.env", "conf/a.env", "conf/other", "conf/deep/c.env", ".env.x", ".env.y", ".env."):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("A=1\n")
    assert listed("conf/") == ["conf/a.env", "conf/b.env", "conf/other"]
    assert listed("conf/", deep=True) == ["conf/a.env", "conf/b.env", "conf/deep/c.env", "conf/other"]
    assert listed("conf/o") == ["conf/other"]
    assert listed("conf/d", deep=True) == ["conf/deep/c.env"]
    assert listed(".env.") == [".env.x", ".env.y"]
    assert listed("none/") == []
    assert listed(f"{folder}/conf/a") == [f"{folder}/conf/a.env"]


@posix
def test_no_link_to_a_folder_is_followed(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a.env").write_text("A=1\n")
    (folder / "sub" / "loop").symlink_to(folder)
    assert listed("sub/", deep=True) == ["sub/a.env"]


def test_a_listing_has_a_bound(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imip_secrets.stores.env_file.MAX_LISTED", 2)
    for name in "abc":
        (folder / name).write_text("")
    with pytest.raises(StoreError, match="more than 2 files"):
        listed("")


def test_nothing_is_wrong_but_a_path_that_no_file_has() -> None:
    assert list(check(Settings(), [Target(".env")])) == []
    ((_, problem),) = check(Settings(), [Target("a\0b")])
    assert "NUL" in str(problem)


def test_the_action_refuses_it_with_every_other_mistake(folder: Path) -> None:
    (folder / ".env").write_text("A=1\n")
    values = {"secrets": "env-file://.env\nB = env-file://.env#A\naws://x", "mask-floor": "none"}
    with pytest.raises(UsageError) as caught:
        request.read(values, local=False)
    said = str(caught.value)
    assert said.count("is for people at their own machine: the action does not read it") == 2
    assert "the region is missing" in said
    assert "mask-floor" in said
    assert request.read({"secrets": "env-file://.env"}).lines


def test_it_needs_no_library_of_the_action() -> None:
    assert request.libraries_of("env-file://.env\naws://x") == {"aws"}
    assert [scheme.name for scheme in SCHEMES.values() if scheme.local] == ["env-file"]


def test_the_store_says_where_it_reads(folder: Path) -> None:
    store = open_store(context())
    assert str(folder.name) in store.login()
    store.close()
