from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imip_secrets.errors import ImipError, MissingError, StoreError
from imip_secrets.migrate import aftermath, github, plan
from imip_secrets.migrate.apply import apply
from imip_secrets.migrate.plan import Item, State, plan_each, plan_object, report
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Target
from imip_secrets.stores.writers.changed import ChangedError
from imip_secrets.sync.base import Existing, Kind, Scope, Written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imip_secrets.sync.base import GitHub, Put

VALUE = "s3cret-value"
PATH = Target("imip/production")


class Kept:
    """A store in memory, to be written; each write is a version."""

    def __init__(self, **secrets: str) -> None:
        self.secrets = {path.replace("__", "/"): [value] for path, value in secrets.items()}
        self.writes: list[str] = []
        self.spoil = False

    def login(self) -> str:
        return "who we are"

    def fetch(self, target: Target) -> Found:
        versions = self.secrets.get(target.path)
        if not versions:
            what = "nothing is there"
            raise MissingError(what)
        return Found(Secret(versions[-1]), version=str(len(versions)))

    def list(self, target: Target, *, deep: bool) -> Sequence[Target]:  # noqa: ARG002  # Store's signature
        return []

    def write(self, target: Target, value: Secret, before: Found | None) -> None:
        versions = self.secrets.setdefault(target.path, [])
        if len(versions) != int(before.version if before else 0):
            raise ChangedError(target.path)
        self.writes.append(target.path)
        versions.append("{}" if self.spoil else value.reveal())

    def close(self) -> None:
        pass


def secrets(**values: str) -> dict[str, Secret]:
    return {key: Secret(value) for key, value in values.items()}


def planned(store: Kept, values: Mapping[str, Secret], *, update: bool = False) -> Item:
    (item,) = plan_object(store, PATH, values, update=update)
    return item


def test_a_secret_that_is_not_there_is_created_with_every_key() -> None:
    store = Kept()
    item = planned(store, secrets(A="1", B="ü"))
    assert (item.state, item.new) == (State.CREATE, ("A", "B"))
    apply([item], store, lambda _: None)
    assert store.secrets["imip/production"] == ['{"A":"1","B":"ü"}']


def test_a_second_run_changes_nothing() -> None:
    store = Kept()
    apply([planned(store, secrets(A="1"))], store, lambda _: None)
    again = planned(store, secrets(A="1"))
    apply([again], store, lambda _: None)
    assert again.state is State.SAME
    assert len(store.writes) == 1


def test_what_is_there_stays_unless_an_update_is_asked_for() -> None:
    store = Kept(imip__production='{"A":"0","KEEP":1.50}')
    item = planned(store, secrets(A=VALUE, B="2"))
    assert (item.state, item.new, item.changed, item.kept) == (State.STAYS, ("B",), ("A",), ("KEEP",))
    with pytest.raises(ImipError, match="nothing was written") as told:
        apply([item], store, lambda _: None)
    assert VALUE not in str(told.value)
    assert store.writes == []
    apply([planned(store, secrets(A=VALUE, B="2"), update=True)], store, lambda _: None)
    assert store.secrets["imip/production"][-1] == f'{{"A":"{VALUE}","KEEP":1.50,"B":"2"}}'


@pytest.mark.parametrize("there", ["plain text", "[1]", '{"A":1,"A":2}', "{}"])
def test_another_shape_is_left_as_it_is(there: str) -> None:
    store = Kept(imip__production=there)
    with pytest.raises(StoreError, match="is there, and"):
        planned(store, secrets(A="1"), update=True)
    assert store.writes == []


def test_what_somebody_changed_meanwhile_is_left_as_it_is() -> None:
    store = Kept(imip__production='{"A":"0"}')
    item = planned(store, secrets(A="1"), update=True)
    store.secrets["imip/production"].append('{"A":"theirs"}')
    with pytest.raises(ImipError, match="changed by somebody else meanwhile"):
        apply([item], store, lambda _: None)
    assert store.secrets["imip/production"][-1] == '{"A":"theirs"}'


def test_what_is_not_as_it_was_written_is_said() -> None:
    store = Kept()
    item = planned(store, secrets(A=VALUE))
    store.spoil = True
    with pytest.raises(ImipError, match="is not what was written when it is read back") as told:
        apply([item], store, lambda _: None)
    assert VALUE not in str(told.value)


def test_the_same_object_in_another_order_is_what_was_written() -> None:
    class Sorting(Kept):
        def fetch(self, target: Target) -> Found:
            found = super().fetch(target)
            return found._replace(value=Secret(json.dumps(json.loads(found.value.reveal()), sort_keys=True)))

    store = Sorting()
    apply([planned(store, secrets(B="2", A="1"))], store, lambda _: None)
    assert planned(store, secrets(B="2", A="1")).state is State.SAME


def test_each_key_can_be_a_secret_of_its_own() -> None:
    store = Kept(v__A="1", v__B="0")
    values = secrets(A="1", B="2", C="3")
    targets = {key: Target(f"v/{key}") for key in values}
    items = plan_each(store, targets, values, update=False)
    assert [item.state for item in items] == [State.SAME, State.STAYS, State.CREATE]
    items = plan_each(store, targets, values, update=True)
    said: list[str] = []
    apply(items, store, said.append)
    assert said == ["updated: v/B", "created: v/C"]


def test_the_plan_is_told_without_a_value() -> None:
    store = Kept(imip__production='{"A":"0","KEEP":"k33p"}')
    lines = list(report([planned(store, secrets(A=VALUE, B="2"))]))
    assert lines[0] == (
        "stays as it is: imip/production; new: B; other value: A; only there, kept: KEEP; it is there already, and "
        "--update was not given"
    )
    assert lines[1:] == ["1 stays as it is."]


def test_a_kill_between_any_two_writes_is_made_good_by_the_next_run() -> None:
    values = secrets(**{f"K{number}": str(number) for number in range(6)})
    targets = {key: Target(f"v/{key}") for key in values}
    for kept in range(6):
        store = Kept()

        def stop(_: str, store: Kept = store, kept: int = kept) -> None:
            if len(store.writes) > kept:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            apply(plan_each(store, targets, values, update=False), store, stop)
        apply(plan_each(store, targets, values, update=False), store, lambda _: None)
        assert store.writes == [target.path for target in targets.values()]


# --- GitHub -----------------------------------------------------------------------------------------------------------


class Hub:
    def __init__(self, *names: str) -> None:
        self.names = dict.fromkeys(names, "before")

    def listing(self, scope: Scope) -> dict[str, Existing]:  # noqa: ARG002  # GitHub's signature
        return {name: Existing(name) for name in self.names}

    def put(self, put: Put) -> Written:
        created = put.name not in self.names
        self.names[put.name] = put.value.reveal()
        return Written(created)


SCOPE = Scope(Kind.REPOSITORY, "org", "app")


def test_what_github_has_stays_unless_an_update_is_asked_for() -> None:
    hub: GitHub = Hub("A")  # type: ignore[assignment]  # as much of it as is used
    rows = github.plan(hub, SCOPE, secrets(a="1", B="2"), update=False)
    said: list[str] = []
    github.apply(hub, SCOPE, rows, said.append)
    assert said == ["left as it is: A", "created: B"]
    github.apply(hub, SCOPE, github.plan(hub, SCOPE, secrets(a="1"), update=True), said.append)
    assert said[-1] == "updated: A"
    assert "it is there already" in next(github.report(rows, SCOPE))


def test_what_github_does_not_take_is_known_before_it_is_asked() -> None:
    values = secrets(GITHUB_X="1", A="x" * 48 * 1024 + "y", EMPTY="", b="1", B="2") | {"A-B": Secret("1")}
    assert {problem.where for problem in github.check(values)} == {"GITHUB_X", "A", "EMPTY", "B", "A-B"}


# --- what is next -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        (aftermath.Goal("aws", "aws://imip/production", "production", "us-east-1"), "SECRET_NAME=imip/production"),
        (aftermath.Goal("vault", "vault://secret/imip/p", "p", "", "https://v"), "VAULT_SECRET_PATH=imip/p"),
        (aftermath.Goal("azure", "azure://imip-vault", "p"), "AZURE_KEY_VAULT_URL=https://imip-vault.vault.azure.net/"),
        (aftermath.Goal("github", "repo:o/a", ""), "A: ${{ secrets.A }}"),
    ],
)
def test_the_lines_to_paste_are_those_of_the_goal(goal: aftermath.Goal, words: str) -> None:
    text = "\n".join(aftermath.next_steps(goal, ["A"], [".env"], ["old/.env's"]))
    assert words in text
    assert "git --literal-pathspecs rm --cached -- '.env'" in text
    rotate, rewrite = text.index("ROTATE EVERY SECRET"), text.index("git filter-repo")
    assert rotate < rewrite
    assert "--path='old/.env'\\''s'" in text
    assert "\n.env\n" in text


def test_nothing_is_said_of_git_where_nothing_is_in_it() -> None:
    goal = aftermath.Goal("aws", "aws://a", "p")
    text = "\n".join(aftermath.next_steps(goal, ["A"], [], []))
    assert "filter-repo" not in text
    assert "rm --cached" not in text
    assert plan.State.CREATE.value == "create"
