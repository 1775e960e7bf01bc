"""The logins that have a secret of their own: approle, kubernetes, userpass, ldap and github.

Each is a row of :data:`METHODS`: who logs in, how it is said to Vault, and what
its refusals mean, by Vault's own words (its plugins of these names, in the
source of OpenBao 2.6 and, for github, of Vault 1.14).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret
from imip_secrets.stores.vault.answer import part, words
from imip_secrets.stores.vault.auth import Login
from imip_secrets.stores.vault.errors import unwell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imip_secrets.settings import Settings
    from imip_secrets.stores.base import Context
    from imip_secrets.stores.vault.answer import Answer
    from imip_secrets.stores.vault.client import VaultClient
    from imip_secrets.stores.vault.session import Session

# Vault: "Tokens", prefixes of service, batch and recovery tokens since 1.10, and before.
_WRAPPING = re.compile(rb"(?:hv[sbr]|[sbr])\.[!-~]+")
_SERVER_ERROR = 500
_TOKEN_BYTES = 64 * 1024
_JWT = re.compile(rb"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)


class Method(NamedTuple):
    """One login method.

    Args:
        subject: Says who logs in, fit to be shown.
        ask: Gives what Vault answers.
        remedies: What to do, by Vault's words; the first pattern that fits. ``{mount}`` is where the method is,
            ``{who}`` the role or user, ``{token}`` what a pod's token says.

    """

    subject: Callable[[Settings], str]
    ask: Callable[[Context, VaultClient, Login], Answer]
    remedies: tuple[tuple[str, str], ...]


def log_in(context: Context, client: Callable[[], VaultClient], name: str) -> Session:
    """Log in by one of the methods.

    Raises:
        StoreError: what it needs cannot be had, or Vault refused it; says what to change.

    """
    method, settings = METHODS[name], context.settings
    login = Login.of(settings, method.subject(settings))
    answer = method.ask(context, client(), login)
    if answer.ok:
        named = words(part(part(answer.body, "auth"), "metadata"), "role_name")
        return (login._replace(subject=f"AppRole {tame(named, 60)}") if named else login).session(context, answer)

    def remedy(refused: Answer) -> str:
        text = next(text for pattern, text in method.remedies if re.search(pattern, refused.reason, re.IGNORECASE))
        pod = _pod(settings) if "{token}" in text else ""
        return text.format(mount=login.shown_mount, who=_who(settings), token=pod)

    if answer.status == _SERVER_ERROR and answer.reason:
        # What a server behind Vault has against the login comes as Vault's own error.
        what = f"Vault at {login.address} refused the login with the {login.subject} of {login.shown_mount}"
        msg = f"{what}: {answer.reason}"
        raise StoreError(msg, remedy(answer))
    raise login.refused(client(), answer, remedy)


def _who(settings: Settings) -> str:
    name = next((name for name in ("vault-role", "vault-username") if settings.given(name)), "")
    return tame(settings[name], 60) if name else ""


def _approle(context: Context, client: VaultClient, login: Login) -> Answer:
    secret_id = context.settings.secret("vault-secret-id")
    if secret_id:
        context.protect(secret_id)
        if _WRAPPING.fullmatch(secret_id.reveal_bytes()):
            secret_id = _unwrapped(context, client, login, secret_id)
    return client.approle_login(login.namespace, login.mount, context.settings["vault-role-id"], secret_id)


def _unwrapped(context: Context, client: VaultClient, login: Login, token: Secret) -> Secret:
    """Take the secret id out of its wrapping: once, and only one that this AppRole mount has wrapped.

    Whoever could read the token on its way could unwrap it, and wrap another
    secret in its place; the path that made it shows that (Vault: "Response
    wrapping", token validation).
    """
    facts = client.wrapping(login.namespace, token)
    if not facts.ok:
        raise _used_up(client, login, facts)
    made_by = words(facts.data, "creation_path")
    if not re.fullmatch(rf"auth/{re.escape(login.mount)}/role/[^/]+/(?:custom-)?secret-id", made_by):
        what = f"the wrapping token of vault-secret-id wraps no secret id of {login.shown_mount}"
        msg = f"SECURITY: {what}, but what {tame(made_by, 120) or 'nobody knows'} gave"
        raise StoreError(
            msg,
            "It was not used. If it came from where it should, somebody may have put it in the place of yours: find "
            "out who before you make another. Else correct vault-auth-path.",
        )
    answer = client.unwrap(login.namespace, token)
    if not answer.ok:
        raise _used_up(client, login, answer)
    text = words(answer.data, "secret_id")
    if not text:
        what = f"the wrapping token of vault-secret-id holds no secret id of {login.shown_mount}"
        raise StoreError(what, f"Wrap one: vault write -wrap-ttl=5m -f {login.shown_mount}/role/ROLE/secret-id.")
    secret_id = Secret(text)
    context.protect(secret_id)
    return secret_id


def _used_up(client: VaultClient, login: Login, answer: Answer) -> StoreError:
    """Tell of a wrapping token that is no good any more: what it held may be in other hands."""
    if answer.status not in {400, 401, 403, 404}:
        return unwell(client, answer, login.namespace)
    said = f": {answer.reason}" if answer.reason else ""
    return StoreError(
        f"SECURITY: the wrapping token of vault-secret-id was used already, or its time is over{said}",
        "If this job has not run with it before, and its time is not over, somebody else has unwrapped the secret id: "
        f"take it for stolen, destroy it (vault write {login.shown_mount}/role/ROLE/secret-id/destroy ...), and look "
        "in Vault's audit log who it was. Each run needs a wrapping token of its own.",
    )


def _kubernetes(context: Context, client: VaultClient, login: Login) -> Answer:
    token = _pod_token(context.settings)
    context.protect(token)
    return client.kubernetes_login(login.namespace, login.mount, context.settings["vault-role"], token)


def _pod_token(settings: Settings) -> Secret:
    """Read the token of the pod that this runs in."""
    path = settings["vault-kubernetes-token-path"]
    shown = tame(path, 160)
    remedy = "Run in a pod with a service account, or give the path of its token as vault-kubernetes-token-path."
    try:
        with Path(path).open("rb") as file:
            token = file.read(_TOKEN_BYTES).strip()
    except OSError as error:
        what = f"the pod's token cannot be read from {shown} ({error.strerror})"
    except ValueError:  # a NUL in the path
        what = f"{shown} is no path"
    else:
        if _JWT.fullmatch(token):
            return Secret(token)
        what = f"the file {shown} holds no token of a service account"
    raise StoreError(what, remedy)


def _pod(settings: Settings) -> str:
    """Say what the pod's token claims; it is not verified here, and Vault has refused it."""
    import base64  # noqa: PLC0415 - only a refusal needs it
    import json  # noqa: PLC0415 - the same

    payload = _pod_token(settings).reveal_bytes().split(b".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
        told = ", ".join(f"{name}={tame(claims[name], 120)}" for name in ("sub", "aud", "iss") if name in claims)
    except (ValueError, TypeError, RecursionError):
        told = ""
    return f" The token has {told}." if told else ""


def _password(method: str) -> Callable[[Context, VaultClient, Login], Answer]:
    def ask(context: Context, client: VaultClient, login: Login) -> Answer:
        password = _given(context, "vault-password")
        return client.password_login(method, login.namespace, login.mount, context.settings["vault-username"], password)

    return ask


def _github(context: Context, client: VaultClient, login: Login) -> Answer:
    return client.github_login(login.namespace, login.mount, _given(context, "vault-github-token"))


def _given(context: Context, name: str) -> Secret:
    """Return a secret setting that was found to be there, masked."""
    secret = context.settings.secret(name) or Secret("")
    context.protect(secret)
    return secret


_NO_MOUNT = (
    "",
    "Is the login method mounted at {mount}, in this namespace? Else set vault-auth-path or vault-namespace.",
)
_ADDRESSES = ("cidr|source address", "Let secret_id_bound_cidrs and token_bound_cidrs hold this machine's address.")
METHODS: Mapping[str, Method] = {
    "approle": Method(
        # Not the id itself: it is half of a credential.
        lambda _: "role id of the input vault-role-id",
        _approle,
        (
            _ADDRESSES,
            ("missing secret_id", "The role wants a secret id: give vault-secret-id."),
            (
                "invalid role|invalid secret",
                (
                    "Vault does not say which is wrong: the role id (vault read {mount}/role/ROLE/role-id), or the "
                    "secret id, which may be over or used up (secret_id_ttl, secret_id_num_uses): vault write -f "
                    "{mount}/role/ROLE/secret-id makes another."
                ),
            ),
            _NO_MOUNT,
        ),
    ),
    "kubernetes": Method(
        lambda settings: f"role {tame(settings['vault-role'], 60)}",
        _kubernetes,
        (
            ("invalid role", "Write the role (vault write {mount}/role/{who} ...), or correct vault-role."),
            ("namespace not authorized", "Let bound_service_account_namespaces of {mount}/role/{who} fit.{token}"),
            ("account name not authorized", "Let bound_service_account_names of {mount}/role/{who} fit.{token}"),
            ("audience|aud\\b", "Let audience of {mount}/role/{who} be the token's aud.{token}"),
            # Vault says no more of a token that Kubernetes does not accept, nor of a mount that is not there.
            (
                "",
                (
                    "Is the login method mounted at {mount}, in this namespace? Else Kubernetes does not accept the "
                    "pod's token (it is over, its account is gone), or does not let Vault ask for a token review "
                    "(token_reviewer_jwt of {mount}/config, ClusterRole system:auth-delegator).{token}"
                ),
            ),
        ),
    ),
    "userpass": Method(
        lambda settings: f"user {tame(settings['vault-username'], 60)}",
        _password("userpass"),
        (
            _ADDRESSES,
            ("invalid username or password", "Correct vault-username or vault-password (vault list {mount}/users)."),
            ("", _NO_MOUNT[1] + " After some wrong passwords Vault locks the user out for minutes."),
        ),
    ),
    "ldap": Method(
        lambda settings: f"user {tame(settings['vault-username'], 60)}",
        _password("ldap"),
        (
            _ADDRESSES,
            (
                "connect|dial|no such host|timeout|certificate",
                "Vault does not reach the LDAP server: look at url and certificate of {mount}/config.",
            ),
            (
                "failed to bind|ldap operation failed|invalid credentials|user bind",
                (
                    "Correct vault-username or vault-password; or userdn, userattr and upndomain of {mount}/config do "
                    "not lead to {who}."
                ),
            ),
            (
                "group|member",
                "Put {who} into a group of LDAP that {mount} knows (vault list {mount}/groups), or correct groupdn.",
            ),
            ("", _NO_MOUNT[1] + " After some wrong passwords Vault locks the user out for minutes."),
        ),
    ),
    "github": Method(
        lambda _: "GitHub token",
        _github,
        (
            (
                "bad credentials|401",
                "GitHub does not know the token of vault-github-token: make another, with read:org.",
            ),
            (
                "not part of required org",
                (
                    "The token's owner must be in the organization of {mount}/config, and the token must be allowed to "
                    "see that (read:org; a GITHUB_TOKEN of a job is of no user)."
                ),
            ),
            ("organization not found|not configured", "Configure it: vault write {mount}/config organization=ORG."),
            _NO_MOUNT,
        ),
    ),
}
