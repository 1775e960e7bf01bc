"""``imip-secrets scan`` and ``mode: scan``: what a person sees, what the exit code says, what is not exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from imip_secrets import cli
from imip_secrets.cli import scan as command
from job import BEFORE, Job
from spellings import ENCODINGS, shown
from stand_ins.memory import Memory, denied, registered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stand_ins.memory import Content

ROOT = Path(__file__).parents[3]
VALUE = "correct-horse/battery+staple"
ZSTANDARD = b"\x28\xb5\x2f\xfd" + b"x" * 20
KEYS = {"SECRET_KEY": VALUE, "PIN": "123", "MONGO_URI": "mongodb://user:Tr0ub4dor&3x@localhost/imip"}


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "ACTIONS_ID_TOKEN_REQUEST_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def run(*arguments: str, **secrets: Content) -> int:
    with registered(Memory(secrets or {"all": json.dumps(KEYS)})):
        return cli.main(["scan", *arguments])


def write(folder: Path, contents: Mapping[str, str]) -> None:
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


# --- the command line


def test_a_find_is_a_line_on_standard_output_and_the_exit_code_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"dist/app.js": f"let x;\nlet key = {json.dumps(VALUE)};\n", "b.log": ENCODINGS["base64"](VALUE)})
    assert run("memory://all") == 1
    said = capsys.readouterr()
    assert said.out == ("b.log:1: the value of SECRET_KEY, encoded\ndist/app.js:2: the value of SECRET_KEY, as it is\n")
    assert said.err == (
        "imip-secrets: The value of PIN is not looked for: it is too short or too common, and would be found "
        "everywhere.\nimip-secrets: 2 findings in 2 places: 2 files searched (89 bytes).\n"
    )
    assert shown(said.out + said.err, [VALUE]) == []


def test_nothing_found_is_said_and_the_exit_code_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"a": "nothing"})
    assert run("S = memory://all#SECRET_KEY", "--in", "a") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "imip-secrets: No secret stands there: 1 file searched (7 bytes).\n"


def test_a_path_that_is_named_and_not_there_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"a": "nothing"})
    assert run("S = memory://all#SECRET_KEY", "--in", "a", "dsit") == 1
    said = capsys.readouterr()
    assert said.out == "dsit: not searched: it cannot be read: No such file or directory\n"
    assert said.err == (
        "imip-secrets: No secret found, but 1 place not searched: 1 file searched (7 bytes).\n"
        "imip-secrets: error: Not searched, though named: dsit. Name what is there, or leave it out.\n"
    )


def test_what_could_not_be_searched_has_a_line_and_an_exit_code_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.zst").write_bytes(ZSTANDARD)
    assert run("memory://all") == 3
    said = capsys.readouterr()
    assert said.out == "a.zst: not searched: it is Zstandard, which is not looked into\n"
    assert said.err.splitlines()[1:] == [
        "imip-secrets: No secret found, but 1 place not searched: 1 file searched (0 bytes).",
        (
            "imip-secrets: error: 1 place could not be searched, and may hold a secret. "
            "Mend it, exclude it, or name it with --allow-unsearched."
        ),
    ]
    assert run("memory://all", "--allow-unsearched", "*.zst") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "imip-secrets: a.zst: it is Zstandard, which is not looked into\n" in said.err
    write(tmp_path, {"b": VALUE})
    assert run("memory://all") == 1
    assert "1 finding in 1 place, and 1 place not searched: " in capsys.readouterr().err


def test_what_cannot_be_read_from_a_store_ends_it_before_a_file_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"a": VALUE})
    assert run("A = memory://a", "B = memory://b", a=VALUE, b=denied()) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("imip-secrets: error: line 2, memory://b: access is denied")


def test_names_and_paths_can_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"src/a": VALUE, "node_modules/a": VALUE, "src/a.map": VALUE})
    assert run("memory://all", "--exclude", "node_modules", "--exclude", "*.map", "--in", "src", ".") == 1
    assert capsys.readouterr().out.splitlines() == [
        "src/a:1: the value of SECRET_KEY, as it is",
        "src/a:1: the value of SECRET_KEY, as it is",
    ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "REFERENCE it names no secret"),
        (["--in", "a", "memory://all"], "'memory://all' is a reference, and no path. Write references before --in."),
        (["--detect", "--in", "memory://all"], "'memory://all' is a reference, and no path"),
    ],
)
def test_a_mistake_contacts_nobody(arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    assert error.rsplit(" it ", maxsplit=1)[-1] in capsys.readouterr().err


def test_what_was_never_in_a_store_needs_no_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"a.py": 'password = "AKIAIOSFODNN7ABCDEFG"\n', "b.py": "x = 1\n"})
    assert run("--detect", "--in", "a.py", "b.py") == 1
    said = capsys.readouterr()
    assert said.out == "a.py:1: looks like a secret (AWS Access Key, Secret Keyword)\n"
    assert "AKIA" not in said.err
    assert run("memory://all", "--detect", "--in", "b.py") == 0


def test_a_file_that_breaks_the_library_keeps_nothing_else_from_being_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"a.yaml": "[" * 5000, "b.py": 'password = "AKIAIOSFODNN7ABCDEFG"\n'})
    assert run("--detect", "--in", ".") == 1
    said = capsys.readouterr()
    assert said.out == (
        "b.py:1: looks like a secret (AWS Access Key, Secret Keyword)\n"
        "a.yaml: not searched: detect-secrets fails on it (RecursionError)\n"
    )


def test_in_a_job_the_values_are_masked_before_a_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: Job
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    write(tmp_path / "x", {"a": VALUE})
    with registered(Memory({"all": json.dumps(KEYS)})):
        assert job.watch(lambda: cli.main(["scan", "memory://all", "--in", "x"])) == 1
    assert f"::add-mask::{VALUE}" in job.stderr
    assert job.stdout == b"x/a:1: the value of SECRET_KEY, as it is\n"


def test_the_hooks_of_pre_commit_are_command_lines_that_are_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"a.py": "x = 1\n", "b.py": f"y = '{VALUE}'\n"})
    hooks: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for hook in hooks] == ["imip-secrets-detect", "imip-secrets-scan"]
    for hook in hooks:
        assert hook["entry"].startswith("imip-secrets scan")
        arguments: list[str] = [*hook["entry"].split()[1:], *hook.get("args", ()), "a.py", "b.py"]
        ours = [each.replace("aws://imip/development", "memory://all") for each in arguments]
        with registered(Memory({"all": json.dumps(KEYS)})):
            assert cli.main(ours) == ("memory://all" in ours)
    assert capsys.readouterr().out == "b.py:1: the value of SECRET_KEY, as it is\n"


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["scan", "--help"]) == 0
    said = capsys.readouterr().out
    assert "docker save app:latest" in said
    assert command.EPILOG.strip()[:20] in said


# --- the action


@pytest.fixture
def found(job: Job) -> tuple[int, Job]:
    write(job.workspace, {"dist/app.js": f"\n{VALUE}\n", "dist/b.map": VALUE, "other/c": VALUE})
    store = Memory({"all": json.dumps(KEYS)})
    return job.run("memory://all", store, mode="scan", scan_paths="dist\n\n", scan_exclude="*.map"), job


def test_a_find_fails_the_step_with_a_table_and_exports_nothing(found: tuple[int, Job]) -> None:
    status, job = found
    assert status == 1
    assert job.env.read_bytes() == job.output.read_bytes() == BEFORE
    log = job.log()
    assert "dist/app.js:2: the value of SECRET_KEY, as it is" in log.text
    assert [text for kind, text in log.issues if kind == "error"] == [
        (
            "1 finding in 1 place: 1 file searched (30 bytes). "
            "Take them out before anything is uploaded, and rotate what has left."
        )
    ]
    assert [text for kind, text in log.issues if kind == "warning"] == [
        "The value of PIN is not looked for: it is too short or too common, and would be found everywhere."
    ]
    summary = job.summary.read_text(encoding="utf-8")
    assert "### imip-secrets scan: 1 finding in 1 place" in summary
    assert "| dist/app&#46;js&#58;2 | SECRET&#95;KEY | as it is |" in summary
    assert shown(log.text + summary, [VALUE]) == []


def test_nothing_found_lets_the_job_go_on(job: Job) -> None:
    write(job.workspace, {"a": "nothing"})
    assert job.run("memory://all", Memory({"all": json.dumps(KEYS)}), mode="scan", scan_detect="true") == 0
    assert "No secret stands there: 1 file searched (7 bytes)." in job.log().text
    assert "No secret stands there" in job.summary.read_text(encoding="utf-8")


def test_what_was_named_and_is_not_there_fails_the_step_and_is_in_the_summary(job: Job) -> None:
    assert job.run("memory://all", Memory({"all": json.dumps(KEYS)}), mode="scan", scan_paths="gone") == 1
    assert any("Not searched, though named: gone." in text for kind, text in job.log().issues if kind == "error")
    assert "gone: not searched: it cannot be read" in job.log().text
    assert "| Not searched |" in job.summary.read_text(encoding="utf-8")


def test_what_could_not_be_searched_fails_the_step_unless_it_may_stay_so(job: Job) -> None:
    (job.workspace / "a.zst").write_bytes(ZSTANDARD)
    store = Memory({"all": json.dumps(KEYS)})
    assert job.run("memory://all", store, mode="scan") == 1
    log = job.log()
    assert "a.zst: not searched: it is Zstandard, which is not looked into" in log.text
    assert [text for kind, text in log.issues if kind == "error"] == [
        (
            "1 place could not be searched, and may hold a secret. "
            "Mend it, exclude it, or name it with scan-allow-unsearched."
        )
    ]
    assert "No secret found, but 1 place not searched" in job.summary.read_text(encoding="utf-8")
    assert job.run("memory://all", store, mode="scan", scan_allow_unsearched="*.gz\n*.zst") == 0


def test_a_missing_secret_ends_it_and_says_so(job: Job) -> None:
    assert job.run("memory://none", Memory(), mode="scan") == 1
    assert "Nothing was searched: 1 problem." in job.log().text


def test_a_summary_has_no_more_rows_than_a_person_reads(job: Job) -> None:
    write(job.workspace, {f"f{number:03}": VALUE for number in range(205)})
    assert job.run("memory://all", Memory({"all": json.dumps(KEYS)}), mode="scan") == 1
    summary = job.summary.read_text(encoding="utf-8")
    assert "| 5 findings more, in the log | | |" in summary
    assert job.log().text.count("the value of SECRET_KEY") == 205
