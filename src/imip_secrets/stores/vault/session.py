"""Who we are to Vault once we are logged in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from imip_secrets.secret import Secret


class Session(NamedTuple):
    """A login.

    Args:
        token: What is sent from now on.
        line: Who we are, for the log.
        who: Whose policy decides, to follow "a policy of".
        doubt: What else may be behind a denial, with a space before it, or "".
        ours: Whether we made the token, so that it is ours to revoke.
        revocable: Whether it can be revoked (batch tokens cannot).
        ends: When it ends, on the monotonic clock.

    """

    token: Secret
    line: str
    who: str
    doubt: str = ""
    ours: bool = False
    revocable: bool = False
    ends: float = math.inf
