"""What each refusal of GitHub's is told as: one line, the permission by name, and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imip_secrets.errors import MissingError, StoreError
from imip_secrets.sync.api import Answer
from imip_secrets.sync.base import App, DeniedError, Kind, Scope
from imip_secrets.sync.faults import Ask, Who, no_environment, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

REPO = Scope(Kind.REPOSITORY, "org", "app")
DEPENDABOT = Scope(Kind.REPOSITORY, "org", "app", app=App.DEPENDABOT)
ENVIRONMENT = Scope(Kind.ENVIRONMENT, "org", "app", "prod")
ORGANIZATION = Scope(Kind.ORGANIZATION, "org")
TOKEN = Who("the token of the input github-token")
OUR_APP = Who("the GitHub App imip", is_app=True)
LISTING, WRITING = Ask.about(REPO, "listing"), Ask.about(REPO, "writing", "DB_URL")


def told(
    status: int, message: str = "", ask: Ask = LISTING, who: Who = TOKEN, headers: Mapping[str, str] | None = None
) -> str:
    error = refusal(Answer(status, headers or {}, {"message": message} if message else None), ask, who)
    text = str(error)
    assert "\n" not in text
    assert error.problem.remedy
    return text


def test_a_token_that_github_does_not_know() -> None:
    assert told(401, "Bad credentials") == (
        'GitHub does not accept the token of the input github-token (it answers 401: "Bad credentials"). It is '
        "wrong, expired or "
        "revoked: make a new one, and give it as the input github-token."
    )
    assert "the App was uninstalled" in told(401, "Bad credentials", who=OUR_APP)


def test_a_missing_permission_is_named_as_github_s_pages_name_it() -> None:
    message = "Resource not accessible by personal access token"
    headers = {"x-accepted-github-permissions": "secrets=write"}
    assert told(403, message, WRITING, headers=headers) == (
        'GitHub denies writing DB_URL in repo:org/app (it answers 403: "Resource not accessible by personal access '
        'token"). Give the token of the input github-token the permission "Secrets: write" for org/app, in its '
        "settings."
    )


def test_an_app_s_permission_must_be_accepted_too() -> None:
    assert told(403, "Resource not accessible by integration", WRITING, OUR_APP).endswith(
        'Give the GitHub App imip the permission "Secrets: write" for org/app, in its settings, and have the owner of '
        "the installation accept it."
    )


@pytest.mark.parametrize(
    ("scope", "permission"),
    [
        (ENVIRONMENT, '"Environments: write"'),
        (DEPENDABOT, '"Dependabot secrets: write"'),
        (Scope(Kind.REPOSITORY, "org", "app", app=App.CODESPACES), '"Codespaces secrets: write"'),
        (Scope(Kind.REPOSITORY, "org", "app", app=App.AGENTS), '"Agent secrets: write"'),
        (ORGANIZATION, '"Secrets: write" (of the organisation)'),
    ],
)
def test_each_kind_of_secrets_has_its_own_permission(scope: Scope, permission: str) -> None:
    assert permission in told(403, "no", Ask.about(scope, "listing"))


def test_a_listing_that_only_needs_read_is_told_that_the_sync_needs_write() -> None:
    headers = {"x-accepted-github-permissions": "secrets=read"}
    assert 'the permission "Secrets: write" for' in told(403, "no", headers=headers)


def test_an_app_never_has_an_organisation_s_codespaces_secrets() -> None:
    scope = Scope(Kind.ORGANIZATION, "org", app=App.CODESPACES)
    text = told(403, "Resource not accessible by integration", Ask.about(scope, "listing"), OUR_APP)
    assert text.endswith("have an organisation's Codespaces secrets: give a personal access token instead.")


def test_another_permission_that_github_asks_for_is_named_besides_ours() -> None:
    headers = {"x-accepted-github-permissions": "administration=read; actions=read"}
    assert (
        'the permission "Administration: read", or "Actions: read" (GitHub\'s words), beside "Secrets: write"'
        in told(403, "no", headers=headers)
    )


def test_the_job_s_own_token_can_never_do_it() -> None:
    text = told(403, "Resource not accessible by integration")
    assert "which a job's own GITHUB_TOKEN can never have: give github-app-id" in text


@pytest.mark.parametrize(("scope", "needs"), [(REPO, "repo"), (ENVIRONMENT, "repo"), (ORGANIZATION, "admin:org")])
def test_a_classic_token_is_told_its_scope(scope: Scope, needs: str) -> None:
    headers = {"x-oauth-scopes": "gist, read:org"}
    text = told(403, "Must have admin rights", Ask.about(scope, "listing"), headers=headers)
    assert f"A classic token needs the scope {needs} (it has gist, read:org)" in text
    assert "(it has none)" in told(403, "no", headers={"x-oauth-scopes": ""})
    assert "the scope repo" in told(403, "no", Ask("reading org/app", "org", "app"), headers=headers)


def test_single_sign_on_is_told_with_its_address() -> None:
    text = told(403, "Resource protected by organization SAML enforcement.")
    assert text.endswith("Authorise the token of the input github-token for the single sign-on of org.")
    headers = {"x-github-sso": "required; url=https://github.com/orgs/org/sso?authorization_request=A"}
    assert "at https://github.com/orgs/org/sso?authorization_request=A." in told(403, "no", headers=headers)


def test_an_allow_list_of_addresses_is_told() -> None:
    text = told(
        403, "Although you appear to have the correct authorization, the `org` organization has an IP allow list"
    )
    assert "org allows certain addresses alone" in text


def test_an_archived_repository_is_told_as_such() -> None:
    assert told(403, "Repository was archived so is read-only.", WRITING) == (
        "org/app is archived, so nothing can be written there. Unarchive it, or take it out of sync-to (repos: leaves "
        "archived ones out)."
    )


@pytest.mark.parametrize("status", [404, 410])
def test_all_four_meanings_of_a_404_are_told(status: int) -> None:
    assert told(status, "Not Found") == (
        "GitHub shows nothing for listing repo:org/app (it answers 404, which can mean four things). (1) there is no "
        "repository org/app by this name; (2) the token of the input github-token may not see it; (3) it lacks "
        '"Secrets: write"; (4) the plan does not include it (on the Free plan, private repositories have no '
        "environments and do not see an organisation's secrets)."
    )
    environment = told(status, "Not Found", Ask.about(ENVIRONMENT, "listing"))
    assert "(1) there is no repository org/app by this name; (2) it has no environment prod; (3) " in environment
    assert 'or lacks "Environments: write"; (4) the plan' in environment
    assert "(1) there is no organisation org by this name" in told(status, "", Ask.about(ORGANIZATION, "listing"))


def test_a_repository_that_is_not_shown_has_two_meanings() -> None:
    assert told(404, "Not Found", Ask("reading org/app", "org", "app")) == (
        "GitHub shows no org/app (it answers 404). Either there is none by this name, or the token of the input "
        "github-token may "
        'not see it: it needs "Metadata: read" there, and org must have let it in.'
    )


def test_an_environment_that_is_sure_not_to_be_there() -> None:
    ask = Ask.about(ENVIRONMENT, "listing")
    assert str(MissingError(*no_environment(ask, ["staging", "test"]))) == (
        "org/app has no environment prod (it has staging, test). Create it in the settings of the repository first, or "
        "correct its name."
    )
    assert "(it has none)" in no_environment(ask, [])[0]
    assert no_environment(ask, [f"e{number}" for number in range(12)])[0].endswith("e9, ...)")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_repository_that_moved_is_not_followed(status: int) -> None:
    assert told(status, "Moved Permanently") == (
        "org/app has moved, and GitHub points to another place, which is not followed. Write its new name in sync-to, "
        "if it is still yours."
    )


def test_the_words_of_a_422_are_shown() -> None:
    data = {
        "message": "Validation Failed",
        "errors": ["Secret names must not start with GITHUB_.", {"message": "b"}, 5],
    }
    error = refusal(Answer(422, {}, data), WRITING, TOKEN)
    assert str(error) == (
        'GitHub does not do it: writing DB_URL in repo:org/app (it answers 422: "Validation Failed; Secret names must '
        'not start with GITHUB_.; b"). Correct what GitHub names; its rules are at https://docs.github.com/rest.'
    )


def test_a_conflict_and_a_failure_of_github_s() -> None:
    assert "its visibility is not selected" in told(409, "Conflict")
    error = refusal(Answer(502, {}, None, 5), WRITING, TOKEN)
    assert str(error) == (
        "GitHub does not do it: writing DB_URL in repo:org/app (it answers 502, 5 times). Look at "
        "https://www.githubstatus.com, and run again: only what is missing then is written."
    )


@pytest.mark.parametrize(
    ("status", "denied"),
    [(401, True), (403, True), (404, True), (409, False), (422, False), (500, False), (301, False)],
)
def test_only_what_may_be_a_matter_of_rights_is_a_denial(status: int, denied: bool) -> None:  # noqa: FBT001 - a table
    error = refusal(Answer(status, {}, None), LISTING, TOKEN)
    assert isinstance(error, StoreError)
    assert isinstance(error, DeniedError) is denied
    assert not isinstance(error, MissingError)


def test_github_s_words_and_an_environment_s_name_can_give_the_runner_no_command() -> None:
    scope = Scope(Kind.ENVIRONMENT, "org", "app", "a\n::add-mask::b")
    text = told(403, "x\n::set-output name=a::b ##[error]" + "y" * 5000, Ask.about(scope, "listing"))
    text += told(404, "", Ask.about(scope, "listing")) + no_environment(Ask.about(scope, "listing"), ["\n::c::"])[0]
    assert "::" not in text
    assert "##[" not in text
    assert len(text) < 2000
