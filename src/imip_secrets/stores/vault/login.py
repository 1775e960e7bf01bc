"""Who we are to Vault: the logins, and what is wrong when one is refused.

A method is one function in :data:`METHODS`; those that most runs do not use are in :mod:`.logins`.
"""

from __future__ import annotations

import os
import random
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets.errors import Problem, StoreError
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret
from imip_secrets.stores.vault.answer import span
from imip_secrets.stores.vault.auth import Login, check_token, method_of
from imip_secrets.stores.vault.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imip_secrets.identity import IdToken
    from imip_secrets.settings import Settings
    from imip_secrets.stores.base import Context
    from imip_secrets.stores.vault.answer import Answer
    from imip_secrets.stores.vault.client import VaultClient

LOGINS = 3  # with a fresh ID token each, when it is the clocks that differ
_TOKEN_FILE = ".vault-token"  # noqa: S105 - the file's name: where "vault login" leaves the token
_OUT_OF_TIME = re.compile(r"\((?:exp|nbf|iat)\)|expired|not yet valid|issued in the future", re.IGNORECASE)
_BOUND_CLAIM = re.compile(r'claim "([^"]+)"')


# What each login method needs; all of it is text but the secrets.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "jwt": ("vault-role",),
    "kubernetes": ("vault-role",),
    "approle": ("vault-role-id",),
    "userpass": ("vault-username", "vault-password"),
    "ldap": ("vault-username", "vault-password"),
    "github": ("vault-github-token",),
}
_EXAMPLES = {
    "vault-role": "Give the name of the role to log in with, such as vault-role: imip-ci.",
    "vault-role-id": "Give the role id: vault read auth/approle/role/ROLE/role-id shows it.",
    "vault-username": "Give the name of the user to log in as.",
    "vault-password": "Give the password of the user in vault-username.",
    "vault-github-token": "Give a personal access token of GitHub that may read:org.",
}
# By what is given, the login method that was probably meant.
_MEANT = {
    "vault-role-id": "approle",
    "vault-secret-id": "approle",
    "vault-username": "userpass",
    "vault-password": "userpass",
    "vault-github-token": "github",
}


def check_login(settings: Settings) -> Iterator[Problem]:
    """Find what is missing for the login method."""
    method = method_of(settings)
    meant = next((name for name in _MEANT if settings.given(name)), None)
    if meant and method == "jwt" and not settings.given("vault-role"):
        what = f"it is missing, while {meant} is given"
        yield Problem(what, "input vault-auth-method", f"Write vault-auth-method: {_MEANT[meant]}.")
        return
    for name in _NEEDS.get(method, ()):
        if not settings.given(name):
            yield Problem("it is missing", f"input {name}", _EXAMPLES[name])
    if method == "token" and not settings.given("vault-token") and not _token_file():
        yield _NO_TOKEN
    name = settings["vault-username"]
    if name and ("/" in name or not name.strip(".") or not name.isprintable()):
        yield Problem("it is no name of a user", "input vault-username", "Write it without slashes.")
    if settings["vault-auth-path"].strip("/").startswith("auth/"):
        plain = tame(settings["vault-auth-path"].strip("/").removeprefix("auth/"), 80)
        yield Problem("it begins with auth/", "input vault-auth-path", f"Leave that out: vault-auth-path: {plain}.")


_NO_TOKEN = Problem(
    "it is missing",
    "input vault-token",
    "Give a token, or log in without one: vault-auth-method: jwt with a vault-role.",
)


def log_in(context: Context, client: Callable[[], VaultClient]) -> Session:
    """Log in, and mask the token before it is used.

    Args:
        context: What the core gives.
        client: Waits until the client is ready; called as late as can be, so
            that it is made while the ID token is on its way.

    Raises:
        ImipError: there is no ID token, or Vault refused it; says what to change.

    """
    session = METHODS[method_of(context.settings)](context, client)
    client().use(session.token, fresh=session.ours)
    return session


def _jwt(context: Context, client: Callable[[], VaultClient]) -> Session:
    """Change the job's ID token for a token of Vault's; once more with a fresh one when the clocks differ."""
    settings = context.settings
    role = settings["vault-role"]
    login = Login.of(settings, f"role {tame(role, 60)}")
    audience = settings["vault-audience"] or login.address
    attempt = 1
    while True:
        token = context.id_token(audience)
        answer = client().jwt_login(login.namespace, login.mount, role, token.token)
        late = answer.status in {400, 401, 403} and _OUT_OF_TIME.search(answer.reason)
        pause = random.uniform(1, 2) * attempt  # noqa: S311 - jitter
        if not late or attempt == LOGINS or not context.deadline.sleep(pause):
            break
        attempt += 1
    if not answer.ok:
        raise login.refused(client(), answer, partial(_jwt_remedy, login, role, token))
    return login.session(context, answer)


def _jwt_remedy(login: Login, role: str, token: IdToken, answer: Answer) -> str:
    """Set the token's claims beside the setting to change."""
    said = answer.reason
    remedy = next(remedy for pattern, remedy in _REMEDIES if re.search(pattern, said, re.IGNORECASE))
    claim = _BOUND_CLAIM.search(said)
    return remedy.format(
        mount=login.shown_mount,
        role=tame(role, 60),
        claim=tame(claim[1], 60) if claim else "",
        claims=f"The token has {token.describe()}.",
        issuer=tame(token.claims.get("iss"), 120),
        form=_subject_form(token),
        clocks=_clocks(answer, token),
    )


# By the words of Vault's plugin jwt and of the library cap that it uses (cap: jwt/jwt.go); the first that fits.
_REMEDIES = (
    ("role .* could not be found", "Write the role (vault write {mount}/role/{role} ...), or correct vault-role."),
    (
        "audience",
        "Let bound_audiences of the role hold the token's aud, or set vault-audience to one that it holds. {claims}",
    ),
    ('claim "', "Let bound_claims of the role fit the claim {claim}. {claims} {form}"),
    ("subject", "Let bound_subject of the role be the token's sub. {claims} {form}"),
    ("issuer", "Let bound_issuer of {mount}/config be the token's iss. {claims}"),
    (_OUT_OF_TIME.pattern, "Set the clocks right{clocks}; a fresh token did not help."),
    (
        "signature|key",
        "Let oidc_discovery_url or jwks_url of {mount}/config lead to the keys of the token's issuer, {issuer}.",
    ),
    (
        "",
        "Is a login method jwt mounted at {mount}, in this namespace? Else set vault-auth-path or -namespace. {claims}",
    ),
)


def _subject_form(token: IdToken) -> str:
    """Explain the two forms of GitHub's sub (GitHub: "OpenID Connect reference", immutable subject claims)."""
    if "@" in str(token.claims.get("sub", "")).partition(":")[2].partition(":")[0]:
        return (
            "This repository sends the form with ids (repo:ORG@ID/REPO@ID:..., since 2026-07-15 for new, renamed and "
            "transferred repositories): a role written for repo:ORG/REPO:... does not fit it."
        )
    return (
        "This repository sends the form without ids; new, renamed and transferred ones send repo:ORG@ID/REPO@ID:... "
        "since 2026-07-15."
    )


def _clocks(answer: Answer, token: IdToken) -> str:
    """Say how far Vault's clock is from the issuer's, where both are known."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - only an error needs it

    issued = token.claims.get("iat")
    try:
        seconds = parsedate_to_datetime(answer.date).timestamp() - float(str(issued))
    except (ValueError, OverflowError):  # whatever the server sends as its Date
        return ""
    return f": Vault's is {span(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'} the token's issuer"


def _token(context: Context, client: Callable[[], VaultClient]) -> Session:  # noqa: ARG001 - as every method
    """Use a token given by hand. It is not looked up: a policy may forbid that, and a read tells as much."""
    token = context.settings.secret("vault-token")
    source = "the token of vault-token"
    file = _token_file()
    if token is None and context.ambient and file:
        token = Secret(file.read_bytes().strip())
        source = f"the token of ~/{_TOKEN_FILE}"
    if not token:
        what = f"{_NO_TOKEN.where} is missing"
        raise StoreError(what, _NO_TOKEN.remedy)
    check_token(token, source)
    context.protect(token)
    address = context.settings["vault-addr"].rstrip("/")
    return Session(token, f"using {source} at {address}", source, doubt=" If the token has expired, renew it.")


def _token_file() -> Path | None:
    """Return where ``vault login`` leaves its token; None where there is none, or none that we may read."""
    try:
        path = Path.home() / _TOKEN_FILE
        return path if path.is_file() and os.access(path, os.R_OK) else None
    except (OSError, RuntimeError):  # a home of somebody else's, or none at all, as in some containers
        return None


def _other(context: Context, client: Callable[[], VaultClient]) -> Session:
    from imip_secrets.stores.vault import logins  # noqa: PLC0415 - most runs use none of these

    return logins.log_in(context, client, method_of(context.settings))


METHODS: Mapping[str, Callable[[Context, Callable[[], VaultClient]], Session]] = {
    "jwt": _jwt,
    "token": _token,
    **dict.fromkeys(("approle", "kubernetes", "userpass", "ldap", "github"), _other),
}
