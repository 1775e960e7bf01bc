"""What the store asks Vault for, in its own words; hvac knows how that is said to Vault.

The module takes its time to import, so it is imported late, and while the ID
token is on its way.
"""

from __future__ import annotations

import threading
from copy import copy
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imip_secrets.deadline import Deadline
from imip_secrets.stores.vault.api import Api, login_api
from imip_secrets.stores.vault.connections import Connections
from imip_secrets.stores.vault.transport import TRANSIENT, Fresh, Patience, Transport

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from imip_secrets.secret import Secret
    from imip_secrets.stores.vault.answer import Answer


class VaultClient:
    """Asks one Vault; every method may be called from several threads at once, after :meth:`use`.

    Each gives Vault's answer whatever its status, and raises
    :class:`~imip_secrets.errors.StoreError` where there was none. Paths are
    plain text; a mount has no slash at its ends, a namespace "" is the root.

    Args:
        address: The address, without a slash at the end.
        tls: How to connect; None for plain http to loopback.
        deadline: The end of the run.
        notice: Shows a line when something is waited for.

    """

    def __init__(
        self, address: str, tls: ssl.SSLContext | None, deadline: Deadline, notice: Callable[[str], None]
    ) -> None:
        """Make the client; nothing is sent."""
        self.address = address
        self._notice = notice
        self._transport = Transport(address, Connections(tls), Patience(deadline, notice))
        self._apis: dict[str, Api] = {}
        self._lock = threading.Lock()

    def use(self, token: Secret, *, fresh: bool = False) -> None:
        """Send this token from now on; ``fresh`` says that it was made just now."""
        self._transport.token = token.reveal()
        self._transport.fresh = Fresh() if fresh else None
        self._apis.clear()

    def jwt_login(self, namespace: str, mount: str, role: str, jwt: Secret) -> Answer:
        """Log in with a signed token; safe to repeat."""
        answer: Answer = self._api(namespace).jwt.jwt_login(role, jwt.reveal(), use_token=False, path=mount)
        return answer

    def approle_login(self, namespace: str, mount: str, role_id: str, secret_id: Secret | None) -> Answer:
        """Log in as an AppRole."""
        secret = secret_id.reveal() if secret_id else None
        answer: Answer = self._login("approle", namespace).login(role_id, secret, use_token=False, mount_point=mount)
        return answer

    def kubernetes_login(self, namespace: str, mount: str, role: str, jwt: Secret) -> Answer:
        """Log in with the token of a pod's service account."""
        api = self._login("kubernetes", namespace)
        answer: Answer = api.login(role, jwt.reveal(), use_token=False, mount_point=mount)
        return answer

    def password_login(self, method: str, namespace: str, mount: str, username: str, password: Secret) -> Answer:
        """Log in by ``userpass`` or ``ldap``."""
        if method == "userpass":
            # hvac escapes what it puts into the path of the one and not of the other.
            username, mount = quote(username, safe=""), quote(mount)
        api = self._login(method, namespace)
        answer: Answer = api.login(username, password.reveal(), use_token=False, mount_point=mount)
        return answer

    def github_login(self, namespace: str, mount: str, token: Secret) -> Answer:
        """Log in with a token of GitHub."""
        api = self._login("github", namespace)
        answer: Answer = api.login(token.reveal(), use_token=False, mount_point=mount)
        return answer

    def wrapping(self, namespace: str, token: Secret) -> Answer:
        """Ask what a wrapping token wraps, without using it up."""
        adapter = self._make(namespace).adapter
        return adapter.post("/v1/sys/wrapping/lookup", {"token": token.reveal()})

    def unwrap(self, namespace: str, token: Secret) -> Answer:
        """Take what a wrapping token wraps, which uses it up; never sent again once Vault may have begun."""
        adapter = self._make(namespace).adapter
        adapter.token = token.reveal()
        return adapter.send("/v1/sys/wrapping/unwrap", b"{}", once=True)

    def mount_of(self, namespace: str, path: str) -> Answer:
        """Ask which engine a path belongs to; whoever may use anything in the engine may know."""
        answer: Answer = self._api(namespace).adapter.get(f"/v1/sys/internal/ui/mounts/{quote(path)}")
        return answer

    def read_v1(self, namespace: str, mount: str, path: str) -> Answer:
        """Read a secret of KV version 1."""
        answer: Answer = self._api(namespace).kv_v1.read_secret(path, mount_point=mount)
        return answer

    def read_v2(self, namespace: str, mount: str, path: str, version: str | None = None) -> Answer:
        """Read a secret of KV version 2; deleted and destroyed versions come as 404 with their metadata."""
        answer: Answer = self._api(namespace).kv_v2.read_secret_version(
            path, version=version, mount_point=mount, raise_on_deleted_version=False
        )
        return answer

    def metadata_v2(self, namespace: str, mount: str, path: str) -> Answer:
        """Read what is known of the versions of a secret of KV version 2, and no value."""
        answer: Answer = self._api(namespace).kv_v2.read_secret_metadata(path, mount_point=mount)
        return answer

    def list_v1(self, namespace: str, mount: str, folder: str) -> Answer:
        """List a folder (it ends in a slash, or is "") of KV version 1."""
        answer: Answer = self._api(namespace).kv_v1.list_secrets(folder, mount_point=mount)
        return answer

    def list_v2(self, namespace: str, mount: str, folder: str) -> Answer:
        """List a folder (it ends in a slash, or is "") of KV version 2."""
        answer: Answer = self._api(namespace).kv_v2.list_secrets(folder, mount_point=mount)
        return answer

    def read_once(self, namespace: str, path: str) -> Answer:
        """Read a path of any engine as it stands; never sent again once Vault may have begun."""
        answer: Answer = self._api(namespace).adapter.get(f"/v1/{quote(path)}", once=True)
        return answer

    def send_once(self, namespace: str, path: str, body: str) -> Answer:
        """Send a JSON object to a path as it stands; never sent again once Vault may have begun."""
        answer: Answer = self._api(namespace).adapter.send(f"/v1/{quote(path)}", body.encode(), once=True)
        return answer

    def send(self, namespace: str, path: str, body: str) -> Answer:
        """Send a JSON object to a path, again if need be: what it writes is the same, or is compared by Vault."""
        answer: Answer = self._api(namespace).adapter.send(f"/v1/{quote(path)}", body.encode())
        return answer

    def delete(self, namespace: str, path: str) -> Answer:
        """Delete a path; safe to repeat."""
        answer: Answer = self._api(namespace).adapter.delete(f"/v1/{quote(path)}")
        return answer

    def seal_status(self) -> Answer:
        """Ask whether Vault is initialised and unsealed; needs no token."""
        answer: Answer = self._api("").seal.read_seal_status()
        return answer

    def extend(self, seconds: float) -> None:
        """Go on for so many seconds, though the run's time be over. What other threads still ask for keeps its time."""
        with self._lock:
            self._transport = copy(self._transport)
            self._transport.patience = Patience(Deadline(seconds), self._notice)
            self._apis.clear()

    def revoke_self(self, namespace: str) -> Answer:
        """Revoke the token and with it all its leases."""
        answer: Answer = self._api(namespace).token.revoke_self()
        return answer

    def renew_self(self, namespace: str) -> Answer:
        """Prolong the token, as far as its maximum allows."""
        answer: Answer = self._api(namespace).adapter.post("/v1/auth/token/renew-self", json={})
        return answer

    def renew_lease(self, namespace: str, lease: Secret) -> Answer:
        """Prolong one lease by the time of its role, as far as its maximum allows."""
        answer: Answer = self._api(namespace).adapter.post("/v1/sys/leases/renew", json={"lease_id": lease.reveal()})
        return answer

    def revoke_lease(self, namespace: str, lease: Secret) -> Answer:
        """Revoke one lease, and wait until its engine has done so; safe to repeat."""
        asked = {"lease_id": lease.reveal(), "sync": True}
        answer: Answer = self._api(namespace).adapter.post("/v1/sys/leases/revoke", json=asked)
        return answer

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def _api(self, namespace: str) -> Api:
        """Return hvac's methods for a namespace; all of them share connections and token."""
        with self._lock:
            if namespace not in self._apis:
                self._apis[namespace] = self._make(namespace)
            return self._apis[namespace]

    def _login(self, method: str, namespace: str) -> Any:  # noqa: ANN401 - hvac has no types
        transport = copy(self._transport)
        transport.namespace = namespace
        # Vault passes on as its own status 500 what GitHub and LDAP servers have against a login.
        transport.transient = TRANSIENT - {500}
        return login_api(method, transport)

    def _make(self, namespace: str) -> Api:
        transport = copy(self._transport)
        transport.namespace = namespace
        return Api(transport)
