from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias
from unittest.mock import Mock

import pytest

from imip_secrets import document
from imip_secrets.errors import ImipError, Problem, StoreError
from imip_secrets.stores.base import KeepingModule, Target
from imip_secrets.stores.vault import kept as vault_kept
from imip_secrets.stores.vault import resume
from stand_ins.faults import Answer, answer, json_answer
from stand_ins.vault_script import CLIENT_TOKEN, Caller, ScriptedVault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imip_secrets.stores.base import Kept
    from imip_secrets.stores.vault.kept import VaultKept
    from stand_ins.faults import Request, Step

LEASE = "database/creds/app/lease-id"


def credentials(path: str = "app", seconds: int = 5400) -> Answer:
    lease = {"lease_id": f"database/creds/{path}/lease-id", "lease_duration": seconds, "renewable": True}
    return json_answer({**lease, "data": {"username": "u"}})


@pytest.fixture
def server() -> Iterator[ScriptedVault]:
    paths: dict[str, Step] = {"database/creds/app": credentials(), "database/creds/short": credentials("short", 600)}
    with ScriptedVault(paths=paths) as running:
        yield running


def kept_by(told: Caller, *names: str) -> VaultKept:
    opened = told.store()
    opened.login()
    for name in names or ("app",):
        opened.fetch(Target(f"database/creds/{name}"))
    kept = opened.close()
    assert kept is not None
    return kept


Login: TypeAlias = "Callable[..., Caller]"


def with_role(server: ScriptedVault, **settings: str) -> Caller:
    return Caller({"vault-addr": server.url, "vault-role": "imip-ci", **settings})


def with_token(server: ScriptedVault, **settings: str) -> Caller:
    return Caller({"vault-addr": server.url, "vault-auth-method": "token", "vault-token": "mine", **settings})


def posted(server: ScriptedVault) -> list[tuple[str, str, object]]:
    """Return what was sent to end something: the path, the token and the body."""
    ends = (request for request in server.requests if "revoke" in request.path)
    return [
        (each.path.removeprefix("/v1/"), each.headers["x-vault-token"], document.parse(each.body.decode() or "null"))
        for each in ends
    ]


def test_the_module_is_one_that_keeps() -> None:
    from imip_secrets.stores import vault  # noqa: PLC0415 - the module itself is what is looked at

    module: KeepingModule = vault
    assert module.resume is resume


def test_a_token_that_leases_hang_on_stays_until_they_are_ended(server: ScriptedVault) -> None:
    told = with_role(server)
    kept = kept_by(told, "app", "short")
    assert posted(server) == []
    # Credentials end with the token that made them, which lives 20 minutes.
    assert kept.what == "database/creds/app for 20m, database/creds/short for 10m"
    assert (kept.store, kept.leases) == ("vault", 2)
    assert kept.end() == ""
    assert posted(server) == [("auth/token/revoke-self", CLIENT_TOKEN, None)]
    assert told.notices == []


@pytest.mark.parametrize("auth", [{}, {"token_type": "batch"}])
def test_a_token_that_is_not_ours_or_cannot_be_revoked_stays_and_each_lease_is_revoked(
    server: ScriptedVault, auth: dict[str, str]
) -> None:
    server.auth.update(auth)
    server.paths["sys/leases/revoke"] = Answer(204)
    kept = kept_by(with_role(server) if auth else with_token(server), "app", "short")
    assert kept.end() == ""
    token = CLIENT_TOKEN if auth else "mine"
    ids = (LEASE, "database/creds/short/lease-id")
    assert posted(server) == [("sys/leases/revoke", token, {"lease_id": name, "sync": True}) for name in ids]


def test_a_lease_is_revoked_in_its_namespace_and_the_token_in_that_of_the_login(server: ScriptedVault) -> None:
    server.paths["sys/leases/revoke"] = Answer(204)
    for told in (with_token(server), with_role(server)):
        opened = told.store()
        opened.login()
        opened.fetch(Target("database/creds/app", namespace="team"))
        kept = opened.close()
        assert kept is not None
        assert kept.end() == ""
    spaces = [request.headers.get("x-vault-namespace") for request in server.requests if "revoke" in request.path]
    assert spaces == ["team", None]


@pytest.mark.parametrize("told", [with_role, with_token])
def test_another_process_ends_what_is_recorded(server: ScriptedVault, told: Login) -> None:
    server.paths["sys/leases/revoke"] = Answer(204)
    settings = {"ca-certificate": "-----BEGIN CERTIFICATE-----", "vault-namespace": "team"}
    first = kept_by(told(server, **settings), "app", "short")
    written = document.compact(first.record())
    first.leave()
    record = document.as_object(written)
    assert record is not None
    later = Caller({})
    second = resume(record, later.context)
    assert (second.what, second.leases) == (first.what, 2)
    assert second.end() == ""
    if told is with_role:
        assert posted(server) == [("auth/token/revoke-self", CLIENT_TOKEN, None)]
        assert later.protected == [CLIENT_TOKEN]
        assert LEASE not in written  # nobody needs it
    else:
        assert [path for path, _, _ in posted(server)] == ["sys/leases/revoke"] * 2
        assert later.protected == ["mine", LEASE, "database/creds/short/lease-id"]
    assert server.requests[-1].headers["x-vault-namespace"] == "team"


def test_a_client_certificate_is_recorded_with_its_key() -> None:
    pems = {f"vault-client-{name}": f"-----BEGIN {name}-----" for name in ("certificate", "key")}
    told = Caller({"vault-addr": "https://127.0.0.1:1", "vault-role": "r", **pems})
    opened = told.store()
    with pytest.raises(ImipError, match="vault-client-certificate with vault-client-key cannot be used"):
        opened.login()
    record = {"settings": {"vault-addr": "https://127.0.0.1:1", **pems}, "token": "t", "by-token": True, "leases": []}
    with pytest.raises(ImipError, match="vault-client-certificate with vault-client-key cannot be used"):
        resume(record, told.context)  # type: ignore[arg-type]  # a JSON object, as far as mypy can see none
    with ScriptedVault(paths={"database/creds/app": credentials()}) as server:
        kept = kept_by(with_role(server, **pems))
        settings = kept.record()["settings"]
        kept.leave()
    assert settings == {"vault-addr": server.url, **pems}


RULE = 'a policy must have path "{}" {{ capabilities = ["update"] }}'


@pytest.mark.parametrize(
    ("told", "reply", "said"),
    [
        (
            with_role,
            json_answer({"errors": ["1 error occurred: * permission denied"]}, 403),
            f"403, 1 error occurred: * permission denied; {RULE.format('auth/token/revoke-self')}",
        ),
        (with_token, json_answer({"errors": []}, 403), f"Vault answers 403; {RULE.format('sys/leases/revoke')}"),
        (with_token, json_answer({"errors": ["no"]}, 400), "Vault answers 400, no"),
        (with_role, "reset", "the connection broke off"),
        (with_role, answer(503), "Vault answers 503"),
    ],
)
def test_what_goes_wrong_at_the_end_is_said(
    server: ScriptedVault, told: Login, reply: Step, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_kept, "SECONDS", 0.3)
    server.script(*[reply] * 9, when=lambda request: "revoke" in request.path)
    assert said in kept_by(told(server)).end()


@pytest.mark.parametrize("word", ["invalid token", "bad token"])
def test_a_token_that_has_ended_has_ended_its_credentials(server: ScriptedVault, word: str) -> None:
    said = {"errors": [f"2 errors occurred:\n\t* permission denied\n\t* {word}\n\n"]}
    server.script(json_answer(said, 403), when=lambda request: "revoke" in request.path)
    kept = kept_by(with_role(server))
    assert kept.end() == ""


def test_every_lease_is_revoked_though_one_cannot_be(server: ScriptedVault) -> None:
    server.paths["sys/leases/revoke"] = Answer(204)
    server.script(json_answer({"errors": ["no"]}, 400), when=lambda request: "revoke" in request.path)
    kept = kept_by(with_token(server), "app", "short")
    assert kept.end() == "Vault answers 400, no"
    assert len(posted(server)) == 2


GOOD = {"settings": {"vault-addr": "https://v.example"}, "token": "t", "by-token": True, "leases": []}


@pytest.mark.parametrize(
    "change",
    [
        {"token": ""},
        {"token": 1},
        {"by-token": "yes"},
        {"leases": {}},
        {"leases": ["database/creds/app"]},
        {"leases": [["path", "", "id", "3600"]]},
        {"settings": {}},
        {"settings": {"vault-addr": "http://elsewhere.example"}},
        {"settings": {"vault-addr": "https://v.example", "vault-role": "r"}},
    ],
)
def test_what_is_no_record_is_refused_before_anything_is_sent(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - it says nothing, for it may hold a token
        resume({**GOOD, **change}, Caller({}).context)  # type: ignore[dict-item]  # wrong on purpose


def test_nothing_shows_a_token_or_a_lease(server: ScriptedVault) -> None:
    kept = kept_by(with_token(server))
    assert LEASE not in kept.what
    assert "mine" not in f"{kept!r} {kept.what} {kept._held!r}"
    assert LEASE not in repr(kept._held)
    kept.leave()


# --- what is under way when the store is closed


def test_credentials_under_way_are_waited_for_so_that_they_can_be_ended(
    server: ScriptedVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imip_secrets.stores import vault  # noqa: PLC0415 - as above

    monkeypatch.setattr(vault, "_SETTLE_SECONDS", 60.0)
    began = threading.Event()

    def slowly(request: Request) -> bool:
        if request.path == "/v1/database/creds/app":
            began.set()
            time.sleep(0.3)
        return False

    server.script(Answer(200), when=slowly)
    opened = with_role(server).store()
    opened.login()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(opened.fetch, Target("database/creds/app"))
        assert began.wait(60)
        kept = opened.close()
        assert kept is not None
        assert kept.leases == 1
        assert posted(server) == []
        assert found.result().lease is not None
    assert kept.end() == ""


def test_credentials_that_do_not_come_are_not_waited_for_for_ever(
    server: ScriptedVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imip_secrets.stores import vault  # noqa: PLC0415 - as above

    monkeypatch.setattr(vault, "_SETTLE_SECONDS", 0.1)
    server.script("hang", when=lambda request: request.path == "/v1/database/creds/app")
    opened = with_role(server).store()
    opened.login()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(opened.fetch, Target("database/creds/app"))
        while "/v1/database/creds/app" not in [request.path for request in server.requests]:
            time.sleep(0.01)
        assert opened.close() is None
        assert posted(server) == [("auth/token/revoke-self", CLIENT_TOKEN, None)]
        server.stopping.set()
        assert isinstance(found.exception(), StoreError)


@pytest.mark.parametrize("body", [None, "{}"])
def test_nothing_is_made_for_a_run_that_is_over(server: ScriptedVault, body: str | None) -> None:
    opened = with_token(server).store()
    opened.login()
    assert opened.close() is None
    with pytest.raises(StoreError, match="database/creds/app was not asked for credentials, since the run was over"):
        opened.fetch(Target("database/creds/app", body=body))
    assert "/v1/database/creds/app" not in [request.path for request in server.requests]
    opened._client.result().close()


def test_a_lease_without_data_is_ended_too(server: ScriptedVault) -> None:
    server.paths["database/creds/odd"] = json_answer({"lease_id": LEASE, "lease_duration": 60, "data": None})
    opened = with_role(server).store()
    opened.login()
    with pytest.raises(StoreError, match="without data"):
        opened.fetch(Target("database/creds/odd"))
    kept = opened.close()
    assert kept is not None
    assert kept.end() == ""
    assert len(posted(server)) == 1


def test_what_will_end_credentials_is_told_once_and_before_any_are_made(server: ScriptedVault) -> None:
    server.secrets["secret/a"] = '{"K": "v"}'
    told, asked = with_role(server), []
    records: list[dict[str, document.Json]] = []

    def foretell(kept: Kept) -> None:
        asked.append(len(server.asked()))
        records.append(kept.record())

    told.context.foretell = foretell
    store = told.store()
    store.login()
    store.fetch(Target("secret/a"))
    assert records == []
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(store.fetch, [Target("database/creds/app")] * 4 + [Target("database/creds/short")] * 4))
    kept = store.close()
    (record,) = records
    assert not any("/creds/" in path and "ui/mounts" not in path for path in server.asked()[: asked[0]])
    assert kept is not None
    kept.leave()
    other = Caller({})
    assert resume(record, other.context).end() == ""
    assert posted(server) == [("auth/token/revoke-self", CLIENT_TOKEN, None)]


@pytest.mark.parametrize("login", [with_token, with_role])
def test_of_a_token_that_cannot_be_ended_nothing_is_told(server: ScriptedVault, login: Login) -> None:
    server.auth["token_type"] = "batch"
    told = login(server)
    told.context.foretell = lambda _: pytest.fail("it is not ours to end, or cannot be")
    kept_by(told).leave()


def test_what_cannot_be_told_makes_no_credentials(server: ScriptedVault) -> None:
    told = with_role(server)
    told.context.foretell = Mock(side_effect=ImipError(Problem("no room")))
    store = told.store()
    store.login()
    for _ in range(2):
        with pytest.raises(ImipError, match="no room"):
            store.fetch(Target("database/creds/app"))
    assert store.close() is None
    assert "database/creds/app" not in server.asked()
