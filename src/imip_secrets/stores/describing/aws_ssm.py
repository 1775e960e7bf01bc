"""What Parameter Store tells of a parameter."""

from __future__ import annotations

from datetime import datetime
from operator import methodcaller
from typing import TYPE_CHECKING

from imip_secrets.stores.aws.access import logged_in
from imip_secrets.stores.aws.ssm import SsmStore
from imip_secrets.stores.aws.ssm_errors import Parameter
from imip_secrets.stores.describing.facts import Facts

if TYPE_CHECKING:
    from imip_secrets.stores.base import Context, Target


def open_describer(context: Context) -> AwsSsmDescriber:
    """Make the describer; botocore is imported by its login."""
    return AwsSsmDescriber(context)


class AwsSsmDescriber(SsmStore):
    """The parameters of one identity, described."""

    def describe(self, target: Target) -> Facts:
        """Ask for a parameter's dates: ``ssm:DescribeParameters``.

        Raises:
            MissingError: there is no such parameter.
            StoreError: AWS refuses or fails.

        """
        session, identity = logged_in(self._access)
        region = target.region or self._context.settings["aws-region"]
        place = Parameter(target, region, identity.role, identity.account)
        wanted = [{"Key": "Name", "Option": "Equals", "Values": [target.path]}]
        call = methodcaller("describe_parameters", ParameterFilters=wanted)
        found = session.ask("ssm", region, call, place.not_described).get("Parameters") or []
        if not found:
            raise place.missing().error()
        changed, version = found[0].get("LastModifiedDate"), found[0].get("Version")
        return Facts(
            changed=changed if isinstance(changed, datetime) else None,
            # It keeps a hundred.
            versions=min(int(version), 100) if isinstance(version, int) else None,
        )
