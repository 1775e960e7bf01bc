"""``mode: audit``: age, rotation, readers and cost of the secrets, judged by rules; no value."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets.action.telling import TITLE
from imip_secrets.audit import page, text
from imip_secrets.audit.findings import Rules
from imip_secrets.audit.survey import Wish, survey
from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.rotate import age
from imip_secrets.runner import files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imip_secrets.action.telling import Teller
    from imip_secrets.request import Request
    from imip_secrets.stores.base import Context


def perform(wanted: Request, context: Context, environ: Mapping[str, str], teller: Teller) -> int:
    """Look at everything and say it; return 1 when something is against the rules."""
    settings, console = wanted.settings, teller.console
    limit = age.parse(settings["audit-max-age"])
    if limit is None:
        what = f"{tame(settings['audit-max-age'], 40)!r} is no age"
        raise ImipError(Problem(what, "input audit-max-age", "Write it like 90d, 12h or 4w."))
    rules = Rules(limit, rotation=settings.flag("audit-require-rotation"))
    found = survey(wanted, context, Wish(rules, settings.number("audit-days")))
    for line in text.table(found):
        console.say(line)
    for breach in found.breaches:
        console.error(breach, TITLE)
    teller.summarise(text.markdown(found, console.hide))
    if settings.given("audit-html"):
        place = Path(environ.get("GITHUB_WORKSPACE", ""), settings["audit-html"])
        files.write_private(place, page.page(found, limit).encode())
    return 1 if found.breaches else 0
