"""``imip-secrets migrate``: from ``.env`` files to a store, in steps that can be looked at."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets.cli.options import add_settings, read_values
from imip_secrets.cli.terminal import context, job_console, note
from imip_secrets.errors import ImipError, Problem, UsageError
from imip_secrets.foreign import tame
from imip_secrets.migrate import aftermath, envfile, github, judge
from imip_secrets.migrate import apply as applying
from imip_secrets.migrate import audit as auditing
from imip_secrets.migrate import plan as planning
from imip_secrets.runner import masks
from imip_secrets.settings import Settings
from imip_secrets.stores import SCHEMES
from imip_secrets.stores.base import Target
from imip_secrets.stores.writers import WRITERS, open_writer
from imip_secrets.sync import targets as sync_targets
from imip_secrets.sync.opening import open_scopes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from imip_secrets.migrate.plan import Item
    from imip_secrets.secret import Secret
    from imip_secrets.stores.writers import Writer
    from imip_secrets.sync.base import Scope

USAGE = "audit [FOLDER] | plan FILE --to GOAL | apply FILE --to GOAL"
EPILOG = """\
steps:
  audit   find .env files in the tree and in git's history: which keys, never a value
  plan    show what would be created, what is there already and what would change; writes nothing
  apply   do what plan shows, read it back, and print the lines to paste

goals (--to):
  aws, vault                        the usual path: imip/ENVIRONMENT, by --environment or the file's name
  aws://imip/production             one secret with every key, as a JSON object
  vault://secret/imip/production    the same in a KV engine
  azure://imip-vault                a secret for each key
  repo:org/app, env:org/app/NAME    GitHub's own secrets (token from GITHUB_TOKEN or GH_TOKEN)

examples:
  imip-secrets migrate audit
  imip-secrets migrate plan .env.production --to aws://imip/production --aws-region us-east-1
  imip-secrets migrate apply .env.production --to vault://secret/imip/production --only-secret
  imip-secrets migrate apply .env --to repo:org/app
"""
_OF_GITHUB = ("github-token", "github-app-id", "github-app-private-key", "github-api-url")
# Where the secrets of an environment are by custom, before its name.
_USUAL = {"aws": "aws://imip/", "vault": "vault://secret/imip/"}
_GOALS = ("aws://imip/production", "vault://secret/imip/production", "azure://imip-vault", "repo:org/app")
_AZURE_NAME = re.compile(r"[0-9A-Za-z-]{1,127}", re.ASCII)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("step", choices=("audit", "plan", "apply"), help="see below")
    parser.add_argument("path", nargs="?", type=Path, metavar="FILE", help="the .env file; of audit, the folder")
    parser.add_argument("--to", metavar="GOAL", help="where the secrets go")
    parser.add_argument("--environment", metavar="NAME", help="what the application calls it (default: of the goal)")
    parser.add_argument("--only", metavar="KEY,...", default="", help="take these keys alone")
    parser.add_argument("--except", metavar="KEY,...", default="", dest="excepted", help="leave these keys out")
    parser.add_argument("--only-secret", action="store_true", help="leave out what looks like plain configuration")
    parser.add_argument("--interpolate", action="store_true", help="let ${NAME} stand for another variable of the file")
    parser.add_argument("--update", action="store_true", help="change what is there already; keys only there stay")
    parser.add_argument("--yes", action="store_true", help="do not ask before writing")
    parser.add_argument("--no-history", action="store_true", help="do not look through git's history")
    add_settings(parser, also=_OF_GITHUB)


def main(options: argparse.Namespace, _child: Sequence[str]) -> int:
    """Do one step."""
    if options.step == "audit":
        return _audit(options)
    settings, goal = _checked(options)
    values = _values(options)
    console = job_console()
    if console:
        floor = settings.number("mask-floor")
        console.mask(line for value in values.values() for line in masks.forms(value, floor).lines)
    if goal.partition("://")[0] in WRITERS:
        return _to_store(options, settings, goal, values)
    return _to_github(options, settings, goal, values)


def _audit(options: argparse.Namespace) -> int:
    """Show where .env files are; return 1 when one is in git, its history, or on its way there."""
    found = auditing.audit(options.path or Path(), history=not options.no_history)
    for line in auditing.report(found):
        print(line)
    exposed = [file for file in found.files if not file.is_template and (file.tracked or not file.ignored)]
    return 1 if found.has_git and (exposed or found.past) else 0


def _checked(options: argparse.Namespace) -> tuple[Settings, str]:
    """Read the options of plan and apply.

    Raises:
        UsageError: with every mistake.

    """
    values, problems = read_values(options)
    settings = Settings(values)
    problems += settings.problems()
    if options.path is None:
        remedy = "Write: imip-secrets migrate plan .env --to GOAL."
        problems.append(Problem("there is no file to migrate", remedy=remedy))
    goal = _goal(options)
    scheme = goal.partition("://")[0]
    if scheme in WRITERS:
        problems += _wrong_goal(scheme, goal, settings)
    elif not goal or sync_targets.parse(goal)[1] or not _scope(goal):
        what = f"{tame(goal, 80)!r} is no goal" if goal else "there is no goal"
        remedy = (
            "Write one like aws://imip/production, vault://secret/imip/production, azure://imip-vault or repo:org/app."
        )
        problems.append(Problem(what, "--to", remedy))
    if problems:
        raise UsageError(*problems)
    return settings, goal


def _goal(options: argparse.Namespace) -> str:
    """Return the goal as it is written; of a store alone, the usual path: ``imip/ENVIRONMENT``."""
    start = _USUAL.get(options.to or "")
    if start is None or options.path is None:
        return options.to or ""
    name = options.path.name
    # .env.production is production's, .env a developer's.
    told = name.removeprefix(".env").removeprefix(".") if name.startswith(".env") else name.removesuffix(".env")
    return f"{start}{options.environment or told or 'development'}"


def _wrong_goal(scheme: str, goal: str, settings: Settings) -> Iterator[Problem]:
    path = goal.partition("://")[2]
    if any(char in path for char in "?#*") or not path:
        yield Problem(f"{tame(goal, 80)!r} is no single secret", "--to", "Leave options, keys and stars out.")
        return
    target = Target(f"{path.strip('/')}/x" if scheme == "azure" else path)
    for where, problem in SCHEMES[scheme].load().check(settings, [target]):
        yield problem if where is None else problem.at("--to")


def _values(options: argparse.Namespace) -> dict[str, Secret]:
    """Read the file, and choose.

    Raises:
        ImipError: it cannot be read, or nothing is left.

    """
    file = envfile.read(options.path, interpolate=options.interpolate)
    for key, lines in file.repeated.items():
        where = f"lines {', '.join(map(str, lines))} of {tame(options.path)}"
        note(f"{file.shown(key)} stands in {where}: the last one counts.")
    if file.empty:
        note(f"{tame(options.path)}: {file.without()}.")
    only, excepted = (set(filter(None, text.split(","))) for text in (options.only, options.excepted))
    unknown = sorted((only | excepted) - file.values.keys())
    if unknown:
        what = f"{tame(options.path)} has no {', '.join(map(tame, unknown))}"
        raise UsageError(Problem(what, "--only or --except", f"It has {', '.join(map(file.shown, file.values))}."))
    chosen = {key: value for key, value in file.values.items() if (not only or key in only) and key not in excepted}
    if options.only_secret:
        chosen = {key: value for key, value in chosen.items() if judge.looks_secret(key, value)}
    odd = [
        Problem(
            "what stands before the = is no name for a secret",
            f"{tame(options.path)} line {number}",
            "If it is the rest of a value, put that in quotes; else give it a name, or leave it out with --only.",
        )
        for key, number in file.odd.items()
        if key in chosen
    ]
    if odd:
        raise ImipError(*odd)
    if not chosen:
        what = f"{tame(options.path)} has nothing to migrate"
        raise ImipError(Problem(what, remedy="Look at it with imip-secrets migrate audit."))
    return chosen


def _to_store(options: argparse.Namespace, settings: Settings, goal: str, values: Mapping[str, Secret]) -> int:
    scheme, _, path = goal.partition("://")
    writer = open_writer(scheme, context(settings, job_console()))
    try:
        note(f"{SCHEMES[scheme].title}: {writer.login()}.")
        items = _plan(writer, scheme, path, values, update=options.update)
        for line in planning.report(items):
            print(line)
        if options.step == "plan":
            return 0
        if any(item.state in {planning.State.CREATE, planning.State.UPDATE} for item in items):
            _ask(options)
        applying.apply(items, writer, print)
    finally:
        writer.close()
    _tell(options, aftermath.Goal(scheme, goal, _environment(options, path), *_where(settings)), values)
    return 0


def _plan(writer: Writer, scheme: str, path: str, values: Mapping[str, Secret], *, update: bool) -> list[Item]:
    if scheme != "azure":
        return planning.plan_object(writer, Target(path), values, update=update)
    names = {key: key.replace("_", "-") for key in values}
    wrong = [
        Problem(f"{tame(name)} is no name for a secret of Key Vault", key, "Leave it out with --except.")
        for key, name in names.items()
        if not _AZURE_NAME.fullmatch(name)
    ]
    # Key Vault takes no underscores and knows no capitals: two keys may be one name.
    first: dict[str, str] = {}
    for key, name in names.items():
        other = first.setdefault(name.lower(), key)
        if other != key:
            wrong.append(
                Problem(f"Key Vault takes it for the same as {tame(other)}", key, "Leave one out with --except.")
            )
    if wrong:
        raise ImipError(*wrong)
    targets = {key: Target(f"{path.strip('/')}/{name}") for key, name in names.items()}
    return planning.plan_each(writer, targets, values, update=update)


def _to_github(options: argparse.Namespace, settings: Settings, goal: str, values: Mapping[str, Secret]) -> int:
    wrong = list(github.check(values))
    if wrong:
        raise UsageError(*wrong)
    scope = _scope(goal)
    if scope is None:
        return 2
    client = open_scopes([scope], context(settings, job_console()), os.environ)
    try:
        note(f"GitHub: {client.login()}.")
        rows = github.plan(client, scope, values, update=options.update)
        for line in github.report(rows, scope):
            print(line)
        if options.step == "plan":
            return 0
        _ask(options)
        github.apply(client, scope, rows, print)
    finally:
        client.close()
    _tell(options, aftermath.Goal("github", goal, options.environment or ""), values)
    return 0


def _scope(goal: str) -> Scope | None:
    """Return the one scope that a goal names, or None."""
    destinations, problems = sync_targets.parse(goal)
    if problems or len(destinations) != 1 or destinations[0].match or destinations[0].kind.value == "org":
        return None
    scopes = list(destinations[0].scopes())
    return scopes[0] if len(scopes) == 1 else None


def _ask(options: argparse.Namespace) -> None:
    """Ask a person before anything is written.

    Raises:
        ImipError: the answer is no, or there is nobody to ask.

    """
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise ImipError(Problem("nobody is there to say yes", remedy="Look at the plan, and give --yes."))
    print("Write this? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise ImipError(Problem("nothing was written", remedy="Answer y to write it."))


def _tell(options: argparse.Namespace, goal: aftermath.Goal, values: Mapping[str, Secret]) -> None:
    folder = options.path.resolve().parent
    try:
        found = auditing.audit(folder, history=not options.no_history)
    except ImipError as error:
        note(str(error))
        found = auditing.Audit((), (), has_git=False)
    tracked = [file.path for file in found.files if file.tracked and not file.is_template]
    print()
    where = "" if folder == Path.cwd() else str(folder)
    for line in aftermath.next_steps(goal, list(values), tracked, [past.path for past in found.past], where):
        print(line)


def _environment(options: argparse.Namespace, path: str) -> str:
    """Return what the application calls the environment: as told, else the last part of the path."""
    return options.environment or path.rstrip("/").rpartition("/")[2]


def _where(settings: Settings) -> tuple[str, str]:
    return settings["aws-region"], settings["vault-addr"].rstrip("/")
