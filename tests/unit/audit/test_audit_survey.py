"""What is asked of whom: AWS by a script, GitHub in memory."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from imip_secrets import request
from imip_secrets.audit.findings import Rules
from imip_secrets.audit.survey import Wish, survey
from imip_secrets.sync.base import Existing, Kind, Scope
from stand_ins.aws_script import SESSION, Run, secret
from stand_ins.faults import json_answer

if TYPE_CHECKING:
    from pathlib import Path

    from imip_secrets.request import Request
    from imip_secrets.sync.base import GitHub
    from stand_ins.faults import Request as Sent

AT = 1_700_000_000
RULES = Rules(timedelta(days=100_000))


class Listed:
    """A GitHub that has one secret in every scope."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def login(self) -> str:
        self.calls.append("login")
        return "who we are"

    def listing(self, scope: Scope) -> dict[str, Existing]:
        self.calls.append(scope.title)
        return {"SECRET_KEY": cast("Existing", None)}

    def close(self) -> None:
        self.calls.append("close")


def action(sent: Sent) -> str:
    return sent.headers.get("x-amz-target", "").rpartition(".")[2]


def wanted(run: Run, *lines: str) -> Request:
    given = {name: run.context.settings[name] for name in ("aws-region", "aws-role-to-assume", "aws-endpoint-url")}
    return request.read({"secrets": "\n".join(lines), **given})


def reading(name: str, who: str, **more: object) -> dict[str, object]:
    record = {"requestParameters": {"secretId": name}, "userIdentity": {"arn": who}, **more}
    return {"EventTime": AT, "Username": "u", "CloudTrailEvent": json.dumps(record)}


def test_the_trail_is_asked_once_for_each_region_and_tells_the_readers_of_each_secret() -> None:
    other = SESSION.replace("imip-secrets", "somebody")
    with Run(json_answer({"CreatedDate": AT, "LastChangedDate": AT})) as run:
        events = [
            reading("imip/a", SESSION),
            reading("imip/a", other),
            reading("imip/a", other, errorCode="AccessDenied"),
            reading("elsewhere", SESSION),
        ]
        run.server.script(
            *[json_answer({"Events": each}) for each in (events, [])], when=lambda sent: action(sent) == "LookupEvents"
        )
        found = survey(
            wanted(run, "aws://imip/a", "aws://imip/b", "aws://imip/c?region=eu-west-1"), run.context, Wish(RULES, 30)
        )
        asked = [action(sent) for sent in run.reads]
    assert asked.count("LookupEvents") == 2
    assert "GetSecretValue" not in asked
    readers = {each.path: [(who.times, who.denied) for who in each.readers] for each in found.secrets}
    assert readers == {"imip/a": [(2, 1), (1, 0)], "imip/b": [], "imip/c": []}
    assert found.unseen == ()


def test_no_trail_is_asked_where_no_days_are_wanted() -> None:
    with Run(json_answer({"CreatedDate": AT})) as run:
        found = survey(wanted(run, "aws://imip/a"), run.context, Wish(RULES, 0))
        assert [action(sent) for sent in run.reads] == ["DescribeSecret"]
    assert found.unseen == ()


def test_without_workflows_it_is_said_that_use_could_not_be_told(tmp_path: Path) -> None:
    github = Listed()
    wish = Wish(
        RULES,
        0,
        scopes=(Scope(Kind.REPOSITORY, "my-org", "app"),),
        github=lambda: cast("GitHub", github),
        workflows=tmp_path / "none",
    )
    with Run(json_answer({"CreatedDate": AT})) as run:
        run.server.script(secret("x"), when=lambda sent: action(sent) == "GetSecretValue")
        found = survey(wanted(run, "SECRET_KEY = aws://imip/a"), run.context, wish)
    assert found.breaches == ()
    (unseen,) = found.unseen
    assert "there is no folder of workflows here (--workflows)" in unseen
    assert github.calls[0] == "login"
    assert github.calls[-1] == "close"
