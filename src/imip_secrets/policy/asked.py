"""One request and the job that makes it: what the documents are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imip_secrets import references
from imip_secrets.errors import UsageError
from imip_secrets.settings import BY_NAME, Settings
from imip_secrets.sync import targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from imip_secrets.policy.subject import Job
    from imip_secrets.references import Line
    from imip_secrets.sync.targets import Destination

KV1, KV2, OTHER = "kv1", "kv2", "other"


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
    problems = [*settings.problems(), *mistakes, *wrong]
    if problems:
        raise UsageError(*(problem.at(_at(title, problem.where)) for problem in problems))
    return Asked(title, tuple(lines), settings, job, account, mounts or {}, tuple(destinations))


def distinct(items: Iterable[str]) -> list[str]:
    """Return texts in order, each once."""
    return sorted(set(items))


def _at(title: str, where: str) -> str:
    return f"{title}: {where}" if title else where
