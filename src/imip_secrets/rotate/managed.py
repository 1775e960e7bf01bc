"""AWS's own rotation: a Lambda function makes the new value; we start it and wait until it is current."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from collections.abc import Callable

    from imip_secrets.deadline import Deadline
    from imip_secrets.stores.base import Target

_LOOK_EVERY = 2.0
_SAY_EVERY = 5


class Rule(NamedTuple):
    """How AWS is to rotate.

    Args:
        function: The ARN of the Lambda function, or "" for the one that is set.
        days: How often from now on, or 0 to leave that.

    """

    function: str = ""
    days: int = 0


class Managed(Protocol):
    """A store that rotates by itself."""

    def start_rotation(self, target: Target, function: str, days: int) -> str:
        """Let it begin; return the version to come."""

    def has_rotated(self, target: Target, version: str) -> bool:
        """Tell whether that version is current."""


def rotate(target: Target, store: Managed, rule: Rule, deadline: Deadline, say: Callable[[str], None]) -> None:
    """Start a rotation and wait for its end.

    Raises:
        StoreError: it cannot begin, or does not end before the deadline; the old value is current then.

    """
    shown = tame(target.path, 80)
    version = store.start_rotation(target, rule.function, rule.days)
    looks = 0
    while not store.has_rotated(target, version):
        looks += 1
        if looks % _SAY_EVERY == 0:
            say(f"{shown}: waiting for the rotation function")
        if not deadline.sleep(_LOOK_EVERY):
            what = f"the rotation of {shown} has begun, and did not end within {deadline.seconds:g} s"
            remedy = (
                "The old value is still current. Look at the function's log in CloudWatch (/aws/lambda/NAME), mend it, "
                "and run this again, or give it more time with --timeout-seconds."
            )
            raise StoreError(what, remedy)
    say(f"{shown}: rotated by AWS; the value before is still readable (AWSPREVIOUS)")
