"""``imip-secrets rotate`` as a command: what is due, what is only shown, what verifies, and AWS's own rotation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, cast
from unittest import mock

import pytest

from imip_secrets import cli
from imip_secrets.errors import MissingError
from imip_secrets.rotate import managed
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Target
from imip_secrets.stores.writers import WRITERS
from stand_ins.aws_script import refusal
from stand_ins.faults import FaultServer, json_answer
from stand_ins.memory import Memory, registered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from imip_secrets.stores.base import Context
    from stand_ins.faults import Request, Step

OLD = "the-old-value-of-the-store"
SECRET = "memory://imip/a#KEY"


class Rotating(Memory):
    """A store in memory whose secrets can be staged and switched."""

    def __init__(self, *, days: int | None, others: Iterable[str] = ()) -> None:
        changed = None if days is None else datetime.now(timezone.utc) - timedelta(days=days)
        content = Secret(json.dumps({"KEY": OLD} | dict.fromkeys(others, OLD)))
        super().__init__({"imip/a": Found(content, version="1", changed=changed)})
        self.side: Secret | None = None

    def open_writer(self, _: Context) -> Rotating:
        return self

    @property
    def now(self) -> str:
        return self.fetch(Target("imip/a")).value.reveal()

    def staged(self, _: Target) -> Found | None:
        return Found(self.side) if self.side else None

    def stage(self, _: Target, value: Secret) -> None:
        self.side = value

    def switch(self, target: Target, staged: Found, before: Found) -> None:
        self.secrets[target.path] = Found(
            staged.value, version=before.version + "1", changed=datetime.now(timezone.utc)
        )

    def clear(self, _: Target) -> None:
        self.side = None


@pytest.fixture(autouse=True)
def writable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, str]", WRITERS), "memory", "store_in_memory_memory")


def rotate(store: Memory, *arguments: str) -> int:
    with registered(store):
        return cli.main(["rotate", *arguments])


@pytest.mark.parametrize("more", [(), ("--max-age", "90d")])
def test_a_dry_run_says_what_would_be_and_writes_nothing(
    more: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    store = Rotating(days=91)
    assert rotate(store, "--dry-run", *more, SECRET) == 0
    assert "imip/a#KEY: would be rotated\n" in capfd.readouterr().out
    assert OLD in store.now
    assert store.side is None


def test_a_dry_run_does_not_sync_either(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GH_TOKEN", "a-token")
    # There is no GitHub.
    options = ("--dry-run", "--to", "repo:my-org/app", "--github-api-url", "http://127.0.0.1:1")
    assert rotate(Rotating(days=1), *options, SECRET) == 0
    assert "would be rotated" in capfd.readouterr().out


def test_what_is_younger_than_the_age_stays_unless_a_rotation_of_it_was_stopped(
    capfd: pytest.CaptureFixture[str],
) -> None:
    store = Rotating(days=89)
    assert rotate(store, "--max-age", "90d", SECRET) == 0
    assert "imip/a#KEY: is younger, and stays\n" in capfd.readouterr().out
    assert OLD in store.now
    store.side = Secret(json.dumps({"KEY": "staged before"}))
    assert rotate(store, "--max-age", "90d", SECRET) == 0
    assert json.loads(store.now) == {"KEY": "staged before"}


def test_what_is_older_than_the_age_is_rotated() -> None:
    store = Rotating(days=91)
    assert rotate(store, "--max-age", "90d", SECRET) == 0
    assert OLD not in store.now
    assert store.side is None


def test_every_key_of_a_secret_that_is_older_is_rotated(capfd: pytest.CaptureFixture[str]) -> None:
    store = Rotating(days=91, others=["OTHER"])
    lines = [SECRET, "AGAIN = memory://imip/a#KEY", "memory://imip/a#OTHER"]
    assert rotate(store, "--max-age", "90d", *lines) == 0
    assert OLD not in store.now
    assert store.fetch(Target("imip/a")).version == "11"
    assert capfd.readouterr().out == (
        "imip/a#KEY: rotated; the value before is still readable\n"
        "imip/a#OTHER: rotated; the value before is still readable\n"
    )
    assert rotate(store, "--max-age", "90d", *lines) == 0
    assert capfd.readouterr().out == "imip/a#KEY: is younger, and stays\nimip/a#OTHER: is younger, and stays\n"


def test_each_of_several_new_values_is_verified_in_its_own_variable(tmp_path: Path) -> None:
    script = tmp_path / "verify.py"
    line = "f\"{'FIRST' in os.environ} {'OTHER' in os.environ}\\n\""
    script.write_text(f"import os; open({str(tmp_path / 'seen')!r}, 'a').write({line})", encoding="utf-8")
    store = Rotating(days=1, others=["OTHER"])
    assert rotate(store, "--verify", f"{sys.executable} {script}", f"FIRST = {SECRET}", "memory://imip/a#OTHER") == 0
    assert (tmp_path / "seen").read_text(encoding="utf-8") == "True False\nFalse True\n"


def test_an_age_that_the_store_does_not_tell_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    store = Rotating(days=None)
    assert rotate(store, "--max-age", "90d", SECRET) == 1
    err = capfd.readouterr().err
    assert "imip/a#KEY: the store does not tell how old it is. Leave --max-age out to rotate it all the same." in err
    assert OLD in store.now


def refused(store: Rotating, capfd: pytest.CaptureFixture[str], verify: str) -> str:
    """Rotate with a verification that fails; nothing is changed, nothing stays staged."""
    assert rotate(store, "--verify", verify, SECRET) == 1
    out, err = capfd.readouterr()
    assert "imip/a#KEY: the new value does not work: " in err
    assert "The old value is still current; the new one was discarded." in err
    assert json.loads(store.now) == {"KEY": OLD}
    assert store.side is None
    assert OLD not in out + err
    return err


def test_a_command_that_cannot_be_run_verifies_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    err = refused(Rotating(days=1), capfd, "/nowhere/can-log-in --now")
    assert "/nowhere/can-log-in --now cannot be run (" in err


def test_a_command_that_does_not_end_verifies_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = subprocess.run
    limits: list[float] = []

    def run(*arguments: object, timeout: float, **more: object) -> object:
        limits.append(timeout)
        return real(*arguments, timeout=0.3, **more)  # type: ignore[call-overload]  # passed on as it came

    monkeypatch.setattr(subprocess, "run", run)
    err = refused(Rotating(days=1), capfd, f"{sys.executable} -c 'import time; time.sleep(60)'")
    assert "did not end within 60 s" in err
    assert limits == [60]


def test_an_empty_command_is_a_mistake(capfd: pytest.CaptureFixture[str]) -> None:
    assert rotate(Rotating(days=1), "--verify", "  ", SECRET) == 2
    assert "--verify: it is no command" in capfd.readouterr().err


def test_a_login_that_is_refused_is_said_with_the_store(capfd: pytest.CaptureFixture[str]) -> None:
    store = Rotating(days=1)
    store.identity = MissingError("nobody knows us", "Ask.")
    assert rotate(store, SECRET) == 1
    assert "Memory: nobody knows us. Ask." in capfd.readouterr().err
    assert store.calls == ["login", "close"]


# --- AWS's own rotation


class Lambda:
    """A Secrets Manager whose function needs a few looks to make the new version current."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.asked: list[tuple[str, Mapping[str, object]]] = []

    def __call__(self, request: Request) -> Step:
        action, body = request.headers["x-amz-target"].partition(".")[2], json.loads(request.body)
        self.asked.append((action, body))
        if action == "RotateSecret":
            return json_answer({"VersionId": body["ClientRequestToken"]})
        if action != "DescribeSecret":
            return refusal("AccessDeniedException", "that is not needed")
        self.looks -= 1
        labels = ["AWSPENDING"] if self.looks > 0 else ["AWSCURRENT", "AWSPENDING"]
        return json_answer({"VersionIdsToStages": {str(self.asked[0][1]["ClientRequestToken"]): labels}})


@pytest.fixture
def at_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "_LOOK_EVERY", 0.01)
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)


def manage(function: Lambda, *arguments: str) -> int:
    with FaultServer(handler=function) as server, mock.patch.dict(os.environ, AWS_ENDPOINT_URL=server.url):
        return cli.main(["rotate", "--managed", *arguments, "aws://imip/db"])


@pytest.mark.usefixtures("at_aws")
def test_aws_rotates_by_its_function_and_we_wait_until_the_version_is_current(
    capfd: pytest.CaptureFixture[str],
) -> None:
    function = Lambda(looks=7)
    arn = "arn:aws:lambda:us-east-1:123456789012:function:rotate"
    assert manage(function, "--rotation-lambda", arn, "--rotate-every", "30") == 0
    out = capfd.readouterr().out
    assert out.count("imip/db: waiting for the rotation function\n") == 1
    assert "imip/db: rotated by AWS; the value before is still readable (AWSPREVIOUS)\n" in out
    (action, sent), *looks = function.asked
    assert action == "RotateSecret"
    assert sent["RotationLambdaARN"] == arn
    assert sent["RotationRules"] == {"AutomaticallyAfterDays": 30}
    assert [look for look, _ in looks] == ["DescribeSecret"] * 7


@pytest.mark.usefixtures("at_aws")
def test_a_function_that_does_not_end_leaves_the_old_value(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # The next look would be after the end of the run, however long the first has taken.
    monkeypatch.setattr(managed, "_LOOK_EVERY", 1000.0)
    assert manage(Lambda(looks=1_000_000), "--timeout-seconds", "300") == 1
    err = capfd.readouterr().err
    assert "the rotation of imip/db has begun, and did not end within 300 s" in err
    assert "The old value is still current." in err


@pytest.mark.usefixtures("at_aws")
def test_a_dry_run_starts_no_function(capfd: pytest.CaptureFixture[str]) -> None:
    function = Lambda(looks=1)
    assert manage(function, "--dry-run") == 0
    assert "imip/db: would be rotated" in capfd.readouterr().out
    assert function.asked == []
