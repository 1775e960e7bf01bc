"""``imip-secrets sync``: the secrets to GitHub's own; the plan is shown, and a person is asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets.cli.options import REFERENCES, add_references, add_settings, read_request
from imip_secrets.cli.terminal import complain, context, job_console, note
from imip_secrets.errors import Problem
from imip_secrets.request import SYNC
from imip_secrets.runner import files, masks
from imip_secrets.sync import github, inputs, report
from imip_secrets.sync.mirror import Hands, Mirror

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from imip_secrets.secret import Secret
    from imip_secrets.sync.plan import Plan

USAGE = "[options] --to TARGET ... REFERENCE ..."
EPILOG = f"""{REFERENCES}
targets:
  repo:my-org/app                             Actions secrets of a repository
  repo:my-org/app?app=actions,dependabot      also codespaces, agents
  env:my-org/app/production                   an environment
  org:my-org?visibility=selected&repos=app    an organisation
  'repos:my-org?topic=deploy'                 every repository that matches

examples:
  imip-secrets sync --dry-run --to repo:my-org/app aws://imip/production
  imip-secrets sync --to env:my-org/app/production 'DB = vault://secret/imip#db'
  imip-secrets sync --yes --file secrets.txt --sync-to targets.txt --report report.json
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--to", metavar="TARGET", action="append", default=[], help="where to write them")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and write nothing")
    parser.add_argument("--yes", action="store_true", help="carry the plan out without a question")
    parser.add_argument("--report", metavar="FILE", type=Path, help="write what came of it to a file, as JSON")
    add_references(parser)
    add_settings(parser, sync=True)


def main(options: argparse.Namespace, _child: Sequence[str]) -> int:
    """Show the plan, ask, carry it out; return 1 if anything has not come about."""
    given = {"mode": SYNC}
    if options.to:
        given["sync-to"] = "\n".join(options.to)
    if options.dry_run:
        given["sync-dry-run"] = "true"
    wanted = read_request(options, _mistakes(options), given=given)
    console = job_console()
    floor = wanted.settings.number("mask-floor")
    api = inputs.api_url(wanted.settings, os.environ)
    asked = inputs.read(wanted.settings, os.environ, is_enterprise_server=github.is_enterprise_server(api))

    def hide(values: Iterable[Secret]) -> None:
        if console:
            console.mask(line for value in values for line in masks.forms(value, floor).lines)

    def agree(plan: Plan) -> bool:
        for line in report.plan_lines(plan, colours=_has_colours()):
            print(line, flush=True)
        return asked.dry_run or not plan.changes() or options.yes or _confirmed()

    mirrored = Mirror(
        wanted, asked, context(wanted.settings, console), Hands(github.open_github, note, hide, agree)
    ).run()
    if options.report:
        files.write_private(options.report, report.as_json(mirrored).encode())
    complain(report.problems(mirrored))
    if mirrored.results is not None:
        print(f"Done: {report.result_words(mirrored)}.", flush=True)
    return 1 if mirrored.failed() else 0


def _mistakes(options: argparse.Namespace) -> Iterator[Problem]:
    if options.to and options.sync_to:
        yield Problem("targets come from --to and from a file", "--sync-to", "Leave one of them out.")


def _has_colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _confirmed() -> bool:
    """Ask the person; where there is none, the command line is what was meant."""
    if not sys.stdin.isatty():
        return True
    print("Carry it out? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
