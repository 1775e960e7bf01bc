"""The mistakes of a ``sub`` that a store compares, whatever store it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from imip_secrets.errors import Problem
from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

EXACT = "Write the whole sub: repo:ORG/REPO:environment:NAME, or repo:ORG/REPO:ref:refs/heads/main."
ISSUER = "token.actions.githubusercontent.com"
ENTERPRISE = re.compile(r"[\w.-]+(?::\d+)?/_services/token")
EVERYBODY = "every job of every repository of GitHub"

_BY_IDS = re.compile(r"repo:[^/:]+@[^/:]+/[^/:]+@[^/:]+:")

_MISTAKES: tuple[tuple[Callable[[str], bool], str, str], ...] = (
    (
        lambda text: re.fullmatch(r"(repo:)?[*?/]*", text) is not None,
        "every repository of GitHub",
        EXACT,
    ),
    (
        lambda text: re.match(r"repo:[^/]*[*?][^/]*/", text) is not None,
        "repositories of other owners too",
        EXACT,
    ),
    (
        lambda text: re.match(r"repo:[^/]+/[^:]*[*?]", text) is not None,
        "every repository whose name fits, also one that is made tomorrow",
        EXACT,
    ),
    (
        lambda text: re.fullmatch(r"repo:[^:]+:[*?]+", text) is not None,
        "every branch, tag, environment and pull request of the repository",
        EXACT,
    ),
    (
        lambda text: re.match(r"repo:[^:]+:ref:refs/(heads/)?[*?]", text) is not None,
        "every branch, and whoever may push one",
        "Name the branch, or let the job have an environment with rules, and trust that.",
    ),
    (
        lambda text: re.match(r"repo:[^:]+:environment:[^:]*[*?]", text) is not None,
        "every environment whose name fits, and whoever may make one",
        "Name the environment.",
    ),
)


def subjects_of(subjects: Sequence[tuple[str, bool]]) -> Iterator[Problem]:
    """Name the mistakes of subjects, each with whether it is compared as a pattern."""
    for text, is_pattern in subjects:
        shown = tame(text, 120)
        has_pattern = "*" in text or "?" in text
        if has_pattern and not is_pattern:
            yield Problem(
                f"{shown} is compared letter by letter, so its star is never met",
                remedy=f"{EXACT} No store needs a star.",
            )
        elif has_pattern:
            yield next(
                (Problem(f"{shown} trusts {whom}", remedy=remedy) for fits, whom, remedy in _MISTAKES if fits(text)),
                Problem(f"{shown} is a pattern, and trusts whatever fits", remedy=EXACT),
            )
        elif text.endswith(":pull_request"):
            yield Problem(
                f"{shown} trusts every pull request, whose code nobody has looked at",
                remedy="Trust an environment with reviewers instead.",
            )
        elif not re.match(r"repo:[^/:]+/[^/:]+:.", text):
            yield Problem(f"{shown} is no sub of a job of GitHub", remedy=EXACT)
    exact = [text for text, _ in subjects if re.match(r"repo:[^/:]+/[^/:]+:", text)]
    if exact and not any(map(_BY_IDS.match, exact)):
        yield Problem(
            "sub is named in the form with names alone: who registers the name once it is given up is trusted too, and "
            "a repository made or renamed since 2026-07-15 sends the form with ids",
            remedy="Add repo:ORG@ORG_ID/REPO@REPO_ID:... (imip-secrets policy prints it).",
        )


def listed(value: object) -> list[Any]:
    """Return a list as it is, and anything else as the only item of one: JSON policies allow both."""
    return value if isinstance(value, list) else [value]


def mapping(value: object) -> dict[str, Any]:
    """Return an object as it is, and an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def texts(value: object) -> list[str]:
    """Return the texts of a value, none of them empty."""
    return [text for text in listed(value) if isinstance(text, str) and text]
