from __future__ import annotations

import errno
import io
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from actions_toolkit import file_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imip_secrets.errors import ImipError, Problem
from imip_secrets.runner import files
from imip_secrets.secret import Secret
from runner_model import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

needs_posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes of POSIX")

HOSTILE_PIECES = (
    "\r", "\n", "\r\n", "\0", "\ufeff", "<<", "=", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\ud800", "\udfff",
    "%0A",
    "%25", " ", "\t", "EOF", "A<<EOF", "ghadelimiter_", "ghadelimiter_00000000-0000-4000-8000-000000000000",
    "LD_PRELOAD=x",
    "NODE_OPTIONS=x", "A=", "::add-mask::", "##[error]", "é", "漢", "🔑", "a", "b",
)  # fmt: skip
HOSTILE = st.text(max_size=12) | st.lists(st.sampled_from(HOSTILE_PIECES), max_size=6).map("".join)


def log_with(values: list[str], *, windows: bool) -> tuple[Log, dict[str, str]]:
    """Export the values that pass the check, with a plain one before and after, and give what the runner made of it."""
    exported = {
        f"V{index}": value for index, value in enumerate(values) if not files.check_value(f"V{index}", Secret(value))
    }
    refused = [value for index, value in enumerate(values) if f"V{index}" not in exported]
    assert all("\0" in value or any("\ud800" <= char <= "\udfff" for char in value) for value in refused)
    expected = {"BEFORE": "1", **exported, "AFTER": "2"}
    log = Log(windows=windows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "linesep", "\r\n" if windows else "\n")
        log.apply_env(files.block(expected.items()))
    assert not log.failed
    return log, expected


# Each example holds eight values, so that these are 10,400, on both kinds of machine.
@settings(max_examples=1300, deadline=None)
@given(st.lists(HOSTILE, min_size=8, max_size=8))
def test_any_value_comes_out_byte_for_byte_or_is_refused(values: list[str]) -> None:
    for windows in (False, True):
        log, expected = log_with(values, windows=windows)
        assert log.environment == expected


@pytest.mark.parametrize("windows", [False, True])
def test_10000_random_hostile_values_come_out_byte_for_byte(*, windows: bool) -> None:
    chance = random.Random(20261124)  # noqa: S311 - a test that can be repeated, no key
    for _ in range(100):
        values = ["".join(chance.choices(HOSTILE_PIECES, k=chance.randint(0, 10))) for _ in range(100)]
        log, expected = log_with(values, windows=windows)
        assert log.environment == expected


def test_a_delimiter_is_random_and_new_for_each_value() -> None:
    lines = files.block([("A", "1"), ("B", "2")]).decode().split(os.linesep)
    delimiters = {line.partition("<<")[2] for line in lines if "<<" in line}
    assert len(delimiters) == 2
    assert all(len(delimiter) >= 32 for delimiter in delimiters)


def test_a_value_that_holds_its_delimiter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_command, "uuid4", lambda: "fixed")
    with pytest.raises(Exception, match="should not contain the delimiter"):
        files.block([("A", "x\nghadelimiter_fixed\nB=1")])


@pytest.mark.parametrize("name", ["", "A=B", "A<<B", "A\nB", " A", "1A", "A\n", "Ä", "-a"])
def test_a_name_that_could_break_out_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^not a name for the runner: "):
        files.block([(name, "x")])


def test_the_name_of_an_output_may_have_a_hyphen() -> None:
    log = Log()
    log.apply_output(files.block([("sync-report", "{}")]))
    assert log.outputs == {"sync-report": "{}"}


def test_a_block_follows_what_is_there_whatever_its_end(tmp_path: Path) -> None:
    for before in (b"", b"X=1\n", b"X=1", b"X<<E\n\nE"):
        path = tmp_path / "env"
        path.write_bytes(before)
        files.replace(path, files.block([("A", "1\n2")]))
        log = Log()
        log.apply_env(path.read_bytes())
        assert log.environment["A"] == "1\n2"
        assert path.read_bytes().startswith(before)
        assert not log.failed
    assert names_in(tmp_path) == ["env"]


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    files.replace(tmp_path / "env", b"A=1\n")
    assert (tmp_path / "env").read_bytes() == b"A=1\n"


@needs_posix
def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "env"
    for mode in (0o644, 0o600, 0o666):
        path.write_bytes(b"")
        path.chmod(mode)
        files.replace(path, b"A=1\n")
        assert stat.S_IMODE(path.stat().st_mode) == mode


@needs_posix
def test_a_file_keeps_its_owner_when_we_are_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "env"
    path.write_bytes(b"")
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "chown", lambda _path, user, group: owners.append((user, group)))
    files.replace(path, b"A=1\n")
    assert owners == [(path.stat().st_uid, path.stat().st_gid)]


def test_a_system_without_owners_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "chown", raising=False)
    (tmp_path / "env").write_bytes(b"X=1\n")
    files.replace(tmp_path / "env", b"A=1\n")
    assert (tmp_path / "env").read_bytes() == b"X=1\nA=1\n"


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS])
def test_where_no_rename_is_possible_the_block_is_appended(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "env"
    path.write_bytes(b"X=1")
    inode = path.stat().st_ino
    monkeypatch.setattr(Path, "replace", fail_with(code))
    files.replace(path, b"A=1\n")
    assert path.read_bytes() == b"X=1\nA=1\n"
    assert path.stat().st_ino == inode
    assert names_in(tmp_path) == ["env"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_with(code: int) -> object:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder that a plain user may not write, with a file that he may; root becomes such a user meanwhile."""
    folder = Path(tempfile.mkdtemp())
    path = folder / "env"
    path.write_bytes(b"X=1\n")
    path.chmod(0o666)
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


@needs_posix
def test_a_folder_that_is_read_only_is_no_obstacle(read_only_folder: Path) -> None:
    files.replace(read_only_folder / "env", b"A=1\n")
    assert (read_only_folder / "env").read_bytes() == b"X=1\nA=1\n"
    assert names_in(read_only_folder) == ["env"]


@needs_posix
def test_nothing_new_can_be_made_in_a_folder_that_is_read_only(read_only_folder: Path) -> None:
    for attempt in (
        lambda: files.write_private(read_only_folder / "dotenv", b"x"),
        lambda: files.private_folder(read_only_folder),
        lambda: files.replace(read_only_folder / "other", b"x"),
        lambda: files.summary(read_only_folder / "summary", "x"),
    ):
        with pytest.raises(ImipError, match=r" cannot be written: Permission denied\. Check that its folder is there"):
            attempt()
    assert names_in(read_only_folder) == ["env"]


def test_any_other_failure_leaves_the_file_as_it_was_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "env"
    path.write_bytes(b"X=1\n")
    for target, name in ((Path, "replace"), (os, "fsync"), (os, "chown"), (Path, "chmod")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fail_with(errno.ENOSPC), raising=False)
            with pytest.raises(ImipError, match=r"env cannot be written: No space left on device\."):
                files.replace(path, b"A=1\n")
        assert path.read_bytes() == b"X=1\n"
        assert names_in(tmp_path) == ["env"]


@pytest.mark.parametrize("point", ["fsync", "replace"])
def test_an_interruption_leaves_the_file_as_it_was_and_nothing_beside_it(
    tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "env"
    path.write_bytes(b"X=1\n")
    monkeypatch.setattr(os if point == "fsync" else Path, point, interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.replace(path, b"A=1\n")
    assert path.read_bytes() == b"X=1\n"
    assert names_in(tmp_path) == ["env"]


def test_an_append_that_fails_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "env"
    path.write_bytes(b"X=1\n")
    monkeypatch.setattr(Path, "replace", fail_with(errno.EXDEV))
    syncs = iter([None])

    def fail_the_second_time(_file: int) -> None:
        if next(syncs, "over"):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail_the_second_time)
    with pytest.raises(ImipError, match="Input/output error"):
        files.replace(path, b"A=1\n")
    assert path.read_bytes() == b"X=1\n"


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from imip_secrets.runner import files

path, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
old, added = b"X<<E\\n" + b"x" * 1_000_000 + b"\\nE\\n", b"A<<E\\n" + b"a" * 4_000_000 + b"\\nE\\n"
chance, counts = random.Random(seed), {"old": 0, "new": 0, "mixed": 0}

def start_child():
    path.write_bytes(old)
    child = os.fork()
    if child == 0:
        files.replace(path, added)
        os._exit(0)
    return child

def timed():
    start = time.perf_counter()
    os.waitpid(start_child(), 0)
    return time.perf_counter() - start

usual = sorted(timed() for _ in range(9))[4]
for _ in range(kills):
    victim = start_child()
    time.sleep(chance.uniform(0, 2 * usual))
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    now = path.read_bytes()
    counts["old" if now == old else "new" if now == old + added else "mixed"] += 1
    # The machine gets slower and faster: half of the kills are to be too early.
    usual *= 1.1 if now == old else 1 / 1.1
print(*counts.values())
"""


@needs_posix
def test_a_process_that_is_killed_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    source = Path(files.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "env"), "100", "7"],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.stderr == b""
    old, new, mixed = map(int, done.stdout.split())
    assert mixed == 0
    # Kills fell on both sides of the rename, or nothing was tried.
    assert old >= 5
    assert new >= 5


@needs_posix
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_is_never_followed(tmp_path: Path, *, dangling: bool) -> None:
    target, path = tmp_path / "target", tmp_path / "planted"
    if not dangling:
        target.write_bytes(b"mine")
    path.symlink_to(target)
    attempts: list[Callable[[], object]] = [
        lambda: files.replace(path, b"x"),
        lambda: files.write_private(path, b"x"),
        lambda: files.summary(path, "x"),
    ]
    for attempt in attempts:
        with pytest.raises(ImipError, match=r"planted is a link\. Remove it, or name a regular file\."):
            attempt()
    assert path.is_symlink()
    assert target.exists() != dangling
    assert dangling or target.read_bytes() == b"mine"


@needs_posix
def test_a_link_planted_after_the_look_is_not_followed_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, path = tmp_path / "target", tmp_path / "planted"
    target.write_bytes(b"mine")
    path.symlink_to(target)
    monkeypatch.setattr(Path, "is_symlink", lambda _path: False)
    attempts: list[Callable[[], object]] = [
        lambda: files.replace(path, b"x"),
        lambda: files.write_private(path, b"x"),
    ]
    for attempt in attempts:
        with pytest.raises(ImipError, match="cannot be written"):
            attempt()
    assert target.read_bytes() == b"mine"
    assert path.readlink() == target


@needs_posix
def test_a_pipe_or_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImipError, match=r"pipe is no regular file"):
        files.replace(tmp_path / "pipe", b"x")
    with pytest.raises(ImipError, match=r"cannot be written: Is a directory"):
        files.write_private(tmp_path, b"x")


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImipError, match=r"dotenv cannot be written: No such file or directory\. Check that its folder"):
        files.write_private(tmp_path / "missing" / "dotenv", b"x")


def test_an_error_without_words_has_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ImipError, match="cannot be written: unknown reason"):
        files.write_private(tmp_path / "dotenv", b"x")


@needs_posix
def test_a_private_file_is_for_its_owner_alone_even_where_another_was(tmp_path: Path) -> None:
    path = tmp_path / "dotenv"
    path.write_bytes(b"old")
    path.chmod(0o666)
    files.write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names_in(tmp_path) == ["dotenv"]


@needs_posix
def test_a_secret_file_is_private_in_a_private_folder(tmp_path: Path) -> None:
    first, second = files.private_folder(tmp_path), files.private_folder(tmp_path)
    path = first / "KEY"
    files.write_private(path, b"a\r\n\0\xff")
    assert path.read_bytes() == b"a\r\n\0\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    assert first != second
    assert first.parent == tmp_path
    assert first.name.startswith("imip-secrets-")
    assert len(first.name) == len("imip-secrets-") + 32


def test_a_secret_file_that_cannot_be_filled_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))
    with pytest.raises(ImipError, match="No space left"):
        files.write_private(tmp_path / "KEY", b"x")
    assert names_in(tmp_path) == []


def test_what_cannot_be_removed_does_not_hide_the_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))
    monkeypatch.setattr(Path, "unlink", fail_with(errno.EACCES))
    with pytest.raises(ImipError, match="No space left"):
        files.write_private(tmp_path / "KEY", b"x")


def test_a_write_that_stops_half_way_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(io.FileIO):
        def write(self, data: memoryview, /) -> int:  # type: ignore[override]  # what _write gives it
            return super().write(data[:7])

    monkeypatch.setattr("imip_secrets.runner.files.FileIO", Slow)
    files.write_private(tmp_path / "dotenv", bytes(range(100)))
    assert (tmp_path / "dotenv").read_bytes() == bytes(range(100))


def test_summaries_follow_one_another(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    files.summary(path, "| a |\n")
    files.summary(path, "ä\ud800\n")
    assert path.read_bytes() == "| a |\nä?\n".encode()


@pytest.mark.parametrize("already", [0, 1000, files.SUMMARY_LIMIT - 60, files.SUMMARY_LIMIT - 10, files.SUMMARY_LIMIT])
def test_a_summary_never_grows_beyond_what_the_runner_shows(tmp_path: Path, already: int) -> None:
    path = tmp_path / "summary"
    path.write_bytes(b"x" * already)
    files.summary(path, "| name | store |\n" * 70_000)
    data = path.read_bytes()
    assert Log().summary(data) is not None
    assert data.endswith(files.SUMMARY_CUT) == (already <= files.SUMMARY_LIMIT - len(files.SUMMARY_CUT))
    assert data.removesuffix(files.SUMMARY_CUT)[already:].replace(b"| name | store |\n", b"") == b""


def test_a_summary_that_fits_exactly_is_whole(tmp_path: Path) -> None:
    files.summary(tmp_path / "summary", "x" * files.SUMMARY_LIMIT)
    assert (tmp_path / "summary").read_bytes() == b"x" * files.SUMMARY_LIMIT


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("a\0b", "the value of KEY holds a NUL byte, which no variable can"),
        (b"\xff\0", "the value of KEY holds a NUL byte, which no variable can"),
        (b"\xff\xfe", "the value of KEY is not UTF-8 text"),
        ("a\ud800", "the value of KEY is not UTF-8 text"),
    ],
)
def test_what_no_variable_can_hold_is_refused_with_two_ways_out(value: str | bytes, what: str) -> None:
    problem = files.check_value("KEY", Secret(value))
    assert problem is not None
    assert problem.what == what
    assert "as=file" in problem.remedy
    assert "encode=base64" in problem.remedy


def test_a_variable_of_more_than_96_kib_with_its_name_is_refused() -> None:
    fits = "ä" * ((96 * 1024 - len("KEY=")) // 2)
    assert files.check_value("KEY", Secret(fits)) is None
    assert files.check_value("KEY", Secret(f"{fits}a")) == Problem(
        "the value of KEY is larger than 96 KiB, and no later step could start with it",
        remedy="Add as=file to its reference: the value goes to a private file, and the variable holds the path.",
    )


@pytest.mark.parametrize("value", ["", " ", "\ufeff", "\r\n", "🔑", "\x7f"])
def test_other_values_are_accepted(value: str) -> None:
    assert files.check_value("KEY", Secret(value)) is None


def test_variables_of_more_than_1_mib_together_are_refused_by_the_largest_names() -> None:
    variables = [(f"V{index:02}", Secret("x" * (64 * 1024 - 4))) for index in range(16)]
    assert files.check_total(variables) is None
    problem = files.check_total([*variables, ("SMALL", Secret("")), ("LARGE", Secret("x" * 70_000))])
    assert problem is not None
    assert problem.what == "the variables together are larger than 1 MiB, and no later step could start with them"
    assert problem.remedy == "Add as=file to the references of the largest: LARGE, V00, V01."


@needs_posix
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_file_is_written_byte_for_byte(tmp_path: Path, first: bytes, second: bytes) -> None:
    path = tmp_path / "any"
    for data in (first, second):
        files.write_private(path, data)
        assert path.read_bytes() == data
