"""What all logins to Vault share: the method and its mount, the session of an answer, the words of a refusal."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret
from imip_secrets.stores.vault.answer import part, span, whole, words
from imip_secrets.stores.vault.errors import unwell
from imip_secrets.stores.vault.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from imip_secrets.settings import Settings
    from imip_secrets.stores.base import Context
    from imip_secrets.stores.vault.answer import Answer
    from imip_secrets.stores.vault.client import VaultClient

_TOKEN = re.compile(rb"[!-~]+")


def method_of(settings: Settings) -> str:
    """Return the login method: the one that is set, else ``jwt``, unless there is no role but a token."""
    if settings.given("vault-auth-method") or settings.given("vault-role"):
        return settings["vault-auth-method"]
    return "token" if settings.given("vault-token") else settings["vault-auth-method"]


class Login(NamedTuple):
    """A login at a method, and the words about it.

    Args:
        address: Of Vault.
        namespace: Where the method is.
        mount: Where it is mounted.
        subject: Who logs in, such as "role imip-ci"; fit to be shown.

    """

    address: str
    namespace: str
    mount: str
    subject: str

    @classmethod
    def of(cls, settings: Settings, subject: str) -> Login:
        """Take what the settings say."""
        mount = settings["vault-auth-path"].strip("/") or method_of(settings)
        return cls(settings["vault-addr"].rstrip("/"), settings["vault-namespace"].strip("/"), mount, subject)

    @property
    def shown_mount(self) -> str:
        """The mount as Vault's own tools write it."""
        return f"auth/{tame(self.mount, 60)}"

    def session(self, context: Context, answer: Answer) -> Session:
        """Make a session of Vault's answer, the token masked."""
        auth = part(answer.body, "auth")
        text = words(auth, "client_token")
        if not text:
            what = f"Vault at {self.address} answered the login without a token"
            raise StoreError(what, "Does the login ask for a second factor? A job cannot give one.")
        token = Secret(text)
        check_token(token, f"the answer of Vault at {self.address}")
        context.protect(token)
        seconds = whole(auth, "lease_duration")
        names = auth.get("token_policies") or auth.get("policies")
        policies = ", ".join(tame(name, 60) for name in names) if isinstance(names, list) else ""
        lives = f" (token lives {span(seconds)})" if seconds else ""
        held = f", policies {policies}" if policies else ""
        return Session(
            token,
            f"logged in at {self.address} as {self.subject}{held}{lives}",
            f"the {self.subject}{f' (its token has {policies})' if policies else ''}",
            ours=True,
            revocable=words(auth, "token_type") != "batch",
            ends=time.monotonic() + seconds if seconds else math.inf,
        )

    def refused(self, client: VaultClient, answer: Answer, remedy: Callable[[Answer], str]) -> StoreError:
        """Say why Vault refused, with what to change."""
        said = answer.reason
        if answer.status not in {400, 401, 403, 404} or "namespace not found" in said:
            return unwell(client, answer, self.namespace)
        place = f" in namespace {tame(self.namespace, 80)}" if self.namespace else ""
        told = said or f"status {answer.status}"
        what = f"Vault at {self.address} refused the login with the {self.subject} of {self.shown_mount}{place}: {told}"
        return StoreError(what, remedy(answer))


def check_token(token: Secret, source: str) -> None:
    """Refuse what cannot go into a header; the errors of http.client would hold it."""
    if not _TOKEN.fullmatch(token.reveal_bytes()):
        what = f"{source} holds characters that no token has"
        raise StoreError(what, "Give the token alone, without quotes or line breaks.")
