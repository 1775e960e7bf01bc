"""``mode: audit`` as a step: what it says of a store that describes its secrets."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, cast

import pytest

from imip_secrets.errors import StoreError
from imip_secrets.stores.describing import DESCRIBERS
from imip_secrets.stores.describing.facts import Facts
from job import Job
from stand_ins.memory import Memory, denied, missing

if TYPE_CHECKING:
    from pathlib import Path

    from imip_secrets.stores.base import Context, Target

VALUE = "correct-horse/battery+staple"


class Described(Memory):
    """A store in memory that tells how old its secrets are, in days."""

    def __init__(self, ages: dict[str, int | StoreError], **more: bool) -> None:
        super().__init__(dict.fromkeys(ages, VALUE))
        self.ages = ages
        self.rotation = more.get("rotation")

    def open_describer(self, _: Context) -> Described:
        return self

    def describe(self, target: Target) -> Facts:
        self._note(f"describe {target.path}")
        age = self.ages.get(target.path, missing())
        if isinstance(age, StoreError):
            raise age
        return Facts(changed=datetime.now(timezone.utc) - timedelta(days=age), rotation=self.rotation, versions=3)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.fixture(autouse=True)
def described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, str]", DESCRIBERS), "memory", "store_in_memory_memory")


def errors(job: Job) -> list[str]:
    return [text for kind, text in job.log().issues if kind == "error"]


def test_what_is_too_old_fails_the_step_and_no_value_is_read(job: Job) -> None:
    store = Described({"imip/old": 91, "imip/young": 89})
    assert job.run("memory://imip/old\nmemory://imip/young", store, mode="audit") == 1
    (breach,) = errors(job)
    assert breach.startswith("memory://imip/old is 91 days old, older than 90. Rotate it:")
    assert store.fetched() == ()
    assert store.calls[-1] == "close"
    summary = job.summary.read_text(encoding="utf-8")
    assert "imip/old" in summary
    assert "imip/young" in summary
    out = job.stdout.decode()
    assert "1 finding." in out
    assert VALUE not in out + summary
    assert job.log().environment == {"EARLIER": "1"}


def test_a_listing_is_judged_whole_and_nothing_wrong_is_success(job: Job) -> None:
    store = Described({"imip/a": 3, "imip/b": 4, "other": 999})
    assert job.run("memory://imip/*", store, mode="audit", audit_max_age="1w") == 0
    out = job.stdout.decode()
    assert "memory://imip/b" in out
    assert "other" not in out
    assert "Not seen: Memory: who read the secrets (it keeps no log of that)" in out
    assert "Nothing is against the rules, as far as could be seen." in out


def test_a_secret_that_its_store_does_not_rotate_breaks_that_rule_alone(job: Job) -> None:
    store = Described({"imip/a": 3}, rotation=False)
    assert job.run("memory://imip/a", store, mode="audit") == 0
    assert job.run("memory://imip/a", store, mode="audit", audit_require_rotation="true") == 1
    assert "memory://imip/a is not rotated by its store" in job.stdout.decode()


def test_what_cannot_be_described_is_a_row_of_question_marks_and_the_rest_is_judged(job: Job) -> None:
    store = Described({"imip/a": denied("memory:Describe"), "imip/old": 91})
    assert job.run("memory://imip/a\nmemory://imip/none\nmemory://imip/old", store, mode="audit") == 1
    out = job.stdout.decode()
    assert "Not seen: memory://imip/a: access is denied. Allow memory:Describe." in out
    assert "Not seen: memory://imip/none: there is no such secret." in out
    assert len(errors(job)) == 1


def test_a_login_that_is_refused_is_the_error(job: Job) -> None:
    store = Described({"imip/a": 3})
    store.identity = denied("memory:Login")
    assert job.run("memory://imip/a", store, mode="audit") == 1
    assert errors(job) == ["Memory: access is denied. Allow memory:Login."]
    assert store.calls == ["login", "close"]


def test_a_store_that_tells_nothing_but_values_is_named(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(cast("dict[str, str]", DESCRIBERS), "memory")
    store = Described({"imip/a": 999})
    assert job.run("memory://imip/a", store, mode="audit") == 0
    assert "Not seen: Memory: it tells nothing but values" in job.stdout.decode()
    assert store.calls == []


def test_the_page_is_written_into_the_workspace(job: Job) -> None:
    store = Described({"imip/old": 91})
    assert job.run("memory://imip/old", store, mode="audit", audit_html="audit.html") == 1
    page = (job.workspace / "audit.html").read_text(encoding="utf-8")
    assert "memory://imip/old" in page
    assert VALUE not in page


def test_no_days_at_all_look_for_no_readers_here_as_at_the_command_line(job: Job) -> None:
    store = Described({"imip/a": 3})
    assert job.run("memory://imip/a", store, mode="audit", audit_days="0", audit_html="audit.html") == 0
    assert "who read the secrets" not in job.stdout.decode()
    assert "Readers: not looked for." in (job.workspace / "audit.html").read_text(encoding="utf-8")


def test_an_age_that_is_none_is_said_before_the_store_is_asked(job: Job) -> None:
    store = Described({"imip/a": 3})
    assert job.run("memory://imip/a", store, mode="audit", audit_max_age="3 months") == 1
    (error,) = errors(job)
    assert error.startswith("input audit-max-age: '3 months' is no age. Write it like 90d, 12h or 4w.")
    assert store.calls == []
