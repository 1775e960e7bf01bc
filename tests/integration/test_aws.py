"""The AWS store against moto's server, with ID tokens that GitHub's stand-in signed."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import jwt
import pytest

from imip_secrets.deadline import Deadline
from imip_secrets.errors import MissingError, StoreError
from imip_secrets.runner.id_token import source
from imip_secrets.settings import Settings
from imip_secrets.stores.aws import secrets_manager
from imip_secrets.stores.base import Context, Target
from stand_ins.aws import ACCOUNT, ROLE, Aws
from stand_ins.delay import DelayProxy
from stand_ins.faults import FaultServer, answer
from stand_ins.oidc import Issuer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imip_secrets.secret import Secret

PRODUCTION = {"SECRET_KEY": "s3cret", "MONGO_URI": "mongodb+srv://u:p@c/imip"}


@pytest.fixture(scope="module")
def server() -> Iterator[Aws]:
    with Aws() as started:
        yield started


@pytest.fixture
def moto(server: Aws) -> Aws:
    """The server, empty."""
    server.reset()
    return server


class Job:
    """A job with a store that is open, and all that the store told us."""

    def __init__(self, issuer: Issuer, url: str, **settings: str) -> None:
        self.protected: list[Secret] = []
        self.notices: list[str] = []
        deadline = Deadline(30)
        given = {name.replace("_", "-"): value for name, value in settings.items()}
        base = {"aws-region": "us-east-1", "aws-role-to-assume": ROLE, "aws-endpoint-url": url}
        context = Context(
            settings=Settings({**base, **given}),
            id_token=source(issuer.environ(), deadline, lambda _: None, self.notices.append),
            protect=self.protected.append,
            notice=self.notices.append,
            deadline=deadline,
        )
        self.store = secrets_manager.open_store(context)
        self.line = ""

    def __enter__(self) -> secrets_manager.AwsStore:
        self.line = self.store.login()
        return self.store

    def __exit__(self, *_: object) -> None:
        self.store.close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


def test_a_secret_is_read_with_a_fresh_token_for_aws_alone(moto: Aws, issuer: Issuer) -> None:
    version = moto.put("imip/production", PRODUCTION)
    moto.forget_calls()
    job = Job(issuer, moto.url, aws_role_session_name="imip-secrets-1234")
    with job as store:
        found = store.fetch(Target("imip/production"))
    assert json.loads(found.value.reveal()) == PRODUCTION
    assert found.version == version
    assert found.changed is not None
    assert found.changed.tzinfo is not None
    assert job.line.startswith(f"assumed arn:aws:sts::{ACCOUNT}:assumed-role/imip-ci/imip-secrets-1234 until ")

    login, read = moto.calls
    assert (login.operation, read.operation) == ("AssumeRoleWithWebIdentity", "GetSecretValue")
    assert login.key == ""
    token = login.parameters["WebIdentityToken"]
    assert issuer.asked == ["sts.amazonaws.com"]
    assert issuer.issued == [token]
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == "sts.amazonaws.com"
    assert read.key == job.protected[0].reveal()
    assert len(job.protected) == 3


def test_plain_names_need_get_secret_value_alone(moto: Aws, issuer: Issuer) -> None:
    moto.put_many(["a", "b/c", "/d"])
    moto.forget_calls()
    with Job(issuer, moto.url) as store:
        for name in ("a", "b/c", "/d"):
            store.fetch(Target(name))
    assert [call.operation for call in moto.calls] == ["AssumeRoleWithWebIdentity"] + ["GetSecretValue"] * 3
    assert moto.reads() == ["a", "b/c", "/d"]


def test_text_and_bytes_come_back_as_they_were_put(moto: Aws, issuer: Issuer) -> None:
    texts = ['{"a": 1.0}', " \r\n\t ", "ünï\u2028\u0000", "x" * 65_536]
    data = bytes(range(256)) * 16
    for number, text in enumerate(texts):
        moto.put(f"text-{number}", text)
    moto.put("data", data)
    with Job(issuer, moto.url) as store:
        assert [store.fetch(Target(f"text-{number}")).value.reveal() for number in range(len(texts))] == texts
        assert store.fetch(Target("data")).value.reveal_bytes() == data


def test_versions_are_read_by_id_and_by_label(moto: Aws, issuer: Issuer) -> None:
    first = moto.put("a", "one")
    moto.put("a", "two")
    moto.put("a", "three", stage="AWSPENDING")
    with Job(issuer, moto.url) as store:
        values = [
            store.fetch(target).value.reveal()
            for target in (
                Target("a"),
                Target("a", stage="AWSPREVIOUS"),
                Target("a", stage="AWSPENDING"),
                Target("a", version=first),
            )
        ]
    assert values == ["two", "one", "three", "one"]


def test_arns_and_regions_are_honoured_with_one_login(moto: Aws, issuer: Issuer) -> None:
    moto.put("a", "here")
    moto.put("a", "there", region="eu-west-1")
    moto.put("a", "in China", region="cn-north-1")
    moto.forget_calls()
    targets = [
        Target("a"),
        Target("a", region="eu-west-1"),
        Target(moto.arn("a", region="eu-west-1")),
        Target(moto.arn("a", region="cn-north-1")),
    ]
    moto.forget_calls()
    with Job(issuer, moto.url) as store:
        values = [store.fetch(target).value.reveal() for target in targets]
    assert values == ["here", "there", "there", "in China"]
    assert [call.region for call in moto.calls] == ["", "us-east-1", "eu-west-1", "eu-west-1", "cn-north-1"]
    assert len(issuer.asked) == 1


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target("nothing"), f"there is no secret nothing in us-east-1 (account {ACCOUNT})"),
        (Target("elsewhere"), "Check the name and the region"),
        (Target("deleted"), "is deleted, or scheduled for it"),
        (Target("there", version="0" * 32), f"has no version {'0' * 32}"),
        (Target("there", stage="AWSPREVIOUS"), "there is no secret there"),  # moto's words for a missing label
        (Target("empty"), "there is no secret empty"),  # likewise
    ],
)
def test_what_is_not_there_is_missing(moto: Aws, issuer: Issuer, target: Target, words: str) -> None:
    moto.put("there", "value")
    moto.put("elsewhere", "value", region="eu-west-1")
    moto.put("deleted", "value")
    moto.delete("deleted")
    moto.put_empty("empty")
    with Job(issuer, moto.url) as store, pytest.raises(MissingError) as caught:
        store.fetch(target)
    assert words in str(caught.value)


def test_a_listing_goes_over_all_pages_and_leaves_out_what_is_deleted(moto: Aws, issuer: Issuer) -> None:
    names = [f"imip/n{number:03}" for number in range(250)]
    moto.put_many([*names, "imip/deep/er", "IMIP/other", "imipx", "imip/gone"])
    moto.delete("imip/gone")
    moto.forget_calls()
    with Job(issuer, moto.url) as store:
        flat = store.list(Target("imip/", stage="AWSCURRENT"), deep=False)
        deep = store.list(Target("imip/"), deep=True)
        start = store.list(Target("imip/n00"), deep=False)
    assert [target.path for target in flat] == names
    assert {target.stage for target in flat} == {"AWSCURRENT"}
    assert [target.path for target in deep] == ["imip/deep/er", *names]
    assert [target.path for target in start] == names[:10]
    assert [call.operation for call in moto.calls[1:]] == ["ListSecrets"] * 7
    assert moto.reads() == []


def test_nothing_that_is_listed_is_an_empty_list(moto: Aws, issuer: Issuer) -> None:
    moto.put("a", "value")
    with Job(issuer, moto.url) as store:
        assert list(store.list(Target("b"), deep=True)) == []
        assert list(store.list(Target("a", region="eu-west-1"), deep=True)) == []


def test_a_fault_on_the_way_does_not_show(moto: Aws, issuer: Issuer) -> None:
    moto.put("a", "value")
    with FaultServer(upstream=moto.url) as between:
        between.script(answer(503), "reset", when=lambda request: b"AssumeRole" in request.body)
        between.script("close", answer(500), when=lambda request: "x-amz-target" in request.headers)
        with Job(issuer, between.url) as store:
            assert store.fetch(Target("a")).value.reveal() == "value"
    assert len(issuer.asked) == 1


def test_a_job_without_the_right_to_a_token_asks_aws_for_nothing(moto: Aws, issuer: Issuer) -> None:
    issuer.fail_next(403)
    moto.forget_calls()
    with pytest.raises(Exception, match="id-token: write"), Job(issuer, moto.url):
        pass
    assert moto.calls == []


# Long enough that what a busy machine needs for fifty answers is short beside fifty of them.
ROUND_TRIP = 0.4


def test_fifty_reads_overlap(moto: Aws, issuer: Issuer) -> None:
    names = [f"n{number}" for number in range(50)]
    moto.put_many(names)
    parts = urlsplit(moto.url)
    with DelayProxy(str(parts.hostname), int(parts.port or 0), ROUND_TRIP) as far, Job(issuer, far.url) as store:
        moto.forget_calls()
        started = time.monotonic()
        with ThreadPoolExecutor(32) as threads:
            found = list(threads.map(lambda name: store.fetch(Target(name)), names))
        took = time.monotonic() - started
    assert len(found) == 50
    assert took < 50 * ROUND_TRIP  # what one after the other would take at least
    assert sorted(moto.reads()) == sorted(names)


def test_no_error_of_the_store_shows_a_token(moto: Aws, issuer: Issuer) -> None:
    with Job(issuer, moto.url) as store, pytest.raises(StoreError) as caught:
        store.fetch(Target("nothing"))
    assert issuer.issued
    assert not any(part in str(caught.value) for token in issuer.issued for part in token.split("."))


def test_a_version_is_told_without_its_value(moto: Aws, issuer: Issuer) -> None:
    first = moto.put("a", "one")
    second = moto.put("a", "two")
    with Job(issuer, moto.url) as store:
        for target in (Target("a"), Target("a", stage="AWSPREVIOUS"), Target("a", version=first)):
            version = store.version_of(target)
            assert version is not None
            assert version.id == store.fetch(target).version
        assert store.version_of(Target("a")) == (second, None)
        assert store.version_of(Target("a", version="none")) is None
        with pytest.raises(MissingError):
            store.version_of(Target("nowhere"))
