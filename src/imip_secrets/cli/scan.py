"""``imip-secrets scan``: where the values of secrets stand in files, before these leave the machine."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from imip_secrets.cli.options import REFERENCES, add_request, read_request
from imip_secrets.cli.terminal import LINE, context, job_console, note
from imip_secrets.errors import Problem, UsageError
from imip_secrets.foreign import harmless, tame
from imip_secrets.leases import end_all
from imip_secrets.scan import telling
from imip_secrets.scan.detect import Detector
from imip_secrets.scan.places import Excluded, files
from imip_secrets.scan.spellings import Sought, sought
from imip_secrets.scan.sweep import Sweep

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from imip_secrets.request import Request

UNSEARCHED = 3
USAGE = "[options] REFERENCE ... [--in PATH ...]"
EPILOG = f"""{REFERENCES}
Found are the values as they are, in base64, hex, percent-encoding, JSON, HTML, shell and UTF-16, also within zip, tar
and compressed files, and so in the layers of an image (docker save). The exit code is 1 if something is found, or if
a path is not there, and 3 if nothing is found but something could not be searched.

examples:
  imip-secrets scan aws://imip/production --in dist build.log
  docker save app:latest -o app.tar && imip-secrets scan aws://imip/production --in app.tar
  imip-secrets scan vault://secret/imip/production --exclude node_modules --exclude '*.map'
  imip-secrets scan --detect --in src
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--in", dest="paths", metavar="PATH", nargs="*", action="extend", help="files and folders (default: here)"
    )
    parser.add_argument(
        "--exclude", metavar="PATTERN", action="append", default=[], help="a name or path to leave out, with * and ?"
    )
    parser.add_argument(
        "--allow-unsearched", metavar="PATTERN", action="append", default=[], help="what may stay unsearched, as shown"
    )
    parser.add_argument(
        "--detect", action="store_true", help="look for what was never in a store as well, with detect-secrets"
    )
    add_request(parser)


def main(options: argparse.Namespace, _child: Sequence[str]) -> int:
    """Search, and say what is found; return 1 if that is anything, 3 if something could not be searched."""
    mistakes = list(_mistakes(options))
    if options.references or options.file is not None or not options.detect:
        what = _what(read_request(options, mistakes))
    elif mistakes:
        raise UsageError(*mistakes)
    else:
        what = Sought([], [], [])
    with ExitStack() as stack:
        detector = stack.enter_context(Detector()) if options.detect else None
        sweep = Sweep(what, detector, note, Excluded(options.allow_unsearched).has)
        result = sweep.over(files(options.paths or ["."], Excluded(options.exclude)))
    for text in (*map(telling.found, result.findings), *telling.unread(result)):
        print(harmless(text, LINE), flush=True)
    for text in (*telling.left_out(result), telling.outcome(result)):
        note(text)
    for text in telling.missed(result, "--allow-unsearched"):
        print(f"imip-secrets: error: {tame(text, LINE)}", file=sys.stderr)
    return 1 if result.findings or result.absent else UNSEARCHED if result.unread else 0


def _mistakes(options: argparse.Namespace) -> Iterator[Problem]:
    for path in options.paths or ():
        if "://" in path:
            yield Problem(f"{tame(path, 80)!r} is a reference, and no path", "--in", "Write references before --in.")


def _what(wanted: Request) -> Sought:
    """Read the values again, all or nothing, and say which of them are not looked for."""
    from imip_secrets.resolve import resolve  # noqa: PLC0415 - a request with a mistake needs no threads
    from imip_secrets.runner import delivery  # noqa: PLC0415 - the same

    console = job_console()
    reading = context(wanted.settings, console)
    resolved = resolve(wanted, reading)
    # Dynamic credentials that were made for this reading are for nobody.
    end_all(reading.kept, note)
    floor = wanted.settings.number("mask-floor")
    if console:
        delivery.mask(resolved.variables, floor, console)
    what = sought(resolved.variables, floor, os.environ)
    for text in telling.unsearched(what):
        note(text)
    return what
