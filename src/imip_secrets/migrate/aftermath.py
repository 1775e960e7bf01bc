"""What is to be done by hand once the secrets are in their store: the lines to paste, and the commands to consider."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

IGNORED = (".env", ".env.*", "!.env.example", "*.pem", "*.key", "secrets.json")

_NO_LETTER = re.compile(r"\W", re.ASCII)


class Goal(NamedTuple):
    """Where the secrets are now.

    Args:
        scheme: ``aws``, ``vault``, ``azure`` or ``github``.
        reference: How a reference names them; of GitHub, the scope.
        environment: What the application calls this environment.
        region: AWS's region, or "".
        address: Vault's address, or "".

    """

    scheme: str
    reference: str
    environment: str
    region: str = ""
    address: str = ""


def next_steps(
    goal: Goal, keys: Sequence[str], tracked: Sequence[str], past: Sequence[str], folder: str = ""
) -> Iterator[str]:
    """Give the lines for the application, its deployments and its workflow, and what to do about the files.

    Args:
        goal: Where the secrets are now.
        keys: Their names.
        tracked: The files that git has in the next commit.
        past: The files that git's history has.
        folder: Where ``tracked`` begins, or "" for the folder that one is in.

    """
    yield "Next, by hand:"
    if goal.scheme == "github":
        yield "\n# the workflow\nenv:"
        yield from (f"  {key}: ${{{{ secrets.{key.upper()} }}}}" for key in keys)
    else:
        yield "\n# the application\nfrom imip_secrets import load_secrets\n\nsecrets = load_secrets()"
        yield from (f'{_NO_LETTER.sub("_", key)} = secrets["{key}"]' for key in keys)
        variables = dict(_variables(goal))
        yield "\n# compose.yaml, in the service\nenvironment:"
        yield from (f"  - {name}={value}" for name, value in variables.items())
        yield "\n# the Kubernetes manifest, in the container\nenv:"
        yield from (f'  - name: {name}\n    value: "{value}"' for name, value in variables.items())
        yield f"\n# the workflow\n- uses: org/imip-secrets-action@v1\n  with:\n{_inputs(goal)}    secrets: |"
        yield f"      {goal.reference}"
    yield "\n# .gitignore"
    yield from IGNORED
    if tracked:
        yield "\n# these files are in git; this takes them out of the next commit and leaves them on disk"
        # Not as patterns: a file may be called "*.env".
        where = f" -C {_quoted(folder)}" if folder else ""
        yield f"git{where} --literal-pathspecs rm --cached -- {' '.join(map(_quoted, tracked))}"
    if past:
        yield (
            "\n# ROTATE EVERY SECRET THAT WAS EVER COMMITTED FIRST: whoever has a clone or a fork has it, and a new "
            "history takes it from nobody.\n# Then, on a fresh clone, with everybody told (all commit ids change):"
        )
        paths = " ".join(f"--path={_quoted(path)}" for path in past)
        yield f"git filter-repo --invert-paths {paths}\ngit push --force --mirror"


def _variables(goal: Goal) -> Mapping[str, str]:
    shown = {"ENVIRONMENT": goal.environment}
    path = goal.reference.partition("://")[2]
    if goal.scheme == "aws":
        return {**shown, "AWS_REGION": goal.region or "REGION", "SECRET_NAME": path}
    if goal.scheme == "vault":
        return {**shown, "VAULT_ADDR": goal.address or "VAULT_ADDR", "VAULT_SECRET_PATH": path.partition("/")[2]}
    return {**shown, "AZURE_KEY_VAULT_URL": f"https://{path.partition('/')[0]}.vault.azure.net/"}


def _inputs(goal: Goal) -> str:
    if goal.scheme == "aws":
        region = goal.region or "REGION"
        return f"    aws-region: {region}\n    aws-role-to-assume: arn:aws:iam::ACCOUNT_ID:role/imip-ci\n"
    if goal.scheme == "vault":
        return f"    vault-addr: {goal.address or 'VAULT_ADDR'}\n    vault-role: imip-ci\n"
    return "    azure-tenant-id: TENANT_ID\n    azure-client-id: CLIENT_ID\n"


def _quoted(path: str) -> str:
    return "'" + tame(path, 200).replace("'", "'\\''") + "'"
