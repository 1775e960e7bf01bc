from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.errors import ImipError
from imip_secrets.runner import files, handover
from imip_secrets.runner.handover import Handover
from job import failing_at
from stand_ins.memory import Memory, MemoryKept, registered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_posix = pytest.mark.skipif(os.name != "posix", reason="owners, modes and links of POSIX")
needs_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
NOBODY = 65534


@pytest.fixture(autouse=True)
def _store() -> Iterator[None]:
    with registered(Memory()):
        yield


def marked(temporary: Path) -> Path:
    folder = files.private_folder(temporary)
    (folder / handover.MARK).touch()
    return folder


def noted(temporary: Path, content: bytes) -> Path:
    folder = files.private_folder(temporary)
    (folder / handover.NOTE).write_bytes(content)
    return folder


def test_a_private_folder_of_ours_is_ours(tmp_path: Path) -> None:
    folder = files.private_folder(tmp_path)
    assert list(handover.folders(tmp_path)) == [folder]


def test_the_mark_of_a_cleanup_step_is_found_in_a_folder_of_ours_alone(tmp_path: Path) -> None:
    assert not handover.is_awaited(tmp_path)
    files.private_folder(tmp_path)
    (tmp_path / handover.MARK).touch()
    (tmp_path / "imip-secrets").mkdir(mode=0o700)
    (tmp_path / "imip-secrets" / handover.MARK).touch()
    assert not handover.is_awaited(tmp_path)
    marked(tmp_path)
    assert handover.is_awaited(tmp_path)


def test_where_there_is_no_folder_nothing_is_ours(tmp_path: Path) -> None:
    assert list(handover.folders(tmp_path / "none")) == []
    assert not handover.is_awaited(tmp_path / "none")


def test_a_folder_that_goes_meanwhile_hides_no_other(tmp_path: Path) -> None:
    first, second, third = sorted(files.private_folder(tmp_path) for _ in range(3))
    given = handover.folders(tmp_path)
    assert next(given) == first
    second.rmdir()
    assert list(given) == [third]
    assert handover.values(second) == 0


@pytest.mark.parametrize("name", ["imip-secrets-", f"imip-secrets-{'g' * 32}", f"imip-secrets-{'a' * 33}", "other"])
def test_a_folder_by_another_name_is_not_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(mode=0o700)
    assert list(handover.folders(tmp_path)) == []


@needs_posix
@pytest.mark.parametrize("mode", [0o701, 0o710, 0o770, 0o740, 0o777])
def test_a_folder_that_others_can_look_into_is_passed_over(tmp_path: Path, mode: int) -> None:
    marked(tmp_path).chmod(mode)
    assert not handover.is_awaited(tmp_path)


@needs_posix
def test_a_link_is_passed_over_though_it_leads_to_a_folder_of_ours(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / f"imip-secrets-{'a' * 32}").symlink_to(marked(elsewhere))
    (tmp_path / f"imip-secrets-{'b' * 32}").write_text("a file")
    assert list(handover.folders(tmp_path)) == []


@needs_root
def test_a_folder_of_another_user_is_passed_over(tmp_path: Path) -> None:
    os.chown(marked(tmp_path), NOBODY, NOBODY)
    assert not handover.is_awaited(tmp_path)


@needs_root
def test_the_root_of_a_container_works_for_the_user_of_the_runner(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    folder = marked(tmp_path)
    assert folder.stat().st_uid == NOBODY
    assert handover.is_awaited(tmp_path)
    change = files.Change(folder / "KEY", b"value", given=True)
    files.put([change])
    facts = (folder / "KEY").stat()
    assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (NOBODY, 0o600)
    os.chown(folder, 1, 1)
    assert not handover.is_awaited(tmp_path)


@needs_posix
def test_another_user_than_root_has_only_what_is_its_own(tmp_path: Path) -> None:
    folder = marked(tmp_path)
    facts = folder.stat()
    with mock.patch.object(os, "geteuid", return_value=facts.st_uid + 1):
        assert not handover.is_awaited(tmp_path)
        os.chmod(files.private_folder(tmp_path), 0o700)  # noqa: PTH101 - it is not given away, and no error


def test_where_there_are_no_owners_the_name_decides(tmp_path: Path) -> None:
    folder = marked(tmp_path)
    with mock.patch.object(os, "name", "nt"):
        owners = handover._owners(tmp_path)
    assert owners == set()
    folder.chmod(0o777)
    assert handover._is_private(folder, owners)


def test_a_note_says_the_names_and_the_credentials(tmp_path: Path) -> None:
    folder = noted(tmp_path, handover.note(["A", "B"], [MemoryKept(["x", "y"])]))
    assert handover.read(folder) == Handover(("A", "B"), (("memory", {"leases": "x y", "says": ""}),))


def test_a_folder_without_a_note_has_nothing_to_say(tmp_path: Path) -> None:
    assert handover.read(marked(tmp_path)) == Handover()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"names":["A"]}',
        '{"names":"A","kept":[]}',
        '{"names":["A=1"],"kept":[]}',
        '{"names":["A\\n"],"kept":[]}',
        '{"names":[1],"kept":[]}',
        '{"names":[],"kept":["memory"]}',
        '{"names":[],"kept":[["memory","x"]]}',
        '{"names":[],"kept":[["elsewhere",{}]]}',
        '{"names":[],"kept":[[1,{}]]}',
    ],
)
def test_what_is_no_note_is_refused(tmp_path: Path, content: str) -> None:
    folder = noted(tmp_path, content.encode())
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds, and the text is not shown
        handover.read(folder)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(lambda it: json.dumps(it).encode()))
def test_no_content_of_a_note_does_more_than_be_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = noted(tmp_path_factory.mktemp("note"), data)
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        handover.read(folder)


@needs_posix
def test_a_link_in_place_of_a_note_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text('{"names":[],"kept":[]}')
    folder = files.private_folder(tmp_path)
    (folder / handover.NOTE).symlink_to(tmp_path / "other")
    with pytest.raises(ImipError, match="is a link"):
        handover.read(folder)


@needs_posix
def test_a_note_that_cannot_be_read_is_said_to_be_one(tmp_path: Path) -> None:
    folder = noted(tmp_path, b"{}")
    with (
        mock.patch.object(files, "FileIO", side_effect=PermissionError(13, "Permission denied")),
        pytest.raises(ImipError, match="cannot be read: Permission denied"),
    ):
        handover.read(folder)


def test_values_are_counted_and_not_what_we_write_for_ourselves(tmp_path: Path) -> None:
    folder = marked(tmp_path)
    assert handover.values(folder) == 0
    for name in ("KEY", "CERT", handover.NOTE):
        (folder / name).touch()
    assert handover.values(folder) == 2


@needs_posix
def test_a_folder_goes_with_all_that_is_in_it_and_nothing_that_a_link_leads_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    folder = marked(tmp_path)
    (folder / "KEY").write_text("value")
    (folder / "sub").mkdir()
    (folder / "sub" / "x").touch()
    (folder / "link").symlink_to(outside)
    handover.remove(folder)
    assert not folder.exists()
    assert (outside / "kept").exists()


def test_what_is_left_ahead_is_there_while_the_step_works_and_no_longer(tmp_path: Path) -> None:
    folder = marked(tmp_path)
    with handover.Ahead(str(tmp_path)) as ahead:
        assert list(tmp_path.iterdir()) == [folder]
        ahead.note(MemoryKept(["creds/a"]))
        (other,) = (each for each in handover.folders(tmp_path) if each != folder)
        assert handover.read(other) == Handover((), (("memory", {"leases": "creds/a", "says": ""}),))
        assert [stat.S_IMODE(path.stat().st_mode) for path in (other, other / handover.NOTE)] == [0o700, 0o600]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("temporary", ["", "relative", "."])
def test_nothing_is_left_ahead_where_no_folder_of_the_runner_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = marked(tmp_path)
    with handover.Ahead(temporary) as ahead:
        ahead.note(MemoryKept(["creds/a"]))
        assert list(tmp_path.iterdir()) == [folder]


def test_nothing_is_left_ahead_where_nobody_cleans_up(tmp_path: Path) -> None:
    with handover.Ahead(str(tmp_path)) as ahead:
        ahead.note(MemoryKept(["creds/a"]))
        assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_left_ahead_is_the_error_and_leaves_nothing(tmp_path: Path) -> None:
    folder = marked(tmp_path)
    with (
        handover.Ahead(str(tmp_path)) as ahead,
        failing_at(1, OSError(errno.ENOSPC, "No space left on device")),
        pytest.raises(ImipError, match="cannot be written: No space left on device"),
    ):
        ahead.note(MemoryKept(["creds/a"]))
    assert list(tmp_path.iterdir()) == [folder]


def test_what_is_left_shows_nothing_of_itself() -> None:
    assert "s3cret" not in repr(Handover(("A",), (("memory", {"token": "s3cret"}),)))
