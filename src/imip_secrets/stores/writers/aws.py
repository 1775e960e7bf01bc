"""Writes to AWS Secrets Manager."""

from __future__ import annotations

from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING
from uuid import uuid4

from imip_secrets.errors import MissingError, StoreError
from imip_secrets.stores.aws.failure import Failure
from imip_secrets.stores.aws.names import resource_of
from imip_secrets.stores.aws.secrets_manager import AwsStore
from imip_secrets.stores.writers.changed import ChangedError

if TYPE_CHECKING:
    from imip_secrets.secret import Secret
    from imip_secrets.stores.aws.errors import Place, Refusal
    from imip_secrets.stores.base import Context, Found, Target

_SERVICE = "secretsmanager"
_CURRENT, _PENDING = "AWSCURRENT", "AWSPENDING"
_EXISTS = "ResourceExistsException"


def open_writer(context: Context) -> AwsWriter:
    """Make the writer; botocore is imported by its login."""
    return AwsWriter(context)


class AwsWriter(AwsStore):
    """The secrets of one identity, to be written."""

    def write(self, target: Target, value: Secret, before: Found | None) -> None:
        """Create a secret, or put a new version of it: ``secretsmanager:CreateSecret`` or ``PutSecretValue``.

        One that is there without any value, as Terraform makes them, gets its first.

        A request token makes a repeated request the same request (AWS:
        "CreateSecret", ClientRequestToken). AWS has no comparison on writing,
        so the version is looked at once more right before.

        Raises:
            ChangedError: there is another version than ``before``.
            StoreError: AWS refuses or fails.

        """
        session, place = self._at(target)
        parameters = {"SecretString": value.reveal(), "ClientRequestToken": str(uuid4())}
        if before is None:
            if self._has_created(target, methodcaller("create_secret", Name=target.path, **parameters)):
                return
        elif self._version(target) != before.version:
            raise ChangedError(place.shown)
        call = methodcaller("put_secret_value", SecretId=target.path, **parameters)
        session.ask(_SERVICE, place.region, call, partial(_not_written, place, "PutSecretValue"))

    def _has_created(self, target: Target, call: methodcaller) -> bool:
        """Create a secret; return False if it is there and has no value yet."""
        session, place = self._at(target)
        codes = []

        def refused(refusal: Refusal) -> Failure:
            codes.append(refusal.code)
            return _not_written(place, "CreateSecret", refusal)

        try:
            session.ask(_SERVICE, place.region, call, refused)
        except StoreError:
            if codes[-1:] != [_EXISTS] or self._version(target):
                raise
            return False
        return True

    def staged(self, target: Target) -> Found | None:
        """Return the version with the label AWSPENDING, unless it is the current one (a rotation that has ended).

        Raises:
            StoreError: it cannot be read.

        """
        try:
            found = self.fetch(target._replace(stage=_PENDING, version=None))
        except MissingError:
            return None
        return None if found.version == self._version(target) else found

    def stage(self, target: Target, value: Secret) -> None:
        """Put a version with the label AWSPENDING alone: ``secretsmanager:PutSecretValue``.

        Raises:
            StoreError: AWS refuses or fails.

        """
        session, place = self._at(target)
        call = methodcaller(
            "put_secret_value",
            SecretId=target.path,
            SecretString=value.reveal(),
            ClientRequestToken=str(uuid4()),
            VersionStages=[_PENDING],
        )
        session.ask(_SERVICE, place.region, call, partial(_not_written, place, "PutSecretValue"))

    def switch(self, target: Target, staged: Found, before: Found) -> None:
        """Move the label AWSCURRENT; AWS gives AWSPREVIOUS to the version that had it.

        AWS itself refuses when the label is not where it is to be taken from.

        Raises:
            ChangedError: another version than ``before`` is current.
            StoreError: AWS refuses or fails.

        """
        if self._version(target) != before.version:
            raise ChangedError(target.path)
        self._move(target, _CURRENT, MoveToVersionId=staged.version, RemoveFromVersionId=before.version)

    def clear(self, target: Target) -> None:
        """Take the label AWSPENDING away, wherever it is.

        Raises:
            StoreError: AWS refuses or fails.

        """
        try:
            found = self.fetch(target._replace(stage=_PENDING, version=None))
        except MissingError:
            return
        self._move(target, _PENDING, RemoveFromVersionId=found.version)

    def start_rotation(self, target: Target, function: str, days: int) -> str:
        """Let AWS's own rotation begin now; return the version that it is to make current.

        Args:
            target: The secret.
            function: The ARN of the Lambda function, or "" for the one that is set.
            days: How often AWS is to rotate from now on, or 0 to leave that.

        Raises:
            StoreError: AWS refuses or fails.

        """
        session, place = self._at(target)
        token = str(uuid4())
        call = methodcaller(
            "rotate_secret",
            SecretId=target.path,
            ClientRequestToken=token,
            RotateImmediately=True,
            **({"RotationLambdaARN": function} if function else {}),
            **({"RotationRules": {"AutomaticallyAfterDays": days}} if days else {}),
        )
        session.ask(_SERVICE, place.region, call, partial(_not_rotated, place))
        return token

    def has_rotated(self, target: Target, version: str) -> bool:
        """Tell whether a version has become the current one: ``secretsmanager:DescribeSecret``.

        Raises:
            StoreError: AWS refuses or fails.

        """
        session, place = self._at(target)
        call = methodcaller("describe_secret", SecretId=target.path)
        answer = session.ask(_SERVICE, place.region, call, partial(_not_written, place, "DescribeSecret"))
        stages: dict[str, list[str]] = answer.get("VersionIdsToStages") or {}
        return _CURRENT in stages.get(version, [])

    def _move(self, target: Target, label: str, **versions: str) -> None:
        session, place = self._at(target)
        call = methodcaller("update_secret_version_stage", SecretId=target.path, VersionStage=label, **versions)
        session.ask(_SERVICE, place.region, call, partial(_not_written, place, "UpdateSecretVersionStage"))

    def _version(self, target: Target) -> str:
        try:
            return self.fetch(target).version
        except MissingError:
            return ""


def _not_written(place: Place, action: str, refusal: Refusal) -> Failure:
    """Explain why a write was refused."""
    if refusal.code == _EXISTS:
        return Failure(f"the secret {place.shown} is there already, or was made meanwhile", "Run it again.")
    if refusal.code == "InvalidRequestException" and "delet" in refusal.message:
        remedy = f"Restore it ({place.command('restore-secret')}), or wait until it is gone."
        return Failure(f"the secret {place.shown} is scheduled for deletion, so its name is taken", remedy)
    if refusal.code == "LimitExceededException":
        return Failure(f"the account has no room for the secret {place.shown}", "Ask AWS to raise its quota.")
    if refusal.is_denied():
        resource = resource_of(place.target, place.region, place.account_of(refusal))
        what = f"writing the secret {place.shown} is denied"
        return Failure(what, place.allow(refusal, f"secretsmanager:{action}", resource))
    return place.bad_credentials(refusal) or refusal.other(f"write the secret {place.shown}")


def _not_rotated(place: Place, refusal: Refusal) -> Failure:
    """Explain why AWS's own rotation does not begin."""
    if refusal.code == "InvalidRequestException":
        what = f"the rotation of {place.shown} cannot begin ({refusal.message})"
        return Failure(what, "Set a function with --rotation-lambda, or wait for the rotation that is under way.")
    if refusal.code in {"AccessDeniedException", "ResourceNotFoundException"} and "ambda" in refusal.message:
        what = f"AWS may not call the rotation function of {place.shown} ({refusal.message})"
        return Failure(what, "Allow lambda:InvokeFunction to secretsmanager.amazonaws.com in the function's policy.")
    return _not_written(place, "RotateSecret", refusal)
