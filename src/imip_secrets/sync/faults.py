"""What a refusal of GitHub's means, and what to do about it: one line each, with the permission by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame
from imip_secrets.sync import permissions
from imip_secrets.sync.base import App, DeniedError, Kind

if TYPE_CHECKING:
    from imip_secrets.sync.api import Answer
    from imip_secrets.sync.base import Scope

_UNAUTHENTICATED, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _GONE, _UNPROCESSABLE = 401, 403, 404, 409, 410, 422
_REDIRECTS = range(300, 400)
_OF_THE_JOB = "resource not accessible by integration"
_SSO = re.compile(r"url=(https://\S+)")

_REMEDIES = {
    _CONFLICT: "Somebody else changes it at this moment, or its visibility is not selected: look, and run again.",
    _UNPROCESSABLE: "Correct what GitHub names; its rules are at https://docs.github.com/rest.",
}
_ILL = "Look at https://www.githubstatus.com, and run again: only what is missing then is written."

_CLASSIC = {Kind.REPOSITORY: "repo", Kind.ENVIRONMENT: "repo", Kind.ORGANIZATION: "admin:org"}
_PLANS = {
    App.ACTIONS: "on the Free plan, private repositories have no environments and do not see an organisation's secrets",
    App.DEPENDABOT: "on the Free plan, private repositories do not see an organisation's secrets",
    App.CODESPACES: "an organisation's Codespaces secrets need the Team or Enterprise plan",
    App.AGENTS: "agents secrets need Copilot",
}


@dataclass(frozen=True, slots=True)
class Who:
    """Whose requests they are.

    Args:
        name: How the reader calls it: "the token of the input github-token", "the App imip".
        is_app: Whether it is a GitHub App of ours.

    """

    name: str
    is_app: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """What was asked for.

    Args:
        what: In words that follow "GitHub denies": "listing repo:org/app".
        owner: The organisation or user.
        repo: The repository, or "".
        permission: The permission that it needs, by its name in the API.
        level: And how much of it.
        scope: The list of secrets it is about, or None.

    """

    what: str
    owner: str
    repo: str = ""
    permission: str = "metadata"
    level: str = "read"
    scope: Scope | None = None

    @staticmethod
    def about(scope: Scope, doing: str, name: str = "") -> Ask:
        """Describe a request for a scope or one of its secrets."""
        what = " ".join(filter(None, (doing, f"{name} in" if name else "", tame(scope.title, 200))))
        return Ask(what, scope.owner, scope.repo, permissions.of(scope.kind, scope.app), "write", scope)

    @property
    def place(self) -> str:
        """What it is about: ``org/app`` or ``org``."""
        return f"{self.owner}/{self.repo}" if self.repo else self.owner


def refusal(answer: Answer, ask: Ask, who: Who) -> StoreError:
    """Make the error for an answer that is no success."""
    if answer.status in _REDIRECTS:
        return moved(ask)
    if answer.status == _UNAUTHENTICATED:
        return _unauthenticated(answer, who)
    if answer.status == _FORBIDDEN:
        return _forbidden(answer, ask, who)
    if answer.status in {_NOT_FOUND, _GONE}:
        return _not_found(answer, ask, who)
    tries = f", {answer.tries} times" if answer.tries > 1 else ""
    what = f"GitHub does not do it: {ask.what} (it answers {answer.status}{_quoted(answer)}{tries})"
    return StoreError(what, _REMEDIES.get(answer.status, _ILL))


def moved(ask: Ask) -> StoreError:
    """Make the error for a redirect. It is not followed: who made the new place is not known to be a friend."""
    return StoreError(
        f"{ask.place} has moved, and GitHub points to another place, which is not followed",
        "Write its new name in sync-to, if it is still yours.",
    )


def _unauthenticated(answer: Answer, who: Who) -> DeniedError:
    """Make the error for a credential that GitHub does not know."""
    remedy = (
        "Its token was revoked or has expired, or the App was uninstalled: look at the App's installations."
        if who.is_app
        else "It is wrong, expired or revoked: make a new one, and give it as the input github-token."
    )
    return DeniedError(f"GitHub does not accept {who.name} (it answers 401{_quoted(answer)})", remedy)


def archived(ask: Ask) -> StoreError:
    """Make the error for a repository that can only be read."""
    remedy = "Unarchive it, or take it out of sync-to (repos: leaves archived ones out)."
    return StoreError(f"{ask.place} is archived, so nothing can be written there", remedy)


def no_environment(ask: Ask, known: list[str]) -> tuple[str, str]:
    """Say that an environment is not there, when the list of them is known."""
    environment = tame(ask.scope.environment if ask.scope else "", 80)
    there = ", ".join(tame(name, 60) for name in known[:10]) + (", ..." if len(known) > 10 else "")  # noqa: PLR2004 - a line
    has = f"it has {there}" if known else "it has none"
    what = f"{ask.place} has no environment {environment} ({has})"
    return what, "Create it in the settings of the repository first, or correct its name."


def _forbidden(answer: Answer, ask: Ask, who: Who) -> StoreError:
    said = answer.message.lower()
    if "archived" in said:
        return archived(ask)
    what = f"GitHub denies {ask.what} (it answers 403{_quoted(answer)})"
    sso = _SSO.search(answer.headers.get("x-github-sso", ""))
    if sso or "saml" in said:
        where = f" at {tame(sso[1], 200)}" if sso else ""
        return DeniedError(what, f"Authorise {who.name} for the single sign-on of {ask.owner}{where}.")
    if "ip allow list" in said:
        remedy = f"{ask.owner} allows certain addresses alone: run on a runner that has one, or add this one's."
        return DeniedError(what, remedy)
    return DeniedError(what, _permission(answer, ask, who))


def _permission(answer: Answer, ask: Ask, who: Who) -> str:
    """Say which permission is missing, and where it is given."""
    scope = ask.scope
    if who.is_app and scope and scope.app is App.CODESPACES and scope.kind is Kind.ORGANIZATION:
        return "GitHub lets no App have an organisation's Codespaces secrets: give a personal access token instead."
    if not who.is_app and _OF_THE_JOB in answer.message.lower():
        return (
            f"It needs {_wanted(answer, ask)}, which a job's own GITHUB_TOKEN can never have: give github-app-id and "
            "github-app-private-key, or a personal access token as github-token."
        )
    if "x-oauth-scopes" in answer.headers:
        needs = _CLASSIC[scope.kind] if scope else "repo"
        has = tame(answer.headers["x-oauth-scopes"], 120) or "none"
        return f"A classic token needs the scope {needs} (it has {has}), and its owner must be an admin of {ask.place}."
    where = "in its settings, and have the owner of the installation accept it" if who.is_app else "in its settings"
    return f"Give {who.name} the permission {_wanted(answer, ask)} for {ask.place}, {where}."


def _wanted(answer: Answer, ask: Ask) -> str:
    """Name the permission: what we will need in all, and what GitHub asked for just now if it is another one."""
    wanted = permissions.shown(ask.permission, ask.level)
    header = answer.headers.get("x-accepted-github-permissions", "")
    if header and ask.permission not in re.split(r"[=,; ]+", header):
        return f"{permissions.accepted(header)} (GitHub's words), beside {wanted}"
    return wanted


def _not_found(answer: Answer, ask: Ask, who: Who) -> DeniedError:
    """Say all that a 404 can mean: GitHub does not tell what it hides from what is not there."""
    wanted = _wanted(answer, ask)
    scope = ask.scope
    if scope is None:
        return DeniedError(
            f"GitHub shows no {ask.place} (it answers 404)",
            f"Either there is none by this name, or {who.name} may not see it: it needs {wanted} there, and "
            f"{ask.owner} must have let it in.",
        )
    there = f"repository {ask.place}" if ask.repo else f"organisation {ask.owner}"
    meanings = [f"there is no {there} by this name", f"{who.name} may not see it", f"it lacks {wanted}"]
    if scope.kind is Kind.ENVIRONMENT:
        environment = f"it has no environment {tame(scope.environment, 80)}"
        meanings = [meanings[0], environment, f"{who.name} may not see it, or lacks {wanted}"]
    meanings.append(f"the plan does not include it ({_PLANS[scope.app]})")
    return DeniedError(
        f"GitHub shows nothing for {ask.what} (it answers 404, which can mean four things)",
        "; ".join(f"({number}) {meaning}" for number, meaning in enumerate(meanings, 1)) + ".",
    )


def _quoted(answer: Answer) -> str:
    """Return GitHub's own words, made harmless."""
    said = tame(answer.message, 200)
    return f': "{said}"' if said else ""
