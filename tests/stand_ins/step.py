"""The step of ``action.yml``, made for a run as the runner makes it (actions/runner ``ScriptHandler.cs``)."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
_EXPRESSION = re.compile(r"\$\{\{ inputs\.([a-z-]+) \}\}")
_IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)


class Step:
    """The one step of the action in this checkout.

    Args:
        folder: Where its script is written to.
        root: Where the action is; a bundle that is in this folder is what runs.

    """

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        """Write the script."""
        self._root = root
        action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
        (step,) = action["runs"]["steps"]
        script = folder / "step.sh"
        script.write_text(step["run"], encoding="utf-8")
        shell, *options = step["shell"].removesuffix(" {0}").split()
        self.command = [shutil.which(shell) or shell, *options, str(script)]
        self._environ: dict[str, str] = step["env"]
        self._defaults = {name: str(each.get("default", "")) for name, each in action["inputs"].items()}

    def environ(self, inputs: Mapping[str, str]) -> dict[str, str]:
        """Return the step's own variables for the inputs of a workflow, which lie over those of the job."""
        given = {**self._defaults, **inputs}
        own = {name: _EXPRESSION.sub(lambda found: given[found[1]], text) for name, text in self._environ.items()}
        return {**own, "GITHUB_ACTION_PATH": str(self._root)}


def traced_command(python: str, root: Path = ROOT) -> list[str]:
    """Return what the step's script comes down to, with a trace of every import on standard error."""
    return [python, "-I", "-S", "-X", "utf8", "-X", "importtime", str(root / "launch.py"), "action"]


def imported(trace: str) -> set[str]:
    """Return the names of all modules in a trace of imports (``-X importtime``)."""
    return set(_IMPORTED.findall(trace))
