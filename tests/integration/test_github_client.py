"""What the core asks of GitHub, at the stand-in: in how many requests, and what arrives there."""

from __future__ import annotations

import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from github_rig import Rig
from imip_secrets.errors import MissingError, StoreError
from imip_secrets.secret import Secret
from imip_secrets.sync.base import App, DeniedError, Kind, Put, Reach, Scope, Visibility
from imip_secrets.sync.github import is_enterprise_server, open_github
from imip_secrets.sync.pacing import LIMITS, Limits
from stand_ins.faults import Answer, answer, json_answer
from stand_ins.github import GitHub
from stand_ins.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imip_secrets.sync.base import GitHub as BackEnd

REPO = Scope(Kind.REPOSITORY, "org", "app")
ENVIRONMENT = Scope(Kind.ENVIRONMENT, "org", "app", "prod/eu")
ORGANIZATION = Scope(Kind.ORGANIZATION, "org")
ALL = [
    *(Scope(Kind.REPOSITORY, "org", "app", app=app) for app in App),
    ENVIRONMENT,
    *(Scope(Kind.ORGANIZATION, "org", app=app) for app in App),
]
CANARY = "c4n4ry-value"


@pytest.fixture
def github() -> Iterator[GitHub]:
    with GitHub() as made:
        made.organization("org")
        made.repository("org/app").environment("prod/eu", "staging")
        yield made


@pytest.fixture
def rig(github: GitHub) -> Rig:
    return Rig(github)


@pytest.fixture
def client(rig: Rig) -> Iterator[BackEnd]:
    with rig.client() as made:
        yield made


def label(scope: Scope) -> str:
    return scope.title.partition("?")[0]


def put(scope: Scope, name: str, value: str | bytes, selected: frozenset[int] | None = None) -> Put:
    visibility = None
    if scope.kind is Kind.ORGANIZATION:
        visibility = Visibility.PRIVATE if selected is None else Visibility.SELECTED
    return Put(scope, name, Secret(value), visibility, selected)


# --- writing


@pytest.mark.parametrize("scope", ALL, ids=lambda scope: scope.title)
def test_every_kind_of_secret_is_created_updated_listed_and_deleted(
    github: GitHub, client: BackEnd, scope: Scope
) -> None:
    before = time.time()
    made = client.put(put(scope, "db_url", "first"))
    again = client.put(put(scope, "DB_URL", "sécond\r\n"))
    assert (made.created, again.created) == (True, False)
    assert again.at is not None
    assert abs(again.at.timestamp() - before) < 60
    assert github.values(label(scope), scope.app.value) == {"DB_URL": "sécond\r\n"}
    (existing,) = client.listing(scope).values()
    assert existing.name == "DB_URL"
    assert existing.updated is not None
    assert existing.visibility is (Visibility.PRIVATE if scope.kind is Kind.ORGANIZATION else None)
    assert client.delete(scope, "db_url")
    assert not client.delete(scope, "db_url")
    assert client.listing(scope) == {}


@pytest.mark.parametrize(
    "scope", [each for each in ALL if each.kind is Kind.ORGANIZATION], ids=lambda scope: scope.title
)
def test_the_repositories_of_an_organisation_s_secret(github: GitHub, client: BackEnd, scope: Scope) -> None:
    first, second = github.repository("org/app").id, github.repository("org/api").id
    client.put(put(scope, "A", "a", frozenset({second, first})))
    assert client.selected(scope, "A") == {first, second}
    assert client.listing(scope)["A"].visibility is Visibility.SELECTED
    github.forget()
    client.set_selected(scope, "A", frozenset({first}))
    assert client.selected(scope, "A") == {first}
    assert [sent.method for sent in github.sent] == ["PUT", "GET"]
    assert github.values("org:org", scope.app.value) == {"A": "a"}
    client.put(put(scope, "A", "b", frozenset()))
    assert client.selected(scope, "A") == frozenset()


def test_the_repositories_of_a_secret_that_is_not_selected_cannot_be_set(client: BackEnd) -> None:
    client.put(put(ORGANIZATION, "A", "a"))
    with pytest.raises(StoreError, match="its visibility is not selected"):
        client.set_selected(ORGANIZATION, "A", frozenset({1}))


def test_many_selected_repositories_come_over_all_pages(github: GitHub, client: BackEnd) -> None:
    ids = frozenset(github.repository(f"org/r{number}").id for number in range(130))
    client.put(put(ORGANIZATION, "A", "a", ids))
    github.forget()
    assert client.selected(ORGANIZATION, "A") == ids
    assert len(github.sent) == 2


def test_ten_repositories_with_ten_secrets_take_a_look_up_a_listing_and_a_key_each(github: GitHub, rig: Rig) -> None:
    for number in range(10):
        github.repository(f"org/r{number}")
    scopes = [Scope(Kind.REPOSITORY, "org", f"r{number}") for number in range(10)]
    with rig.client() as client, ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda scope: client.look_up("org", scope.repo), scopes))
        list(pool.map(client.listing, scopes))
        puts = [put(scope, f"S{number}", f"{scope.repo} {number}") for number in range(10) for scope in scopes]
        list(pool.map(client.put, puts))
        used = client.used()
    assert sum(github.counts().values()) == 130
    assert (used.requests, used.points, used.refused) == (130, 530, 0)
    assert github.values("repo:org/r7") == {f"S{number}": f"r7 {number}" for number in range(10)}
    assert 1 < github.limits.most_at_once <= LIMITS.concurrent


def test_a_key_is_read_once_for_each_place(github: GitHub, client: BackEnd) -> None:
    for scope in (REPO, ENVIRONMENT, ORGANIZATION, Scope(Kind.REPOSITORY, "org", "app", app=App.DEPENDABOT)):
        for number in range(3):
            client.put(put(scope, f"S{number}", "x"))
    keys = [sent for sent in github.sent if sent.path.endswith("/public-key")]
    assert len(keys) == len({sent.path for sent in keys}) == 4


def test_a_key_that_changes_between_is_read_once_more(github: GitHub, client: BackEnd) -> None:
    client.put(put(REPO, "A", "a"))
    github.vault("repo:org/app").rotate()
    github.forget()
    assert client.put(put(REPO, "B", "b")).created
    assert [sent.status for sent in github.sent] == [422, 200, 201]
    client.put(put(REPO, "C", "c"))
    assert len(github.sent) == 4
    assert github.values("repo:org/app") == {"A": "a", "B": "b", "C": "c"}


def test_a_key_that_changes_under_many_threads_is_read_once_more_for_all(github: GitHub, client: BackEnd) -> None:
    client.put(put(REPO, "A", "a"))
    github.vault("repo:org/app").rotate()
    github.forget()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: client.put(put(REPO, f"B{number}", "b")), range(24)))
    assert github.counts()["GET /repos/{owner}/{repo}/{app}/secrets/public-key"] == 1
    assert len(github.values("repo:org/app")) == 25


def test_a_key_that_is_refused_again_is_told(github: GitHub, client: BackEnd) -> None:
    message = "Bad request - validation failed due to an improperly encrypted secret"
    github.fail(json_answer({"message": message}, 422), when=lambda request: request.method == "PUT", times=2)
    with pytest.raises(StoreError, match="improperly encrypted secret"):
        client.put(put(REPO, "A", CANARY))
    assert [sent.method for sent in github.sent] == ["GET", "PUT", "GET", "PUT"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(min_size=1, max_size=300)
    | st.text(min_size=1, max_size=100).map(lambda text: text.encode("utf-8", "replace"))
)
@example(b"x")
@example(b"\n")
@example(b"\r\n\0\xff")
@example(b"\xf0\x9f\x94\x91" * (12 * 1024))
def test_every_value_opens_byte_for_byte(github: GitHub, client: BackEnd, value: bytes) -> None:
    client.put(put(REPO, "A", value))
    assert github.vault("repo:org/app").secrets["A"].value == value


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 1023, 49151, 49152])
def test_every_size_up_to_48_kib_arrives(github: GitHub, client: BackEnd, size: int) -> None:
    value = bytes(number % 251 for number in range(size))
    client.put(put(REPO, "A", value))
    assert github.vault("repo:org/app").secrets["A"].value == value


# --- reading


def test_a_repository_is_looked_up_in_one_request(github: GitHub, client: BackEnd) -> None:
    made = github.repository("org/lib", archived=True, fork=True, topics=["b", "a"], visibility="internal")
    facts = client.look_up("Org", "LIB")
    assert (facts.id, facts.owner, facts.name) == (made.id, "org", "lib")
    assert (facts.archived, facts.fork, facts.visibility, facts.topics) == (
        True,
        True,
        "internal",
        frozenset({"a", "b"}),
    )
    assert len(github.sent) == 1


def test_a_repository_under_a_new_name_is_not_followed(github: GitHub, client: BackEnd) -> None:
    github.repository("org/app").rename("app2")
    for ask in (lambda: client.look_up("org", "app"), lambda: client.listing(REPO)):
        with pytest.raises(StoreError, match="org/app has moved"):
            ask()
    assert len(github.sent) == 2


def test_an_answer_for_another_repository_is_not_taken(github: GitHub, client: BackEnd) -> None:
    github.fail(json_answer({"id": 1, "full_name": "mallory/app", "private": True}))
    with pytest.raises(StoreError, match="org/app has moved"):
        client.look_up("org", "app")


def test_all_repositories_in_a_request_a_hundred(github: GitHub, client: BackEnd) -> None:
    for number in range(230):
        github.repository(f"org/r{number}", topics=["imip"] if number % 2 else [])
    github.repository("elsewhere/r1")
    found = client.repositories("org", properties=False)
    assert len(found) == 231
    assert sum("imip" in facts.topics for facts in found) == 115
    assert github.counts() == {"GET /orgs/{org}/repos": 3}


def test_custom_properties_are_read_only_when_they_are_asked_for(github: GitHub, client: BackEnd) -> None:
    github.repository("org/lib", properties={"team": "core", "tiers": ["a", "b"]})
    facts = {each.name: each for each in client.repositories("org", properties=True)}
    assert facts["lib"].properties == {"team": ("core",), "tiers": ("a", "b")}
    assert github.counts() == {"GET /orgs/{org}/repos": 1, "GET /orgs/{org}/properties/values": 1}


def test_a_property_without_a_value_has_none_and_one_of_another_form_is_left_out(
    github: GitHub, client: BackEnd
) -> None:
    number = github.repository("org/app").id
    properties = [
        {"repository_id": number, "properties": [{"property_name": "team", "value": None}]},
        {"repository_id": 1, "properties": []},
        {"repository_id": number, "properties": 5},
        "x",
    ]
    github.fail(json_answer(properties), when=lambda request: "properties" in request.target)
    (facts,) = client.repositories("org", properties=True)
    assert facts.properties == {"team": ()}


def test_an_app_lists_what_it_is_installed_for(rig: Rig) -> None:
    for name in ("r1", "r2", "r3"):
        rig.github.repository(f"org/{name}")
    app = rig.github.app(secrets="write")
    rig.github.install(app, "org", "org/r1", "org/r3")
    with rig.client(rig.access(Reach("org", frozenset({(Kind.REPOSITORY, App.ACTIONS)})), app=app)) as client:
        assert {facts.name for facts in client.repositories("org", properties=False)} == {"r1", "r3"}
    assert rig.github.counts()["GET /installation/repositories"] == 1


def test_a_user_s_own_repositories(github: GitHub, client: BackEnd) -> None:
    github.state.account("octocat", "User")
    github.repository("octocat/app")
    assert [facts.name for facts in client.repositories("octocat", properties=False)] == ["app"]


def test_a_user_s_repositories_that_may_not_be_listed_are_a_denial(github: GitHub, client: BackEnd) -> None:
    github.fail(answer(404, "{}"))
    github.fail(answer(403, '{"message": "no"}'))
    with pytest.raises(DeniedError, match="GitHub denies listing the repositories of octocat"):
        client.repositories("octocat", properties=False)


def test_a_listing_comes_whole_in_a_request_a_hundred(github: GitHub, client: BackEnd) -> None:
    for number in range(230):
        github.vault("org:org").write(f"s{number}", "x", "all")
    found = client.listing(ORGANIZATION)
    assert set(found) == {f"S{number}" for number in range(230)}
    assert {existing.visibility for existing in found.values()} == {Visibility.ALL}
    assert len(github.sent) == 3


def test_a_listing_that_changes_while_it_is_read_is_read_again(github: GitHub, client: BackEnd) -> None:
    for number in range(150):
        github.vault("org:org").write(f"s{number:03}", "x", "all")
    github.once(lambda: github.vault("org:org").secrets.pop("S000"), when=lambda request: "page=2" in request.target)
    assert len(client.listing(ORGANIZATION)) == 149
    assert len(github.sent) == 4


def test_a_listing_that_is_never_whole_is_an_error(github: GitHub, client: BackEnd) -> None:
    short = json_answer({"total_count": 2, "secrets": [{"name": "A", "created_at": "", "updated_at": None}]})
    github.fail(short, times=3)
    with pytest.raises(StoreError, match="the listing of repo:org/app is not whole: GitHub counts 2 and shows 1"):
        client.listing(REPO)


@pytest.mark.parametrize(
    "data",
    [
        [],
        "x",
        {},
        {"secrets": "x", "total_count": 0},
        {"secrets": ["x"], "total_count": 1},
        {"secrets": [{"name": ""}], "total_count": 1},
        {"secrets": [{"name": 5}], "total_count": 1},
        {"secrets": [{"name": "A", "visibility": "friends"}], "total_count": 1},
    ],
)
def test_a_listing_of_another_form_is_no_listing(github: GitHub, client: BackEnd, data: object) -> None:
    github.fail(json_answer(data))
    with pytest.raises(StoreError, match="GitHub's answer to listing repo:org/app cannot be used"):
        client.listing(REPO)


def test_names_are_in_capitals_and_times_that_are_none_are_not_told(github: GitHub, client: BackEnd) -> None:
    github.fail(json_answer({"secrets": [{"name": "a", "created_at": "yesterday", "updated_at": 5}], "total_count": 1}))
    ((name, existing),) = client.listing(REPO).items()
    assert (name, existing.name) == ("A", "A")
    assert (existing.created, existing.updated) == (None, None)


@pytest.mark.parametrize(
    "data", [[], {}, {"id": "1", "full_name": "org/app"}, {"id": 1}, {"id": 1, "full_name": "app"}]
)
def test_a_repository_of_another_form_is_none(github: GitHub, client: BackEnd, data: object) -> None:
    github.fail(json_answer(data))
    with pytest.raises(StoreError, match="GitHub's answer to reading org/app cannot be used"):
        client.look_up("org", "app")
    github.fail(json_answer([data]))
    with pytest.raises(StoreError, match="cannot be used"):
        client.repositories("org", properties=False)
    github.fail(json_answer({"repositories": 5}))
    with pytest.raises(StoreError, match="cannot be used"):
        client.repositories("org", properties=False)
    github.fail(json_answer({}), when=lambda request: "properties" in request.target)
    with pytest.raises(StoreError, match="cannot be used"):
        client.repositories("org", properties=True)
    client.put(put(ORGANIZATION, "A", "a", frozenset()))
    github.fail(json_answer({"repositories": [{"id": "x"}]}))
    with pytest.raises(StoreError, match="cannot be used"):
        client.selected(ORGANIZATION, "A")


def test_visibility_is_private_where_nothing_says_otherwise(github: GitHub, client: BackEnd) -> None:
    github.fail(json_answer({"id": 1, "full_name": "org/app"}))
    assert client.look_up("org", "app").visibility == "private"
    github.fail(json_answer({"id": 1, "full_name": "org/app", "private": False}))
    assert client.look_up("org", "app").visibility == "public"


# --- refusals


def test_an_environment_that_is_not_there_is_sure_to_be_missing(github: GitHub, client: BackEnd) -> None:
    gone = Scope(Kind.ENVIRONMENT, "org", "app", "production")
    for ask in (lambda: client.listing(gone), lambda: client.put(put(gone, "A", CANARY))):
        with pytest.raises(MissingError, match=r"org/app has no environment production \(it has prod/eu, staging\)"):
            ask()
    assert github.counts()["GET /repos/{owner}/{repo}/environments"] == 2


def test_an_environment_that_is_there_and_not_shown_is_a_denial(github: GitHub, client: BackEnd) -> None:
    not_found = answer(404, '{"message": "Not Found"}')
    github.fail(not_found, when=lambda request: request.path.endswith("/secrets"))
    with pytest.raises(DeniedError, match="it answers 404, which can mean four things"):
        client.listing(ENVIRONMENT)
    github.fail(not_found, times=2)
    with pytest.raises(DeniedError, match="four things"):
        client.listing(ENVIRONMENT)


def test_a_repository_that_is_not_there_may_be_hidden(client: BackEnd) -> None:
    with pytest.raises(DeniedError, match="GitHub shows no org/nothing"):
        client.look_up("org", "nothing")
    with pytest.raises(DeniedError, match="four things"):
        client.listing(Scope(Kind.REPOSITORY, "org", "nothing"))
    with pytest.raises(DeniedError, match="GitHub shows no nobody"):
        client.repositories("nobody", properties=True)


def test_an_archived_repository_takes_nothing(github: GitHub, client: BackEnd) -> None:
    github.repository("org/app").update(archived=True)
    with pytest.raises(StoreError, match="org/app is archived, so nothing can be written there"):
        client.put(put(REPO, "A", CANARY))


@pytest.mark.parametrize(
    ("scope", "permission"),
    [
        (REPO, '"Secrets: write"'),
        (ENVIRONMENT, '"Environments: write"'),
        (Scope(Kind.REPOSITORY, "org", "app", app=App.DEPENDABOT), '"Dependabot secrets: write"'),
        (ORGANIZATION, '"Secrets: write" (of the organisation)'),
    ],
    ids=lambda value: getattr(value, "title", ""),
)
def test_a_token_without_the_right_is_told_which(rig: Rig, scope: Scope, permission: str) -> None:
    token = rig.github.fine_grained("org/app", metadata="read", actions="read")
    with rig.client(rig.access(token=token)) as client, pytest.raises(DeniedError) as caught:
        client.put(put(scope, "A", CANARY))
    assert permission in str(caught.value)


def test_a_token_that_may_only_read_is_told_at_the_first_write(rig: Rig) -> None:
    token = rig.github.fine_grained("org/app", metadata="read", secrets="read")
    with rig.client(rig.access(token=token)) as client:
        assert client.listing(REPO) == {}
        with pytest.raises(DeniedError, match=r'GitHub denies writing A in repo:org/app.*"Secrets: write"'):
            client.put(put(REPO, "A", CANARY))


def test_a_token_that_is_none_is_told(rig: Rig) -> None:
    with rig.client(rig.access(token="ghp_wrong")) as client, pytest.raises(DeniedError, match="does not accept"):
        client.look_up("org", "app")


def test_a_deletion_whose_answer_was_lost_was_one(github: GitHub, client: BackEnd) -> None:
    client.put(put(REPO, "A", "a"))
    github.fail("reset", when=lambda request: request.method == "DELETE", served=True)
    assert client.delete(REPO, "A")


def test_a_write_whose_answer_was_lost_is_written_once_more(github: GitHub, client: BackEnd) -> None:
    github.fail("close", when=lambda request: request.method == "PUT", served=True)
    client.put(put(REPO, "A", "a"))
    assert github.values("repo:org/app") == {"A": "a"}


FAULTS = [
    answer(400, "{}"),
    answer(401, '{"message": "Bad credentials"}'),
    answer(403, '{"message": "no"}'),
    answer(404, '{"message": "Not Found"}'),
    answer(409),
    answer(422, '{"message": "Validation Failed", "errors": ["x"]}'),
    answer(301, "", Location="/elsewhere"),
    answer(200, "<html>"),
    answer(206),
    Answer(200, {"Content-Encoding": "gzip"}, b"x"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.status))
def test_no_failure_of_a_write_shows_the_value(
    github: GitHub, client: BackEnd, fault: Answer, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    github.strict = False
    github.fail(fault, when=lambda request: request.method == "PUT", times=9)
    with pytest.raises(StoreError) as caught:
        client.put(put(REPO, "A", CANARY))
    shown = "".join(traceback.format_exception(caught.value))
    assert CANARY not in shown + caplog.text + "".join(capsys.readouterr())
    assert CANARY.encode() not in b"".join(sent.request.body for sent in github.sent)


# --- limits


def test_when_we_are_the_only_client_nothing_is_refused_and_the_estimate_is_right() -> None:
    # On a machine that is busy with something else, one run may take longer than the limits make it.
    assert any(the_estimate_is_right() for _ in range(4))


def the_estimate_is_right() -> bool:
    """Write at the limit; tell whether that took as long as it was told, and never less."""
    limits = Limits(points=88, window=1.6, concurrent=8)
    with GitHub(check=False) as github:
        github.repository("org/app")
        github.limits.enforced, github.limits.points, github.limits.seconds = True, 90, 1
        rig = Rig(github)
        with rig.client(limits=limits) as client, ThreadPoolExecutor(16) as pool:
            client.listing(REPO)
            told = client.estimate(81, 81 + 80 * 4)
            began = time.monotonic()
            list(pool.map(lambda number: client.put(put(REPO, f"S{number}", "x")), range(80)))
            took = time.monotonic() - began
            used = client.used()
        assert github.limits.refused == 0
        assert {sent.status for sent in github.sent} == {200, 201}
        assert github.limits.most_points <= 90
    assert told <= took * 1.1 + 0.3
    return told == pytest.approx(took, rel=0.1, abs=0.3) and used.waited > 4


@pytest.mark.parametrize(("status", "retry_after"), [(403, True), (429, True), (429, False)])
def test_a_limit_that_others_use_up_is_obeyed(status: int, retry_after: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a table
    monkeypatch.setattr("imip_secrets.sync.pacing.FIRST_PAUSE", 0.2)
    with GitHub(check=False) as github:
        github.repository("org/app")
        client = open_github(Rig(github).access())
        refusal = answer(status, '{"message": "You have exceeded a secondary rate limit."}')
        headers = {"Retry-After": "0"} if retry_after else {}
        github.fail(Answer(status, headers, refusal.body), when=lambda request: request.method == "PUT", times=2)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: client.put(put(REPO, f"S{number}", "x")), range(20)))
        used = client.used()
        client.close()
        assert len(github.values("repo:org/app")) == 20
    assert used.refused == 2
    assert used.requests == 23


def test_an_enterprise_server_is_not_paced_by_github_com_s_limits() -> None:
    with GitHub(enterprise=True, check=False) as github:
        github.repository("org/app")
        with Rig(github).client(limits=Limits(points=20, window=60.0)) as client:
            for number in range(10):
                client.put(put(REPO, f"S{number}", "x"))
        assert len(github.values("repo:org/app")) == 10


# --- addresses


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("https://api.github.com", False),
        ("https://api.octocorp.ghe.com", False),
        ("https://github.company.com/api/v3", True),
        ("https://github.company.com/API/v3/", True),
        ("http://127.0.0.1:8080", False),
    ],
)
def test_an_enterprise_server_is_known_by_its_address(address: str, server: bool) -> None:  # noqa: FBT001 - a table
    assert is_enterprise_server(address) is server


def test_over_tls_with_an_authority_of_one_s_own() -> None:
    authority = Authority()
    with GitHub(tls=authority.good()) as github:
        github.repository("org/app")
        rig = Rig(github)
        with rig.client(rig.access(ca=authority.pem)) as client:
            client.put(put(REPO, "A", "a"))
        with rig.client() as client, pytest.raises(StoreError, match="certificate cannot be verified"):
            client.look_up("org", "app")
        assert github.values("repo:org/app") == {"A": "a"}
