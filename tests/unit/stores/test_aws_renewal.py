"""A session that is over while secrets are read: one new login, and no more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from imip_secrets.errors import StoreError
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Target
from imip_secrets.stores.describing import open_describer
from imip_secrets.stores.writers import open_writer
from stand_ins.aws_script import KEYS, Run, refusal, secret, session, sts_refusal
from stand_ins.faults import json_answer

if TYPE_CHECKING:
    from collections.abc import Callable

OVER = refusal("ExpiredTokenException", "The security token included in the request is expired")
TARGET = Target("imip/production")
NEW = ("ASIAEXAMPLEKEY11", "another-secret-access-key/11", "another-session-token==")


def test_a_read_goes_on_with_a_new_session_and_a_fresh_id_token() -> None:
    with Run(OVER, secret("there"), login=(session(), session(keys=NEW))) as run:
        assert run.logged_in().fetch(TARGET).value.reveal() == "there"
        assert len(run.logins) == 2
        assert len(run.audiences) == 2
        assert run.protected == [*KEYS, *NEW]
        old, new = (request.headers["authorization"] for request in run.reads)
        assert KEYS[0] in old
        assert NEW[0] in new
        assert run.reads[-1].headers["x-amz-security-token"] == NEW[2]


def test_a_session_that_is_over_again_is_the_error() -> None:
    with Run(OVER) as run:
        store = run.logged_in()
        for tries in (2, 3):
            with pytest.raises(StoreError, match="the AWS session is over"):
                store.fetch(TARGET)
            assert len(run.reads) == tries
        assert len(run.logins) == 2


def test_a_new_login_that_is_refused_leaves_the_error_as_it_was() -> None:
    with Run(OVER, login=(session(), *[sts_refusal("AccessDenied", "no")] * 5)) as run:
        with pytest.raises(StoreError, match=r"the AWS session is over\. Let the session live longer"):
            run.logged_in().fetch(TARGET)
        assert len(run.reads) == 1
        assert len(run.logins) == 2


def test_a_new_login_with_an_id_token_that_is_over_too_does_not_hang() -> None:
    late = [sts_refusal("ExpiredTokenException", "Token expired")] * 5
    with Run(OVER, login=(session(), *late)) as run, pytest.raises(StoreError, match="the AWS session is over"):
        run.logged_in().fetch(TARGET)


def test_many_threads_share_the_new_login() -> None:
    with Run(secret("there"), login=(session(), session(keys=NEW))) as run:
        run.server.script(*[OVER] * 99, when=lambda request: KEYS[0] in request.headers.get("authorization", ""))
        store = run.logged_in()
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda number: store.fetch(Target(f"n{number}")), range(8)))
        assert {each.value.reveal() for each in found} == {"there"}
        assert len(run.logins) == 2


def test_a_listing_goes_on_at_its_page() -> None:
    first = json_answer({"SecretList": [{"Name": "imip/a"}], "NextToken": "t"})
    with Run(first, OVER, json_answer({"SecretList": [{"Name": "imip/b"}]})) as run:
        found = run.logged_in().list(Target("imip/"), deep=True)
        assert [each.path for each in found] == ["imip/a", "imip/b"]


def test_parameters_go_on_with_a_new_session_too() -> None:
    value = {"Name": "/imip/a", "Value": "there", "Version": 1, "LastModifiedDate": 1_700_000_000}
    there = json_answer({"Parameters": [value], "InvalidParameters": []})
    with Run(OVER, there, scheme="aws-ssm", login=(session(), session(keys=NEW))) as run:
        assert run.logged_in().fetch(Target("/imip/a")).value.reveal() == "there"
        assert len(run.logins) == 2
        assert NEW[0] in run.reads[-1].headers["authorization"]


VALUE, AT = Secret("a new value"), 1_700_000_000
PARAMETERS = {"Parameters": [{"Name": "/imip/a", "Value": "there", "Version": 1, "LastModifiedDate": AT}]}
VERSION = "v" * 32


@pytest.mark.parametrize(
    ("opened", "ask", "answer"),
    [
        ("aws-ssm", lambda store: store.list(Target("/imip/"), deep=True), PARAMETERS),
        ("aws-ssm", lambda store: store.list(Target("imip-"), deep=True), PARAMETERS),
        ("writer", lambda store: store.write(TARGET, VALUE, None), {"Name": "imip/production"}),
        ("writer", lambda store: store.stage(TARGET, VALUE), {"Name": "imip/production"}),
        ("writer", lambda store: store._move(TARGET, "AWSCURRENT", MoveToVersionId=VERSION), {}),
        ("writer", lambda store: store.start_rotation(TARGET, "", 0), {}),
        ("writer", lambda store: store.has_rotated(TARGET, VERSION), {}),
        ("describer", lambda store: store.describe(TARGET), {"CreatedDate": AT}),
        ("describer", lambda store: list(store.reads(TARGET, 30)), {"Events": []}),
        ("describer-ssm", lambda store: store.describe(Target("/imip/a")), PARAMETERS),
    ],
)
def test_whatever_is_asked_goes_on_with_a_new_session(
    opened: str, ask: Callable[[Any], object], answer: dict[str, object]
) -> None:
    scheme = "aws-ssm" if opened.endswith("ssm") else "aws"
    with Run(OVER, json_answer(answer), scheme=scheme, login=(session(), session(keys=NEW))) as run:
        store: Any = run.store
        if opened == "writer":
            store = open_writer("aws", run.context)
        if opened.startswith("describer"):
            store = open_describer(scheme, run.context)
        store.login()
        ask(store)
        store.close()
        assert len(run.logins) == len(run.audiences) == 2
        first, *others = (request.headers["authorization"] for request in run.reads)
        assert KEYS[0] in first
        assert others
        assert all(NEW[0] in other for other in others)
        assert run.reads[0].body == run.reads[1].body  # the same request, its token too


def test_a_write_that_comes_after_a_look_is_sent_once_with_the_new_session() -> None:
    written = json_answer({"Name": "imip/production", "VersionId": "n" * 32})
    with Run(secret("old", VersionId=VERSION), OVER, written, login=(session(), session(keys=NEW))) as run:
        writer: Any = open_writer("aws", run.context)
        writer.login()
        writer.write(TARGET, VALUE, Found(Secret("old"), version=VERSION))
        writer.close()
        assert [request.headers["x-amz-target"].partition(".")[2] for request in run.reads] == [
            "GetSecretValue",
            "PutSecretValue",
            "PutSecretValue",
        ]
        assert run.reads[1].body == run.reads[2].body


def test_credentials_that_we_did_not_make_are_not_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS[1])
    with Run(OVER, ambient=True, aws_role_to_assume="") as run:
        with pytest.raises(StoreError, match="the AWS session is over"):
            run.logged_in().fetch(TARGET)
        assert len(run.reads) == 1
        assert run.logins == []
