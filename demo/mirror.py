"""The second half of the demonstration: the same secrets go to GitHub's own, by a workflow that runs three times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spellings import spellings
from stand_ins import act

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stand_ins.github import GitHub
    from stand_ins.oidc import Issuer
    from stand_ins.vault import Vault

WORKFLOW = Path(__file__).parent / "sync.yml"
ORGANISATION = "octo-org"
# Where secrets are to be in the end: the place as the stand-in calls it, whose secrets, and which names ("" for all).
PLACES = (
    ("repo:octo-org/app", "actions", ""),
    ("repo:octo-org/app", "dependabot", ""),
    ("env:octo-org/app/production", "actions", "MONGO_URI"),
    ("org:octo-org", "actions", "OPENAI_API_KEY"),
)
HOME, MANIFEST = "repo:octo-org/octo-repo", "IMIP_SYNC_MANIFEST"
RUNS = (
    ("The plan alone (demo/sync.yml, with sync-dry-run)", "true"),
    ("The same, carried out", "false"),
    ("Once more, though nothing changed", "false"),
)


class Mirror:
    """GitHub, and the workflow that writes to it.

    Args:
        github: The stand-in for GitHub; it is served elsewhere.
        issuer: Where the job gets its ID token.
        vault: Where the secrets are, and the App's private key.

    """

    def __init__(self, github: GitHub, issuer: Issuer, vault: Vault) -> None:
        """Make an organisation with two repositories, and an App that may write their secrets."""
        self._github, self._issuer = github, issuer
        github.repository(HOME.removeprefix("repo:"))
        github.repository("octo-org/app").environment("production")
        may = ("secrets", "dependabot_secrets", "environments", "organization_secrets")
        app = github.app("imip-sync", **dict.fromkeys(may, "write"))
        github.install(app, ORGANISATION)
        vault.put("secret/github-app", {"private_key": app.pem})
        self._variables = {"VAULT_ADDR": vault.url, "GITHUB_API": github.url, "APP_ID": str(app.id)}

    def run(self, wanted: Mapping[str, str], title: Callable[[str], None], show: Callable[[act.Job], None]) -> bool:
        """Run the workflow three times, show it, and return whether GitHub has what the store has in the end."""
        for words, dry in RUNS:
            title(words)
            job, requests, writes = self._once(dry)
            if not job.succeeded:
                print(f"The job failed. What act printed:\n{job.log}")
                return False
            show(job)
            if any(text in job.log for value in wanted.values() for text in spellings(value)):
                print("LEAKED: the log shows a value.")
                return False
            print(f"    -> {requests} requests to GitHub, {writes} of them to write a secret.")
            if writes and (dry == "true" or words == RUNS[-1][0]):
                print("Nothing was to be written.")
                return False
        return self._has(wanted)

    def _once(self, dry: str) -> tuple[act.Job, int, int]:
        self._github.forget()
        # GitHub hands a secret to a run that is queued after it was written.
        remembered = self._github.values(HOME).get(MANIFEST, "")
        job = act.run(
            WORKFLOW.read_text(encoding="utf-8"),
            issuer=self._issuer,
            variables={**self._variables, "DRY_RUN": dry},
            hidden={MANIFEST: remembered},
        )
        secrets = [one for one in self._github.writes() if "/secrets/" in one.path]
        return job, len(self._github.sent), len(secrets)

    def _has(self, wanted: Mapping[str, str]) -> bool:
        """Say whether every place has its secrets, byte for byte."""
        for place, app, only in PLACES:
            values = {name: value for name, value in wanted.items() if only in {"", name}}
            if self._github.values(place, app) != values:
                print(f"{place} ({app}) has other secrets than it is to have.")
                return False
        live = [token for token in self._github.access.tokens.values() if token.installation and not token.revoked]
        if live:
            print(f"{len(live)} tokens of the App were not revoked.")
            return False
        print(
            f"{len(PLACES)} places in GitHub have the store's secrets, byte for byte, and the App's tokens are revoked."
        )
        return True
