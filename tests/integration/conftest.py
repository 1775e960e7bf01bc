"""The servers of a module, unless it starts its own, and a person at a terminal whose variables lead to them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from stand_ins.aws import REGION, Aws
from stand_ins.family import HARNESSES
from stand_ins.oidc import Issuer
from stand_ins.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stand_ins.family import Harness


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Sign the tokens of jobs."""
    with Issuer() as running:
        yield running


@pytest.fixture(scope="module")
def worlds(issuer: Issuer) -> Iterator[Callable[[str], Harness]]:
    """Give the world of a store, started when the first test wants it."""
    started: dict[str, Harness] = {}
    with ExitStack() as stack:

        def world(scheme: str) -> Harness:
            if scheme not in started:
                started[scheme] = stack.enter_context(HARNESSES[scheme](issuer))
            return started[scheme]

        yield world


@pytest.fixture(scope="module")
def vault() -> Iterator[Vault]:
    """Hold a KV engine of each version: ``secret`` and ``old``."""
    with Vault() as running:
        running.mount_kv("old", 1)
        yield running


@pytest.fixture(scope="module")
def moto() -> Iterator[Aws]:
    """Hold nothing yet."""
    with Aws() as running:
        yield running


@pytest.fixture
def at_vault(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Vault:
    """Lead to the module's ``vault``, with the right to do everything."""
    monkeypatch.setenv("VAULT_ADDR", vault.url)
    monkeypatch.setenv("VAULT_TOKEN", vault.root_token)
    return vault


@pytest.fixture
def aws_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have keys and a region."""
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": REGION}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def at_aws(moto: Aws, aws_keys: None, monkeypatch: pytest.MonkeyPatch) -> Aws:  # noqa: ARG001 - it sets variables
    """Lead to the module's ``moto``."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.url)
    return moto
