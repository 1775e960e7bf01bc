"""What is odd about GitHub's own secrets: no source any more, the same in two places, used by no workflow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets.foreign import tame
from imip_secrets.sync.base import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from imip_secrets.sync.base import Existing, GitHub, Scope

_USES = re.compile(r"\bsecrets\s*(?:\.\s*([A-Za-z_][A-Za-z0-9_]*)|\[\s*['\"]([A-Za-z_][A-Za-z0-9_]*)['\"]\s*\])")
_USES_ALL = re.compile(r"toJSON\(\s*secrets\s*\)|^\s*secrets:\s*inherit\b", re.IGNORECASE | re.MULTILINE)
# The sync's own.
_OURS = frozenset({"IMIP_SYNC_MANIFEST"})


def listings(github: GitHub, scopes: Collection[Scope]) -> dict[Scope, Mapping[str, Existing]]:
    """List every scope.

    Raises:
        StoreError: GitHub does not give a list.

    """
    return {scope: github.listing(scope) for scope in scopes}


def judge(
    there: Mapping[Scope, Mapping[str, Existing]], given: Collection[str], workflows: Path | None
) -> Iterator[str]:
    """Name what is odd.

    Args:
        there: The secrets of each scope, by their names in capitals.
        given: The names in capitals that the references give.
        workflows: The folder of the repository's workflows, or None where use cannot be told.

    """
    for scope, secrets in there.items():
        for name in sorted(secrets.keys() - set(given) - _OURS):
            what = f"{name} in {scope.title} comes from none of the references"
            yield f"{what}. Delete it if its source is gone, or add the reference."
    yield from _doubles(there)
    used = _used(workflows) if workflows and workflows.is_dir() else None
    if used is not None:
        for scope, secrets in there.items():
            if scope.kind is not Kind.ORGANIZATION:
                for name in sorted(secrets.keys() - used - _OURS):
                    yield f"{name} in {scope.title} is used by no workflow here. Delete it if nothing else needs it."


def _doubles(there: Mapping[Scope, Mapping[str, Existing]]) -> Iterator[str]:
    places: dict[str, list[Scope]] = {}
    for scope, secrets in there.items():
        for name in secrets:
            places.setdefault(name, []).append(scope)
    for name, scopes in sorted(places.items()):
        same = [scope for scope in scopes if scope.app is scopes[0].app]
        if len({scope.kind for scope in same}) > 1:
            named = ", ".join(scope.title for scope in same)
            yield f"{name} is in {named}: a job sees the one of the environment, else of the repository."


def _used(workflows: Path) -> set[str] | None:
    """Return the names that workflows use, in capitals; None when one of them takes all there are."""
    names: set[str] = set()
    for path in filter(Path.is_file, sorted(workflows.glob("*.y*ml"))):
        text = path.read_text(encoding="utf-8", errors="replace")
        if _USES_ALL.search(text):
            return None
        names |= {(dotted or indexed).upper() for dotted, indexed in _USES.findall(text)}
    return names


def unseen(workflows: Path | None) -> str:
    """Say why it cannot be told which secrets are used, or ""."""
    if workflows is None or not workflows.is_dir():
        return "which of GitHub's secrets are used: there is no folder of workflows here (--workflows)"
    if _used(workflows) is None:
        return f"which of GitHub's secrets are used: a workflow in {tame(workflows)} takes all of them"
    return ""
