"""Who we are to GitHub: a token that was given, or an App, whose tokens are made for this run alone.

An App's token is good for the repositories and the permissions that the run
touches and for nothing else, is masked before it is used, made anew before it
runs out, and revoked at the end. Nothing here knows how a token looks: GitHub
changed that before and will again.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from github.Auth import AppAuth, AppAuthToken, Token

from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError, StoreError
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret
from imip_secrets.sync import permissions
from imip_secrets.sync.base import DeniedError
from imip_secrets.sync.faults import Ask, Who, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from github.Auth import Auth

    from imip_secrets.sync.api import Answer, Api
    from imip_secrets.sync.base import Access, Reach

# How much of its life a token has at least when it is used; the longest request with all its tries ends in it.
FRESH_SECONDS = 300.0
# How many repositories a token can be narrowed to.
MOST_REPOSITORIES = 500
# How long the revocation of one token may take, even when the time of the run is over.
REVOKING = 5.0

_LIFE = 3600.0
_JWT_SECONDS = 480
_NOTICEABLE = 20.0  # a clock that is off by less is said to be right
_BEGIN = "-----BEGIN"
_UNAUTHENTICATED, _NOT_FOUND, _UNPROCESSABLE = 401, 404, 422
_NO_APP = "integration not found"  # a 404, for an App's id that is none


class Session(Protocol):
    """A login for one owner; see :class:`imip_secrets.sync.api.Login`."""

    @property
    def account(self) -> str:
        """Whose limit of an hour the requests count for."""

    @property
    def who(self) -> Who:
        """How we call it to the reader."""

    def auth(self) -> Auth:
        """Return what PyGithub makes the header from."""


class TokenSession:
    """A token that was given. It is neither checked beforehand nor revoked: it is not ours."""

    account = "token"
    who = Who("the token of the input github-token")

    def __init__(self, token: Secret) -> None:
        """Hold it."""
        self._auth = Token(token.reveal())

    def auth(self) -> Auth:
        """Return it."""
        return self._auth


@dataclass(slots=True)
class _Issued:
    """A token that GitHub made for us."""

    auth: Token
    until: float


@dataclass(frozen=True, slots=True)
class _Installation:
    """Where the App is installed.

    Args:
        id: Its number.
        app: The App's name in addresses.
        page: Where its owner looks at it.
        granted: What it may do, by permission.

    """

    id: int
    app: str
    page: str
    granted: Mapping[str, str]


class App:
    """A GitHub App: its own login, by its private key.

    Args:
        api: GitHub.
        access: Has the App's id and key.

    """

    account = "app"

    def __init__(self, api: Api, access: Access) -> None:
        """Read the key.

        Raises:
            StoreError: it is none.

        """
        self.api = api
        self.access = access
        self.who = Who("the GitHub App", is_app=True)
        self._key = read_key(access.app_key or Secret(""))
        self._ahead = 0.0
        self._auth = AppAuth(access.app_id, sign_func=self._sign, jwt_expiry=_JWT_SECONDS)

    def auth(self) -> Auth:
        """Return a fresh JWT, valid for some minutes."""
        return AppAuthToken(self._auth.create_jwt())

    def _sign(self, claims: dict[str, int | str]) -> str:
        """Sign what PyGithub made, on GitHub's clock."""
        for claim in ("iat", "exp"):
            claims[claim] = int(claims[claim]) + round(self._ahead)
        return jwt.encode(claims, self._key, "RS256")

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Answer:
        """Ask as the App; where its key is refused because our clock is wrong, once more by GitHub's."""
        answer = self.api.send(self, method, path, body)
        off = _ahead(answer)
        if answer.status == _UNAUTHENTICATED and abs(off) > _NOTICEABLE and not self._ahead:
            self._ahead = off
            way = "behind" if off > 0 else "ahead of"
            self.access.notice(f"This machine's clock is {abs(off):.0f} s {way} GitHub's, which is allowed for.")
            answer = self.api.send(self, method, path, body)
        if answer.status == _UNAUTHENTICATED or _NO_APP in answer.message.lower():
            raise self._not_known(answer)
        return answer

    def _not_known(self, answer: Answer) -> DeniedError:
        return DeniedError(
            f"GitHub does not accept the App {tame(self.access.app_id, 40)} with this key (it answers "
            f'{answer.status}: "{tame(answer.message, 120)}")',
            "github-app-id and github-app-private-key must be of the same App, and the key one of those that its "
            "settings list: a deleted key is dead. Make a new one there if in doubt.",
        )


class AppSession:
    """An App at one owner: its installation, and the tokens made there.

    Args:
        app: The App.
        reach: What the tokens are to be good for.

    """

    def __init__(self, app: App, reach: Reach) -> None:
        """Ask for nothing yet."""
        self.account = f"installation {reach.owner.lower()}"
        self.who = app.who
        self._app = app
        self._reach = reach
        self._installation = _Installation(0, "", "", {})
        self._repositories: Sequence[str] = sorted(reach.repositories)
        self._lock = threading.Lock()
        self._issued: list[_Issued] = []

    def login(self) -> str:
        """Find the installation and get the first token; say who we are.

        Raises:
            ImipError: the App is not installed, or lacks a permission: each by name.

        """
        self._installation = self._find()
        self.who = Who(f"the GitHub App {self._installation.app}", is_app=True)
        self._check_permissions()
        if len(self._repositories) > MOST_REPOSITORIES:
            self._app.access.notice(
                f"A token can be narrowed to {MOST_REPOSITORIES} repositories, and {len(self._repositories)} are asked "
                f"for: it is good for all that the App has at {self._reach.owner}."
            )
            self._repositories = ()
        self._issue()
        many = len(self._repositories)
        what = f"{many} repositor{'y' if many == 1 else 'ies'}" if many else "all its repositories"
        return f"GitHub App {self._installation.app} at {self._reach.owner}, for {what}, until it is revoked at the end"

    def auth(self) -> Auth:
        """Return a token that lives long enough."""
        with self._lock:
            if self._issued[-1].until - time.monotonic() < FRESH_SECONDS:
                self._issue()
            return self._issued[-1].auth

    def revoke(self) -> None:
        """Revoke every token that may still live; never raises."""
        for issued in self._issued:
            if issued.until > time.monotonic():
                self._revoke(issued)
        self._issued.clear()

    def _revoke(self, issued: _Issued) -> None:
        fault = "no answer"
        with suppress(ImipError):
            login = _Bearer(issued.auth, self.account)
            answer = self._app.api.send(login, "DELETE", "/installation/token", last=Deadline(REVOKING))
            # 401: it has run out, or somebody was faster.
            if not answer.refused or answer.status == _UNAUTHENTICATED:
                return
            fault = f"it answers {answer.status}"
        self._app.access.notice(
            f"The token of the GitHub App for {self._reach.owner} could not be revoked ({fault}): it ends by itself "
            "within the hour."
        )

    def _find(self) -> _Installation:
        owner = quote(self._reach.owner, safe="")
        answer = self._app.ask("GET", f"/orgs/{owner}/installation")
        if answer.status == _NOT_FOUND:
            answer = self._app.ask("GET", f"/users/{owner}/installation")
        if answer.status == _NOT_FOUND:
            what = f"the GitHub App {tame(self._app.access.app_id, 40)} is not installed at {self._reach.owner}"
            raise DeniedError(what, "Install it there (App settings, Install App), for the repositories of sync-to.")
        if answer.refused:
            raise refusal(answer, Ask("the look-up of the App's installation", self._reach.owner), self.who)
        return self._read_installation(answer)

    def _read_installation(self, answer: Answer) -> _Installation:
        data = answer.data if isinstance(answer.data, dict) else {}
        number, granted = data.get("id"), data.get("permissions")
        if not isinstance(number, int) or not isinstance(granted, dict):
            what = f"GitHub's answer for the App's installation at {self._reach.owner} cannot be used"
            raise StoreError(what, "Check github-api-url.")
        page = tame(data.get("html_url") or "", 200)
        if data.get("suspended_at"):
            what = f"the installation of the GitHub App at {self._reach.owner} is suspended"
            raise DeniedError(what, f"Unsuspend it{f' at {page}' if page else ''}.")
        return _Installation(number, tame(data.get("app_slug") or self._app.access.app_id, 60), page, granted)

    def _check_permissions(self) -> None:
        """Find every permission that is missing: a request for a token would be refused with less to say."""
        found = self._installation
        missing = [
            permissions.shown(name, level)
            for name, level in permissions.needed(self._reach).items()
            if name != permissions.METADATA and not permissions.suffices(found.granted.get(name), level)
        ]
        if missing:
            lacks = f"lacks the permission{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
            what = f"the GitHub App {found.app} {lacks} at {self._reach.owner}"
            where = f" ({found.page})" if found.page else ""
            remedy = f"Add what is missing in the App's settings, and have {self._reach.owner} accept it{where}."
            raise DeniedError(what, remedy)

    def _issue(self) -> None:
        """Get a token and mask it."""
        answer = self._ask_for_token()
        if answer.status == _UNPROCESSABLE and self._repositories:
            self._leave_out_what_the_app_has_not()
            answer = self._ask_for_token()
        if answer.refused:
            raise refusal(answer, Ask(f"a token for {self._reach.owner}", self._reach.owner), self.who)
        data = answer.data if isinstance(answer.data, dict) else {}
        token = data.get("token")
        if not isinstance(token, str) or not token:
            what = f"GitHub's answer to the request for a token for {self._reach.owner} holds none"
            raise StoreError(what, "Check github-api-url.")
        self._app.access.protect(Secret(token))
        self._issued.append(_Issued(Token(token), time.monotonic() + _lifetime(answer, data.get("expires_at"))))

    def _ask_for_token(self) -> Answer:
        body: dict[str, object] = {"permissions": permissions.needed(self._reach)}
        if self._repositories:
            body["repositories"] = list(self._repositories)
        return self._app.ask("POST", f"/app/installations/{self._installation.id}/access_tokens", body)

    def _leave_out_what_the_app_has_not(self) -> None:
        """Ask for each repository: one that the App may not see must not keep the token from the others.

        Their own requests then fail, and say so.
        """
        owner = quote(self._reach.owner, safe="")
        with_app = [
            repo
            for repo in self._repositories
            if not self._app.ask("GET", f"/repos/{owner}/{quote(repo, safe='')}/installation").refused
        ]
        if not with_app:
            names = ", ".join(f"{self._reach.owner}/{repo}" for repo in self._repositories[:5])
            what = f"the GitHub App {self._installation.app} has none of the repositories that it is to use ({names})"
            where = f" ({self._installation.page})" if self._installation.page else ""
            raise DeniedError(what, f"Add them to its installation{where}, or correct their names.")
        self._repositories = with_app


@dataclass(frozen=True, slots=True)
class _Bearer:
    """One certain token."""

    token: Auth
    account: str = field(default="")

    def auth(self) -> Auth:
        return self.token


def read_key(pem: Secret) -> RSAPrivateKey:
    r"""Read an App's private key; line breaks may have become ``\n`` on the way, as in JSON and in some settings.

    Raises:
        StoreError: it is none.

    """
    text = pem.reveal().strip() if pem.is_text() else ""
    if "\n" not in text:
        text = text.replace("\\n", "\n")
    if text.startswith(_BEGIN):
        with suppress(ValueError, TypeError, UnsupportedAlgorithm):
            key = load_pem_private_key(f"{text}\n".encode(), None)
            if isinstance(key, RSAPrivateKey):
                return key
    what = "github-app-private-key holds no RSA private key in PEM form without a passphrase"
    remedy = (
        "Give the whole .pem file that GitHub made for the App, from its BEGIN to its END line, or a reference to "
        "where it is kept: vault://secret/github-app#private_key."
    )
    raise StoreError(what, remedy)


def _ahead(answer: Answer) -> float:
    """Tell by how many seconds GitHub's clock is before ours."""
    return answer.date.timestamp() - time.time() if answer.date else 0.0


def _lifetime(answer: Answer, expires_at: object) -> float:
    """Tell how long a token lives, by GitHub's own clock."""
    with suppress(ValueError, TypeError):  # the second for a time without its zone
        end = datetime.fromisoformat(str(expires_at).replace("Z", "+00:00"))
        return (end - (answer.date or datetime.now(timezone.utc))).total_seconds()
    return _LIFE


def revoke_all(sessions: Iterable[AppSession]) -> None:
    """Revoke the tokens of every session."""
    for session in sessions:
        session.revoke()
