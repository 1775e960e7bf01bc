"""AWS Secrets Manager, through botocore (``docs/decisions/0005-botocore.md``)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from imip_secrets.errors import MissingError, StoreError
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret
from imip_secrets.stores.aws.access import AwsAccess, logged_in
from imip_secrets.stores.aws.check import check
from imip_secrets.stores.aws.names import ARN_START, region_of
from imip_secrets.stores.base import Found, Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from botocore.client import BaseClient

    from imip_secrets.stores.aws.errors import Place
    from imip_secrets.stores.aws.session import AwsSession
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
        self._access: AwsAccess | None = None

    def login(self) -> str:
        """Assume the role with an ID token, or take the ambient credentials.

        Raises:
            ImipError: there is no ID token, AWS refuses it, or there are no credentials.

        """
        self._access = AwsAccess.take(self._context)
        return self._access.log_in().line

    def fetch(self, target: Target) -> Found:
        """Read one secret: ``secretsmanager:GetSecretValue`` is all that it needs.

        Raises:
            StoreError: it cannot be read; ``MissingError`` where it is not there.

        """
        session, place = self._at(target)
        version = {"VersionId": target.version} if target.version else {"VersionStage": target.stage or _CURRENT}

        return session.ask(_SERVICE, place.region, partial(_read, place, version), place.not_read)

    def version_of(self, target: Target) -> Version | None:
        """Give the version that a read would give; needs ``secretsmanager:DescribeSecret``, or there is none."""
        session, place = self._at(target)
        try:
            stages = session.ask(_SERVICE, place.region, partial(_stages, place), place.not_read)
        except MissingError:
            raise
        except StoreError:
            return None
        wanted = target.stage or _CURRENT
        named = [
            version
            for version, marks in stages.items()
            if (version == target.version if target.version else wanted in marks)
        ]
        return Version(tame(named[0], 80)) if len(named) == 1 else None

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
        return [target._replace(path=name) for name, rest in rests if rest and (deep or "/" not in rest)]

    def _names(self, target: Target) -> Iterator[str]:
        """Give the names of all pages; AWS leaves out what is scheduled for deletion."""
        session, place = self._at(target)
        narrowed = {"Filters": [{"Key": "name", "Values": [target.path]}]} if target.path else {}
        token: str | None = ""
        while token is not None:
            page = {**narrowed, **({"NextToken": token} if token else {})}
            names, token = session.ask(_SERVICE, place.region, partial(_page, page), place.not_listed)
            yield from names

    def close(self) -> None:
        """Close every connection and forget the credentials, which end by themselves."""
        if self._access:
            self._access.give_back()

    def _at(self, target: Target) -> tuple[AwsSession, Place]:
        """Return what to ask with, and the words for what is asked."""
        from imip_secrets.stores.aws.errors import Place  # noqa: PLC0415  # needed by then

        session, identity = logged_in(self._access)
        return session, Place(target, region_of(target, self._context.settings), identity.role, identity.account)


def _read(place: Place, version: Mapping[str, str], client: BaseClient) -> Found:
    """Read a secret once: text or bytes, exactly one of them.

    botocore makes an empty answer of one that it cannot read; that must not become an empty secret.
    """
    answer: Mapping[str, Any] = client.get_secret_value(SecretId=place.target.path, **version)
    values = [answer[name] for name in ("SecretString", "SecretBinary") if answer.get(name) is not None]
    if len(values) != 1:
        raise place.unanswered()
    return Found(Secret(values[0]), version=tame(answer.get("VersionId", ""), 80), changed=answer.get("CreatedDate"))


def _stages(place: Place, client: BaseClient) -> Mapping[str, Sequence[str]]:
    """Describe a secret once: the labels of its versions."""
    answer: Mapping[str, Any] = client.describe_secret(SecretId=place.target.path)
    stages: Mapping[str, Sequence[str]] = answer.get("VersionIdsToStages") or {}
    return stages


def _page(page: Mapping[str, Any], client: BaseClient) -> tuple[Sequence[str], str | None]:
    """List a page once: the names on it, and what the next page is asked for with."""
    answer: Mapping[str, Any] = client.list_secrets(MaxResults=_PAGE, **page)
    names = [entry["Name"] for entry in answer["SecretList"] if entry.get("DeletedDate") is None]
    return names, answer.get("NextToken") or None
