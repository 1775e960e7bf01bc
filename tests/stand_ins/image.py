"""The image, built of the Dockerfile as it stands, on a base of this machine's distribution; and a job that uses it."""

from __future__ import annotations

import os
import platform
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from release.image import build
from stand_ins import container, debian, shipped
from stand_ins.container import Builder, Container

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stand_ins.container import Ended
    from stand_ins.oidc import Issuer

ROOT = Path(__file__).parents[2]
# The base takes a minute or two to make, and stays.
KEPT = ROOT / ".cache" / "image"
VERSION, REVISION = "1.2.3", "f3c1d2a0b4e5968778695a4b3c2d1e0f12345678"
RUNNER = 1001
_BASE, _IMAGE = "localhost/imip-base", "localhost/imip-secrets"


def lacking() -> str:
    """Return why the image cannot be built and run here, or ""."""
    return debian.lacking() or container.lacking()


@contextmanager
def built() -> Iterator[Container]:
    """Build the image, and give it unpacked."""
    base = debian.tree(KEPT)
    builder = Builder(KEPT)
    if not builder.has(_BASE):
        builder.put(_BASE, base)
    with tempfile.TemporaryDirectory(prefix="imip-image-") as folder:
        context = Path(folder, "context")
        build(context, shipped.built(), debian.python(base), platform.machine())
        # A release's bundle has the byte-code of other Pythons too, which the image has no use for.
        (context / "bundle/imip_secrets/__pycache__/deadline.cpython-399.pyc").write_bytes(b"")
        arguments = {"BASE_IMAGE": f"{_BASE}:latest", "VERSION": VERSION, "REVISION": REVISION}
        builder.build(_IMAGE, ROOT / "Dockerfile", context, **arguments)
    try:
        with Container(builder, _IMAGE) as unpacked:
            yield unpacked
    finally:
        builder.run("rmi", _IMAGE)
        builder.run("rmi", "--prune")


def action() -> dict[str, Any]:
    """Return docker/action.yml."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker/action.yml").read_text(encoding="utf-8"))
    return content


class DockerJob:
    """A job with a step that uses the Docker action (actions/runner ``ContainerActionHandler.cs``).

    Args:
        folder: Its own, empty.
        issuer: Gives its ID tokens.

    """

    FILES = ("env", "output", "state", "step_summary", "path")

    def __init__(self, folder: Path, issuer: Issuer) -> None:
        work = folder / "work"
        self.temp, self.workspace = work / "_temp", work / "repo" / "repo"
        self._files = self.temp / "_runner_file_commands"
        self._mounts = {
            self.temp: "/github/runner_temp",
            self.temp / "_github_home": "/github/home",
            self.temp / "_github_workflow": "/github/workflow",
            self._files: "/github/file_commands",
            self.workspace: "/github/workspace",
        }
        for outside in self._mounts:
            outside.mkdir(parents=True, exist_ok=True)
            # The runner's user is not root.
            os.chown(outside, RUNNER, RUNNER)
        for name in self.FILES:
            self.file(name).write_bytes(b"")
            os.chown(self.file(name), RUNNER, RUNNER)
        self.environ = {
            **issuer.environ(),
            **{f"GITHUB_{name.upper()}": f"/github/file_commands/{name}" for name in self.FILES},
            "GITHUB_ACTIONS": "true",
            "CI": "true",
            "HOME": "/github/home",
            "GITHUB_WORKSPACE": "/github/workspace",
            "GITHUB_EVENT_PATH": "/github/workflow/event.json",
            "RUNNER_TEMP": "/github/runner_temp",
            # Of the machine's own paths the one that the runner does not translate.
            "RUNNER_WORKSPACE": str(work / "repo"),
            "RUNNER_OS": "Linux",
            "RUNNER_TOOL_CACHE": "/opt/hostedtoolcache",
        }

    def file(self, name: str) -> Path:
        """Return the file of a command: ``env``, ``output``."""
        return self._files / name

    def run(self, image: Container, environ: Mapping[str, str] | None = None, /, **inputs: str) -> Ended:
        """Run the action with these inputs (``_`` for ``-``) and its defaults, and with what earlier steps have set."""
        spec = action()
        given = {name: str(each.get("default", "")) for name, each in spec["inputs"].items()}
        given |= {name.replace("_", "-"): text for name, text in inputs.items()}
        named = {f"INPUT_{name.upper()}": text for name, text in given.items()}
        return self._start(image, spec, "entrypoint", {**named, **(environ or {})})

    def end(self, image: Container) -> Ended:
        """Run what the action has for the end of the job."""
        return self._start(image, action(), "post-entrypoint", {})

    def _start(self, image: Container, spec: dict[str, Any], which: str, environ: Mapping[str, str]) -> Ended:
        return image.run(
            *spec["runs"].get("args", ()),
            entrypoint=spec["runs"][which],
            environ={**self.environ, **environ},
            mounts=self._mounts,
            directory="/github/workspace",
        )

    def left(self) -> list[str]:
        """Give the names of what the action has left in RUNNER_TEMP."""
        return [path.name for path in self.temp.rglob("imip-secrets-*/*")]
