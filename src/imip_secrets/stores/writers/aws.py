"""Writes to AWS Secrets Manager."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from imip_secrets.errors import MissingError
from imip_secrets.stores.aws import AwsStore
from imip_secrets.stores.aws_failure import Failure
from imip_secrets.stores.aws_names import resource_of
from imip_secrets.stores.writers.changed import ChangedError

if TYPE_CHECKING:
    from imip_secrets.secret import Secret
    from imip_secrets.stores.aws_errors import Place, Refusal
    from imip_secrets.stores.base import Context, Found, Target

_SERVICE = "secretsmanager"
_EXISTS = "ResourceExistsException"


def open_writer(context: Context) -> AwsWriter:
    """Make the writer; botocore is imported by its login."""
    return AwsWriter(context)


class AwsWriter(AwsStore):
    """The secrets of one identity, to be written."""

    def write(self, target: Target, value: Secret, before: Found | None) -> None:
        """Create a secret, or put a new version of it: ``secretsmanager:CreateSecret`` or ``PutSecretValue``.

        A request token makes a repeated request the same request (AWS:
        "CreateSecret", ClientRequestToken). AWS has no comparison on writing,
        so the version is looked at once more right before.

        Raises:
            ChangedError: there is another version than ``before``.
            StoreError: AWS refuses or fails.

        """
        session, place = self._at(target)
        client = session.client(_SERVICE, place.region)
        parameters = {"SecretString": value.reveal(), "ClientRequestToken": str(uuid4())}
        if before is None:
            call = partial(client.create_secret, Name=target.path, **parameters)
            session.insist(call, partial(_not_written, place, "CreateSecret"))
            return
        if self._version(target) != before.version:
            raise ChangedError(place.shown)
        call = partial(client.put_secret_value, SecretId=target.path, **parameters)
        session.insist(call, partial(_not_written, place, "PutSecretValue"))

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
