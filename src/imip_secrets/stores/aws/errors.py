"""What AWS says when it refuses, and what a person does about it.

The texts by which AWS tells its cases apart are those of the real service; where moto says it in another way, both
are known here.
"""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from imip_secrets.foreign import tame
from imip_secrets.stores.aws.failure import PERSISTENT, Failure
from imip_secrets.stores.aws.names import find_key, find_principal, parse_arn, partition_of, resource_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imip_secrets.stores.base import Target

# A run of this length is no name: it may be a token that the answer repeats, and half a token is not masked.
_TOKEN = re.compile(r"[\w+/=.~%-]{150,}", re.ASCII)
_REQUEST_ID = re.compile(r"[;,]?\s*\(?Request ?ID: ?[\w-]+\)?", re.IGNORECASE)

_THROTTLED = {
    "BandwidthLimitExceeded",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "SlowDown",
    "TooManyRequestsException",
}
_UNWELL = {"InternalFailure", "InternalServiceError", "InternalServiceErrorException", "ServiceUnavailable"}
_SKEWED = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}
_BAD_SIGNATURE = {"InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure"}
_UNKNOWN_KEYS = {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "NotSignedUp"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}

_TOO_MANY = 429
_TIMED_OUT = 408
_REDIRECTS = range(300, 400)
_SERVER_ERRORS = range(500, 600)


class Refusal(NamedTuple):
    """An answer by which AWS refuses.

    Args:
        code: AWS's name of the error, or the status.
        message: AWS's text, harmless and without request ids.
        status: The HTTP status.
        caller: The ARN of whom AWS says it refused, or "" where it does not say.
        key: The ARN of the KMS key that AWS speaks of, or "".
        behind: By how many seconds this machine's clock is behind AWS's; 0 where AWS does not tell.

    """

    code: str
    message: str
    status: int
    caller: str
    key: str
    behind: float

    @classmethod
    def of(cls, response: Mapping[str, Any]) -> Refusal:
        """Read what botocore made of the answer."""
        error, meta = response.get("Error", {}), response.get("ResponseMetadata", {})
        message = _TOKEN.sub("…", _REQUEST_ID.sub("", str(error.get("Message", ""))))
        return cls(
            code=tame(error.get("Code", ""), 80),
            message=tame(message, 200).rstrip("."),
            caller=find_principal(message),
            key=find_key(message),
            status=int(meta.get("HTTPStatusCode", 0)),
            behind=_behind(meta.get("HTTPHeaders", {}).get("date", "")),
        )

    def is_denied(self) -> bool:
        """Tell whether a permission is missing."""
        return self.code in _DENIED

    def common(self) -> Failure | None:
        """Explain what means the same whatever was asked for; None for the rest."""
        if self.code in _THROTTLED or "Throttl" in self.code or self.status == _TOO_MANY:
            remedy = "Run fewer jobs at once, or ask AWS for a higher quota."
            return Failure(f"AWS is asked too often ({self.code})", remedy, tries=PERSISTENT)
        if self.status in _SERVER_ERRORS or self.status == _TIMED_OUT or self.code in _UNWELL:
            remedy = "Look at https://health.aws.amazon.com and run the job again."
            return Failure(f"AWS answers HTTP {self.status} ({self.code})", remedy, tries=PERSISTENT)
        if self.status in _REDIRECTS:
            remedy = "Check what answers there: a proxy, or the input aws-endpoint-url."
            return Failure(f"the answer is a redirect (HTTP {self.status}), which is never followed", remedy)
        if self.code in _SKEWED | _BAD_SIGNATURE:
            return self._signature()
        return None

    def _signature(self) -> Failure:
        """Tell a clock that is wrong from a key that is."""
        if self.code in _SKEWED or "expired" in self.message or "not yet current" in self.message:
            direction = "behind" if self.behind > 0 else "ahead of"
            told = f": it is {abs(self.behind):.0f} s {direction} AWS's" if self.behind else ""
            remedy = "Set the clock by NTP; AWS allows five minutes."
            return Failure(f"AWS refuses the time of this machine's clock{told}", remedy)
        remedy = "Check that AWS_SECRET_ACCESS_KEY belongs to AWS_ACCESS_KEY_ID, and that no proxy changes requests."
        return Failure(f"AWS does not accept the signature ({self.code})", remedy)

    def other(self, doing: str) -> Failure:
        """Say what AWS said, where there is nothing better to say."""
        what = f"AWS refused to {doing} ({self.code}: {self.message})"
        return Failure(what, f"Look up {self.code} in the documentation of the AWS API.")


class Asked(NamedTuple):
    """What is asked for as errors speak of it, and who asks: what the stores of AWS share.

    Args:
        target: What is read.
        region: Where.
        identity: The ARN of the role that was assumed, or "" for ambient credentials.
        account: The account of the identity, or "".

    """

    target: Target
    region: str
    identity: str
    account: str

    @property
    def shown(self) -> str:
        """What is read, its region and the account it is looked for in."""
        where = f"{self.region} (account {self.account})" if self.account else self.region
        return f"{self.target.path} in {where}"

    def who(self, refusal: Refusal) -> str:
        """Return whom a policy must name."""
        return self.identity or refusal.caller or "the credentials in use"

    def account_of(self, refusal: Refusal) -> str:
        """Return the account, as far as it is known."""
        caller = parse_arn(refusal.caller)
        return self.account or (caller.account if caller else "ACCOUNT_ID")

    def allow(self, refusal: Refusal, action: str, resource: str) -> str:
        """Say which permission is missing; an explicit denial is stronger than any that is added."""
        if "explicit deny" in refusal.message:
            return f"A policy denies {action} on {resource} to {self.who(refusal)} outright: change that policy."
        return f"Allow {action} on {resource} to {self.who(refusal)}."

    def sealed(self, refusal: Refusal, kind: str) -> Failure:
        """Say that the key of what is read (a ``kind``) may not be used."""
        keys = refusal.key or (
            f"arn:{partition_of(self.region)}:kms:{self.region}:{self.account_of(refusal)}:key/KEY_ID"
        )
        remedy = (
            f"Allow kms:Decrypt to {self.who(refusal)} on the key that encrypts the {kind} ({keys}), in the key's own "
            "policy too, and check that the key is enabled."
        )
        return Failure(f"the {kind} {self.shown} may be read, but not its KMS key used to decrypt it", remedy)

    def bad_credentials(self, refusal: Refusal) -> Failure | None:
        """Explain what is wrong with the credentials themselves."""
        if refusal.code in EXPIRED:
            remedy = "Let the session live longer (aws-role-duration-seconds), or log in anew before this step."
            return Failure("the AWS session is over", remedy)
        if refusal.code in _UNKNOWN_KEYS:
            remedy = f"Check that the account has {self.region} enabled, and where the credentials come from."
            return Failure(f"AWS does not know the credentials in {self.region} ({refusal.code})", remedy)
        return None

    def without_value(self, kind: str) -> Failure:
        """Say that an answer does not hold what was asked for (a ``kind``)."""
        what = f"AWS answered without a value for the {kind} {self.shown}"
        return Failure(what, "Check what answers there: a proxy, or the input aws-endpoint-url.", tries=2)


class Place(Asked):
    """A secret of Secrets Manager."""

    __slots__ = ()

    def command(self, verb: str) -> str:
        """Give a command of the AWS command line for the secret."""
        return f"`aws secretsmanager {verb} --secret-id {self.target.path} --region {self.region}`"

    def not_read(self, refusal: Refusal) -> Failure:
        """Explain why GetSecretValue was refused."""
        if refusal.code == "ResourceNotFoundException":
            return self._missing(refusal)
        if refusal.code == "InvalidRequestException" and "delet" in refusal.message:
            what = f"the secret {self.shown} is deleted, or scheduled for it"
            return Failure(what, f"Restore it ({self.command('restore-secret')}), or drop it here.", missing=True)
        if refusal.code == "DecryptionFailure" or (refusal.is_denied() and "KMS" in refusal.message):
            return self.sealed(refusal, "secret")
        if refusal.is_denied():
            resource = resource_of(self.target, self.region, self.account_of(refusal))
            what = f"access to the secret {self.shown} is denied"
            return Failure(what, self.allow(refusal, "secretsmanager:GetSecretValue", resource))
        return self.bad_credentials(refusal) or refusal.other(f"give the secret {self.shown}")

    def not_listed(self, refusal: Refusal) -> Failure:
        """Explain why ListSecrets was refused."""
        if refusal.is_denied():
            what = f"listing the secrets of {self.region} is denied"
            remedy = f"{self.allow(refusal, 'secretsmanager:ListSecrets', '*')} Or write one line for each secret."
            return Failure(what, remedy)
        return self.bad_credentials(refusal) or refusal.other(f"list the secrets of {self.region}")

    def unanswered(self) -> Failure:
        """Say that an answer holds no value, or two."""
        return self.without_value("secret")

    def _missing(self, refusal: Refusal) -> Failure:
        """Tell a secret that is not there from one without the version asked for."""
        versions = f"See which there are: {self.command('list-secret-version-ids')}."
        if "VersionId" in refusal.message:
            return Failure(f"the secret {self.shown} has no version {self.target.version}", versions, missing=True)
        if "staging label" in refusal.message and self.target.stage:
            what = f"the secret {self.shown} has no version with the label {self.target.stage}"
            return Failure(what, versions, missing=True)
        if "staging label" in refusal.message:
            remedy = f"Give it one: {self.command('put-secret-value')}."
            return Failure(f"the secret {self.shown} has no value yet", remedy, missing=True)
        remedy = "Check the name and the region; a secret of another account is read by its ARN alone."
        return Failure(f"there is no secret {self.shown}", remedy, missing=True)


def _behind(date: str) -> float:
    """Compare the date of an answer with this machine's clock."""
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (TypeError, ValueError):
        return 0.0
