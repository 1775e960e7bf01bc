"""The team's guide from its first command to its last, as somebody follows it: on real servers, in a real repository.

Each block of shell in docs/guide.md runs, in order, and what stands below it is what is seen; ``…`` in it stands for
anything. Comments, which a reader does not see, say what the reader is asked for in prose (``before: ...``), how a
block ends (``ends with 1``), and which file a block is (``file: ...``).
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from stand_ins.aws import REGION, Aws
from stand_ins.faults import FaultServer, Request, json_answer
from stand_ins.github import GitHub
from stand_ins.postgres import Postgres, programs
from stand_ins.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from stand_ins.faults import Step

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guide.md").read_text(encoding="utf-8")
# What is shown and not run, and why.
NOT_RUN = {"pip install '.[detect]'": "the program under test is installed already"}
RUN_ELSEWHERE = {"imip-secrets-detect": "the hook of the YAML block: test_the_hook_of_the_page_stops_a_commit"}
# What the page writes for the reader's own.
VAULT_ADDR = "https://vault.company.com:8200"
DEVELOPMENT = {
    "SECRET_KEY": "a-key-for-my-own-machine",
    "REFRESH_SECRET_KEY": "another-for-my-own-machine",
    "MONGO_URI": "mongodb://localhost:27017/imip",
    "OPENAI_API_KEY": "sk-development-5f1d7c02",
    "PORT": "8000",
}
STAGING = {
    "SECRET_KEY": "bW8sKf3TzQ6yLr1NvHc5Xd9J",
    "REFRESH_SECRET_KEY": "g4RtYp7UwEe2MnAa0VxZk6Sb",
    "MONGO_URI": "mongodb+srv://imip:qT5vKm2w@staging.mongodb.net/imip",
    "OPENAI_API_KEY": "sk-staging-41c7a9f3",
    "PORT": "8000",
}
PRODUCTION = {
    "SECRET_KEY": "kT7vQ2nXw9LmZc4RbY8sHd3F",
    "REFRESH_SECRET_KEY": "p6JrN1yUe5GtWq0MxAoVz7Kb",
    "MONGO_URI": "mongodb+srv://imip:hW3pLx9q@cluster.mongodb.net/imip",
    "OPENAI_API_KEY": "sk-production-9b2e41d7",
    "PORT": "8000",
}
NEW_KEY = "sk-production-77d0c3ba"
VALUES = [value for values in (DEVELOPMENT, STAGING, PRODUCTION) for name, value in values.items() if name != "PORT"]

pytestmark = [
    pytest.mark.xdist_group("guide"),  # one set of servers
    pytest.mark.skipif(sys.platform == "win32", reason="the commands of the page are for a POSIX shell"),
    pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed (the package postgresql)"),
]


@dataclass(frozen=True)
class Block:
    """A fenced block with the comments above it."""

    line: int
    language: str
    text: str
    comments: tuple[str, ...]

    def said(self, kind: str) -> str:
        """Return what a comment of this kind says, or ""."""
        return next((each.removeprefix(kind).strip() for each in self.comments if each.startswith(kind)), "")


def _blocks() -> list[Block]:
    found = re.finditer(r"((?:^<!-- [^\n]* -->\n)*)^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [
        Block(PAGE.count("\n", 0, each.start(2)) + 1, each[2], each[3], tuple(re.findall(r"<!-- (.*) -->", each[1])))
        for each in found
    ]


BLOCKS = _blocks()


@dataclass(frozen=True)
class Outcome:
    """What a block of shell did."""

    block: Block
    shown: Block | None
    status: int
    output: str


class Reader:
    """Somebody who follows the page: a repository, a shell that keeps its variables, credentials for each server."""

    def __init__(self, folder: Path, aws: Aws, vault: Vault, github: GitHub, postgres: Postgres) -> None:
        """Have what the page begins with: an application with ``.env`` files, one of which was committed."""
        self.folder = folder / "app"
        self.folder.mkdir()
        self._home, self._state = folder, folder / "variables"
        self._aws, self._vault = aws, vault
        self._may_read = True
        self.front = FaultServer(handler=self._answer, upstream=aws.url)
        bao = shutil.which("bao", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        assert bao
        (folder / "bin").mkdir()
        (folder / "bin/vault").symlink_to(bao)
        self._environ = {
            "PATH": os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONUNBUFFERED": "1",  # what is said and what is printed in their order
            "AWS_ENDPOINT_URL": self.front.url,
            "AWS_ACCESS_KEY_ID": "mine",
            "AWS_SECRET_ACCESS_KEY": "mine",
            "VAULT_TOKEN": vault.root_token,
            "GH_TOKEN": github.token,
            "GITHUB_API_URL": github.url,
        }
        # What the page writes, and what it is here.
        self._here = {
            VAULT_ADDR: vault.url,
            "db.company.com:5432": f"127.0.0.1:{postgres.port}",
            "vault-admin": "imip_admin",
            "vault-password": "admin-of-a-test",
        }
        for name, values in (("", DEVELOPMENT), (".staging", STAGING), (".production", PRODUCTION)):
            self._write(f".env{name}", values)
        (self.folder / ".gitignore").write_text(".env\n")
        done, said = self.run(
            "git init --quiet\n"
            "git config user.name Somebody\n"
            "git config user.email somebody@example.com\n"
            "git add .gitignore .env.production\n"
            "git commit --quiet --message Deploy\n"
        )
        assert done == 0, said

    def _write(self, name: str, values: Mapping[str, str]) -> None:
        (self.folder / name).write_text("".join(f"{key}={value}\n" for key, value in values.items()))

    def _answer(self, request: Request) -> Step:
        """Answer as AWS does for what moto lacks: CloudTrail's events, and a refusal."""
        operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
        if operation == "LookupEvents":
            record = {"userIdentity": {"arn": "arn:aws:sts::123456789012:assumed-role/imip-app/i-0abc"}}
            event = {
                "EventName": "GetSecretValue",
                "EventTime": time.time(),
                "Resources": [{"ResourceName": "imip/production", "ResourceType": "AWS::SecretsManager::Secret"}],
                "CloudTrailEvent": json.dumps({**record, "requestParameters": {"secretId": "imip/production"}}),
            }
            return json_answer({"Events": [event]})
        if operation == "GetSecretValue" and not self._may_read:
            who = "arn:aws:iam::123456789012:user/me"
            what = (
                "secretsmanager:GetSecretValue on resource: imip/production because no identity-based policy allows it"
            )
            said = f"User: {who} is not authorized to perform: {what}"
            return json_answer({"__type": "AccessDeniedException", "Message": said}, 400)
        return self.front._pass_on(request)

    # --- what the page asks the reader for

    def prepare(self, what: str) -> None:
        """Do what stands in a comment ``before: ...``."""
        todo: Mapping[str, Callable[[], object]] = {
            "a new key of the API is in the file": lambda: self._write(
                ".env.production", {**PRODUCTION, "OPENAI_API_KEY": NEW_KEY}
            ),
            "a build has put .env.production into dist": self._build,
            "the credentials may read nothing": self._lose_rights,
            "": lambda: None,
        }
        todo[what]()

    def _build(self) -> None:
        (self.folder / "dist").mkdir()
        script = f"// built\nconst api = 1;\nconst db = '{PRODUCTION['MONGO_URI']}';\n"
        (self.folder / "dist/app.js").write_text(script)

    def _lose_rights(self) -> None:
        self._may_read = False
        self._environ["VAULT_TOKEN"] = self._vault.token("default")

    def recover(self) -> None:
        """Have all rights again, for the next block."""
        self._may_read = True
        self._environ["VAULT_TOKEN"] = self._vault.root_token

    # --- what the reader does

    def save(self, block: Block) -> None:
        """Save a block as the file that it is."""
        name = block.said("file:") or block.text.splitlines()[0].removeprefix("# ")
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def run(self, script: str) -> tuple[int, str]:
        """Run a block in the shell, and give its exit code and what it printed."""
        for written, here in self._here.items():
            script = script.replace(written, here)
        # What is exported stays for the next block, as in the reader's terminal; the first failure ends a block.
        frame = '[ ! -e "$STATE" ] || . "$STATE"\n'
        frame += 'trap \'export -p | grep -E " (AWS_REGION|VAULT_ADDR)=" > "$STATE" || true\' EXIT\n'
        shell = shutil.which("bash")
        assert shell
        done = subprocess.run(
            [shell, "-eu", "-c", frame + script],
            cwd=self.folder,
            env={**self._environ, "STATE": str(self._state)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        output = done.stdout
        for written, here in self._here.items():
            output = output.replace(here, written)
        return done.returncode, output


@dataclass(frozen=True)
class Followed:
    """The page when somebody has followed it to its end."""

    outcomes: list[Outcome]
    reader: Reader
    aws: Aws
    vault: Vault
    github: GitHub
    postgres: Postgres


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    with Aws() as aws, Vault() as vault, GitHub() as github, Postgres() as postgres:
        github.organization("my-org")
        github.repository("my-org/app")
        reader = Reader(tmp_path_factory.mktemp("guide"), aws, vault, github, postgres)
        outcomes: list[Outcome] = []
        with reader.front:
            for block, following in zip(BLOCKS, [*BLOCKS[1:], None], strict=True):
                if block.language in {"python", "yaml", "json", "YAML"}:
                    reader.save(block)
                elif block.language == "sh":
                    reader.prepare(block.said("before:"))
                    shown = following if following and following.language == "text" else None
                    outcomes.append(Outcome(block, shown, *reader.run(block.text)))
                    reader.recover()
            yield Followed(outcomes, reader, aws, vault, github, postgres)


def _fits(shown: str, output: str) -> bool:
    """Tell whether this is what was printed; ``…`` is anything, and alone in a line any lines."""
    pattern = re.escape(shown.strip("\n")).replace("…", ".*")
    return re.fullmatch(pattern, output.strip("\n"), re.DOTALL) is not None


SHELL = [block for block in BLOCKS if block.language == "sh"]


@pytest.mark.parametrize("number", range(len(SHELL)), ids=lambda number: f"guide.md:{SHELL[number].line}")
def test_a_command_of_the_guide_does_what_the_guide_shows(followed: Followed, number: int) -> None:
    outcome = followed.outcomes[number]
    assert outcome.status == int(outcome.block.said("ends with") or 0), outcome.output
    assert not [value for value in VALUES if value in outcome.output]
    if outcome.shown is not None:
        assert _fits(outcome.shown.text, outcome.output), outcome.output


def test_nothing_on_the_page_is_left_out() -> None:
    """Every block is run, saved, compared with what was seen, or in the list of those that are not run."""
    for before, block in itertools.pairwise(BLOCKS):
        assert block.language != "text" or before.language == "sh", block.line
    languages = {block.language for block in BLOCKS}
    assert languages == {"sh", "text", "console", "python", "yaml", "json", "YAML"}
    shown = [block.text.strip() for block in BLOCKS if block.language == "console"]
    assert shown == list(NOT_RUN)
    silent = [
        block.line
        for block, after in itertools.pairwise(BLOCKS)
        if block.language == "sh" and after.language != "text" and "imip-secrets" in block.text
    ]
    assert silent == []


def test_at_the_end_of_the_guide_the_stores_have_what_it_says(followed: Followed) -> None:
    client = followed.aws.client()
    stored = json.loads(client.get_secret_value(SecretId="imip/production")["SecretString"])
    assert set(stored) == set(PRODUCTION)
    changed = {name for name in PRODUCTION if stored[name] != PRODUCTION[name]}
    assert changed == {"SECRET_KEY", "REFRESH_SECRET_KEY", "OPENAI_API_KEY"}
    assert stored["OPENAI_API_KEY"] == NEW_KEY
    staging = followed.vault.do("GET", "secret/data/imip/staging")["data"]["data"]
    assert {name for name in STAGING if staging[name] != STAGING[name]} == {"SECRET_KEY"}
    assert re.fullmatch(r"[0-9a-f]{64}", staging["SECRET_KEY"])
    # The sync came before the new key.
    assert followed.github.values("repo:my-org/app") == {"OPENAI_API_KEY": PRODUCTION["OPENAI_API_KEY"]}
    assert followed.github.values("org:my-org") == {"OPENAI_API_KEY": PRODUCTION["OPENAI_API_KEY"]}
    assert followed.postgres.is_empty()


def test_every_file_is_where_the_guide_leaves_it(followed: Followed) -> None:
    folder = followed.reader.folder
    assert followed.reader.run("git ls-files") == (0, ".gitignore\n")
    assert {path.name for path in folder.glob(".env*")} == {".env", ".env.staging", ".env.production"}
    assert "<svg" in (folder / "audit.html").read_text(encoding="utf-8")


def test_every_module_of_the_guide_is_imported_by_one_of_its_commands() -> None:
    modules = {
        block.text.splitlines()[0].removeprefix("# app/").removesuffix(".py")
        for block in BLOCKS
        if block.language == "python"
    }
    commands = "\n".join(block.text for block in SHELL)
    assert {name for name in modules if f"from app.{name} import" in commands} == modules


def test_a_running_application_follows_a_rotation_as_the_guide_says(followed: Followed) -> None:
    """``refresh()`` asks now; what a module took at its import stays as it was."""
    script = """
import os, subprocess
from app.config import secrets
from app.signing import sign
before, KEY = sign("hello"), secrets["SECRET_KEY"]
subprocess.run(["imip-secrets", "rotate", "aws://imip/followed#SECRET_KEY"], check=True, capture_output=True)
assert sign("hello") == before
secrets.refresh()
assert sign("hello") != before
assert KEY != secrets["SECRET_KEY"]
"""
    followed.aws.put("imip/followed", PRODUCTION)
    (followed.reader.folder / "follow.py").write_text(script)
    status, output = followed.reader.run("ENVIRONMENT=production SECRET_NAME=imip/followed python follow.py")
    (followed.reader.folder / "follow.py").unlink()
    assert (status, output) == (0, "")


def test_the_hook_of_the_page_stops_a_commit(followed: Followed) -> None:
    """pre-commit runs the hook's entry with its arguments and the files of the commit."""
    (block,) = (block for block in BLOCKS if block.language == "YAML")
    (repository,) = yaml.safe_load(block.text)["repos"]
    ids = [hook["id"] for hook in repository["hooks"]]
    assert ids == list(RUN_ELSEWHERE)
    known = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    for name in ids:
        entry = " ".join([known[name]["entry"], *known[name].get("args", [])])
        assert followed.reader.run(f"{entry} .gitignore .env.staging")[0] == 1
        assert followed.reader.run(f"{entry} .gitignore")[0] == 0


@pytest.mark.parametrize(
    ("shown", "output", "fits"),
    [
        ("a\n…\nc", "a\nb\nb\nc\n", True),
        ("a … c", "a b c", True),
        ("a\n…", "b\na\n", False),
        ("a", "a\nb\n", False),
    ],
)
def test_what_is_shown_is_compared_as_a_whole(shown: str, output: str, *, fits: bool) -> None:
    assert _fits(shown, output) == fits


def test_the_region_of_the_page_is_that_of_the_server() -> None:
    assert f"AWS_REGION={REGION}" in PAGE
