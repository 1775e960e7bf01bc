from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError, MissingError, Problem, StoreError
from imip_secrets.rotate import managed
from imip_secrets.rotate.rotation import Means, Wish, rotate
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Target
from imip_secrets.stores.writers.changed import ChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OLD, OTHER = "the-old-value", "the-other-value"
PATH = Target("imip/production")
WISH = Wish(PATH, "KEY")
BOTH = [WISH, Wish(PATH, "OTHER")]


class Killed(BaseException):
    """The process is gone."""


class Kept:
    """A store in memory that may be killed before or after any of its calls."""

    def __init__(self, value: str = f'{{"KEY":"{OLD}","OTHER":"{OTHER}"}}') -> None:
        self.versions = [value]
        self.side: str | None = None
        self.calls: list[str] = []
        self.kill_at = 0
        self.kill_after = False

    def _called(self, name: str, do: Callable[[], None] = lambda: None) -> None:
        self.calls.append(name)
        is_end = len(self.calls) == self.kill_at
        if is_end and not self.kill_after:
            raise Killed
        do()
        if is_end:
            raise Killed

    def login(self) -> str:
        return "who we are"

    def list(self, target: Target, *, deep: bool) -> Sequence[Target]:  # noqa: ARG002  # Store's signature
        return []

    def close(self) -> None:
        pass

    def fetch(self, target: Target) -> Found:
        self._called("fetch")
        if target.path != PATH.path:
            what = "nothing is there"
            raise MissingError(what)
        return Found(Secret(self.versions[-1]), version=str(len(self.versions)))

    def write(self, target: Target, value: Secret, before: Found | None) -> None:
        raise NotImplementedError

    def staged(self, target: Target) -> Found | None:  # noqa: ARG002  # Rotatable's signature
        self._called("staged")
        return Found(Secret(self.side)) if self.side is not None else None

    def stage(self, target: Target, value: Secret) -> None:  # noqa: ARG002  # Rotatable's signature
        self._called("stage", lambda: setattr(self, "side", value.reveal()))

    def switch(self, target: Target, staged: Found, before: Found) -> None:
        def do() -> None:
            if before.version != str(len(self.versions)):
                raise ChangedError(target.path)
            self.versions.append(staged.value.reveal())

        self._called("switch", do)

    def clear(self, target: Target) -> None:  # noqa: ARG002  # Rotatable's signature
        self._called("clear", lambda: setattr(self, "side", None))


class Maker:
    def __init__(self) -> None:
        self.made: list[str] = []
        self.said: list[str] = []

    def means(self, verify: Callable[[Wish, Secret], None] = lambda _wish, _new: None) -> Means:
        return Means(self.make, verify, self.said.append)

    def make(self) -> Secret:
        self.made.append(f"new-value-{len(self.made)}")
        return Secret(self.made[-1])


def test_a_key_gets_a_new_value_and_the_others_stay() -> None:
    store, maker = Kept(), Maker()
    rotate([WISH], store, maker.means())
    assert store.versions[-1] == f'{{"KEY":"new-value-0","OTHER":"{OTHER}"}}'
    assert store.side is None
    assert [call for call in store.calls if call in {"stage", "switch", "clear"}] == ["stage", "switch", "clear"]
    assert not any(value in line for value in (OLD, "new-value-0") for line in maker.said)


def test_a_whole_value_is_replaced() -> None:
    store, maker = Kept("plain"), Maker()
    rotate([Wish(PATH, None)], store, maker.means())
    assert store.versions == ["plain", "new-value-0"]


@pytest.mark.parametrize("after", [False, True])
def test_killed_between_any_two_steps_and_run_again_it_converges(after: bool) -> None:  # noqa: FBT001
    dry, maker = Kept(), Maker()
    rotate([WISH], dry, maker.means())
    for number in range(1, len(dry.calls) + 1):
        store, maker = Kept(), Maker()
        store.kill_at, store.kill_after = number, after
        with pytest.raises(Killed):
            rotate([WISH], store, maker.means())
        store.kill_at = 0
        rotate([WISH], store, maker.means())
        assert len(store.versions) == (3 if _had_ended(store, number, after, dry) else 2), number
        assert store.versions[0] == f'{{"KEY":"{OLD}","OTHER":"{OTHER}"}}'
        assert store.versions[-1] == f'{{"KEY":"{maker.made[-1]}","OTHER":"{OTHER}"}}'
        assert store.side is None


def _had_ended(_store: Kept, number: int, after: bool, dry: Kept) -> bool:  # noqa: FBT001
    """Tell whether the first run had done all of it: a second one is then a rotation of its own."""
    return after and number == len(dry.calls)


@pytest.mark.parametrize("after", [False, True])
def test_two_keys_get_new_values_at_once_wherever_it_is_killed(after: bool) -> None:  # noqa: FBT001
    dry, maker = Kept(), Maker()
    rotate(BOTH, dry, maker.means())
    assert dry.versions[1:] == ['{"KEY":"new-value-0","OTHER":"new-value-1"}']
    assert dry.calls.count("switch") == 1
    assert [line.partition(":")[0] for line in maker.said] == ["imip/production#KEY", "imip/production#OTHER"]
    for number in range(1, len(dry.calls) + 1 - after):
        store, maker = Kept(), Maker()
        store.kill_at, store.kill_after = number, after
        with pytest.raises(Killed):
            rotate(BOTH, store, maker.means())
        store.kill_at = 0
        rotate(BOTH, store, maker.means())
        # The version before has both old values, and no key has a value that was given up.
        assert store.versions[:-1] == [f'{{"KEY":"{OLD}","OTHER":"{OTHER}"}}'], number
        assert store.versions[-1] == f'{{"KEY":"{maker.made[-2]}","OTHER":"{maker.made[-1]}"}}'
        assert store.side is None


def test_a_stopped_rotation_of_one_key_is_taken_up_with_another_one() -> None:
    store, maker = Kept(), Maker()
    store.side = f'{{"KEY":"staged","OTHER":"{OTHER}"}}'
    rotate(BOTH, store, maker.means())
    assert store.versions[1:] == ['{"KEY":"staged","OTHER":"new-value-0"}']


def test_a_value_that_does_not_work_keeps_the_other_one_back_too() -> None:
    store, maker = Kept(), Maker()

    def verify(wish: Wish, _new: Secret) -> None:
        if wish.key == "OTHER":
            raise ImipError(Problem("it does not work"))

    with pytest.raises(ImipError, match="does not work"):
        rotate(BOTH, store, maker.means(verify))
    assert (len(store.versions), store.side) == (1, None)


@pytest.mark.parametrize("keys", [("KEY", "NONE"), ("KEY", None), (None, "KEY")])
@pytest.mark.parametrize("value", [f'{{"KEY":"{OLD}"}}', "text"])
def test_wishes_that_one_secret_cannot_fulfil_leave_it_as_it_is(value: str, keys: tuple[str | None, ...]) -> None:
    store = Kept(value)
    with pytest.raises(StoreError):
        rotate([Wish(PATH, key) for key in keys], store, Maker().means())
    assert (store.versions, store.side) == ([value], None)


def test_what_was_staged_is_taken_up_rather_than_made_anew() -> None:
    store, maker = Kept(), Maker()
    store.side = f'{{"KEY":"staged","OTHER":"{OTHER}"}}'
    rotate([WISH], store, maker.means())
    assert maker.made == []
    assert '"KEY":"staged"' in store.versions[-1]


def test_what_others_changed_since_it_was_staged_is_kept() -> None:
    store, maker = Kept('{"KEY":"a","OTHER":"changed since"}'), Maker()
    store.side = '{"KEY":"staged","OTHER":"before"}'
    rotate([WISH], store, maker.means())
    assert store.versions[-1] == '{"KEY":"staged","OTHER":"changed since"}'


def test_a_stopped_rotation_of_another_key_is_not_taken_for_this_one() -> None:
    store, maker = Kept('{"KEY":"a","OTHER":"b"}'), Maker()
    store.side = '{"KEY":"a","OTHER":"new"}'
    with pytest.raises(StoreError, match="a rotation of another key of this secret was stopped"):
        rotate([WISH], store, maker.means())
    assert len(store.versions) == 1


def test_a_value_that_does_not_work_is_discarded_and_the_old_one_stays() -> None:
    store, maker = Kept(), Maker()

    def verify(_wish: Wish, _new: Secret) -> None:
        what = "it does not work"
        raise ImipError(Problem(what))

    with pytest.raises(ImipError, match="does not work"):
        rotate([WISH], store, maker.means(verify))
    assert len(store.versions) == 1
    assert store.side is None


def test_verify_is_given_the_new_value_before_anybody_reads_it() -> None:
    store, maker = Kept(), Maker()
    seen: list[tuple[str, int]] = []
    rotate([WISH], store, maker.means(lambda _wish, new: seen.append((new.reveal(), len(store.versions)))))
    assert seen == [("new-value-0", 1)]


def test_what_somebody_changed_meanwhile_stays() -> None:
    store, maker = Kept(), Maker()
    with pytest.raises(ChangedError):
        rotate([WISH], store, maker.means(lambda _wish, _new: store.versions.append('{"KEY":"theirs"}')))
    assert store.versions[-1] == '{"KEY":"theirs"}'


@pytest.mark.parametrize(
    ("value", "key", "words"),
    [
        ('{"A":"x"}', None, "is a JSON object, and would be replaced as a whole"),
        ("text", "KEY", "is no JSON object, so it has no keys"),
        ('{"A":"x"}', "KEY", "there is no such key with a text"),
        ('{"KEY":1}', "KEY", "there is no such key with a text"),
        ('{"A":1,"A":2}', "A", "is no JSON object"),
    ],
)
def test_another_shape_is_left_as_it_is(value: str, key: str | None, words: str) -> None:
    store, maker = Kept(value), Maker()
    with pytest.raises(StoreError, match=words):
        rotate([Wish(PATH, key)], store, maker.means())
    assert store.versions == [value]
    assert store.side is None


def test_what_is_not_as_it_was_staged_is_said() -> None:
    class Spoiling(Kept):
        def stage(self, target: Target, value: Secret) -> None:  # noqa: ARG002  # Rotatable's signature
            self.side = '{"KEY":"spoilt"}'

    store, maker = Spoiling(), Maker()
    with pytest.raises(ImipError, match="is not what was staged when it is read back"):
        rotate([WISH], store, maker.means())
    assert len(store.versions) == 1


def test_what_is_not_as_it_was_switched_to_is_said() -> None:
    class Spoiling(Kept):
        def switch(self, target: Target, staged: Found, before: Found) -> None:  # noqa: ARG002  # Rotatable's signature
            self.versions.append("{}")

    store, maker = Spoiling(), Maker()
    with pytest.raises(ImipError, match="is not what was switched to when it is read back"):
        rotate([WISH], store, maker.means())


# --- AWS's own rotation -----------------------------------------------------------------------------------------------


class Function:
    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.begun: list[tuple[str, int]] = []

    def start_rotation(self, target: Target, function: str, days: int) -> str:  # noqa: ARG002  # Managed's signature
        self.begun.append((function, days))
        return "v2"

    def has_rotated(self, target: Target, version: str) -> bool:  # noqa: ARG002  # Managed's signature
        self.looks -= 1
        return self.looks < 0


def test_aws_s_own_rotation_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "_LOOK_EVERY", 0.0)
    function, said = Function(11), list[str]()
    managed.rotate(PATH, function, managed.Rule("arn", 30), Deadline(300), said.append)
    assert function.begun == [("arn", 30)]
    assert [line.partition(": ")[2] for line in said] == [
        "waiting for the rotation function",
        "waiting for the rotation function",
        "rotated by AWS; the value before is still readable (AWSPREVIOUS)",
    ]


def test_a_function_that_does_not_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "_LOOK_EVERY", 0.01)
    with pytest.raises(StoreError, match=r"did not end within 0.05 s\. The old value is still current\."):
        managed.rotate(PATH, Function(10_000), managed.Rule(), Deadline(0.05), lambda _: None)
