from __future__ import annotations

import os
import re
import shutil
import threading
import time
from typing import TYPE_CHECKING

import pytest

from imip_secrets import cleanup, libraries
from imip_secrets.errors import ImipError, Problem
from imip_secrets.runner import files, handover
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Lease
from job import BEFORE, Job
from runner_model import Log
from stand_ins.memory import Memory, MemoryKept

if TYPE_CHECKING:
    from pathlib import Path

VALUE = "correct-horse/battery+staple"
needs_posix = pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path)
    folder = files.private_folder(job.temp)
    (folder / handover.MARK).touch()
    return job


def kept(path: str = "a", *, fault: str = "") -> Memory:
    lease = Lease(Secret(f"{path}/lease-id"), 3600, renewable=True)
    return Memory({path: Found(Secret(VALUE), lease=lease)}, kept=MemoryKept([path], fault))


def clean(job: Job, store: Memory | None = None) -> tuple[list[str], list[str]]:
    """Run the cleanup; return the lines that it says and its warnings."""
    assert job.start("cleanup", store or Memory()) == 0
    log = Log().feed(job.stdout).end_step()
    assert {kind for kind, _ in log.issues} <= {"warning"}
    assert job.stderr == ""
    said = [line for line in job.stdout.decode().splitlines() if not line.startswith("::")]
    return said, [text for _, text in log.issues]


def plant(job: Job, content: str) -> Path:
    folder = files.private_folder(job.temp)
    (folder / handover.NOTE).write_text(content)
    return folder


def test_everything_that_steps_have_left_is_ended_emptied_and_removed(job: Job) -> None:
    assert job.run("memory://a\nKEY = memory://a?as=file", kept()) == 0
    assert job.run("memory://b\nKEY2 = memory://b?as=file", kept("b")) == 0
    exported = job.env.read_bytes()
    store = Memory()
    assert clean(job, store) == (["Cleaned up: 2 leases revoked, 4 variables emptied, 2 files removed."], [])
    assert store.calls == ["resume", "resume"]
    assert list(job.temp.iterdir()) == []
    after = job.env.read_bytes()
    assert after.startswith(exported)
    log = Log()
    log.apply_env(after)
    assert log.environment == {"EARLIER": "1", "A": "", "KEY": "", "B": "", "KEY2": ""}


def test_a_job_that_left_nothing_is_clean(job: Job) -> None:
    assert clean(job) == (["Cleaned up: 0 leases revoked, 0 variables emptied, 0 files removed."], [])
    assert job.env.read_bytes() == BEFORE
    assert list(job.temp.iterdir()) == []
    assert clean(job)[1] == []


@pytest.mark.parametrize("temporary", ["", "relative", "/nowhere/at/all"])
def test_without_a_folder_of_the_runner_there_is_nothing_to_do(job: Job, temporary: str) -> None:
    job.environ["RUNNER_TEMP"] = temporary
    assert clean(job)[1] == []


def test_what_cannot_be_revoked_is_a_warning_and_the_rest_is_done(job: Job) -> None:
    assert job.run("memory://a\nKEY = memory://a?as=file", kept(fault="Vault is down")) == 0
    assert job.run("memory://b", kept("b")) == 0
    said, warnings = clean(job)
    assert warnings == ["Credentials could not be revoked (Vault is down). They live: a for 1h."]
    assert said == ["Cleaned up: 1 lease revoked, 3 variables emptied, 1 file removed."]
    assert list(job.temp.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("refused", "Credentials could not be revoked (access is denied. Allow memory:Read). They end by themselves."),
        ("strange", "Credentials could not be revoked (ValueError). They end by themselves."),
    ],
)
def test_what_cannot_be_taken_up_is_a_warning_without_what_it_holds(job: Job, fault: str, said: str) -> None:
    plant(job, f'{{"names":[],"kept":[["memory",{{"fault":"{fault}"}}]]}}')
    assert clean(job)[1] == [said]
    assert "s3cret" not in job.stdout.decode()
    assert list(job.temp.iterdir()) == []


@pytest.mark.parametrize(
    "content", ["", "s3cret", '{"names":["PATH=s3cret"],"kept":[]}', '{"names":[],"kept":[["s3cret",{}]]}']
)
def test_a_note_that_cannot_be_read_stops_nothing_else(job: Job, content: str) -> None:
    folder = plant(job, content)
    assert job.run("memory://a", kept()) == 0
    said, warnings = clean(job)
    assert warnings == [f"What a step has left in {folder.name} cannot be read, so nothing of it is revoked."]
    assert said == ["Cleaned up: 1 lease revoked, 1 variable emptied, 0 files removed."]
    assert "s3cret" not in job.stdout.decode()


@needs_posix
def test_what_is_not_ours_stays(job: Job, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "kept").touch()
    (job.temp / f"imip-secrets-{'a' * 32}").symlink_to(outside)
    wide = plant(job, '{"names":["PATH"],"kept":[]}')
    wide.chmod(0o755)
    other = job.temp / "imip-secrets-other"
    other.mkdir()
    assert clean(job) == (["Cleaned up: 0 leases revoked, 0 variables emptied, 0 files removed."], [])
    assert {path.name for path in job.temp.iterdir()} == {f"imip-secrets-{'a' * 32}", wide.name, other.name}
    assert (outside / "kept").exists()
    assert job.env.read_bytes() == BEFORE


def test_a_folder_that_cannot_be_removed_is_a_warning(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    (warning,) = clean(job)[1]
    assert re.fullmatch(r".*/imip-secrets-[0-9a-f]{32} cannot be removed: Permission denied\.", warning)


@needs_posix
def test_an_environment_that_cannot_be_written_is_a_warning(job: Job) -> None:
    assert job.run("memory://a", kept()) == 0
    job.env.rename(job.folder / "real")
    job.env.symlink_to(job.folder / "real")
    said, warnings = clean(job)
    assert "is a link" in warnings[0]
    assert said == ["Cleaned up: 1 lease revoked, 1 variable emptied, 0 files removed."]


def test_without_an_environment_nothing_is_emptied(job: Job) -> None:
    assert job.run("memory://a", kept()) == 0
    del job.environ["GITHUB_ENV"]
    assert clean(job)[1] == []


def test_a_store_that_hangs_is_not_waited_for_for_ever(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "SECONDS", 0.2)
    released = threading.Event()
    assert job.run("memory://a", kept()) == 0

    def hang(self: MemoryKept) -> str:
        released.wait(60)
        return self.fault

    monkeypatch.setattr(MemoryKept, "end", hang)
    start = time.monotonic()
    said, warnings = clean(job)
    released.set()
    assert time.monotonic() - start < 45  # what hangs hangs for a minute
    assert warnings == ["Credentials could not be revoked in 0.2 s: they end by themselves."]
    assert said == ["Cleaned up: 0 leases revoked, 1 variable emptied, 0 files removed."]


def test_libraries_that_cannot_be_had_leave_no_file(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    assert job.run("KEY = memory://a?as=file", kept()) == 0
    asked: list[tuple[str, ...]] = []

    def refuse(names: tuple[str, ...], _: object) -> None:
        asked.append(names)
        raise ImipError(Problem("no index at 100%", remedy="Look."))

    monkeypatch.setattr(libraries, "provide", refuse)
    assert job.start("cleanup", Memory()) == 0
    assert job.stdout == b"::warning title=imip-secrets::no index at 100%25. Look.\n"
    assert asked == [("runner", "memory-libraries")]
    assert list(job.temp.iterdir()) == []


def test_ambient_addresses_do_not_count(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    def end(self: MemoryKept) -> str:
        seen.append(os.environ.get("VAULT_ADDR"))
        return self.fault

    monkeypatch.setattr(MemoryKept, "end", end)
    assert job.run("memory://a", kept()) == 0
    job.environ["VAULT_ADDR"] = "https://evil.example"
    assert clean(job)[1] == []
    assert seen == [None]


def test_nobody_logs_in_to_clean_up() -> None:
    with pytest.raises(ImipError, match="nobody logs in to clean up"):
        cleanup._no_id_token("audience")
