"""``mode: scan``: whether the values of secrets stand in what later steps will upload; nothing is exported."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets import libraries
from imip_secrets.action.telling import TITLE
from imip_secrets.leases import end_all
from imip_secrets.resolve import resolve
from imip_secrets.runner import delivery
from imip_secrets.scan import telling
from imip_secrets.scan.detect import Detector
from imip_secrets.scan.places import Excluded, files
from imip_secrets.scan.spellings import sought
from imip_secrets.scan.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imip_secrets.action.telling import Teller
    from imip_secrets.request import Request
    from imip_secrets.stores.base import Context


def perform(wanted: Request, context: Context, environ: Mapping[str, str], teller: Teller) -> int:
    """Read the values again, all or nothing, hide them in the log, search; return 1 unless all is clean."""
    console, settings = teller.console, wanted.settings
    if settings.flag("scan-detect"):
        libraries.provide(("detect",), environ)
    resolved = resolve(wanted, context)
    # Dynamic credentials that were made for this reading are for nobody.
    end_all(context.kept, context.notice)
    floor = settings.number("mask-floor")
    delivery.mask(resolved.variables, floor, console)
    what = sought(resolved.variables, floor, environ)
    for text in telling.unsearched(what):
        teller.warn(text)
    with ExitStack() as stack:
        detector = stack.enter_context(Detector()) if settings.flag("scan-detect") else None
        base = Path(environ.get("GITHUB_WORKSPACE", ""))
        places = files(_lines(settings["scan-paths"]), Excluded(_lines(settings["scan-exclude"])), base)
        allowed = Excluded(_lines(settings["scan-allow-unsearched"])).has
        result = Sweep(what, detector, console.say, allowed).over(places)
    for text in (*map(telling.found, result.findings), *telling.unread(result)):
        console.say(text)
    for text in telling.left_out(result):
        teller.warn(text)
    teller.summarise(telling.markdown(result, console.hide))
    for text in telling.missed(result, "scan-allow-unsearched"):
        console.error(text, TITLE)
    if not result.findings:
        console.say(telling.outcome(result))
        return 1 if result.unread else 0
    console.error(
        f"{telling.outcome(result)} Take them out before anything is uploaded, and rotate what has left.", TITLE
    )
    return 1


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
