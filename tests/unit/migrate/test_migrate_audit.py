from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from imip_secrets import cli
from imip_secrets.migrate.audit import audit, report
from imip_secrets.migrate.envfile import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

VALUE = "s3cret-value-of-history"


def git(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    command = [shutil.which("git") or "git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, input=given).stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a history: secrets committed, changed, moved and removed; and files of every kind."""
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / ".env").write_text(f"SECRET_KEY={VALUE}\nPORT=1\n", encoding="utf-8")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / ".env.staging").write_text("TOKEN=a\n", encoding="utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    (tmp_path / ".env").write_text(f"SECRET_KEY={VALUE}2\nOLD_TOKEN=x\n", encoding="utf-8")
    git(tmp_path, "commit", "-qam", "two")
    git(tmp_path, "rm", "-q", ".env")
    git(tmp_path, "commit", "-q", "-m", "three")
    git(tmp_path, "checkout", "-q", "-b", "side", "HEAD~2")
    (tmp_path / "ünï.env").write_text("API_KEY=on-a-branch\n", encoding="utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "on a branch")
    git(tmp_path, "checkout", "-q", "main")
    (tmp_path / ".gitignore").write_text(".env\n", encoding="utf-8")
    (tmp_path / ".env").write_text(f"SECRET_KEY={VALUE}\nPORT=1\nPORT=2\nBARE\n", encoding="utf-8")
    (tmp_path / ".env.production").write_text(f"SECRET_KEY={VALUE}\n", encoding="utf-8")
    (tmp_path / ".env.example").write_text("SECRET_KEY=\n", encoding="utf-8")
    (tmp_path / ".env.broken").write_bytes(b"\xff\xfe\0")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / ".env").write_text("X=1\n", encoding="utf-8")
    return tmp_path


def test_every_file_is_found_with_what_git_knows_of_it(tree: Path) -> None:
    found = {file.path: file for file in audit(tree).files}
    assert set(found) == {".env", ".env.production", ".env.example", ".env.broken", "app/.env.staging"}
    assert found[".env"].ignored
    assert not found[".env.production"].ignored
    assert found["app/.env.staging"].tracked
    assert found[".env.example"].is_template
    assert found[".env.broken"].problems


def test_history_tells_every_commit_and_key_over_all_branches(tree: Path) -> None:
    past = {each.path: each for each in audit(tree).past}
    assert set(past) == {".env", "app/.env.staging", "ünï.env"}
    assert len(past[".env"].commits) == 2
    assert past[".env"].keys == ("SECRET_KEY", "OLD_TOKEN")
    assert past["ünï.env"].keys == ("API_KEY",)


def test_what_a_branch_had_before_it_was_merged_is_in_history(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    git(tmp_path, "checkout", "-q", "-b", "side")
    for name, text in ((".env", f"SECRET_KEY={VALUE}\n"), (".env.staging", "TOKEN=a\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-q", "-m", "by mistake")
        git(tmp_path, "rm", "-q", name)
        git(tmp_path, "commit", "-q", "-m", "taken back")
    git(tmp_path, "checkout", "-q", "main")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "two")
    git(tmp_path, "merge", "-q", "--no-ff", "side")
    git(tmp_path, "branch", "-q", "-D", "side")
    assert [(past.path, past.keys) for past in audit(tmp_path).past] == [
        (".env", ("SECRET_KEY",)),
        (".env.staging", ("TOKEN",)),
    ]


@pytest.mark.parametrize("shown", ["separate", "dense-combined", "off"])
def test_what_only_a_merge_has_is_in_history(tmp_path: Path, shown: str) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "config", "log.diffMerges", shown)
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    git(tmp_path, "checkout", "-q", "-b", "side")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "two")
    git(tmp_path, "checkout", "-q", "main")
    git(tmp_path, "merge", "-q", "--no-ff", "--no-commit", "side")
    (tmp_path / ".env").write_text(f"SECRET_KEY={VALUE}\n", encoding="utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "merge")
    merge = git(tmp_path, "rev-parse", "HEAD").decode().strip()
    git(tmp_path, "rm", "-q", ".env")
    git(tmp_path, "commit", "-q", "-m", "taken back")
    (past,) = audit(tmp_path).past
    assert (past.path, past.keys, [commit for commit, _ in past.commits]) == (".env", ("SECRET_KEY",), [merge])


def test_a_clone_without_its_history_is_said_to_be_one(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    clone = tmp_path_factory.mktemp("clone") / "clone"
    git(tree, "clone", "-q", "--depth", "1", tree.as_uri(), str(clone))
    assert [*report(audit(clone))][-1].startswith("Only the last commits are in this clone, ")
    assert "in this clone" not in "".join(report(audit(clone, history=False)))
    assert "in this clone" not in "".join(report(audit(tree)))


def test_many_contents_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    stream = []
    for number in range(150):
        text = f"TOKEN_{number}=a\n"
        stream.append(
            f"commit refs/heads/main\ncommitter t <t@example.com> {number} +0000\ndata 0\n"
            f"M 100644 inline .env\ndata {len(text)}\n{text}"
        )
    git(tmp_path, "fast-import", "--quiet", given="\n".join(stream).encode())
    (past,) = audit(tmp_path).past
    assert past.keys == tuple(f"TOKEN_{number}" for number in range(150))


def test_the_report_says_what_is_wrong_and_shows_no_value(tree: Path) -> None:
    text = "\n".join(report(audit(tree)))
    for words in (
        ".env.production: NOT IGNORED by git",
        "app/.env.staging: IN GIT",
        "  look secret: SECRET_KEY",
        "  look like plain configuration: PORT",
        "  PORT stands in lines 2, 3: the last one counts",
        '  without a "=", and left out: line 4; ',
        ".env.production has no PORT",
        "SECRET_KEY is the same in .env and .env.production",
        "In git's history: .env, ",
        "rotate first",
        "it is UTF-16",
    ):
        assert words in text, (words, text)
    assert VALUE not in text
    assert "on-a-branch" not in text


def test_the_command_ends_with_1_where_something_is_exposed(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["migrate", "audit", str(tree)]) == 1
    assert VALUE not in capfd.readouterr().out


def test_without_git_the_files_are_found_all_the_same(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".env").write_text("A=1\n", encoding="utf-8")
    assert cli.main(["migrate", "audit", str(tmp_path)]) == 0
    assert capfd.readouterr().out.startswith(".env: ")


def test_history_can_be_left_out(tree: Path) -> None:
    assert audit(tree, history=False).past == ()


def test_nothing_there_is_said(tmp_path: Path) -> None:
    assert list(report(audit(tmp_path))) == ["No .env file in the tree."]


# What is left of a key of several lines that nobody has quoted.
_BROKEN_UP = "PRIVATE_KEY=MIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIBAQC7\nc2VjcmV0IG9mIHRoZSBm==\n" * 2


def test_the_lines_of_a_value_that_is_not_quoted_are_shown_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    for name in (".env", ".env.b"):
        (tmp_path / name).write_text(_BROKEN_UP, encoding="utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    assert cli.main(["migrate", "audit", str(tmp_path)]) == 1
    shown = capfd.readouterr().out
    assert "lines 2, 5" in shown
    assert "(line 6)" in shown
    for step in ("plan", "apply"):
        for more in ([], ["--only", "X"]):
            assert cli.main(["migrate", step, str(tmp_path / ".env"), "--to", "repo:o/a", *more])
    shown += "".join(capfd.readouterr())
    assert "line 6: what stands before the = is no name" in shown
    assert "AQEFAASC" not in shown
    assert "c2VjcmV0" not in shown


def test_what_a_repository_configures_starts_no_program_and_hides_no_file(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n: >'{ran}'\n", encoding="utf-8")
    program.chmod(0o755)
    repository = tmp_path / "repository"
    (repository / "below").mkdir(parents=True)
    git(repository, "init", "-q", "-b", "main")
    (repository / ".env").write_text(f"SECRET_KEY={VALUE}\n", encoding="utf-8")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "one")
    signature = b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n -----END PGP SIGNATURE-----"
    signed = git(repository, "cat-file", "commit", "HEAD").replace(b"\n\n", b"\n" + signature + b"\n\n", 1)
    made = git(repository, "hash-object", "-t", "commit", "-w", "--stdin", given=signed)
    git(repository, "update-ref", "HEAD", made.decode().strip())
    for name, value in {
        "log.showSignature": "true",
        "gpg.program": str(program),
        "core.fsmonitor": str(program),
        "log.showRoot": "false",
        "remote.origin.url": f"ext::{program}",
        "remote.origin.promisor": "true",
        "extensions.partialClone": "origin",
        "core.repositoryFormatVersion": "1",
        "protocol.ext.allow": "always",
    }.items():
        git(repository, "config", name, value)
    (past,) = audit(repository).past
    assert (past.path, past.keys) == (".env", ("SECRET_KEY",))
    # A content that is not there would be fetched, by whatever the configuration says.
    name = git(repository, "rev-parse", "HEAD:.env").decode().strip()
    (repository / ".git" / "objects" / name[:2] / name[2:]).unlink()
    (past,) = audit(repository).past
    assert (past.path, past.keys) == (".env", ())
    assert not ran.exists()


def test_a_name_in_history_is_a_name_whatever_it_looks_like(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    names = ["a\n:b/.env", "c\n:1 2 3 --batch-all-objects A/x.env", "\x01d/.env", ":e/.env"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"SECRET_KEY={VALUE}\n", encoding="utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    found = audit(tmp_path).past
    assert {each.path for each in found} == set(names)
    assert {each.keys for each in found} == {("SECRET_KEY",)}
    assert {each.commits for each in found} == {found[0].commits}


def test_a_content_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / ".env").write_text("A=1\n" * (LIMIT // 4 + 1), encoding="utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    (past,) = audit(tmp_path).past
    assert past.keys == ()
