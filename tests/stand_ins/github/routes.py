"""GitHub's answers: each operation of the API that has to do with secrets, as its documentation and its users tell.

An operation is a function with a template of its path. ``{app}`` in a template is
one of the applications that can hold secrets, and a place is found from what the
path holds: a repository, one of its environments, or an organisation.

Not verified against the real service: the words for too many secrets, for one that
is too long or empty, and what an old ``key_id`` gets. Recorded or reported: all
other words, 201 and 204, capitals, the list of repositories that an update without
one clears, the types of ids, what a renamed repository answers.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote, urlencode

from stand_ins.faults import Answer
from stand_ins.github import bodies
from stand_ins.github.access import NOT_DECODED, Token, Unauthorized
from stand_ins.github.state import APPS, MOST_BYTES, Improper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from stand_ins.faults import Request
    from stand_ins.github.access import Access, Installation
    from stand_ins.github.limits import Limits
    from stand_ins.github.state import Account, Kept, Repository, State, Vault

DOCS = "https://docs.github.com/rest"
PAGE, LONGEST_PAGE = 30, 100
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})")

IMPROPER = "Bad request - validation failed due to an improperly encrypted secret"
BAD_NAME = (
    "Secret names can only contain alphanumeric characters ([a-z], [A-Z], [0-9]) or underscores (_). "
    "Spaces are not allowed. Must start with a letter ([a-z], [A-Z]) or underscores (_)."
)
RESERVED_NAME = "Secret names must not start with GITHUB_."
ONLY_INSTALLATIONS = "You must authenticate with an installation access token in order to"
LEVELS = ("read", "write", "admin")
READ_ONLY = "Repository was archived so is read-only."
NOT_SELECTED = "The visibility of the secret must be set to selected to change its repositories."

# What a token needs for the secrets of a repository and of an organisation, by application.
REPOSITORY_PERMISSIONS = {
    "actions": "secrets",
    "dependabot": "dependabot_secrets",
    "codespaces": "codespaces_secrets",
    "agents": "agent_secrets",
}
ORGANIZATION_PERMISSIONS = {
    "actions": "organization_secrets",
    "dependabot": "organization_dependabot_secrets",
    "codespaces": "organization_codespaces_secrets",
    "agents": "organization_agent_secrets",
}


class Refusal(Exception):  # noqa: N818 - an answer, not a defect
    """An answer that is an error.

    Args:
        status: The status.
        message: What GitHub says.
        headers: Further headers.

    """

    def __init__(self, status: int, message: str, **headers: str) -> None:
        """Take what to answer; ``X_Some="1"`` is the header ``X-Some``."""
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(self, docs: str = DOCS) -> Answer:
        """Write it as GitHub does."""
        body = {"message": self.message, "documentation_url": docs, "status": str(self.status)}
        return answer(self.status, body, self.headers)


class Moved(Refusal):
    """A renamed repository was asked for by its old name."""


def not_found() -> Refusal:
    """Refuse what is not there, or not to be seen."""
    return Refusal(404, "Not Found")


def invalid(what: str) -> Refusal:
    """Refuse a body that is not as GitHub's description says."""
    return Refusal(422, f"Invalid request.\n\n{what}")


def answer(status: int, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with JSON, or with nothing."""
    if body is None:
        return Answer(status, dict(headers or {}))
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return Answer(status, {**kind, **(headers or {})}, json.dumps(body, separators=(",", ":")).encode())


@dataclass(slots=True)
class Asked:
    """A request on its way to its operation.

    Args:
        request: The request.
        caller: Who asks.
        api: The address of the API that the client used.
        path: The path as on github.com.
        state: What GitHub remembers.
        access: Who may what.
        limits: What is used up.
        now: The present moment.
        parts: What the template's fields hold, decoded.
        needs: The permission and level that the operation asked for, for the header.

    """

    request: Request
    caller: Token
    api: str
    path: str
    state: State
    access: Access
    limits: Limits
    now: float
    parts: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, str] = ("metadata", "read")

    # --- what the path names

    def repository(self) -> Repository:
        """Find the repository of the path."""
        full_name = f"{self.parts['owner']}/{self.parts['repo']}"
        found = self.state.repositories.get(full_name.lower())
        if found is None:
            moved = self.state.renamed.get(full_name.lower())
            if moved is None or not self._sees(self.state.by_id[moved]):
                raise not_found()
            rest = self.request.target.split("/repos/", 1)[1].split("/", 2)[2:]
            location = f"{self.api}/repositories/{moved}" + (f"/{rest[0]}" if rest else "")
            status, said = (301, "Moved Permanently") if self.request.method == "GET" else (307, "Temporary Redirect")
            raise Moved(status, said, Location=location)
        if not self._sees(found):
            raise not_found()
        return found

    def organization(self) -> Account:
        """Find the organisation of the path."""
        found = self.state.accounts.get(self.parts["org"].lower())
        if found is None or found.kind != "Organization":
            raise not_found()
        installation = self.caller.installation
        if installation and installation.account is not found:
            raise self.forbidden()
        return found

    def vault(self, level: str) -> Vault:
        """Find the place of the path, for somebody who may read or write it."""
        app = self.parts.get("app", "actions")
        if app not in self.state.apps:
            raise not_found()
        if "org" in self.parts:
            label = f"org:{self.organization().login}"
            self.require(ORGANIZATION_PERMISSIONS[app], level)
            if app == "codespaces":
                self.not_for_apps()
            return self.state.vault(label, app)
        repository = self.repository()
        environment = self.parts.get("environment_name")
        self.require("environments" if environment else REPOSITORY_PERMISSIONS[app], level, repository)
        if level == "write" and repository.archived:
            raise Refusal(403, READ_ONLY)
        if environment is None:
            return self.state.vault(f"repo:{repository.full_name}", app)
        if environment.lower() not in repository.environments:
            raise not_found()
        return self.state.vault(f"env:{repository.full_name}/{environment}", app)

    # --- who asks

    def _sees(self, repository: Repository) -> bool:
        return repository.visibility == "public" or self.caller.kind == "app" or self.caller.reaches(repository)

    def require(self, permission: str, level: str, repository: Repository | None = None) -> None:
        """Refuse somebody without a permission, with the header that names it."""
        self.needs = (permission, level)
        if repository and not self.caller.reaches(repository):
            raise self.forbidden()
        if not self.caller.may(permission, level):
            raise self.forbidden()

    def not_for_apps(self) -> None:
        """Refuse an installation where GitHub's description has no App."""
        if self.caller.kind == "installation":
            raise self.forbidden()

    def only_apps(self) -> Token:
        """Refuse everybody but an App that shows its JWT."""
        if self.caller.kind != "app":
            raise Unauthorized(NOT_DECODED)
        return self.caller

    def forbidden(self) -> Refusal:
        """Refuse in the words for the kind of token."""
        permission, level = self.needs
        if self.caller.kind == "classic":
            scope = "admin:org" if permission.startswith("organization_") else "repo"
            held = ", ".join(self.caller.permissions)
            headers = {"X_OAuth_Scopes": held, "X_Accepted_OAuth_Scopes": scope}
            said = "You must be an org admin or have the actions secrets fine-grained permission."
            return Refusal(403, said if scope == "admin:org" else "Must have admin rights to Repository.", **headers)
        by = "integration" if self.caller.kind == "installation" else "personal access token"
        accepted = f"{permission}={level}"
        return Refusal(403, f"Resource not accessible by {by}", X_Accepted_GitHub_Permissions=accepted)

    # --- what the query and the body hold

    def json(self) -> dict[str, Any]:
        """Give the body, which must be an object."""
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError as error:
            raise Refusal(400, "Problems parsing JSON") from error
        if not isinstance(body, dict):
            raise Refusal(400, "Body should be a JSON object")
        return body

    def _number(self, name: str, default: int) -> int:
        """Read a number of the query; what is none GitHub passes over, and we refuse as a client's mistake."""
        text = self.request.query.get(name, str(default))
        if not _NUMBER.fullmatch(text):
            what = f"For 'parameters/{name}', {json.dumps(text)} is not an integer."
            raise invalid(what)
        return int(text) if int(text) > 0 else default

    def choice(self, name: str, default: str, *others: str) -> str:
        """Read a word of the query."""
        word = self.request.query.get(name, default)
        if word not in {default, *others}:
            what = f"For 'parameters/{name}', {json.dumps(word)} is not a member of {[default, *others]}."
            raise invalid(what)
        return word

    def unknown(self, *names: str) -> None:
        """Refuse what GitHub's description has in the query, and the stand-in does not do."""
        for name in names:
            if name in self.request.query:
                raise Refusal(422, f"The stand-in for GitHub knows no {name}.")

    def page(self, items: Sequence[Any], write: Callable[[Any], object], **around: object) -> Answer:
        """Answer with a page of a listing: alone, or in an object when ``around`` names its list."""
        size = min(self._number("per_page", PAGE), LONGEST_PAGE)
        number = self._number("page", 1)
        last = max(1, -(-len(items) // size))
        page = [write(item) for item in items[(number - 1) * size : number * size]]
        wanted = {"prev": number - 1, "next": number + 1, "last": last, "first": 1}
        if number >= last:
            del wanted["next"], wanted["last"]
        if number == 1:
            del wanted["prev"], wanted["first"]
        path = f"{self.api}{self.path}"
        links = [
            f'<{path}?{urlencode({**self.request.query, "page": to})}>; rel="{name}"' for name, to in wanted.items()
        ]
        headers = {"Link": ", ".join(links)} if links else {}
        if not around:
            return answer(200, page, headers)
        body = {"total_count": len(items), **{name: value for name, value in around.items() if value is not None}}
        body[next(name for name, value in around.items() if value is None)] = page
        return answer(200, body, headers)


Operation: TypeAlias = "Callable[[Asked], Answer]"
_ROUTES: list[tuple[str, str, re.Pattern[str], Operation]] = []


def route(method: str, template: str) -> Callable[[Operation], Operation]:
    """Have a function answer a method of a path."""
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template.replace("{app}", f"(?P<app>{'|'.join(APPS)})"))

    def add(operation: Operation) -> Operation:
        _ROUTES.append((method, template, re.compile(pattern), operation))
        return operation

    return add


def find(method: str, path: str) -> tuple[str, Operation, dict[str, str]] | None:
    """Find the operation for a path: its template, its function, and what the path's fields hold."""
    for known, template, pattern, operation in _ROUTES:
        match = pattern.fullmatch(path) if known == method else None
        if match:
            return template, operation, {name: unquote(value) for name, value in match.groupdict().items()}
    return None


def _nowhere(_: Asked) -> Answer:
    raise not_found()


NOWHERE: tuple[str, Operation, dict[str, str]] = ("", _nowhere, {})


def answered(method: str, path: str) -> bool:
    """Tell whether an operation of GitHub's description, by the template of its path, is one of those here."""
    return find(method.upper(), re.sub(r"\{\w+\}", "x", path)) is not None


PLACES = (
    "/repos/{owner}/{repo}/{app}/secrets",
    "/repos/{owner}/{repo}/environments/{environment_name}/secrets",
    "/orgs/{org}/{app}/secrets",
)


def in_places(method: str, rest: str = "", places: Iterable[str] = PLACES) -> Callable[[Operation], Operation]:
    """Have a function answer for every kind of place that holds secrets."""

    def add(operation: Operation) -> Operation:
        for place in places:
            route(method, place + rest)(operation)
        return operation

    return add


# --- secrets


@in_places("GET", "/public-key")
def public_key(asked: Asked) -> Answer:
    """Give the key that secrets of a place are sealed for."""
    vault = asked.vault("read")
    if vault.app == "codespaces":
        asked.not_for_apps()
    return answer(200, {"key_id": vault.key_id, "key": vault.public_key})


@in_places("GET")
def list_secrets(asked: Asked) -> Answer:
    """List the secrets of a place by name."""
    vault = asked.vault("read")
    secrets = sorted(vault.read().values(), key=lambda kept: kept.name)
    return asked.page(secrets, lambda kept: bodies.secret(kept, vault, asked.api), secrets=None)


@in_places("GET", "/{secret_name}")
def get_secret(asked: Asked) -> Answer:
    """Give what is known of one secret."""
    vault = asked.vault("read")
    return answer(200, bodies.secret(_known(vault.read(), asked), vault, asked.api))


@in_places("PUT", "/{secret_name}")
def put_secret(asked: Asked) -> Answer:
    """Write one secret."""
    vault = asked.vault("write")
    name, body = asked.parts["secret_name"].upper(), asked.json()
    if name.startswith("GITHUB_"):
        raise Refusal(422, RESERVED_NAME)
    if not _NAME.fullmatch(name):
        raise Refusal(422, BAD_NAME)
    visibility, selected = _reach(asked, vault, body) if vault.organization else ("", frozenset())
    value = _opened(vault, body)
    if name not in vault.secrets and len(vault.secrets) >= vault.limit:
        raise Refusal(422, f"You have reached the maximum number of secrets ({vault.limit}).")
    created = vault.write(name, value, visibility, selected)
    return answer(201, {}) if created else answer(204)


@in_places("DELETE", "/{secret_name}")
def delete_secret(asked: Asked) -> Answer:
    """Delete one secret."""
    vault = asked.vault("write")
    if not vault.remove(asked.parts["secret_name"]):
        raise not_found()
    return answer(204)


def _opened(vault: Vault, body: Mapping[str, Any]) -> bytes:
    """Give the plaintext of a body, or refuse it."""
    for name in ("encrypted_value", "key_id"):
        if name not in body:
            what = f'"{name}" wasn\'t supplied.'
            raise invalid(what)
        if not isinstance(body[name], str):
            what = f"For 'properties/{name}', {json.dumps(body[name])} is not a string."
            raise invalid(what)
    if not _BASE64.fullmatch(body["encrypted_value"]):
        what = f"For 'properties/encrypted_value', the value does not match {_BASE64.pattern}."
        raise invalid(what)
    try:
        value = vault.open(body["encrypted_value"], body["key_id"])
    except Improper as error:
        raise Refusal(422, IMPROPER) from error
    if not value:
        raise Refusal(422, "Validation failed: the secret value cannot be empty")
    if len(value) > MOST_BYTES:
        raise Refusal(422, "Validation failed: the secret value is too large (48 KB at most)")
    return value


# --- whom an organisation's secret reaches


SELECTED = "/{secret_name}/repositories"
ORGANIZATION = PLACES[2:]


def _reach(asked: Asked, vault: Vault, body: Mapping[str, Any]) -> tuple[str, frozenset[int]]:
    """Give the visibility and the repositories that a body asks for."""
    visibility = body.get("visibility")
    if "visibility" not in body:
        what = '"visibility" wasn\'t supplied.'
        raise invalid(what)
    if not isinstance(visibility, str) or visibility not in {"all", "private", "selected"}:
        what = f"For 'properties/visibility', {json.dumps(visibility)} is not a member of [all, private, selected]."
        raise invalid(what)
    if "selected_repository_ids" not in body:
        # So a "selected" secret that is updated without them is seen by no repository any more.
        return visibility, frozenset()
    if visibility != "selected":
        raise Refusal(422, "selected_repository_ids may only be given when visibility is set to selected")
    return visibility, _ids(asked, body["selected_repository_ids"], strings=vault.app == "dependabot")


def _ids(asked: Asked, given: object, *, strings: bool) -> frozenset[int]:
    """Read ids of repositories, which are text for Dependabot and numbers for all others."""
    if not isinstance(given, list):
        what = f"For 'properties/selected_repository_ids', {json.dumps(given)} is not an array."
        raise invalid(what)
    kind, word = (str, "a string") if strings else (int, "an integer")
    for item in given:
        if not isinstance(item, kind) or isinstance(item, bool):
            what = f"For 'items', {json.dumps(item)} is not {word}."
            raise invalid(what)
    ids = {int(item) for item in given if isinstance(item, int) or item.isdecimal()}
    organization = asked.organization()
    ours = {number for number in ids if number in asked.state.by_id and asked.state.by_id[number].owner is organization}
    if len(ours) < len(set(given)):
        raise Refusal(422, "Validation failed: a selected repository is not one of the organization's")
    return frozenset(ours)


def _selected(asked: Asked, level: str) -> tuple[Vault, Kept]:
    """Find the secret of the path, whose visibility must be ``selected``."""
    vault = asked.vault(level)
    kept = _known(vault.secrets, asked)
    if kept.visibility != "selected":
        raise Refusal(409, NOT_SELECTED)
    return vault, kept


@in_places("GET", SELECTED, ORGANIZATION)
def list_selected(asked: Asked) -> Answer:
    """List the repositories that a secret reaches."""
    _, kept = _selected(asked, "read")
    repositories = [asked.state.by_id[number] for number in sorted(kept.selected)]
    return asked.page(repositories, lambda one: bodies.repository(one, asked.api), repositories=None)


@in_places("PUT", SELECTED, ORGANIZATION)
def put_selected(asked: Asked) -> Answer:
    """Replace the repositories that a secret reaches; its value stays."""
    vault, kept = _selected(asked, "write")
    body = asked.json()
    if "selected_repository_ids" not in body:
        what = '"selected_repository_ids" wasn\'t supplied.'
        raise invalid(what)
    vault.reselect(kept.name, _ids(asked, body["selected_repository_ids"], strings=False))
    return answer(204)


@in_places("PUT", f"{SELECTED}/{{repository_id}}", ORGANIZATION)
def add_selected(asked: Asked) -> Answer:
    """Have a secret reach one more repository."""
    vault, kept = _selected(asked, "write")
    vault.reselect(kept.name, kept.selected | {_repository_id(asked)})
    return answer(204)


@in_places("DELETE", f"{SELECTED}/{{repository_id}}", ORGANIZATION)
def remove_selected(asked: Asked) -> Answer:
    """Have a secret reach one repository less."""
    vault, kept = _selected(asked, "write")
    vault.reselect(kept.name, kept.selected - {_repository_id(asked)})
    return answer(204)


def _repository_id(asked: Asked) -> int:
    text = asked.parts["repository_id"]
    repository = asked.state.by_id.get(int(text)) if text.isdecimal() else None
    if repository is None or repository.owner is not asked.organization():
        raise not_found()
    return repository.id


def _known(secrets: Mapping[str, Kept], asked: Asked) -> Kept:
    kept = secrets.get(asked.parts["secret_name"].upper())
    if kept is None:
        raise not_found()
    return kept


@route("GET", "/repos/{owner}/{repo}/{app}/organization-secrets")
def organization_secrets(asked: Asked) -> Answer:
    """List the organisation's secrets that a repository can use."""
    app = asked.parts["app"]
    if app not in {"actions", "agents"} & set(asked.state.apps):
        raise not_found()
    repository = asked.repository()
    asked.require(REPOSITORY_PERMISSIONS[app], "read", repository)
    vault = asked.state.vault(f"org:{repository.owner.login}", app)
    seen = [kept for kept in vault.read().values() if asked.state.sees(repository, kept)]

    def write(kept: Kept) -> bodies.Body:
        body = bodies.secret(kept, vault, asked.api)
        return {name: body[name] for name in ("name", "created_at", "updated_at")}

    return asked.page(sorted(seen, key=lambda kept: kept.name), write, secrets=None)


# --- repositories and environments


@route("GET", "/repos/{owner}/{repo}")
def get_repository(asked: Asked) -> Answer:
    """Give one repository."""
    return answer(200, bodies.repository(asked.repository(), asked.api, full=True))


@route("GET", "/repos/{owner}/{repo}/topics")
def get_topics(asked: Asked) -> Answer:
    """Give a repository's topics."""
    topics = asked.repository().topics
    asked.page(topics, str)
    return answer(200, {"names": topics})


@route("GET", "/repos/{owner}/{repo}/properties/values")
def get_properties(asked: Asked) -> Answer:
    """Give a repository's custom properties."""
    return answer(200, bodies.property_values(asked.repository()))


@route("GET", "/repos/{owner}/{repo}/environments")
def list_environments(asked: Asked) -> Answer:
    """List a repository's environments."""
    repository = asked.repository()
    environments = sorted(repository.environments.values(), key=lambda one: one.id)
    return asked.page(environments, lambda one: bodies.environment(one, repository, asked.api), environments=None)


@route("GET", "/repos/{owner}/{repo}/environments/{environment_name}")
def get_environment(asked: Asked) -> Answer:
    """Give one environment."""
    repository = asked.repository()
    environment = repository.environments.get(asked.parts["environment_name"].lower())
    if environment is None:
        raise not_found()
    return answer(200, bodies.environment(environment, repository, asked.api))


def _of(asked: Asked, account: Account | None) -> list[Repository]:
    """Give the repositories that the caller sees, of one account or of all."""
    mine = [one for one in asked.state.by_id.values() if account is None or one.owner is account]
    return [one for one in mine if asked._sees(one)]


@route("GET", "/orgs/{org}/repos")
def list_organization_repositories(asked: Asked) -> Answer:
    """List an organisation's repositories; the newest first, as GitHub does without a word on the order."""
    kind = asked.choice("type", "all", "public", "private", "forks", "sources", "member")
    kinds: dict[str, Callable[[Repository], bool]] = {
        "public": lambda one: one.visibility == "public",
        "private": lambda one: one.visibility != "public",
        "forks": lambda one: one.fork,
        "sources": lambda one: not one.fork,
    }
    chosen = [one for one in _of(asked, asked.organization()) if kind not in kinds or kinds[kind](one)]
    return asked.page(_sorted(asked, chosen, "created"), lambda one: bodies.repository(one, asked.api))


@route("GET", "/user/repos")
def list_my_repositories(asked: Asked) -> Answer:
    """List the repositories that a person has to do with."""
    asked.not_for_apps()
    asked.unknown("since", "before")
    visibility = asked.choice("visibility", "all", "public", "private")
    asked.choice("type", "all", "owner", "public", "private", "member")
    mine = [
        one for one in _of(asked, None) if visibility in {"all", "public" if one.visibility == "public" else "private"}
    ]
    return asked.page(_sorted(asked, mine, "full_name"), lambda one: bodies.repository(one, asked.api))


@route("GET", "/users/{username}/repos")
def list_user_repositories(asked: Asked) -> Answer:
    """List the public repositories of somebody, as GitHub shows them to everybody else."""
    owner = asked.state.accounts.get(asked.parts["username"].lower())
    if owner is None:
        raise not_found()
    asked.choice("type", "owner", "all", "member")
    public = [one for one in _of(asked, owner) if one.visibility == "public"]
    return asked.page(_sorted(asked, public, "full_name"), lambda one: bodies.repository(one, asked.api))


@route("GET", "/installation/repositories")
def list_installation_repositories(asked: Asked) -> Answer:
    """List the repositories that an installation's token is for."""
    installation = asked.caller.installation
    if installation is None:
        raise Refusal(403, f"{ONLY_INSTALLATIONS} list repositories for an installation.")
    ours = [one for one in asked.state.by_id.values() if asked.caller.reaches(one)]
    selection = "selected" if asked.caller.repositories or installation.repositories else "all"
    return asked.page(
        sorted(ours, key=lambda one: one.id),
        lambda one: bodies.repository(one, asked.api),
        repository_selection=selection,
        repositories=None,
    )


@route("GET", "/orgs/{org}/properties/values")
def list_properties(asked: Asked) -> Answer:
    """List the custom properties of every repository of an organisation."""
    organization = asked.organization()
    asked.require("organization_custom_properties", "read")
    asked.unknown("repository_query")
    return asked.page(sorted(_of(asked, organization), key=lambda one: one.id), bodies.properties)


def _sorted(asked: Asked, repositories: list[Repository], default: str) -> list[Repository]:
    by = asked.choice("sort", default, "created", "updated", "pushed", "full_name")
    up = asked.choice("direction", *(("asc", "desc") if by == "full_name" else ("desc", "asc"))) == "asc"
    return sorted(repositories, key=lambda one: one.full_name.lower() if by == "full_name" else one.id, reverse=not up)


# --- accounts


@route("GET", "/orgs/{org}")
def get_organization(asked: Asked) -> Answer:
    """Give one organisation."""
    return answer(200, bodies.organization(asked.organization(), asked.api))


@route("GET", "/users/{username}")
def get_user(asked: Asked) -> Answer:
    """Give a user or an organisation."""
    account = asked.state.accounts.get(asked.parts["username"].lower())
    if account is None:
        raise not_found()
    return answer(200, bodies.user(account, asked.api))


@route("GET", "/user")
def get_me(asked: Asked) -> Answer:
    """Give the person whose token it is."""
    asked.not_for_apps()
    return answer(200, bodies.user(asked.state.account("octocat", "User"), asked.api))


@route("GET", "/rate_limit")
def get_rate_limit(asked: Asked) -> Answer:
    """Give what is left of the hour; GitHub Enterprise Server without limits has no such page."""
    if not asked.limits.headers:
        raise Refusal(404, "Rate limiting is not enabled.")
    facts = asked.limits.facts(asked.caller.text, asked.now)
    numbers = {name: int(facts[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset", "used")}
    return answer(200, bodies.rate_limit(numbers))


# --- Apps


@route("GET", "/app")
def get_app(asked: Asked) -> Answer:
    """Give the App whose JWT it is."""
    app = asked.only_apps().app
    assert app
    owner = next((one.account for one in _installations(asked)), asked.state.account("octocat", "User"))
    return answer(200, bodies.app(app, owner, asked.api, len(_installations(asked)), asked.now))


@route("GET", "/app/installations")
def list_installations(asked: Asked) -> Answer:
    """List where an App is installed."""
    asked.unknown("since", "outdated")
    return asked.page(_installations(asked), lambda one: bodies.installation(one, asked.api, asked.now))


@route("GET", "/app/installations/{installation_id}")
def get_installation(asked: Asked) -> Answer:
    """Give one installation."""
    return answer(200, bodies.installation(_installation(asked), asked.api, asked.now))


@route("GET", "/repos/{owner}/{repo}/installation")
def get_repository_installation(asked: Asked) -> Answer:
    """Find the installation that a repository is in."""
    installations = _installations(asked)
    repository = asked.repository()
    found = next((one for one in installations if one.has(repository)), None)
    return _found(asked, found)


@route("GET", "/orgs/{org}/installation")
def get_organization_installation(asked: Asked) -> Answer:
    """Find an organisation's installation."""
    installations = _installations(asked)
    organization = asked.organization()
    return _found(asked, next((one for one in installations if one.account is organization), None))


@route("GET", "/users/{username}/installation")
def get_user_installation(asked: Asked) -> Answer:
    """Find a user's installation."""
    login = asked.parts["username"].lower()
    return _found(asked, next((one for one in _installations(asked) if one.account.login.lower() == login), None))


@route("POST", "/app/installations/{installation_id}/access_tokens")
def create_token(asked: Asked) -> Answer:
    """Make a token of an installation, narrowed as asked."""
    installation = _installation(asked)
    if installation.suspended:
        raise Refusal(403, "This installation has been suspended")
    body = asked.json()
    permissions = body.get("permissions", installation.permissions)
    if not isinstance(permissions, dict):
        what = f"For 'properties/permissions', {json.dumps(permissions)} is not an object."
        raise invalid(what)
    for name, level in permissions.items():
        held = installation.permissions.get(name, "read" if name == "metadata" else "")
        if not isinstance(level, str) or level not in LEVELS:
            what = f"For 'properties/{name}', {json.dumps(level)} is not a member of {list(LEVELS)}."
            raise invalid(what)
        if held != level and held not in {"write", "admin"}:
            raise Refusal(422, "The permissions requested are not granted to this installation.")
    chosen = _chosen(asked, installation, body)
    ids = installation.repositories if chosen is None else frozenset(one.id for one in chosen)
    token = asked.access.issue(installation, {"metadata": "read", **permissions}, ids, asked.now)
    listed = None if chosen is None else [bodies.repository(one, asked.api) for one in chosen]
    return answer(201, bodies.installation_token(token, listed))


@route("DELETE", "/installation/token")
def revoke_token(asked: Asked) -> Answer:
    """Take an installation's token back."""
    if asked.caller.kind != "installation":
        raise Refusal(403, f"{ONLY_INSTALLATIONS} revoke it.")
    asked.caller.revoked = True
    return answer(204)


def _installations(asked: Asked) -> list[Installation]:
    """Give the installations of the App that asks."""
    app = asked.only_apps().app
    return [one for one in asked.access.installations.values() if one.app is app]


def _installation(asked: Asked) -> Installation:
    text = asked.parts["installation_id"]
    found = next((one for one in _installations(asked) if str(one.id) == text), None)
    if found is None:
        raise not_found()
    return found


def _found(asked: Asked, installation: Installation | None) -> Answer:
    if installation is None:
        raise not_found()
    return answer(200, bodies.installation(installation, asked.api, asked.now))


def _chosen(asked: Asked, installation: Installation, body: Mapping[str, Any]) -> list[Repository] | None:
    """Give the repositories that a token is asked for, or None for all."""
    names, ids = body.get("repositories"), body.get("repository_ids")
    for name, given, kind in (("repositories", names, str), ("repository_ids", ids, int)):
        if given is not None and not (isinstance(given, list) and all(type(item) is kind for item in given)):
            what = f"For 'properties/{name}', {json.dumps(given)} is not a list of {kind.__name__}."
            raise invalid(what)
    if names is None and ids is None:
        return None
    count = len(set(names or ())) + len(set(ids or ()))
    if count > 500:
        raise Refusal(422, "At most 500 repositories may be named.")
    wanted = {name.lower() for name in names or ()}
    found = [
        one
        for one in asked.state.by_id.values()
        if installation.has(one) and (one.name.lower() in wanted or one.id in (ids or ()))
    ]
    if len(found) < count:
        raise Refusal(
            422, "There is at least one repository that does not exist or is not accessible to the parent installation."
        )
    return found
