"""Images and containers without an engine: ``buildah`` builds, ``chroot`` in a mount namespace of its own runs.

A container has a file system that nothing can be written to, the mounts that
it is given and the network of this machine, as ``docker run --read-only
--network host`` has them. It has no other process's memory, users or devices
to itself: what is shown with it is what the image holds and does, not how well
an engine keeps it apart.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

TOOLS = ("buildah", "unshare", "mount", "chroot")
ENDS_WITHIN = 600.0
RUNS_WITHIN = 300.0
_POLICY = {"default": [{"type": "insecureAcceptAnything"}]}
# What Docker makes in every container.
_POINTS = ("dev", "proc", "tmp")


def lacking() -> str:
    """Return why nothing can be built and run here, or ""."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "images are built and run as root on Linux"
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    mounts = subprocess.run(
        [_tool("unshare"), "--mount", "mount", "--bind", "/", "/mnt"], capture_output=True, check=False
    )
    return "this machine lets root mount nothing" if mounts.returncode else ""


def _tool(name: str) -> str:
    return shutil.which(name) or name


class Builder:
    """Where images are kept.

    Args:
        folder: Of the images; layers stay in it.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "policy.json").write_text(json.dumps(_POLICY), encoding="utf-8")

    def run(self, command: str, *arguments: str | Path) -> str:
        """Run a command of buildah; return what it prints."""
        places = ["--root", str(self._folder / "storage"), "--runroot", str(self._folder / "run")]
        policy = ["--signature-policy", str(self._folder / "policy.json")] if command in {"bud", "commit"} else []
        done = subprocess.run(
            [_tool("buildah"), *places, "--storage-driver", "vfs", command, *policy, *map(str, arguments)],
            env={**os.environ, "BUILDAH_ISOLATION": "chroot", "TMPDIR": str(self._folder)},
            capture_output=True,
            text=True,
            timeout=ENDS_WITHIN,
            check=False,
        )
        if done.returncode:
            msg = f"buildah {command} failed ({done.returncode}): {done.stderr[-3000:]}"
            raise RuntimeError(msg)
        return done.stdout.strip()

    def has(self, name: str) -> bool:
        """Tell whether there is an image of this name."""
        return f"{name}:latest" in self.run("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()

    def put(self, name: str, tree: Path) -> None:
        """Make an image of a file system."""
        container = self.run("from", "scratch")
        try:
            self.run("add", "--quiet", container, tree, "/")
            self.run("commit", "--quiet", container, name)
        finally:
            self.run("rm", container)

    def build(self, name: str, dockerfile: Path, context: Path, **arguments: str) -> None:
        """Build an image."""
        given = [word for key, text in arguments.items() for word in ("--build-arg", f"{key}={text}")]
        self.run("bud", "--quiet", "--no-cache", *given, "--file", dockerfile, "--tag", name, context)

    def config(self, name: str) -> dict[str, Any]:
        """Return what an image says of how it is run (OCI image specification, "config")."""
        config: dict[str, Any] = json.loads(self.run("inspect", "--type", "image", name))["OCIv1"]["config"]
        return config


@dataclass(frozen=True, slots=True)
class Ended:
    """A container that has ended: its status, its output, and when its program was started (``time.monotonic``)."""

    status: int
    out: str
    err: str
    started: float


class Container:
    """The file system of an image, and its ways to be run. To be used with ``with``.

    Attributes:
        root: Where it is on this machine.
        config: How the image says that it is run.

    """

    def __init__(self, builder: Builder, image: str) -> None:
        self._builder = builder
        self._image = image
        self.config = builder.config(image)
        self.root = Path()

    def run(
        self,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        mounts: Mapping[Path, str] | None = None,
        entrypoint: str = "",
        directory: str = "/",
        user: int = 0,
    ) -> Ended:
        """Run it to its end, as ``docker run`` does.

        Args:
            arguments: What stands behind the image's name.
            environ: ``--env``.
            mounts: ``--volume``.
            entrypoint: ``--entrypoint``.
            directory: ``--workdir``.
            user: ``--user``, of whom there need be no entry.

        """
        own = dict(text.split("=", 1) for text in self.config.get("Env", ()))
        start = [entrypoint] if entrypoint else self.config["Entrypoint"]
        command = list(arguments) or ([] if entrypoint else self.config.get("Cmd", []))
        for inside in (mounts or {}).values():
            (self.root / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)
        plan = {
            "root": str(self.root),
            "mounts": {str(outside): inside for outside, inside in (mounts or {}).items()},
            "directory": directory,
            "user": user,
            "command": [*start, *command],
            "environ": {"HOSTNAME": "container", "HOME": "/root", **own, **(environ or {})},
        }
        return _play(plan)

    def __enter__(self) -> Self:
        """Unpack the image."""
        self._name = self._builder.run("from", "--pull-never", self._image)
        self.root = Path(self._builder.run("mount", self._name))
        for name in _POINTS:
            (self.root / name).mkdir(exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it."""
        self._builder.run("umount", self._name)
        self._builder.run("rm", self._name)


def _play(plan: Mapping[str, object]) -> Ended:
    read, write = os.pipe()
    command = [_tool("unshare"), "--mount", "--propagation", "private", sys.executable, "-I", __file__]
    try:
        done = subprocess.run(
            [*command, json.dumps(plan), str(write)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=[write],
            timeout=RUNS_WITHIN,
            check=False,
        )
        os.close(write)
        write = -1
        started = os.read(read, 100)
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode(), float(started or "nan"))


def _become(plan: dict[str, Any], pipe: int) -> None:
    """Be the container: in the mount namespace of its own."""
    root = plan["root"]

    def mount(*arguments: str) -> None:
        subprocess.run([_tool("mount"), *arguments], check=True, stdout=sys.stderr)

    mount("--bind", root, root)
    for outside, inside in plan["mounts"].items():
        mount("--bind", outside, root + inside)
    mount("-t", "proc", "proc", f"{root}/proc")
    mount("--rbind", "/dev", f"{root}/dev")
    mount("-o", "remount,bind,ro", root)
    os.chroot(root)
    os.chdir(plan["directory"])
    if plan["user"]:
        os.setgroups([])
        os.setgid(plan["user"])
        os.setuid(plan["user"])
    os.write(pipe, str(time.monotonic()).encode())
    os.close(pipe)
    _start(plan["command"], plan["environ"])


def _start(command: list[str], environ: Mapping[str, str]) -> None:
    """Become the program, found as Docker finds it: by the container's PATH."""
    os.execvpe(command[0], command, dict(environ))  # noqa: S606  # no shell, as Docker


if __name__ == "__main__":
    _become(json.loads(sys.argv[1]), int(sys.argv[2]))
