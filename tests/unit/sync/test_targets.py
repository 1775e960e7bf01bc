from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.sync.base import App, Kind, RepositoryFacts, Scope, Visibility
from imip_secrets.sync.targets import Destination, Match, name_fault, not_on_enterprise_server, parse

NAMES = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=20).filter(
    lambda name: name[0].isalnum()
)
OWNERS = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=20).filter(
    lambda name: name[0].isalnum()
)


def one(line: str) -> Destination:
    destinations, problems = parse(line)
    assert problems == []
    (destination,) = destinations
    return destination


def fault(line: str) -> str:
    destinations, problems = parse(line)
    assert destinations == []
    (problem,) = problems
    assert problem.where.startswith("sync-to line 1, ")
    assert problem.remedy
    return str(problem)


def test_a_repository() -> None:
    read = one("repo:org/app")
    assert (read.kind, read.owner, read.repo, read.apps) == (Kind.REPOSITORY, "org", "app", (App.ACTIONS,))
    assert list(read.scopes()) == [Scope(Kind.REPOSITORY, "org", "app")]
    assert read.where == "sync-to line 1, repo:org/app"


def test_several_apps_are_several_scopes_each_once() -> None:
    read = one("repo:org/app?app=actions,dependabot,Codespaces,agents,actions")
    assert [scope.app for scope in read.scopes()] == list(App)


def test_an_environment_may_have_any_name() -> None:
    assert one("env:org/app/production").environment == "production"
    assert one("env:org/app/eu/west 1").environment == "eu/west 1"
    assert one("env:org/app/100%25%20sure%3F").environment == "100% sure?"


def test_an_organisation_keeps_who_sees_its_secrets_unless_it_is_told() -> None:
    assert (one("org:o").visibility, one("org:o").repos) == (None, None)
    assert one("org:o?visibility=all").visibility is Visibility.ALL
    read = one("org:o?repos=app,%20api")
    assert (read.visibility, read.repos) == (Visibility.SELECTED, ("app", "api"))


def test_a_match_leaves_out_what_is_archived_forked_or_public_unless_asked_for() -> None:
    match = one("repos:o?name=imip-*,api&topic=deploy,Go&property=team:payments&exclude=*-archive&max=7").match
    assert match == Match(("imip-*", "api"), ("deploy", "go"), (("team", "payments"),), ("*-archive",), limit=7)
    facts = RepositoryFacts(1, "o", "app", archived=True, fork=True, visibility="public")
    assert Match().left_out(facts) == "archived, a fork, public"
    all_of_them = one("repos:o?archived&forks=true&public").match
    assert all_of_them is not None
    assert all_of_them.left_out(facts) is None
    assert Match().left_out(RepositoryFacts(1, "o", "app", visibility="internal")) is None


def test_what_fits_a_match() -> None:
    facts = RepositoryFacts(1, "o", "Imip-App", topics=frozenset({"deploy", "go"}), properties={"Team": ("Payments",)})
    for options in ("", "?name=imip-*", "?name=x,*-APP", "?topic=deploy,go", "?property=team:payments", "?exclude=x*"):
        match = one(f"repos:o{options}").match
        assert match is not None
        assert match.fits(facts), options
    for options in ("?name=imip", "?topic=deploy,rust", "?property=team:data", "?property=x:y", "?exclude=*-app"):
        match = one(f"repos:o{options}").match
        assert match is not None
        assert not match.fits(facts), options


def test_only_and_rename_are_for_one_target() -> None:
    read = one("repo:o/a?only=DB_*,token&rename=db_url:Database_Url")
    assert [read.secret(name) for name in ("DB_URL", "db_port", "TOKEN", "OTHER")] == [
        "DATABASE_URL",
        "DB_PORT",
        "TOKEN",
        None,
    ]


def test_comments_and_empty_lines_are_counted() -> None:
    destinations, problems = parse("# one\n\nrepo:o/a # here\r\n  env:o/a/b\n")
    assert problems == []
    assert [(each.number, each.text) for each in destinations] == [(3, "repo:o/a"), (4, "env:o/a/b")]


@pytest.mark.parametrize("text", ["", "\n # nothing\n"])
def test_nothing_but_comments_is_a_mistake(text: str) -> None:
    _, (problem,) = parse(text)
    assert str(problem) == "input sync-to: it names no target. Write one target per line, such as repo:my-org/app."


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("org/app", "it begins with none of repo:, env:, org:, repos:. Write it like repo:org/app."),
        ("https://github.com/org/app", "it begins with none of repo:, env:, org:, repos:. Write it like repo:org/app."),
        ("environment:o/a/b", "it begins with none of repo:, env:, org:, repos:. Write it like repo:my-org/app."),
        ("rep:o/a", "it begins with none of repo:, env:, org:, repos:. Write it like repo:my-org/app."),
        ("repo:app", "'app' is not OWNER/REPOSITORY. Write it like repo:my-org/app."),
        ("repo:o/a/b", "'a/b' is no name of a repository. Write it like repo:my-org/app."),
        ("repo:o/..", "'..' is no name of a repository"),
        ("repo:-o/a", "'-o' is no name of an organisation or user"),
        ("env:o/a", "'o/a' is not OWNER/REPOSITORY/ENVIRONMENT. Write it like env:my-org/app/production."),
        ("env:o/a/", "'o/a/' is not OWNER/REPOSITORY/ENVIRONMENT"),
        ("env:o/a/%0Ab", "there is a control character in the environment. Take it out."),
        ("env:o/a/50%", "the % in the environment is no escape. Write %25 for a percent sign."),
        ("env:o/a/%FF", "the escapes in the environment are not UTF-8."),
        ("org:o/a", "'o/a' is no name of an organisation or user"),
        ("org:", "'' is not OWNER."),
        ("repo:o/a?app=action", "'action' is no app that has secrets. Write app=actions."),
        (
            "repo:o/a?app=x",
            "'x' is no app that has secrets. Write one or more of actions, dependabot, codespaces, agents.",
        ),
        ("repo:o/a?app=", "the option app has no value. Write app=..., or leave it out."),
        ("repo:o/a?app=actions&app=agents", "the option app is given twice."),
        ("repo:o/a?topic=x", "'topic' is no option of repo:. It is one of repos: alone."),
        ("repo:o/a?visibility=all", "'visibility' is no option of repo:. It is one of org: alone."),
        ("env:o/a/b?app=agents", "'app' is no option of env:. It is one of repo: and org: and repos: alone."),
        ("repos:o?topics=x", "'topics' is no option of repos:. Did you mean topic?"),
        ("repo:o/a?zzz=1", "'zzz' is no option of repo:. The options are app, only, rename."),
        (
            "repos:o?archived=maybe",
            "'archived=maybe' is no value of the option archived. Write archived, or leave it out.",
        ),
        ("repos:o?max=0", "'0' is no whole number from 1 to 100000. Write max=100."),
        ("repos:o?max=1e3", "'1e3' is no whole number"),
        ("repos:o?name=a/b", "'a/b' is no pattern for names. Write names with * and ?, such as name=APP_*,DB."),
        ("repos:o?property=team", "'team' has not the form of property=. Write it like property=team:payments."),
        ("repo:o/a?rename=A", "'A' has not the form of rename=. Write it like rename=DATABASE_URL:DB_URL."),
        ("repo:o/a?rename=A:github_x", "GitHub takes no secret named github_x: GITHUB_ is its own."),
        ("repo:o/a?rename=A:1B", "'1B' is no name for a secret"),
        ("repo:o/a?rename=A:B,a:C", "a is renamed twice."),
        ("org:o?visibility=public", "'public' is no visibility. Write visibility= with one of all, private, selected."),
        ("org:o?visibility=private&repos=a", "repos= is for visibility=selected, not private. Leave one of them out."),
        ("org:o?repos=o/a", "'o/a' is no name of a repository. Write names without the organisation: repos=app,api."),
    ],
)
def test_a_mistake_is_told_with_what_is_right(line: str, what: str) -> None:
    assert what in fault(line)


def test_every_mistake_is_told_at_once_with_its_line() -> None:
    destinations, problems = parse("repo:o/a\nrepo:a\n\nenv:o/a\nrepo:o/b?app=x")
    assert [each.repo for each in destinations] == ["a"]
    assert [problem.where.partition(",")[0] for problem in problems] == [
        "sync-to line 2",
        "sync-to line 4",
        "sync-to line 5",
    ]


def test_a_mistake_cannot_speak_to_the_runner() -> None:
    assert "::" not in fault("repo:::add-mask::x/\x07")


def test_what_an_enterprise_server_has_not() -> None:
    destinations, _ = parse("repo:o/a?app=actions,dependabot\nrepo:o/b?app=codespaces,agents")
    assert [str(problem) for problem in not_on_enterprise_server(destinations)] == [
        f"sync-to line 2, repo:o/b?app=codespaces,agents: a GitHub Enterprise Server has no {app} secrets. "
        f"Take {app} out of app=; it has actions and dependabot."
        for app in ("codespaces", "agents")
    ]


@pytest.mark.parametrize("name", ["A", "_", "a1", "MY_GITHUB_TOKEN", "GITHUB", "CI", "PATH"])
def test_names_that_github_takes(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize("name", ["", "1A", "A-B", "GITHUB_TOKEN", "github_x", "Ä", "A B", "A\n"])
def test_names_that_github_does_not_take(name: str) -> None:
    assert name_fault(name) is not None


@given(OWNERS, NAMES, st.text(min_size=1, max_size=30))
def test_any_environment_can_be_written(owner: str, repo: str, environment: str) -> None:
    escaped = "".join(f"%{byte:02X}" for byte in environment.encode("utf-8", "replace"))
    destinations, problems = parse(f"env:{owner}/{repo}/{escaped}")
    if environment.isprintable() and environment.strip():
        assert problems == []
        assert list(destinations[0].scopes()) == [
            Scope(Kind.ENVIRONMENT, owner, repo, environment.encode("utf-8", "replace").decode())
        ]
    else:
        assert len(problems) == 1


@given(st.text(max_size=200))
def test_any_text_is_targets_or_problems_and_never_a_defect(text: str) -> None:
    destinations, problems = parse(text)
    assert destinations or problems
    for problem in problems:
        assert "\n" not in str(problem)
        assert not any("::" in part for part in (problem.where, problem.what, problem.remedy))
        assert len(str(problem)) < 600


@given(st.sampled_from(["repo:", "env:", "org:", "repos:"]), st.text("oa/?&=,:*%.-_ 1", max_size=40))
def test_any_target_is_read_or_told_in_one_line(word: str, rest: str) -> None:
    destinations, problems = parse(word + rest)
    assert len(destinations) + len(problems) <= 1
