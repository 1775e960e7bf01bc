"""What the tests of the Vault store share: a context that remembers, and a Vault that answers by a script."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jwt

from imip_secrets.deadline import Deadline
from imip_secrets.identity import IdToken
from imip_secrets.secret import Secret
from imip_secrets.settings import Settings
from imip_secrets.stores.base import Context
from imip_secrets.stores.vault import VaultStore, open_store
from stand_ins.faults import Answer, FaultServer, json_answer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from stand_ins.faults import Request, Step

CLIENT_TOKEN = "hvs.made-by-the-script"
CLAIMS = {"sub": "repo:octo-org/octo-repo:environment:production", "iss": "https://issuer.example"}


class Quick(Deadline):
    """A deadline whose waits pass at once, and are remembered."""

    def __init__(self, seconds: float = 100.0) -> None:
        super().__init__(seconds)
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return seconds < self.remaining()


class NoTime(Quick):
    """A deadline that leaves no time for a wait."""

    def sleep(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return False


class Caller:
    """The core, as far as the store knows it.

    Attributes:
        audiences: What ID tokens were asked for.
        protected: What was masked, in order.
        notices: What was shown.

    """

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        id_token: Callable[[str], str] | None = None,
        deadline: Deadline | None = None,
        ambient: bool = False,
    ) -> None:
        self.audiences: list[str] = []
        self.protected: list[str] = []
        self.notices: list[str] = []
        self.deadline = deadline or Quick()
        self._id_token = id_token or (lambda audience: jwt.encode({**CLAIMS, "aud": audience}, "k" * 32))
        self.context = Context(
            Settings(settings),
            self._token,
            lambda secret: self.protected.append(secret.reveal()),
            self.notices.append,
            self.deadline,
            ambient=ambient,
        )

    def _token(self, audience: str) -> IdToken:
        self.audiences.append(audience)
        token = self._id_token(audience)
        return IdToken(Secret(token), jwt.decode(token, options={"verify_signature": False}))

    def store(self) -> VaultStore:
        return open_store(self.context)


class ScriptedVault(FaultServer):
    """Logs everyone in, has one KV version 2 engine at ``secret`` and one version 1 at ``kv``, and any other paths.

    Args:
        secrets: The data of each path, as JSON text.
        paths: What other API paths (after ``/v1/``) answer to a GET.
        auth: Fields of the login's answer to change.

    """

    def __init__(
        self,
        secrets: Mapping[str, str] | None = None,
        paths: Mapping[str, Step] | None = None,
        *,
        auth: Mapping[str, object] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.secrets = dict(secrets or {})
        self.paths = dict(paths or {})
        self.auth = {
            "client_token": CLIENT_TOKEN,
            "token_policies": ["default", "imip"],
            "lease_duration": 1200,
            "token_type": "service",
            **(auth or {}),
        }
        super().__init__(handler=self._answer, tls=tls)

    def asked(self, method: str = "GET") -> list[str]:
        """Give the API paths that were asked for, in order."""
        return [request.target.removeprefix("/v1/") for request in self.requests if request.method == method]

    def _answer(self, request: Request) -> Step:
        path = request.path.removeprefix("/v1/")
        if path.startswith("auth/") and path.endswith("/login"):
            return json_answer({"auth": self.auth})
        if path == "auth/token/revoke-self":
            return Answer(204)
        if path in self.paths:
            return self.paths[path]
        if path.startswith("sys/internal/ui/mounts/"):
            return self._mount(path.removeprefix("sys/internal/ui/mounts/").partition("/")[0])
        mount, _, rest = path.partition("/")
        name = path if mount == "kv" else f"{mount}/{rest.partition('/')[2]}"
        if request.method == "GET" and name in self.secrets:
            return self._read(name, versioned=mount != "kv")
        return json_answer({"errors": []}, 404)

    def _mount(self, name: str) -> Answer:
        versions = {"secret": "2", "kv": "1"}
        if name in versions:
            return json_answer({"data": {"path": f"{name}/", "type": "kv", "options": {"version": versions[name]}}})
        if name in {"database", "pki"}:
            return json_answer({"data": {"path": f"{name}/", "type": name, "options": None}})
        return json_answer({"errors": ["preflight capability check returned 403"]}, 403)

    def _read(self, name: str, *, versioned: bool) -> Answer:
        data = self.secrets[name]
        facts = {
            "created_time": "2026-11-24T04:01:09.629618885Z",
            "deletion_time": "",
            "destroyed": False,
            "version": 3,
        }
        text = f'{{"data": {data}, "metadata": {json.dumps(facts)}}}' if versioned else data
        return Answer(200, {"Content-Type": "application/json"}, f'{{"lease_id": "", "data": {text}}}'.encode())


def versioned(**facts: object) -> Answer:
    """Answer as KV version 2 does for a version that is deleted or destroyed."""
    metadata = {"created_time": "2026-11-24T04:01:09Z", "deletion_time": "", "destroyed": False, "version": 1, **facts}
    return json_answer({"data": {"data": None, "metadata": metadata}}, 404)
