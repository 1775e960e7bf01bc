"""The stand-in for GitHub is not shaped by our client: ``gh`` and schemathesis find it as GitHub describes itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jwt
import pytest

from imip_secrets.deadline import Deadline
from imip_secrets.secret import Secret
from imip_secrets.sync.base import Access, App, Kind, Put, Scope, Visibility
from imip_secrets.sync.github import open_github
from stand_ins import gh
from stand_ins.gh import Gh
from stand_ins.github import GitHub, routes
from stand_ins.github.description import document
from stand_ins.github.state import APPS
from stand_ins.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imip_secrets.sync.base import GitHub as Client
    from stand_ins.github.access import App as GitHubApp

VALUE = 'two lines\nand "quotes", ünïcode, $NO, \\ and a tab\t.'

posix = pytest.mark.skipif(sys.platform == "win32", reason="gh is led to the stand-in through a Unix socket")


@pytest.fixture
def github() -> Iterator[GitHub]:
    with GitHub() as github:
        github.repository("imip/app").environment("blue/green é")
        github.repository("imip/web")
        yield github


@pytest.fixture
def ask(github: GitHub, tmp_path: Path) -> Iterator[Gh]:
    """Give ``gh`` that takes the stand-in for github.com."""
    with github.listen(at=tmp_path / "s"):
        yield Gh.at_socket(tmp_path / "gh", tmp_path / "s", github.token)


@pytest.fixture
def ours(github: GitHub) -> Iterator[Client]:
    """Give our own client."""
    client = open_github(
        Access(github.url, (), Secret(github.token), "", None, "", lambda _: None, lambda _: None, Deadline(30))
    )
    client.login()
    yield client
    client.close()


SCOPES = [
    (Scope(Kind.REPOSITORY, "imip", "app"), ["-R", "imip/app"]),
    (Scope(Kind.REPOSITORY, "imip", "app", app=App.DEPENDABOT), ["-R", "imip/app", "--app", "dependabot"]),
    (Scope(Kind.REPOSITORY, "imip", "app", app=App.CODESPACES), ["-R", "imip/app", "--app", "codespaces"]),
    (Scope(Kind.REPOSITORY, "imip", "app", app=App.AGENTS), ["-R", "imip/app", "--app", "agents"]),
    (Scope(Kind.ENVIRONMENT, "imip", "app", "blue/green é"), ["-R", "imip/app", "--env", "blue/green é"]),
    (Scope(Kind.ORGANIZATION, "imip"), ["--org", "imip"]),
    (Scope(Kind.ORGANIZATION, "imip", app=App.DEPENDABOT), ["--org", "imip", "--app", "dependabot"]),
    (Scope(Kind.ORGANIZATION, "imip", app=App.CODESPACES), ["--org", "imip", "--app", "codespaces"]),
    (Scope(Kind.ORGANIZATION, "imip", app=App.AGENTS), ["--org", "imip", "--app", "agents"]),
]
scopes = pytest.mark.parametrize(("scope", "where"), SCOPES, ids=[scope.title for scope, _ in SCOPES])


def held(github: GitHub, scope: Scope) -> dict[str, str]:
    return github.values(scope.title.partition("?")[0], scope.app.value)


@posix
@scopes
def test_gh_and_our_client_read_list_and_delete_what_the_other_wrote(
    github: GitHub, ask: Gh, ours: Client, scope: Scope, where: list[str]
) -> None:
    ask("secret", "set", "of_gh", *where, text=VALUE)
    assert held(github, scope) == {"OF_GH": VALUE}
    visibility = Visibility.ALL if scope.kind is Kind.ORGANIZATION else None
    assert ours.put(Put(scope, "OF_OURS", Secret(VALUE), visibility)).created
    assert held(github, scope) == {"OF_GH": VALUE, "OF_OURS": VALUE}

    listed = ask("secret", "list", *where).splitlines()
    assert [line.split("\t")[0] for line in listed] == ["OF_GH", "OF_OURS"]
    found = ours.listing(scope)
    assert sorted(found) == ["OF_GH", "OF_OURS"]
    if scope.kind is Kind.ORGANIZATION:
        assert [line.split("\t")[2] for line in listed] == ["PRIVATE", "ALL"]
        assert [found[name].visibility for name in sorted(found)] == [Visibility.PRIVATE, Visibility.ALL]

    assert not ours.put(Put(scope, "OF_GH", Secret("of ours now"), visibility)).created
    ask("secret", "set", "OF_OURS", *where, text="of gh now")
    assert held(github, scope) == {"OF_GH": "of ours now", "OF_OURS": "of gh now"}
    assert ours.delete(scope, "OF_GH")
    ask("secret", "delete", "OF_OURS", *where)
    assert held(github, scope) == {}


@posix
@pytest.mark.parametrize("app", list(App), ids=[app.value for app in App])
def test_gh_selects_repositories_and_our_client_sees_which(github: GitHub, ask: Gh, ours: Client, app: App) -> None:
    scope = Scope(Kind.ORGANIZATION, "imip", app=app)
    ids = {name: github.repository(f"imip/{name}").id for name in ("app", "web")}
    where = ["--org", "imip", "--app", app.value]
    ask("secret", "set", "TOKEN", *where, "--repos", "app,web", text=VALUE)
    assert ours.listing(scope)["TOKEN"].visibility is Visibility.SELECTED
    assert ours.selected(scope, "TOKEN") == set(ids.values())
    ours.set_selected(scope, "TOKEN", frozenset({ids["web"]}))
    assert github.vault("org:imip", app.value).secrets["TOKEN"].selected == {ids["web"]}
    ours.put(Put(scope, "TOKEN", Secret("other"), Visibility.SELECTED, frozenset({ids["app"]})))
    listed = json.loads(ask("secret", "list", *where, "--json", "name,visibility,numSelectedRepos"))
    assert listed == [{"name": "TOKEN", "visibility": "selected", "numSelectedRepos": 1}]


@posix
def test_gh_sets_a_whole_file_at_once(github: GitHub, ask: Gh) -> None:
    values = {f"NAME_{number}": f"value {number}" for number in range(30)}
    ask(
        "secret",
        "set",
        "-R",
        "imip/app",
        "-f",
        "-",
        text="".join(f"{name}={value}\n" for name, value in values.items()),
    )
    assert github.values("repo:imip/app") == values
    assert github.counts()["GET /repos/{owner}/{repo}/{app}/secrets/public-key"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="gh asks the system for trusted certificates elsewhere")
def test_gh_takes_the_stand_in_for_an_enterprise_server(tmp_path: Path) -> None:
    authority = Authority()
    with GitHub(enterprise=True, tls=authority.good()) as github:
        github.repository("imip/app").environment("production")
        host = github.host.replace("127.0.0.1", "localhost")
        server = Gh.at_server(tmp_path / "gh", host, github.token, authority.pem)
        server("secret", "set", "TOKEN", "-R", f"{host}/imip/app", text=VALUE)
        server("secret", "set", "TOKEN", "-R", f"{host}/imip/app", "--env", "production", text=VALUE)
        server("secret", "set", "TOKEN", "-R", f"{host}/imip/app", "--app", "dependabot", text=VALUE)
        server("secret", "set", "TOKEN", "--org", "imip", text=VALUE)
        for label, app in (("repo:imip/app", "actions"), ("repo:imip/app", "dependabot"), ("org:imip", "actions")):
            assert github.values(label, app) == {"TOKEN": VALUE}
        assert github.values("env:imip/app/production") == {"TOKEN": VALUE}
        assert server("secret", "list", "-R", f"{host}/imip/app").startswith("TOKEN\t")
        server("secret", "delete", "TOKEN", "-R", f"{host}/imip/app")
        assert github.values("repo:imip/app") == {}
        assert {one.request.path.startswith("/api/v3/") for one in github.sent} == {True}


def test_gh_is_there() -> None:
    assert gh.program()


# What schemathesis cannot know: a value must be sealed for its place, so it may be refused although it is as described;
# and GitHub answers a method that it does not have with 404, not with 405.
NOT_CHECKED = "positive_data_acceptance,unsupported_method"
CONFIGURATION = """
[parameters]
"path.owner" = "imip"
"path.repo" = "app"
"path.org" = "imip"
"path.username" = "imip"
"path.environment_name" = "production"
"path.secret_name" = "TOKEN"
"path.repository_id" = {repository}
"path.installation_id" = {installation}

[[operations]]
include-path-regex = "^/app|/installation$"
headers = {{ Authorization = "Bearer {app}" }}

[[operations]]
include-path-regex = "^/installation"
headers = {{ Authorization = "Bearer {token}" }}
"""


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    with GitHub(check=False) as github:
        repository = github.repository("imip/app", topics=["imip"], properties={"tier": "one"}).environment(
            "production"
        )
        app = github.app(secrets="write", environments="write", organization_secrets="write")
        installation = github.install(app, "imip")
        token = github.access.issue(installation, app.permissions, None, github.time())
        places = [github.vault(label, kind) for label in ("repo:imip/app", "org:imip") for kind in APPS]
        places.append(github.vault("env:imip/app/production"))

        def arrange() -> None:
            """Have everything there, whatever was deleted before."""
            for place in places:
                selected = frozenset({repository.id}) if place.organization else frozenset[int]()
                place.write("TOKEN", "value", "selected" if place.organization else "", selected)
            token.revoked = False
            github.once(arrange)

        arrange()
        facts = {"app": sign_in(app, github.time()), "token": token.text}
        configuration = CONFIGURATION.format(repository=repository.id, installation=installation.id, **facts)
        (tmp_path / "schemathesis.toml").write_text(configuration)
        described, count = answered()
        (tmp_path / "github.json").write_text(json.dumps(described))
        program = str(Path(sys.executable).parent / "schemathesis")
        command = [program, "--config-file", str(tmp_path / "schemathesis.toml"), "run", str(tmp_path / "github.json")]
        command += ["--url", github.url, "--header", f"Authorization: Bearer {github.token}", "--seed", "1"]
        command += ["--max-examples", "2", "--phases", "coverage,fuzzing", "--exclude-checks", NOT_CHECKED]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=350, check=False)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr
        statuses: dict[str, set[int]] = {}
        for one in github.sent:
            statuses.setdefault(one.operation, set()).add(one.status)
        # What was asked for was there: each operation that needs nothing sealed was done, and not only refused.
        undone = [name for name, seen in statuses.items() if name and not seen & {200, 201, 204}]
        assert [name for name in undone if not name.endswith("/secrets/{secret_name}")] == []
        assert len(github.sent) > 10 * count


def answered() -> tuple[dict[str, object], int]:
    """Give what the stand-in answers of GitHub's description, and how many operations that is."""
    described = document()
    paths = {
        path: {method: operation for method, operation in item.items() if routes.answered(method, path)}
        for path, item in described["paths"].items()
    }
    kept = {path: item for path, item in paths.items() if item}
    return {**described, "paths": kept}, sum(len(item) for item in kept.values())


def sign_in(app: GitHubApp, now: float) -> str:
    """Sign what an App shows to be one."""
    claims = {"iss": str(app.id), "iat": int(now) - 30, "exp": int(now) + 500}
    return jwt.encode(claims, app.key, algorithm="RS256")
