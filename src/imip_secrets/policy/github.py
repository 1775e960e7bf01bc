"""GitHub: the permissions of the App or token that a sync writes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.policy.document import Document
from imip_secrets.sync import permissions
from imip_secrets.sync.base import Reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imip_secrets.policy.asked import Asked
    from imip_secrets.sync.targets import Destination


def documents(asked: Asked) -> Iterator[Document]:
    """Give what the App or the token needs at each owner."""
    by_owner: dict[str, list[Destination]] = {}
    for destination in asked.destinations:
        by_owner.setdefault(destination.owner.lower(), []).append(destination)
    for destinations in by_owner.values():
        owner = destinations[0].owner
        wanted = permissions.needed(_reach(owner, destinations))
        yield Document(
            f"github.{owner}",
            f"GitHub: permissions of the App (or fine-grained token) for the sync at {owner}",
            wanted,
            "",
            "\n".join(permissions.shown(name, level) for name, level in wanted.items()),
            (_where(destinations),),
        )


def _reach(owner: str, destinations: Iterable[Destination]) -> Reach:
    uses = frozenset((each.kind, app) for each in destinations for app in each.apps)
    return Reach(owner, uses, properties=any(each.match and each.match.properties for each in destinations))


def _where(destinations: Iterable[Destination]) -> str:
    names = {each.repo for each in destinations}
    if "" in names:
        return "Install it on all repositories that are to match."
    return f"Install it on these repositories alone: {', '.join(sorted(names))}."
