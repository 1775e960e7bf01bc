"""One request and the job that makes it: what the documents are made from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets import references
from imip_secrets.errors import Problem, UsageError
from imip_secrets.foreign import tame
from imip_secrets.settings import BY_NAME, Settings
from imip_secrets.sync import targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from imip_secrets.policy.subject import Job
    from imip_secrets.references import Line
    from imip_secrets.sync.targets import Destination

KV1, KV2, OTHER = "kv1", "kv2", "other"

# What stands for nothing but itself in a shell, and in a policy of IAM.
_PLAIN = re.compile(r"[A-Za-z0-9_./:@+=,~-]*", re.ASCII)
# Settings that stand in the commands to paste.
_IN_COMMANDS = (
    *("aws-region", "aws-role-to-assume", "aws-audience", "vault-namespace", "vault-auth-path", "vault-role"),
    *("azure-tenant-id", "azure-client-id", "azure-audience"),
)
# What is a pattern, a template or the end of a text in a policy of Vault, where nothing can be said to be a letter.
_PATTERN_OF_VAULT = re.compile(r'["\\*]|(?:^|/)\+(?:/|$)|\{\{')


class Asked(NamedTuple):
    """A request, as far as policies go.

    Args:
        title: Where it stands: a job and step of a workflow, or "".
        lines: The references.
        settings: The inputs.
        job: Who makes it, or None when no job is named (a person, a machine's own role).
        account: The AWS account, or "".
        mounts: What kind of engine is mounted where in Vault, as far as it was told.
        destinations: Where a sync writes.

    """

    title: str
    lines: tuple[Line, ...]
    settings: Settings
    job: Job | None
    account: str = ""
    mounts: Mapping[str, str] = {}
    destinations: tuple[Destination, ...] = ()

    def of(self, *schemes: str) -> list[Line]:
        """Return the lines of some stores."""
        return [line for line in self.lines if line.reference.scheme in schemes]


def ask(
    title: str, values: Mapping[str, str], job: Job | None, account: str = "", mounts: Mapping[str, str] | None = None
) -> Asked:
    """Read inputs for their needs alone: what only a run must have (an address, a token) may be left out.

    Raises:
        UsageError: with every mistake in the references and settings.

    """
    settings = Settings({name: value for name, value in values.items() if name in BY_NAME})
    lines, mistakes = references.parse(values.get("secrets", ""))
    destinations, wrong = targets.parse(values["sync-to"]) if values.get("sync-to") else ([], [])
    problems = [*settings.problems(), *mistakes, *wrong, *_more_than_names(settings, lines)]
    if problems:
        raise UsageError(*(problem.at(_at(title, problem.where)) for problem in problems))
    return Asked(title, tuple(lines), settings, job, account, mounts or {}, tuple(destinations))


def _more_than_names(settings: Settings, lines: Iterable[Line]) -> Iterator[Problem]:
    """Find what would be a command of its own where it is pasted, or allow more in a policy than it names."""
    for name in _IN_COMMANDS:
        if not _PLAIN.fullmatch(settings[name]):
            what = f"{tame(settings[name], 60)!r} has characters that stand in no such name"
            yield Problem(what, f"input {name}", "Mend it, or give it on the command line.")
    for line in lines:
        target = line.reference.target
        path = target.path
        wide = _PATTERN_OF_VAULT.search(path) if line.reference.scheme == "vault" else not _PLAIN.fullmatch(path)
        if wide or not _PLAIN.fullmatch(target.namespace or ""):
            what = "a policy cannot name this: a character of it means more there than itself"
            yield Problem(what, line.where, "Name another secret, or write its policy by hand.")


def distinct(items: Iterable[str]) -> list[str]:
    """Return texts in order, each once."""
    return sorted(set(items))


def _at(title: str, where: str) -> str:
    return f"{title}: {where}" if title else where
