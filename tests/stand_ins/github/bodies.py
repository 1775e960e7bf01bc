"""What GitHub writes: the JSON of accounts, repositories, environments, secrets, installations.

Only what a client of secrets looks at tells anything; the rest is there because
GitHub's description of its API says that it always is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from stand_ins.github.state import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stand_ins.github.access import App, Installation, Token
    from stand_ins.github.state import Account, Environment, Kept, Repository, Vault

Body: TypeAlias = "dict[str, object]"

SITE = "https://github.com"
_ACCOUNT_LINKS = ("followers", "subscriptions", "organizations", "repos", "received_events")
_ACCOUNT_TEMPLATES = {
    "following": "following{/other_user}",
    "gists": "gists{/gist_id}",
    "starred": "starred{/owner}{/repo}",
    "events": "events{/privacy}",
}
# Addresses of a repository: the field without "_url", and what follows the repository's own address.
_REPOSITORY_LINKS = {
    "archive": "{archive_format}{/ref}",
    "assignees": "assignees{/user}",
    "blobs": "git/blobs{/sha}",
    "branches": "branches{/branch}",
    "collaborators": "collaborators{/collaborator}",
    "comments": "comments{/number}",
    "commits": "commits{/sha}",
    "compare": "compare/{base}...{head}",
    "contents": "contents/{+path}",
    "contributors": "contributors",
    "deployments": "deployments",
    "downloads": "downloads",
    "events": "events",
    "forks": "forks",
    "git_commits": "git/commits{/sha}",
    "git_refs": "git/refs{/sha}",
    "git_tags": "git/tags{/sha}",
    "hooks": "hooks",
    "issue_comment": "issues/comments{/number}",
    "issue_events": "issues/events{/number}",
    "issues": "issues{/number}",
    "keys": "keys{/key_id}",
    "labels": "labels{/name}",
    "languages": "languages",
    "merges": "merges",
    "milestones": "milestones{/number}",
    "notifications": "notifications{?since,all,participating}",
    "pulls": "pulls{/number}",
    "releases": "releases{/id}",
    "stargazers": "stargazers",
    "statuses": "statuses/{sha}",
    "subscribers": "subscribers",
    "subscription": "subscription",
    "tags": "tags",
    "teams": "teams",
    "trees": "git/trees{/sha}",
}


def node_id(kind: str, number: int) -> str:
    """Make up the id that GraphQL would know a thing by."""
    return f"{kind}_kgDO{number:x}"


def account(of: Account, api: str) -> Body:
    """Write a ``simple-user``, which an organisation is too where it owns something."""
    url = f"{api}/users/{of.login}"
    return {
        "login": of.login,
        "id": of.id,
        "node_id": node_id("O" if of.kind == "Organization" else "U", of.id),
        "avatar_url": f"https://avatars.githubusercontent.com/u/{of.id}?v=4",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{SITE}/{of.login}",
        **{f"{name}_url": f"{url}/{name}" for name in _ACCOUNT_LINKS},
        **{f"{name}_url": f"{url}/{rest}" for name, rest in _ACCOUNT_TEMPLATES.items()},
        "type": of.kind,
        "user_view_type": "public",
        "site_admin": False,
    }


def user(of: Account, api: str) -> Body:
    """Write a ``public-user``: what ``/users/{username}`` gives."""
    nothing = dict.fromkeys(("name", "company", "blog", "location", "email", "hireable", "bio"))
    counts = dict.fromkeys(("public_repos", "public_gists", "followers", "following"), 0)
    times = {"created_at": moment(of.created), "updated_at": moment(of.created)}
    return {**account(of, api), **nothing, **counts, **times}


def organization(of: Account, api: str) -> Body:
    """Write an ``organization-full``."""
    url = f"{api}/orgs/{of.login}"
    links = {f"{name}_url": f"{url}/{name}" for name in ("repos", "events", "hooks", "issues")}
    return {
        "login": of.login,
        "id": of.id,
        "node_id": node_id("O", of.id),
        "url": url,
        **links,
        "members_url": f"{url}/members{{/member}}",
        "public_members_url": f"{url}/public_members{{/member}}",
        "avatar_url": f"https://avatars.githubusercontent.com/u/{of.id}?v=4",
        "description": None,
        "has_organization_projects": True,
        "has_repository_projects": True,
        **dict.fromkeys(("public_repos", "public_gists", "followers", "following"), 0),
        "html_url": f"{SITE}/{of.login}",
        "type": of.kind,
        "created_at": moment(of.created),
        "updated_at": moment(of.created),
        "archived_at": None,
    }


def repository(of: Repository, api: str, *, full: bool = False) -> Body:
    """Write a ``minimal-repository``, or the ``full-repository`` that a look-up of one gives."""
    url = f"{api}/repos/{of.full_name}"
    site = f"{SITE}/{of.full_name}"
    owner = account(of.owner, api)
    may = dict.fromkeys(("admin", "maintain", "push", "triage", "pull"), True)
    body: Body = {
        "id": of.id,
        "node_id": node_id("R", of.id),
        "name": of.name,
        "full_name": of.full_name,
        "owner": owner,
        "private": of.visibility != "public",
        "html_url": site,
        "description": None,
        "fork": of.fork,
        "url": url,
        **{f"{name}_url": f"{url}/{rest}" for name, rest in _REPOSITORY_LINKS.items()},
        "git_url": f"git:{site[6:]}.git",
        "ssh_url": f"git@github.com:{of.full_name}.git",
        "clone_url": f"{site}.git",
        "svn_url": site,
        "mirror_url": None,
        "homepage": None,
        "language": None,
        "license": None,
        **dict.fromkeys(("forks", "forks_count", "open_issues", "open_issues_count", "size"), 0),
        **dict.fromkeys(("stargazers_count", "watchers", "watchers_count"), 0),
        "default_branch": "main",
        "is_template": False,
        "topics": list(of.topics),
        **dict.fromkeys(("has_issues", "has_projects", "has_wiki", "has_downloads"), True),
        **dict.fromkeys(("has_pages", "has_discussions", "disabled"), False),
        "archived": of.archived,
        "visibility": of.visibility,
        "created_at": moment(of.created),
        "updated_at": moment(of.created),
        "pushed_at": moment(of.created),
        "permissions": may,
    }
    if full:
        body |= {"network_count": 0, "subscribers_count": 0, "custom_properties": dict(of.properties)}
        if of.owner.kind == "Organization":
            body["organization"] = owner
    return body


def properties(of: Repository) -> Body:
    """Write an ``org-repo-custom-property-values``."""
    return {
        "repository_id": of.id,
        "repository_name": of.name,
        "repository_full_name": of.full_name,
        "properties": property_values(of),
    }


def property_values(of: Repository) -> list[Body]:
    """Write each ``custom-property-value`` of a repository."""
    return [{"property_name": name, "value": value} for name, value in of.properties.items()]


def environment(of: Environment, repository: Repository, api: str) -> Body:
    """Write an ``environment``."""
    return {
        "id": of.id,
        "node_id": node_id("EN", of.id),
        "name": of.name,
        "url": f"{api}/repos/{repository.full_name}/environments/{of.name}",
        "html_url": f"{SITE}/{repository.full_name}/deployments/activity_log?environments_filter={of.name}",
        "created_at": moment(of.created),
        "updated_at": moment(of.created),
        "protection_rules": [],
        "deployment_branch_policy": None,
    }


def secret(of: Kept, vault: Vault, api: str) -> Body:
    """Write a secret, which never has a value."""
    body: Body = {"name": of.name, "created_at": moment(of.created), "updated_at": moment(of.updated)}
    if vault.organization:
        body["visibility"] = of.visibility
        if of.visibility == "selected":
            place = f"{api}/orgs/{vault.label[4:]}/{vault.app}/secrets/{of.name}"
            body["selected_repositories_url"] = f"{place}/repositories"
    return body


def app(of: App, owner: Account, api: str, installations: int, now: float) -> Body:
    """Write an ``integration``."""
    return {
        "id": of.id,
        "slug": of.slug,
        "node_id": node_id("A", of.id),
        "client_id": of.client_id,
        "owner": account(owner, api),
        "name": of.slug,
        "description": None,
        "external_url": "https://example.com",
        "html_url": f"{SITE}/apps/{of.slug}",
        "created_at": moment(now),
        "updated_at": moment(now),
        "permissions": dict(of.permissions),
        "events": [],
        "installations_count": installations,
    }


def installation(of: Installation, api: str, now: float) -> Body:
    """Write an ``installation``."""
    suspended = moment(now) if of.suspended else None
    return {
        "id": of.id,
        "account": account(of.account, api),
        "repository_selection": "all" if of.repositories is None else "selected",
        "access_tokens_url": f"{api}/app/installations/{of.id}/access_tokens",
        "repositories_url": f"{api}/installation/repositories",
        "html_url": f"{SITE}/organizations/{of.account.login}/settings/installations/{of.id}",
        "app_id": of.app.id,
        "client_id": of.app.client_id,
        "app_slug": of.app.slug,
        "target_id": of.account.id,
        "target_type": of.account.kind,
        "permissions": dict(of.permissions),
        "events": [],
        "created_at": moment(of.account.created),
        "updated_at": moment(of.account.created),
        "single_file_name": None,
        "has_multiple_single_files": False,
        "single_file_paths": [],
        "suspended_by": account(of.account, api) if of.suspended else None,
        "suspended_at": suspended,
    }


def installation_token(of: Token, repositories: list[Body] | None) -> Body:
    """Write an ``installation-token``."""
    body: Body = {
        "token": of.text,
        "expires_at": moment(of.expires or 0),
        "permissions": dict(of.permissions),
        "repository_selection": "all" if repositories is None else "selected",
    }
    return body if repositories is None else {**body, "repositories": repositories}


def rate_limit(facts: Mapping[str, int]) -> Body:
    """Write a ``rate-limit-overview``."""
    return {
        "resources": {"core": facts, "search": {"limit": 30, "remaining": 30, "reset": 0, "used": 0}},
        "rate": facts,
    }
