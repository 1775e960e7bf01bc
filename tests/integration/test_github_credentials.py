"""A GitHub App's tokens: for what is needed and no more, masked, fresh, revoked; and every way to get none."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from github_rig import EVERYTHING, Rig
from imip_secrets.deadline import Deadline
from imip_secrets.errors import StoreError
from imip_secrets.secret import Secret
from imip_secrets.sync import credentials
from imip_secrets.sync.api import Answer as GivenAnswer
from imip_secrets.sync.base import App, DeniedError, Kind, Put, Reach, Scope
from imip_secrets.sync.credentials import read_key
from imip_secrets.sync.github import open_github
from stand_ins.faults import answer
from stand_ins.github import GitHub
from stand_ins.time_up import end_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stand_ins.github.access import App as StandInApp
    from stand_ins.github.access import Token

REPO = Scope(Kind.REPOSITORY, "org", "app")
ACTIONS = frozenset({(Kind.REPOSITORY, App.ACTIONS)})
ONE = Reach("org", ACTIONS, frozenset({"app"}))


@pytest.fixture
def github() -> Iterator[GitHub]:
    with GitHub() as made:
        for name in ("app", "api", "other"):
            made.repository(f"org/{name}")
        yield made


@pytest.fixture
def rig(github: GitHub) -> Rig:
    return Rig(github)


@pytest.fixture
def app(github: GitHub) -> StandInApp:
    made = github.app(secrets="write", environments="write", metadata="read")
    github.install(made, "org")
    return made


def tokens(github: GitHub) -> list[Token]:
    return [token for token in github.access.tokens.values() if token.kind == "installation"]


def refused(rig: Rig, *reaches: Reach, app: StandInApp, **more: str) -> str:
    client = open_github(rig.access(*reaches or (ONE,), app=app, **more))  # type: ignore[arg-type]  # texts alone here
    with pytest.raises(StoreError) as caught:
        client.login()
    client.close()
    text = str(caught.value)
    assert "\n" not in text
    assert "PRIVATE" not in text
    return text


def test_a_token_is_for_what_is_touched_and_no_more(rig: Rig, app: StandInApp) -> None:
    with rig.client(rig.access(ONE, app=app)) as client:
        (token,) = tokens(rig.github)
        assert token.permissions == {"metadata": "read", "secrets": "write"}
        assert token.repositories == frozenset({rig.github.repository("org/app").id})
        client.put(Put(REPO, "NAME", Secret("value")))
        with pytest.raises(DeniedError):
            client.listing(Scope(Kind.REPOSITORY, "org", "api"))
    assert rig.github.values("repo:org/app") == {"NAME": "value"}


def test_a_token_is_masked_before_it_is_used_and_revoked_at_the_end(rig: Rig, app: StandInApp) -> None:
    client = open_github(rig.access(ONE, app=app))
    assert client.login() == "GitHub App imip-sync at org, for 1 repository, until it is revoked at the end"
    (token,) = tokens(rig.github)
    assert rig.masked == [token.text]
    assert [sent.operation for sent in rig.github.sent] == [
        "GET /orgs/{org}/installation",
        "POST /app/installations/{installation_id}/access_tokens",
    ]
    client.close()
    assert token.revoked
    client.close()
    assert rig.github.counts()["DELETE /installation/token"] == 1


def test_no_owner_keeps_a_token_when_another_s_login_fails(rig: Rig, app: StandInApp) -> None:
    rig.github.repository("elsewhere/app")
    client = open_github(rig.access(ONE, Reach("elsewhere", ACTIONS, frozenset({"app"})), app=app))
    with pytest.raises(DeniedError, match=f"the GitHub App {app.id} is not installed at elsewhere"):
        client.login()
    assert [token.revoked for token in tokens(rig.github)] == [True]


def test_each_owner_has_a_token_of_its_own(rig: Rig, app: StandInApp) -> None:
    rig.github.repository("elsewhere/app")
    rig.github.install(app, "elsewhere")
    with rig.client(rig.access(ONE, Reach("Elsewhere", ACTIONS, frozenset({"app"})), app=app)) as client:
        client.put(Put(REPO, "A", Secret("a")))
        client.put(Put(Scope(Kind.REPOSITORY, "elsewhere", "app"), "B", Secret("b")))
        with pytest.raises(StoreError, match="nobody is logged in for third"):
            client.look_up("third", "app")
    assert rig.github.values("repo:elsewhere/app") == {"B": "b"}
    assert [token.revoked for token in tokens(rig.github)] == [True, True]


def test_an_app_of_a_user_and_a_client_id_will_do(rig: Rig) -> None:
    rig.github.state.account("octocat", "User")
    rig.github.repository("octocat/app")
    made = rig.github.app(secrets="write")
    rig.github.install(made, "octocat")
    reach = Reach("octocat", ACTIONS, frozenset({"app"}))
    with rig.client(rig.access(reach, app=made, app_id=made.client_id)) as client:
        client.put(Put(Scope(Kind.REPOSITORY, "octocat", "app"), "A", Secret("a")))
    assert rig.github.values("repo:octocat/app") == {"A": "a"}


@pytest.mark.parametrize("off", [-7200.0, 7200.0, -90.0, 3000.0])
def test_a_clock_that_is_off_is_allowed_for_and_told(off: float) -> None:
    with GitHub(time=lambda: time.time() + off) as github:
        github.repository("org/app")
        made = github.app(secrets="write")
        github.install(made, "org")
        rig = Rig(github)
        with rig.client(rig.access(ONE, app=made)) as client:
            client.put(Put(REPO, "A", Secret("a")))
        assert len(tokens(github)) == 1
    way = "behind" if off > 0 else "ahead of"
    if abs(off) > 100:
        assert len(rig.said) == 1
        assert rig.said[0].startswith("This machine's clock is ")
        assert rig.said[0].endswith(f" s {way} GitHub's, which is allowed for.")


def test_a_token_that_runs_out_is_made_anew_and_all_are_revoked(
    rig: Rig, app: StandInApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rig.client(rig.access(ONE, app=app, seconds=1000)) as client:
        client.look_up("org", "app")
        assert len(tokens(rig.github)) == 1
        monkeypatch.setattr(credentials, "FRESH_SECONDS", 3500.0)
        monkeypatch.setattr(time, "monotonic", later(200))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: client.look_up("org", "app"), range(16)))
        assert len(tokens(rig.github)) == 2
    assert [token.revoked for token in tokens(rig.github)] == [True, True]
    assert rig.masked == [token.text for token in tokens(rig.github)]


def later(seconds: float) -> object:
    real = time.monotonic
    return lambda: real() + seconds


def test_a_token_is_revoked_even_when_the_time_is_over(rig: Rig, app: StandInApp) -> None:
    access = rig.access(ONE, app=app, seconds=99)
    client = open_github(access)
    client.login()
    end_in(access.deadline, 0)
    with pytest.raises(StoreError, match=r"nothing more is asked, and timeout-seconds \(99\) is over"):
        client.look_up("org", "app")
    rig.github.delay = 0.1
    client.close()
    assert [token.revoked for token in tokens(rig.github)] == [True]
    assert rig.said == []


@pytest.mark.parametrize("fault", ["reset", answer(500)])
def test_a_token_that_cannot_be_revoked_is_told(rig: Rig, app: StandInApp, fault: object) -> None:
    client = open_github(rig.access(ONE, app=app))
    client.login()
    rig.github.fail(fault, when=lambda request: request.method == "DELETE")  # type: ignore[arg-type]  # a step
    client.close()
    why = "no answer" if fault == "reset" else "it answers 500"
    said = f"The token of the GitHub App for org could not be revoked ({why}): it ends by itself within the hour."
    assert rig.said == [said]


def test_a_token_that_somebody_else_revoked_is_not_told(rig: Rig, app: StandInApp) -> None:
    client = open_github(rig.access(ONE, app=app))
    client.login()
    tokens(rig.github)[0].revoked = True
    with pytest.raises(DeniedError, match="does not accept the GitHub App imip-sync"):
        client.look_up("org", "app")
    client.close()
    assert rig.said == []


def test_a_wrong_key_is_told(rig: Rig, app: StandInApp) -> None:
    assert refused(rig, app=app, key=pem(rsa.generate_private_key(65537, 2048))) == (
        f'GitHub does not accept the App {app.id} with this key (it answers 401: "A JSON web token could not be '
        'decoded"). github-app-id and github-app-private-key must be of the same App, and the key one of those that '
        "its settings list: a deleted key is dead. Make a new one there if in doubt."
    )


def test_an_app_that_is_none_is_told(rig: Rig, app: StandInApp) -> None:
    assert 'GitHub does not accept the App 12345 with this key (it answers 404: "Integration not found")' in refused(
        rig, app=app, app_id="12345"
    )


def test_every_permission_that_is_missing_is_named_before_anything_is_asked_for(rig: Rig) -> None:
    made = rig.github.app(secrets="read")
    rig.github.install(made, "org")
    text = refused(rig, Reach("org", EVERYTHING, frozenset({"app"}), properties=True), app=made)
    assert text.startswith('the GitHub App imip-sync lacks the permissions "')
    for permission in (
        '"Secrets: write"',
        '"Environments: write"',
        '"Dependabot secrets: write"',
        '"Codespaces secrets: write"',
        '"Agent secrets: write"',
        '"Secrets: write" (of the organisation)',
        '"Dependabot secrets: write" (of the organisation)',
        '"Custom properties: read" (of the organisation)',
    ):
        assert permission in text
    assert "Add what is missing in the App's settings, and have org accept it" in text
    assert tokens(rig.github) == []


def test_a_suspended_installation_is_told(rig: Rig) -> None:
    made = rig.github.app(secrets="write")
    rig.github.install(made, "org").suspended = True
    assert "the installation of the GitHub App at org is suspended. Unsuspend it" in refused(rig, app=made)


def test_a_repository_that_the_app_has_not_keeps_the_token_from_no_other(rig: Rig) -> None:
    made = rig.github.app(secrets="write")
    rig.github.install(made, "org", "org/app")
    reach = Reach("org", ACTIONS, frozenset({"app", "api", "nothing"}))
    with rig.client(rig.access(reach, app=made)) as client:
        client.put(Put(REPO, "A", Secret("a")))
        for repo in ("api", "nothing"):
            with pytest.raises(DeniedError, match=f"GitHub shows no org/{repo}"):
                client.look_up("org", repo)
    assert rig.github.values("repo:org/app") == {"A": "a"}
    (token,) = tokens(rig.github)
    assert token.repositories == frozenset({rig.github.repository("org/app").id})


def test_an_app_with_none_of_the_repositories_is_told(rig: Rig) -> None:
    made = rig.github.app(secrets="write")
    rig.github.install(made, "org", "org/other")
    reach = Reach("org", ACTIONS, frozenset({"app", "api"}))
    text = refused(rig, reach, app=made)
    assert "the GitHub App imip-sync has none of the repositories that it is to use (org/api, org/app)" in text


def test_more_repositories_than_a_token_can_name_are_not_named(
    rig: Rig, app: StandInApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "MOST_REPOSITORIES", 2)
    with rig.client(rig.access(Reach("org", ACTIONS, frozenset({"app", "api", "other"})), app=app)):
        assert tokens(rig.github)[0].repositories is None
    assert rig.said == [
        "A token can be narrowed to 2 repositories, and 3 are asked for: it is good for all that the App has at org."
    ]


def test_a_match_that_is_found_out_later_has_a_token_for_all(rig: Rig, app: StandInApp) -> None:
    client = open_github(rig.access(Reach("org", ACTIONS), app=app))
    assert client.login() == "GitHub App imip-sync at org, for all its repositories, until it is revoked at the end"
    assert {facts.name for facts in client.repositories("org", properties=False)} == {"app", "api", "other"}
    client.close()


def test_an_enterprise_server_has_apps_too() -> None:
    with GitHub(enterprise=True) as github:
        github.repository("org/app")
        made = github.app(secrets="write")
        github.install(made, "org")
        rig = Rig(github)
        with rig.client(rig.access(ONE, app=made)) as client:
            client.put(Put(REPO, "A", Secret("a")))
        assert github.values("repo:org/app") == {"A": "a"}
        assert all(sent.request.path.startswith("/api/v3/") for sent in github.sent)


@pytest.mark.parametrize("body", ["{}", "[]", '{"id": 1}', '{"id": "1", "permissions": {}}'])
def test_an_installation_that_is_none_is_told(rig: Rig, app: StandInApp, body: str) -> None:
    rig.github.fail(answer(200, body))
    assert "GitHub's answer for the App's installation at org cannot be used" in refused(rig, app=app)


@pytest.mark.parametrize("body", ["{}", "[]", '{"token": ""}', '{"token": 5}'])
def test_an_answer_without_a_token_is_told(rig: Rig, app: StandInApp, body: str) -> None:
    rig.github.fail(answer(201, body), when=lambda request: request.method == "POST")
    assert "holds none" in refused(rig, app=app)


def test_a_login_that_github_refuses_is_told(rig: Rig, app: StandInApp) -> None:
    rig.github.fail(answer(403, '{"message": "no"}'))
    assert "GitHub denies the look-up of the App's installation" in refused(rig, app=app)
    rig.github.fail(answer(403, '{"message": "no"}'), when=lambda request: request.method == "POST")
    assert "GitHub denies a token for org" in refused(rig, app=app)


def test_a_token_that_was_given_is_neither_checked_nor_revoked(rig: Rig) -> None:
    client = open_github(rig.access(ONE))
    assert client.login() == "the token of the input github-token"
    client.look_up("org", "app")
    client.close()
    assert [sent.operation for sent in rig.github.sent] == ["GET /repos/{owner}/{repo}"]


def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


KEY = rsa.generate_private_key(65537, 2048)
PKCS8 = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    "text",
    [
        pem(KEY),
        PKCS8,
        f"\n  {pem(KEY)}\n\n",
        pem(KEY).replace("\n", "\r\n"),
        pem(KEY).strip().replace("\n", "\\n"),
        pem(KEY).replace("\n", " "),
    ],
    ids=["pkcs1", "pkcs8", "white space", "crlf", "escaped", "one line"],
)
def test_a_key_is_read_however_its_lines_end(text: str) -> None:
    assert read_key(Secret(text)).private_numbers() == KEY.private_numbers()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vault://secret/app#key",
        "SHA256:abc=",
        pem(KEY)[:-40],
        KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode(),
        KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        .decode(),
        b"\xff\xfe",
    ],
    ids=["nothing", "reference", "fingerprint", "cut", "passphrase", "public", "curve", "bytes"],
)
def test_what_is_no_key_is_told_and_not_shown(text: str | bytes) -> None:
    with pytest.raises(StoreError) as caught:
        read_key(Secret(text))
    assert str(caught.value).startswith("github-app-private-key holds no RSA private key in PEM form")
    assert not text or str(text)[:30] not in str(caught.value)


@pytest.mark.parametrize("expires", ["2027-01-01T01:00:00Z", "2027-01-01T01:00:00", "", None, 5])
def test_a_token_whose_end_is_not_told_lives_for_an_hour(expires: object) -> None:
    given = GivenAnswer(201, {"date": "Fri, 01 Jan 2027 00:00:00 GMT"})
    assert credentials._lifetime(given, expires) == 3600


def test_revoking_has_a_time_of_its_own() -> None:
    assert Deadline(credentials.REVOKING).remaining() > 1
