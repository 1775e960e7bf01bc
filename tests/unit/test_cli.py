from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import jwt
import pytest
from dotenv import dotenv_values

from imip_secrets import __version__, cli, references
from imip_secrets.cli.options import OF_THE_ACTION
from imip_secrets.errors import StoreError
from imip_secrets.settings import INPUTS
from runner_model import Log
from spellings import shown
from stand_ins.memory import Memory, MemoryKept, denied, registered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imip_secrets.request import Request
    from imip_secrets.settings import Settings
    from imip_secrets.stores.base import Context
    from stand_ins.memory import Content

needs_posix = pytest.mark.skipif(os.name != "posix", reason="terminals, links, modes and signals of POSIX")
ROOT = Path(__file__).parents[2]
VALUE = "correct-horse/battery+staple"
OTHER = 'it\'s\n"another" $HOME \\'
FOREIGN = ("GITHUB_", "ACTIONS_", "VAULT_", "BAO_", "AWS_", "AZURE_", "IMIP_")


class Store(Memory):
    """A store that keeps the settings that it was asked with."""

    settings: Settings
    context: Context

    def check(self, settings: Settings, targets: object) -> object:  # type: ignore[override]  # it notes the settings
        self.settings = settings
        return super().check(settings, targets)  # type: ignore[arg-type]  # as they came

    def open_store(self, context: Context) -> Memory:
        self.context = context
        return self


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)


@pytest.fixture
def store() -> Iterator[Store]:
    secrets: dict[str, Content] = {"a": VALUE, "b": OTHER, "all": json.dumps({"X": VALUE, "Y": OTHER}), "no": denied()}
    with registered(Store(secrets)) as registered_store:
        assert isinstance(registered_store, Store)
        yield registered_store


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", script, *arguments]


SHOW = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k in ('A', 'B', 'X', 'Y')}))"


# --- run


def test_run_gives_the_secrets_to_the_command_alone(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "memory://a", "memory://b", "--", *python(SHOW)]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == {"A": VALUE, "B": OTHER}
    assert err == ""
    assert "A" not in os.environ
    assert store.calls == ["login", "fetch a", "fetch b", "close"]


@pytest.mark.usefixtures("store")
def test_run_keeps_the_rest_of_the_environment_and_replaces_what_has_the_same_name(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("A", "old")
    monkeypatch.setenv("X", "stays")
    assert cli.main(["run", "memory://a", "--", *python(SHOW)]) == 0
    assert json.loads(capfd.readouterr().out) == {"A": VALUE, "X": "stays"}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("status", [0, 1, 2, 42])
def test_run_ends_with_the_status_of_the_command(status: int) -> None:
    assert cli.main(["run", "memory://a", "--", *python(f"raise SystemExit({status})")]) == status


@needs_posix
@pytest.mark.usefixtures("store")
def test_run_ends_with_128_and_the_signal_that_ended_the_command() -> None:
    assert cli.main(["run", "memory://a", "--", *python("import os; os.kill(os.getpid(), 9)")]) == 137


@pytest.mark.usefixtures("store")
def test_what_stands_behind_the_dashes_is_the_commands(capfd: pytest.CaptureFixture[str]) -> None:
    script = "import sys, json; print(json.dumps(sys.argv[1:]))"
    arguments = ["--help", "--", "--file", "x", "a b", "*"]
    assert cli.main(["run", "memory://a", "--", *python(script, *arguments)]) == 0
    assert json.loads(capfd.readouterr().out) == arguments


@needs_posix
@pytest.mark.usefixtures("store")
def test_a_file_of_run_is_private_and_gone_when_the_command_ends(capfd: pytest.CaptureFixture[str]) -> None:
    script = (
        "import os, json; p = os.environ['A']; s = os.stat(p); d = os.stat(os.path.dirname(p)); "
        "print(json.dumps([p, open(p).read(), s.st_mode & 0o777, d.st_mode & 0o777]))"
    )
    assert cli.main(["run", "memory://a?as=file", "--", *python(script)]) == 0
    path, text, mode, folder_mode = json.loads(capfd.readouterr().out)
    assert (text, mode, folder_mode) == (VALUE, 0o600, 0o700)
    assert not Path(path).parent.exists()


def test_run_starts_nothing_when_a_secret_cannot_be_read(
    store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    touch = python("import pathlib, sys; pathlib.Path(sys.argv[1]).touch()", str(tmp_path / "started"))
    assert cli.main(["run", "memory://a", "memory://no", "memory://gone", "--", *touch]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "imip-secrets: error: line 2, memory://no: access is denied. Allow memory:Read.",
        "imip-secrets: error: line 3, memory://gone: there is no such secret. Check the path.",
    ]
    store.secrets["no"] = b"\0"
    assert cli.main(["run", "NO = memory://no", "--", *touch]) == 1
    assert "the value of NO holds a NUL byte" in capfd.readouterr().err
    assert not (tmp_path / "started").exists()


def test_run_without_a_command_or_with_none_that_is_there_asks_no_store(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "memory://a"]) == 2
    assert cli.main(["run", "memory://a", "--"]) == 2
    assert cli.main(["run", "memory://a", "--", "no-such-command"]) == 2
    first, second, third = capfd.readouterr().err.splitlines()
    assert first == second
    assert first.startswith("imip-secrets: error: there is no command to run. Write it behind the references: -- ")
    assert third == "imip-secrets: error: there is no command 'no-such-command'. Check its spelling, and PATH."
    assert store.calls == []


@needs_posix
@pytest.mark.usefixtures("store")
def test_a_command_that_cannot_start_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "script"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    assert cli.main(["run", "memory://a", "--", str(path)]) == 1
    assert "cannot start" in capfd.readouterr().err


@pytest.mark.usefixtures("store")
def test_in_a_job_run_hides_the_values_on_standard_error_before_the_command_starts(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    script = f"import os, sys; print(os.environ['A'], 'on stderr', file=sys.stderr); {SHOW}"
    assert cli.main(["run", "memory://a", "X = memory://b?as=file", "Y = memory://b", "--", *python(script)]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["A"] == VALUE
    assert "::add-mask::" not in out
    # The runner takes up what has come on standard error first.
    log = Log().feed(err.encode()).feed(out.encode()).end_step()
    assert shown(log.text, [VALUE, OTHER]) == []
    assert "*** on stderr" in log.text
    assert {command.name for command in log.commands} == {"add-mask"}


def test_in_a_job_a_value_that_cannot_be_hidden_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    store.secrets["a"] = "5432"
    assert cli.main(["run", "A = memory://a", "--", *python("pass")]) == 0
    assert capfd.readouterr().err.startswith("imip-secrets: The value of A is not masked")


def test_in_a_job_credentials_are_hidden_too(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from imip_secrets.secret import Secret  # noqa: PLC0415 - once

    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    def login() -> str:
        store.context.protect(Secret("a-token-of-ours"))
        return "who we are"

    store.identity = login
    assert cli.main(["export", "--format", "json", "memory://a"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == {"A": VALUE}
    assert err.startswith("::add-mask::a-token-of-ours\n")
    assert f"::add-mask::{VALUE}\n" in err


@pytest.mark.usefixtures("store")
def test_outside_a_job_nothing_is_said_to_a_runner(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "memory://a", "--", *python("pass")]) == 0
    assert capfd.readouterr() == ("", "")


# --- export


@pytest.mark.usefixtures("store")
def test_export_writes_dotenv_by_default(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "memory://all"]) == 0
    out, err = capfd.readouterr()
    (tmp_path / ".env").write_text(out, encoding="utf-8")
    assert dotenv_values(tmp_path / ".env", interpolate=False) == {"X": VALUE, "Y": OTHER}
    assert err == ""


@needs_posix
@pytest.mark.usefixtures("store")
def test_export_writes_shell(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "--format", "shell", "memory://all"]) == 0
    script = f'{capfd.readouterr().out}printf \'%s|%s\' "$X" "$Y"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode() == f"{VALUE}|{OTHER}"


@pytest.mark.usefixtures("store")
def test_export_writes_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "--format=json", "memory://all"]) == 0
    out = capfd.readouterr().out
    assert json.loads(out) == {"X": VALUE, "Y": OTHER}
    assert out.endswith("}\n")


@needs_posix
@pytest.mark.usefixtures("store")
def test_export_replaces_a_file_by_a_private_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ".env"
    path.write_text("OLD=1\n")
    path.chmod(0o644)
    inode = path.stat().st_ino
    assert cli.main(["export", "memory://all", "--output", str(path)]) == 0
    assert dotenv_values(path, interpolate=False) == {"X": VALUE, "Y": OTHER}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_ino != inode
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr() == ("", "")


@needs_posix
@pytest.mark.usefixtures("store")
def test_export_never_writes_through_a_link(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert cli.main(["export", "memory://all", "--output", str(tmp_path / "link")]) == 1
    assert "link is a link. Remove it, or name a regular file." in capfd.readouterr().err
    assert (tmp_path / "target").read_text() == "mine"


@pytest.mark.usefixtures("store")
def test_export_of_what_fails_writes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ".env"
    path.write_text("OLD=1\n")
    assert cli.main(["export", "memory://a", "memory://no", "--output", str(path)]) == 1
    assert cli.main(["export", "memory://a", "memory://no"]) == 1
    assert capfd.readouterr().out == ""
    assert path.read_text() == "OLD=1\n"


def test_export_gives_no_files_and_says_so_before_any_store_is_asked(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", "memory://a", "memory://b?as=file"]) == 2
    assert capfd.readouterr().err == (
        "imip-secrets: error: line 2, memory://b?as=file: as=file is for imip-secrets run and the action. Use "
        "encode=base64 here.\n"
    )
    assert store.calls == []


@pytest.mark.usefixtures("store")
def test_what_is_absent_or_has_its_default_is_noted_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "memory://gone?optional", "B = memory://gone?default=x"]) == 0
    out, err = capfd.readouterr()
    assert out == "B='x'\n"
    assert err.splitlines() == [
        "imip-secrets: line 1, memory://gone?optional: nothing is there, and it is optional: no variable.",
        "imip-secrets: B has its default: nothing is there at line 2, memory://gone?default=x.",
    ]


IN_PROCESS = """
    import sys
    from imip_secrets import __main__
    from stand_ins.memory import Memory, registered

    with registered(Memory({"a": "correct-horse/battery+staple"})):
        __main__.run()
"""


def process(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(IN_PROCESS), *arguments],
        env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": ""},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


def at_terminal(*arguments: str) -> tuple[int, bytes, bytes]:
    """Run with a terminal as standard output; return the status, what it showed, and standard error."""
    master, slave = os.openpty()
    with process(*arguments, stdout=slave) as started:
        os.close(slave)
        _, err = started.communicate(timeout=100)
    out = b""
    with suppress(OSError):  # Linux gives an error when the other side is closed and nothing is left
        while piece := os.read(master, 65536):
            out += piece
    os.close(master)
    return started.returncode, out, err


@needs_posix
def test_a_terminal_is_refused_unless_it_is_meant(tmp_path: Path) -> None:
    status, out, err = at_terminal("export", "memory://a")
    assert (status, out) == (2, b"")
    assert err.decode() == (
        "imip-secrets: error: standard output is a terminal, and everybody who sees it would see the secrets. Redirect "
        "it, write to a file with --output FILE, or give --show if you mean it.\n"
    )
    assert at_terminal("export", "memory://a", "--show") == (0, f"A='{VALUE}'\r\n".encode(), b"")
    assert at_terminal("export", "memory://a", "--output", str(tmp_path / "x")) == (0, b"", b"")
    assert at_terminal("doctor", "memory://a")[0] == 0


@needs_posix
def test_a_reader_that_has_gone_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    with process("export", "memory://a", stdout=write) as started:
        os.close(write)
        _, err = started.communicate(timeout=100)
    assert (started.returncode, err) == (1, b"")


@needs_posix
def test_an_end_from_outside_reaches_the_command_and_leaves_no_file() -> None:
    script = "import os, time; print(os.environ['A'], flush=True); time.sleep(300)"
    with process("run", "memory://a?as=file", "--", *python(script)) as started:
        assert started.stdout
        path = Path(started.stdout.readline().decode().strip())
        assert path.read_text(encoding="utf-8") == VALUE
        started.send_signal(signal.SIGTERM)
        out, err = started.communicate(timeout=100)
    assert started.returncode == 128 + signal.SIGTERM
    assert (out, err) == (b"", b"")
    assert not path.parent.exists()


# --- credentials that end with the command


def test_credentials_end_when_the_command_does_however_it_does(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    for script, status in (("pass", 0), ("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)):
        store.kept = MemoryKept(["a"], fault="Vault is down")
        assert cli.main(["run", "memory://a", "--", *python(script)]) == status
        assert store.kept.calls == ["end"]
    said = "imip-secrets: Credentials could not be revoked (Vault is down). They live: a for 1h.\n"
    assert capfd.readouterr().err == said * 3


def test_credentials_end_when_the_command_does_not_start(store: Store, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\0")
    broken.chmod(0o755)
    store.kept = MemoryKept(["a"])
    assert cli.main(["run", "memory://a", "--", str(broken)]) == 1
    assert store.kept.calls == ["end"]


def test_credentials_of_values_that_no_variable_can_hold_end(store: Store) -> None:
    store.secrets["nul"] = b"\0"
    store.kept = MemoryKept(["a"])
    assert cli.main(["export", "memory://nul"]) == 1
    assert store.kept.calls == ["end"]


def test_exported_credentials_live_and_it_is_said_how_long(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    store.kept = MemoryKept(["a"])
    assert cli.main(["export", "memory://a"]) == 0
    assert store.kept.calls == ["leave"]
    said = "imip-secrets: Credentials end by themselves, with the login that made them: a for 1h.\n"
    assert capfd.readouterr().err == said


def test_credentials_that_cannot_be_written_end(store: Store, tmp_path: Path) -> None:
    store.kept = MemoryKept(["a"])
    assert cli.main(["export", "--output", str(tmp_path / "none" / "file"), "memory://a"]) == 1
    assert store.kept.calls == ["end"]


# --- doctor


@pytest.mark.usefixtures("store")
def test_the_doctor_shows_each_step_and_ends_with_0_when_all_is_well(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "memory://all", "memory://gone?optional"]) == 0
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        "Memory: who we are",
        "ok: X from line 1, memory://all",
        "ok: Y from line 1, memory://all",
        "ok: no variable from line 2, memory://gone?optional: nothing is there, and it is optional",
        "All is well.",
    ]
    assert err == ""


@pytest.mark.usefixtures("store")
def test_the_doctor_ends_with_1_and_every_problem(capfd: pytest.CaptureFixture[str], store: Store) -> None:
    store.secrets["nul"] = b"\0"
    assert cli.main(["doctor", "memory://all", "memory://no", "memory://nul"]) == 1
    out, err = capfd.readouterr()
    assert out.splitlines()[-1] == "Nothing would be exported: 2 problems."
    assert [line.partition("memory://")[2].partition(":")[0] for line in err.splitlines()] == ["no", "nul"]
    assert shown(out + err, [VALUE, OTHER]) == []


@pytest.mark.usefixtures("store")
def test_the_doctor_takes_files_as_run_does(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "memory://a?as=file"]) == 0
    assert "All is well." in capfd.readouterr().out


# --- settings


def test_the_usual_variables_count_and_options_come_first(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    usual = {"VAULT_ADDR": "https://vault.example", "VAULT_TOKEN": "hvs.token", "AWS_REGION": "eu-west-1"}
    for name, text in usual.items():
        monkeypatch.setenv(name, text)
    assert cli.main(["doctor", "memory://a"]) == 0
    given = store.settings
    token = given.secret("vault-token")
    assert (given["vault-addr"], given["aws-region"]) == ("https://vault.example", "eu-west-1")
    assert token
    assert token.reveal() == "hvs.token"
    assert given["vault-auth-method"] == "token"
    assert store.context.ambient
    assert cli.main(["doctor", "memory://a", "--aws-region", "us-east-1", "--vault-addr=https://other.example"]) == 0
    assert (store.settings["vault-addr"], store.settings["aws-region"]) == ("https://other.example", "us-east-1")
    assert "hvs.token" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("arguments", "method"),
    [
        ([], "token"),
        (["--vault-role", "imip"], "jwt"),
        (["--vault-auth-method", "jwt"], "jwt"),
        (["--vault-role", "imip", "--vault-auth-method", "token"], "token"),
    ],
)
def test_who_gives_a_role_logs_in_as_a_job_and_others_with_a_token(
    store: Store, arguments: list[str], method: str
) -> None:
    assert cli.main(["doctor", "memory://a", *arguments]) == 0
    assert store.settings["vault-auth-method"] == method


def test_every_other_setting_is_an_option(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("-----BEGIN CERTIFICATE-----\n", encoding="utf-8")
    texts = {"flag": "true", "number": "900", "address": "https://x.example", "text": "text"}
    arguments, expected = [], {}
    for item in INPUTS:
        if item.name in OF_THE_ACTION or item.group == "Sync" or (item.kind == "secret" and item.variables):
            continue
        from_file = item.kind in {"lines", "secret"}
        text = item.choices[-1] if item.choices else texts.get(item.kind, "")
        arguments += [f"--{item.name}", str(file) if from_file else text]
        expected[item.name] = file.read_text(encoding="utf-8").strip() if from_file else text
    assert cli.main(["doctor", "memory://a", *arguments, "--allow-names", "FOO"]) == 0
    expected["allow-names"] = "FOO"
    for name, text in expected.items():
        secret = store.settings.secret(name)
        assert (secret.reveal() if secret else store.settings[name]) == text


def test_a_token_is_not_taken_from_the_command_line_nor_shown(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--vault-token", "hvs.shown"], ["--vault-token=hvs.shown"]):
        assert cli.main(["export", "memory://a", *arguments]) == 2
        out, err = capfd.readouterr()
        assert "every process of the machine can read a command line: set the variable VAULT_TOKEN instead" in err
        assert "hvs.shown" not in out + err


@pytest.mark.parametrize("name", sorted(OF_THE_ACTION))
def test_what_belongs_to_the_action_is_no_option(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "memory://a", f"--{name}", "x"]) == 2
    assert "unrecognized arguments" in capfd.readouterr().err


def test_options_cannot_be_shortened(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "memory://a", "--timeout", "5"]) == 2
    assert "unrecognized arguments: --timeout" in capfd.readouterr().err


def test_references_come_from_a_file_too_whose_lines_are_counted_first(
    store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secrets.txt"
    path.write_bytes(b"\xef\xbb\xbf# all of them\r\nmemory://a\r\n\r\nmemory://no\r\n")
    assert cli.main(["export", "--file", str(path), "memory://b"]) == 1
    assert "line 4, memory://no: " in capfd.readouterr().err
    assert list(store.fetched()) == ["a", "no", "b"]


@pytest.mark.usefixtures("store")
def test_every_file_that_cannot_be_read_is_said_with_the_other_mistakes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    arguments = ["--file", str(tmp_path / "none"), "--ca-certificate", str(tmp_path / "binary")]
    assert cli.main(["run", "memory://a", *arguments]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("imip-secrets: error: there is no command to run.")
    assert lines[1].startswith("imip-secrets: error: --file: cannot read ")
    assert lines[1].endswith("none: No such file or directory. Name a text file.")
    assert lines[2].startswith("imip-secrets: error: --ca-certificate: cannot read ")
    assert lines[2].endswith("binary: it is no UTF-8 text. Name a text file.")


def test_every_mistake_is_said_at_once_and_by_the_names_of_the_command_line(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "memory://a?wrong", "bogus", "vault://s/a", "--timeout-seconds", "x"]) == 2
    err = capfd.readouterr().err
    for words in (
        "there is no command to run",
        "line 1, memory://a?wrong",
        "line 2, bogus",
        "--timeout-seconds: 'x' is no whole number",
        "--vault-addr: it is missing. Write --vault-addr https://",
        "VAULT_TOKEN: it is missing.",
    ):
        assert words in err
    assert "input" not in err
    assert all(line.startswith("imip-secrets: error: ") for line in err.splitlines())
    assert store.calls == []


def test_no_reference_at_all_is_a_mistake(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export"]) == 2
    assert capfd.readouterr().err.startswith("imip-secrets: error: REFERENCE: it names no secret.")


# --- the ID token


def asks_for_an_id_token(store: Store) -> None:
    def login() -> str:
        return store.context.id_token("audience").describe()

    store.identity = login


def test_outside_a_job_the_error_says_what_to_use_instead(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    asks_for_an_id_token(store)
    assert cli.main(["export", "memory://a"]) == 1
    err = capfd.readouterr().err
    assert err == (
        "imip-secrets: error: Memory: this login needs the ID token of a job, and there is none. In GitLab and "
        "elsewhere hand one over as IMIP_ID_TOKEN. At your own machine use credentials of your own: for Vault set "
        "VAULT_TOKEN and give --vault-auth-method token; for AWS leave --aws-role-to-assume out, and for Azure "
        "--azure-client-id.\n"
    )
    assert "permission" not in err


def test_in_a_job_the_error_is_that_of_the_job(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asks_for_an_id_token(store)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert cli.main(["export", "memory://a"]) == 1
    assert "the job has no permission to ask for an ID token" in capfd.readouterr().err


def test_where_there_is_an_endpoint_it_is_asked(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asks_for_an_id_token(store)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "https://evil.example/token")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "x")
    assert cli.main(["export", "memory://a"]) == 1
    assert "which is not this job's GitHub" in capfd.readouterr().err


def test_a_token_that_is_handed_over_counts_before_the_endpoint_of_a_job(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asks_for_an_id_token(store)
    token = jwt.encode({"aud": "audience", "sub": "project_path:g/p"}, "k" * 32)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("IMIP_ID_TOKEN", token)
    assert cli.main(["export", "memory://a"]) == 0
    out, err = capfd.readouterr()
    assert VALUE in out
    assert f"::add-mask::{token}" in err.splitlines()


@pytest.mark.usefixtures("store")
def test_run_writes_nothing_anywhere_unless_a_value_goes_to_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with mock.patch.object(tempfile, "tempdir", str(tmp_path / "none")):
        assert cli.main(["run", "memory://a", "--", *python("")]) == 0
        assert cli.main(["run", "memory://a?as=file", "--", *python("")]) == 1
    assert "there is no place for files: No such file or directory. Give this machine a /tmp" in capfd.readouterr().err


@pytest.mark.usefixtures("store")
def test_the_command_of_run_does_not_get_the_tokens_that_were_handed_over(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("IMIP_ID_TOKEN", "IMIP_ID_TOKEN_AWS", "IMIP_ID_TOKEN_FILE", "IMIP_ID_TOKEN_COMMAND", "IMIP_OTHER"):
        monkeypatch.setenv(name, "x")
    show = "import os; print(*(name for name in os.environ if name.startswith('IMIP')))"
    assert cli.main(["run", "memory://a", "--", *python(show)]) == 0
    assert capfd.readouterr().out == "IMIP_OTHER\n"


# --- errors of stores, and help


@pytest.mark.usefixtures("store")
def test_the_text_of_a_store_cannot_speak_to_a_runner_or_a_terminal(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    store.secrets["evil"] = StoreError("x\n::set-env name=A::1\x1b[2J ##[error]y", "z\r::stop-commands::t")
    assert cli.main(["export", "memory://evil"]) == 1
    err = capfd.readouterr().err
    assert len(err.splitlines()) == 1
    assert "\x1b" not in err
    assert Log().feed(err.encode()).commands == []


@pytest.mark.parametrize("command", ["run", "export", "doctor"])
def test_help_teaches_with_examples_that_are_right(
    command: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main([command, "--help"]) == 0
    text = capfd.readouterr().out
    examples = text.partition("examples:\n")[2].strip().splitlines()
    assert examples
    for example in examples:
        inner = re.fullmatch(r'\s*(?:eval "\$\()?(imip-secrets .*?)(?:\)"| \| .*)?', example)
        assert inner
        program, *arguments = shlex.split(inner[1])
        _, options, child = cli.parse(arguments)
        lines, problems = references.parse("\n".join(options.references))
        assert (program, options.command) == ("imip-secrets", command)
        assert lines
        assert problems == []
        assert bool(child) == (command == "run")


def test_the_references_in_the_help_are_right(capfd: pytest.CaptureFixture[str]) -> None:
    cli.main(["run", "--help"])
    block = capfd.readouterr().out.partition("references:\n")[2].partition("\n\n")[0]
    written = [re.split(r"\s{2,}", line.strip())[0] for line in block.splitlines()]
    lines, problems = references.parse("\n".join(written))
    assert len(lines) == len(written) == 5
    assert problems == []


def test_help_tells_of_each_variable_and_default(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    cli.main(["export", "--help"])
    text = capfd.readouterr().out
    for words in (
        "--aws-region TEXT",
        "Else AWS_REGION or AWS_DEFAULT_REGION.",
        "--vault-auth-method jwt|token",
        "from VAULT_TOKEN, BAO_TOKEN or ~/.vault-token",
        "--vault-client-key FILE",
        "--timeout-seconds N",
        "(default: 120)",
        "--format {dotenv,shell,json}",
    ):
        assert words in text, words
    assert "--vault-token" not in text


def test_the_program_itself_has_help_and_a_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capfd.readouterr().out
    assert all(f"    {command} " in text for command in ("action", *cli.COMMANDS))
    assert cli.main(["--version"]) == 0
    assert capfd.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["bogus"], ["run", "--bogus"], ["export", "--format", "xml", "aws://a"]])
def test_a_command_line_that_is_none_ends_with_2(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("usage: imip-secrets")


def test_only_run_takes_a_command(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "memory://a", "--", "sh", "-c", "x"]) == 2
    assert "line 2, sh" in capfd.readouterr().err
    assert store.calls == []


def test_action_reads_no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imip_secrets.action.main", lambda environ: 7 if environ is os.environ else 8)
    assert cli.main(["action"]) == 7


def test_interruptions_are_not_swallowed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> Request:
        raise KeyboardInterrupt

    monkeypatch.setattr("imip_secrets.resolve.harvest", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cli.main(["export", "memory://a"])
    assert store.calls == []
