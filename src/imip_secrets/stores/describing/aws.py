"""What AWS Secrets Manager tells of a secret, and CloudTrail of who read it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, NamedTuple

from imip_secrets.foreign import tame
from imip_secrets.stores.aws.failure import Failure
from imip_secrets.stores.aws.names import find_principal, resource_of
from imip_secrets.stores.aws.secrets_manager import AwsStore
from imip_secrets.stores.describing.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imip_secrets.stores.aws.errors import Place, Refusal
    from imip_secrets.stores.base import Context, Target

_SERVICE, _TRAIL = "secretsmanager", "cloudtrail"
_CURRENT = "AWSCURRENT"
_READS = "GetSecretValue"
# CloudTrail allows two of these requests in a second and gives fifty events each; more is a matter for Athena.
MAX_PAGES = 200


class Read(NamedTuple):
    """One reading of a secret.

    Args:
        secret: Its name or ARN, as it was asked for.
        who: Who read it.
        at: When.
        denied: Whether it was refused.

    """

    secret: str
    who: str
    at: datetime
    denied: bool


def open_describer(context: Context) -> AwsDescriber:
    """Make the describer; botocore is imported by its login."""
    return AwsDescriber(context)


class AwsDescriber(AwsStore):
    """The secrets of one identity, described."""

    def describe(self, target: Target) -> Facts:
        """Ask for a secret's dates: ``secretsmanager:DescribeSecret``.

        Raises:
            MissingError: there is no such secret.
            StoreError: AWS refuses or fails.

        """
        session, place = self._at(target)
        call = methodcaller("describe_secret", SecretId=target.path)
        answer = session.ask(_SERVICE, place.region, call, partial(_not_described, place))
        stages: dict[str, list[str]] = answer.get("VersionIdsToStages") or {}
        return Facts(
            made=_moment(answer.get("CreatedDate")),
            changed=self._made(target, stages) or _moment(answer.get("LastChangedDate")),
            accessed=_moment(answer.get("LastAccessedDate")),
            rotated=_moment(answer.get("LastRotatedDate")),
            rotation=bool(answer.get("RotationEnabled")),
            versions=len(stages) or None,
        )

    def reads(self, target: Target, days: int) -> Iterator[Read]:
        """Give who read secrets in a region, the newest first: ``cloudtrail:LookupEvents``.

        Args:
            target: Any secret of the region.
            days: How far back; CloudTrail itself keeps ninety.

        Raises:
            StoreError: AWS refuses or fails.

        """
        session, place = self._at(target)
        until = datetime.now(timezone.utc)
        asked = {
            "LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": _READS}],
            "StartTime": until - timedelta(days=days),
            "EndTime": until,
        }
        token = ""
        for _ in range(MAX_PAGES):
            page = {**asked, **({"NextToken": token} if token else {})}
            call = methodcaller("lookup_events", **page)
            answer = session.ask(_TRAIL, place.region, call, partial(_not_looked_up, place))
            yield from filter(None, map(_read, answer.get("Events") or []))
            token = answer.get("NextToken") or ""
            if not token:
                return
        self._context.notice(f"CloudTrail has more events than {MAX_PAGES} pages: the rest is left out")

    def _made(self, target: Target, stages: dict[str, list[str]]) -> datetime | None:
        """Ask when the current version was made; a tag that was changed also changes the secret's own date."""
        current = next((version for version, labels in stages.items() if _CURRENT in labels), None)
        if current is None:
            return None
        session, place = self._at(target)
        call = methodcaller("list_secret_version_ids", SecretId=target.path)
        try:
            answer = session.ask(_SERVICE, place.region, call, partial(_not_described, place)).get("Versions") or []
        except Exception:  # noqa: BLE001 - one more permission, which many roles lack: the secret's own date must do
            return None
        return next((_moment(each.get("CreatedDate")) for each in answer if each.get("VersionId") == current), None)


def _read(event: dict[str, Any]) -> Read | None:
    """Take a reading off an event of CloudTrail (its page "CloudTrail record contents")."""
    try:
        record = json.loads(event.get("CloudTrailEvent") or "{}")
        # AWS writes "secretId"; ministack leaves it as it was sent.
        asked = {name.lower(): value for name, value in (record.get("requestParameters") or {}).items()}
        identity = record.get("userIdentity") or {}
        arn = find_principal(str(identity.get("arn") or ""))
    except (ValueError, AttributeError, RecursionError):
        return None
    secret = asked.get("secretid")
    at = _moment(event.get("EventTime"))
    if not isinstance(secret, str) or at is None:
        return None
    who = arn or tame(event.get("Username") or identity.get("principalId") or "somebody", 120)
    return Read(secret, who, at, bool(record.get("errorCode")))


def _moment(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def _not_described(place: Place, refusal: Refusal) -> Failure:
    if refusal.is_denied():
        resource = resource_of(place.target, place.region, place.account_of(refusal))
        what = f"describing the secret {place.shown} is denied"
        return Failure(what, place.allow(refusal, "secretsmanager:DescribeSecret", resource))
    return place.not_read(refusal)


def _not_looked_up(place: Place, refusal: Refusal) -> Failure:
    if refusal.is_denied():
        what = f"CloudTrail in {place.region} may not be asked who read the secrets"
        return Failure(what, place.allow(refusal, "cloudtrail:LookupEvents", "*"))
    return place.bad_credentials(refusal) or refusal.other(f"say who read the secrets of {place.region}")
