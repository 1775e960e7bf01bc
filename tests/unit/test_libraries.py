"""Where library sets are, and when such a place is not to be trusted."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from imip_secrets import installing, libraries
from imip_secrets.errors import ImipError
from imip_secrets.stores.aws.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

posix = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes are POSIX's")


class Installer:
    """Stands for :func:`imip_secrets.installing.install`: makes the folders and counts."""

    def __init__(self) -> None:
        self.installed: list[str] = []

    def __call__(self, wanted: Mapping[Path, Path], environ: Mapping[str, str]) -> None:
        assert environ
        for lock, place in wanted.items():
            self.installed.append(lock.stem)
            place.mkdir()


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "requirements"
    root.mkdir()
    for name in ("aws", "vault"):
        (root / f"{name}.txt").write_text(f"{name}==1\n")
    monkeypatch.setattr(libraries._Launch, "locks", root)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return root


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch) -> Installer:
    stand_in = Installer()
    monkeypatch.setattr(installing, "install", stand_in)
    return stand_in


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    places = {name: str(tmp_path / name.lower()) for name in ("RUNNER_TOOL_CACHE", "RUNNER_TEMP", "HOME")}
    return {**places, "LOCALAPPDATA": places["HOME"]}


def ours(environ: Mapping[str, str], name: str) -> Path:
    folder = next(iter(libraries._places({name: environ[name]})))
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def last_on_path() -> str:
    return sys.path[-1]


def test_without_launch_nothing_is_touched(
    environ: dict[str, str], installer: Installer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(libraries._Launch, "locks", None)
    before = list(sys.path)
    libraries.provide(["aws"], environ)
    assert (sys.path, installer.installed, list(tmp_path.iterdir())) == (before, [], [])


def test_launch_says_where_the_locks_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries._Launch, "locks", None)
    libraries.use_locks(tmp_path)
    assert libraries._Launch.locks == tmp_path


@pytest.mark.usefixtures("locks")
def test_missing_sets_are_installed_once_and_found_afterwards(environ: dict[str, str], installer: Installer) -> None:
    libraries.provide(["aws", "vault"], environ)
    libraries.provide(["aws", "vault"], environ)
    assert installer.installed == ["aws", "vault"]
    added = [entry for entry in sys.path if entry.startswith(environ["RUNNER_TOOL_CACHE"])]
    assert [os.path.basename(entry).split("-")[0] for entry in added] == ["aws", "vault"]  # noqa: PTH119 - sys.path holds texts
    assert sys.path[-2:] == added


def test_another_lock_is_another_set(locks: Path, environ: dict[str, str], installer: Installer) -> None:
    libraries.provide(["aws"], environ)
    first = last_on_path()
    (locks / "aws.txt").write_text("aws==2\n")
    libraries.provide(["aws"], environ)
    assert installer.installed == ["aws", "aws"]
    assert last_on_path() != first


@pytest.mark.parametrize("suffix", [".cpython-312-x86_64-linux-musl.so", ".cpython-312-aarch64-linux-gnu.so"])
def test_another_kind_of_python_has_sets_of_its_own(locks: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = libraries._key(locks / "aws.txt")
    monkeypatch.setattr(libraries, "EXTENSION_SUFFIXES", [suffix])
    assert libraries._key(locks / "aws.txt") != here


def test_with_other_services_a_set_is_another(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = libraries._key(locks / "aws.txt")
    monkeypatch.setattr(libraries, "SERVICES", (*SERVICES, "sso"))
    assert libraries._key(locks / "aws.txt") != before


@pytest.mark.usefixtures("locks", "installer")
def test_the_folder_is_for_nobody_else(environ: dict[str, str]) -> None:
    folder = ours(environ, "RUNNER_TOOL_CACHE")
    libraries.provide(["aws"], environ)
    assert folder.is_dir()
    if sys.platform != "win32":
        assert folder.stat().st_mode & 0o777 == 0o700


def refused_symlink(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    folder.symlink_to("elsewhere")


def refused_file(folder: Path) -> None:
    folder.write_text("in the way")


def refused_group_writable(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o770)


def refused_world_writable(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o707)


REFUSED = {
    "is a symbolic link": refused_symlink,
    "cannot be made": refused_file,
    "can be written to by others": refused_group_writable,
    "can be written to by others ": refused_world_writable,
}


@posix
@pytest.mark.usefixtures("locks", "installer")
@pytest.mark.parametrize("reason", REFUSED)
def test_a_tool_cache_that_others_may_have_changed_is_left_for_the_next_place(
    reason: str, environ: dict[str, str]
) -> None:
    REFUSED[reason](ours(environ, "RUNNER_TOOL_CACHE"))
    libraries.provide(["aws"], environ)
    assert last_on_path().startswith(environ["RUNNER_TEMP"])


@posix
@pytest.mark.usefixtures("locks", "installer")
def test_a_tool_cache_that_belongs_to_somebody_else_is_left_alone(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ImipError, match=rf"imip-secrets-{owner + 1} belongs to somebody else; .*RUNNER_TEMP"):
        libraries.provide(["aws"], {name: environ[name] for name in ("RUNNER_TOOL_CACHE", "RUNNER_TEMP")})


@posix
@pytest.mark.usefixtures("locks", "installer")
def test_a_tool_cache_without_write_access_is_left_for_the_next_place(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_only = ours(environ, "RUNNER_TOOL_CACHE")
    monkeypatch.setattr(os, "access", lambda path, _mode: path != read_only)
    libraries.provide(["aws"], environ)
    assert last_on_path().startswith(environ["RUNNER_TEMP"])


@posix
@pytest.mark.usefixtures("locks", "installer")
def test_the_error_names_every_place_and_why_not(environ: dict[str, str]) -> None:
    for name in ("RUNNER_TOOL_CACHE", "RUNNER_TEMP"):
        refused_symlink(ours(environ, name))
    with pytest.raises(ImipError) as caught:
        libraries.provide(["aws"], {name: environ[name] for name in ("RUNNER_TOOL_CACHE", "RUNNER_TEMP")})
    (problem,) = caught.value.problems
    assert problem.what.count("is a symbolic link") == 2
    assert "RUNNER_TOOL_CACHE" in problem.remedy


@pytest.mark.usefixtures("locks", "installer")
@pytest.mark.parametrize("environ", [{}, {"RUNNER_TOOL_CACHE": "tools", "RUNNER_TEMP": "", "HOME": "."}])
def test_a_place_that_depends_on_the_current_folder_is_none(environ: dict[str, str]) -> None:
    with pytest.raises(ImipError, match="no place for one is known"):
        libraries.provide(["aws"], environ)


@pytest.mark.usefixtures("locks", "installer")
def test_by_hand_the_cache_of_the_user_is_used(environ: dict[str, str]) -> None:
    libraries.provide(["aws"], {name: environ[name] for name in ("HOME", "LOCALAPPDATA")})
    assert last_on_path().startswith(environ["HOME"])


def test_the_image_has_every_set_in_one_folder_and_installs_none(
    locks: Path, environ: dict[str, str], installer: Installer
) -> None:
    whole = locks.with_name("libraries")
    whole.mkdir()
    libraries.provide(("aws", "vault"), environ)
    libraries.provide(("aws",), environ)
    assert sys.path.count(str(whole)) == 1
    assert installer.installed == []


def test_what_the_image_has_whole_comes_before_what_the_bundle_has_in_part(
    locks: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = locks.with_name("libraries")
    whole.mkdir()
    monkeypatch.setattr(libraries._Launch, "bundled", ["vault"])
    sys.path.append("the bundle")
    libraries.provide(("aws", "vault"), environ)
    assert sys.path[-2:] == [str(whole), "the bundle"]


def test_a_command_line_of_the_image_has_every_set_from_the_start(locks: Path) -> None:
    libraries.provide_all()
    whole = locks.with_name("libraries")
    assert str(whole) not in sys.path  # there is no image
    whole.mkdir()
    libraries.provide_all()
    assert sys.path[-1] == str(whole)
