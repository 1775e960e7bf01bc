"""``make demo``: workflows that use the action, on servers that start here and are gone afterwards.

A real OpenBao, moto as AWS, an issuer of ID tokens as GitHub's, a stand-in for
GitHub's API, and ``act`` in the place of GitHub's runner. Nothing leaves this machine, but that the first
run installs the action's libraries from the Python package index.
"""

from __future__ import annotations

import html
import re
import secrets
import signal
import sys
import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent)]

from demo.mirror import Mirror
from spellings import spellings
from stand_ins import act
from stand_ins.aws import Aws
from stand_ins.github import GitHub
from stand_ins.oidc import Issuer
from stand_ins.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

SECRET = "imip/production"  # noqa: S105 - the name of one
INTERRUPTED = 130


def main() -> int:
    """Run the demonstration; return 0 when it shows what it should."""
    if act.program() is None:
        sys.exit("There is no act: run `make setup` first.")
    with ExitStack() as servers:
        issuer, vault, aws, github = _start(servers)
        values, in_vault = _seed(issuer, vault, aws)
        title("The job's log (demo/workflow.yml, run by act)")
        if not any(act.TOOLS.glob("*/*")):
            print("The first run on a machine installs the action's libraries; that takes some seconds.\n")
        addresses = {"VAULT_ADDR": vault.url, "AWS_ENDPOINT_URL": aws.url}
        workflow = (HERE / "workflow.yml").read_text(encoding="utf-8")
        job = act.run(workflow, issuer=issuer, variables=addresses)
        show(job)
        title("Result")
        good = judge(job, values) and Mirror(github, issuer, vault).run(in_vault, title, show_log)
    print("\nThe servers have been stopped, and their data removed.")
    return 0 if good else 1


def _start(servers: ExitStack) -> tuple[Issuer, Vault, Aws, GitHub]:
    title("Started")
    issuer = servers.enter_context(Issuer())
    print(f"  {issuer.url}  issues ID tokens, as GitHub does for a job")
    vault = servers.enter_context(Vault())
    print(f"  {vault.url}  OpenBao, a real server; it checks the ID tokens")
    aws = servers.enter_context(Aws())
    print(f"  {aws.url}  AWS Secrets Manager and STS, played by moto")
    # What GitHub's description says is the tests' business, which fetch it.
    github = servers.enter_context(GitHub(check=False))
    print(f"  {github.url}  GitHub's API, as far as secrets go")
    return issuer, vault, aws, github


def _seed(issuer: Issuer, vault: Vault, aws: Aws) -> tuple[set[str], Mapping[str, str]]:
    """Put the example in both stores, with new values each time; return all with their passwords, and Vault's."""
    in_aws, in_vault = _example(), _example()
    aws.put(SECRET, in_aws)
    vault.put(f"secret/{SECRET}", in_vault)
    readable = (f"secret/data/{SECRET}", f"secret/metadata/{SECRET}", "secret/data/github-app")
    vault.policy("imip", {path: ["read"] for path in readable})
    vault.trust(issuer)
    subject = "repo:octo-org/octo-repo:environment:production"
    vault.role("imip-ci", audience=vault.url, policies=["imip"], bound_subject=subject)
    keys = ", ".join(in_aws)
    print(f"\nBoth stores hold {SECRET}, with different random values: {keys}.")
    values = {*in_aws.values(), *in_vault.values()}
    return values | {password for value in values if (password := urlsplit(value).password)}, in_vault


def _example() -> Mapping[str, str]:
    return {
        "SECRET_KEY": secrets.token_urlsafe(32),
        "REFRESH_SECRET_KEY": secrets.token_urlsafe(32),
        "MONGO_URI": f"mongodb+srv://imip:{secrets.token_urlsafe(16)}@cluster.mongodb.net/imip",
        "OPENAI_API_KEY": f"sk-{secrets.token_urlsafe(24)}",
    }


def show(job: act.Job) -> None:
    """Show what the steps said, and the job summary as text."""
    show_log(job)
    title("The job summary")
    print(textwrap.indent(plain(job.summary), "  "))


def show_log(job: act.Job) -> None:
    """Show what the steps said."""
    masks = 0
    for entry in job.entries:
        if entry.kind == "mask":
            masks += 1
        elif entry.kind == "step" and not entry.text.startswith("# "):
            print(f"> {entry.text}")
        elif entry.kind == "output":
            if masks:
                print(f"    (tells the runner {masks} texts to hide)")
                masks = 0
            print(f"    {entry.text}")
        elif entry.kind in {"error", "warning", "notice"}:
            print(f"    {entry.kind}: {entry.text}")


def plain(markdown: str) -> str:
    """Return Markdown as text: its tables in columns, without marks."""
    lines = [_cells(line) or _text(line.lstrip("# ")) for line in markdown.splitlines() if not line.startswith("| -")]
    rows = [line for line in lines if isinstance(line, list)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = ["  ".join(map(str.ljust, line, widths)).rstrip() if isinstance(line, list) else line for line in lines]
    return "\n".join(texts).strip()


def _cells(line: str) -> list[str]:
    """Return the cells of a table's row; of any other line none."""
    return [_text(cell.strip()) for cell in line.split("|")[1:-1]]


def _text(markdown: str) -> str:
    return html.unescape(re.sub("<!-- -->|`", "", markdown))


def judge(job: act.Job, values: set[str]) -> bool:
    """Say in one line what was proven, and return whether it was."""
    if not job.succeeded:
        print("The job failed.", "" if job.texts("error") else f"What act printed:\n{job.log}")
        return False
    texts = {text for value in values for text in spellings(value)}
    lines = job.log.splitlines()
    found = [text for text in texts if any(text in line for line in lines)]
    if found:
        print(f"LEAKED: {len(found)} of {len(texts)} spellings of the values can be read in the log.")
        return False
    print(
        f"The job had all its variables, and its log shows none of them. {len(values)} values and passwords, as they\n"
        f"are and encoded ({len(texts)} texts: base64, hex, URL, JSON, HTML, shell...), were looked for in "
        f"{len(lines)} lines: 0 found."
    )
    return True


def title(text: str) -> None:
    """Begin a part."""
    print(f"\n{text}\n{'-' * len(text)}")


def _interrupted(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End once: everything that was started is stopped on the way out, which nothing may interrupt."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, _interrupted)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nInterrupted; the servers have been stopped, and their data removed.")
        sys.exit(INTERRUPTED)
