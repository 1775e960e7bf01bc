"""An LDAP directory: Debian's slapd on a free port, in a folder of its own.

>>> with Directory({"imip": "a password"}) as directory:
...     ...  # uid=imip,ou=people,dc=imip may bind at directory.url
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

HOST = "127.0.0.1"
BASE = "dc=imip"
PEOPLE = f"ou=people,{BASE}"
GROUPS = f"ou=groups,{BASE}"
GROUP = "deployers"
STARTS = 3  # another process may take the free port first
READY_WITHIN = 100.0
_SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/lib/openldap"])


def program() -> str | None:
    """Return where slapd is, or None: servers of the administrator are often on nobody else's PATH."""
    return shutil.which("slapd", path=_SYSTEM_PATH)


class Directory:
    """A directory with people who are all in one group, from ``with`` on.

    Args:
        people: The password of each user.

    Attributes:
        url: Its address.

    """

    def __init__(self, people: Mapping[str, str]) -> None:
        """Start nothing yet."""
        self._people = people
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path()
        self.url = ""

    def config(self) -> dict[str, object]:
        """Give the configuration of Vault's login method."""
        return {
            "url": self.url,
            "userdn": PEOPLE,
            "userattr": "uid",
            "groupdn": GROUPS,
            "groupfilter": "(&(objectClass=groupOfNames)(member={{.UserDN}}))",
            "groupattr": "cn",
            # Without a binding of its own, Vault asks as the user who logs in.
            "discoverdn": False,
            "deny_null_bind": True,
        }

    def __enter__(self) -> Self:
        """Fill the directory and start the server."""
        self._folder = Path(tempfile.mkdtemp(prefix="imip-ldap-"))
        try:
            self._fill()
            for _ in range(STARTS):
                if self._start():
                    return self
                self._stop()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        log = (self._folder / "log").read_text(errors="replace")
        self.__exit__(None, None, None)
        msg = f"slapd did not start: {log[-2000:]}"
        raise AssertionError(msg)

    def _fill(self) -> None:
        (self._folder / "data").mkdir()
        schemas = next(path for path in (Path("/etc/ldap/schema"), Path("/etc/openldap/schema")) if path.is_dir())
        modules = next((path for path in map(Path, _MODULES) if path.is_dir()), None)
        lines = [f"include {schemas / name}.schema" for name in ("core", "cosine", "inetorgperson")]
        lines += [f"modulepath {modules}", "moduleload back_mdb"] if modules else []
        lines += [
            f"pidfile {self._folder / 'pid'}",
            "database mdb",
            f'suffix "{BASE}"',
            f"directory {self._folder / 'data'}",
            "access to attrs=userPassword by anonymous auth by * none",
            "access to * by * read",
        ]
        self._conf.write_text("\n".join(lines) + "\n")
        ldif = self._folder / "start.ldif"
        ldif.write_text(self._entries())
        slapd = program() or "slapd"
        subprocess.run([slapd, "-Tadd", "-f", str(self._conf), "-l", str(ldif)], check=True, capture_output=True)

    @property
    def _conf(self) -> Path:
        return self._folder / "slapd.conf"

    def _entries(self) -> str:
        entries = [f"dn: {BASE}\nobjectClass: domain\ndc: imip\n"]
        entries += [
            f"dn: {folder}\nobjectClass: organizationalUnit\nou: {folder[3:].partition(',')[0]}\n"
            for folder in (PEOPLE, GROUPS)
        ]
        entries += [
            f"dn: uid={name},{PEOPLE}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}\n"
            f"userPassword: {password}\n"
            for name, password in self._people.items()
        ]
        members = "".join(f"member: uid={name},{PEOPLE}\n" for name in self._people)
        entries.append(f"dn: cn={GROUP},{GROUPS}\nobjectClass: groupOfNames\ncn: {GROUP}\n{members}")
        return "\n".join(entries)

    def _start(self) -> bool:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        self.url = f"ldap://{HOST}:{port}"
        with (self._folder / "log").open("ab") as log:
            # -d keeps it in the foreground, so that it is ours to end.
            command = [program() or "slapd", "-d", "0", "-f", str(self._conf), "-h", self.url]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + READY_WITHIN
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=10):
                return True
            time.sleep(0.02)
        return False

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process that was started, and remove what it left."""
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)


_MODULES = ("/usr/lib/ldap", "/usr/lib/openldap", "/usr/lib64/openldap")
