"""HashiCorp Vault and OpenBao: KV version 1 and 2, and any engine that answers a read or a request with a body.

Paths are ``mount/path``, as ``vault kv get`` shows them. What engine a path
is in, and which version of KV, is found out (:mod:`.mounts`).
"""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError, MissingError, Problem, StoreError
from imip_secrets.foreign import tame
from imip_secrets.stores.base import Target, Version
from imip_secrets.stores.vault.answer import span
from imip_secrets.stores.vault.kept import VaultKept, read
from imip_secrets.stores.vault.login import check_login, log_in
from imip_secrets.stores.vault.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from imip_secrets.document import Json
    from imip_secrets.settings import Settings
    from imip_secrets.stores.base import Context, Found
    from imip_secrets.stores.vault.client import VaultClient
    from imip_secrets.stores.vault.session import Session

PARALLEL = 16
"""How many requests a listing makes at once."""

_REVOKE_SECONDS = 4.0
_SETTLE_SECONDS = 2.0
_NAMESPACE = re.compile(r"[!-~]+", re.ASCII)  # it goes into a header
_CERTIFICATES = ("ca-certificate", "vault-ca-certificate", "vault-client-certificate")
_BEGINS, _ENDS = "-----BEGIN", "-----END"


def check(settings: Settings, targets: Iterable[Target]) -> Iterator[tuple[Target | None, Problem]]:
    """Find what is wrong before any network; a problem of one target comes with it, of the settings with None."""
    for problem in (*_check_address(settings), *check_login(settings), *_check_certificates(settings)):
        yield None, problem
    for target in targets:
        for problem in _check_target(target):
            yield target, problem


def open_store(context: Context) -> VaultStore:
    """Make the store, without network."""
    return VaultStore(context, start_client(context))


def start_client(context: Context) -> Future[VaultClient]:
    """Make the client in another thread, where hvac is imported, so that the ID token can come meanwhile."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - check() needs none

    thread = ThreadPoolExecutor(1, "imip-secrets-vault")
    made = thread.submit(_make_client, context)
    thread.shutdown(wait=False)
    return made


def _make_client(context: Context) -> VaultClient:
    from imip_secrets.stores.vault.client import VaultClient  # noqa: PLC0415 - hvac costs a tenth of a second

    address = context.settings["vault-addr"].rstrip("/")
    tls = None
    if address.startswith("https:"):
        from imip_secrets.stores.vault.tls import tls_context  # noqa: PLC0415 - plain http to loopback needs none

        tls = tls_context(context.settings, ambient=context.ambient)
    return VaultClient(address, tls, context.deadline, context.notice)


def resume(record: dict[str, Json], context: Context) -> VaultKept:
    """Take up the credentials that another process has left to be ended.

    Raises:
        ImipError: what is recorded of a certificate cannot be used.
        ValueError: it is no such record.

    """
    settings, token, leases, by_token = read(record)
    for secret in (token, *(held.id for held in leases if held.id)):
        context.protect(secret)
    client = _make_client(context.under(settings))
    client.use(token)
    return VaultKept(client, settings, token, leases, by_token=by_token)


class VaultStore:
    """One Vault, with one login."""

    def __init__(self, context: Context, client: Future[VaultClient]) -> None:
        """Remember what to work with; nothing is sent."""
        self._context = context
        self._namespace = context.settings["vault-namespace"].strip("/")
        self._client = client
        self._session: Session | None = None
        self._reader: Reader
        self._read_ahead: dict[Target, Found] = {}

    def login(self) -> str:
        """Log in; return one line that says who we are now.

        Raises:
            ImipError: there is no ID token, a certificate cannot be used, or Vault refused the login.

        """
        self._session = log_in(self._context, self._client.result)
        self._reader = Reader(self._client.result(), self._session, self._foretell)
        return self._session.line

    def fetch(self, target: Target) -> Found:
        """Read one target, unless a listing has read it already.

        Raises:
            MissingError: there is no such secret or version, or it is deleted or destroyed.
            StoreError: Vault refused or failed.

        """
        return self._read_ahead.pop(target, None) or self._read(target)

    def names(self, target: Target, *, deep: bool) -> Sequence[Target]:
        """Give every name of a KV engine that continues ``target.path``, those of deleted secrets among them."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only a listing needs it

        with ThreadPoolExecutor(PARALLEL, "imip-secrets-list") as pool:
            paths = self._reader.names(self._namespace_of(target), target.path, deep=deep, over=pool.map)
        return [Target(path, namespace=target.namespace) for path in paths]

    def version_of(self, target: Target) -> Version | None:
        """Give the version that a read would give: of KV version 2, to a policy that may read its metadata."""
        ahead = self._read_ahead.get(target)
        if ahead is not None:
            return Version(ahead.version, ahead.changed) if ahead.version else None
        if target.body is not None:
            return None
        return self._reader.version(self._namespace_of(target), target.path, target.version)

    def list(self, target: Target, *, deep: bool) -> Sequence[Target]:
        """Give every secret of a KV engine whose path continues ``target.path``; none where there is no such folder.

        KV version 2 lists deleted secrets like others, so each is read here to
        leave those out, and kept for :meth:`fetch`: no request is made twice.

        Raises:
            StoreError: Vault refused or failed.

        """
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only a listing needs it

        with ThreadPoolExecutor(PARALLEL, "imip-secrets-list") as pool:
            paths = self._reader.names(self._namespace_of(target), target.path, deep=deep, over=pool.map)
            targets = [Target(path, namespace=target.namespace) for path in paths]
            there = list(pool.map(self._is_there, targets))
        return [each for each, readable in zip(targets, there, strict=True) if readable]

    def close(self) -> VaultKept | None:
        """Revoke the token that we made, or return what hangs on it. Never raises."""
        if self._client.exception() is not None:
            return None
        client, session = self._client.result(), self._session
        if session is not None:
            self._reader.settle(_SETTLE_SECONDS)
            if self._reader.leases:
                return self._kept(session)
            if session.ours:
                self._give_up(client, session)
        client.close()
        return None

    def _kept(self, session: Session) -> VaultKept:
        """Return what hangs on our token, or on one that is not ours to end."""
        by_token = session.ours and session.revocable
        client, settings = self._client.result(), self._context.settings
        return VaultKept(client, settings, session.token, self._reader.leases, by_token=by_token)

    def _foretell(self) -> None:
        """Tell what ends what will be made; of a token that is not ours nothing can be said before there is a lease."""
        if self._session and self._session.ours and self._session.revocable:
            self._context.foretell(self._kept(self._session))

    def _namespace_of(self, target: Target) -> str:
        return self._namespace if target.namespace is None else target.namespace.strip("/")

    def _read(self, target: Target) -> Found:
        namespace = self._namespace_of(target)
        if target.body is None:
            return self._reader.read(namespace, target.path, target.version)
        return self._reader.ask(namespace, target.path, target.body)

    def _is_there(self, target: Target) -> bool:
        """Read a listed secret ahead; one that cannot be read is left to :meth:`fetch`, which says why."""
        try:
            self._read_ahead[target] = self._read(target)
        except MissingError:
            return False
        except StoreError:
            return True
        return True

    def _give_up(self, client: VaultClient, session: Session) -> None:
        """Revoke the token, or say why it stays and how long it lives."""
        left = session.ends - time.monotonic()
        ends = f"it ends in {span(max(0.0, left))}" if math.isfinite(left) else "it has no end"
        if not session.revocable:
            self._context.notice(f"the Vault token is a batch token, which cannot be revoked: {ends}")
        else:
            problem = _revoke(client, self._namespace)
            if problem:
                self._context.notice(f"the Vault token could not be revoked ({problem}): {ends}")


def _revoke(client: VaultClient, namespace: str) -> str:
    """Revoke the token; return what went wrong, or ""."""
    try:
        client.extend(_REVOKE_SECONDS)
        answer = client.revoke_self(namespace)
    except ImipError as error:
        return error.problems[0].what
    return "" if answer.ok else f"status {answer.status}{f', {answer.reason}' if answer.reason else ''}"


def _check_address(settings: Settings) -> Iterator[Problem]:
    address = settings["vault-addr"].rstrip("/")
    if not address:
        yield Problem("it is missing", "input vault-addr", "Write vault-addr: https://vault.example.com:8200.")
    if address.endswith("/v1"):
        yield Problem("it ends in /v1", "input vault-addr", "Leave that out: it is the API's, and added by itself.")
    if settings.given("vault-namespace") and not _NAMESPACE.fullmatch(settings["vault-namespace"].strip("/")):
        yield Problem("it is no namespace", "input vault-namespace", _NAMESPACE_REMEDY)


_NAMESPACE_REMEDY = "Write the path of the namespace, such as admin/team-a: ASCII, no spaces."


def _check_certificates(settings: Settings) -> Iterator[Problem]:
    """See that what should be PEM text looks like it, and that certificate and key come together."""
    for name in _CERTIFICATES:
        if settings.given(name) and not _is_pem(settings[name], "CERTIFICATE"):
            yield Problem("it is no PEM certificate", f"input {name}", _PEM_REMEDY)
    key = settings.secret("vault-client-key")
    if key and not _is_pem(key.reveal(), "PRIVATE KEY"):
        yield Problem("it is no PEM private key", "input vault-client-key", _PEM_REMEDY)
    if bool(key) != settings.given("vault-client-certificate"):
        missing, there = ("certificate", "key") if key else ("key", "certificate")
        yield Problem(
            "it is missing", f"input vault-client-{missing}", f"Give both, or leave out vault-client-{there}."
        )


_PEM_REMEDY = "Give the whole text, from -----BEGIN to -----END, with its line breaks; not a path and not base64 of it."


def _is_pem(text: str, kind: str) -> bool:
    return text.startswith(_BEGINS) and _ENDS in text and kind in text.partition("\n")[0]


def _check_target(target: Target) -> Iterator[Problem]:
    """See that a path has a mount and something in it, or is a folder for a listing."""
    segments = target.path.removesuffix("/").split("/")
    folder = target.path.endswith("/")
    if not all(segment.strip(".") for segment in segments):
        remedy = "Write it as vault kv get shows it: vault://secret/imip/production."
        yield Problem("a part of the path is empty or consists of dots", remedy=remedy)
    elif len(segments) == 1 and not folder:
        shown = tame(segments[0], 80)
        yield Problem("there is no mount in the path", remedy=f"Write MOUNT/PATH, such as vault://secret/{shown}.")
    if target.version and not (target.version.isascii() and target.version.isdigit() and int(target.version[:12])):
        yield Problem(
            f"{tame(target.version, 40)!r} is no version", remedy="Write a whole number above 0, as version=3."
        )
    if target.version and target.body is not None:
        remedy = "Leave one of them out, as in vault://secret/imip/production?version=3."
        yield Problem("version means a secret, and body an engine that makes one", remedy=remedy)
    if target.namespace and not _NAMESPACE.fullmatch(target.namespace.strip("/")):
        yield Problem("the option namespace holds no namespace", remedy=_NAMESPACE_REMEDY)
