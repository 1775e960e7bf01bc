"""Parameter Store against moto's server; and both stores of AWS in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError, MissingError
from imip_secrets.request import read
from imip_secrets.resolve import resolve
from imip_secrets.runner.id_token import source
from imip_secrets.stores.aws import ssm as aws_ssm
from imip_secrets.stores.base import Context, Target
from stand_ins.aws import ROLE, Aws
from stand_ins.oidc import Issuer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imip_secrets.request import Request


@pytest.fixture(scope="module")
def server() -> Iterator[Aws]:
    with Aws() as started:
        yield started


@pytest.fixture
def moto(server: Aws) -> Aws:
    """The server, empty."""
    server.reset()
    return server


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


def request(moto: Aws, *lines: str) -> Request:
    return read(
        {
            "aws-region": "us-east-1",
            "aws-role-to-assume": ROLE,
            "aws-endpoint-url": moto.url,
            "secrets": "\n".join(lines),
        }
    )


def context(wanted: Request, issuer: Issuer) -> Context:
    deadline = Deadline(30)
    id_token = source(issuer.environ(), deadline, lambda _: None, lambda _: None)
    return Context(wanted.settings, id_token, lambda _: None, lambda _: None, deadline)


def variables(moto: Aws, issuer: Issuer, *lines: str) -> dict[str, str]:
    wanted = request(moto, *lines)
    resolved = resolve(wanted, context(wanted, issuer))
    return {variable.name: variable.value.reveal() for variable in resolved.variables}


@pytest.fixture
def store(moto: Aws, issuer: Issuer) -> Iterator[aws_ssm.SsmStore]:
    opened = aws_ssm.open_store(context(request(moto, "aws-ssm:///x"), issuer))
    opened.login()
    yield opened
    opened.close()


def operations(moto: Aws) -> list[str]:
    return [call.operation for call in moto.calls]


def test_every_kind_of_parameter_comes_as_it_was_put(moto: Aws, issuer: Issuer) -> None:
    moto.put_parameter("/imip/prod/db-password", "s3cret \n ü")
    moto.put_parameter("plain", "text", kind="String")
    moto.put_parameter("/imip/prod/hosts", "a,b,c", kind="StringList")
    moto.put_parameter("/imip/prod/config", '{"PORT": 5432, "HOST": "db"}')
    got = variables(
        moto,
        issuer,
        "aws-ssm:///imip/prod/db-password",
        "aws-ssm://plain",
        "HOSTS = aws-ssm:///imip/prod/hosts",
        "DB_* = aws-ssm:///imip/prod/config",
        "DB_NAME = aws-ssm:///imip/prod/nothing?default=imip",
    )
    assert got == {
        "DB_PASSWORD": "s3cret \n ü",
        "PLAIN": "text",
        "HOSTS": "a,b,c",
        "DB_PORT": "5432",
        "DB_HOST": "db",
        "DB_NAME": "imip",
    }


def test_forty_lines_are_four_requests(moto: Aws, issuer: Issuer) -> None:
    for number in range(40):
        moto.put_parameter(f"/imip/p{number:02}", f"value {number}")
    moto.forget_calls()
    got = variables(moto, issuer, *(f"aws-ssm:///imip/p{number:02}" for number in range(40)))
    assert got == {f"P{number:02}": f"value {number}" for number in range(40)}
    assert operations(moto) == ["AssumeRoleWithWebIdentity"] + ["GetParameters"] * 4


def test_both_stores_of_aws_share_one_login_and_one_id_token(moto: Aws, issuer: Issuer) -> None:
    moto.put("imip/production", {"A": "1"})
    moto.put_parameter("/imip/b", "2")
    moto.forget_calls()
    assert variables(moto, issuer, "aws://imip/production", "aws-ssm:///imip/b") == {"A": "1", "B": "2"}
    assert sorted(operations(moto)) == ["AssumeRoleWithWebIdentity", "GetParameters", "GetSecretValue"]
    assert issuer.asked == ["sts.amazonaws.com"]


def test_a_refused_login_is_told_once_after_one_try(moto: Aws, issuer: Issuer) -> None:
    issuer.fail_next(403)
    wanted = request(moto, "aws://imip/production", "aws-ssm:///imip/b")
    moto.forget_calls()
    with pytest.raises(ImipError) as caught:
        resolve(wanted, context(wanted, issuer))
    (problem,) = caught.value.problems
    assert "id-token: write" in str(problem)
    assert len(issuer.asked) == 1
    assert moto.calls == []


def test_versions_and_labels_are_read(moto: Aws, store: aws_ssm.SsmStore) -> None:
    moto.put_parameter("/imip/a", "one", labels=["prod"])
    moto.put_parameter("/imip/a", "two")
    moto.put_parameter("/imip/a", "three")
    wanted = [Target("/imip/a", version=version) for version in (None, "2", "prod", "1")]
    store.expect(wanted)
    assert [store.fetch(target).value.reveal() for target in wanted] == ["three", "two", "one", "one"]
    with pytest.raises(MissingError, match=r"has no version or label 9\. The current version is 3"):
        store.fetch(Target("/imip/a", version="9"))
    with pytest.raises(MissingError, match="has no version or label staging"):
        store.fetch(Target("/imip/a", version="staging"))


def test_a_path_is_listed_over_all_pages(moto: Aws, store: aws_ssm.SsmStore) -> None:
    names = [f"/imip/prod/n{number:03}" for number in range(35)]
    for name in [*names, "/imip/prod/deep/er", "/imip/production", "/other"]:
        moto.put_parameter(name, f"value of {name}")
    moto.forget_calls()
    flat = store.list(Target("/imip/prod/"), deep=False)
    assert [target.path for target in flat] == names
    assert [store.fetch(target).value.reveal() for target in flat] == [f"value of {name}" for name in names]
    assert operations(moto) == ["GetParametersByPath"] * 4
    deep = store.list(Target("/imip/prod/"), deep=True)
    assert [target.path for target in deep] == ["/imip/prod/deep/er", *names]
    assert [target.path for target in store.list(Target("/imip/prod"), deep=False)] == ["/imip/production"]


def test_regions_and_arns_are_honoured(moto: Aws, store: aws_ssm.SsmStore) -> None:
    moto.put_parameter("/a", "here")
    moto.put_parameter("/a", "there", region="eu-west-1")
    arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/a"
    targets = [Target("/a"), Target("/a", region="eu-west-1"), Target(arn)]
    store.expect(targets)
    assert [store.fetch(target).value.reveal() for target in targets] == ["here", "there", "there"]
