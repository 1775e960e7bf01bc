from __future__ import annotations

import copy
import hmac
import io
import json
import logging
import pickle
import string
import traceback
from collections.abc import Callable, Hashable, Iterable, Sized
from dataclasses import asdict, dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.secret import NotTextError, Secret

CANARY = "hunter2-canary"


@dataclass
class Holder:
    secret: Secret = field(default_factory=lambda: Secret(CANARY))


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        ascii,
        format,
        "{}".format,
        "{!r:>20}".format,
        lambda secret: f"{secret}{secret!r}{secret:>20}{secret!s:.2}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031  # the old way is one of the ways
        lambda secret: string.Template("$secret").substitute(secret=secret),
        lambda secret: repr([secret, {"a": secret}, (secret,)]),
        lambda _: repr(Holder()),
        lambda secret: str(ValueError(secret)),
        lambda secret: repr(ValueError(secret)),
        lambda secret: json.dumps({"a": secret}, default=str),
        lambda secret: repr(dir(secret)),
    ],
)
def test_no_way_to_show_an_object_shows_the_value(show: Callable[[Secret], str]) -> None:
    assert CANARY not in show(Secret(CANARY))


def test_what_is_shown_is_the_same_for_every_value() -> None:
    assert {repr(Secret(text)) for text in ("", "a", CANARY * 99)} == {"***"}
    assert f"{Secret(CANARY):>5}" == "  ***"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused(protocol: int) -> None:
    with pytest.raises(TypeError, match="cannot be pickled") as caught:
        pickle.dumps(Secret(CANARY), protocol)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "take", [copy.copy, copy.deepcopy, json.dumps, lambda _: asdict(Holder()), lambda _: copy.deepcopy(Holder())]
)
def test_copies_that_could_be_written_elsewhere_are_refused(take: Callable[[object], object]) -> None:
    with pytest.raises(TypeError) as caught:
        take(Secret(CANARY))
    assert CANARY not in str(caught.value)


def test_logging_shows_nothing() -> None:
    stream = io.StringIO()
    logger = logging.getLogger("test_secret")
    logger.propagate = False
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    logger.warning("%s %r %s", Secret(CANARY), Secret(CANARY), {"a": Secret(CANARY)})
    logger.removeHandler(handler)
    assert stream.getvalue() == "*** *** {'a': ***}\n"


def test_a_traceback_with_the_values_of_variables_shows_nothing() -> None:
    def fail(secret: Secret) -> None:
        holder = Holder(secret)
        raise ValueError(holder)

    with pytest.raises(ValueError, match="Holder") as caught:
        fail(Secret(bytes.fromhex("68756e746572322d63616e617279")))
    lines = traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    shown = "".join(lines)
    assert "secret = ***" in shown
    assert CANARY not in shown


def test_it_has_no_hash_no_length_and_no_parts() -> None:
    secret = Secret(CANARY)
    assert not isinstance(secret, Hashable)
    assert not isinstance(secret, Sized)
    assert not isinstance(secret, Iterable)
    with pytest.raises(TypeError):
        hash(secret)
    with pytest.raises(TypeError):
        vars(secret)


def test_equality_compares_values_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[object, object]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert Secret("a") == Secret(b"a")
    assert Secret("a") != Secret("b")
    assert compared == [(b"a", b"a"), (b"a", b"b")]


def test_a_secret_is_equal_to_nothing_but_a_secret() -> None:
    assert Secret("a") != "a"
    assert Secret("a") != b"a"
    assert Secret("") != None  # noqa: E711  # the comparison itself is what is tested


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_comes_back_as_it_was(text: str) -> None:
    assert Secret(text).reveal() == text
    assert Secret(text).reveal_bytes() == text.encode()
    assert Secret(text).is_text() == ("\0" not in text)
    assert bool(Secret(text)) == bool(text)


@given(st.binary())
def test_bytes_come_back_as_they_were(data: bytes) -> None:
    assert Secret(data).reveal_bytes() == data


@pytest.mark.parametrize("value", [b"\xff\xfe" + CANARY.encode(), CANARY + "\ud800", b"\xed\xa0\x80", b"\xc0\xaf"])
def test_what_is_not_utf_8_is_no_text_and_the_error_holds_no_byte_of_it(value: str | bytes) -> None:
    secret = Secret(value)
    assert not secret.is_text()
    with pytest.raises(NotTextError, match=r"^the value is not UTF-8 text$") as caught:
        secret.reveal()
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_nul_is_no_text_that_a_variable_can_hold() -> None:
    assert not Secret("a\0b").is_text()
    assert Secret("a\0b").reveal() == "a\0b"
