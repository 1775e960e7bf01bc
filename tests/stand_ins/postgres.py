"""A real PostgreSQL, from Debian's package, on loopback: a cluster of its own that is gone afterwards.

>>> with Postgres() as postgres, Vault() as vault:
...     postgres.behind(vault)  # vault://database/creds/imip-app makes users of it
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from stand_ins.vault import HOST, STARTS, RefusedError, _free_port

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from stand_ins.vault import Vault

ROLE = "imip-app"
_ADMIN, _PASSWORD = "imip_admin", "admin-of-a-test"
_DATABASE = "postgres"
_READY_WITHIN = 100.0
_STOPS_WITHIN = 10.0
# PostgreSQL refuses root; of its own user, which the package makes, and nobody, one is there.
_PROGRAMS = ("initdb", "postgres", "psql")
_USERS = ("postgres", "nobody")
_CREATE = """CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"""
_REVOKE = 'DROP ROLE IF EXISTS "{{name}}"'


def programs() -> Path | None:
    """Return the folder of the server's programs, or None where it is not installed."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((each for each in folders if all((each / name).exists() for name in _PROGRAMS)), None)


class Postgres:
    """A server, from ``with`` on.

    Attributes:
        port: Where it listens on 127.0.0.1.

    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self.port = 0
        self._folder = Path()
        self._server: subprocess.Popen[bytes] | None = None

    def behind(self, vault: Vault, *, mount: str = "database", ttl: str = "1h") -> None:
        """Put it behind Vault's database engine, with the role :data:`ROLE`."""
        vault.do("POST", f"sys/mounts/{mount}", {"type": "database"})
        connection = {
            "plugin_name": "postgresql-database-plugin",
            "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@{HOST}:{self.port}/{_DATABASE}",
            "username": _ADMIN,
            "password": _PASSWORD,
            "allowed_roles": [ROLE],
        }
        vault.do("POST", f"{mount}/config/imip", connection)
        role = {"db_name": "imip", "creation_statements": [_CREATE], "revocation_statements": [_REVOKE]}
        vault.do("POST", f"{mount}/roles/{ROLE}", {**role, "default_ttl": ttl, "max_ttl": "24h"})

    def lets_in(self, user: str, password: str) -> bool:
        """Tell whether somebody can log in."""
        return self._psql("SELECT 1", user, password).returncode == 0

    def users(self) -> set[str]:
        """Return everybody but the administrator."""
        done = self._psql(f"SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname <> '{_ADMIN}'")  # noqa: S608
        return set(done.stdout.split())

    def is_empty(self, within: float = 100.0) -> bool:
        """Tell whether there is nobody but the administrator; Vault revokes in its own time, but soon."""
        end = time.monotonic() + within
        while self.users():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def _psql(self, sql: str, user: str = _ADMIN, password: str = _PASSWORD) -> subprocess.CompletedProcess[str]:
        command = [str(_programs() / "psql"), "-XAtw", "-h", HOST, "-p", str(self.port), "-U", user, "-d", _DATABASE]
        environ = {"PATH": os.environ["PATH"], "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "60"}
        return subprocess.run([*command, "-c", sql], env=environ, capture_output=True, text=True, check=False)

    def __enter__(self) -> Self:
        """Make a cluster, start it, and wait until it answers."""
        self._folder = Path(tempfile.mkdtemp(prefix="imip-postgres-"))
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self) -> None:
        user = _other_user()
        if user:
            shutil.chown(self._folder, user)
        password = self._folder / "password"
        password.write_text(_PASSWORD)
        password.chmod(0o644)
        data, bin_ = self._folder / "data", _programs()
        made = [str(bin_ / "initdb"), "-D", str(data), "-U", _ADMIN, "-A", "scram-sha-256", f"--pwfile={password}"]
        made += ["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C"]
        subprocess.run([*_as(user), *made], check=True, capture_output=True, cwd=self._folder)
        for _ in range(STARTS):
            self.port = _free_port()
            serve = [str(bin_ / "postgres"), "-D", str(data), "-h", HOST, "-p", str(self.port), "-k", "", "-F"]
            with (self._folder / "log").open("ab") as log:
                self._server = subprocess.Popen([*_as(user), *serve], stdout=log, stderr=log, cwd=self._folder)
            if self._is_ready():
                return
            self._stop()
        raise RefusedError((self._folder / "log").read_text()[-2000:])

    def _is_ready(self) -> bool:
        """Wait until the server answers; give up when it has ended."""
        end = time.monotonic() + _READY_WITHIN
        while self._server and self._server.poll() is None and time.monotonic() < end:
            if self.lets_in(_ADMIN, _PASSWORD):
                return True
            time.sleep(0.05)
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server and remove the cluster."""
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _stop(self) -> None:
        """Stop the server, by its own id."""
        server, self._server = self._server, None
        if server is not None:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(_STOPS_WITHIN)
            if server.poll() is None:
                server.kill()
                server.wait()


def _programs() -> Path:
    found = programs()
    if found is None:
        msg = "there is no PostgreSQL: install the package postgresql"
        raise RefusedError(msg)
    return found


def _other_user() -> str:
    """Return whom to be instead of root, or ""."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return ""
    import pwd  # noqa: PLC0415 - POSIX has it

    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(user for user in _USERS if user in known)


def _as(user: str) -> list[str]:
    # setpriv becomes the program, so that the process we end is the server's.
    return ["setpriv", f"--reuid={user}", f"--regid={_group(user)}", "--clear-groups"] if user else []


def _group(user: str) -> str:
    import pwd  # noqa: PLC0415 - POSIX has it

    return str(pwd.getpwnam(user).pw_gid)
