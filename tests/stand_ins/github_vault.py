"""A real OpenBao for the daily test on GitHub: it trusts the tokens of this very repository's jobs, and no others.

``python -m stand_ins.github_vault`` prints ``url=...`` when it is ready, and ends by itself after some minutes.
"""

from __future__ import annotations

import os
import sys
import time

from stand_ins.vault import Vault

ISSUER = "https://token.actions.githubusercontent.com"
AUDIENCE = "imip-secrets-selftest"
ROLE = "selftest"
VALUE = "from-openbao-through-oidc"
ENDS_AFTER = 600.0


def set_up(vault: Vault, issuer: str, repository: str) -> None:
    """Let jobs of a repository read one secret, with the tokens that an issuer gives them."""
    vault.do("POST", "sys/auth/jwt", {"type": "jwt"})
    vault.do("POST", "auth/jwt/config", {"oidc_discovery_url": issuer, "bound_issuer": issuer})
    vault.policy(ROLE, {f"secret/data/{ROLE}": ["read"]})
    vault.role(ROLE, audience=AUDIENCE, policies=[ROLE], bound_claims={"repository": repository})
    vault.put(f"secret/{ROLE}", {"key": VALUE})


def main() -> None:
    """Serve."""
    with Vault() as vault:
        set_up(vault, ISSUER, os.environ["GITHUB_REPOSITORY"])
        sys.stdout.write(f"url={vault.url}\n")
        sys.stdout.flush()
        time.sleep(ENDS_AFTER)


if __name__ == "__main__":
    main()
