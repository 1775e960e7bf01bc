from __future__ import annotations

import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imip_secrets.errors import ImipError, Problem, StoreError
from imip_secrets.runner import files, handover, report
from imip_secrets.runner.report import not_masked
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Lease
from job import BEFORE, Job, failing_at
from spellings import shown
from stand_ins.memory import Memory, MemoryKept, denied, missing, registered
from stand_ins.time_up import time_up_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_model import Log
    from stand_ins.memory import Content

needs_posix = pytest.mark.skipif(os.name != "posix", reason="links and signals of POSIX")

OURS = {"add-mask", "error", "warning", "notice", "group", "endgroup"}
VALUE = "correct-horse/battery+staple"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def errors(log: Log) -> list[str]:
    return [text for kind, text in log.issues if kind == "error"]


# --- what goes well


def test_the_values_are_in_the_environment_and_in_the_outputs_and_nowhere_in_the_log(job: Job) -> None:
    values = {
        "SECRET_KEY": VALUE,
        "PEM": "-----BEGIN KEY-----\nQUJDREVGRw\n-----END KEY-----\n",
        "PASS": "p@ss'w\"ö%rd",
    }
    assert job.run("memory://all", Memory({"all": json.dumps(values)})) == 0
    log = job.log()
    assert log.environment == {"EARLIER": "1", **values}
    assert json.loads(log.outputs["json"]) == values
    assert shown(log.text, values.values()) == []
    assert shown(log.summary(job.summary.read_bytes()) or "", values.values()) == []
    assert {command.name for command in log.commands} == {"add-mask"}
    assert job.stderr == ""
    assert not log.failed


def test_the_log_says_who_we_were_and_what_is_set(job: Job) -> None:
    store = Memory({"a": VALUE, "b": missing(), "c": missing(), "d": "5432"}, login="as arn:aws:sts::1:role")
    secrets = "memory://a\nmemory://b?optional\nC = memory://c?default=plain-text\nD = memory://d"
    assert job.run(secrets, store) == 0
    said = [line for line in job.stdout.decode().splitlines() if not line.startswith("::add-mask::")]
    warning = f"::warning title=imip-secrets::{not_masked('D')}"
    assert said == [
        "Memory: as arn:aws:sts::1:role.",
        "line 2, memory://b?optional: nothing is there, and it is optional: no variable.",
        "C has its default: nothing is there at line 3, memory://c?default=***.",
        warning,
        "3 variables set: A, C, D.",
    ]
    assert "3 variables set" in job.summary.read_text(encoding="utf-8")


def test_every_mask_is_out_before_any_byte_of_a_value_is_anywhere(job: Job) -> None:
    values = {f"K{n}": f"{VALUE}-{n}" for n in range(20)}
    assert job.run("memory://all", Memory({"all": json.dumps(values)}), env_file=".env") == 0
    masks = [held for data, held in job.moments if data.startswith(b"::add-mask::")]
    assert masks
    assert all(held == (BEFORE, BEFORE) for held in masks)
    others = b"".join(data for data, _ in job.moments if not data.startswith(b"::add-mask::"))
    assert b"::add-mask::" not in others
    assert VALUE.encode() not in others
    assert VALUE in job.env.read_text(encoding="utf-8")


def test_every_piece_is_flushed_as_whole_lines(job: Job) -> None:
    assert job.run("memory://a", Memory({"a": VALUE})) == 0
    assert all(data.endswith(b"\n") for data, _ in job.moments if data)


def test_a_token_that_is_an_input_is_masked_before_anything_is_said(job: Job) -> None:
    assert job.run("bogus", Memory(), vault_token="hvs.a-token-by-hand") == 1
    assert job.stdout.startswith(b"::add-mask::hvs.a-token-by-hand\n")


def test_the_warning_of_a_bare_value_can_be_silenced_and_is_not_needed_when_it_is_masked_by_order(job: Job) -> None:
    store = Memory({"a": "5432", "b": "5433", "c": "5434"})
    assert job.run("A = memory://a\nB = memory://b?mask=off\nC = memory://c?mask=on", store) == 0
    log = job.log()
    (warning,) = (text for kind, text in log.issues if kind == "warning")
    assert warning.startswith("The value of A is not masked")
    assert "5432" not in warning
    log.feed(b"5432 5433 5434\n")
    assert log.lines[-1] == "5432 5433 ***"


def test_a_request_may_give_nothing_at_all(job: Job) -> None:
    assert job.run("memory://a?optional", Memory()) == 0
    assert job.stdout.decode().splitlines()[-1] == "0 variables set: none."
    assert job.env.read_bytes() == BEFORE


def test_a_dotenv_file_is_written_in_the_workspace(job: Job) -> None:
    assert job.run("memory://a", Memory({"a": VALUE}), env_file=".env", export_env="false") == 0
    assert (job.workspace / ".env").read_text(encoding="utf-8") == f"A='{VALUE}'\n"
    assert job.env.read_bytes() == BEFORE


def test_ambient_addresses_are_named_as_ignored(job: Job) -> None:
    job.environ |= {"AWS_ENDPOINT_URL": "https://evil.example", "SSL_CERT_FILE": "/evil"}
    assert job.run("memory://a", Memory({"a": VALUE})) == 0
    assert "Ignored, since only inputs count here: AWS_ENDPOINT_URL, SSL_CERT_FILE." in job.stdout.decode()
    assert "evil" not in job.stdout.decode()


def test_a_variable_counts_as_taken_even_where_we_have_taken_it_out_of_our_own_environment(job: Job) -> None:
    job.environ["VAULT_TOKEN"] = "an earlier token"
    assert job.run("VAULT_TOKEN = memory://a", Memory({"a": VALUE})) == 1
    assert "VAULT_TOKEN is already set to something else in this job" in errors(job.log())[0]
    assert job.run("VAULT_TOKEN = memory://a", Memory({"a": VALUE}), overwrite_env="true") == 0


def test_a_summary_that_cannot_be_written_is_a_warning(job: Job) -> None:
    job.summary.unlink()
    job.summary.mkdir()
    assert job.run("memory://a", Memory({"a": VALUE})) == 0
    ((kind, text),) = job.log().issues
    assert kind == "warning"
    assert "summary cannot be written" in text
    assert job.log().environment["A"] == VALUE


def test_no_summary_is_no_obstacle(job: Job) -> None:
    del job.environ["GITHUB_STEP_SUMMARY"]
    assert job.run("memory://a", Memory({"a": VALUE})) == 0


# --- credentials that end with the job


def leased(path: str = "a", seconds: int = 3600) -> Found:
    return Found(Secret(VALUE), lease=Lease(Secret(f"{path}/lease-id"), seconds, renewable=True))


def announced(job: Job) -> None:
    """Leave the mark of a cleanup step."""
    folder = files.private_folder(job.temp)
    (folder / handover.MARK).touch()


def left(job: Job) -> list[handover.Handover]:
    with registered(Memory()):
        notes = [handover.read(folder) for folder in handover.folders(job.temp)]
    return [note for note in notes if note != handover.Handover()]


def test_credentials_are_handed_to_the_cleanup_step(job: Job) -> None:
    announced(job)
    kept = MemoryKept(["a", "b"])
    assert job.run("memory://a\nB = memory://a", Memory({"a": leased()}, kept=kept)) == 0
    assert kept.calls == ["leave"]
    assert left(job) == [handover.Handover(("A", "B"), (("memory", {"leases": "a b", "says": ""}),))]
    log = job.log()
    assert "Memory: the cleanup step revokes 2 leases when the job ends." in log.lines
    assert log.issues == []
    assert "lease-id" not in log.text
    assert "lives 1 hour" in job.summary.read_text(encoding="utf-8").replace("&#49;", "1")


def test_without_a_cleanup_step_the_log_says_so_and_how_long_they_live_and_no_credential_is_left(job: Job) -> None:
    kept = MemoryKept(["a", "b"])
    assert job.run("memory://a", Memory({"a": leased()}, kept=kept)) == 0
    assert kept.calls == ["leave"]
    assert list(job.temp.iterdir()) == []
    (issue,) = job.log().issues
    assert issue == ("warning", report.nobody_cleans_up("a for 1h, b for 1h"))


def test_credentials_that_end_before_the_job_are_warned_of_once_for_all_lines(job: Job) -> None:
    announced(job)
    store = Memory({"a": leased(seconds=1799), "b": leased(seconds=1800)}, kept=MemoryKept(["a", "b"]))
    assert job.run("memory://a\nX = memory://a\nmemory://b", store) == 0
    assert [text for _, text in job.log().issues] == [report.short_lived("a", 1799, 30)]
    assert job.run("memory://a", store, vault_lease_minutes="29", overwrite_env="true") == 0
    assert job.log().issues == []


def test_what_is_exported_is_known_to_the_cleanup_step_and_what_is_not_is_not(job: Job) -> None:
    announced(job)
    assert job.run("memory://a\nKEY = memory://a?as=file", Memory({"a": VALUE})) == 0
    assert left(job) == [handover.Handover(("A", "KEY"))]
    for folder in list(handover.folders(job.temp)):
        handover.remove(folder)
    announced(job)
    assert job.run("memory://a", Memory({"a": VALUE}), export_env="false") == 0
    assert left(job) == []
    assert job.run("memory://a", Memory({"a": leased()}, kept=MemoryKept(["a"])), export_env="false") == 0
    assert left(job) == [handover.Handover((), (("memory", {"leases": "a", "says": ""}),))]


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_credentials_end_when_they_cannot_be_delivered_at_any_moment(job: Job, fault: BaseException) -> None:
    announced(job)
    # A folder, four files and four renames: the note, the value, the outputs, the environment.
    for number in range(9):
        kept = MemoryKept(["a"])
        with failing_at(number, fault) as calls:
            status = job.run("memory://a\nKEY = memory://a?as=file", Memory({"a": leased()}, kept=kept))
        assert status == (130 if isinstance(fault, KeyboardInterrupt) else 1), calls
        assert (kept.calls, left(job)) == (["end"], []), calls
    with failing_at(9, fault) as calls:
        job.run("memory://a\nKEY = memory://a?as=file", Memory({"a": leased()}, kept=MemoryKept(["a"])))
    assert len(left(job)) == 1, calls


def test_credentials_end_when_a_variable_is_taken(job: Job) -> None:
    job.environ["A"] = "something else"
    kept = MemoryKept(["a"])
    assert job.run("memory://a", Memory({"a": leased()}, kept=kept)) == 1
    assert kept.calls == ["end"]


# --- what fails

FAULTS: dict[str, Content | Callable[[], Content]] = {
    "missing": missing(),
    "denied": denied(),
    "a defect": RuntimeError(VALUE),
    "a key that is refused": '{"LD_PRELOAD": "x"}',
    "a key that makes no name": '{"ключ": "x"}',
    "a key that is there already": '{"ok0": "x", "ok1": "y"}',
    "a key that stands twice": '{"x": "1", "x": "2"}',
    "NUL": b"\0",
    "no UTF-8": b"\xff\xfe",
    "too large": "x" * 100_000,
    "a variable that is set": '{"TAKEN": "something else"}',
}


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("fault", FAULTS)
def test_a_secret_that_fails_at_any_position_leaves_every_file_as_it_was(job: Job, fault: str, position: int) -> None:
    job.environ["TAKEN"] = "before"
    (job.workspace / ".env").write_bytes(b"OLD='1'\n")
    store: dict[str, Content] = {f"ok{n}": f"{VALUE}-{n}" for n in range(4)}
    lines = [f"OK{n} = memory://ok{n}" for n in range(4)]
    store["bad"] = FAULTS[fault]
    lines.insert(position, "memory://bad")
    before = job.everything()
    assert job.run("\n".join([*lines, "FILE = memory://ok0?as=file"]), Memory(store), env_file=".env") == 1
    assert job.everything() == before
    log = job.log()
    assert (
        any(f"line {position + 1}, memory://bad" in text for text in errors(log))
        or fault == "a key that is there already"
    )
    assert shown(log.text, [f"{VALUE}-{n}" for n in range(4)]) == []
    assert {command.name for command in log.commands} <= {"add-mask", "error"}
    assert job.stderr == ""
    assert "Nothing was exported: " in log.text
    assert "nothing was exported" in job.summary.read_text(encoding="utf-8")


@pytest.mark.parametrize("position", range(3))
def test_any_number_of_failures_are_all_listed(job: Job, position: int) -> None:
    store: dict[str, Content] = {"a": denied(), "b": missing(), "c": denied(), "d": VALUE}
    lines = ["memory://a", "memory://b", "memory://c"]
    lines.insert(position, "memory://d")
    assert job.run("\n".join(lines), Memory(store)) == 1
    assert len(errors(job.log())) == 3
    assert "Nothing was exported: 3 problems." in job.log().text


def test_a_refused_login_leaves_every_file_as_it_was(job: Job) -> None:
    before = job.everything()
    assert job.run("memory://a", Memory({"a": VALUE}, login=StoreError("the login was refused", "Mend the role."))) == 1
    assert job.everything() == before
    assert errors(job.log()) == ["Memory: the login was refused. Mend the role."]


def test_a_store_that_does_not_answer_is_given_up_in_time(job: Job) -> None:
    store = Memory({"a": VALUE})
    store.secrets["b"] = store.hang
    before = job.everything()
    start = time.monotonic()
    with time_up_after(2):
        assert job.run("memory://a\nmemory://b", store, timeout_seconds="1") == 1
    assert time.monotonic() - start < 45  # what hangs hangs for a minute
    assert job.everything() == before
    assert "no answer in the 1 s of timeout-seconds from Memory (b)" in errors(job.log())[0]


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_fault_of_the_disk_at_any_moment_leaves_every_file_as_it_was(job: Job, fault: BaseException) -> None:
    (job.workspace / ".env").write_bytes(b"OLD='1'\n")
    before = job.everything()
    # A folder, four files and four renames.
    for number in range(9):
        with failing_at(number, fault) as calls:
            status = job.run("memory://a\nKEY = memory://b?as=file", Memory({"a": VALUE, "b": VALUE}), env_file=".env")
        assert status == (130 if isinstance(fault, KeyboardInterrupt) else 1), calls
        assert job.everything() == before, calls
        assert list(job.temp.iterdir()) == []
        assert shown(job.log().text, [VALUE]) == []
    with failing_at(9, fault) as calls:
        # What comes now is the summary, which may fail.
        status = job.run("memory://a\nKEY = memory://b?as=file", Memory({"a": VALUE, "b": VALUE}), env_file=".env")
    assert job.log().environment["A"] == VALUE
    assert status == (130 if isinstance(fault, KeyboardInterrupt) else 0)


@needs_posix
@pytest.mark.parametrize("place", ["env", "output", "work/.env"])
def test_a_link_in_place_of_a_file_leaves_the_others_as_they_were(job: Job, place: str) -> None:
    path = job.folder / place
    path.unlink(missing_ok=True)
    target = job.folder / "target"
    target.write_bytes(b"mine")
    path.symlink_to(target)
    before = job.everything()
    assert job.run("memory://a", Memory({"a": VALUE}), env_file=".env") == 1
    assert job.everything() == before
    assert path.is_symlink()
    assert f"{path.name} is a link" in job.stdout.decode()


def test_a_place_that_is_missing_is_said_before_the_store_is_asked(job: Job) -> None:
    del job.environ["RUNNER_TEMP"], job.environ["GITHUB_ENV"]
    store = Memory({"a": VALUE})
    assert job.run("memory://a?as=file", store) == 1
    assert store.calls == []
    said = job.stdout.decode()
    assert "there is no GITHUB_ENV to write to" in said
    assert "as=file needs RUNNER_TEMP" in said


def test_every_mistake_is_said_at_once_and_no_store_is_asked(job: Job) -> None:
    store = Memory({"a": VALUE})
    secrets = "memory://a\nbogus://x\nmemory://a?wrong=1\nPATH = memory://a"
    assert job.run(secrets, store, mode="wrong", mask_floor="x", export_env="maybe") == 1
    said = errors(job.log())
    for word in ("bogus", "wrong=1", "PATH", "input mode", "input mask-floor", "input export-env"):
        assert any(word in text for text in said), word
    assert store.calls == []
    assert job.env.read_bytes() == BEFORE


def test_nothing_given_is_one_clear_error(job: Job) -> None:
    assert job.run("", Memory()) == 1
    (said,) = errors(job.log())
    assert said == (
        "input secrets: it names no secret. Write one reference per line, such as aws://imip/production#DATABASE_URL."
    )


def test_libraries_that_cannot_be_had_are_one_error_without_a_library(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ImipError(Problem("100% broken\n::warning::x", remedy="Mend it."))

    monkeypatch.setattr("imip_secrets.libraries.provide", fail)
    assert job.run("memory://a", Memory({"a": VALUE})) == 1
    assert job.stdout == b"::error title=imip-secrets::100%25 broken : :warning: :x. Mend it.\n"
    assert errors(job.log()) == ["100% broken : :warning: :x. Mend it."]


def test_the_libraries_are_those_of_the_request(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("imip_secrets.libraries.provide", lambda names, _: asked.append(tuple(names)))
    job.run("memory://a\nmemory://b", Memory({"a": VALUE, "b": VALUE}))
    assert asked == [("runner", "memory-libraries")]


def test_the_libraries_of_a_sync_are_github_s_too_and_those_of_the_store_that_has_its_key(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr("imip_secrets.libraries.provide", lambda names, _: asked.append(tuple(names)))
    key = {"github_app_id": "1", "github_app_private_key": "vault://secret/app#key"}
    assert job.run("memory://a", Memory({"a": VALUE}), mode="sync", **key) == 1  # there is no sync-to
    assert asked == [("runner", "github", "memory-libraries", "vault")]


# --- what is hostile

ATTACKS = (
    "\n::set-env name=PWNED::1", "::add-mask::a", "\r::error::x", "x ##[set-env name=PWNED]1", "##[error]x",
    "\u2028::stop-commands::x", "::stop-commands::token", "\x1b[2J", "%0A::set-output name=x::y", "::echo::on",
    "\n::save-state name=x::y\n", "\x85::debug::x", "\n  ::group::x", "<script>alert(1)</script>", "| x |\n| --- |",
    "\x00", "\ud800", "::warning file=x,line=1::y",
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_of_a_store_is_a_command(job: Job, attack: str) -> None:
    key = json.dumps({f"key{attack}": "x", "other": f"value{attack}"})
    store: dict[str, Content] = {
        "a": Found(Secret(VALUE), version=attack),
        "b": StoreError(f"it says {attack}", f"Do {attack}"),
        "c": ImipError(Problem(attack, attack, attack), Problem(f"{attack}2")),
        "d": key,
    }
    for secrets in (
        "memory://a",
        "memory://a\nmemory://b\nmemory://c",
        "memory://d",
        "memory://d#no",
        "P_* = memory://d",
    ):
        job.run(secrets, Memory(store, login=attack))
        log = job.log()
        names = {command.name for command in log.commands}
        assert names <= OURS
        assert not log.failed
        assert "PWNED" not in log.environment
        assert set(log.outputs) <= {"EARLIER", "json", "names", "count"}
        assert log.state == {}
        # Each is one of ours, so that none hides in another's lines.
        assert {text.count("title=imip-secrets") for text in job.stdout.decode().splitlines()} <= {0, 1}
        assert not [
            line for line in job.stdout.splitlines() if b"\x1b" in line and not line.startswith(b"::add-mask::")
        ]
        assert "<script>" not in job.summary.read_text(encoding="utf-8")
        job.env.write_bytes(BEFORE)


def test_values_that_look_like_commands_are_values(job: Job) -> None:
    values = {f"V{n}": f"{attack} and more" for n, attack in enumerate(ATTACKS) if attack not in {"\x00", "\ud800"}}
    assert job.run("memory://all", Memory({"all": json.dumps(values)})) == 0
    log = job.log()
    assert log.environment == {"EARLIER": "1", **values}
    assert {command.name for command in log.commands} <= OURS
    assert not log.failed


def test_what_nobody_foresaw_shows_its_type_and_place_alone(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    class OddError(Exception):
        pass

    def fail(*_: object) -> None:
        raise OddError(VALUE)

    monkeypatch.setattr("imip_secrets.runner.delivery.check", fail)
    before = job.everything()
    assert job.run("memory://a", Memory({"a": VALUE})) == 1
    assert job.everything() == before
    (said,) = errors(job.log())
    assert re.fullmatch(
        r"imip-secrets has a defect \(OddError at action/export\.py:\d+\), and stopped\. Please report this line: "
        r"it holds no value\.",
        said,
    )
    assert VALUE not in said
    assert job.stderr == ""


def test_two_hundred_odd_values_in_one_run_come_out_and_are_hidden(job: Job) -> None:
    chance = random.Random(7)  # noqa: S311 - a test that can be repeated, no key
    letters = "abcdefghijklmnopqrstuvwxyz0123456789+/=%&'\"\\ \n"
    values = {f"K{n}": "".join(chance.choices(letters, k=24)).strip() + "x" for n in range(200)}
    assert job.run("memory://all", Memory({"all": json.dumps(values)})) == 0
    log = job.log()
    assert log.environment == {"EARLIER": "1", **values}
    assert not [value for value in values.values() if value in log.text]


# --- the doctor


def test_the_doctor_shows_each_step_and_no_value(job: Job) -> None:
    store = Memory({"a": json.dumps({"X": VALUE, "Y": "5432"}), "b": missing(), "c": missing()}, login="as the doctor")
    secrets = "memory://a\nmemory://b?optional\nC = memory://c?default=plain-text"
    before = job.everything()
    assert job.run(secrets, store, mode="doctor") == 0
    assert job.stdout.decode().splitlines() == [
        "Memory: as the doctor",
        "ok: X from line 1, memory://a",
        "ok: Y from line 1, memory://a",
        "ok: no variable from line 2, memory://b?optional: nothing is there, and it is optional",
        "ok: C from line 3, memory://c?default=plain-text (the default: it is not there)",
        "All is well.",
    ]
    assert job.everything() == before
    assert job.summary.read_bytes() == b""


def test_the_doctor_finds_what_the_real_run_would(job: Job) -> None:
    job.environ["A"] = "an earlier value"
    store = Memory({"a": VALUE, "b": denied(), "c": b"\0", "d": "x" * 100_000})
    assert job.run("memory://a\nmemory://b\nC = memory://c\nD = memory://d", store, mode="doctor") == 1
    log = job.log()
    assert "Nothing would be exported: 4 problems." in log.lines
    assert [text.partition(": ")[0] for text in errors(log)] == [
        "line 2, memory://b",
        "line 3, memory://c",
        "line 4, memory://d",
        "line 1, memory://a",
    ]
    assert shown(job.stdout.decode(), [VALUE, "an earlier value"]) == []


# --- whole processes


def start(script: str, job: Job, **environ: str) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root / "src"), str(root / "tests")])
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**job.environ, "PYTHONPATH": path, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


HANGING = """
    import sys
    from imip_secrets import __main__
    from stand_ins.memory import Memory, registered

    store = Memory({"a": "correct horse"})
    def hang():
        print("hanging", flush=True)
        store.hang()
    store.secrets["b"] = hang
    sys.argv[1:] = ["action"]
    with registered(store):
        __main__.run()
"""


@needs_posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_from_outside_writes_nothing(job: Job, number: signal.Signals) -> None:
    before = job.everything()
    with start(HANGING, job, INPUT_SECRETS="memory://a\nmemory://b") as process:
        assert process.stdout
        assert process.stdout.readline() == b"hanging\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert (out, err) == (b"", b"")
    assert job.everything() == before


IMPORTED = """
    import sys
    from imip_secrets import __main__
    status = __main__.main(["action"])
    print(status, *sys.modules)
"""
SDKS = {"boto3", "botocore", "hvac", "requests", "azure", "github", "nacl"}


def imported(job: Job, **environ: str) -> set[str]:
    with start(IMPORTED, job, **environ) as process:
        out, err = process.communicate(timeout=100)
    assert err == b""
    status, *modules = out.decode().splitlines()[-1].split()
    assert status == "1"
    return set(modules)


def test_a_request_with_nothing_but_mistakes_imports_next_to_nothing(job: Job) -> None:
    modules = imported(job, INPUT_SECRETS="aws://a?wrong\nvault://b?wrong\nbogus", INPUT_MODE="x")
    unwanted = {"asyncio", "argparse", "concurrent.futures", "subprocess", "ssl", "urllib.request", "tempfile"}
    assert modules & (SDKS | unwanted) == set()


def test_a_sync_with_a_mistake_imports_no_sdk(job: Job) -> None:
    modules = imported(job, INPUT_SECRETS="aws://a", INPUT_MODE="sync", INPUT_AWS_REGION="us-east-1")
    assert "imip_secrets.sync.inputs" in modules
    assert modules & (SDKS | {"ssl", "urllib3"}) == set()


def test_a_run_with_vault_alone_imports_no_other_sdk(job: Job) -> None:
    modules = imported(
        job,
        INPUT_SECRETS="vault://secret/a",
        INPUT_VAULT_ADDR="http://127.0.0.1:9",
        INPUT_VAULT_AUTH_METHOD="token",
        INPUT_VAULT_TOKEN="t",
        INPUT_TIMEOUT_SECONDS="5",
    )
    assert "imip_secrets.stores.vault.connections" in modules
    assert modules & (SDKS - {"hvac"} | {"urllib3", "argparse", "dataclasses"}) == set()


def test_a_run_with_aws_alone_imports_no_other_sdk(job: Job) -> None:
    modules = imported(
        job,
        INPUT_SECRETS="aws://a",
        INPUT_AWS_REGION="us-east-1",
        INPUT_AWS_ENDPOINT_URL="http://127.0.0.1:9",
        INPUT_TIMEOUT_SECONDS="5",
        AWS_ACCESS_KEY_ID="x",
        AWS_SECRET_ACCESS_KEY="y",
    )
    assert "botocore" in modules
    assert modules & (SDKS - {"boto3", "botocore"}) == set()
