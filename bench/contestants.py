"""Who is measured: this action, and others from their checkouts, each asked for the same secrets."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from bench.serve import AUDIENCE, ROLE, path
from stand_ins.aws import REGION
from stand_ins.aws import ROLE as AWS_ROLE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bench.serve import Servers

# For each kind of case the checkouts of the others: their steps, in order.
PEERS = {"aws": ("PEER_AWS_CREDENTIALS", "PEER_AWS_SECRETS"), "vault": ("PEER_VAULT_ACTION",)}

Steps = list[tuple["Sequence[str]", dict[str, str]]]


def missing(kind: str) -> list[str]:
    """Return what the others need and is not there."""
    wanted = [] if shutil.which("node") else ["node"]
    return wanted + [name for name in PEERS[kind] if not _script(name).is_file()]


def our_inputs(kind: str, servers: Servers, names: Collection[str]) -> dict[str, str]:
    """Return the inputs of this action."""
    if kind == "aws":
        return {
            "aws-region": REGION,
            "aws-role-to-assume": AWS_ROLE,
            "aws-endpoint-url": servers.aws,
            "secrets": "\n".join(f"{name} = aws://{path(name)}" for name in names),
        }
    return {
        "vault-addr": servers.vault,
        "vault-role": ROLE,
        "vault-audience": AUDIENCE,
        "secrets": "\n".join(f"{name} = vault://secret/{path(name)}#value" for name in names),
    }


def their_steps(kind: str, servers: Servers, names: Collection[str], copies: Path | None = None) -> Steps:
    """Return the steps of the others, none of which may be missing: from fresh copies where there is a folder."""
    if kind == "aws":
        login = {"aws-region": REGION, "role-to-assume": AWS_ROLE}
        # Their SDK takes the address from the environment.
        address = {"AWS_ENDPOINT_URL": servers.aws}
        ids = "\n".join(f"{name},{path(name)}" for name in names)
        return [
            _step("PEER_AWS_CREDENTIALS", login, address, copies),
            _step("PEER_AWS_SECRETS", {"secret-ids": ids}, address, copies),
        ]
    wanted = ";\n".join(f"secret/data/{path(name)} value | {name}" for name in names)
    login = {"url": servers.vault, "method": "jwt", "role": ROLE, "jwtGithubAudience": AUDIENCE}
    return [_step("PEER_VAULT_ACTION", {**login, "secrets": wanted}, {}, copies)]


def _script(variable: str) -> Path:
    return Path(os.environ.get(variable) or os.devnull, "dist", "index.js").absolute()


def _step(
    variable: str, inputs: dict[str, str], environ: dict[str, str], copies: Path | None
) -> tuple[Sequence[str], dict[str, str]]:
    """Run the action as the runner does (actions/runner ``Handler.cs``): its defaults too, names in upper case."""
    script = _script(variable)
    if copies is not None:
        folder = copies / variable.lower()
        folder.mkdir()
        shutil.copy(script.parents[1] / "action.yml", folder)
        shutil.copytree(script.parent, folder / "dist")
        script = folder / "dist" / script.name
    action = yaml.safe_load((script.parents[1] / "action.yml").read_text(encoding="utf-8"))
    defaults = {name: str(each["default"]) for name, each in action["inputs"].items() if "default" in each}
    texts = {
        name: "true" if text == "True" else "false" if text == "False" else text for name, text in defaults.items()
    }
    given = {f"INPUT_{name.upper().replace(' ', '_')}": text for name, text in {**texts, **inputs}.items()}
    return [shutil.which("node") or "node", str(script)], {**given, **environ}
