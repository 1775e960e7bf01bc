"""``imip-secrets rotate``: new values, switched in steps that can be run again, and then to GitHub if wanted."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
from typing import TYPE_CHECKING, cast

from imip_secrets import names
from imip_secrets.cli import sync as syncing
from imip_secrets.cli.options import add_references, add_settings, read_request
from imip_secrets.cli.terminal import complain, context, job_console, note
from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.request import SYNC
from imip_secrets.rotate import age, generate, managed
from imip_secrets.rotate.rotation import Means, Wish, rotate
from imip_secrets.stores import SCHEMES
from imip_secrets.stores.writers import WRITERS, open_writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from imip_secrets.references import Line
    from imip_secrets.request import Request
    from imip_secrets.secret import Secret
    from imip_secrets.stores.base import Context, Target
    from imip_secrets.stores.writers import Rotatable

USAGE = "[options] REFERENCE#KEY ..."
EPILOG = """\
steps, each of which can be run again after a kill:
  stage    the new value is written where no reader looks (AWS: AWSPENDING)
  verify   it is read back, and given to --verify COMMAND in a variable
  switch   it becomes the current value; the one before stays readable
  clear    nothing is staged any more

examples:
  imip-secrets rotate 'aws://imip/production#SECRET_KEY' 'aws://imip/production#REFRESH_SECRET_KEY'
  imip-secrets rotate --max-age 90d --kind hex --length 64 'vault://secret/imip/production#SECRET_KEY'
  imip-secrets rotate --verify './can-log-in.sh' 'DB_PASSWORD = vault://secret/imip/production#DB_PASSWORD'
  imip-secrets rotate --managed --rotation-lambda arn:aws:lambda:us-east-1:123456789012:function:rotate aws://imip/db
  imip-secrets rotate --to repo:my-org/app 'aws://imip/production#SECRET_KEY'
"""

# What AWS takes.
_DAYS_LIMIT = 1000


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--max-age", metavar="AGE", help="rotate only what is older, such as 90d, 12h, 4w")
    parser.add_argument("--dry-run", action="store_true", help="say what would be rotated, and write nothing")
    parser.add_argument("--verify", metavar="COMMAND", help="end with 0 if the new value works; it is in a variable")
    value = parser.add_argument_group("The new value")
    value.add_argument("--kind", choices=generate.KINDS, default="password", help="(default: password)")
    value.add_argument("--length", metavar="N", type=int, default=40, help="in characters (default: 40)")
    value.add_argument("--symbols", metavar="TEXT", default=generate.SYMBOLS, help="of a password")
    value.add_argument("--exclude", metavar="TEXT", default="", help="characters that a password must not have")
    own = parser.add_argument_group("AWS's own rotation")
    own.add_argument("--managed", action="store_true", help="let the secret's Lambda function make the new value")
    own.add_argument("--rotation-lambda", metavar="ARN", default="", help="set this function first")
    own.add_argument(
        "--rotate-every", metavar="DAYS", type=int, default=0, help="let AWS rotate this often from now on"
    )
    then = parser.add_argument_group("Afterwards")
    then.add_argument("--to", metavar="TARGET", action="append", default=[], help="sync the references to GitHub")
    add_references(parser)
    add_settings(parser, sync=True)


def main(options: argparse.Namespace, _child: Sequence[str]) -> int:
    """Rotate each secret, one after the other; return 1 if one of them could not be."""
    # A sync that could not begin must not be known only when the old values are gone.
    given = {"mode": SYNC} if options.to or options.sync_to else {}
    if options.to:
        given["sync-to"] = "\n".join(options.to)
    wanted = read_request(options, _mistakes(options), lambda request: _unfit(request, options), given)
    ours = context(wanted.settings, job_console())
    problems: list[Problem] = []
    done = 0
    for scheme in dict.fromkeys(line.reference.scheme for line in wanted.lines):
        lines = [line for line in wanted.lines if line.reference.scheme == scheme]
        wrong, right = _rotate_at(scheme, lines, options, ours)
        problems += wrong
        done += right
    complain(problems)
    status = 0
    # What has a new value must come to GitHub, whatever became of the others, which have their old ones.
    if given and done and not options.dry_run:
        # As they were read, since what they came from may be a pipe, which gives nothing twice.
        same = {"references": [wanted.settings["secrets"]], "file": None}
        status = syncing.main(argparse.Namespace(**{**vars(options), **same, "yes": True, "report": None}), ())
    return 1 if problems else status


def _rotate_at(
    scheme: str, lines: Iterable[Line], options: argparse.Namespace, ours: Context
) -> tuple[list[Problem], int]:
    """Rotate what is in one store; go on with the next secret where one cannot be. Return how many are as wanted."""
    problems: list[Problem] = []
    done = 0
    store = cast("Rotatable", open_writer(scheme, ours))
    try:
        note(f"{SCHEMES[scheme].title}: {store.login()}.")
        # The keys of one secret together: one after the other, the first would make the others' secret young.
        by_target: dict[Target, dict[Wish, Line]] = {}
        for line in lines:
            wish = Wish(line.reference.target, line.reference.key)
            by_target.setdefault(wish.target, {}).setdefault(wish, line)
        for wished in by_target.values():
            wrong = _tried(wished, store, options, ours)
            problems += wrong
            done += not wrong
    except ImipError as error:
        problems += [problem.at(problem.where or SCHEMES[scheme].title) for problem in error.problems]
    finally:
        store.close()
    return problems, done


def _tried(wished: Mapping[Wish, Line], store: Rotatable, options: argparse.Namespace, ours: Context) -> list[Problem]:
    try:
        _rotate_one(wished, store, options, ours)
    except ImipError as error:
        where = next(iter(wished.values())).where
        return [problem.at(problem.where or where) for problem in error.problems]
    return []


def _rotate_one(wished: Mapping[Wish, Line], store: Rotatable, options: argparse.Namespace, ours: Context) -> None:
    """Rotate what is wished of one secret."""
    wishes = [*wished]
    limit = age.parse(options.max_age) if options.max_age else None
    if limit is not None and not _is_due(wishes, store, limit):
        return
    if options.dry_run:
        for wish in wishes:
            print(f"{wish.shown}: would be rotated")
        return
    if options.managed:
        rule = managed.Rule(options.rotation_lambda, options.rotate_every)
        managed.rotate(wishes[0].target, cast("managed.Managed", store), rule, ours.deadline, print)
        return
    recipe = generate.Recipe(options.kind, options.length, options.symbols, options.exclude)

    def verify(wish: Wish, new: Secret) -> None:
        # One that an earlier run has made is hidden here for the first time.
        ours.protect(new)
        if options.verify:
            _verify(options.verify, wished[wish].name or _name(wish), wish, new)

    def make() -> Secret:
        new = recipe.make()
        ours.protect(new)
        return new

    rotate(wishes, store, Means(make, verify, print))


def _is_due(wishes: Sequence[Wish], store: Rotatable, limit: timedelta) -> bool:
    """Tell whether a secret is old enough, and say so where it is not; an unfinished rotation is always due."""
    target = wishes[0].target
    found = store.fetch(target)
    if found.changed is None:
        what = f"{wishes[0].shown}: the store does not tell how old it is"
        raise ImipError(Problem(what, remedy="Leave --max-age out to rotate it all the same."))
    if age.is_older(found.changed, limit) or store.staged(target) is not None:
        return True
    for wish in wishes:
        print(f"{wish.shown}: is younger, and stays")
    return False


def _verify(command: str, name: str, wish: Wish, new: Secret) -> None:
    """Run the command with the new value in its environment.

    Raises:
        ImipError: it ends with another status than 0, or cannot be run.

    """
    try:
        # What it prints may hold the value, so nobody sees it.
        done = subprocess.run(
            shlex.split(command), env={**os.environ, name: new.reveal()}, check=False, capture_output=True, timeout=60
        )
        outcome = f"ended with status {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        outcome = "did not end within 60 s"
    except OSError as error:
        outcome = f"cannot be run ({error.strerror})"
    except ValueError:  # what an earlier run has staged may be anything
        outcome = "was not run: the value cannot be in a variable"
    if outcome:
        what = f"{wish.shown}: the new value does not work: {tame(command, 80)} {outcome}"
        raise ImipError(Problem(what, remedy="The old value is still current; the new one was discarded."))


def _name(wish: Wish) -> str:
    return names.made(wish.key if wish.key is not None else names.segment(wish.target.path), "upper", None)


def _mistakes(options: argparse.Namespace) -> Iterator[Problem]:
    """Find what is wrong with the options of this command."""
    if options.max_age and age.parse(options.max_age) is None:
        yield Problem(f"{tame(options.max_age, 40)!r} is no age", "--max-age", "Write it like 90d, 12h or 4w.")
    wrong = generate.Recipe(options.kind, options.length, options.symbols, options.exclude).problem()
    if wrong:
        yield Problem(wrong, "--length, --symbols or --exclude", "Change them.")
    if (options.rotation_lambda or options.rotate_every) and not options.managed:
        yield Problem("they are of AWS's own rotation", "--rotation-lambda, --rotate-every", "Add --managed.")
    if not 0 <= options.rotate_every <= _DAYS_LIMIT:
        yield Problem(f"it is not from 1 to {_DAYS_LIMIT}", "--rotate-every", "Write a whole number of days.")
    if options.to and options.sync_to:
        yield Problem("targets come from --to and from a file", "--sync-to", "Leave one of them out.")
    if options.verify and not _words(options.verify):
        yield Problem("it is no command", "--verify", "Name one, with its quotes closed, or leave it out.")


def _words(command: str) -> list[str]:
    """Return the words of a command; none where a quote is not closed."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _unfit(request: Request, options: argparse.Namespace) -> Iterator[Problem]:
    """Find references that mean nothing that could be rotated."""
    for line in request.lines:
        reference = line.reference
        if reference.scheme not in WRITERS or (options.managed and reference.scheme != "aws"):
            can = "aws" if options.managed else ", ".join(WRITERS)
            yield Problem("this store cannot be rotated so", line.where, f"It can be done at {can}.")
        if reference.listing or line.prefix is not None:
            yield Problem("one secret at a time is rotated", line.where, "Name it, and its key: REFERENCE#KEY.")
        fixed = reference.target.version or reference.target.stage or reference.target.body is not None
        if fixed or reference.decode or reference.encode or reference.optional or reference.default is not None:
            yield Problem("an option of it has no meaning here", line.where, "Leave it out.")
