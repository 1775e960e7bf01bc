"""What GitHub's times tell of writes that an interrupted run had noted before it made them."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timezone
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.deadline import Deadline
from imip_secrets.errors import StoreError
from imip_secrets.stores.base import Found
from imip_secrets.sync import apply, keeper, lock, report
from imip_secrets.sync.apply import Outcome
from imip_secrets.sync.base import Existing, Kind, Scope, TooLateError, Visibility
from imip_secrets.sync.intentions import LASTS, note, settle
from imip_secrets.sync.manifest import Manifest, Row, load
from imip_secrets.sync.plan import Entry, State
from imip_secrets.sync.source import Offer, Piece
from stand_ins.github_memory import GitHubInMemory, KilledError
from stand_ins.memory import Versioned
from stand_ins.sync_runs import HOME, MANIFEST, World, outcomes, problems, secret

if TYPE_CHECKING:
    from imip_secrets.sync.base import Put, Written

A = Scope(Kind.REPOSITORY, "o", "a")
ORG = Scope(Kind.ORGANIZATION, "o")
NOON = 1_790_000_000
BEFORE = Row("m", "S", "v1", NOON - 5000)
WINDOW = int(LASTS) + 30


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "QUIET", 0.0)
    monkeypatch.setattr(lock, "TOUCH", 0.0)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), timezone.utc)


def offer(version: str = "v2") -> Offer:
    return Offer("S", Piece(None, None, "m"), version)  # type: ignore[arg-type]  # of a piece only the mapping counts


def noted(updated: float | None, *, now: float = NOON) -> Manifest:
    """Return a manifest with one note, of a secret that had this time when it was made."""
    manifest = Manifest({"repo:o/a": {"S": BEFORE}})
    shown = None if updated is None else moment(updated)
    assert note(manifest, [(A, Entry("S", State.UPDATE, offer=offer(), updated=shown))], now)
    return manifest


def decide(manifest: Manifest, updated: float | None) -> tuple[bool, Row]:
    """Return whether the write took place, and the row that stands then."""
    listing = {} if updated is None else {"S": Existing("S", None, moment(updated))}
    (written,) = settle(manifest, {A: listing}).values()
    assert not any(manifest.intended.values())
    return written, manifest.rows["repo:o/a"]["S"]


@given(before=st.floats(0, 10**9), since=st.floats(0, 1), skew=st.integers(-2, 2))
def test_what_nobody_has_written_since_the_note_was_not_written(before: float, since: float, skew: int) -> None:
    # However short before the note, and whichever of GitHub's clocks is ahead.
    updated = NOON - before + skew
    assert decide(noted(updated, now=NOON + since), updated) == (False, BEFORE)


@given(
    before=st.one_of(st.none(), st.floats(1.0, 10**9)),
    after=st.floats(0, WINDOW),
    skew=st.integers(-2, 2),
    fraction=st.floats(0, 0.999),
)
def test_a_write_under_the_note_is_known_again(before: float | None, after: float, skew: int, fraction: float) -> None:
    now = NOON + fraction
    manifest = noted(None if before is None else now - 4 - before, now=now)
    written, row = decide(manifest, now + after + skew)
    assert written
    assert row == Row("m", "S", "v2", int(now + after + skew), surmised=True)
    assert row.is_ours(moment(now + after + skew))


@given(before=st.one_of(st.none(), st.floats(0, 10**9)), after=st.floats(WINDOW + 8, 10**8))
def test_an_edit_after_the_time_of_the_note_is_somebody_else_s(before: float | None, after: float) -> None:
    manifest = noted(None if before is None else NOON - before)
    written, row = decide(manifest, NOON + after)
    assert not written
    assert not row.is_ours(moment(NOON + after))


def test_what_is_not_there_was_not_written() -> None:
    assert decide(noted(None), None) == (False, BEFORE)


def test_a_secret_whose_time_github_does_not_tell_counts_as_not_written() -> None:
    manifest = noted(None)
    assert settle(manifest, {A: {"S": Existing("S")}}) == {(A, "S"): False}
    assert manifest.rows == {"repo:o/a": {"S": BEFORE}}


def test_a_note_stays_where_there_is_no_listing() -> None:
    manifest = noted(None)
    assert settle(manifest, {A: StoreError("no", "x"), ORG: {}}) == {}
    assert manifest.intended["repo:o/a"]["S"].version == "v2"


def test_what_no_version_stands_for_is_not_noted() -> None:
    manifest = Manifest()
    writes = [
        (A, Entry("S", State.CREATE, offer=offer(""))),
        (A, Entry("T", State.UPDATE, offer=offer(), value_stays=True)),
    ]
    assert not note(manifest, writes, NOON)
    assert manifest.intended == {}


# --- whole runs


def kill(world: World, requests: int) -> None:
    """Run, and be killed after so many requests."""
    world.github.dies_after = requests
    with pytest.raises(KilledError):
        world.run()
    world.github.dies_after = None


def many(count: int = 6, *, remembers: bool = True, to: str = "repo:o/a\nrepo:o/b") -> World:
    store = Versioned({f"imip/s{number}": secret(f"first {number}") for number in range(count)})
    return World(store=store, lines="memory://imip/*", to=to, remembers=remembers)


def found_of(world: World, number: int) -> str:
    found = world.store.secrets[f"imip/s{number}"]
    assert isinstance(found, Found)
    return found.value.reveal()


def kept(world: World) -> Manifest:
    return load(world.github.held(HOME)[MANIFEST].value)


@pytest.mark.parametrize("lot", [5, 100])
@pytest.mark.parametrize("remembers", [False, True])
def test_nothing_is_written_twice_whenever_a_run_is_killed_and_the_next_too(
    remembers: bool,  # noqa: FBT001 - a table
    lot: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apply, "CHECKPOINT", lot)
    for requests in range(1, 51):
        world = many(10, remembers=remembers, to="repo:o/a\nrepo:o/b")
        world.run()
        world.store.secrets |= {f"imip/s{n}": secret(f"second {n}", changed=world.github.now) for n in range(8)}
        written: list[str] = []
        # However often it is killed: each run that can write anything writes one secret at least.
        for _ in range(16):
            world.github.dies_after = requests
            with suppress(KilledError):
                world.run()
            written += world.writes()
            if len(set(written)) == 16:
                break
        world.github.dies_after = None
        world.run()
        written += world.writes()
        assert len(written) == len(set(written)) == 16, requests
        expected = {f"S{number}": f"{'second' if number < 8 else 'first'} {number}" for number in range(10)}
        assert world.github.values(A) == expected
        world.run()
        assert world.writes() == []
        assert set(world.github.counts()) == {"listing"}


def test_what_an_interrupted_run_wrote_is_told_once_and_recorded() -> None:
    world = many(3, to="repo:o/a")
    # A listing, a look-up, the note and two secrets.
    kill(world, 5)
    assert len(world.writes()) == 2
    world.run(sync_dry_run="true")
    assert world.github.counts() == {"listing": 1, "look_up": 1}
    mirrored = world.run()
    assert sorted(outcomes(mirrored).values(), key=str) == [Outcome.CREATED, Outcome.UNCHANGED, Outcome.UNCHANGED]
    told = list(report.plan_lines(mirrored.plan))
    assert sum(line.endswith(": unchanged (written by an interrupted run)") for line in told) == 2
    assert told[-1] == "Plan: 1 to create, 2 unchanged."
    assert not any("0 unchanged" in line for line in told)
    assert report.as_json(mirrored).count('"why":"written by an interrupted run"') == 2
    assert report.summary(mirrored, str).count("| unchanged | written by an interrupted run |") == 2
    assert kept(world).intended == {}
    assert list(report.plan_lines(world.run().plan)) == ["repo:o/a: 3 unchanged", "Plan: 3 unchanged."]
    assert world.github.counts() == {"listing": 1}
    world.github.edit(A, "S1")
    assert outcomes(world.run())["repo:o/a S1"] is Outcome.REPAIRED


def test_when_everything_was_written_the_next_run_writes_the_manifest_alone() -> None:
    world = many(3, to="repo:o/a")
    kill(world, 6)
    assert len(world.github.values(A)) == 3
    assert set(outcomes(world.run()).values()) == {Outcome.UNCHANGED}
    assert world.github.counts() == {"listing": 1, "put": 1}
    world.run()
    assert world.github.counts() == {"listing": 1}


def test_an_edit_by_hand_after_the_time_of_a_note_is_drift_and_one_within_it_is_not_told_from_ours() -> None:
    for seconds, outcome in ((LASTS + 60, Outcome.REPAIRED), (60, Outcome.UNCHANGED)):
        world = many(3, to="repo:o/a")
        kill(world, 6)
        world.github.later(seconds)
        world.github.edit(A, "S1")
        assert outcomes(world.run())["repo:o/a S1"] is outcome


def test_a_version_that_came_after_the_interrupted_run_is_written() -> None:
    world = many(3, to="repo:o/a")
    kill(world, 6)
    world.store.secrets["imip/s1"] = secret("second")
    assert outcomes(world.run())["repo:o/a S1"] is Outcome.UPDATED
    assert world.github.values(A)["S1"] == "second"
    world.run()
    assert world.writes() == []


def test_what_is_known_by_a_note_alone_is_not_deleted_until_it_is_written_again() -> None:
    world = many(3, to="repo:o/a")
    world.settings = {"sync-prune": "true"}
    # With the lock and its listing.
    kill(world, 8)
    assert len(world.github.values(A)) == 3
    del world.github.held(HOME)[f"{MANIFEST}_LOCK"]
    world.lines = "memory://imip/s0\nmemory://imip/s1"
    for _ in range(2):
        mirrored = world.run()
        (warning,) = mirrored.plan.warnings
        assert warning == (
            "repo:o/a: S2 is not deleted, since an interrupted run wrote it, or somebody else at that time; "
            "delete it by hand."
        )
        assert sorted(world.github.values(A)) == ["S0", "S1", "S2"]
    # Once it has been written by a run that came to its end, it is ours.
    world.lines = "memory://imip/*"
    world.run(sync_force="true")
    world.lines = "memory://imip/s0\nmemory://imip/s1"
    assert outcomes(world.run())["repo:o/a S2"] is Outcome.DELETED


def test_a_foreign_secret_that_a_killed_run_was_about_to_write_over_is_not_ours() -> None:
    world = many(3, to="repo:o/a")
    world.settings = {"sync-prune": "true"}
    world.github.edit(A, "S2", "theirs")
    kill(world, 5)
    assert world.github.values(A) == {"S2": "theirs"}
    assert kept(world).intended["repo:o/a"].keys() == {"S0", "S1", "S2"}
    del world.github.held(HOME)[f"{MANIFEST}_LOCK"]
    world.lines = "memory://imip/s0\nmemory://imip/s1"
    world.run()
    world.run()
    assert world.github.values(A)["S2"] == "theirs"
    assert "S2" not in kept(world).rows["repo:o/a"]


def test_whoever_sees_an_organisation_s_secret_is_looked_at_again() -> None:
    world = many(2, to="org:o?repos=a")
    # A listing, two look-ups, the note, two secrets.
    kill(world, 5)
    assert {held.visibility for held in world.github.held(ORG).values()} == {Visibility.SELECTED}
    assert set(outcomes(world.run()).values()) == {Outcome.UNCHANGED}
    assert world.github.counts()["selected"] == 2
    assert world.writes() == []
    world.run()
    assert world.github.counts() == {"listing": 1}
    # The list may change without the value, which stays what is surmised.
    world.to = "org:o?repos=a,b"
    world.run()
    assert [call.split()[0] for call in world.writes()] == ["set_selected", "set_selected"]
    assert {row.surmised for row in kept(world).rows["org:o"].values()} == {True}


def test_what_a_note_ran_out_for_is_noted_anew_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    world = many(3, to="repo:o/a")
    put, late, error = world.github.put, {"S0", "S2"}, TooLateError("late", "x")

    def put_or_be_late(what: Put) -> Written:
        if what.scope == A:
            assert what.until is not None
            if what.name in late:
                late.discard(what.name)
                raise error
        return put(what)

    monkeypatch.setattr(world.github, "put", put_or_be_late)
    assert outcomes(world.run()) == dict.fromkeys(("repo:o/a S0", "repo:o/a S1", "repo:o/a S2"), Outcome.CREATED)
    assert [call.split()[2] for call in world.github.calls[-4:]][1:] in (
        ["S0", "S2", MANIFEST],
        ["S2", "S0", MANIFEST],
    )
    assert sum(MANIFEST in call for call in world.github.calls) == 3
    assert kept(world).intended == {}


def test_nothing_is_begun_under_a_note_that_has_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    world = many(3, to="repo:o/a")
    lasts = iter([0.0, 0.0, LASTS])
    monkeypatch.setattr(keeper, "Deadline", lambda _: Deadline(next(lasts)))
    assert set(outcomes(world.run()).values()) == {Outcome.CREATED}
    assert [call.split()[2] for call in world.github.calls if call.startswith("put")][:3] == [MANIFEST] * 3


def test_without_github_s_clock_nothing_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = many(3, to="repo:o/a")
    monkeypatch.setattr(world.github, "clock", lambda: None)
    assert set(outcomes(world.run()).values()) == {Outcome.CREATED}
    assert sum(MANIFEST in call for call in world.github.calls) == 1


def test_a_note_that_cannot_be_saved_keeps_nothing_from_being_written() -> None:
    world = many(3, to="repo:o/a")
    world.github.refused.add(("repo:o/home", MANIFEST))
    mirrored = world.run()
    assert len(world.github.values(A)) == 3
    assert len(problems(mirrored)) == 1


def test_a_write_without_an_answer_is_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = many(2, to="repo:o/a")
    put, lost = world.github.put, StoreError("no answer", "x")

    def put_and_lose_the_answer(what: Put) -> Written:
        written = put(what)
        if what.name == "S0":
            raise lost
        return written

    monkeypatch.setattr(world.github, "put", put_and_lose_the_answer)
    assert outcomes(world.run())["repo:o/a S0"] is Outcome.FAILED
    assert kept(world).intended["repo:o/a"].keys() == {"S0"}
    monkeypatch.undo()
    assert set(outcomes(world.run()).values()) == {Outcome.UNCHANGED}


def test_a_run_with_nothing_to_write_notes_nothing() -> None:
    world = many(2)
    world.run()
    world.run()
    assert set(world.github.counts()) == {"listing"}


# --- any history


def test_after_any_history_of_kills_every_secret_has_its_source_s_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as nobody edits within the time of a note: kills, new versions, edits and deletions by hand."""
    for seed in range(80):
        chance = Random(seed)  # noqa: S311 - a game of chance
        world = World(
            github=GitHubInMemory("o/a", "o/b", "o/home"),
            store=Versioned({f"imip/s{number}": secret(f"{number}") for number in range(4)}),
            lines="memory://imip/*",
            to="repo:o/a\nrepo:o/b\norg:o?repos=a",
            remembers=True,
        )
        for step in range(6):
            monkeypatch.setattr(apply, "CHECKPOINT", chance.choice([1, 3, 100]))
            for number in range(4):
                if chance.random() < 0.3:
                    world.store.secrets[f"imip/s{number}"] = secret(f"{step}.{number}", changed=world.github.now)
            world.github.later(LASTS + 60)
            for scope in (A, ORG):
                if chance.random() < 0.3:
                    world.github.edit(scope, f"S{chance.randrange(4)}")
                if chance.random() < 0.1:
                    world.github.held(scope).pop(f"S{chance.randrange(4)}", None)
            world.github.dies_after = chance.choice([None, *range(4, 25)])
            with suppress(KilledError):
                world.run(sync_force=chance.choice(["false", "false", "true"]))
            world.github.dies_after = None
        world.run()
        expected = {f"S{number}": found_of(world, number) for number in range(4)}
        for scope in (A, Scope(Kind.REPOSITORY, "o", "b"), ORG):
            assert world.github.values(scope) == expected, seed
        world.run()
        assert world.writes() == []
