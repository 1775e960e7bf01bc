"""The OpenBao of the daily test on GitHub: jobs of one repository read one secret, with tokens of the issuer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imip_secrets.errors import StoreError
from imip_secrets.stores.base import Target
from stand_ins.github_vault import AUDIENCE, ROLE, VALUE, set_up
from stand_ins.oidc import OWNER, REPOSITORY, Issuer
from stand_ins.vault import Vault
from stand_ins.vault_script import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def vault(issuer: Issuer) -> Iterator[Vault]:
    with Vault() as running:
        set_up(running, issuer.url, f"{OWNER}/{REPOSITORY}")
        yield running


def caller(vault: Vault, issuer: Issuer, **claims: object) -> Caller:
    given = {"vault-addr": vault.url, "vault-role": ROLE, "vault-audience": AUDIENCE}
    return Caller(given, id_token=lambda audience: issuer.token(audience, **claims))


def test_a_job_of_the_repository_reads_the_secret(vault: Vault, issuer: Issuer) -> None:
    opened = caller(vault, issuer).store()
    opened.login()
    assert opened.fetch(Target(f"secret/{ROLE}")).value.reveal() == f'{{"key":"{VALUE}"}}'
    opened.close()


def test_a_job_of_another_repository_does_not(vault: Vault, issuer: Issuer) -> None:
    opened = caller(vault, issuer, repository="octo-org/other").store()
    with pytest.raises(StoreError, match="fit the claim repository"):
        opened.login()
    opened.close()
