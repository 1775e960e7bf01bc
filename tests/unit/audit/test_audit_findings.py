from __future__ import annotations

import json
import shlex
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.audit import cost, hub, page, survey, text, vault_log
from imip_secrets.audit.findings import Audit, Reader, Rules, Secret, judge
from imip_secrets.errors import ImipError
from imip_secrets.stores.describing.aws import Read, _read
from imip_secrets.stores.describing.facts import Facts
from imip_secrets.sync.base import App, Existing, Kind, Scope

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def secret(
    path: str = "imip/production", scheme: str = "aws", readers: tuple[Reader, ...] = (), **facts: object
) -> Secret:
    return Secret(scheme, path, Facts(**facts), readers)  # type: ignore[arg-type]  # the names are those of Facts


def audited(*secrets: Secret, breaches: tuple[str, ...] = (), unseen: tuple[str, ...] = ()) -> Audit:
    return Audit(secrets, breaches, unseen, 7.0, 30, NOW)


# --- rules ------------------------------------------------------------------------------------------------------------


def test_a_value_that_is_too_old_is_found_with_the_command_that_renews_it() -> None:
    rules = Rules(timedelta(days=90))
    (found,) = judge([secret(changed=ago(90)), secret(changed=ago(89)), secret()], rules, NOW)
    assert found == (
        "aws://imip/production is 90 days old, older than 90. Rotate it: imip-secrets rotate 'aws://imip/production#KEY'."
    )


def test_a_name_that_a_store_gives_is_one_word_of_the_command_to_paste() -> None:
    path = "imip/it's; id #"
    (found,) = judge([secret(path, changed=ago(90))], Rules(timedelta(days=90)), NOW)
    command = found.partition("Rotate it: ")[2].rstrip(".")
    assert shlex.split(command) == ["imip-secrets", "rotate", f"aws://{path}#KEY"]


def test_a_secret_that_nobody_reads_is_found() -> None:
    rules = Rules(max_unused=timedelta(days=30))
    log = (Reader("a", 1, ago(1), 0), Reader("b", 1, ago(40), 0))
    found = list(judge([secret(accessed=ago(31)), secret(accessed=ago(2)), secret(readers=log), secret()], rules, NOW))
    assert len(found) == 1
    assert "was read last 31 days ago" in found[0]


def test_a_secret_that_is_not_rotated_is_found_where_the_store_could() -> None:
    found = list(
        judge([secret(rotation=False), secret(rotation=True), secret(rotation=None)], Rules(rotation=True), NOW)
    )
    assert len(found) == 1
    assert "is not rotated by its store" in found[0]


def test_what_could_not_be_described_breaks_no_rule() -> None:
    rules = Rules(timedelta(days=1), timedelta(days=1), rotation=True)
    assert list(judge([Secret("vault", "a/b", None)], rules, NOW)) == []


def test_the_cost_is_that_of_the_guide() -> None:
    assert cost.monthly(5, 1_000_000) == pytest.approx(7.0)
    assert cost.calls_a_month(10, 10) == 30
    assert cost.calls_a_month(10, 0) == 0


# --- logs -------------------------------------------------------------------------------------------------------------


def event(**record: object) -> dict[str, object]:
    return {"EventTime": NOW, "Username": "user", "CloudTrailEvent": json.dumps(record)}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            event(requestParameters={"secretId": "a"}, userIdentity={"arn": "arn:aws:iam::123456789012:user/x"}),
            Read("a", "arn:aws:iam::123456789012:user/x", NOW, denied=False),
        ),
        (event(requestParameters={"secretId": "a"}, errorCode="AccessDenied"), Read("a", "user", NOW, denied=True)),
        (event(requestParameters=None), None),
        (event(requestParameters={"secretId": 3}), None),
        ({"EventTime": NOW, "CloudTrailEvent": "no json"}, None),
        ({"EventTime": NOW, "CloudTrailEvent": "[]"}, None),
        ({"EventTime": NOW, "CloudTrailEvent": "[" * 100_000}, None),
        (event(requestParameters=["a"]), None),
        (event(requestParameters={"secretId": "a"}, userIdentity="me"), None),
        ({"CloudTrailEvent": '{"requestParameters": {"secretId": "a"}}'}, None),
    ],
)
def test_an_event_of_cloudtrail_is_a_reading_or_none(found: dict[str, object], expected: Read | None) -> None:
    assert _read(found) == expected


@pytest.mark.parametrize(
    ("asked", "path", "same"),
    [
        ("imip/production", "imip/production", True),
        ("arn:aws:secretsmanager:us-east-1:1:secret:imip/production-AbCdEf", "imip/production", True),
        ("arn:aws:secretsmanager:us-east-1:1:secret:imip/production", "imip/production", True),
        ("arn:aws:secretsmanager:us-east-1:1:secret:imip/production-2-AbCdEf", "imip/production", False),
        ("imip/production-2", "imip/production", False),
        ("imip/prod", "imip/production", False),
    ],
)
def test_a_name_in_the_log_is_that_of_one_secret_alone(asked: str, path: str, same: bool) -> None:  # noqa: FBT001
    assert survey._is_of(asked, path) is same


def entry(**changes: object) -> str:
    made = {
        "type": "response",
        "time": "2026-11-27T11:00:00.123456789Z",
        "auth": {"display_name": "jwt-repo"},
        "request": {"operation": "read", "path": "secret/data/imip/x", "mount_point": "secret/"},
    }
    return json.dumps({**made, **changes})


def test_the_file_of_an_audit_device_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    lines = [
        entry(),
        entry(error="permission denied"),
        entry(type="request"),
        entry(time="2026-01-01T00:00:00Z"),
        entry(request={"operation": "update", "path": "secret/data/imip/x"}),
        entry(request={"operation": "read", "path": "kv/x"}, auth=None),
        "{cut",
        "[" * 100_000,
        "[]",
        "null",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    found = list(vault_log.reads(path, 30, NOW))
    assert [(read.secret, read.who, read.denied) for read in found] == [
        ("secret/imip/x", "jwt-repo", False),
        ("secret/imip/x", "jwt-repo", True),
        ("kv/x", "somebody", False),
    ]


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImipError, match="cannot be read"):
        list(vault_log.reads(tmp_path / "none", 30))


# --- GitHub -----------------------------------------------------------------------------------------------------------

REPO = Scope(Kind.REPOSITORY, "org", "app")
ENV = Scope(Kind.ENVIRONMENT, "org", "app", "production")
BOTS = Scope(Kind.REPOSITORY, "org", "app", app=App.DEPENDABOT)


def named(*names: str) -> dict[str, Existing]:
    return {name: Existing(name) for name in names}


def test_what_comes_from_nowhere_is_double_or_unused_is_found(tmp_path: Path) -> None:
    text_ = "on: push\nenv:\n  A: ${{ secrets.A }}\n  B: ${{ secrets['b'] }}\n"
    (tmp_path / "ci.yml").write_text(text_, encoding="utf-8")
    (tmp_path / "folder.yml").mkdir()
    there = {REPO: named("A", "B", "OLD", "IMIP_SYNC_MANIFEST"), ENV: named("A"), BOTS: named("A", "B")}
    found = list(hub.judge(there, {"A", "B"}, tmp_path))
    assert found == [
        "OLD in repo:org/app comes from none of the references. Delete it if its source is gone, or add the reference.",
        "A is in repo:org/app, env:org/app/production: a job sees the one of the environment, else of the repository.",
        "OLD in repo:org/app is used by no workflow here. Delete it if nothing else needs it.",
    ]


@pytest.mark.parametrize("words", ["${{ toJSON(secrets) }}", "    secrets: inherit"])
def test_where_all_are_taken_it_cannot_be_told_which_are_used(tmp_path: Path, words: str) -> None:
    (tmp_path / "ci.yaml").write_text(f"jobs:\n{words}\n", encoding="utf-8")
    assert list(hub.judge({REPO: named("A")}, {"A"}, tmp_path)) == []
    assert "takes all of them" in hub.unseen(tmp_path)
    assert "no folder of workflows" in hub.unseen(tmp_path / "none")
    assert "no folder of workflows" in hub.unseen(None)


# --- how it is told ---------------------------------------------------------------------------------------------------

READERS = tuple(Reader(f"r{number}", 9 - number, ago(1), number % 2) for number in range(5))
FULL = secret(
    made=ago(400), changed=ago(100), accessed=ago(1), rotated=ago(100), rotation=True, versions=3, readers=READERS
)


def test_the_table_has_a_row_for_each_secret() -> None:
    lines = list(text.table(audited(FULL, Secret("vault", "a/b", None), breaches=("x is old.",), unseen=("who read",))))
    assert lines[1].split("  ")[0] == "aws://imip/production"
    for words in ("100 days", "1 day ago", "on", "3", "r0 9x, r1 8x (1 denied), r2 7x and 2 more"):
        assert words in lines[1]
    assert "?" in lines[2]
    assert lines[-4:] == [
        "FOUND: x is old.",
        "Not seen: who read",
        "AWS Secrets Manager asks for about $7.00 a month for these.",
        "1 finding.",
    ]
    assert list(text.table(audited(FULL, unseen=("x",))))[-1].endswith("as far as could be seen.")
    assert list(text.table(audited(FULL)))[-1] == "Nothing is against the rules."


def test_the_data_has_everything_and_no_value() -> None:
    data = json.loads(json.dumps(text.as_json(audited(FULL, Secret("vault", "a/b", None)))))
    assert data["secrets"][0]["age_days"] == 100
    assert data["secrets"][0]["readers"][1] == {"who": "r1", "times": 8, "last": ago(1).isoformat(), "denied": 1}
    assert data["secrets"][1]["changed"] is None
    assert data["cost_a_month"] == 7.0


class Reader_(HTMLParser):  # noqa: N801  # the name is taken
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows = self.bars = 0
        self.text = ""
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.rows += tag == "tr"
        self.bars += tag == "rect"
        assert not any(name.startswith("on") or name in {"src", "href"} for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(max_size=60))
def test_nothing_foreign_becomes_markup(name: str) -> None:
    hostile = f"<script>alert(1)</script>{name}\"'><img src=x onerror=y>"
    parsed = Reader_()
    parsed.feed(page.page(audited(secret(path=hostile, changed=ago(3)), breaches=(hostile,)), timedelta(days=1)))
    assert not parsed.tags & {"script", "img", "iframe", "link", "object"}
    assert (parsed.rows, parsed.bars) == (2, 1)
    summary = text.markdown(audited(secret(path=hostile, changed=ago(3))), lambda each: each)
    assert "<script" not in summary


def test_the_page_has_a_bar_for_each_age_and_marks_the_old_ones() -> None:
    html = page.page(
        audited(secret(changed=ago(100)), secret("young", changed=ago(1)), secret("x")), timedelta(days=90)
    )
    assert html.count("<rect") == 2
    assert html.count('class="bar old"') == 1
    assert '<line class="limit"' in html
    assert "default-src 'none'" in html
    assert '<line class="limit"' not in page.page(audited(secret(changed=ago(1))))
    assert page.page(audited()).count("<rect") == 0
