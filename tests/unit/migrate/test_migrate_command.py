"""``imip-secrets migrate`` as a command, into a store in memory: what is asked, chosen, noted and refused."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING, cast

import pytest

from imip_secrets import cli
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found
from imip_secrets.stores.writers import WRITERS
from stand_ins.memory import Memory, registered

if TYPE_CHECKING:
    from pathlib import Path

    from imip_secrets.stores.base import Context, Target

CONTENT = "SECRET_KEY=s3cret-of-the-file\nPORT=5432\n"
GOAL = "memory://imip/production"


class Written(Memory):
    """A store in memory that can be written to."""

    def open_writer(self, _: Context) -> Written:
        return self

    def write(self, target: Target, value: Secret, before: Found | None) -> None:
        self._note(f"write {target.path}")
        self.secrets[target.path] = Found(value, version=f"{before.version if before else ''}1")

    @property
    def there(self) -> object:
        found = self.secrets.get("imip/production")
        return json.loads(found.value.reveal()) if isinstance(found, Found) else None


@pytest.fixture(autouse=True)
def writable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, str]", WRITERS), "memory", "store_in_memory_memory")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ".env.production"
    path.write_text(CONTENT, encoding="utf-8")
    return path


def migrate(store: Memory, *arguments: object) -> int:
    with registered(store):
        return cli.main(["migrate", *map(str, arguments)])


def answering(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Have a person at the terminal who types this."""
    person = io.StringIO(text)
    monkeypatch.setattr(person, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", person)


@pytest.mark.parametrize("text", ["y\n", "YES\n", " y \n"])
def test_a_person_who_says_yes_has_it_written(
    file: Path, text: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, text)
    store = Written()
    assert migrate(store, "apply", file, "--to", GOAL) == 0
    assert store.there == {"SECRET_KEY": "s3cret-of-the-file", "PORT": "5432"}
    out, err = capfd.readouterr()
    assert "Write this? [y/N] " in out
    assert "s3cret-of-the-file" not in out + err


@pytest.mark.parametrize("text", ["n\n", "\n", "", "yep\n"])
def test_anything_else_writes_nothing(
    file: Path, text: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, text)
    store = Written()
    assert migrate(store, "apply", file, "--to", GOAL) == 1
    assert store.there is None
    assert not [call for call in store.calls if call.startswith("write")]
    assert store.calls[-1] == "close"
    assert "nothing was written. Answer y to write it." in capfd.readouterr().err


def test_nobody_is_asked_where_nothing_would_be_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"SECRET_KEY": "s3cret-of-the-file", "PORT": "5432"}
    answering(monkeypatch, "")
    store = Written({"imip/production": Found(Secret(json.dumps(there)), version="1")})
    assert migrate(store, "apply", file, "--to", GOAL) == 0
    assert not [call for call in store.calls if call.startswith("write")]


def test_keys_are_chosen_by_name_and_by_look(file: Path) -> None:
    for more, keys in (
        (["--only", "PORT"], {"PORT"}),
        (["--except", "PORT"], {"SECRET_KEY"}),
        (["--only-secret"], {"SECRET_KEY"}),
    ):
        store = Written()
        assert migrate(store, "apply", file, "--to", GOAL, "--yes", *more) == 0
        assert isinstance(store.there, dict)
        assert set(store.there) == keys


def test_a_key_that_the_file_does_not_have_is_said_with_those_it_has(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert migrate(Written(), "plan", file, "--to", GOAL, "--only", "NONE,PORT", "--except", "NEITHER") == 2
    err = capfd.readouterr().err
    assert "--only or --except: " in err
    assert "has no NEITHER, NONE. It has SECRET_KEY, PORT." in err


def test_where_nothing_is_left_that_is_said(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert migrate(Written(), "plan", file, "--to", GOAL, "--except", "PORT,SECRET_KEY") == 1
    assert "has nothing to migrate" in capfd.readouterr().err


def test_of_a_key_that_stands_twice_the_last_counts_and_it_is_noted(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"{CONTENT}PORT=1\n", encoding="utf-8")
    store = Written()
    assert migrate(store, "apply", file, "--to", GOAL, "--yes") == 0
    assert store.there == {"SECRET_KEY": "s3cret-of-the-file", "PORT": "1"}
    assert "PORT stands in lines 2, 3 of " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ("memory://", "is no single secret"),
        ("memory://imip/*", "is no single secret"),
        ("memory://imip/a#KEY", "is no single secret"),
        ("org:my-org", "is no goal"),
        ("repos:my-org", "is no goal"),
        ("", "there is no goal"),
    ],
)
def test_a_goal_that_is_none_is_said_before_the_store_is_asked(
    file: Path, goal: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    store = Written()
    assert migrate(store, "plan", file, *(("--to", goal) if goal else ())) == 2
    assert words in capfd.readouterr().err
    assert store.calls == []


def test_a_name_that_key_vault_does_not_take_is_said(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cast("dict[str, str]", WRITERS), "azure", "store_in_memory_memory")
    file.write_text("APP.KEY=a\nGOOD=b\n", encoding="utf-8")
    ids = (f"{digit * 8}-0000-0000-0000-{digit * 12}" for digit in "12")
    options = (*("--azure-tenant-id", next(ids)), *("--azure-client-id", next(ids)))
    assert migrate(Written(), "plan", file, "--to", "azure://imip-vault", *options) == 1
    err = capfd.readouterr().err
    assert "APP.KEY: APP.KEY is no name for a secret of Key Vault. Leave it out with --except." in err
    assert "GOOD" not in err


@pytest.mark.skipif(os.name != "posix", reason="a script that plays git needs a #! line")
def test_a_git_that_fails_afterwards_is_a_note_and_the_migration_is_done(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    program = file.parent / "git"
    program.write_text('#!/bin/sh\ncase " $* " in *" ls-files "*) exit 3;; esac\necho true\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(file.parent))
    store = Written()
    assert migrate(store, "apply", file, "--to", GOAL, "--yes") == 0
    assert store.there is not None
    assert "git ls-files failed with status 3" in capfd.readouterr().err
