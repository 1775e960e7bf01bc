"""Who we are to AWS: a role assumed with the job's ID token, or what the machine itself has."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.credentials import Credentials

from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret
from imip_secrets.stores.aws.errors import EXPIRED, Refusal
from imip_secrets.stores.aws.failure import PERSISTENT, Failure
from imip_secrets.stores.aws.names import PARTITIONS, find_principal, parse_arn
from imip_secrets.stores.aws.session import garbled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imip_secrets.identity import IdToken
    from imip_secrets.settings import Settings
    from imip_secrets.stores.aws.session import AwsSession
    from imip_secrets.stores.base import Context

# GitHub's tokens live for some five minutes; what is left must suffice for a retry.
TOKEN_SECONDS = 120.0
# What AWS has against a token may be gone with the next: a clock that differs, keys that it could not get.
_TOKEN_TRIES = 3
_DEFAULT_SESSION_NAME = "imip-secrets"
_GITHUB = "token.actions.githubusercontent.com"

# How botocore calls the ways in which it finds credentials (botocore/credentials.py, METHOD).
_METHODS = {
    "env": "keys in the environment",
    "iam-role": "the role of this instance",
    "container-role": "the role of this container",
    "assume-role-with-web-identity": "the web identity of this machine",
    "assume-role": "a role of the AWS configuration",
    "shared-credentials-file": "keys in the AWS credentials file",
    "config-file": "keys in the AWS configuration file",
    "custom-process": "a process of the AWS configuration",
    "sso": "a single sign-on",
}


class Identity(NamedTuple):
    """Who we are after the login.

    Args:
        line: Says it to a person.
        role: The ARN of the role, or "".
        account: Its account, or "".

    """

    line: str
    role: str = ""
    account: str = ""


def login_region(settings: Settings) -> str:
    """Return where to assume the role; credentials of one region are good in all of its partition."""
    arn = parse_arn(settings["aws-role-to-assume"])
    return settings["aws-region"] or (PARTITIONS[arn.partition].home if arn else "")


def take_ambient(session: AwsSession, context: Context) -> Identity:
    """Use what botocore's own chain finds.

    Raises:
        StoreError: nothing is found, or what is found does not work.

    """
    credentials = session.log_in(session.ambient_credentials, lambda refusal: refusal.other("give credentials"))
    if credentials is None:
        what = "there are no AWS credentials"
        remedy = (
            "Give the input aws-role-to-assume, and the job `permissions: {id-token: write, contents: read}`; or run "
            "where the machine has a role."
        )
        raise StoreError(what, remedy)
    _protect(context, credentials)
    session.credentials = credentials
    method = tame(credentials.method, 40)
    return Identity(f"ambient credentials: {_METHODS.get(method, method)}")


class WebIdentity:
    """Assumes the role of the settings with the job's ID token.

    Args:
        session: Ready, not logged in.
        context: What the core gives.
        token: A fresh ID token.

    """

    def __init__(self, session: AwsSession, context: Context, token: IdToken) -> None:
        """Remember when the token came."""
        self._session = session
        self._context = context
        self._token = token
        self._until = time.monotonic() + TOKEN_SECONDS
        settings = context.settings
        self._role = settings["aws-role-to-assume"]
        self._parameters = {
            "RoleArn": self._role,
            "RoleSessionName": settings["aws-role-session-name"] or _DEFAULT_SESSION_NAME,
            "DurationSeconds": settings.number("aws-role-duration-seconds"),
        }

    def assume(self) -> Identity:
        """Log in.

        Raises:
            ImipError: AWS refuses, or no further ID token is to be had.

        """
        return self._session.log_in(self._ask, self._explain)

    def _ask(self) -> Identity:
        if time.monotonic() >= self._until:
            self._token = self._context.id_token(self._context.settings["aws-audience"])
            self._until = time.monotonic() + TOKEN_SECONDS
        client = self._session.client("sts", login_region(self._context.settings))
        token = self._token.token.reveal()
        answer = client.assume_role_with_web_identity(WebIdentityToken=token, **self._parameters)
        return self._take(answer)

    def _take(self, answer: Mapping[str, Any]) -> Identity:
        """Keep the credentials, masked first."""
        given = answer.get("Credentials") or {}
        parts = [given.get(name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
        user, until = (answer.get("AssumedRoleUser") or {}).get("Arn"), given.get("Expiration")
        if not all(parts) or not user or not isinstance(until, datetime):
            raise garbled()
        credentials = Credentials(*parts, method=_DEFAULT_SESSION_NAME)
        _protect(self._context, credentials)
        self._session.credentials = credentials
        arn = parse_arn(user) or parse_arn(self._role)
        end = until.astimezone(timezone.utc)
        line = f"assumed {find_principal(user) or tame(user, 200)} until {end:%H:%M} UTC"
        return Identity(line, self._role, arn.account if arn else "")

    def _explain(self, refusal: Refusal) -> Failure:
        """Say why STS refused the token or the role."""
        if refusal.is_denied():
            return self._denied()
        if refusal.code in EXPIRED or refusal.code == "InvalidIdentityToken":
            # Another try is worth another token alone.
            self._until = 0.0
            return self._bad_token(refusal)
        if refusal.code == "IDPCommunicationError":
            what = f"AWS could not reach the issuer of the ID token ({refusal.message})"
            return Failure(what, "Run the job again; the issuer must be reachable from the internet.", tries=PERSISTENT)
        if refusal.code == "RegionDisabledException":
            region = login_region(self._context.settings)
            return Failure(f"STS is not active in {region}", "Activate it for the account in IAM, Account settings.")
        if "MaxSessionDuration" in refusal.message:
            what = f"the role {self._role} does not allow sessions of {self._parameters['DurationSeconds']} s"
            return Failure(what, "Lower aws-role-duration-seconds, or raise the role's maximum session duration.")
        return refusal.other(f"let this job assume {self._role}")

    def _bad_token(self, refusal: Refusal) -> Failure:
        """Explain what AWS has against the token; the order is from the telling to the vague."""
        what = f"AWS did not accept the ID token ({refusal.message or refusal.code}; {self._token.describe()})"
        message, provider = refusal.message.lower(), self._provider()
        if "audience" in message:
            audience = tame(self._context.settings["aws-audience"], 120)
            remedy = f"Add {audience} to the audiences of {provider}, or give its audience as the input aws-audience."
            return Failure(what, remedy)
        if "no openidconnect provider" in message:
            remedy = (
                f"Create {provider} in IAM (URL {tame(self._issuer_url(), 120)}, audience "
                f"{tame(self._context.settings['aws-audience'], 120)}), and check the account in aws-role-to-assume."
            )
            return Failure(what, remedy)
        if "thumbprint" in message:
            return Failure(what, f"Correct the thumbprints of {provider}.")
        clock = f"; this machine's clock differs from AWS's by {abs(refusal.behind):.0f} s" if refusal.behind else ""
        remedy = f"Run the job again. If it stays so, check {provider} and the clock of the issuer."
        return Failure(f"{what}{clock}", remedy, tries=_TOKEN_TRIES)

    def _denied(self) -> Failure:
        """Show the claims beside the conditions that have to match them."""
        issuer, sub = self._issuer(), tame(self._token.claims.get("sub", ""), 200)
        what = f"the trust policy of {self._role} does not let this job in, or there is no such role"
        if issuer != _GITHUB:
            immutable = ""
        elif "@" in sub:
            immutable = (
                " This sub is of the immutable form repo:ORG@ID/REPO@ID:..., which new, renamed and transferred "
                "repositories have since 2026-07-15: a condition without the ids does not match it."
            )
        else:
            immutable = (
                " A repository that is created, renamed or transferred since 2026-07-15 has a sub of the immutable "
                "form repo:ORG@ID/REPO@ID:... instead."
            )
        remedy = (
            f"The token says: {self._token.describe()}. In the role's trust policy, allow "
            f"sts:AssumeRoleWithWebIdentity to {self._provider()}, let the condition on {issuer}:sub match {sub} and "
            f"that on {issuer}:aud be {tame(self._token.claims.get('aud', ''), 120)}.{immutable}"
        )
        return Failure(what, remedy)

    def _issuer_url(self) -> str:
        return str(self._token.claims.get("iss", f"https://{_GITHUB}"))

    def _issuer(self) -> str:
        """Return the issuer as policies name it: without the scheme."""
        return tame(self._issuer_url().partition("://")[2] or self._issuer_url(), 120)

    def _provider(self) -> str:
        arn = parse_arn(self._role)
        partition, account = (arn.partition, arn.account) if arn else ("aws", "ACCOUNT_ID")
        return f"the identity provider arn:{partition}:iam::{account}:oidc-provider/{self._issuer()}"


def _protect(context: Context, credentials: Credentials) -> None:
    """Have every part masked before anything is done with it."""
    for part in credentials.get_frozen_credentials()[:3]:
        if part:
            context.protect(Secret(part))
