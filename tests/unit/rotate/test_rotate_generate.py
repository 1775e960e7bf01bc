from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imip_secrets.rotate.age import is_older, parse
from imip_secrets.rotate.generate import KINDS, LONGEST, SHORTEST, SYMBOLS, Recipe


@given(st.integers(SHORTEST, 80), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_password_has_each_kind_of_characters_and_no_other(length: int, plain: bool) -> None:  # noqa: FBT001
    recipe = Recipe(length=length, symbols="" if plain else SYMBOLS, exclude="lI1O0")
    text = recipe.make().reveal()
    assert len(text) == length
    assert set(text) <= set(string.ascii_letters + string.digits + SYMBOLS) - set("lI1O0")
    kinds = [string.ascii_lowercase, string.ascii_uppercase, string.digits, *([] if plain else [SYMBOLS])]
    assert all(set(kind) & set(text) for kind in kinds)


@pytest.mark.parametrize(("kind", "letters"), [("hex", "0123456789abcdef"), ("token", "A-Za-z0-9_-")])
def test_other_texts_have_the_length_that_is_asked_for(kind: str, letters: str) -> None:
    allowed = set(letters) if kind == "hex" else set(string.ascii_letters + string.digits + "_-")
    text = Recipe(kind, 63).make().reveal()
    assert len(text) == 63
    assert set(text) <= allowed


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_keys_are_pem_that_can_be_read(kind: str) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415  # for these alone

    load_pem_private_key(Recipe(kind).make().reveal_bytes(), None)


def test_no_two_values_are_the_same() -> None:
    for kind in KINDS[:3]:
        assert len({Recipe(kind, 16).make().reveal() for _ in range(500)}) == 500


@pytest.mark.parametrize(
    "recipe",
    [Recipe(length=SHORTEST - 1), Recipe(length=LONGEST + 1), Recipe(exclude=string.digits), Recipe(length=-1)],
)
def test_a_recipe_that_cannot_be_made_is_said(recipe: Recipe) -> None:
    assert recipe.problem()
    assert not Recipe().problem()


def test_ages() -> None:
    from datetime import datetime, timedelta, timezone  # noqa: PLC0415  # for this alone

    assert parse("90d") == timedelta(days=90)
    assert parse("12h") == timedelta(hours=12)
    assert parse("4w") == timedelta(days=28)
    assert [parse(text) for text in ("", "0d", "90", "d", "-1d", "1m", "٣d", "1 d")] == [None] * 8
    now = datetime(2026, 11, 27, tzinfo=timezone.utc)
    assert is_older(now - timedelta(days=90), timedelta(days=90), now)
    assert not is_older(now - timedelta(days=89), timedelta(days=90), now)
