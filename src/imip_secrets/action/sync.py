"""``mode: sync``: the secrets to GitHub's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets.runner import files, masks
from imip_secrets.sync import github, inputs, report
from imip_secrets.sync.mirror import Hands, Mirror

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from imip_secrets.action.telling import Teller
    from imip_secrets.request import Request
    from imip_secrets.secret import Secret
    from imip_secrets.stores.base import Context
    from imip_secrets.sync.mirror import Mirrored
    from imip_secrets.sync.plan import Plan


def perform(wanted: Request, context: Context, environ: Mapping[str, str], teller: Teller) -> int:
    """Show the plan, carry it out unless it is only to be shown, and say what came of each secret."""
    console = teller.console
    api = inputs.api_url(wanted.settings, environ)
    asked = inputs.read(wanted.settings, environ, is_enterprise_server=github.is_enterprise_server(api))
    floor = wanted.settings.number("mask-floor")

    def hide(values: Iterable[Secret]) -> None:
        console.mask(line for value in values for line in masks.forms(value, floor).lines)

    def show(plan: Plan) -> bool:
        for line in report.plan_lines(plan):
            console.say(line)
        return True

    mirrored = Mirror(wanted, asked, context, Hands(github.open_github, console.say, hide, show)).run()
    _tell(mirrored, environ, teller)
    return 1 if mirrored.failed() else 0


def _tell(mirrored: Mirrored, environ: Mapping[str, str], teller: Teller) -> None:
    """Say what was done, in the log, the outputs and the job summary."""
    console = teller.console
    for title, who in mirrored.logins.items():
        console.say(f"{title}: {who}.")
    for line in mirrored.absent:
        console.say(f"{line.where}: nothing is there, and it is optional: no secret.")
    for warning in mirrored.plan.warnings:
        teller.warn(warning)
    for problem in report.problems(mirrored):
        teller.fault(problem)
    console.say(f"{report.result_words(mirrored)}; {mirrored.usage.requests} requests to GitHub.")
    output = environ.get("GITHUB_OUTPUT")
    if output:
        changed = "true" if report.changed(mirrored) else "false"
        pairs = [("sync-report", report.as_json(mirrored, console.hide)), ("changed", changed)]
        files.put([files.Change(Path(output), files.block(pairs), adds=True)])
    teller.summarise(report.summary(mirrored, console.hide))
