"""Whole runs over a store and a GitHub in memory: what is asked, what is written, what is left alone."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from dataclasses import replace
from random import Random
from threading import Event
from typing import TYPE_CHECKING, ClassVar

import pytest

from imip_secrets.errors import ImipError, StoreError
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Lease
from imip_secrets.sync import apply, lock, mirror
from imip_secrets.sync.apply import THREADS, Outcome
from imip_secrets.sync.base import App, Kind, Scope, Visibility
from imip_secrets.sync.plan import State
from stand_ins.github_memory import START, GitHubInMemory, KilledError
from stand_ins.memory import Versioned, denied, missing
from stand_ins.sync_runs import HOME, MANIFEST, World, outcomes, problems, secret
from stand_ins.time_up import end_in

if TYPE_CHECKING:
    from stand_ins.github_memory import Held

A = Scope(Kind.REPOSITORY, "o", "a")
B = Scope(Kind.REPOSITORY, "o", "b")
ORG = Scope(Kind.ORGANIZATION, "o")
ENV = Scope(Kind.ENVIRONMENT, "o", "a", "production")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "QUIET", 0.0)
    monkeypatch.setattr(lock, "TOUCH", 0.0)


def states(world: World) -> dict[str, str]:
    return {f"{scope.scope.title} {entry.name}": entry.state.value for scope, entry in world.plans[-1].entries(*State)}


# --- nothing changed


@pytest.mark.parametrize("remembers", [False, True])
def test_what_has_not_changed_is_one_listing_a_scope_and_nothing_else(remembers: bool) -> None:  # noqa: FBT001
    world = World(to="repo:o/a?app=actions,dependabot\nrepo:o/b\norg:o", remembers=remembers)
    world.run()
    assert set(outcomes(world.run()).values()) == {Outcome.UNCHANGED}
    assert sorted(world.github.calls) == [
        "listing org:o",
        "listing repo:o/a",
        "listing repo:o/a?app=dependabot",
        "listing repo:o/b",
    ]


def test_with_a_manifest_no_value_is_read_that_was_written_before() -> None:
    world = World(remembers=True)
    world.run()
    world.run()
    assert world.store.calls == ["login", "version imip/one", "version imip/two", "close"]
    assert world.hidden == [Secret("1"), Secret("2")]  # of the first run


def test_a_store_that_may_tell_no_version_is_read_and_nothing_is_written() -> None:
    world = World(remembers=True)
    world.run()
    world.store.may = False
    assert set(outcomes(world.run()).values()) == {Outcome.UNCHANGED}
    assert world.store.fetched() == ("imip/one", "imip/two")
    assert world.writes() == []


def test_of_one_secret_that_changed_one_is_read_and_written() -> None:
    world = World(remembers=True, to="repo:o/a\nrepo:o/b")
    world.run()
    world.store.secrets["imip/one"] = secret("new", changed=world.github.now)
    result = outcomes(world.run())
    assert [name for name, outcome in result.items() if outcome is Outcome.UPDATED] == ["repo:o/a ONE", "repo:o/b ONE"]
    assert world.store.fetched() == ("imip/one",)
    assert world.writes() == ["put repo:o/a ONE", "put repo:o/b ONE"]
    assert world.github.values(A) == {"ONE": "new", "TWO": "2"}


def test_an_object_whose_version_is_known_is_not_read_to_know_its_keys() -> None:
    store = Versioned({"imip/all": secret('{"a": "1", "b": "2"}', "v1")})
    world = World(store=store, lines="memory://imip/all", remembers=True)
    world.run()
    assert world.github.values(A) == {"A": "1", "B": "2"}
    world.run()
    assert store.fetched() == ()
    store.secrets["imip/all"] = secret('{"a": "1", "c": "3"}', "v2")
    assert outcomes(world.run()) == {"repo:o/a A": Outcome.UPDATED, "repo:o/a C": Outcome.CREATED}


def test_a_listing_is_taken_by_the_versions_of_what_it_finds() -> None:
    world = World(lines="memory://imip/*", remembers=True)
    world.run()
    assert world.github.values(A) == {"ONE": "1", "TWO": "2"}
    world.run()
    assert world.store.fetched() == ()


def test_a_new_target_is_given_values_that_are_read_for_it_alone() -> None:
    world = World(remembers=True)
    world.run()
    world.to += "\nrepo:o/b?only=TWO"
    assert outcomes(world.run())["repo:o/b TWO"] is Outcome.CREATED
    assert world.store.fetched() == ("imip/two",)
    assert world.github.values(B) == {"TWO": "2"}


# --- without a manifest


def test_without_a_manifest_a_secret_that_is_newer_than_its_source_is_left_alone() -> None:
    world = World()
    world.run()
    world.store.secrets["imip/one"] = secret("new", changed=world.github.now)
    assert outcomes(world.run()) == {"repo:o/a ONE": Outcome.UPDATED, "repo:o/a TWO": Outcome.UNCHANGED}


def test_without_a_manifest_what_has_no_date_is_written_every_time() -> None:
    world = World()
    world.store.secrets["imip/one"] = Found(Secret("1"), version="v1")
    world.run()
    world.run()
    assert world.writes() == ["put repo:o/a ONE"]


def test_dynamic_credentials_are_refused() -> None:
    world = World(lines="memory://imip/one")
    world.store.secrets["imip/one"] = Found(Secret("1"), lease=Lease(Secret("id"), 60, renewable=True))
    with pytest.raises(ImipError, match="a secret of GitHub would outlive them"):
        world.run()
    assert world.github.calls == []


def test_a_default_has_no_version_and_is_written_every_time() -> None:
    world = World(lines="memory://imip/one\nX = memory://imip/x?default=d", remembers=True)
    world.run()
    world.run()
    assert world.writes() == ["put repo:o/a X"]


# --- drift, force


def test_an_edit_in_github_is_told_as_drift_and_repaired() -> None:
    world = World(remembers=True)
    world.run()
    world.github.later(60)
    world.github.edit(A, "ONE")
    assert outcomes(world.run()) == {"repo:o/a ONE": Outcome.REPAIRED, "repo:o/a TWO": Outcome.UNCHANGED}
    assert states(world)["repo:o/a ONE"] == "drift"
    assert world.github.values(A)["ONE"] == "1"
    world.run()
    assert world.writes() == []


def test_a_secret_that_was_deleted_in_github_is_made_again() -> None:
    world = World(remembers=True)
    world.run()
    del world.github.held(A)["ONE"]
    assert outcomes(world.run()) == {"repo:o/a ONE": Outcome.CREATED, "repo:o/a TWO": Outcome.UNCHANGED}


def test_what_somebody_else_wrote_is_written_over_once_a_manifest_is_kept() -> None:
    world = World(remembers=True)
    world.github.edit(A, "ONE")
    assert outcomes(world.run()) == {"repo:o/a ONE": Outcome.UPDATED, "repo:o/a TWO": Outcome.CREATED}


def test_another_reference_for_the_same_name_is_seen() -> None:
    world = World(remembers=True, lines="X = memory://imip/one")
    world.run()
    world.lines = "X = memory://imip/two"
    assert outcomes(world.run()) == {"repo:o/a X": Outcome.UPDATED}
    assert world.github.values(A) == {"X": "2"}


@pytest.mark.parametrize("remembers", [False, True])
def test_force_writes_everything(remembers: bool) -> None:  # noqa: FBT001
    world = World(remembers=remembers)
    world.run()
    assert set(outcomes(world.run(sync_force="true")).values()) == {Outcome.UPDATED}
    world.run()
    assert world.writes() == []


# --- dry run, consent


def test_a_dry_run_writes_nothing_and_says_what_would_be() -> None:
    world = World(remembers=True)
    mirrored = world.run(sync_dry_run="true")
    assert mirrored.results is None
    assert not mirrored.failed()
    assert states(world) == {"repo:o/a ONE": "create", "repo:o/a TWO": "create"}
    assert set(world.github.counts()) == {"listing", "look_up"}


def test_nothing_is_written_without_consent() -> None:
    world = World(agrees=False)
    assert world.run().results is None
    assert world.writes() == []


# --- organisations


def test_an_update_keeps_who_sees_a_secret_of_an_organisation() -> None:
    world = World(to="org:o", lines="memory://imip/one")
    world.github.edit(ORG, "ONE", visibility=Visibility.SELECTED)
    world.github.held(ORG)["ONE"] = replace(world.github.held(ORG)["ONE"], selected=frozenset({7, 9}))
    world.store.secrets["imip/one"] = secret("new", changed=START)
    world.run(sync_visibility="all")
    held = world.github.held(ORG)["ONE"]
    assert (held.value, held.visibility, held.selected) == ("new", Visibility.SELECTED, frozenset({7, 9}))


@pytest.mark.parametrize("visibility", list(Visibility))
def test_a_new_secret_of_an_organisation_is_private_unless_it_is_said_otherwise(visibility: Visibility) -> None:
    world = World(to="org:o")
    world.run()
    assert {held.visibility for held in world.github.held(ORG).values()} == {Visibility.PRIVATE}
    other = World(to="org:o")
    other.run(sync_visibility=visibility.value)
    assert {held.visibility for held in other.github.held(ORG).values()} == {visibility}


@pytest.mark.parametrize("remembers", [False, True])
def test_the_visibility_of_a_line_is_put_into_force_and_shown(remembers: bool) -> None:  # noqa: FBT001
    world = World(to="org:o", lines="memory://imip/one", remembers=remembers)
    world.run()
    world.to = "org:o?visibility=all"
    assert outcomes(world.run()) == {"org:o ONE": Outcome.UPDATED}
    ((_, entry),) = world.plans[-1].entries(State.UPDATE)
    assert entry.why == "visibility private to all"
    assert world.github.held(ORG)["ONE"].visibility is Visibility.ALL
    world.run()
    assert world.writes() == []


@pytest.mark.parametrize("remembers", [False, True])
def test_the_repositories_of_a_secret_change_without_its_value(remembers: bool) -> None:  # noqa: FBT001
    world = World(to="org:o?repos=a", lines="memory://imip/one", remembers=remembers)
    world.run()
    assert world.github.held(ORG)["ONE"].selected == {1}
    world.to = "org:o?repos=a,B"
    assert outcomes(world.run()) == {"org:o ONE": Outcome.UPDATED}
    assert world.writes() == ["set_selected org:o ONE"]
    assert world.github.held(ORG)["ONE"].selected == {1, 2}
    assert world.store.fetched() == (() if remembers else ("imip/one",))
    world.run()
    assert world.writes() == []


def test_a_repository_that_is_not_there_keeps_its_organisation_alone_from_being_written() -> None:
    world = World(to="org:o?repos=a,gone\nrepo:o/a")
    mirrored = world.run()
    assert mirrored.failed()
    assert problems(mirrored) == [
        "sync-to line 1, org:o?repos=a,gone (repos=gone): there is no such repository, or it is hidden. Check it."
    ]
    assert world.writes() == ["put repo:o/a ONE", "put repo:o/a TWO"]


# --- targets that fail


def test_one_target_that_fails_stops_no_other_and_every_secret_has_a_result() -> None:
    world = World(to="repo:o/a\nrepo:o/gone\nenv:o/a/nowhere\nrepo:o/b")
    world.github.denied.add(B)
    mirrored = world.run()
    assert mirrored.failed()
    assert outcomes(mirrored) == {
        "repo:o/a ONE": Outcome.CREATED,
        "repo:o/a TWO": Outcome.CREATED,
        **{
            f"{scope} {name}": Outcome.FORBIDDEN
            for scope in ("repo:o/gone", "env:o/a/nowhere", "repo:o/b")
            for name in ("ONE", "TWO")
        },
    }
    assert problems(mirrored) == [
        "repo:o/gone: there is no such repository, or it is hidden. Check it.",
        "env:o/a/nowhere: there is no such environment. Make it.",
        "repo:o/b: you may not. Allow secrets: write.",
    ]


def test_an_archived_repository_is_told_before_the_first_write() -> None:
    world = World(to="repo:o/old\nrepo:o/a")
    world.github.add("o/old", archived=True)
    mirrored = world.run()
    assert problems(mirrored) == [
        "repo:o/old: the repository is archived, and can only be read. Take it out of sync-to."
    ]
    assert world.writes() == ["put repo:o/a ONE", "put repo:o/a TWO"]


def test_a_write_that_is_refused_is_told_and_its_target_is_not_asked_again() -> None:
    world = World(to="repo:o/a\nrepo:o/b", lines="memory://imip/*")
    world.store.secrets.update({f"imip/x{number:02}": secret(str(number)) for number in range(40)})
    world.github.refused.update(
        {("repo:o/a", name) for name in ["ONE", "TWO", *(f"X{number:02}" for number in range(40))]}
    )
    mirrored = world.run()
    assert mirrored.failed()
    assert len(world.github.values(B)) == 42
    assert sum("put repo:o/a" in call for call in world.github.calls) <= THREADS
    assert {outcome for name, outcome in outcomes(mirrored).items() if "o/a" in name} == {Outcome.FAILED}


def test_a_source_that_fails_stops_everything() -> None:
    world = World()
    world.store.secrets["imip/one"] = denied()
    with pytest.raises(ImipError, match=r"access is denied\. Allow memory:Read"):
        world.run()
    assert world.github.calls == []


def test_a_source_that_vanished_is_told_and_nothing_is_deleted() -> None:
    world = World(remembers=True)
    world.run()
    del world.store.secrets["imip/one"]
    with pytest.raises(ImipError, match="line 1, memory://imip/one: there is no such secret"):
        world.run(sync_prune="true")
    assert world.writes() == []


def test_a_defect_of_a_write_shows_its_type_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(lines="memory://imip/one")

    def put(_: object) -> None:
        raise ValueError("hunter2")  # noqa: EM101 - a text that must not be shown

    monkeypatch.setattr(world.github, "put", put)
    (told,) = problems(world.run())
    assert told == (
        "repo:o/a ONE: it could not be written, by a defect in imip-secrets (ValueError). "
        "Please report this line: it holds no value."
    )


# --- names, sizes, counts


def test_two_that_are_equal_in_capitals_are_an_error_before_any_write() -> None:
    world = World(to="repo:o/a?rename=ONE:TWO")
    with pytest.raises(ImipError, match="TWO would be both ONE and TWO"):
        world.run()
    world.to = "repo:o/a?only=ONE&rename=ONE:X\nrepo:O/A?only=TWO&rename=TWO:X"
    with pytest.raises(ImipError, match="X would be both ONE and TWO"):
        world.run()
    assert world.writes() == []


def test_two_keys_of_one_object_that_are_equal_in_capitals_are_an_error() -> None:
    world = World(store=Versioned({"imip/all": secret('{"a": "1", "A": "2"}')}), lines="memory://imip/all")
    with pytest.raises(ImipError, match="A is given by line 1, memory://imip/all as well"):
        world.run()


def test_a_name_that_github_refuses_is_told_before_any_write() -> None:
    world = World(store=Versioned({"imip/all": secret('{"github_x": "1"}')}), lines="memory://imip/all")
    with pytest.raises(ImipError, match="GitHub takes no secret named GITHUB_X: GITHUB_ is its own"):
        world.run()
    world.to = "repo:o/a?rename=GITHUB_X:MY_X"
    assert outcomes(world.run()) == {"repo:o/a MY_X": Outcome.CREATED}


def test_names_that_change_how_programs_run_are_ordinary_here() -> None:
    world = World(lines="PATH = memory://imip/one\nCI = memory://imip/two")
    assert outcomes(world.run()) == {"repo:o/a CI": Outcome.CREATED, "repo:o/a PATH": Outcome.CREATED}


@pytest.mark.parametrize(("value", "fits"), [("é" * 24 * 1024, True), ("é" * 24 * 1024 + "x", False), ("", False)])
def test_48_kb_are_counted_in_bytes(value: str, fits: bool) -> None:  # noqa: FBT001
    world = World(store=Versioned({"imip/one": secret(value, "v1")}), lines="memory://imip/one")
    if fits:
        world.run()
        assert world.github.values(A) == {"ONE": value}
        return
    with pytest.raises(ImipError, match=r"larger than 48 KB|is empty"):
        world.run()
    assert world.writes() == []


def test_a_scope_that_would_have_too_many_secrets_is_told_before_the_first_write() -> None:
    world = World(to="repo:o/a\nrepo:o/b")
    for number in range(99):
        world.github.edit(A, f"X{number}")
    mirrored = world.run()
    assert problems(mirrored) == [
        (
            "repo:o/a: it has 99 secrets and would get 2 more, and GitHub allows 100. "
            "Delete some there, or let fewer through with only=."
        )
    ]
    assert world.writes() == ["put repo:o/b ONE", "put repo:o/b TWO"]


def test_secrets_of_an_organisation_that_no_workflow_sees_are_a_warning() -> None:
    world = World(to="org:o")
    for number in range(99):
        world.github.edit(ORG, f"A{number:02}", visibility=Visibility.ALL)
    assert world.run().plan.warnings == ("org:o: a workflow sees the first 100 secrets by name alone, and so not TWO.",)


def test_a_secret_that_another_stands_before_is_a_warning() -> None:
    world = World(
        github=GitHubInMemory("o/a", "o/home", environments=["o/a/production"]),
        to="org:o?only=ONE\nrepo:o/a?only=ONE\nenv:o/a/production?only=ONE\nrepo:o/a?app=dependabot&only=ONE",
    )
    assert world.run().plan.warnings == (
        "org:o: ONE is not used where repo:o/a has one too.",
        "repo:o/a: ONE is not used where env:o/a/production has one too.",
    )


# --- matches


def test_a_match_leaves_out_what_cannot_be_meant_and_says_so() -> None:
    world = World(to="repos:o?exclude=home")
    world.github.add("o/old", archived=True)
    world.github.add("o/fork", fork=True)
    world.github.add("o/open", visibility="public")
    mirrored = world.run()
    assert {scope.scope.title for scope in mirrored.plan.scopes} == {"repo:o/a", "repo:o/b"}
    assert mirrored.plan.warnings == (
        "sync-to line 1, repos:o?exclude=home: 3 repositories left out (a fork; archived; public).",
    )
    assert world.github.counts() == {"repositories": 1, "listing": 2, "put": 4}


def test_properties_are_read_only_where_a_line_asks_for_them() -> None:
    world = World(to="repos:o?property=team:x")
    world.github.add("o/x", properties={"team": ("x",)})
    assert {scope.scope.title for scope in world.run().plan.scopes} == {"repo:o/x"}


def test_too_many_matches_and_none_are_errors_before_any_write() -> None:
    world = World(to="repos:o?max=2")
    with pytest.raises(ImipError, match=r"it matches 3 repositories, more than the 2 that it may.*add max=3"):
        world.run()
    world.to = "repos:o?topic=none"
    with pytest.raises(ImipError, match="it matches no repository that this credential sees"):
        world.run()


def test_the_parts_of_a_sync_are_all_of_it_and_share_nothing() -> None:
    github = GitHubInMemory(*(f"o/r{number}" for number in range(40)))
    world = World(github=github, to="repos:o?app=actions,dependabot")
    titles: list[str] = []
    for part in range(1, 4):
        mirrored = world.run(sync_shard=f"{part}/3")
        own = [scope.scope.title for scope in mirrored.plan.scopes]
        assert len(own) > 5
        titles += own
    assert len(titles) == len(set(titles)) == 80


# --- prune


def pruning(**settings: str) -> World:
    return World(remembers=True, settings={"sync-prune": "true", **settings})


def test_what_no_line_gives_any_more_is_deleted_and_nothing_else() -> None:
    world = pruning()
    world.github.edit(A, "FOREIGN")
    world.run()
    world.lines = "memory://imip/one"
    assert outcomes(world.run()) == {"repo:o/a ONE": Outcome.UNCHANGED, "repo:o/a TWO": Outcome.DELETED}
    assert sorted(world.github.values(A)) == ["FOREIGN", "ONE"]
    assert f"{MANIFEST}_LOCK" not in world.github.held(HOME)
    world.run()
    assert world.writes() == []


def test_without_prune_what_no_line_gives_stays_ours_and_goes_later() -> None:
    world = World(remembers=True)
    world.run()
    world.lines = "memory://imip/one"
    world.run()
    assert sorted(world.github.values(A)) == ["ONE", "TWO"]
    world.run(sync_prune="true")
    assert sorted(world.github.values(A)) == ["ONE"]


def test_what_somebody_else_wrote_after_us_is_not_deleted() -> None:
    world = pruning()
    world.run()
    world.github.later(60)
    world.github.edit(A, "TWO")
    world.lines = "memory://imip/one"
    mirrored = world.run()
    assert mirrored.plan.warnings == ("repo:o/a: TWO is not deleted, since somebody else has written it after us.",)
    assert sorted(world.github.values(A)) == ["ONE", "TWO"]
    # It is theirs from now on, which is said once.
    assert world.run().plan.warnings == ()
    assert world.github.counts() == {"listing": 1}


def test_what_was_deleted_by_hand_and_made_anew_by_somebody_else_is_theirs() -> None:
    world = pruning()
    world.run()
    del world.github.held(A)["TWO"]
    world.lines = "memory://imip/one"
    world.run()
    world.github.edit(A, "TWO")
    assert world.run().plan.warnings == ()
    assert sorted(world.github.values(A)) == ["ONE", "TWO"]


def test_a_deletion_that_is_refused_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = pruning()
    world.run()
    world.lines = "memory://imip/one"
    refusal = StoreError("you may not", "Ask.")

    def refuse(scope: Scope, name: str) -> bool:
        if name == "TWO":
            raise refusal
        return world.github.held(scope).pop(name, None) is not None

    monkeypatch.setattr(world.github, "delete", refuse)
    mirrored = world.run()
    assert outcomes(mirrored)["repo:o/a TWO"] is Outcome.FAILED
    assert problems(mirrored) == ["repo:o/a TWO: you may not. Ask."]
    monkeypatch.undo()
    monkeypatch.setattr(lock, "QUIET", 0.0)
    assert outcomes(world.run())["repo:o/a TWO"] is Outcome.DELETED


@pytest.mark.parametrize("fault", ["listing", "late listing", "delete"])
def test_a_lock_that_makes_trouble_keeps_from_deleting(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    world = pruning()
    world.run()
    world.lines = "memory://imip/one"
    refusal = StoreError("you may not", "Ask.")
    listing, delete = world.github.listing, world.github.delete
    asked: list[Scope] = []

    def list_or_refuse(scope: Scope) -> object:
        if scope == HOME:
            asked.append(scope)
            if fault == "listing" or (fault == "late listing" and len(asked) > 1):
                raise refusal
        return listing(scope)

    def delete_or_refuse(scope: Scope, name: str) -> bool:
        if fault == "delete" and scope == HOME:
            raise refusal
        return delete(scope, name)

    monkeypatch.setattr(world.github, "listing", list_or_refuse)
    monkeypatch.setattr(world.github, "delete", delete_or_refuse)
    result = outcomes(world.run())["repo:o/a TWO"]
    assert result is (Outcome.DELETED if fault == "delete" else Outcome.KEPT)
    if fault == "delete":
        assert "The lock IMIP_SYNC_MANIFEST_LOCK was not given back (you may not)." in world.said


def test_a_manifest_that_is_not_the_newest_keeps_from_deleting() -> None:
    world = pruning()
    world.run()
    world.lines = "memory://imip/one"
    old = world.github.held(HOME)[MANIFEST]
    world.github.later(600)
    world.github.edit(HOME, MANIFEST, old.value)
    mirrored = world.run()
    assert "the manifest that was passed in is not the newest" in problems(mirrored)[0]
    assert sorted(world.github.values(A)) == ["ONE", "TWO"]


def test_no_time_to_wait_for_the_lock_keeps_from_deleting(monkeypatch: pytest.MonkeyPatch) -> None:
    world = pruning()
    world.run()
    world.lines = "memory://imip/one"
    monkeypatch.setattr(lock, "QUIET", 1000.0)
    mirrored = world.run()
    assert "the time of timeout-seconds is over" in problems(mirrored)[0]


def test_more_deletions_than_allowed_are_none_and_the_run_fails_with_the_list() -> None:
    world = pruning(**{"sync-max-deletions": "1"})
    world.store.secrets["imip/three"] = secret("3")
    world.lines += "\nmemory://imip/three"
    world.run()
    world.lines = "memory://imip/one"
    mirrored = world.run()
    assert mirrored.failed()
    assert problems(mirrored) == [
        (
            "input sync-prune: 2 secrets would be deleted, more than sync-max-deletions allows (1): repo:o/a THREE, "
            "repo:o/a TWO. Nothing was deleted. If that is meant, set sync-max-deletions: 2 for one run."
        )
    ]
    assert len(world.github.values(A)) == 3


def test_where_none_may_be_deleted_the_first_is_the_error() -> None:
    world = pruning(**{"sync-max-deletions": "0"})
    world.run()
    world.lines = "memory://imip/one"
    assert "1 secrets would be deleted, more than sync-max-deletions allows (0)" in problems(world.run())[0]
    assert len(world.github.values(A)) == 2


def test_an_empty_source_deletes_nothing() -> None:
    world = pruning()
    world.run()
    world.lines = "memory://gone?optional"
    mirrored = world.run()
    assert mirrored.failed()
    assert "the stores have nothing for any target, so 2 secrets would be deleted" in problems(mirrored)[0]
    assert len(world.github.values(A)) == 2


def test_nothing_is_deleted_when_anything_else_has_failed() -> None:
    world = pruning()
    world.to += "\nrepo:o/b"
    world.run()
    world.lines = "memory://imip/one"
    world.store.secrets["imip/one"] = secret("new", changed=world.github.now)
    world.github.refused.add(("repo:o/b", "ONE"))
    mirrored = world.run()
    assert {name: outcome for name, outcome in outcomes(mirrored).items() if "TWO" in name} == {
        "repo:o/a TWO": Outcome.KEPT,
        "repo:o/b TWO": Outcome.KEPT,
    }
    assert "nothing was deleted, since not everything could be written" in "".join(problems(mirrored))
    world.github.refused.clear()
    world.run()
    assert sorted(world.github.values(B)) == ["ONE"]


def test_two_runs_at_once_never_delete() -> None:
    world = pruning()
    world.run()
    world.lines = "memory://imip/one"
    # Another run has the lock.
    world.github.later()
    world.github.edit(HOME, f"{MANIFEST}_LOCK", "held")
    mirrored = world.run()
    assert outcomes(mirrored)["repo:o/a TWO"] is Outcome.KEPT
    assert "another run of this sync is at work" in problems(mirrored)[0]
    held = world.github.held(HOME)[f"{MANIFEST}_LOCK"]
    assert held.created != held.updated  # so the other run sees us, and deletes nothing either
    assert sorted(world.github.values(A)) == ["ONE", "TWO"]


def test_the_run_that_has_the_lock_deletes_nothing_when_another_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = pruning()
    world.run()
    world.lines = "memory://imip/one"
    put = world.github.put

    def put_and_be_joined(what: object) -> object:
        written = put(what)  # type: ignore[arg-type]  # it is what the core gave
        world.github.later(1.5)
        world.github.edit(HOME, f"{MANIFEST}_LOCK", "held")
        return written

    monkeypatch.setattr(world.github, "put", put_and_be_joined)
    assert outcomes(world.run())["repo:o/a TWO"] is Outcome.KEPT
    assert sorted(world.github.values(A)) == ["ONE", "TWO"]


def test_the_lock_of_a_run_that_was_killed_is_taken_after_a_while() -> None:
    world = pruning()
    world.run()
    world.github.edit(HOME, f"{MANIFEST}_LOCK", "held")
    world.lines = "memory://imip/one"
    world.github.later(7 * 3600)
    assert outcomes(world.run())["repo:o/a TWO"] is Outcome.DELETED


# --- the manifest and the time


def test_a_manifest_that_cannot_be_saved_fails_the_run_and_undoes_nothing() -> None:
    world = World(remembers=True)
    world.github.refused.add(("repo:o/home", MANIFEST))
    mirrored = world.run()
    assert mirrored.failed()
    assert problems(mirrored) == [
        (
            "repo:o/home IMIP_SYNC_MANIFEST: the manifest could not be saved: it may not be written. Allow it. "
            "The next run may write again what this one has written, and deletes nothing of it."
        )
    ]
    assert len(world.github.values(A)) == 2


def test_a_secret_cannot_be_written_over_the_manifest() -> None:
    world = World(remembers=True, lines=f"{MANIFEST} = memory://imip/one", to="repo:O/Home")
    with pytest.raises(ImipError, match="IMIP_SYNC_MANIFEST is where the manifest is kept"):
        world.run()


def test_writes_that_take_longer_than_the_run_may_last_are_not_begun() -> None:
    world = World()
    world.github.seconds = 400.0
    with pytest.raises(ImipError, match=r"2 writes take 6 minutes within .*Set timeout-seconds: 46"):
        world.run()
    assert world.writes() == []
    world.github.seconds = 40.0
    world.run(seconds=60.0)
    assert "2 writes take about 40 seconds within GitHub's rate limits." in world.said


def test_sessions_are_closed_whatever_comes() -> None:
    world = World()
    world.run()
    world.to = "repos:o?topic=none"
    with pytest.raises(ImipError):
        world.run()
    assert world.github.closed == 2


def test_the_key_of_an_app_may_be_in_a_store() -> None:
    world = World(settings={"github-token": "", "github-app-id": "7", "github-app-private-key": "memory://app#key"})
    world.store.secrets["app"] = secret('{"key": "-----BEGIN"}')
    world.run()
    assert world.github.access is not None
    assert world.github.access.app_key == Secret("-----BEGIN")
    world.store.secrets["app"] = missing()
    with pytest.raises(ImipError, match="input github-app-private-key: there is no such secret"):
        world.run()


def test_what_is_to_be_touched_is_told_for_each_owner() -> None:
    world = World(to="repo:o/a?app=dependabot\nenv:P/x/prod\nrepos:q?property=a:b&topic=none", remembers=True)
    with pytest.raises(ImipError):
        world.run()
    assert world.github.access is not None
    reaches = {reach.owner: reach for reach in world.github.access.reaches}
    assert reaches["o"].repositories == {"a", "home"}
    assert reaches["o"].uses == {(Kind.REPOSITORY, App.DEPENDABOT), (Kind.REPOSITORY, App.ACTIONS)}
    assert reaches["P"].repositories == {"x"}
    assert reaches["q"].repositories == frozenset()
    assert reaches["q"].properties


def test_a_defect_of_a_read_shows_its_type_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr(world.github, "listing", lambda _: 1 / 0)
    assert problems(world.run()) == [
        (
            "repo:o/a: GitHub could not be asked, by a defect in imip-secrets (ZeroDivisionError). "
            "Please report this line: it holds no value."
        )
    ]


def test_a_match_that_cannot_be_made_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(to="repos:o\nrepo:o/a")

    refusal = StoreError("you may not", "Ask.")

    def refuse(_: str, **__: bool) -> None:
        raise refusal

    monkeypatch.setattr(world.github, "repositories", refuse)
    mirrored = world.run()
    assert mirrored.failed()
    assert problems(mirrored) == ["sync-to line 1, repos:o: you may not. Ask."]
    assert len(world.github.values(A)) == 2


def test_writes_that_hang_are_told_and_given_up_at_the_end_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(lines="memory://imip/one")
    released = Event()
    monkeypatch.setattr(apply, "SIGN_OF_LIFE", 0.05)
    monkeypatch.setattr(world.github, "put", lambda _: released.wait(60))

    class Said(list[str]):
        """Ends the time of the run when it was said that there is still something to wait for."""

        def append(self, line: str) -> None:
            super().append(line)
            if "still waiting" in line:
                assert world.github.access is not None
                end_in(world.github.access.deadline, 0)

    world.said = Said()
    mirrored = world.run()
    released.set()
    assert problems(mirrored) == ["repo:o/a ONE: it was not written in the time of timeout-seconds."]
    assert "0 of 1 secrets written; still waiting for GitHub." in world.said


def test_a_long_run_tells_how_far_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(lines="memory://imip/*", to="repos:o")
    world.store.secrets = {f"imip/s{number}": secret(str(number)) for number in range(90)}
    monkeypatch.setattr(apply, "SIGN_OF_LIFE", 0.0)
    monkeypatch.setattr(mirror, "_PROGRESS", 2)
    world.run()
    assert any(line.startswith("5 of 270 secrets written, ") for line in world.said)
    assert "2 of 3 listings read." in world.said


def test_a_manifest_is_saved_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "CHECKPOINT", 10)
    world = World(lines="memory://imip/*", remembers=True)
    world.store.secrets = {f"imip/s{number}": secret(str(number)) for number in range(45)}
    world.run()
    # Before each of five lots, and at the end.
    assert sum(MANIFEST in call for call in world.github.calls) == 6


def test_a_plan_of_a_thousand_repositories_is_one_listing_each() -> None:
    github = GitHubInMemory("o/home", *(f"o/r{number}" for number in range(1000)))
    store = Versioned({f"imip/s{number}": secret(str(number)) for number in range(20)})
    world = World(github=github, store=store, lines="memory://imip/*", to="repos:o?max=2000&name=r*")
    for number in range(1000):
        for name in range(20):
            github.edit(Scope(Kind.REPOSITORY, "o", f"r{number}"), f"S{name}")
    tracemalloc.start()
    mirrored = world.run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert mirrored.plan.counts() == {State.UNCHANGED: 20_000}
    assert github.counts() == {"repositories": 1, "listing": 1000}
    assert peak < 100 << 20


# --- killed, and any history


@pytest.mark.parametrize("remembers", [False, True])
def test_a_run_that_is_killed_after_any_request_is_brought_to_its_end_by_the_next(remembers: bool) -> None:  # noqa: FBT001
    for requests in range(1, 61):
        world = World(lines="memory://imip/*", to="\n".join(f"repo:o/r{number}" for number in range(6)))
        world.remembers = remembers
        for number in range(6):
            world.github.add(f"o/r{number}")
            world.github.edit(Scope(Kind.REPOSITORY, "o", f"r{number}"), "FOREIGN", "theirs")
        world.store.secrets = {f"imip/s{number}": secret(f"first {number}") for number in range(8)}
        world.run()
        world.store.secrets |= {
            f"imip/s{number}": secret(f"second {number}", changed=world.github.now) for number in range(6)
        }
        world.github.dies_after = requests
        finished = False
        try:
            world.run()
            finished = True
        except KilledError:
            pass
        changed = {f"S{number}" for number in range(6)}
        first = {call.split()[2] for call in world.writes()}
        world.github.dies_after = None
        world.run()
        again = {call.split()[2] for call in world.writes()}
        assert first | again == changed
        assert not (finished and again)
        expected = {f"S{number}": f"{'second' if number < 6 else 'first'} {number}" for number in range(8)}
        for number in range(6):
            assert world.github.values(Scope(Kind.REPOSITORY, "o", f"r{number}")) == {**expected, "FOREIGN": "theirs"}
        world.run()
        assert world.writes() == []


class History:
    """Anything that people, stores and runs can do to one another, one thing after the other."""

    WIDTH: ClassVar = {Visibility.SELECTED: 0, Visibility.PRIVATE: 1, Visibility.ALL: 2}
    SCOPES: ClassVar = [A, B, ORG]

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)  # noqa: S311 - a game of chance
        self.world = World(store=Versioned({"imip/s0": secret("0")}), remembers=True)
        self.ours: set[tuple[Scope, str]] = set()
        self.count = 0

    def live(self) -> None:
        for _ in range(self.chance.randint(3, 6)):
            self.change_store()
            self.meddle()
            self.sync()

    def change_store(self) -> None:
        for number in range(4):
            self.count += 1
            if self.chance.random() < 0.4:
                self.world.store.secrets[f"imip/s{number}"] = secret(f"v{self.count}", changed=self.world.github.now)
            elif self.chance.random() < 0.3:
                self.world.store.secrets.pop(f"imip/s{number}", None)

    def meddle(self) -> None:
        """Write, edit and delete as somebody else does."""
        github = self.world.github
        for scope in self.SCOPES:
            for name in ("S0", "S1", "S2", "S3", "FOREIGN"):
                luck = self.chance.random()
                if luck < 0.15:
                    github.later(30)
                    visibility = self.chance.choice(list(Visibility)) if scope is ORG else None
                    github.edit(scope, name, "theirs", visibility)
                    self.ours.discard((scope, name))
                elif luck < 0.2:
                    github.held(scope).pop(name, None)
                    self.ours.discard((scope, name))

    def sync(self) -> None:
        world, chance = self.world, self.chance
        org = chance.choice(["", "?repos=a", "?repos=a,b"])
        lines = [line for line in (f"memory://imip/s{number}?optional" for number in range(4)) if chance.random() < 0.8]
        world.lines = "\n".join(lines or ["memory://imip/s0?optional"])
        only = chance.choice(["", "?only=S0,S1", "?app=actions"])
        world.to = f"repo:o/a{only}\nrepo:o/b\norg:o{org}"
        world.remembers = chance.random() < 0.85
        world.settings = {
            "sync-prune": "true" if world.remembers and chance.random() < 0.6 else "false",
            "sync-force": chance.choice(["false", "false", "true"]),
            "sync-visibility": chance.choice(["private", "selected"]),
            "sync-dry-run": chance.choice(["false", "false", "true"]),
        }
        before = {scope: dict(world.github.held(scope)) for scope in self.SCOPES}
        world.github.dies_after = chance.choice([None, None, chance.randint(1, 15)])
        with suppress(KilledError):
            world.run()
        world.github.dies_after = None
        self.check(before, narrowed=bool(org))

    def check(self, before: dict[Scope, dict[str, Held]], *, narrowed: bool) -> None:
        """See that what was deleted was ours, and that nothing is seen by more than before."""
        for scope, was in before.items():
            now = self.world.github.held(scope)
            for name, held in was.items():
                if name not in now:
                    assert (scope, name) in self.ours, f"{name} was somebody else's"
                    self.ours.discard((scope, name))
                elif held.visibility is not None:
                    seen_by = now[name].visibility
                    assert seen_by is not None
                    assert self.WIDTH[seen_by] <= self.WIDTH[held.visibility]
                    if seen_by is Visibility.SELECTED and held.visibility is Visibility.SELECTED and not narrowed:
                        assert now[name].selected == held.selected
            for name, held in now.items():
                if held != was.get(name) and held.value != "theirs":
                    self.ours.add((scope, name))


@pytest.mark.parametrize("first", range(0, 1000, 125))
def test_in_no_history_is_a_foreign_secret_deleted_or_a_visibility_widened(first: int) -> None:
    for seed in range(first, first + 125):
        history = History(seed)
        try:
            history.live()
        except AssertionError as error:
            error.add_note(f"seed {seed}") if hasattr(error, "add_note") else None
            raise
