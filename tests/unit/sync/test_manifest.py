from __future__ import annotations

import base64
import json
import random
import zlib
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imip_secrets.errors import ImipError
from imip_secrets.sync.base import App, Kind, Scope
from imip_secrets.sync.manifest import LIMIT, Manifest, Row, dump, key, load

WORDS = st.text('abcdef0123456789-é"\\', min_size=1, max_size=12)
NAMES = st.from_regex(r"\A(?!GITHUB_)[A-Z_][A-Z0-9_]{0,12}\Z")
SCOPES = st.sampled_from(["repo:o/a", "repo:o/b?app=agents", "env:o/a/prod", "org:o"])


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    pairs = st.tuples(WORDS, st.one_of(st.just(""), WORDS))
    sources = draw(st.dictionaries(pairs, st.lists(NAMES, min_size=1, max_size=4, unique=True).map(tuple), max_size=4))
    rows: dict[str, dict[str, Row]] = {}
    intended: dict[str, dict[str, Row]] = {}
    for scope in draw(st.lists(SCOPES, unique=True)) if sources else []:
        for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
            mapping, version = draw(st.sampled_from(sorted(sources)))
            variable = draw(st.sampled_from(sources[mapping, version]))
            at = draw(st.integers(0, 2**33))
            row = Row(mapping, variable, version, at, draw(st.sampled_from(["", "a,b"])))
            kind = draw(st.sampled_from(["sure", "surmised", "intended", "both"]))
            if kind != "intended":
                rows.setdefault(scope, {})[name] = replace(row, surmised=kind == "surmised")
            if kind in {"intended", "both"}:
                intended.setdefault(scope, {})[name] = row
    used = {(row.mapping, row.version) for table in (rows, intended) for own in table.values() for row in own.values()}
    kept = {source: names for source, names in sources.items() if source in used}
    return Manifest(rows, kept, draw(st.integers(0, 9)), intended)


@given(manifests())
def test_what_is_saved_is_what_is_read(manifest: Manifest) -> None:
    again = load(dump(manifest))
    assert again == manifest


def old_version(text: str) -> dict[str, Any]:
    """Read a manifest as versions do that know of nothing unsure: these parts of it, under this sum."""
    content: dict[str, Any] = json.loads(text)
    if "z" in content:
        content = json.loads(zlib.decompress(base64.b64decode(content["z"])))
    body = {name: content[name] for name in ("at", "sources", "sets", "scopes")}
    said = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
    assert (content["v"], content["sum"]) == (1, sha256(said).hexdigest()[:16])
    return content


@settings(max_examples=40)
@given(manifests())
def test_an_older_version_reads_what_is_sure_and_passes_over_the_rest(manifest: Manifest) -> None:
    content = old_version(dump(manifest))
    content.pop("unsure", None)
    again = load(json.dumps(content))
    assert again.saved == manifest.saved
    assert again.intended == {}
    assert again.rows == {
        scope: sure
        for scope, rows in manifest.rows.items()
        if (sure := {name: row for name, row in rows.items() if not row.surmised})
    }


def test_where_nothing_is_unsure_the_text_is_that_of_older_versions() -> None:
    assert set(json.loads(dump(sample()))) == {"v", "sum", "at", "sources", "sets", "scopes"}


def large(scopes: int, secrets: int, seed: int = 0) -> Manifest:
    """Return the manifest of a sync of many repositories, as its writes come in."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    at, rows = 1_790_000_000, {}
    sources: dict[tuple[str, str], tuple[str, ...]]
    sources = {
        (f"{chance.randrange(16**16):016x}", f"{chance.randrange(16**32):032x}"): (f"SECRET_{n}",)
        for n in range(secrets)
    }
    for number in range(scopes):
        own = {}
        for (mapping, version), (variable,) in sources.items():
            at += chance.choice([0, 0, 1])
            own[variable] = Row(mapping, variable, version, at)
        rows[f"repo:my-organisation/service-{number}"] = own
    return Manifest(rows, sources)


def test_a_thousand_repositories_of_twenty_secrets_fit_into_one_secret() -> None:
    manifest = large(1000, 20)
    text = dump(manifest)
    assert len(text) <= LIMIT
    assert '"z"' in text
    assert load(text).rows == manifest.rows
    # With a lot of a hundred that is noted, after ten runs that were killed.
    for number in range(1000):
        scope, name = f"repo:my-organisation/service-{number}", f"SECRET_{number % 20}"
        row = manifest.rows[scope][name]
        if number < 100:
            manifest.intended[scope] = {name: replace(row, at=1_800_000_000)}
        manifest.rows[scope][name] = replace(row, at=1_800_000_000 + number // 10, surmised=True)
    text = dump(manifest)
    assert len(text) <= LIMIT
    assert load(text) == manifest


def test_what_does_not_fit_loses_first_what_is_not_written_to_today_and_then_is_an_error() -> None:
    manifest = large(6000, 20)
    needed = {f"repo:my-organisation/service-{number}" for number in range(500)}
    rows = manifest.rows
    manifest.intended = {scope: dict(list(rows[scope].items())[:1]) for scope in sorted(rows)[:40]}
    again = load(dump(manifest, needed))
    assert set(again.rows) == needed
    assert set(again.intended) == needed & set(manifest.intended)
    with pytest.raises(ImipError, match=r"the manifest of 120000 secrets does not fit .* sync-shard"):
        dump(manifest)


def test_nothing_is_an_empty_manifest() -> None:
    for text in ("", "  \n"):
        assert load(text).rows == {}
        assert not load(text).knows("any")
        assert load(text).recall("any", "v") is None


def sample() -> Manifest:
    row = Row("m1", "A", "v1", 1_790_000_000)
    return Manifest({"repo:o/a": {"A": row}, "repo:o/b": {"A": row}}, {("m1", "v1"): ("A", "B")})


def unsure() -> Manifest:
    made, row = sample(), Row("m1", "B", "v1", 1_800_000_000)
    made.rows["repo:o/a"]["B"] = replace(row, at=1_800_000_005, surmised=True)
    made.intended["repo:o/a"] = {"C": row}
    return made


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "{}",
        '{"v":1}',
        '{"v":"1"}',
        '{"v":0,"sum":"","at":0,"sources":[],"sets":[],"scopes":{}}',
        '{"v":1,"z":"!"}',
        '{"v":1,"z":"AAAA"}',
        '{"v":1,"z":5}',
        "[" * 100_000,
        dump(sample())[:-1],
        dump(sample()).replace("repo:o/a", "repo:o/c"),
        dump(sample()).replace("1790000000", "1790000001"),
        dump(unsure()).replace("1800000000", "1800000001"),
        dump(unsure()).replace("1800000005", "1800000001"),
        dump(unsure()).replace('"surmised"', '"intended"'),
        dump(unsure())[: dump(unsure()).index('"unsure"')] + '"unsure":[]}',
    ],
)
def test_what_is_not_whole_is_told_in_one_line(text: str) -> None:
    with pytest.raises(ImipError) as caught:
        load(text)
    assert str(caught.value).startswith(
        "input sync-manifest: it is not the manifest as imip-secrets wrote it: it is cut"
    )
    assert str(caught.value).endswith(
        "leave the input empty for one run: everything is written again, and nothing is deleted."
    )


def test_a_small_text_that_becomes_a_huge_one_is_refused() -> None:
    bomb = base64.b64encode(zlib.compress(b'{"v":1,' + b" " * 50_000_000, 9)).decode()
    with pytest.raises(ImipError, match="cut off or was changed"):
        load(json.dumps({"v": 1, "z": bomb}))


def test_a_newer_format_is_told() -> None:
    with pytest.raises(ImipError, match="it was written by a newer version of imip-secrets"):
        load('{"v":2}')
    with pytest.raises(ImipError, match="it was written by a newer version of imip-secrets"):
        load(dump(sample()).replace('{"v":1', '{"more":{},"v":1'))


@given(st.text(max_size=80))
def test_any_text_is_a_manifest_or_told_to_be_none(text: str) -> None:
    with suppress(ImipError):
        load(text)


@given(manifests(), st.data())
def test_no_change_of_a_character_goes_unseen(manifest: Manifest, data: st.DataObject) -> None:
    text = dump(manifest)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.sampled_from('0a"[]{},')) + text[at + 1 :]
    try:
        again = load(changed)
    except ImipError:
        return
    assert (again.rows, again.sources, again.intended) == (manifest.rows, manifest.sources, manifest.intended)


@pytest.mark.parametrize(
    ("seconds", "ours"), [(-16, False), (-15, True), (0, True), (2, True), (3, False), (3600, False)]
)
def test_what_was_written_is_known_by_its_time(seconds: int, ours: bool) -> None:  # noqa: FBT001
    at = datetime(2026, 11, 1, tzinfo=timezone.utc)
    row = Row("m", "A", "v", int(at.timestamp()))
    assert row.is_ours(at + timedelta(seconds=seconds)) is ours
    assert row.is_ours(None)


def test_a_version_that_stands_for_nothing_recalls_nothing() -> None:
    manifest = Manifest({}, {("m", ""): ("A",), ("m", "v"): ("B",)})
    assert manifest.recall("m", "") is None
    assert manifest.recall("m", "v") == ("B",)
    assert manifest.knows("m")


def test_scopes_are_known_without_case() -> None:
    one, other = Scope(Kind.REPOSITORY, "O", "App", app=App.AGENTS), Scope(Kind.REPOSITORY, "o", "app", app=App.AGENTS)
    assert key(one) == key(other)
