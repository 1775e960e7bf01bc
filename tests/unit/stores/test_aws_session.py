from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import EndpointVariantError
from botocore.loaders import Loader
from botocore.session import Session

from imip_secrets.stores.aws.session import AwsSession
from imip_secrets.stores.base import Target
from stand_ins.aws_script import KEYS, Run, secret
from stand_ins.faults import FaultServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGIONS = [
    (region, partition["id"])
    for partition in Loader().load_data("partitions")["partitions"]
    for region in partition["regions"]
    if not region.endswith("-global")
]
ONE_OF_EACH = {partition: region for region, partition in reversed(REGIONS)}
OPERATIONS: dict[str, tuple[str, dict[str, object]]] = {
    "sts": (
        "assume_role_with_web_identity",
        {"RoleArn": "r" * 20, "RoleSessionName": "session", "WebIdentityToken": "a.b.c"},
    ),
    "secretsmanager": ("get_secret_value", {"SecretId": "a"}),
    "ssm": ("get_parameters", {"Names": ["a"]}),
}


def addressed(client: Any, service: str) -> tuple[object, ...]:  # noqa: ANN401  # botocore ships no types
    """Return where a client would send a request, and for which region and service it would sign."""
    seen: list[str] = []

    def before_call(params: dict[str, str], **_: object) -> tuple[SimpleNamespace, dict[str, object]]:
        seen.append(params["url"])
        return SimpleNamespace(status_code=200), {}

    client.meta.events.register_first("before-call", before_call)
    operation, parameters = OPERATIONS[service]
    try:
        getattr(client, operation)(**parameters)
    except Exception as error:  # noqa: BLE001  # a combination that botocore refuses is to be refused by ours
        seen.append(type(error).__name__)
    signer = client._request_signer
    return (*seen, signer.region_name, signer.signing_name)


@pytest.fixture(scope="module")
def stock() -> Session:
    """A botocore as it is, for comparison."""
    return Session()


@pytest.fixture
def ours() -> Iterator[AwsSession]:
    with Run(url="") as run:
        session = AwsSession(run.context)
        session.credentials = Session().get_component("credential_provider") and _credentials()
        yield session
        session.close()


def _credentials() -> Any:  # noqa: ANN401  # botocore ships no types
    from botocore.credentials import Credentials  # noqa: PLC0415

    return Credentials(*KEYS)


def both(stock: Session, ours: AwsSession, service: str, region: str) -> tuple[object, object]:
    """Return the address of ours and of botocore's; (), when botocore makes no client."""
    mine = addressed(ours.client(service, region), service)
    try:
        theirs = stock.create_client(
            service, region_name=region, aws_access_key_id="a", aws_secret_access_key="b", config=Config()
        )
    except EndpointVariantError:
        return mine, ()
    return mine, addressed(theirs, service)


@pytest.mark.parametrize("service", OPERATIONS)
def test_every_region_has_the_address_that_botocore_gives_it(stock: Session, ours: AwsSession, service: str) -> None:
    pairs = [both(stock, ours, service, region) for region, _ in REGIONS]
    assert len(pairs) > 30
    assert all(mine == theirs for mine, theirs in pairs), [pair for pair in pairs if pair[0] != pair[1]]


@pytest.mark.parametrize("service", OPERATIONS)
@pytest.mark.parametrize("variables", [("FIPS",), ("DUALSTACK",), ("FIPS", "DUALSTACK")])
def test_fips_and_dual_stack_addresses_are_those_of_botocore(
    ours: AwsSession, service: str, variables: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in variables:
        monkeypatch.setenv(f"AWS_USE_{name}_ENDPOINT", "true")
    pairs = [both(Session(), ours, service, region) for region in ONE_OF_EACH.values()]
    assert all(mine == (theirs or mine) for mine, theirs in pairs), [pair for pair in pairs if pair[0] != pair[1]]
    assert [theirs for _, theirs in pairs if theirs]
    assert "fips" in str(pairs) or "api.aws" in str(pairs)


def test_addresses_of_the_environment_count_only_where_it_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    with FaultServer() as evil:
        config.write_text(f"[default]\nendpoint_url = {evil.url}\nservices = all\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_SECRETS_MANAGER"):
            monkeypatch.setenv(name, evil.url)
        for ambient in (False, True):
            with Run(url="", ambient=ambient) as run:
                session = AwsSession(run.context)
                urls = {str(addressed(session.client(service, "us-east-1"), service)[0]) for service in OPERATIONS}
                session.close()
            assert all(url.startswith(evil.url) == ambient for url in urls), urls
        with Run(secret("right")) as run:
            assert run.logged_in().fetch(Target("a")).value.reveal() == "right"
        assert evil.requests == []


@pytest.mark.parametrize("ambient", [False, True])
def test_models_from_the_home_directory_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    ambient: bool,  # noqa: FBT001  # a case
) -> None:
    for service in OPERATIONS:
        folder = tmp_path / ".aws" / "models" / service / "2099-01-01"  # botocore takes the newest
        folder.mkdir(parents=True)
        rules = {"version": "1.0", "parameters": {}, "rules": [{"conditions": [], "type": "endpoint"}]}
        rules["rules"][0]["endpoint"] = {"url": "https://evil.example"}  # type: ignore[index]  # a literal from above
        (folder / "endpoint-rule-set-1.json").write_text(json.dumps(rules))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path / ".aws" / "models"))
    monkeypatch.setattr(Loader, "CUSTOMER_DATA_PATH", str(tmp_path / ".aws" / "models"))
    with Run(url="", ambient=ambient) as run:
        session = AwsSession(run.context)
        urls = [str(addressed(session.client(service, "us-east-1"), service)[0]) for service in OPERATIONS]
        session.close()
    assert urls == [f"https://{service}.us-east-1.amazonaws.com/" for service in ("sts", "secretsmanager", "ssm")]


def test_a_client_is_made_once_for_a_region() -> None:
    with Run() as run:
        session = AwsSession(run.context)
        first = session.client("sts", "us-east-1")
        assert session.client("sts", "us-east-1") is first
        assert session.client("sts", "eu-west-1") is not first
        session.close()


def test_the_sdk_says_nothing_of_what_it_reads(caplog: pytest.LogCaptureFixture) -> None:
    levels = {name: logging.getLogger(name).level for name in ("", "botocore", "urllib3")}
    caplog.set_level(logging.INFO)
    with Run(secret("a-canary-value")) as run:
        run.logged_in().fetch(Target("a"))
    assert "canary" not in caplog.text
    assert KEYS[1] not in caplog.text
    assert logging.getLogger("botocore").level == levels["botocore"]
    assert logging.getLogger("urllib3").level == levels["urllib3"]
