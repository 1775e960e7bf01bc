"""Sealed values open to the same bytes, with the key of the right scope, which is read once."""

from __future__ import annotations

import threading
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nacl.public import PrivateKey, SealedBox

from imip_secrets.errors import MissingError, StoreError
from imip_secrets.secret import Secret
from imip_secrets.sync.base import DeniedError
from imip_secrets.sync.sealing import Key, KeyRing, read_key

if TYPE_CHECKING:
    from collections.abc import Callable

PRIVATE = PrivateKey(bytes(range(32)))
PUBLIC = b64encode(bytes(PRIVATE.public_key)).decode()
MOST = 48 * 1024


def key(number: str = "1") -> Key:
    return read_key({"key": PUBLIC, "key_id": number})


def opened(body: dict[str, object]) -> bytes:
    return SealedBox(PRIVATE).decrypt(b64decode(str(body["encrypted_value"]), validate=True))


@given(
    st.binary(min_size=1, max_size=200) | st.text(min_size=1).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
@example(b"x")
@example(b"\0" * MOST)
@example("ключ\r\nstraße\n\n\t".encode())
@example(b"\xff\xfe\n")
def test_any_value_opens_to_the_same_bytes(value: bytes) -> None:
    body = key("77").seal(Secret(value))
    assert opened(body) == value
    assert body["key_id"] == "77"


def test_the_same_value_is_never_sealed_the_same() -> None:
    assert key().seal(Secret("a")) != key().seal(Secret("a"))


def test_a_key_id_that_is_a_number_is_sent_as_text() -> None:
    assert read_key({"key": PUBLIC, "key_id": 568250167242549743}).id == "568250167242549743"


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "key",
        {},
        {"key": PUBLIC},
        {"key": PUBLIC, "key_id": None},
        {"key_id": "1"},
        {"key": 5, "key_id": "1"},
        {"key": "Zm9vYmFyCg==", "key_id": "1"},
        {"key": b64encode(bytes(33)).decode(), "key_id": "1"},
        {"key": PUBLIC + "!", "key_id": "1"},
        {"key": "é" * 44, "key_id": "1"},
    ],
)
def test_what_is_no_key_of_32_bytes_is_refused(data: object) -> None:
    with pytest.raises(StoreError, match="a public key that nothing can be sealed with"):
        read_key(data)


class Fetches:
    """Gives a new key each time, slowly, and counts."""

    def __init__(self, fault: Callable[[], StoreError] | None = None) -> None:
        self.asked: list[str] = []
        self._fault = fault

    def __call__(self, address: str) -> Key:
        self.asked.append(address)
        number = len(self.asked)
        threading.Event().wait(0.02)
        if self._fault:
            raise self._fault()
        return key(str(number))


def test_a_key_is_read_once_however_many_want_it_at_once() -> None:
    fetches = Fetches()
    ring = KeyRing(fetches)
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: ring.get("/a").id, range(64)))
    assert (keys, fetches.asked) == ({"1"}, ["/a"])


def test_keys_are_kept_by_address_and_not_by_their_number() -> None:
    fetches = Fetches()
    ring = KeyRing(fetches)
    assert ring.get("/a") is not ring.get("/b")
    assert fetches.asked == ["/a", "/b"]


def test_a_refused_key_is_read_anew_once_for_all_who_had_it() -> None:
    fetches = Fetches()
    ring = KeyRing(fetches)
    old = ring.get("/a")
    with ThreadPoolExecutor(16) as pool:
        new = set(pool.map(lambda _: ring.get("/a", instead_of=old), range(64)))
    assert {each.id for each in new} == {"2"}
    assert len(fetches.asked) == 2


@pytest.mark.parametrize("kind", [StoreError, DeniedError, MissingError])
def test_a_key_that_cannot_be_read_is_not_asked_for_again(kind: type[StoreError]) -> None:
    fetches = Fetches(lambda: kind("no", "Ask."))
    ring = KeyRing(fetches)
    for _ in range(3):
        with pytest.raises(StoreError, match=r"^no\. Ask\.$") as caught:
            ring.get("/a")
        assert type(caught.value) is kind
    assert fetches.asked == ["/a"]


def test_an_error_while_sealing_shows_no_value() -> None:
    class Broken:
        def encrypt(self, value: bytes) -> bytes:
            msg = "encrypt failed" if value else "nothing to encrypt"
            raise ValueError(msg)

    with pytest.raises(ValueError, match="encrypt failed") as caught:
        Key("1", Broken()).seal(Secret("hunter2"))  # type: ignore[arg-type]  # a box that fails
    assert "hunter2" not in repr(caught.value)
