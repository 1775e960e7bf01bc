"""Reads, lists and writes what a session may, whatever engine it is in."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from imip_secrets.document import Number, compact
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Lease, Version
from imip_secrets.stores.vault import errors
from imip_secrets.stores.vault.answer import moment, part, whole, words
from imip_secrets.stores.vault.kept import Held
from imip_secrets.stores.vault.mounts import Mounts
from imip_secrets.stores.vault.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from imip_secrets.document import Json
    from imip_secrets.errors import StoreError
    from imip_secrets.stores.vault.answer import Answer
    from imip_secrets.stores.vault.client import VaultClient
    from imip_secrets.stores.vault.session import Session

MAX_LISTED = 10_000
"""How many secrets and folders one listing may come to."""

_SIDE = "imip-rotation"
_BAD_REQUEST = 400
_NOT_FOUND = 404
_V2 = 2


class Reader:
    """Reads for one session; for many threads.

    Args:
        client: Asks.
        session: Who asks.
        foretell: Called once, before anything is made that must be ended.

    """

    def __init__(self, client: VaultClient, session: Session, foretell: Callable[[], None]) -> None:
        """Know no engine yet."""
        self._client = client
        self._session = session
        self._mounts = Mounts(client)
        self.leases: list[Held] = []
        self._making = 0
        self._over = False
        self._changed = threading.Condition()
        self._foretell: Callable[[], None] | None = foretell
        self._foretelling = threading.Lock()

    def settle(self, seconds: float) -> None:
        """Let nothing more be made, and wait for the answers of what is being made: such a lease outlives its token.

        (Vault registers a lease when its engine has answered, and does not look then whether the token is still there.)
        """
        with self._changed:
            self._over = True
            self._changed.wait_for(lambda: not self._making, seconds)

    def read(self, namespace: str, path: str, version: str | None) -> Found:
        """Read a secret, or a path of another engine.

        Raises:
            MissingError: there is no such secret or version, or it is deleted or destroyed.
            StoreError: Vault refused or failed.

        """
        if path.endswith("/"):
            raise errors.folder(Place(namespace, path))
        place = self._mounts.find(namespace, path, lambda guess: _is_versioned(self._ask_v2(guess)))
        if place.version == _V2:
            return self._read_v2(place, version)
        if version:
            raise errors.no_versions(place)
        return self._read_plain(place)

    def version(self, namespace: str, path: str, version: str | None) -> Version | None:
        """Give the version that a read would give, without its value; None where only a read can tell.

        Raises:
            MissingError: the version is deleted or destroyed.
            StoreError: Vault refused or failed.

        """
        if path.endswith("/"):
            return None
        place = self._mounts.find(namespace, path, lambda guess: _is_versioned(self._ask_v2(guess)))
        if place.version != _V2:
            return None
        answer = self._client.metadata_v2(place.namespace, place.root, place.rest)
        number = version or str(whole(answer.data, "current_version") or "")
        facts = part(part(answer.data, "versions"), number)
        if not answer.ok or not facts:
            return None
        ends = moment(words(facts, "deletion_time"))
        # A version may know its end before it comes.
        gone = errors.gone(place, {**facts, "version": Number(number)}) if not ends or ends <= _now() else None
        if gone:
            raise gone
        return Version(number, moment(words(facts, "created_time")))

    def metadata(self, namespace: str, path: str) -> dict[str, Json]:
        """Give what KV version 2 keeps of a secret besides its values.

        Raises:
            MissingError: there is no such secret.
            StoreError: the engine is not KV version 2, or Vault refused or failed.

        """
        place = self._mounts.find(namespace, path, lambda guess: _is_versioned(self._ask_v2(guess)))
        if place.version != _V2:
            raise errors.tells_nothing(place)
        answer = self._client.metadata_v2(place.namespace, place.root, place.rest)
        if not answer.ok:
            raise self._refusal(place, "describe", answer)
        return answer.data

    def ask(self, namespace: str, path: str, body: str) -> Found:
        """Send an object to a path of an engine that makes what it gives (PKI, SSH, transit), once.

        Raises:
            StoreError: Vault refused or failed, or the path keeps what is sent to it.

        """
        place = self._mounts.find(namespace, path, lambda _: False)
        if place.mount is None or place.version:
            raise errors.would_write(place)
        answer, lease = self._make(place, lambda: self._client.send_once(namespace, path, body))
        return self._plain(place, "update", answer, lease)

    def write(self, namespace: str, path: str, body: str, current: int | None) -> bool:
        """Write a secret of a KV engine; return False where another version than ``current`` is there.

        In version 2 Vault itself compares. Version 1 compares nothing.

        Args:
            namespace: The namespace, "" for the root.
            path: The path.
            body: The whole secret, a JSON object.
            current: The version that it is to follow; None where there is none, or a deleted one.

        Raises:
            StoreError: the path is in no KV engine, or Vault refused or failed.

        """
        place = self._mounts.find(namespace, path, lambda _: False)
        if place.mount is None or not place.version:
            raise errors.keeps_nothing(place)
        full = place.path
        if place.version == _V2:
            full = f"{place.root}/data/{place.rest}"
            if current is None:
                current = whole(part(self._ask_v2(place).data, "metadata"), "version")
            body = f'{{"options":{{"cas":{current}}},"data":{body}}}'
        answer = self._client.send(namespace, full, body)
        if answer.status == _BAD_REQUEST and "check-and-set" in answer.reason:
            return False
        if not answer.ok:
            raise self._refusal(place, "write", answer)
        return True

    def beside(self, namespace: str, path: str) -> str:
        """Return the path for what belongs to a secret of KV version 2 and is to be in no listing of its folder.

        Raises:
            StoreError: the engine is not KV version 2, or Vault failed.

        """
        place = self._mounts.find(namespace, path, lambda guess: _is_versioned(self._ask_v2(guess)))
        if place.version != _V2:
            raise errors.keeps_no_versions(place)
        return f"{place.root}/{_SIDE}/{place.rest}"

    def remove(self, namespace: str, path: str) -> None:
        """Remove a secret of KV version 2 with all its versions.

        Raises:
            StoreError: Vault refused or failed.

        """
        place = self._mounts.find(namespace, path, lambda _: False)
        answer = self._client.delete(namespace, f"{place.root}/metadata/{place.rest}")
        if not answer.ok and answer.status != _NOT_FOUND:
            raise self._refusal(place, "delete", answer)

    def names(
        self,
        namespace: str,
        start: str,
        *,
        deep: bool,
        over: Callable[[Callable[[str], list[str]], list[str]], Iterable[list[str]]],
    ) -> list[str]:
        """Give the path of every secret of a KV engine that continues ``start``, in order.

        Args:
            namespace: The namespace, "" for the root.
            start: What the paths begin with; the folder is what stands up to its last slash.
            deep: Whether to go into the folders too.
            over: Lists several folders at once, as ``map`` does.

        Raises:
            StoreError: Vault refused or failed.

        """
        top = start[: start.rindex("/") + 1]
        place = self._mounts.find(namespace, top, lambda guess: self._list(guess).ok)
        if place.mount and not place.version:
            raise errors.not_listable(place)
        found: list[str] = []
        level = [top]
        while level:
            lists = over(lambda folder: self._keys(Place(namespace, folder, place.mount)), level)
            paths = [folder + key for folder, keys in zip(level, lists, strict=True) for key in keys]
            level = [path for path in paths if deep and path.endswith("/") and path.startswith(start)]
            found += [path for path in paths if not path.endswith("/") and path.startswith(start)]
            if len(found) + len(level) > MAX_LISTED:
                raise errors.bad_listing(place, f"comes to more than {MAX_LISTED} names")
        return sorted(found)

    def _read_v2(self, place: Place, version: str | None) -> Found:
        answer = self._ask_v2(place, version)
        facts = part(answer.data, "metadata")
        value = answer.data.get("data")
        if answer.ok and isinstance(value, dict):
            made = moment(words(facts, "created_time"))
            return Found(Secret(compact(value)), is_data=True, version=str(whole(facts, "version") or ""), changed=made)
        gone = errors.gone(place, facts)
        if gone:
            raise gone
        if answer.ok:
            raise errors.no_data(place)
        if answer.status == _NOT_FOUND and not answer.reason and version:
            current = whole(part(self._ask_v2(place).data, "metadata"), "version")
            if current:
                raise errors.no_version(place, version, current)
        raise self._refusal(place, "read", answer)

    def _read_plain(self, place: Place) -> Found:
        """Read KV version 1, or a path of any other engine as it stands: such a read may make something new."""
        if place.mount and place.version:
            return self._plain(place, "read", self._client.read_v1(place.namespace, place.root, place.rest))
        answer, lease = self._make(place, lambda: self._client.read_once(place.namespace, place.path))
        if place.mount is None and _is_versioned(answer):
            raise errors.api_path(place)
        return self._plain(place, "read", answer, lease)

    def _plain(self, place: Place, verb: str, answer: Answer, lease: Lease | None = None) -> Found:
        """Take an answer's data as it stands."""
        if not answer.ok:
            raise self._refusal(place, verb, answer)
        data = answer.body.get("data")
        if not isinstance(data, dict):
            raise errors.no_data(place)
        return Found(Secret(compact(data)), is_data=True, lease=lease)

    def _make(self, place: Place, ask: Callable[[], Answer]) -> tuple[Answer, Lease | None]:
        """Ask for what may be made anew each time, and remember its lease, whatever comes of the answer."""
        with self._foretelling:
            if self._foretell:
                self._foretell()
                self._foretell = None
        with self._changed:
            if self._over:
                raise errors.over(place)
            self._making += 1
        try:
            answer = ask()
            lease = _lease(answer, self._session)
            if lease:
                self.leases.append(Held(place.path, place.namespace, lease.id, lease.seconds))
            return answer, lease
        finally:
            with self._changed:
                self._making -= 1
                self._changed.notify_all()

    def _keys(self, place: Place) -> list[str]:
        """Return the names in a folder, those of folders with a slash at the end; none when it is not there."""
        answer = self._list(place)
        if answer.status == _NOT_FOUND and not answer.reason:
            return []
        if not answer.ok:
            raise self._refusal(place, "list", answer)
        keys = answer.data.get("keys")
        names = [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
        if not all(map(_is_name, names)):
            raise errors.bad_listing(place, "holds a name that no path can hold")
        return names

    def _list(self, place: Place) -> Answer:
        ask = self._client.list_v2 if place.version == _V2 else self._client.list_v1
        return ask(place.namespace, place.root, place.rest)

    def _ask_v2(self, place: Place, version: str | None = None) -> Answer:
        return self._client.read_v2(place.namespace, place.root, place.rest, version)

    def _refusal(self, place: Place, verb: str, answer: Answer) -> StoreError:
        return errors.refusal(self._client, self._session, place, verb, answer)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _is_versioned(answer: Answer) -> bool:
    """Tell whether an answer is one of KV version 2, a deleted version's too."""
    return set(answer.data) == {"data", "metadata"} and "created_time" in part(answer.data, "metadata")


def _is_name(key: str) -> bool:
    """Tell whether a listed name can be the end of a path."""
    name = key.removesuffix("/")
    return bool(name.strip(".")) and "/" not in name and name.isprintable()


def _lease(answer: Answer, session: Session) -> Lease | None:
    """Return the lease of dynamic credentials, if they have one; they live no longer than the token."""
    name = words(answer.body, "lease_id")
    if not name:
        return None
    left = max(0.0, session.ends - time.monotonic())
    seconds = round(min(whole(answer.body, "lease_duration"), left))
    return Lease(Secret(name), seconds, answer.body.get("renewable") is True)
