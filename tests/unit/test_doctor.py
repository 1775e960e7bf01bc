from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from imip_secrets import request
from imip_secrets.doctor import examine
from imip_secrets.errors import ImipError, Problem, StoreError
from imip_secrets.identity import IdToken
from imip_secrets.runner.delivery import unfit
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found
from spellings import shown
from stand_ins.memory import Memory, MemoryKept, context, denied, missing, registered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from imip_secrets.stores.base import Context
    from imip_secrets.variables import Variable
    from stand_ins.memory import Content

VALUE = "correct-horse/battery+staple"
TOKEN = "header.payload.signature-of-the-job"
CLAIMS = {"sub": "repo:octo-org/octo-repo:ref:refs/heads/main", "aud": "https://vault", "secret": VALUE}


class WithToken(Memory):
    """A store whose login asks for an ID token."""

    def open_store(self, given: Context) -> Memory:
        self.given = given
        return self

    def login(self) -> str:
        self.given.id_token("https://vault")
        return super().login()


def doctor(
    secrets: str, store: Memory, id_token: IdToken | ImipError | None = None, check: object = unfit
) -> tuple[list[str], list[str]]:
    """Return what the doctor says, and its problems."""
    said: list[str] = []

    def source(_: str) -> IdToken:
        if isinstance(id_token, ImipError):
            raise id_token
        assert id_token
        return id_token

    with registered(store):
        wanted = request.read({"secrets": secrets})
        problems = examine(wanted, context().asking(source), said.append, check)  # type: ignore[arg-type]  # a function
    return said, [str(problem) for problem in problems]


def test_the_claims_of_an_id_token_are_shown_and_never_the_token() -> None:
    said, problems = doctor("memory://a", WithToken({"a": VALUE}), IdToken(Secret(TOKEN), CLAIMS))
    assert said == [
        "ID token for https://vault: sub=repo:octo-org/octo-repo:ref:refs/heads/main, aud=https://vault",
        "Memory: who we are",
        "ok: A from line 1, memory://a",
        "All is well.",
    ]
    assert problems == []
    assert shown("\n".join(said), [TOKEN, VALUE]) == []


def test_no_id_token_is_a_problem_of_the_store_that_needs_it() -> None:
    refused = ImipError(Problem("the job has no permission", "ID token", "Add it."))
    said, problems = doctor("memory://a", WithToken({"a": VALUE}), refused)
    assert said == ["Nothing would be exported: 1 problem."]
    assert problems == ["ID token: the job has no permission. Add it."]


def test_a_refused_login_is_shown_after_the_claims_it_was_refused_with() -> None:
    store = WithToken({"a": VALUE}, login=StoreError("the role does not fit", "Mend it."))
    said, problems = doctor("memory://a", store, IdToken(Secret(TOKEN), CLAIMS))
    assert said[0].startswith("ID token for https://vault: sub=")
    assert problems == ["Memory: the role does not fit. Mend it."]


def test_each_line_is_said_to_be_readable_or_why_not() -> None:
    made = datetime.now(timezone.utc) - timedelta(days=3, hours=1)
    store: Mapping[str, Content] = {
        "a": Found(Secret(json.dumps({"X": VALUE, "Y": "5432"})), version="7", changed=made),
        "b": denied(),
        "c": missing(),
        "imip/d": VALUE,
        "imip/e": VALUE,
    }
    secrets = "memory://a\nmemory://b\nmemory://c\nC = memory://c?default=x\nmemory://c?optional\nmemory://imip/*"
    said, problems = doctor(secrets, Memory(store))
    assert said == [
        "Memory: who we are",
        "ok: X from line 1, memory://a (version 7, 3 days old)",
        "ok: Y from line 1, memory://a (version 7, 3 days old)",
        "ok: C from line 4, memory://c?default=x (the default: it is not there)",
        "ok: no variable from line 5, memory://c?optional: nothing is there, and it is optional",
        "ok: D from line 6, memory://imip/* (imip/d)",
        "ok: E from line 6, memory://imip/* (imip/e)",
        "Nothing would be exported: 2 problems.",
    ]
    assert problems == [
        "line 2, memory://b: access is denied. Allow memory:Read.",
        "line 3, memory://c: there is no such secret. Check the path.",
    ]
    assert shown("\n".join(said + problems), [VALUE]) == []


def test_a_listing_without_results_that_is_optional_is_well() -> None:
    said, problems = doctor("memory://imip/*?optional", Memory())
    assert said[1] == "ok: no variable from line 1, memory://imip/*?optional: nothing is there, and it is optional"
    assert problems == []


def test_names_that_collide_or_are_refused_are_problems() -> None:
    store = {"a": json.dumps({"X": "1", "LD_PRELOAD": "2"}), "b": json.dumps({"x": VALUE})}
    _, problems = doctor("memory://a\nmemory://b", Memory(store))
    assert len(problems) == 2
    assert any("LD_PRELOAD" in text for text in problems)
    assert any("X is given by line 1" in text for text in problems)


def test_what_keeps_variables_from_being_delivered_is_a_problem() -> None:
    seen: list[str] = []

    def check(variables: Sequence[Variable]) -> Iterable[Problem]:
        seen.extend(variable.name for variable in variables)
        return [Problem("no room"), Problem("no room")]

    said, problems = doctor("memory://a\nmemory://b", Memory({"a": VALUE, "b": b"\0"}), check=check)
    assert seen == ["A", "B"]
    assert problems == ["no room."]
    assert said[-1] == "Nothing would be exported: 1 problem."


def test_values_that_no_variable_can_hold_are_problems() -> None:
    _, problems = doctor("memory://b", Memory({"b": b"\0"}))
    assert len(problems) == 1
    assert problems[0].startswith("line 1, memory://b: the value of B holds a NUL byte")


def test_the_doctor_closes_what_it_opened() -> None:
    store = Memory({"a": VALUE})
    doctor("memory://a", store)
    assert store.calls == ["login", "fetch a", "close"]


def test_credentials_that_the_doctor_had_made_are_ended() -> None:
    kept = MemoryKept(["a"])
    assert doctor("memory://a\nmemory://b?optional", Memory({"a": VALUE}, kept=kept))[1] == []
    assert kept.calls == ["end"]
