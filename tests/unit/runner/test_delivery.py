from __future__ import annotations

import errno
import io
import json
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dotenv import dotenv_values

from imip_secrets.errors import ImipError
from imip_secrets.runner import delivery
from imip_secrets.runner.commands import Console
from job import BEFORE, Job, failing_at, resolved
from runner_model import Log
from stand_ins.memory import Memory, missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imip_secrets.request import Request
    from imip_secrets.variables import Variable

needs_posix = pytest.mark.skipif(os.name != "posix", reason="links and modes of POSIX")

PEM = "-----BEGIN KEY-----\nQUJDREVGRw\r\n\n-----END KEY-----\n"
BINARY = bytes(range(256))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def console() -> Console:
    return Console(io.BytesIO())


def masked(secrets: str, store: Mapping[str, str | bytes], floor: int = 4) -> tuple[Log, list[str]]:
    """Return the log that has the masks of a request, and the names that the delivery says are bare."""
    stream = io.BytesIO()
    _, got = resolved(secrets, Memory(store))
    bare = delivery.mask(got.variables, floor, Console(stream))
    return Log().feed(stream.getvalue()), bare


def shown(log: Log, text: str) -> str:
    log.feed(f"{text}\n".encode())
    return log.lines[-1]


# --- places


def test_places_are_those_of_the_runner_and_of_the_inputs(job: Job) -> None:
    wanted, _ = resolved("memory://a?as=file", Memory({"a": "value"}), env_file="sub/.env")
    places = delivery.Places.of(wanted, job.environ)
    assert places == delivery.Places(job.env, job.output, job.workspace / "sub/.env", job.temp)


def test_what_is_not_asked_for_has_no_place(job: Job) -> None:
    wanted, _ = resolved("memory://a", Memory({"a": "value"}), export_env="false")
    assert delivery.Places.of(wanted, {}) == delivery.Places(None, None, None, None)
    assert delivery.Places.of(wanted, job.environ).environment is None


@pytest.mark.skipif(os.name != "posix", reason="containers of GitHub's runner are Linux's")
def test_a_file_is_called_what_the_other_steps_call_it(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, got = resolved("KEY = memory://a?as=file", Memory({"a": "value"}))
    seen_inside = {**job.environ, "RUNNER_TEMP": "/github/runner_temp", "RUNNER_WORKSPACE": "/home/runner/work/app"}
    assert delivery.Places.of(wanted, seen_inside).outside == Path("/home/runner/work/_temp")
    assert delivery.Places.of(wanted, {**seen_inside, "RUNNER_WORKSPACE": ""}).outside is None
    # In a job's container every step sees the same path.
    assert delivery.Places.of(wanted, {**seen_inside, "RUNNER_TEMP": "/__w/_temp"}).outside is None
    monkeypatch.setattr(delivery, "_IN_DOCKER_ACTION", job.temp)
    places = delivery.Places.of(wanted, {**job.environ, "RUNNER_WORKSPACE": "/home/runner/work/app"})
    delivery.write(got.variables, places, Console(io.BytesIO()))
    (file,) = job.temp.glob("imip-secrets-*/KEY")
    assert file.read_text() == "value"
    log = Log()
    log.apply_env(job.env.read_bytes())
    assert log.environment["KEY"] == f"/home/runner/work/_temp/{file.parent.name}/KEY"


def test_an_absolute_dotenv_path_stays_as_it_is(job: Job) -> None:
    wanted, _ = resolved("memory://a", Memory({"a": "value"}), env_file=str(job.temp / ".env"))
    assert delivery.Places.of(wanted, job.environ).dotenv == job.temp / ".env"


def test_every_place_that_is_missing_is_said_at_once() -> None:
    wanted, _ = resolved("memory://a?as=file\nmemory://b?as=file", Memory({"a": "x", "b": "y"}))
    with pytest.raises(ImipError) as caught:
        delivery.Places.of(wanted, {"GITHUB_ENV": ""})
    delivery_remedy = "Only a step of a job has it: elsewhere use imip-secrets run or imip-secrets export."
    temp_remedy = "Set RUNNER_TEMP to a private folder."
    assert [str(problem) for problem in caught.value.problems] == [
        f"{place}. {remedy}"
        for place, remedy in (
            ("input export-env: there is no GITHUB_ENV to write to", delivery_remedy),
            ("line 1, memory://a?as=file: as=file needs RUNNER_TEMP, which is not set", temp_remedy),
            ("line 2, memory://b?as=file: as=file needs RUNNER_TEMP, which is not set", temp_remedy),
        )
    ]


# --- masks


def test_a_value_that_is_hidden_needs_no_word() -> None:
    log, bare = masked("memory://a", {"a": "correct horse"})
    assert bare == []
    assert shown(log, "it is correct horse.") == "it is ***."


@pytest.mark.parametrize("value", ["true", "{}", "5432", "abc", "-"])
def test_a_value_that_cannot_be_hidden_is_named(value: str) -> None:
    log, bare = masked("A = memory://a", {"a": value})
    assert bare == ["A"]
    assert shown(log, f"it is {value}.") == f"it is {value}."


def test_the_floor_is_the_callers() -> None:
    assert masked("memory://a", {"a": "abcdefg"}, floor=8)[1] == ["A"]
    assert masked("memory://a", {"a": "abcdefgh"}, floor=8)[1] == []


def test_an_order_to_mask_is_followed_whatever_the_value() -> None:
    log, bare = masked("memory://a?mask=on", {"a": "abc"})
    assert bare == []
    assert shown(log, "it is abc.") == "it is ***."


def test_an_order_not_to_mask_is_followed_without_a_word() -> None:
    log, bare = masked("memory://a?mask=off", {"a": "correct horse"})
    assert bare == []
    assert shown(log, "it is correct horse.") == "it is correct horse."


def test_a_decoded_value_is_hidden_in_both_forms() -> None:
    stored = "Y29ycmVj dCBob3JzZQ=="
    log, bare = masked("memory://a?decode=base64", {"a": stored})
    assert bare == []
    assert shown(log, "correct horse") == "***"
    assert shown(log, stored) == "***"


def test_an_order_to_mask_goes_for_the_stored_form_too() -> None:
    log, _ = masked("memory://a?decode=base64&mask=on", {"a": "YQ"})
    assert shown(log, "is YQ") == "is ***"


# --- checks


def problems_of(secrets: str, store: Mapping[str, str | bytes], environ: Mapping[str, str], **inputs: str) -> list[str]:
    wanted, got = resolved(secrets, Memory(store), **inputs)
    return [str(problem) for problem in delivery.check(got.variables, wanted.settings, environ)]


def test_every_value_that_no_variable_can_hold_is_named() -> None:
    store: dict[str, str | bytes] = {"a": b"x\0", "b": b"\xff", "c": "x" * 100_000, "d": b"\0", "e": "fine"}
    said = problems_of("memory://a\nmemory://b\nmemory://c\nmemory://d?as=file\nmemory://e", store, {})
    assert [line.partition(": ")[0] for line in said] == [f"line {i}, memory://{n}" for i, n in enumerate("abc", 1)]
    assert "holds a NUL byte" in said[0]
    assert "is not UTF-8" in said[1]
    assert "larger than 96 KiB" in said[2]


def test_variables_that_are_too_large_together_are_refused_unless_they_are_files() -> None:
    store = {str(n): "x" * 90_000 for n in range(12)}
    lines = [f"K{n} = memory://{n}" for n in range(12)]
    assert len(problems_of("\n".join(lines), store, {})) == 1
    assert problems_of("\n".join(f"{line}?as=file" for line in lines), store, {}) == []


@pytest.mark.parametrize("now", [{}, {"A": ""}, {"A": "new"}, {"B": "old"}])
def test_a_variable_that_is_not_set_to_something_else_is_free(now: dict[str, str]) -> None:
    assert problems_of("memory://a", {"a": "new"}, now) == []


def test_a_variable_with_another_value_is_taken() -> None:
    (said,) = problems_of("memory://a", {"a": "new"}, {"A": "the old value"})
    assert said.startswith("line 1, memory://a: A is already set to something else in this job. Give it another NAME,")
    assert "old" not in said


def test_a_variable_with_a_value_that_is_no_utf8_is_taken() -> None:
    assert len(problems_of("memory://a", {"a": "new"}, {"A": "\udcff"})) == 1


def test_a_variable_for_a_file_is_taken_even_by_the_same_text() -> None:
    assert len(problems_of("memory://a?as=file", {"a": "new"}, {"A": "new"})) == 1


@pytest.mark.parametrize("inputs", [{"overwrite_env": "true"}, {"export_env": "false"}])
def test_a_taken_variable_is_nothing_where_it_may_be_overwritten_or_stays(inputs: dict[str, str]) -> None:
    assert problems_of("memory://a", {"a": "new"}, {"A": "old"}, **inputs) == []


def test_on_windows_names_are_compared_without_case(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems_of("a = memory://a", {"a": "new"}, {"A": "old"}) == []
    monkeypatch.setattr(sys, "platform", "win32")
    assert len(problems_of("a = memory://a", {"a": "new"}, {"A": "old"})) == 1


# --- writing


def written(job: Job, secrets: str, store: Mapping[str, str | bytes], **inputs: str) -> Log:
    wanted, variables = prepared(secrets, store, **inputs)
    delivery.write(variables, delivery.Places.of(wanted, job.environ), console())
    log = Log()
    log.apply_env(job.env.read_bytes())
    log.apply_output(job.output.read_bytes())
    assert not log.failed
    return log


def prepared(secrets: str, store: Mapping[str, str | bytes], **inputs: str) -> tuple[Request, tuple[Variable, ...]]:
    wanted, got = resolved(secrets, Memory(store), **inputs)
    return wanted, got.variables


def test_variables_and_outputs_come_out_as_they_went_in(job: Job) -> None:
    values = {"PEM": PEM, "EMPTY": "", "ODD": "a'b\"c\\ %0A ::add-mask::x \u2028 é🔑", "JSON": '{"a":[1]}'}
    log = written(job, "memory://all", {"all": json.dumps(values)})
    assert log.environment == {"EARLIER": "1", **values}
    assert json.loads(log.outputs["json"]) == values
    assert log.outputs["names"].split("\n") == list(values)
    assert log.outputs["count"] == "4"


def test_without_export_only_the_outputs_are_written(job: Job) -> None:
    log = written(job, "memory://a", {"a": "value"}, export_env="false")
    assert job.env.read_bytes() == BEFORE
    assert log.outputs == {"EARLIER": "1", "json": '{"A": "value"}', "names": "A", "count": "1"}


def test_a_step_without_outputs_is_no_obstacle(job: Job) -> None:
    del job.environ["GITHUB_OUTPUT"]
    assert written(job, "memory://a", {"a": "value"}).environment["A"] == "value"


def test_no_variables_are_an_empty_object(job: Job) -> None:
    log = written(job, "memory://a?optional", {})
    assert (log.outputs["json"], log.outputs["names"], log.outputs["count"]) == ("{}", "", "0")


@pytest.mark.parametrize(("value", "left_out"), [("PASSWORD", "names"), ("2", "count")])
def test_only_the_output_json_may_hold_what_is_masked(job: Job, value: str, left_out: str) -> None:
    wanted, variables = prepared("PASSWORD = memory://a?mask=on\nOTHER = memory://b", {"a": value, "b": "else"})
    stream = io.BytesIO()
    ours = Console(stream)
    delivery.mask(variables, 4, ours)
    delivery.write(variables, delivery.Places.of(wanted, job.environ), ours)
    log = Log().feed(stream.getvalue())
    log.apply_output(job.output.read_bytes())
    assert {"json", "names", "count"} - set(log.outputs) == {left_out}
    assert json.loads(log.outputs["json"])["PASSWORD"] == value
    for name in {"names", "count"} - {left_out}:
        assert log.job_outputs({name: log.outputs[name]})
    ((kind, text),) = log.issues
    assert kind == "notice"
    assert text == f"The output {left_out} is left empty: a secret's value is part of it."


@needs_posix
def test_the_dotenv_file_is_private_and_reads_as_it_was_written(job: Job) -> None:
    values = {"PEM": PEM, "ODD": "a'b\"c\\ $HOME ${HOME} #x é", "END": "x\\", "TWO": "\\\\"}
    written(job, "memory://all", {"all": json.dumps(values)}, env_file=".env")
    path = job.workspace / ".env"
    assert dotenv_values(path, interpolate=False) == values
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@needs_posix
def test_a_file_holds_the_bytes_and_the_variable_its_path(job: Job) -> None:
    log = written(
        job, "KEY = memory://a?as=file\nPEM = memory://b?as=file\nmemory://c", {"a": BINARY, "b": PEM, "c": "x"}
    )
    (folder,) = job.temp.iterdir()
    assert log.environment == {"EARLIER": "1", "KEY": str(folder / "KEY"), "PEM": str(folder / "PEM"), "C": "x"}
    assert json.loads(log.outputs["json"])["KEY"] == str(folder / "KEY")
    assert (folder / "KEY").read_bytes() == BINARY
    assert (folder / "PEM").read_bytes() == PEM.encode()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_no_folder_is_made_where_there_is_no_file(job: Job) -> None:
    written(job, "memory://a", {"a": "value"})
    assert list(job.temp.iterdir()) == []


ALL_PLACES = "memory://a\nKEY = memory://b?as=file\nPEM = memory://c?as=file"
STORE: dict[str, str | bytes] = {"a": "correct horse", "b": BINARY, "c": PEM}


def attempt(job: Job, number: int, fault: BaseException) -> tuple[list[str], bool]:
    """Write to all places with a fault at one call; return the calls, and whether the fault came."""
    wanted, variables = prepared(ALL_PLACES, STORE, env_file=".env")
    places = delivery.Places.of(wanted, job.environ)
    with failing_at(number, fault) as calls:
        try:
            delivery.write(variables, places, console())
        except (ImipError, KeyboardInterrupt):
            return calls, True
    return calls, False


@pytest.mark.parametrize("old_dotenv", [True, False])
@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_whatever_fails_at_whatever_moment_every_file_is_as_it_was(
    job: Job, fault: BaseException, *, old_dotenv: bool
) -> None:
    if old_dotenv:
        (job.workspace / ".env").write_bytes(b"OLD='1'\n")
        (job.workspace / ".env").chmod(0o644)
    before = job.everything()
    number = 0
    while True:
        calls, failed = attempt(job, number, fault)
        if not failed:
            break
        assert job.everything() == before, f"after {calls}"
        assert list(job.temp.iterdir()) == [], f"after {calls}"
        if old_dotenv and os.name == "posix":
            assert stat.S_IMODE((job.workspace / ".env").stat().st_mode) == 0o644
        number += 1
    # A folder, five files on the disk before the first is put in place, the environment last of all.
    assert calls == ["mkdir", *["fsync"] * 5, *["replace"] * 5]
    assert number == len(calls)
    assert job.everything() != before


@pytest.mark.parametrize("fault", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_where_no_rename_is_possible_every_file_is_as_it_was_too(
    job: Job, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def busy(path: Path, target: Path) -> Path:
        if target in {job.env, job.output}:
            raise OSError(errno.EBUSY, "Device or resource busy")
        return real(path, target)

    monkeypatch.setattr(Path, "replace", busy)
    before = job.everything()
    number = 0
    while True:
        calls, failed = attempt(job, number, fault)
        if not failed:
            break
        assert job.everything() == before, f"after {calls}"
        number += 1
    assert number == len(calls)
    log = Log()
    log.apply_env(job.env.read_bytes())
    assert log.environment["A"] == "correct horse"
    assert {path.name for path in job.folder.iterdir()} == {"env", "output", "summary", "temp", "work"}


@needs_posix
@pytest.mark.parametrize("which", ["env", "output", "work/.env"])
@pytest.mark.parametrize("obstacle", ["link", "folder", "no folder"])
def test_a_place_that_cannot_be_written_leaves_the_others_as_they_were(job: Job, which: str, obstacle: str) -> None:
    wanted, variables = prepared(ALL_PLACES, STORE, env_file=".env")
    places = delivery.Places.of(wanted, job.environ)
    path = job.folder / which
    if obstacle == "no folder":
        path = job.folder / "nowhere" / "file"
        others = {
            "env": places._replace(environment=path),
            "output": places._replace(outputs=path),
            "work/.env": places._replace(dotenv=path),
        }
        places = others[which]
    else:
        path.unlink(missing_ok=True)
        path.symlink_to(job.folder / "elsewhere") if obstacle == "link" else path.mkdir()
    before = job.everything()
    with pytest.raises(ImipError, match=r"is a link|cannot be written"):
        delivery.write(variables, places, console())
    assert job.everything() == before
    assert list(job.temp.iterdir()) == []
    assert not (job.folder / "elsewhere").exists()


def test_a_default_is_delivered_like_a_value(job: Job) -> None:
    wanted, got = resolved("memory://a?default=plain", Memory({"a": missing()}))
    delivery.write(got.variables, delivery.Places.of(wanted, job.environ), console())
    log = Log()
    log.apply_env(job.env.read_bytes())
    assert log.environment["A"] == "plain"
