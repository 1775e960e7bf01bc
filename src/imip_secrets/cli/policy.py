"""``imip-secrets policy``: what a request needs on the side of the stores, and what is wrong with what they trust."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets.cli.options import REFERENCES, add_request, read_values
from imip_secrets.cli.terminal import complain
from imip_secrets.errors import Problem, UsageError
from imip_secrets.foreign import tame
from imip_secrets.policy import aws, azure, github, subject, terraform, text, vault, workflow
from imip_secrets.policy.asked import KV1, KV2, OTHER, Asked, ask
from imip_secrets.policy.check import check

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence


USAGE = "[options] [REFERENCE ...] | --workflow FILE | --check FILE"
EPILOG = f"""{REFERENCES}
examples:
  imip-secrets policy --workflow .github/workflows/deploy.yml --repository org/app
  imip-secrets policy --repository org/app --environment production --account 123456789012 aws://imip/production
  imip-secrets policy --format terraform --workflow .github/workflows/deploy.yml --repository org/app
  imip-secrets policy --check trust.json
"""
_STORES = (aws.documents, vault.documents, azure.documents, github.documents)
_KINDS = (KV1, KV2, OTHER)
_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_ID = re.compile(r"[0-9]{1,18}", re.ASCII)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--workflow", metavar="FILE", type=Path, help="the steps of a workflow that use the action")
    parser.add_argument("--check", metavar="FILE", type=Path, help="name the mistakes of a trust policy (- for stdin)")
    parser.add_argument("--format", choices=("text", "json", "terraform"), default="text", help="(default: text)")
    job = parser.add_argument_group("The job")
    job.add_argument("--repository", metavar="ORG/REPO", help="whose jobs ask")
    context = job.add_mutually_exclusive_group()
    context.add_argument("--environment", metavar="NAME", help="the GitHub environment of the job")
    context.add_argument("--branch", metavar="NAME", help="its branch, when it has no environment")
    context.add_argument("--tag", metavar="NAME", help="its tag, when it has no environment")
    job.add_argument("--owner-id", metavar="N", help="the owner's number, for the form of sub with ids")
    job.add_argument("--repository-id", metavar="N", help="the repository's number")
    job.add_argument("--issuer", metavar="URL", default=subject.GITHUB, help="of an Enterprise Server's tokens")
    job.add_argument("--account", metavar="N", help="the AWS account, where no role tells it")
    job.add_argument(
        "--vault-mount",
        metavar="MOUNT=KIND",
        action="append",
        default=[],
        help=f"the engine at a mount: {', '.join(_KINDS)} (default: kv2, unless it has an engine's name)",
    )
    add_request(parser)


def main(options: argparse.Namespace, _child: Sequence[str]) -> int:
    """Print the documents, or the mistakes of a trust policy; return 1 when there are some."""
    if options.check is not None:
        return _check(options.check)
    documents = [document for asked in _asked(options) for give in _STORES for document in give(asked)]
    unique = list({(each.key, json.dumps(each.body)): each for each in documents}.values())
    if options.format == "text":
        print(text.written(unique), end="")
    else:
        make = terraform.configuration if options.format == "terraform" else text.as_json
        print(json.dumps(make(unique), indent=2, ensure_ascii=False))
    return 0


def _check(path: Path) -> int:
    try:
        content = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(Problem(f"cannot read {tame(path)}: {reason}", "--check", "Name a text file.")) from None
    problems = check(content)
    complain(problems)
    if not problems:
        print("It trusts exactly what it names: no known mistake.")
    return 1 if problems else 0


def _asked(options: argparse.Namespace) -> list[Asked]:
    """Turn the command line into requests: one, or one for each step of a workflow.

    Raises:
        UsageError: with every mistake.

    """
    mistakes = list(_mistakes(options))
    values, unread = read_values(options)
    mistakes += unread
    steps = workflow.read(options.workflow) if options.workflow else []
    if mistakes:
        raise UsageError(*mistakes)
    if not steps:
        return [_one("", values, options, "")]
    given = {name: value for name, value in values.items() if value}
    unknown = [problem for step in steps for problem in workflow.expressions(step, given)]
    if unknown:
        raise UsageError(*unknown)
    return [_one(step.title, {**step.inputs, **given}, options, step.context) for step in steps]


def _one(title: str, values: dict[str, str], options: argparse.Namespace, context: str) -> Asked:
    mounts = dict(mount.split("=", 1) for mount in options.vault_mount)
    job = None
    if options.repository:
        told = _context(options) or context
        if not told:
            where = title or "the job"
            what = "what its sub ends in is not known: it has no environment, and its branch is not the only one"
            raise UsageError(Problem(what, where, "Give --environment, --branch or --tag."))
        job = subject.Job(
            options.repository, told, options.owner_id or "", options.repository_id or "", options.issuer.rstrip("/")
        )
    return ask(title, values, job, options.account or "", mounts)


def _context(options: argparse.Namespace) -> str:
    if options.environment:
        return subject.environment(options.environment)
    if options.branch:
        return subject.branch(options.branch)
    return subject.tag(options.tag) if options.tag else ""


def _mistakes(options: argparse.Namespace) -> Iterator[Problem]:
    """Find what is wrong with the options of this command."""
    if options.repository and not subject.REPOSITORY.fullmatch(options.repository):
        yield Problem(f"{tame(options.repository, 60)!r} is no repository", "--repository", "Write it like org/app.")
    if options.account and not _ACCOUNT.fullmatch(options.account):
        yield Problem(f"{tame(options.account, 40)!r} is no account", "--account", "Write its twelve digits.")
    for name in ("owner_id", "repository_id"):
        value = getattr(options, name)
        if value and not _ID.fullmatch(value):
            option = f"--{name.replace('_', '-')}"
            yield Problem(
                f"{tame(value, 40)!r} is no id", option, "Write the number that `gh api repos/ORG/REPO` shows."
            )
    if not options.issuer.startswith("https://"):
        yield Problem(
            f"{tame(options.issuer, 80)!r} is no https address", "--issuer", f"Write it like {subject.GITHUB}."
        )
    for mount in options.vault_mount:
        path, _, kind = mount.partition("=")
        if not path or kind not in _KINDS:
            yield Problem(f"{tame(mount, 60)!r} names no mount and kind", "--vault-mount", "Write it like secret=kv2.")
