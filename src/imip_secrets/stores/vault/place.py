"""A path in Vault, and the secrets engine that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Mount(NamedTuple):
    """A secrets engine.

    Args:
        path: Where it is mounted, without a slash at the ends.
        version: The version of the KV engine, or 0 for any other engine.

    """

    path: str
    version: int


class Place(NamedTuple):
    """A path, and what is known of the engine that it is in.

    Args:
        namespace: The namespace, "" for the root.
        path: The path as the user writes it: the mount and the rest.
        mount: The engine, or None where Vault does not tell.

    """

    namespace: str
    path: str
    mount: Mount | None = None

    @property
    def version(self) -> int:
        """The version of the KV engine, or 0 for another or an unknown engine."""
        return self.mount.version if self.mount else 0

    @property
    def root(self) -> str:
        """The mount; where the engine is not known, the first segment."""
        return self.mount.path if self.mount else self.path.partition("/")[0]

    @property
    def rest(self) -> str:
        """What follows the mount."""
        return self.path[len(self.root) + 1 :]

    def guesses(self) -> Iterator[Place]:
        """Give every place in a KV version 2 engine that this path could be, the shortest mount first."""
        segments = self.path.split("/")
        for count in range(1, len(segments)):
            yield Place(self.namespace, self.path, Mount("/".join(segments[:count]), 2))
