"""The inputs of sync: checked as a whole before anything is contacted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from imip_secrets import references
from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.sync import manifest, targets
from imip_secrets.sync.base import App, Kind, Reach, Scope, Visibility
from imip_secrets.variables import known_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from imip_secrets.references import Line
    from imip_secrets.secret import Secret
    from imip_secrets.settings import Settings
    from imip_secrets.sync.manifest import Manifest
    from imip_secrets.sync.targets import Destination

GITHUB = "https://api.github.com"
REPOSITORY = "GITHUB_REPOSITORY"
"""The variable of the runner that names the repository of the workflow."""
API_URL = "GITHUB_API_URL"

_SHARD = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})", re.ASCII)
_REFERENCE = re.compile(r"[a-z-]+://")


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of the targets.

    Args:
        number: Which part, from 1.
        of: How many parts there are.

    """

    number: int = 1
    of: int = 1

    def holds(self, scope: Scope) -> bool:
        """Tell whether a scope is in this part: all of one repository are in the same."""
        name = f"{scope.owner}/{scope.repo}".lower().encode()
        return int.from_bytes(sha256(name).digest()[:8], "big") % self.of == self.number - 1


@dataclass(frozen=True, slots=True)
class Rules:
    """How the run decides.

    Args:
        force: Whether everything is written again.
        remembers: Whether there is a manifest, which says what we wrote.
        prune: Whether what we wrote and nobody wants any more is deleted.
        max_deletions: How many of those there may be.
        visibility: Who sees new secrets of an organisation.

    """

    force: bool = False
    remembers: bool = False
    prune: bool = False
    max_deletions: int = 5
    visibility: Visibility = Visibility.PRIVATE


@dataclass(frozen=True, slots=True)
class Inputs:
    """What sync is asked to do.

    Args:
        destinations: Where the secrets go.
        rules: How it is decided.
        manifest: What earlier runs wrote.
        home: The scope and the name of the secret that holds the manifest, or None.
        shard: The part of the targets that is ours.
        dry_run: Whether the plan is only shown.
        api_url: The address of GitHub's API.

    """

    destinations: tuple[Destination, ...]
    rules: Rules
    manifest: Manifest
    home: tuple[Scope, str] | None
    shard: Shard
    dry_run: bool
    api_url: str

    def reaches(self) -> list[Reach]:
        """Say what is to be touched, one for each owner."""
        owners: dict[str, list[Destination]] = {}
        for each in self.destinations:
            owners.setdefault(each.owner.lower(), []).append(each)
        if self.home:
            owners.setdefault(self.home[0].owner.lower(), [])
        return [self._reach(owner, lines) for owner, lines in owners.items()]

    def _reach(self, owner: str, lines: Sequence[Destination]) -> Reach:
        uses = {(each.kind, app) for each in lines for app in each.apps}
        names = {each.repo for each in lines if each.repo} | {repo for each in lines for repo in each.repos or ()}
        if self.home and self.home[0].owner.lower() == owner:
            uses.add((Kind.REPOSITORY, App.ACTIONS))
            names.add(self.home[0].repo)
        matches = [each.match for each in lines if each.match is not None]
        # Its repositories are not known by then.
        everything = bool(matches) or any(each.kind is Kind.ORGANIZATION for each in lines)
        return Reach(
            lines[0].owner if lines else owner,
            frozenset(uses),
            frozenset() if everything else frozenset(names),
            properties=any(match.properties for match in matches),
        )


def problems(settings: Settings, lines: Iterable[Line]) -> Iterator[Problem]:
    """Find every mistake in the inputs of sync, and in the lines as sync takes them."""
    destinations, mistakes = targets.parse(settings["sync-to"])
    yield from mistakes
    yield from _name_problems(destinations, lines, settings)
    yield from _credential_problems(settings)
    yield from _manifest_problems(settings)
    if settings.given("sync-shard") and not _shard(settings["sync-shard"]):
        what = f"{tame(settings['sync-shard'], 40)!r} is no part of the targets"
        yield Problem(what, "input sync-shard", "Write it like 3/8: the third of eight parts.")


def read(settings: Settings, environ: Mapping[str, str], *, is_enterprise_server: bool) -> Inputs:
    """Read the inputs, once :func:`problems` has found none.

    Args:
        settings: All of them.
        environ: The runner's variables: which repository this is, and whose API is its own.
        is_enterprise_server: Whether the API is that of a GitHub Enterprise Server.

    Raises:
        ImipError: what the runner tells does not fit.

    """
    destinations, _ = targets.parse(settings["sync-to"])
    faults = list(targets.not_on_enterprise_server(destinations)) if is_enterprise_server else []
    home = None
    if settings.given("sync-manifest-secret"):
        owner, _, repo = environ.get(REPOSITORY, "").partition("/")
        home = Scope(Kind.REPOSITORY, owner, repo), settings["sync-manifest-secret"].upper()
        if not owner or not repo:
            what = f"the manifest is kept in the repository that runs the sync, and {REPOSITORY} does not name it"
            faults.append(Problem(what, "input sync-manifest-secret", f"Set {REPOSITORY}: OWNER/REPOSITORY."))
    if faults:
        raise ImipError(*faults)
    text = settings.secret("sync-manifest")
    return Inputs(
        tuple(destinations),
        Rules(
            settings.flag("sync-force"),
            home is not None,
            settings.flag("sync-prune"),
            settings.number("sync-max-deletions"),
            Visibility(settings["sync-visibility"]),
        ),
        manifest.load(text.reveal() if text else ""),
        home,
        _shard(settings["sync-shard"]) or Shard(),
        settings.flag("sync-dry-run"),
        api_url(settings, environ),
    )


def api_url(settings: Settings, environ: Mapping[str, str]) -> str:
    """Return the address of GitHub's API: as given, else the runner's own, else that of github.com."""
    return (settings["github-api-url"] or environ.get(API_URL) or GITHUB).rstrip("/")


def key_line(settings: Settings) -> Line | None:
    """Return the reference that stands for the App's private key, or None where the key itself is given."""
    text = _revealed(settings.secret("github-app-private-key"))
    if not _REFERENCE.match(text):
        return None
    lines, _ = references.parse(text)
    return lines[0] if lines else None


def _name_problems(destinations: Sequence[Destination], lines: Iterable[Line], settings: Settings) -> Iterator[Problem]:
    """Find names, as far as the lines tell them, that GitHub does not take, and values that are no secrets."""
    given = list(lines)
    for line in given:
        if line.reference.as_file:
            yield Problem("as=file is for a job, and GitHub keeps values", line.where, "Leave as=file out.")
    for named in known_names(given, settings["name-transform"])[0]:
        secrets = {destination.secret(named.name) for destination in destinations}
        for name in sorted(filter(None, secrets)):
            fault = targets.name_fault(name)
            if fault:
                yield Problem(fault[0], named.where, fault[1])


def _credential_problems(settings: Settings) -> Iterator[Problem]:
    """Find what is missing of who we are to GitHub, or too much."""
    token, app, app_key = map(settings.given, ("github-token", "github-app-id", "github-app-private-key"))
    if token and (app or app_key):
        yield Problem("there is a token and an App", "input github-token", "Leave one of them out.")
    elif app != app_key:
        missing = "github-app-private-key" if app else "github-app-id"
        yield Problem(
            "a GitHub App has an id and a private key, and this one is missing", f"input {missing}", "Give both."
        )
    elif not token and not app:
        yield Problem(
            "there is nothing to log in to GitHub with",
            "input github-token",
            "Give a GitHub App (github-app-id, github-app-private-key), or a token that may write secrets; the job's "
            "own GITHUB_TOKEN may not.",
        )
    text = _revealed(settings.secret("github-app-private-key"))
    if _REFERENCE.match(text):
        lines, mistakes = references.parse(text)
        where = "input github-app-private-key"
        yield from (mistake.at(where) for mistake in mistakes)
        if len(lines) > 1 or any(line.reference.listing or line.prefix is not None for line in lines):
            yield Problem("it refers to more than one value", where, "Write vault://secret/github-app#private_key.")


def _manifest_problems(settings: Settings) -> Iterator[Problem]:
    """Find what is missing for the memory of earlier runs, and a memory that cannot be read."""
    name = settings["sync-manifest-secret"]
    if name:
        fault = targets.name_fault(name)
        if fault:
            yield Problem(fault[0], "input sync-manifest-secret", "The usual name is IMIP_SYNC_MANIFEST.")
    elif settings.given("sync-manifest"):
        what = "sync-manifest is given, but not where the manifest is kept"
        yield Problem(what, "input sync-manifest-secret", "Set sync-manifest-secret: IMIP_SYNC_MANIFEST.")
    elif settings.flag("sync-prune"):
        yield Problem(
            "without a manifest nobody knows what earlier runs wrote, so nothing can be deleted",
            "input sync-prune",
            "Set sync-manifest-secret: IMIP_SYNC_MANIFEST and sync-manifest: ${{ secrets.IMIP_SYNC_MANIFEST }}.",
        )
    text = settings.secret("sync-manifest")
    try:
        manifest.load(text.reveal() if text else "")
    except ImipError as error:
        yield from error.problems


def _shard(text: str) -> Shard | None:
    match = _SHARD.fullmatch(text)
    if not match or int(match[1]) > int(match[2]):
        return None
    return Shard(int(match[1]), int(match[2]))


def _revealed(secret: Secret | None) -> str:
    return secret.reveal() if secret else ""
