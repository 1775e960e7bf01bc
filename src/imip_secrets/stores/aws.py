"""AWS Secrets Manager, through botocore (``docs/decisions/0005-botocore.md``)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret
from imip_secrets.stores.aws_check import check
from imip_secrets.stores.aws_names import ARN_START, region_of
from imip_secrets.stores.base import Found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from botocore.client import BaseClient

    from imip_secrets.stores.aws_errors import Place
    from imip_secrets.stores.aws_login import Identity
    from imip_secrets.stores.aws_session import AwsSession
    from imip_secrets.stores.base import Context, Target

__all__ = ["check", "open_store"]

_SERVICE = "secretsmanager"
# Asked for by name, it also satisfies policies with a condition on secretsmanager:VersionStage.
_CURRENT = "AWSCURRENT"
_PAGE = 100


def open_store(context: Context) -> AwsStore:
    """Make the store; botocore is imported by its login, while the ID token is on its way."""
    return AwsStore(context)


class AwsStore:
    """The secrets of one identity, in all regions. See :class:`~imip_secrets.stores.base.Store`."""

    def __init__(self, context: Context) -> None:
        """Remember the context."""
        self._context = context
        self._session: AwsSession | None = None
        self._identity: Identity | None = None

    def login(self) -> str:
        """Assume the role with an ID token, or take the ambient credentials.

        Raises:
            ImipError: there is no ID token, AWS refuses it, or there are no credentials.

        """
        self._identity = self._log_in()
        return self._identity.line

    def _log_in(self) -> Identity:
        settings = self._context.settings
        if not settings.given("aws-role-to-assume"):
            self._session = _open_session(self._context)
            from imip_secrets.stores.aws_login import take_ambient  # noqa: PLC0415  # imports botocore

            return take_ambient(self._session, self._context)
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # imports logging

        with ThreadPoolExecutor(1) as threads:
            opening = threads.submit(_open_session, self._context)
            token = self._context.id_token(settings["aws-audience"])
            self._session = opening.result()
        from imip_secrets.stores.aws_login import WebIdentity  # noqa: PLC0415  # imports botocore

        return WebIdentity(self._session, self._context, token).assume()

    def fetch(self, target: Target) -> Found:
        """Read one secret: ``secretsmanager:GetSecretValue`` is all that it needs.

        Raises:
            StoreError: it cannot be read; ``MissingError`` where it is not there.

        """
        session, place = self._at(target)
        client = session.client(_SERVICE, place.region)
        version = {"VersionId": target.version} if target.version else {"VersionStage": target.stage or _CURRENT}

        return session.insist(partial(_read, client, place, version), place.not_read)

    def list(self, target: Target, *, deep: bool) -> Sequence[Target]:
        """Give the secrets whose names go on after ``target.path``; needs ``secretsmanager:ListSecrets``.

        Raises:
            StoreError: the path is an ARN, or AWS does not give the list.

        """
        if target.path.startswith(ARN_START):
            what = "a listing takes the start of names, not an ARN"
            raise StoreError(what, "Write it like aws://imip/*?region=us-east-1.")
        names = sorted(set(self._names(target)))
        rests = ((name, name.removeprefix(target.path)) for name in names if name.startswith(target.path))
        return [replace(target, path=name) for name, rest in rests if rest and (deep or "/" not in rest)]

    def _names(self, target: Target) -> Iterator[str]:
        """Give the names of all pages; AWS leaves out what is scheduled for deletion."""
        session, place = self._at(target)
        client = session.client(_SERVICE, place.region)
        narrowed = {"Filters": [{"Key": "name", "Values": [target.path]}]} if target.path else {}
        token: str | None = ""
        while token is not None:
            page = {**narrowed, **({"NextToken": token} if token else {})}
            names, token = session.insist(partial(_page, client, page), place.not_listed)
            yield from names

    def close(self) -> None:
        """Close every connection and forget the credentials, which end by themselves."""
        if self._session:
            self._session.close()

    def _at(self, target: Target) -> tuple[AwsSession, Place]:
        """Return what to ask with, and the words for what is asked."""
        from imip_secrets.stores.aws_errors import Place  # noqa: PLC0415  # needed by then

        if self._session is None or self._identity is None:
            msg = "the store is not logged in"
            raise RuntimeError(msg)
        region = region_of(target, self._context.settings)
        return self._session, Place(target, region, self._identity.role, self._identity.account)


def _open_session(context: Context) -> AwsSession:
    """Import botocore and set it up for the run."""
    from imip_secrets.stores.aws_login import login_region  # noqa: PLC0415  # imports botocore
    from imip_secrets.stores.aws_session import AwsSession  # noqa: PLC0415  # imports botocore

    session = AwsSession(context)
    if context.settings.given("aws-role-to-assume"):
        session.client("sts", login_region(context.settings))
    return session


def _read(client: BaseClient, place: Place, version: Mapping[str, str]) -> Found:
    """Read a secret once: text or bytes, exactly one of them.

    botocore makes an empty answer of one that it cannot read; that must not become an empty secret.
    """
    answer: Mapping[str, Any] = client.get_secret_value(SecretId=place.target.path, **version)
    values = [answer[name] for name in ("SecretString", "SecretBinary") if answer.get(name) is not None]
    if len(values) != 1:
        raise place.without_value()
    return Found(Secret(values[0]), version=tame(answer.get("VersionId", ""), 80), changed=answer.get("CreatedDate"))


def _page(client: BaseClient, page: Mapping[str, Any]) -> tuple[Sequence[str], str | None]:
    """List a page once: the names on it, and what the next page is asked for with."""
    answer: Mapping[str, Any] = client.list_secrets(MaxResults=_PAGE, **page)
    names = [entry["Name"] for entry in answer["SecretList"] if entry.get("DeletedDate") is None]
    return names, answer.get("NextToken") or None
