"""``imip-secrets audit``: age, rotation, readers and cost of the secrets, judged by rules; no value."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets.audit import page, text
from imip_secrets.audit.findings import Rules
from imip_secrets.audit.survey import Wish, survey
from imip_secrets.cli.options import REFERENCES, add_references, add_settings, read_request
from imip_secrets.cli.terminal import LINE, context, job_console
from imip_secrets.errors import Problem
from imip_secrets.foreign import harmless, tame
from imip_secrets.rotate import age
from imip_secrets.runner import files
from imip_secrets.sync import targets
from imip_secrets.sync.opening import open_scopes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from imip_secrets.stores.base import Context

USAGE = "[options] REFERENCE ..."
EPILOG = f"""{REFERENCES}
examples:
  imip-secrets audit 'aws://imip/**'
  imip-secrets audit --max-age 90d --require-rotation --html audit.html 'aws://imip/*' vault://secret/imip/production
  imip-secrets audit --vault-log /var/log/vault_audit.log 'vault://secret/imip/*'
  imip-secrets audit --to repo:my-org/app aws://imip/production

It ends with 1 when something is against the rules, so that a schedule can fail.
"""
_OF_GITHUB = ("github-token", "github-app-id", "github-app-private-key", "github-api-url")
_DAYS_LIMIT = 36_500
_FORMATS = ("table", "json")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    rules = parser.add_argument_group("Rules")
    rules.add_argument("--max-age", metavar="AGE", default="90d", help="how old a value may be (default: 90d)")
    rules.add_argument("--max-unused", metavar="AGE", help="how long a secret may go unread, such as 180d")
    rules.add_argument("--require-rotation", action="store_true", help="AWS must rotate each secret by itself")
    what = parser.add_argument_group("What is looked at")
    what.add_argument(
        "--days",
        metavar="N",
        type=int,
        default=30,
        help="who read them in so many days; 0 for not at all (default: 30)",
    )
    what.add_argument("--vault-log", metavar="FILE", type=Path, help="the file of a Vault audit device")
    what.add_argument("--calls", metavar="N", type=int, help="AWS calls a month, for the cost (default: as seen)")
    what.add_argument("--to", metavar="TARGET", action="append", default=[], help="compare with these of GitHub")
    what.add_argument("--workflows", metavar="FOLDER", type=Path, default=Path(".github/workflows"), help="for --to")
    how = parser.add_argument_group("How it is told")
    how.add_argument("--format", choices=_FORMATS, default="table", help="(default: table)")
    how.add_argument("--html", metavar="FILE", type=Path, help="write a page with a chart of ages as well")
    add_references(parser)
    add_settings(parser, also=_OF_GITHUB)


def main(options: argparse.Namespace, _child: Sequence[str]) -> int:
    """Look at everything and say it; return 1 when something is against the rules."""
    wanted = read_request(options, _mistakes(options))
    ours = context(wanted.settings, job_console())
    found = survey(wanted, ours, _wish(options, ours))
    if options.html:
        files.write_private(options.html, page.page(found, age.parse(options.max_age)).encode())
    if options.format == "json":
        print(json.dumps(text.as_json(found), indent=2))
    else:
        for line in text.table(found):
            print(harmless(line, LINE))
    return 1 if found.breaches else 0


def _wish(options: argparse.Namespace, ours: Context) -> Wish:
    destinations, _ = targets.parse("\n".join(options.to)) if options.to else ([], [])
    scopes = tuple(scope for each in destinations for scope in each.scopes())
    return Wish(
        rules=Rules(
            age.parse(options.max_age),
            age.parse(options.max_unused) if options.max_unused else None,
            options.require_rotation,
        ),
        days=options.days,
        vault_log=options.vault_log,
        calls=options.calls,
        scopes=scopes,
        github=lambda: open_scopes(scopes, ours, os.environ),
        workflows=options.workflows,
    )


def _mistakes(options: argparse.Namespace) -> Iterator[Problem]:
    """Find what is wrong with the options of this command."""
    for name in ("max_age", "max_unused"):
        value = getattr(options, name)
        if value and age.parse(value) is None:
            option = f"--{name.replace('_', '-')}"
            yield Problem(f"{tame(value, 40)!r} is no age", option, "Write it like 90d, 12h or 4w.")
    if not 0 <= options.days <= _DAYS_LIMIT or (options.calls or 0) < 0:
        remedy = f"Write a whole number from 0, of days at most {_DAYS_LIMIT}."
        yield Problem("it is below nought, or too much", "--days or --calls", remedy)
    if options.to:
        destinations, mistakes = targets.parse("\n".join(options.to))
        yield from mistakes
        if any(each.match for each in destinations):
            yield Problem("a match of many repositories is not looked at here", "--to", "Name each repository.")
