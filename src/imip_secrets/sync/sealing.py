"""Values sealed for GitHub: only the holder of a scope's private key can open them.

The key differs from scope to scope, and ``key_id`` does not: it is one number
for all scopes of an app. So keys are kept by address, one for each scope and
run, and read once however many threads want one at the same moment.
"""

from __future__ import annotations

import threading
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nacl.public import PublicKey, SealedBox

from imip_secrets.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imip_secrets.secret import Secret

_KEY_BYTES = 32
_REMEDY = "Run again; if it stays, look at https://www.githubstatus.com."


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """A scope's public key.

    Args:
        id: What GitHub knows it by, among the keys of one app.
        box: What seals with it.

    """

    id: str
    box: SealedBox[PublicKey]

    def seal(self, value: Secret) -> dict[str, object]:
        """Return what a request for a secret holds: the sealed value, as base64, and the key's id."""
        return {"encrypted_value": b64encode(self.box.encrypt(value.reveal_bytes())).decode(), "key_id": self.id}


def read_key(data: object) -> Key:
    """Read GitHub's answer for a public key.

    Raises:
        StoreError: it holds none. A key of another length would be a secret that nobody can open.

    """
    known: Mapping[str, object] = data if isinstance(data, dict) else {}
    text, number = known.get("key"), known.get("key_id")
    try:
        raw = b64decode(text, validate=True) if isinstance(text, str) else b""
    except (Base64Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES or not isinstance(number, (str, int)):
        what = "GitHub gave a public key that nothing can be sealed with"
        raise StoreError(what, _REMEDY)
    return Key(str(number), SealedBox(PublicKey(raw)))


class _Slot:
    """The place of one scope's key."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.key: Key | StoreError | None = None


class KeyRing:
    """The keys of a run, by address.

    Args:
        fetch: Reads the key at an address.

    """

    def __init__(self, fetch: Callable[[str], Key]) -> None:
        """Hold none yet."""
        self._fetch = fetch
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}

    def get(self, address: str, *, instead_of: Key | None = None) -> Key:
        """Return the key at an address.

        Args:
            address: Where it is.
            instead_of: The key that GitHub refused; it is read anew unless another thread did so already.

        Raises:
            StoreError: it could not be read; all who ask again hear the same, and GitHub is not asked again.

        """
        with self._lock:
            slot = self._slots.setdefault(address, _Slot())
        with slot.lock:
            if slot.key is None or slot.key is instead_of:
                try:
                    slot.key = self._fetch(address)
                except StoreError as error:
                    slot.key = error
            if isinstance(slot.key, StoreError):
                raise type(slot.key)(slot.key.problem.what, slot.key.problem.remedy)
            return slot.key
