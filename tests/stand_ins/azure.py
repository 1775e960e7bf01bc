"""Entra ID and Azure Key Vault, on loopback, over TLS.

The token endpoint really checks the client assertion: its signature with the
issuer's keys, its times, issuer, subject and audience, and answers with
Entra's codes. The vaults challenge, page, soft-delete, disable and throttle as
Azure's REST reference of the Key Vault data plane says (api-version 7.4 and
later: Get Secret, Get Secrets, Get Deleted Secret; and the error bodies that
users report). Not verified against the real service.

A vault has a name, its real host (``imip-vault.vault.azure.net``), and another
on loopback. :meth:`Azure.proxy` is a proxy that leads every host of Azure here,
so that clients can use the real names.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import ssl
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import jwt
import trustme

from stand_ins.faults import Answer, FaultServer, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from stand_ins.faults import Request, Step
    from stand_ins.oidc import Issuer

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CLIENT = "11112222-bbbb-3333-cccc-4444dddd5555"
CLIENT_SECRET = "kept-by-the-machine"
AUDIENCE = "api://AzureADTokenExchange"
VAULT = "imip-vault"
PAGE = 25
TOKEN_SECONDS = 3599
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_HOSTS = ("login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn")
_SUFFIXES = ("vault.azure.net", "vault.usgovcloudapi.net", "vault.azure.cn")
_RESOURCE = (
    "/subscriptions/0b1f6471-1bf0-4dda-aec3-111122223333/resourcegroups/imip/providers/microsoft.keyvault/vaults/"
)

# Kinds of "Forbidden": the inner code, and what Key Vault writes ({name} is the secret, {vault} the vault).
DENIALS: Mapping[str, str] = {
    "ForbiddenByRbac": (
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
        "definitions were changed recently, please observe propagation time.\r\nCaller: appid=" + CLIENT + ";oid="
        "5f1b;iss=https://sts.windows.net/" + TENANT + "/\r\nAction: 'Microsoft.KeyVault/vaults/secrets/getSecret/"
        "action'\r\nResource: '" + _RESOURCE + "{vault}/secrets/{name}'\r\nAssignment: (not found)\r\n"
        "DenyAssignmentId: null\r\nDecisionReason: null \r\nVault: {vault};location=westeurope\r\n"
    ),
    "ForbiddenByPolicy": (
        "The user, group or application 'appid=" + CLIENT + ";oid=5f1b;iss=https://sts.windows.net/" + TENANT + "/' "
        "does not have secrets get permission on key vault '{vault};location=westeurope'. For help resolving this "
        "issue, please see https://go.microsoft.com/fwlink/?linkid=2125287"
    ),
    "ForbiddenByFirewall": (
        "Client address is not authorized and caller is not a trusted service.\r\nClient address: 20.161.60.19\r\n"
        "Caller: appid=" + CLIENT + "\r\nVault: {vault};location=westeurope"
    ),
    "ForbiddenByConnection": (
        "Public network access is disabled and request is not from a trusted service nor via an approved private "
        "link.\r\nCaller: appid=" + CLIENT + "\r\nVault: {vault};location=westeurope"
    ),
}


@dataclass
class Version:
    """One version of a secret; times are seconds since 1970."""

    value: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    enabled: bool = True
    begins: int | None = None
    ends: int | None = None
    created: int = 1_790_000_000
    content_type: str | None = None

    def attributes(self) -> dict[str, object]:
        """Give the object ``attributes``, in Azure's words."""
        times = {"nbf": self.begins, "exp": self.ends}
        return {
            "enabled": self.enabled,
            **{name: moment for name, moment in times.items() if moment is not None},
            "created": self.created,
            "updated": self.created + 60,
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
        }


class Azure:
    """Entra ID with one tenant and one application, and any number of vaults.

    Args:
        issuer: Whose tokens the application's federated credential takes.
        authority: Signs the server's certificates.

    Attributes:
        url: The server's address, which is Entra's and that of the vault on loopback.
        host: The loopback vault, as a reference names it.
        vaults: The secrets of each vault by its name, each a list of versions, oldest first.
        deleted: Names that are soft-deleted, by vault.
        federated: What the federated credential compares: ``issuer``, ``subject``, ``audience``.
        tenant_of_vaults: The tenant that challenges name.
        denial: A kind of "Forbidden" that every vault answers with, or "".
        denied: What is denied, when ``denial`` is set: any request whose path holds this text.
        tokens: Every access token that was given, so that a test can search for them.

    """

    def __init__(self, issuer: Issuer, authority: trustme.CA | None = None) -> None:
        """Bind to a free port; requests are answered from ``with`` on."""
        self._authority = authority or trustme.CA()
        names = ["127.0.0.1", "localhost", *_HOSTS, *(f"*.{suffix}" for suffix in _SUFFIXES)]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(context)
        self.server = FaultServer(handler=self._respond, tls=context)
        self.url = self.server.url
        self.host = f"127.0.0.1:{self.server.port}"
        self._issuer = issuer
        self.vaults: dict[str, dict[str, list[Version]]] = {VAULT: {}}
        self.deleted: dict[str, set[str]] = {}
        self.federated = {
            "issuer": issuer.url,
            "subject": str(issuer.claims["sub"]),
            "audience": AUDIENCE,
        }
        self.tenant_of_vaults = TENANT
        self.denial, self.denied = "", "/secrets"
        self.tokens: list[str] = []
        self._lock = threading.Lock()

    @property
    def pem(self) -> str:
        """The certificate that a client must trust."""
        return self._authority.cert_pem.bytes().decode()

    @property
    def requests(self) -> list[Request]:
        """Every request, to Entra and to the vaults."""
        return self.server.requests

    def put(self, name: str, value: str, vault: str = VAULT, **facts: object) -> Version:
        """Add a version of a secret; the facts are those of :class:`Version`."""
        version = Version(value, **facts)  # type: ignore[arg-type]  # the names are Version's
        self.vaults.setdefault(vault, {}).setdefault(name, []).append(version)
        return version

    def delete(self, name: str, vault: str = VAULT) -> None:
        """Soft-delete a secret."""
        self.deleted.setdefault(vault, set()).add(name)

    def asked(self) -> list[str]:
        """Give the paths that the vaults were asked for with a token, in order."""
        return [request.path for request in self.requests if request.headers.get("authorization")]

    def logins(self) -> list[Request]:
        """Give the requests for tokens."""
        return [request for request in self.requests if request.path.endswith("/oauth2/v2.0/token")]

    def proxy(self) -> Proxy:
        """Make a proxy that leads all hosts of Azure here; it answers from ``with`` on."""
        return Proxy(self.server.port)

    def _respond(self, request: Request) -> Step:
        if request.path.endswith("/v2.0/.well-known/openid-configuration"):
            return self._discovery(request)
        if request.path.endswith("/oauth2/v2.0/token"):
            return self._token(request)
        host = request.headers.get("host", "")
        loopback = host.startswith(("127.0.0.1", "localhost"))
        return _Vault(self, VAULT if loopback else host.partition(".")[0], host).respond(request)

    def _discovery(self, request: Request) -> Answer:
        """Say where the endpoints are, which MSAL asks before it sends a client secret."""
        base = f"https://{request.headers['host']}/{request.path.split('/')[1]}"
        return json_answer(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
            }
        )

    def _token(self, request: Request) -> Answer:
        """Change an assertion for a token, or say in Entra's words why not."""
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        tenant = request.path.split("/")[1]
        if tenant != TENANT:
            return _refusal(90002, f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID")
        if form.get("client_id") != CLIENT:
            shown = form.get("client_id")
            return _refusal(
                700016,
                f"Application with identifier '{shown}' was not found in the directory 'IMIP'.",
                "unauthorized_client",
            )
        if form.get("grant_type") != "client_credentials":
            return _refusal(70003, "The app requested an unsupported grant type.", "unsupported_grant_type")
        refusal = self._refuse_proof(form)
        if refusal:
            return refusal
        token = jwt.encode(
            {"aud": form.get("scope"), "tid": TENANT, "jti": secrets.token_hex(8)}, "k" * 32, algorithm="HS256"
        )
        with self._lock:
            self.tokens.append(token)
        return json_answer(
            {
                "token_type": "Bearer",
                "expires_in": TOKEN_SECONDS,
                "ext_expires_in": TOKEN_SECONDS,
                "access_token": token,
            }
        )

    def _refuse_proof(self, form: Mapping[str, str]) -> Answer | None:
        """Check what the application proves itself by: a federated assertion, or the one client secret."""
        if "client_secret" in form:
            right = form["client_secret"] == CLIENT_SECRET
            return None if right else _refusal(7000215, "Invalid client secret provided.")
        if form.get("client_assertion_type") != _ASSERTION_TYPE:
            return _refusal(900144, "The request body must contain the following parameter: 'client_assertion'.")
        return self._refuse(form.get("client_assertion", ""))

    def _refuse(self, assertion: str) -> Answer | None:
        """Compare an assertion with the federated credential."""
        keys = json.loads(self._issuer._jwks().body)  # the issuer's own answer, without the way there
        key = jwt.PyJWK(keys["keys"][0]).key
        try:
            claims = jwt.decode(
                assertion, key, algorithms=["RS256"], options={"verify_aud": False, "require": ["exp", "iss", "sub"]}
            )
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError):
            return _refusal(
                700024,
                "Client assertion is not within its valid time range. Current time: 2026-11-24T04:01:09Z, assertion "
                "valid from 2026-11-24T03:01:09Z, expiry time of assertion 2026-11-24T03:06:09Z.",
            )
        except jwt.InvalidTokenError:
            return _refusal(
                50013, "Assertion failed signature validation. [Reason - The key was not found.]", "invalid_grant"
            )
        wanted = self.federated
        found = {"issuer": claims["iss"], "subject": claims["sub"], "audience": claims.get("aud")}
        codes = {"issuer": 700211, "audience": 700212, "subject": 700213}
        for name, code in codes.items():
            if found[name] != wanted[name]:
                other_case = name == "subject" and str(found[name]).lower() == wanted[name].lower()
                return _no_record(7002138 if other_case else code, name, str(found[name]))
        return None

    def __enter__(self) -> Self:
        """Start to answer."""
        self.server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.server.__exit__(kind, error, trace)


def _no_record(code: int, what: str, found: str) -> Answer:
    """Answer as Entra does when no federated credential fits."""
    case = (
        " The subject matches with case-insensitive comparison, but not with case-sensitive comparison."
        if code == 7002138
        else ""
    )
    return _refusal(
        code,
        f"No matching federated identity record found for presented assertion {what} '{found}'.{case} Check your "
        "federated identity credential Subject, Audience and Issuer against the presented assertion. "
        "https://learn.microsoft.com/entra/workload-id/workload-identity-federation",
    )


def _refusal(code: int, text: str, error: str = "invalid_client") -> Answer:
    """Answer as Entra refuses: the ids for its support are part of the text."""
    ids = {"trace_id": str(uuid.uuid4()), "correlation_id": str(uuid.uuid4()), "timestamp": "2026-11-24 04:01:09Z"}
    description = (
        f"AADSTS{code}: {text} Trace ID: {ids['trace_id']} Correlation ID: {ids['correlation_id']} Timestamp: "
        f"{ids['timestamp']}"
    )
    body = {"error": error, "error_description": description, "error_codes": [code], **ids}
    return json_answer(body, 401 if error == "invalid_client" else 400)


def vault_error(status: int, code: str, message: str, inner: str = "") -> Answer:
    """Answer as Key Vault refuses."""
    inside = {"innererror": {"code": inner}} if inner else {}
    return json_answer({"error": {"code": code, "message": message, **inside}}, status)


@dataclass(frozen=True)
class _Vault:
    """One vault, for one request."""

    azure: Azure
    name: str
    host: str

    def respond(self, request: Request) -> Step:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token not in self.azure.tokens:
            return self._challenge("AKV10000: Request is missing a Bearer or PoP token.")
        if not self._is_for_us(token):
            return self._challenge("AKV10022: Invalid audience. Expected https://vault.azure.net, found: another.")
        if self.azure.denial and self.azure.denied in request.path:
            name = request.path.split("/")[2] if request.path.count("/") > 1 else ""
            message = DENIALS[self.azure.denial].format(vault=self.name, name=name)
            return vault_error(403, "Forbidden", message, self.azure.denial)
        if request.method == "PUT" and request.path.startswith("/secrets/"):
            return self._set(request)
        routes: dict[str, Callable[[Request], Step]] = {"secrets": self._secrets, "deletedsecrets": self._deleted}
        route = routes.get(request.path.split("/")[1])
        return route(request) if route and request.method == "GET" else vault_error(404, "NotFound", "No such path.")

    @property
    def resource(self) -> str:
        """The service that a token must be for; the SDK wants it to be above the vault in the host's name.

        (Of 127.0.0.1 that is 0.0.1: no name, but that is how the SDK compares.)
        """
        return f"https://{self.host.partition('.')[2]}"

    def _is_for_us(self, token: str) -> bool:
        claims = jwt.decode(token, options={"verify_signature": False})
        return str(claims["aud"]) == f"{self.resource}/.default"

    def _challenge(self, message: str) -> Answer:
        authority = f"https://login.microsoftonline.com/{self.azure.tenant_of_vaults}"
        header = f'Bearer authorization="{authority}", resource="{self.resource}"'
        refused = vault_error(401, "Unauthorized", message)
        return Answer(401, {**refused.headers, "WWW-Authenticate": header}, refused.body)

    def _set(self, request: Request) -> Step:
        """Make a new version; a soft-deleted secret keeps its name taken."""
        name = request.path.split("/")[2]
        if name in self.azure.deleted.get(self.name, set()):
            message = f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused."
            return vault_error(409, "Conflict", message, "ObjectIsDeletedButRecoverable")
        body = json.loads(request.body)
        version = self.azure.put(name, body["value"], self.name, ends=body.get("attributes", {}).get("exp"))
        return json_answer({"value": version.value, **self._item(name, version, with_version=True)})

    def _secrets(self, request: Request) -> Step:
        name, version = [*filter(None, request.path.split("/")[2:]), "", ""][:2]
        there = self._there()
        if not name:
            return self._page(request, sorted(there))
        if version == "versions":
            return json_answer(
                {"value": [self._item(name, each, with_version=True) for each in there.get(name, [])], "nextLink": None}
            )
        versions = {each.id: each for each in there.get(name, [])}
        chosen = versions.get(version) if version else next(reversed(versions.values()), None)
        if chosen is None:
            shown = f"{name}/{version}" if version else name
            return vault_error(
                404, "SecretNotFound", f"A secret with (name/id) {shown} was not found in this key vault."
            )
        if not chosen.enabled:
            return vault_error(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled")
        return json_answer({"value": chosen.value, **self._item(name, chosen, with_version=True)})

    def _there(self) -> dict[str, list[Version]]:
        """Give the secrets that are not deleted; the service takes names without case."""
        gone = self.azure.deleted.get(self.name, set())
        return {name: all_ for name, all_ in self.azure.vaults.get(self.name, {}).items() if name not in gone}

    def _page(self, request: Request, names: list[str]) -> Answer:
        start = int(request.query.get("$skiptoken", "0"))
        shown = names[start : start + PAGE]
        items = [self._item(name, self._there()[name][-1], with_version=False) for name in shown]
        more = start + PAGE < len(names)
        link = f"https://{self.host}/secrets?api-version={request.query['api-version']}&$skiptoken={start + PAGE}"
        return json_answer({"value": items, "nextLink": link if more else None})

    def _deleted(self, request: Request) -> Answer:
        name = request.path.split("/")[2]
        if name not in self.azure.deleted.get(self.name, set()):
            return vault_error(404, "SecretNotFound", f"Deleted Secret not found: {name}")
        about = self._item(name, self.azure.vaults[self.name][name][-1], with_version=False)
        return json_answer(
            {
                "recoveryId": f"https://{self.host}/deletedsecrets/{name}",
                "deletedDate": 1_790_000_000,
                "scheduledPurgeDate": 1_797_776_000,
                **about,
            }
        )

    def _item(self, name: str, version: Version, *, with_version: bool) -> dict[str, object]:
        address = f"https://{self.host}/secrets/{name}{f'/{version.id}' if with_version else ''}"
        kind = {"contentType": version.content_type} if version.content_type else {}
        return {"id": address, "attributes": version.attributes(), "tags": {}, **kind}


class Proxy:
    """An HTTP proxy whose every tunnel ends at one port of loopback, whatever host it was asked for.

    Attributes:
        asked: The hosts that tunnels were asked for, in order.

    """

    def __init__(self, port: int) -> None:
        """Bind to a free port."""
        self.asked: list[str] = []
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Start."""
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and close every tunnel."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        end = time.monotonic() + 30
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        for each in (self._listener, *self._open):
            each.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                down, _ = self._listener.accept()
                self._open.append(down)
                self._start(self._tunnel, down)

    def _tunnel(self, down: socket.socket) -> None:
        head = b""
        with contextlib.suppress(OSError):
            while b"\r\n\r\n" not in head:
                if not (piece := down.recv(4096)):
                    return
                head += piece
            self.asked.append(head.split()[1].decode())
            up = socket.create_connection(("127.0.0.1", self._port))
            self._open.append(up)
            down.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._start(self._carry, up, down)
            self._carry(down, up)

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)
