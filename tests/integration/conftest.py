"""A person at a terminal: the usual variables lead to the servers that a module has started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stand_ins.aws import REGION

if TYPE_CHECKING:
    from stand_ins.aws import Aws
    from stand_ins.vault import Vault


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
