"""The stand-in for GitHub: what it answers is what GitHub's documentation and its users tell."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.public import PublicKey, SealedBox

from stand_ins.faults import answer
from stand_ins.github import GitHub
from stand_ins.github.state import APPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from stand_ins.github.access import App

REPO = "/repos/imip/app"
SECRETS = f"{REPO}/actions/secrets"
PLACES = {
    ("repo:imip/app", "actions"): SECRETS,
    ("repo:imip/app", "dependabot"): f"{REPO}/dependabot/secrets",
    ("repo:imip/app", "codespaces"): f"{REPO}/codespaces/secrets",
    ("repo:imip/app", "agents"): f"{REPO}/agents/secrets",
    ("env:imip/app/blue/green", "actions"): f"{REPO}/environments/blue%2Fgreen/secrets",
    ("org:imip", "actions"): "/orgs/imip/actions/secrets",
    ("org:imip", "dependabot"): "/orgs/imip/dependabot/secrets",
    ("org:imip", "codespaces"): "/orgs/imip/codespaces/secrets",
    ("org:imip", "agents"): "/orgs/imip/agents/secrets",
}


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def message(self) -> str:
        return str(self.body["message"])


class Client:
    """Says what a test wants said, and nothing by itself."""

    def __init__(self, github: GitHub, token: str | None = None) -> None:
        self.github, self.token = github, github.token if token is None else token
        self._connection = http.client.HTTPConnection(github.host, timeout=60)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        prefix = "/api/v3" if self.github.enterprise else ""
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body if isinstance(body, str) or body is None else json.dumps(body)
        self._connection.request(method, prefix + path, raw, sent)
        response = self._connection.getresponse()
        content = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, found, json.loads(content) if content else None)

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, **headers)

    def seal(self, place: str, value: str | bytes) -> dict[str, object]:
        key = self.get(f"{place}/public-key").body
        value = value.encode() if isinstance(value, str) else value
        sealed = SealedBox(PublicKey(base64.b64decode(key["key"]))).encrypt(value)
        return {"encrypted_value": base64.b64encode(sealed).decode(), "key_id": key["key_id"]}

    def put(self, place: str, name: str, value: str | bytes, **more: object) -> Reply:
        visibility = {"visibility": "private"} if place.startswith("/orgs/") else {}
        return self.ask("PUT", f"{place}/{name}", {**self.seal(place, value), **visibility, **more})

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def served(**options: Any) -> Iterator[tuple[GitHub, Client]]:  # noqa: ANN401 - GitHub's own options
    with GitHub(**options) as github:
        github.repository("imip/app").environment("blue/green")
        client = Client(github)
        try:
            yield github, client
        finally:
            client.close()


@pytest.fixture
def github() -> Iterator[GitHub]:
    with served() as (github, _):
        yield github


@pytest.fixture
def client(github: GitHub) -> Iterator[Client]:
    made = Client(github)
    yield made
    made.close()


@pytest.fixture
def loose() -> Iterator[tuple[GitHub, Client]]:
    """Give a stand-in that takes requests which are not as described, to refuse them."""
    with served(strict=False) as both:
        yield both


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


# --- secrets


@pytest.mark.parametrize(("label", "app"), PLACES)
def test_a_secret_is_made_then_updated_then_listed_in_capitals_then_deleted(
    github: GitHub, client: Client, label: str, app: str
) -> None:
    place = PLACES[label, app]
    made = client.put(place, "npm_token", "first")
    assert (made.status, made.body) == (201, {})
    updated = client.put(place, "Npm_Token", "sécond\n")
    assert (updated.status, updated.body) == (204, None)
    assert github.values(label, app) == {"NPM_TOKEN": "sécond\n"}
    listed = client.get(place)
    assert (listed.status, listed.body["total_count"], [one["name"] for one in listed.body["secrets"]]) == (
        200,
        1,
        ["NPM_TOKEN"],
    )
    assert client.get(f"{place}/NPM_token").body == listed.body["secrets"][0]
    assert client.ask("DELETE", f"{place}/npm_TOKEN").status == 204
    assert client.ask("DELETE", f"{place}/NPM_TOKEN").status == 404
    assert client.get(f"{place}/NPM_TOKEN").status == 404
    assert github.values(label, app) == {}


def test_each_place_has_its_own_key_and_each_application_one_number(client: Client) -> None:
    keys = {place: client.get(f"{path}/public-key").body for place, path in PLACES.items()}
    assert len({key["key"] for key in keys.values()}) == len(PLACES)
    for app in APPS:
        assert len({key["key_id"] for (_, of), key in keys.items() if of == app}) == 1


def test_what_is_sealed_for_another_place_is_refused(github: GitHub, client: Client) -> None:
    body = client.seal(PLACES["env:imip/app/blue/green", "actions"], "value")
    refused = client.ask("PUT", f"{SECRETS}/TOKEN", body)
    assert refused.status == 422
    assert refused.message == "Bad request - validation failed due to an improperly encrypted secret"
    assert github.values("repo:imip/app") == {}


def test_what_is_sealed_with_the_key_of_another_number_is_refused(github: GitHub, client: Client) -> None:
    body = {**client.seal(SECRETS, "value"), "key_id": "568250167242549743"}
    assert client.ask("PUT", f"{SECRETS}/TOKEN", body).status == 422
    assert github.values("repo:imip/app") == {}


def test_a_secret_that_a_person_makes_has_capitals_too(github: GitHub, client: Client) -> None:
    github.vault("repo:imip/app").write("npm_token", "value")
    assert client.get(f"{SECRETS}/Npm_Token").body["name"] == "NPM_TOKEN"


def test_a_key_that_is_rotated_refuses_what_was_sealed_before(github: GitHub, client: Client) -> None:
    before = client.seal(SECRETS, "value")
    github.state.rotate("actions")
    assert client.ask("PUT", f"{SECRETS}/TOKEN", before).status == 422
    assert client.put(SECRETS, "TOKEN", "value").status == 201


def test_a_key_can_be_rotated_between_reading_it_and_using_it(github: GitHub, client: Client) -> None:
    github.once(github.vault("repo:imip/app").rotate, when=lambda request: request.method == "PUT")
    assert client.put(SECRETS, "TOKEN", "value").status == 422
    assert client.put(SECRETS, "TOKEN", "value").status == 201


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # one server for all examples
@given(value=st.binary(min_size=1, max_size=300))
def test_every_value_is_opened_byte_for_byte(github: GitHub, client: Client, value: bytes) -> None:
    assert client.put(SECRETS, "TOKEN", value).status in {201, 204}
    assert github.vault("repo:imip/app").secrets["TOKEN"].value == value


@pytest.mark.parametrize(("size", "status"), [(0, 422), (1, 201), (48 * 1024, 201), (48 * 1024 + 1, 422)])
def test_a_value_has_at_least_one_byte_and_at_most_48_kb(client: Client, size: int, status: int) -> None:
    assert client.put(SECRETS, "TOKEN", "é" * (size // 2) + "x" * (size % 2)).status == status


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("GITHUB_TOKEN", 422, "must not start with GITHUB_"),
        ("github_x", 422, "must not start with GITHUB_"),
        ("1ST", 422, "Must start with a letter"),
        ("A-B", 422, "can only contain alphanumeric"),
        ("A%20B", 422, "Spaces are not allowed"),
        ("%C3%84", 422, "can only contain alphanumeric"),
        ("_x", 201, ""),
        ("public", 201, ""),
    ],
)
def test_names_are_checked(client: Client, name: str, status: int, said: str) -> None:
    reply = client.put(SECRETS, name, "value")
    assert reply.status == status
    assert said in (reply.body or {}).get("message", "")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("{", 400, "Problems parsing JSON"),
        ("[]", 400, "Body should be a JSON object"),
        ({}, 422, '"encrypted_value" wasn\'t supplied.'),
        ({"encrypted_value": "aaaa"}, 422, '"key_id" wasn\'t supplied.'),
        ({"encrypted_value": "aaaa", "key_id": 1}, 422, "1 is not a string"),
        ({"encrypted_value": "a_==", "key_id": "1"}, 422, "does not match"),
        ({"encrypted_value": "aaaa", "key_id": "1"}, 422, "improperly encrypted"),
    ],
)
def test_bodies_that_are_wrong_are_refused_in_githubs_words(
    loose: tuple[GitHub, Client], body: object, status: int, said: str
) -> None:
    _, client = loose
    reply = client.ask("PUT", f"{SECRETS}/TOKEN", body)
    assert reply.status == status
    assert said in reply.message
    assert reply.body["status"] == str(status)


@pytest.mark.parametrize(
    ("label", "app", "limit"),
    [
        ("repo:imip/app", "actions", 100),
        ("env:imip/app/blue/green", "actions", 100),
        ("org:imip", "codespaces", 100),
        ("org:imip", "actions", 1000),
    ],
)
def test_a_place_takes_so_many_secrets_and_updates_when_full(
    github: GitHub, client: Client, label: str, app: str, limit: int
) -> None:
    for number in range(limit):
        github.vault(label, app).write(f"N{number}", "value", "private")
    place = PLACES[label, app]
    assert client.put(place, "ONE_MORE", "value").status == 422
    assert client.put(place, "N0", "other").status == 204
    assert "ONE_MORE" not in github.values(label, app)


def test_listings_come_in_pages_of_thirty_or_as_asked_with_links(github: GitHub, client: Client) -> None:
    for number in range(95):
        github.vault("repo:imip/app").write(f"N{number:02}", "value")
    first = client.get(SECRETS)
    assert len(first.body["secrets"]) == 30
    assert first.body["total_count"] == 95
    assert 'page=2>; rel="next"' in first.headers["link"]
    assert 'page=4>; rel="last"' in first.headers["link"]
    last = client.get(f"{SECRETS}?page=4")
    assert [one["name"] for one in last.body["secrets"]] == ["N90", "N91", "N92", "N93", "N94"]
    assert 'rel="next"' not in last.headers["link"]
    assert 'page=1>; rel="first"' in last.headers["link"]
    whole = client.get(f"{SECRETS}?per_page=100")
    assert len(whole.body["secrets"]) == 95
    assert "link" not in whole.headers
    assert len(client.get(f"{SECRETS}?per_page=1000").body["secrets"]) == 95
    link = first.headers["link"].split(">", 1)[0].removeprefix(f"<{github.url}")
    assert client.get(link).body["secrets"][0]["name"] == "N30"


def test_a_secret_keeps_when_it_was_made_and_says_when_it_was_written() -> None:
    clock = Clock()
    with served(time=clock) as (github, client):
        client.put(SECRETS, "TOKEN", "value")
        clock.now += 90.7
        client.put(SECRETS, "TOKEN", "value")
        assert client.get(f"{SECRETS}/TOKEN").body == {
            "name": "TOKEN",
            "created_at": "2027-01-15T08:00:00Z",
            "updated_at": "2027-01-15T08:01:30Z",
        }
        assert github.sent[-1].at == clock.now


def test_a_listing_can_lag_behind_a_write(github: GitHub, client: Client) -> None:
    client.put(SECRETS, "OLD", "value")
    github.lag(1)
    client.put(SECRETS, "NEW", "value")
    client.ask("DELETE", f"{SECRETS}/OLD")
    assert [one["name"] for one in client.get(SECRETS).body["secrets"]] == ["OLD"]
    assert [one["name"] for one in client.get(SECRETS).body["secrets"]] == ["NEW"]


# --- organisations


def test_an_update_without_the_list_clears_the_repositories(github: GitHub, client: Client) -> None:
    ids = [github.repository(f"imip/{name}").id for name in ("app", "web")]
    place = PLACES["org:imip", "actions"]
    client.put(place, "TOKEN", "value", visibility="selected", selected_repository_ids=ids)
    told = client.get(f"{place}/TOKEN").body
    assert told["visibility"] == "selected"
    assert told["selected_repositories_url"] == f"{github.url}{place}/TOKEN/repositories"
    listed = client.get(f"{place}/TOKEN/repositories").body
    assert [one["full_name"] for one in listed["repositories"]] == ["imip/app", "imip/web"]
    client.put(place, "TOKEN", "value", visibility="selected")
    assert client.get(f"{place}/TOKEN/repositories").body == {"total_count": 0, "repositories": []}


def test_the_repositories_change_without_the_value(github: GitHub, client: Client) -> None:
    app, web = (github.repository(f"imip/{name}").id for name in ("app", "web"))
    for kind in APPS:
        place = PLACES["org:imip", kind]
        ids: list[object] = [str(app)] if kind == "dependabot" else [app]
        client.put(place, "TOKEN", "value", visibility="selected", selected_repository_ids=ids)
        at = f"{place}/TOKEN/repositories"
        kept = github.vault("org:imip", kind).secrets
        assert client.ask("PUT", at, {"selected_repository_ids": [web]}).status == 204
        assert kept["TOKEN"].selected == {web}
        assert client.ask("PUT", f"{at}/{app}").status == 204
        assert kept["TOKEN"].selected == {app, web}
        assert client.ask("DELETE", f"{at}/{web}").status == 204
        assert kept["TOKEN"].selected == {app}
        assert client.ask("PUT", f"{at}/1").status == 404
        assert kept["TOKEN"].value == b"value"


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_repositories_of_a_secret_that_is_not_selected_are_a_conflict(client: Client, method: str) -> None:
    place = PLACES["org:imip", "actions"]
    client.put(place, "TOKEN", "value", visibility="all")
    body: object = {"selected_repository_ids": []} if method == "PUT" else None
    assert client.ask(method, f"{place}/TOKEN/repositories", body).status == 409


@pytest.mark.parametrize(
    ("app", "ids", "said"),
    [
        ("actions", ["12345"], "For 'items', \"12345\" is not an integer."),
        ("agents", ["12345"], "For 'items', \"12345\" is not an integer."),
        ("dependabot", [12345], "For 'items', 12345 is not a string."),
        ("actions", [12345], "not one of the organization's"),
        ("actions", "12345", "is not an array"),
    ],
)
def test_ids_are_numbers_but_for_dependabot(loose: tuple[GitHub, Client], app: str, ids: object, said: str) -> None:
    github, client = loose
    place = PLACES["org:imip", app]
    reply = client.put(place, "TOKEN", "value", visibility="selected", selected_repository_ids=ids)
    assert reply.status == 422
    assert said in reply.message
    assert github.values("org:imip", app) == {}


def test_a_visibility_is_asked_for_and_ids_only_with_selected(loose: tuple[GitHub, Client]) -> None:
    github, client = loose
    place, app = PLACES["org:imip", "actions"], github.repository("imip/app").id
    sealed = client.seal(place, "value")
    assert client.ask("PUT", f"{place}/TOKEN", sealed).message.endswith('"visibility" wasn\'t supplied.')
    assert client.put(place, "TOKEN", "value", visibility="public").status == 422
    assert client.put(place, "TOKEN", "value", visibility="all", selected_repository_ids=[app]).status == 422


def test_a_repository_sees_the_secrets_of_its_organisation_that_reach_it(github: GitHub, client: Client) -> None:
    public = github.repository("imip/web", visibility="public").id
    vault = github.vault("org:imip")
    vault.write("FOR_ALL", "value", "all")
    vault.write("FOR_PRIVATE", "value", "private")
    vault.write("FOR_WEB", "value", "selected", frozenset({public}))

    def seen(repo: str) -> list[str]:
        body = client.get(f"/repos/imip/{repo}/actions/organization-secrets").body
        return [one["name"] for one in body["secrets"]]

    assert seen("app") == ["FOR_ALL", "FOR_PRIVATE"]
    assert seen("web") == ["FOR_ALL", "FOR_WEB"]


# --- repositories


def test_a_repository_tells_what_a_match_looks_at(github: GitHub, client: Client) -> None:
    github.repository(
        "imip/web", visibility="public", archived=True, fork=True, topics=["imip"], properties={"tier": "one"}
    )
    told = client.get("/repos/IMIP/Web").body
    wanted = {"full_name": "imip/web", "private": False, "visibility": "public", "archived": True, "fork": True}
    assert told.items() >= {**wanted, "custom_properties": {"tier": "one"}, "topics": ["imip"]}.items()
    assert client.get("/repos/imip/web/topics").body == {"names": ["imip"]}
    values = [{"property_name": "tier", "value": "one"}]
    assert client.get("/repos/imip/web/properties/values").body == values
    of_all = client.get("/orgs/imip/properties/values").body
    assert [(one["repository_name"], one["properties"]) for one in of_all] == [("app", []), ("web", values)]


def test_repositories_of_an_organisation_are_listed(github: GitHub, client: Client) -> None:
    for number in range(120):
        github.repository(f"imip/r{number:03}", fork=number % 2 == 0)
    github.repository("other/app")
    page = client.get("/orgs/imip/repos?per_page=100&page=2&sort=full_name")
    assert [one["name"] for one in page.body][-1] == "r119"
    assert len(page.body) == 21
    assert len(client.get("/orgs/imip/repos?type=forks&per_page=100").body) == 60
    assert {one["owner"]["login"] for one in client.get("/user/repos?per_page=100&page=2").body} == {"imip", "other"}
    assert client.get("/orgs/nobody/repos").status == 404
    assert client.get("/orgs/imip").body["login"] == "imip"
    assert client.get("/users/imip").body["type"] == "Organization"


def test_an_environment_must_be_there(github: GitHub, client: Client) -> None:
    assert [one["name"] for one in client.get(f"{REPO}/environments").body["environments"]] == ["blue/green"]
    assert client.get(f"{REPO}/environments/Blue%2Fgreen").body["name"] == "blue/green"
    assert client.get(f"{REPO}/environments/red").status == 404
    assert client.get(f"{REPO}/environments/red/secrets").status == 404
    assert client.get(f"{REPO}/environments/red/secrets/public-key").status == 404
    assert "env:imip/app/red" not in {vault.label for vault in github.state.vaults()}


def test_an_archived_repository_is_read_only(github: GitHub, client: Client) -> None:
    sealed = client.seal(SECRETS, "value")
    github.repository("imip/app", archived=True)
    refused = client.ask("PUT", f"{SECRETS}/TOKEN", sealed)
    assert (refused.status, refused.message) == (403, "Repository was archived so is read-only.")
    assert client.get(SECRETS).status == 200


def test_a_repository_that_was_renamed_leads_to_its_new_name(github: GitHub, client: Client) -> None:
    client.put(SECRETS, "TOKEN", "value")
    repo = github.repository("imip/app").rename("application")
    moved = client.get(f"{SECRETS}?per_page=100")
    assert moved.status == 301
    assert moved.headers["location"] == f"{github.url}/repositories/{repo.id}/actions/secrets?per_page=100"
    there = client.get(moved.headers["location"].removeprefix(github.url))
    assert [one["name"] for one in there.body["secrets"]] == ["TOKEN"]
    assert client.ask("DELETE", f"{SECRETS}/TOKEN").status == 307
    assert client.get(REPO).headers["location"] == f"{github.url}/repositories/{repo.id}"
    assert github.values("repo:imip/application") == {"TOKEN": "value"}


# --- who may


def test_nobody_and_anybody_are_refused(client: Client) -> None:
    for token, said in (("", "Requires authentication"), ("ghp_wrong", "Bad credentials")):
        reply = client.get(SECRETS, Authorization=f"Bearer {token}")
        assert (reply.status, reply.message) == (401, said)


def test_a_permission_that_lacks_is_named(github: GitHub) -> None:
    token = github.fine_grained("imip/app", secrets="read")
    client = Client(github, token)
    assert client.get(SECRETS).status == 200
    refused = client.ask("PUT", f"{SECRETS}/TOKEN", client.seal(SECRETS, "value"))
    assert (refused.status, refused.message) == (403, "Resource not accessible by personal access token")
    assert refused.headers["x-accepted-github-permissions"] == "secrets=write"
    refused = client.get(PLACES["env:imip/app/blue/green", "actions"])
    assert refused.headers["x-accepted-github-permissions"] == "environments=read"
    refused = client.get(PLACES["org:imip", "dependabot"])
    assert refused.headers["x-accepted-github-permissions"] == "organization_dependabot_secrets=read"
    client.close()


def test_a_private_repository_is_hidden_and_a_public_one_refuses(github: GitHub) -> None:
    github.repository("imip/private")
    github.repository("imip/public", visibility="public")
    client = Client(github, github.fine_grained("imip/app", secrets="write"))
    assert client.get("/repos/imip/private").status == 404
    assert client.get("/repos/imip/private/actions/secrets").status == 404
    assert client.get("/repos/imip/public").status == 200
    assert client.get("/repos/imip/public/actions/secrets").status == 403
    assert [one["name"] for one in client.get("/orgs/imip/repos").body] == ["public", "app"]
    client.close()


def test_a_classic_token_needs_a_scope(github: GitHub) -> None:
    client = Client(github, github.access.classic("repo"))
    assert client.get(SECRETS).status == 200
    refused = client.get(PLACES["org:imip", "actions"])
    assert refused.status == 403
    assert refused.headers["x-accepted-oauth-scopes"] == "admin:org"
    client.close()


def signed(app: App, github: GitHub, **claims: object) -> str:
    now = int(github.time())
    return jwt.encode({"iat": now - 60, "exp": now + 540, "iss": str(app.id), **claims}, app.key, algorithm="RS256")


def test_an_app_gets_a_narrowed_token_and_gives_it_back(github: GitHub) -> None:
    github.repository("imip/web")
    app = github.app(secrets="write", environments="write")
    installation = github.install(app, "imip")
    client = Client(github, signed(app, github))
    assert client.get("/app").body["slug"] == "imip-sync"
    assert client.get(f"{REPO}/installation").body["id"] == installation.id
    assert client.get("/orgs/imip/installation").body["id"] == installation.id
    assert [one["id"] for one in client.get("/app/installations").body] == [installation.id]
    wanted = {"repositories": ["app"], "permissions": {"secrets": "write"}}
    made = client.ask("POST", f"/app/installations/{installation.id}/access_tokens", wanted)
    assert made.status == 201
    assert made.body["permissions"] == {"metadata": "read", "secrets": "write"}
    assert made.body["token"].startswith(f"ghs_{app.id}_")
    assert len(made.body["token"]) > 100
    client.token = made.body["token"]
    assert client.put(SECRETS, "TOKEN", "value").status == 201
    listed = client.get("/installation/repositories").body
    assert (listed["total_count"], [one["name"] for one in listed["repositories"]]) == (1, ["app"])
    assert client.get("/repos/imip/web").status == 404
    refused = client.get(PLACES["env:imip/app/blue/green", "actions"])
    assert (refused.status, refused.message) == (403, "Resource not accessible by integration")
    assert client.ask("DELETE", "/installation/token").status == 204
    assert client.get(SECRETS).status == 401
    client.close()


def test_a_token_ends_after_an_hour() -> None:
    clock = Clock()
    with served(time=clock) as (github, client):
        app = github.app(secrets="write")
        made = github.access.issue(github.install(app, "imip", "imip/app"), app.permissions, None, clock())
        client.token = made.text
        clock.now += 3599
        assert client.get(SECRETS).status == 200
        clock.now += 1
        assert client.get(SECRETS).message == "Bad credentials"


@pytest.mark.parametrize(
    ("claims", "status", "said"),
    [
        ({"exp": 1}, 401, "'Expiration time' claim ('exp') must be a numeric value"),
        ({"exp": 4_000_000_000}, 401, "is too far in the future"),
        ({"iat": 3_900_000_000, "exp": 3_900_000_100}, 401, "'Issued at' claim ('iat') must be an Integer"),
        ({"iat": "now"}, 401, "'Issued at' claim ('iat') must be an Integer"),
        ({"iss": "1"}, 404, "Integration not found"),
    ],
)
def test_a_jwt_that_is_wrong_is_refused(
    github: GitHub, client: Client, claims: dict[str, object], status: int, said: str
) -> None:
    app = github.app()
    client.token = signed(app, github, **claims)
    reply = client.get("/app")
    assert reply.status == status
    assert said in reply.message


def test_a_jwt_that_another_key_signed_is_refused(github: GitHub, client: Client) -> None:
    app = github.app()
    app.key, other = rsa.generate_private_key(public_exponent=65537, key_size=2048), app.key
    now = int(github.time())
    client.token = jwt.encode({"iat": now, "exp": now + 60, "iss": app.client_id}, other, algorithm="RS256")
    assert client.get("/app").message == "A JSON web token could not be decoded"
    client.token = "not.a.jwt"
    assert client.get("/app").message == "A JSON web token could not be decoded"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"permissions": {"contents": "read"}}, "not granted to this installation"),
        ({"permissions": {"secrets": "write"}}, "not granted to this installation"),
        ({"repositories": ["nothing"]}, "does not exist or is not accessible"),
        ({"repository_ids": [1]}, "does not exist or is not accessible"),
        ({"repositories": ["web"]}, "does not exist or is not accessible"),
    ],
)
def test_a_token_is_never_wider_than_its_installation(github: GitHub, client: Client, body: object, said: str) -> None:
    github.repository("imip/web")
    app = github.app(secrets="read")
    installation = github.install(app, "imip", "imip/app")
    client.token = signed(app, github)
    reply = client.ask("POST", f"/app/installations/{installation.id}/access_tokens", body)
    assert reply.status == 422
    assert said in reply.message


def test_an_app_is_not_installed_everywhere_and_may_be_suspended(github: GitHub, client: Client) -> None:
    app = github.app(secrets="read")
    github.repository("other/app")
    client.token = signed(app, github)
    assert client.get("/repos/other/app/installation").status == 404
    installation = github.install(app, "imip", "imip/app")
    installation.suspended = True
    reply = client.ask("POST", f"/app/installations/{installation.id}/access_tokens")
    assert (reply.status, reply.message) == (403, "This installation has been suspended")


def test_an_installation_may_not_read_a_codespaces_key(github: GitHub, client: Client) -> None:
    app = github.app(codespaces_secrets="write", organization_codespaces_secrets="write")
    client.token = github.access.issue(github.install(app, "imip"), app.permissions, None, github.time()).text
    assert client.get(PLACES["repo:imip/app", "codespaces"]).status == 200
    assert client.get(PLACES["repo:imip/app", "codespaces"] + "/public-key").status == 403
    assert client.get(PLACES["org:imip", "codespaces"]).status == 403


# --- limits


@contextlib.contextmanager
def limited(clock: Callable[[], float], **facts: object) -> Iterator[tuple[GitHub, Client]]:
    with served(time=clock) as (github, client):
        github.limits.enforced = True
        for name, value in facts.items():
            setattr(github.limits, name, value)
        yield github, client


def test_nine_hundred_points_in_any_minute_are_the_most() -> None:
    clock = Clock()
    with limited(clock) as (github, client):
        for number in range(179):
            github.limits.take(f"Bearer {number}", "PUT", clock())  # another token is not ours
            github.limits.take(client.token, "PUT", clock())
        assert client.get(SECRETS).status == 200
        clock.now += 30
        assert client.put(SECRETS, "TOKEN", "value").status == 403
        assert github.limits.refused == 1


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("retry_after", [True, False])
def test_the_secondary_limit_refuses_for_a_minute(status: int, *, retry_after: bool) -> None:
    clock = Clock()
    with limited(clock, points=2, status=status, retry_after=retry_after) as (_, client):
        assert [client.get(SECRETS).status for _ in range(2)] == [200, 200]
        refused = client.get(SECRETS)
        assert refused.status == status
        assert refused.message.startswith("You have exceeded a secondary rate limit")
        assert refused.headers.get("retry-after") == ("60" if retry_after else None)
        assert refused.headers["x-ratelimit-remaining"] != "0"
        clock.now += 59
        assert client.get(SECRETS).status == status
        clock.now += 1
        assert client.get(SECRETS).status == 200


def test_the_primary_limit_refuses_until_its_reset() -> None:
    clock = Clock()
    with limited(clock, hourly=2) as (_, client):
        first = client.get(SECRETS)
        assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("2", "1")
        client.get(SECRETS)
        refused = client.get(SECRETS)
        assert refused.status == 403
        assert refused.message.startswith("API rate limit exceeded")
        assert refused.headers["x-ratelimit-remaining"] == "0"
        assert "retry-after" not in refused.headers
        assert client.get("/rate_limit").body["rate"]["remaining"] == 0
        clock.now = float(refused.headers["x-ratelimit-reset"])
        assert client.get(SECRETS).status == 200


def test_a_read_that_the_client_has_already_is_free() -> None:
    with served() as (_, client):
        tag = client.get(f"{SECRETS}/public-key").headers["etag"]
        used = client.get(SECRETS).headers["x-ratelimit-used"]
        again = client.get(f"{SECRETS}/public-key", If_None_Match=tag)
        assert (again.status, again.body) == (304, None)
        assert again.headers["x-ratelimit-used"] == used


def test_a_hundred_requests_at_once_are_the_most() -> None:
    with limited(time.time) as (github, client):
        github.limits.at_once = 100  # as if so many were under way
        assert client.get(SECRETS).status == 403
        assert github.limits.most_at_once == 101
        github.limits.at_once = 0
    with limited(time.time) as (github, client):
        github.limits.at_once = 99
        assert client.get(SECRETS).status == 200
        assert github.limits.at_once == 99


# --- what goes wrong, and what is remembered


def test_every_request_is_remembered(github: GitHub, client: Client) -> None:
    client.put(SECRETS, "TOKEN", "value")
    client.get("/repos/imip/nothing")
    assert [(one.number, one.operation, one.status, one.points) for one in github.sent] == [
        (1, "GET /repos/{owner}/{repo}/{app}/secrets/public-key", 200, 1),
        (2, "PUT /repos/{owner}/{repo}/{app}/secrets/{secret_name}", 201, 5),
        (3, "GET /repos/{owner}/{repo}", 404, 1),
    ]
    assert github.counts()["GET /repos/{owner}/{repo}"] == 1
    assert [one.path for one in github.writes()] == [f"{SECRETS}/TOKEN"]
    assert {one.token for one in github.sent} == {github.token}
    github.forget()
    assert github.sent == []


def test_it_fails_as_told(github: GitHub, client: Client) -> None:
    github.fail(answer(502), times=2)
    github.fail("close", when=lambda request: request.method == "PUT")
    github.fail("close", when=lambda request: request.method == "PUT", served=True)
    assert [client.get(SECRETS).status for _ in range(3)] == [502, 502, 200]
    for written in (set(), {"TOKEN"}):
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            client.put(SECRETS, "TOKEN", "value")
        assert set(github.values("repo:imip/app")) == written
        client.close()
    assert client.put(SECRETS, "TOKEN", "value").status == 204
    assert [one.status for one in github.writes()] == [0, 0, 204]


def test_it_stops_after_so_many_requests_and_goes_on(github: GitHub, client: Client) -> None:
    killed: list[int] = []
    github.stop_after(2, lambda: killed.append(len(github.sent)))
    assert client.put(SECRETS, "TOKEN", "value").status == 201
    for _ in range(2):
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            client.put(SECRETS, "OTHER", "value")
        client.close()
    assert killed == [2]
    github.go_on()
    assert client.get(SECRETS).body["total_count"] == 1


def test_what_is_not_as_described_fails_the_test() -> None:
    mistakes = {
        r"TOKEN.*key_id": ("PUT", f"{SECRETS}/TOKEN", {"encrypted_value": "aaaa"}),
        "per_page": ("GET", f"{SECRETS}?per_page=all", None),
        "visibility": ("PUT", "/orgs/imip/actions/secrets/TOKEN", {"visibility": "public"}),
        "no such operation": ("GET", f"{REPO}/actions/secret", None),
    }
    for said, mistake in mistakes.items():
        with pytest.raises(AssertionError, match=said):
            sent(*mistake)


def sent(method: str, path: str, body: object) -> None:
    with served() as (github, client):
        github.vault("repo:imip/app").write("TOKEN", "value")
        assert client.ask(method, path, body).status in {200, 404, 422}


def test_an_answer_that_is_not_as_described_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stand_ins.github.bodies.secret", lambda *_: {"name": "TOKEN", "created_at": "today"})
    with pytest.raises(AssertionError, match=r"GET .*secrets/TOKEN: .*updated_at"):
        sent("GET", f"{SECRETS}/TOKEN", None)


# --- an Enterprise Server


def test_an_enterprise_server_has_a_prefix_and_no_limits_codespaces_or_agents() -> None:
    with served(enterprise=True) as (github, client):
        github.limits.enforced = False
        assert github.url == f"http://{github.host}/api/v3"
        told = client.get(SECRETS)
        assert told.headers["x-github-enterprise-version"].startswith("3.")
        assert not [name for name in told.headers if name.startswith("x-ratelimit")]
        assert client.put(SECRETS, "TOKEN", "value").status == 201
        assert client.put(PLACES["repo:imip/app", "dependabot"], "TOKEN", "value").status == 201
        assert client.get(REPO).body["url"] == f"{github.url}{REPO}"
        assert client.get("/rate_limit").status == 404
    for app in ("codespaces", "agents"):
        with pytest.raises(AssertionError, match="no such operation"), served(enterprise=True) as (_, client):
            assert client.get(f"{REPO}/{app}/secrets").status == 404


@pytest.mark.skipif(sys.platform == "win32", reason="Python has no Unix sockets there")
def test_it_answers_at_a_socket_too(github: GitHub, tmp_path: Path) -> None:
    with github.listen(at=tmp_path / "s"), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / "s"))
        request = f"GET {SECRETS} HTTP/1.1\r\nHost: api.github.com\r\nAuthorization: token {github.token}\r\n\r\n"
        connection.sendall(request.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert github.sent[-1].path == SECRETS


def test_names_in_addresses_are_decoded(github: GitHub, client: Client) -> None:
    github.repository("imip/app").environment("prod é/1")
    place = f"{REPO}/environments/{quote('prod é/1', safe='')}/secrets"
    assert client.put(place, "TOKEN", "value").status == 201
    assert github.values("env:imip/app/prod é/1") == {"TOKEN": "value"}
