"""Who a job is to the stores: the ``sub`` of its ID token, in both forms."""

from __future__ import annotations

import re
from typing import NamedTuple

GITHUB = "https://token.actions.githubusercontent.com"
# GitHub: "Repository names can only contain ASCII letters, digits, and the characters ., -, and _".
REPOSITORY = re.compile(r"(?P<owner>[A-Za-z0-9][A-Za-z0-9-]*)/(?P<name>[A-Za-z0-9._-]+)", re.ASCII)


class Job(NamedTuple):
    """A job that asks for secrets.

    Args:
        repository: ``ORG/REPO``.
        context: What follows the repository in ``sub``: ``environment:production``, ``ref:refs/heads/main`` or
            ``pull_request``.
        owner_id: The owner's number, or "" when it is not known.
        repository_id: The repository's number, or "".
        issuer: Who signs the tokens: GitHub, or ``https://HOST/_services/token`` of an Enterprise Server.

    """

    repository: str
    context: str
    owner_id: str = ""
    repository_id: str = ""
    issuer: str = GITHUB

    @property
    def subjects(self) -> tuple[str, str]:
        """The form with names alone, and the form with ids, which repositories have that were made since 2026-07-15."""
        owner, _, name = self.repository.partition("/")
        ids = f"{owner}@{self.owner_id or 'ORG_ID'}/{name}@{self.repository_id or 'REPO_ID'}"
        return f"repo:{self.repository}:{self.context}", f"repo:{ids}:{self.context}"

    @property
    def knows_ids(self) -> bool:
        """Whether the form with ids is whole."""
        return bool(self.owner_id and self.repository_id)

    @property
    def provider(self) -> str:
        """The issuer as AWS names it: without the scheme."""
        return self.issuer.removeprefix("https://").rstrip("/")


def environment(name: str) -> str:
    """Return the context of a job with an environment; a colon in its name is escaped (GitHub: "OpenID Connect")."""
    return f"environment:{name.replace(':', '%3A')}"


def branch(name: str) -> str:
    """Return the context of a job on a branch without an environment."""
    return f"ref:refs/heads/{name}"


def tag(name: str) -> str:
    """Return the context of a job on a tag without an environment."""
    return f"ref:refs/tags/{name}"


PULL_REQUEST = "pull_request"
