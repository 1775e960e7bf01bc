"""What Parameter Store says when it refuses, and what a person does about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.stores.aws.errors import Asked
from imip_secrets.stores.aws.failure import Failure
from imip_secrets.stores.aws.names import ARN_START, parameter_arn

if TYPE_CHECKING:
    from imip_secrets.stores.aws.errors import Refusal

_MISSING = {"ParameterNotFound", "ParameterVersionNotFound", "ParameterVersionLabelNotFound"}


class Parameter(Asked):
    """A parameter, or the start of the names of many."""

    __slots__ = ()

    def not_read(self, refusal: Refusal) -> Failure:
        """Explain why GetParameters or GetParameter was refused."""
        if refusal.code in _MISSING:
            return self.missing()
        if self._is_sealed(refusal):
            return self.sealed(refusal, "parameter")
        if refusal.is_denied():
            what = f"access to the parameter {self.shown} is denied"
            actions = "ssm:GetParameters (or ssm:GetParameter)"
            return Failure(what, self.allow(refusal, actions, self._resource(refusal, self.target.path)))
        return self.bad_credentials(refusal) or refusal.other(f"give the parameter {self.shown}")

    def not_listed_by_path(self, refusal: Refusal, path: str) -> Failure:
        """Explain why GetParametersByPath was refused."""
        if self._is_sealed(refusal):
            what = f"a parameter below {path} in {self.region} may be read, but not its KMS key used to decrypt it"
            return Failure(what, self.sealed(refusal, "parameter").remedy)
        if refusal.is_denied():
            what = f"listing the parameters below {path} in {self.region} is denied"
            allowed = self.allow(refusal, "ssm:GetParametersByPath", self._resource(refusal, path))
            return Failure(what, f"{allowed} Or write one line for each parameter.")
        return self.bad_credentials(refusal) or refusal.other(f"list the parameters below {path} in {self.region}")

    def not_described(self, refusal: Refusal) -> Failure:
        """Explain why DescribeParameters was refused."""
        if refusal.is_denied():
            what = f"listing the parameters of {self.region} by the start of their names is denied"
            allowed = self.allow(refusal, "ssm:DescribeParameters", "*")
            return Failure(what, f"{allowed} Or write one line for each parameter.")
        return self.bad_credentials(refusal) or refusal.other(f"list the parameters of {self.region}")

    def missing(self) -> Failure:
        """Say that there is no such parameter."""
        remedy = "Check the name, its slashes and the region."
        return Failure(f"there is no parameter {self.shown}", remedy, missing=True)

    def no_version(self, current: object) -> Failure:
        """Say that the parameter is there, and the version or label is not."""
        what = f"the parameter {self.shown} has no version or label {self.target.version}"
        remedy = (
            f"The current version is {current}; see which there are: `aws ssm get-parameter-history --name "
            f"{self.target.path} --region {self.region}`."
        )
        return Failure(what, remedy, missing=True)

    def unanswered(self) -> Failure:
        """Say that an answer speaks neither of the parameter nor of its absence."""
        return self.without_value("parameter")

    def _is_sealed(self, refusal: Refusal) -> bool:
        """Tell whether it is the key that may not be used, or that is not there any more."""
        text = refusal.message.lower()
        of_key = "kms" in text or "ciphertext" in text or "customer master key" in text
        return refusal.code == "InvalidKeyId" or (refusal.is_denied() and of_key)

    def _resource(self, refusal: Refusal, path: str) -> str:
        if path.startswith(ARN_START):
            return path
        return parameter_arn(path, self.region, self.account_of(refusal))
