"""The step of ``rotate-secrets.yml`` as it stands there, with a ``docker`` that starts the program of this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stand_ins.vault import Vault

ROOT = Path(__file__).parents[2]
BASH = shutil.which("bash")
# Leaves out what is Docker's own: options with their values, and the image.
DOCKER = """#!{python}
import os, sys
words = sys.argv[1:]
assert words[0] == "run", words
rest = words[1:]
passed = set()
while rest[0].startswith("--"):
    option = rest.pop(0)
    if option == "--env":
        passed.add(rest.pop(0))
image, *command = rest
assert image == "ghcr.io/org/imip-secrets-action:v1", image
kept = {{name: os.environ[name] for name in (*passed, "PATH") if name in os.environ}}
kept["VAULT_TOKEN"] = os.environ["TEST_TOKEN"]
os.execve(sys.executable, [sys.executable, "-m", "imip_secrets", *command], {{**kept, "PYTHONPATH": "{src}"}})
"""


def step() -> dict[str, Any]:
    workflow = yaml.safe_load((ROOT / ".github/workflows/rotate-secrets.yml").read_text(encoding="utf-8"))
    (found,) = workflow["jobs"]["rotate"]["steps"]
    assert isinstance(found, dict)
    return found


@pytest.mark.skipif(BASH is None or os.name == "nt", reason="the workflow runs on Linux")
def test_the_step_rotates_what_its_inputs_name(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(DOCKER.format(python=sys.executable, src=ROOT / "src"), encoding="utf-8")
    docker.chmod(0o755)
    with Vault() as vault:
        vault.put("secret/imip/production", {"SECRET_KEY": "the-old-one", "OTHER": "stays"})
        given = {
            **dict.fromkeys(step()["env"], ""),
            "IMAGE": step()["env"]["IMAGE"],
            "SECRETS": "# every quarter\nvault://secret/imip/production#SECRET_KEY\n",
            "KIND": "hex",
            "LENGTH": "32",
            "DRY_RUN": "false",
            "VAULT_ADDR": vault.url,
        }
        environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TEST_TOKEN": vault.root_token, **given}
        done = subprocess.run(
            [str(BASH), "-e", "-o", "pipefail", "-c", step()["run"]], env=environ, capture_output=True, check=False
        )
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == 0, said
        now = vault.do("GET", "secret/data/imip/production")["data"]["data"]
    assert len(now["SECRET_KEY"]) == 32
    assert now["OTHER"] == "stays"
    assert "imip/production#SECRET_KEY: rotated" in said
    assert now["SECRET_KEY"] not in said
