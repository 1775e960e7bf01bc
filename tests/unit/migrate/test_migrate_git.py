"""A git that is not there, fails, hangs, or cannot be started."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from imip_secrets import cli
from imip_secrets.errors import ImipError
from imip_secrets.migrate import git as asking
from imip_secrets.migrate.audit import audit
from imip_secrets.migrate.git import Git

if TYPE_CHECKING:
    from pathlib import Path

needs_posix = pytest.mark.skipif(os.name != "posix", reason="a script that plays git needs a #! line")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / ".env").write_text("SECRET_KEY=s3cret-value\n", encoding="utf-8")
    return folder


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder in which programs are looked for."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def play(programs: Path, script: str) -> None:
    program = programs / "git"
    program.write_text(script, encoding="utf-8")
    program.chmod(0o755)


@pytest.mark.usefixtures("programs")
def test_a_machine_without_git_has_files_and_no_history(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert not Git(tree).is_there()
    found = audit(tree)
    assert [file.path for file in found.files] == [".env"]
    assert not found.has_git
    assert found.past == ()
    assert cli.main(["migrate", "audit", str(tree)]) == 0
    assert "s3cret-value" not in "".join(capfd.readouterr())


@needs_posix
def test_a_git_that_knows_no_working_tree_is_none(tree: Path, programs: Path) -> None:
    play(programs, "#!/bin/sh\necho 'fatal: not a git repository' >&2\nexit 128\n")
    assert not audit(tree).has_git


@needs_posix
@pytest.mark.parametrize("part", ["ls-files", "log"])
def test_a_git_that_fails_is_said_with_the_part_and_the_status(
    tree: Path, programs: Path, part: str, capfd: pytest.CaptureFixture[str]
) -> None:
    play(programs, f'#!/bin/sh\ncase " $* " in *" {part} "*) echo secret-of-git >&2; exit 128;; esac\necho true\n')
    assert cli.main(["migrate", "audit", str(tree)]) == 1
    out, err = capfd.readouterr()
    way = ", or use --no-history" if part in {"log", "cat-file"} else ""
    assert f"git {part} failed with status 128. Run it by hand to see why{way}." in err
    assert "secret-of-git" not in out + err


@needs_posix
def test_a_git_that_hangs_is_waited_for_no_longer_than_its_time(
    tree: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_LIMIT_SECONDS", 0.2)
    play(programs, f"#!/bin/sh\nexec {shutil.which('sleep', path=os.defpath)} 30\n")
    with pytest.raises(ImipError, match=r"git could not be asked \(TimeoutExpired\)\. Use --no-history\."):
        audit(tree)


@needs_posix
def test_a_git_that_cannot_be_started_is_said(tree: Path, programs: Path) -> None:
    play(programs, "#!/nowhere/at-all\n")
    with pytest.raises(ImipError, match=r"git could not be asked \(FileNotFoundError\)"):
        audit(tree)
