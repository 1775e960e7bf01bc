"""Which secrets engine a path belongs to, found out and never asked for.

Vault tells whoever may use anything in an engine (``sys/internal/ui/mounts``,
which ``vault kv get`` asks too). Where a proxy or a policy forbids even that,
KV version 2 shows by the shape of what it answers.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from imip_secrets.stores.vault.answer import part, words
from imip_secrets.stores.vault.errors import unwell
from imip_secrets.stores.vault.place import Mount, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from imip_secrets.stores.vault.answer import Answer
    from imip_secrets.stores.vault.client import VaultClient

# 403 also stands for a path in no engine; an old server, or a proxy that hides sys/, says the others.
_NOT_TOLD = frozenset({400, 403, 404, 405})

# Engines that give back what is written to them; a cubbyhole is KV version 1 by another name.
_KEEP = frozenset({"kv", "generic", "cubbyhole"})


class Mounts:
    """The engines found so far; for many threads, each engine asked for once."""

    def __init__(self, client: VaultClient) -> None:
        """Know none yet."""
        self._client = client
        self._found: dict[str, list[Mount]] = {}
        self._silent: set[tuple[str, str]] = set()
        self._locks: dict[tuple[str, str], threading.Lock] = {}

    def find(self, namespace: str, path: str, ask: Callable[[Place], bool]) -> Place:
        """Find the engine of a path, as far as it can be known.

        Args:
            namespace: The namespace, "" for the root.
            path: The path, with a slash in it.
            ask: Tells whether a place is in KV version 2, by its answer; used where Vault does not tell.

        Raises:
            StoreError: Vault could not be asked.

        """
        mount = self._told(namespace, path)
        place = Place(namespace, path, mount)
        if mount is None:
            guess = next((guess for guess in place.guesses() if ask(guess)), place)
            if guess.mount:
                self._remember(namespace, guess.mount)
            return guess
        return place

    def _told(self, namespace: str, path: str) -> Mount | None:
        """Return what Vault tells, asked at most once for each engine."""
        # Mounts never lie inside each other, so paths that differ in the first segment differ in the mount.
        key = (namespace, path.partition("/")[0])
        with self._locks.setdefault(key, threading.Lock()):
            known = self._known(namespace, path)
            if known or key in self._silent:
                return known
            mount = self._asked(namespace, path)
            if mount is None:
                self._silent.add(key)
            else:
                self._remember(namespace, mount)
            return mount

    def _asked(self, namespace: str, path: str) -> Mount | None:
        answer = self._client.mount_of(namespace, path)
        if not answer.ok and answer.status not in _NOT_TOLD:
            raise unwell(self._client, answer, namespace)
        mount = _mount(answer)
        return mount if mount and path.startswith(f"{mount.path}/") else None

    def _known(self, namespace: str, path: str) -> Mount | None:
        found = self._found.get(namespace, [])
        return next((mount for mount in tuple(found) if path.startswith(f"{mount.path}/")), None)

    def _remember(self, namespace: str, mount: Mount) -> None:
        self._found.setdefault(namespace, []).append(mount)


def _mount(answer: Answer) -> Mount | None:
    """Read what ``sys/internal/ui/mounts`` tells."""
    path = words(answer.data, "path").strip("/")
    if not path:
        return None
    if words(answer.data, "type") not in _KEEP:
        return Mount(path, 0)
    return Mount(path, 2 if words(part(answer.data, "options"), "version") == "2" else 1)
