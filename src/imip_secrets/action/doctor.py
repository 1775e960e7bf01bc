"""``mode: doctor``: the same request, step by step, and no value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.action.telling import TITLE
from imip_secrets.doctor import examine
from imip_secrets.runner import delivery

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imip_secrets.action.telling import Teller
    from imip_secrets.request import Request
    from imip_secrets.stores.base import Context


def perform(wanted: Request, context: Context, environ: Mapping[str, str], teller: Teller) -> int:
    """Say what comes of each step; return 1 if something would keep a run from its end."""
    problems = examine(
        wanted, context, teller.console.say, lambda variables: delivery.check(variables, wanted.settings, environ)
    )
    for problem in problems:
        teller.console.error(str(problem), TITLE)
    return 1 if problems else 0
