from __future__ import annotations

import datetime as dt
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imip_secrets.errors import ImipError, MissingError, StoreError
from imip_secrets.settings import Settings
from imip_secrets.stores.base import StoreModule, Target
from imip_secrets.stores.vault import check, open_store
from imip_secrets.stores.vault import reader as vault_reader
from stand_ins.faults import Answer, FaultServer, answer, json_answer
from stand_ins.vault_script import CLIENT_TOKEN, Caller, Quick, ScriptedVault, versioned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imip_secrets.stores.vault import VaultStore
    from stand_ins.faults import Request, Step

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----"
KEY = "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----"
GOOD = {"vault-addr": "https://vault.example.com:8200", "vault-role": "imip-ci"}
BARE = {"vault-addr": "https://vault.example.com:8200"}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))


@pytest.fixture
def server() -> Iterator[ScriptedVault]:
    with ScriptedVault({"secret/imip/production": '{"A": "x"}', "kv/old": '{"B": "y"}'}) as running:
        yield running


def caller(server: FaultServer, **settings: str) -> Caller:
    return Caller({"vault-addr": server.url, "vault-role": "imip-ci", **settings})


@pytest.fixture
def store(server: ScriptedVault) -> Iterator[VaultStore]:
    opened = caller(server).store()
    opened.login()
    yield opened
    kept = opened.close()
    if kept:
        kept.leave()


def problems(settings: dict[str, str], *targets: Target) -> list[str]:
    return [str(problem) for _, problem in check(Settings(settings), targets)]


def test_the_module_is_a_store_module() -> None:
    from imip_secrets.stores import vault  # noqa: PLC0415 - the module itself is what is looked at

    module: StoreModule = vault
    assert module.open_store is open_store


def test_good_settings_and_targets_have_no_problems() -> None:
    settings = {**GOOD, "vault-ca-certificate": CERTIFICATE, "vault-namespace": "admin/team-a/"}
    settings |= {"vault-client-certificate": CERTIFICATE, "vault-client-key": KEY}
    targets = [Target("secret/a"), Target("secret/"), Target("a/b/c-"), Target("s/x", version="3", namespace="ns/")]
    assert problems(settings, *targets) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"vault-role": "r"}, "input vault-addr: it is missing"),
        ({**GOOD, "vault-addr": "https://v.example/v1/"}, "it ends in /v1"),
        ({"vault-addr": GOOD["vault-addr"]}, "input vault-role: it is missing"),
        ({**GOOD, "vault-auth-method": "token"}, "input vault-token: it is missing"),
        ({**GOOD, "vault-auth-method": "approle"}, "input vault-role-id: it is missing"),
        ({**GOOD, "vault-auth-method": "github"}, "input vault-github-token: it is missing"),
        ({**BARE, "vault-auth-method": "kubernetes"}, "input vault-role: it is missing"),
        ({**GOOD, "vault-auth-method": "ldap", "vault-username": "x"}, "input vault-password: it is missing"),
        ({**GOOD, "vault-auth-method": "ldap", "vault-password": "x"}, "input vault-username: it is missing"),
        (
            {**GOOD, "vault-auth-method": "userpass", "vault-username": "a/../b", "vault-password": "x"},
            "input vault-username: it is no name of a user",
        ),
        (
            {**BARE, "vault-role-id": "x"},
            "input vault-auth-method: it is missing, while vault-role-id is given. Write vault-auth-method: approle.",
        ),
        ({**BARE, "vault-username": "x"}, "Write vault-auth-method: userpass."),
        ({**BARE, "vault-github-token": "x"}, "Write vault-auth-method: github."),
        ({**GOOD, "vault-auth-path": "auth/github"}, "vault-auth-path: github"),
        ({**GOOD, "vault-namespace": "a b"}, "input vault-namespace"),
        ({**GOOD, "vault-namespace": "ä"}, "input vault-namespace"),
        ({**GOOD, "vault-ca-certificate": "/etc/ca.pem"}, "input vault-ca-certificate: it is no PEM certificate"),
        ({**GOOD, "ca-certificate": KEY}, "input ca-certificate: it is no PEM certificate"),
        ({**GOOD, "vault-client-certificate": CERTIFICATE}, "input vault-client-key: it is missing"),
        ({**GOOD, "vault-client-key": KEY}, "input vault-client-certificate: it is missing"),
        (
            {**GOOD, "vault-client-certificate": CERTIFICATE, "vault-client-key": "hunter2"},
            "input vault-client-key: it is no PEM private key",
        ),
    ],
)
def test_each_wrong_setting_is_one_problem(settings: dict[str, str], said: str) -> None:
    found = problems(settings)
    assert len(found) == 1
    assert said in found[0]
    assert "hunter2" not in found[0]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Target("secret"), "MOUNT/PATH, such as vault://secret/secret"),
        (Target(""), "empty"),
        (Target("/"), "empty"),
        (Target("secret//x"), "empty"),
        (Target("secret/../sys/x"), "dots"),
        (Target("secret/./x"), "dots"),
        (Target("secret/x", version="0"), "no version"),
        (Target("secret/x", version="v3"), "no version"),
        (Target("secret/x", version="²"), "no version"),
        (Target("secret/x", namespace="a\nb"), "namespace"),
        (Target("secret/x", version="1", body="{}"), "version means a secret, and body an engine"),
    ],
)
def test_each_wrong_target_is_one_problem_of_that_target(target: Target, said: str) -> None:
    found = list(check(Settings(GOOD), [Target("secret/fine"), target]))
    assert [which for which, _ in found] == [target]
    assert said in str(found[0][1])


def test_a_token_without_a_role_is_the_login_by_token(tmp_path: Path) -> None:
    assert problems({"vault-addr": GOOD["vault-addr"], "vault-token": "t"}) == []
    (tmp_path / ".vault-token").write_text("t")
    assert problems({"vault-addr": GOOD["vault-addr"], "vault-auth-method": "token"}) == []


def test_a_token_file_makes_no_job_a_person(tmp_path: Path) -> None:
    (tmp_path / ".vault-token").write_text("t")
    assert "input vault-role" in str(problems({"vault-addr": GOOD["vault-addr"]}))


def test_a_secret_of_version_2_comes_with_its_version_and_age(store: VaultStore) -> None:
    found = store.fetch(Target("secret/imip/production"))
    assert found.value.reveal() == '{"A":"x"}'
    assert (found.is_data, found.version, found.lease) == (True, "3", None)
    assert found.changed == dt.datetime(2026, 11, 24, 4, 1, 9, tzinfo=dt.timezone.utc)


def test_a_secret_of_version_1_has_neither(store: VaultStore) -> None:
    found = store.fetch(Target("kv/old"))
    assert (found.value.reveal(), found.is_data, found.version, found.changed) == ('{"B":"y"}', True, "", None)


def test_numbers_order_and_letters_come_as_they_are_written(server: ScriptedVault, store: VaultStore) -> None:
    written = '{"z":1.10,"a":1e400,"n":12345678901234567890123,"ü":"€ \\" \\\\","l":[true,null,{"q":-0.0}]}'
    server.secrets["secret/n"] = written
    assert store.fetch(Target("secret/n")).value.reveal() == written


def test_an_odd_path_arrives_as_it_is_written(server: ScriptedVault, store: VaultStore) -> None:
    path = "imip/a b#c?d%2Fe+ü&=*'(~)"
    with pytest.raises(MissingError):
        store.fetch(Target(f"secret/{path}"))
    assert server.asked()[-1] == "secret/data/imip/a%20b%23c%3Fd%252Fe%2B%C3%BC%26%3D%2A%27%28~%29"


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).filter(lambda s: s.strip("./")))
@settings(deadline=None)
def test_a_path_that_passes_the_check_stays_within_its_mount(name: str) -> None:
    from urllib.parse import unquote  # noqa: PLC0415

    target = Target(f"secret/{name}")
    if problems(GOOD, target) or name.endswith("/"):
        return
    with FaultServer(json_answer({"errors": []}, 404)) as server:
        opened = caller(server, **{"vault-auth-method": "token", "vault-token": "t"}).store()
        opened.login()
        with pytest.raises(MissingError):
            opened.fetch(target)
        opened.close()
        assert unquote(server.requests[1].target) == f"/v1/secret/data/{name}"


def test_the_mount_is_asked_for_once_by_many_threads(server: ScriptedVault, store: VaultStore) -> None:
    server.secrets |= {f"secret/s{number}": f'{{"N": {number}}}' for number in range(64)}
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(store.fetch, [Target(f"secret/s{number}") for number in range(64)]))
    assert [each.value.reveal() for each in found] == [f'{{"N":{number}}}' for number in range(64)]
    assert sum("ui/mounts" in path for path in server.asked()) == 1
    assert len(server.asked()) == 65


def test_the_mount_is_found_by_shape_where_vault_does_not_tell(server: ScriptedVault, store: VaultStore) -> None:
    denied = json_answer({"errors": ["permission denied"]}, 403)
    server.script(*[denied] * 9, when=lambda request: "ui/mounts" in request.path)
    assert store.fetch(Target("secret/imip/production")).version == "3"
    assert store.fetch(Target("secret/imip/production")).version == "3"
    assert sum("ui/mounts" in path for path in server.asked()) == 1
    assert server.asked()[1:] == ["secret/data/imip/production"] * 3


def test_a_deep_mount_and_version_1_are_found_by_shape_too(server: ScriptedVault, store: VaultStore) -> None:
    server.paths["team/a/data/x/y"] = json_answer(
        {"data": {"data": {"K": "v"}, "metadata": {"created_time": "", "version": 1}}}
    )
    assert store.fetch(Target("team/a/x/y")).value.reveal() == '{"K":"v"}'
    server.paths["team/old"] = json_answer({"data": {"K": "w"}})
    assert store.fetch(Target("team/old")).value.reveal() == '{"K":"w"}'


def test_what_vault_does_not_tell_is_asked_for_once(server: ScriptedVault, store: VaultStore) -> None:
    server.paths |= {"team/old": json_answer({"data": {"K": "w"}}), "team/new": json_answer({"data": {"K": "w"}})}
    store.fetch(Target("team/old"))
    store.fetch(Target("team/new"))
    assert sum("ui/mounts" in path for path in server.asked()) == 1


def test_where_nothing_is_told_a_path_of_the_api_is_refused(server: ScriptedVault, store: VaultStore) -> None:
    server.script(answer(403), when=lambda request: "ui/mounts" in request.path)
    server.paths["secret/data/data/imip/production"] = answer(403)
    server.paths["secret/data/imip/data/production"] = answer(403)
    server.paths["secret/data/imip/production"] = server._read("secret/imip/production", versioned=True)
    with pytest.raises(MissingError, match=r"vault://secret/imip/production\.$"):
        store.fetch(Target("secret/data/imip/production"))


def test_a_sick_vault_is_not_taken_for_a_silent_one(server: ScriptedVault, store: VaultStore) -> None:
    server.paths["sys/internal/ui/mounts/secret/a"] = answer(500)
    with pytest.raises(StoreError, match="answers 500"):
        store.fetch(Target("secret/a"))


def test_a_mount_that_does_not_hold_the_path_is_not_believed(server: ScriptedVault, store: VaultStore) -> None:
    server.paths["sys/internal/ui/mounts/team/x"] = json_answer({"data": {"path": "other/", "type": "kv"}})
    server.paths["team/x"] = json_answer({"data": {"K": "v"}})
    assert store.fetch(Target("team/x")).value.reveal() == '{"K":"v"}'


def test_dynamic_credentials_come_with_their_lease_from_one_read(server: ScriptedVault, store: VaultStore) -> None:
    server.paths["database/creds/imip-app"] = json_answer(
        {"lease_id": "database/creds/imip-app/1", "lease_duration": 600, "renewable": True, "data": {"username": "u"}}
    )
    found = store.fetch(Target("database/creds/imip-app"))
    assert found.value.reveal() == '{"username":"u"}'
    assert found.lease is not None
    assert (found.lease.id.reveal(), found.lease.seconds, found.lease.renewable) == (
        "database/creds/imip-app/1",
        600,
        True,
    )
    assert server.asked() == ["sys/internal/ui/mounts/database/creds/imip-app", "database/creds/imip-app"]


def test_an_engine_that_wants_a_body_gets_it_once(server: ScriptedVault, store: VaultStore) -> None:
    server.paths["pki/issue/imip"] = json_answer({"lease_id": "", "data": {"certificate": "C", "private_key": "K"}})
    found = store.fetch(Target("pki/issue/imip", body='{"common_name":"ü"}'))
    assert (found.value.reveal(), found.is_data, found.lease) == ('{"certificate":"C","private_key":"K"}', True, None)
    (request,) = [request for request in server.requests if request.path == "/v1/pki/issue/imip"]
    assert (request.method, request.body.decode()) == ("POST", '{"common_name":"ü"}')
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["secret/imip/production", "kv/old", "elsewhere/x"])
def test_nothing_is_sent_to_where_it_could_overwrite_a_secret(
    server: ScriptedVault, store: VaultStore, path: str
) -> None:
    with pytest.raises(StoreError) as caught:
        store.fetch(Target(path, body='{"A":"overwritten"}'))
    assert [request.path for request in server.requests if request.method == "POST"] == ["/v1/auth/jwt/login"]
    said = str(caught.value)
    if path == "elsewhere/x":
        assert "could overwrite a secret of a KV engine" in said
        assert f'path "{path}" {{ capabilities = ["update"] }}.' in said
    else:
        assert f"{path} is in a KV engine, where body would overwrite a secret. Leave body out" in said


def test_a_denied_request_with_a_body_names_the_rule_to_write(server: ScriptedVault, store: VaultStore) -> None:
    server.paths["pki/issue/imip"] = json_answer({"errors": ["1 error occurred:\n\t* permission denied\n\n"]}, 403)
    with pytest.raises(StoreError) as caught:
        store.fetch(Target("pki/issue/imip", body="{}"))
    assert str(caught.value).startswith("Vault denies sending body to pki/issue/imip. Allow it in a policy of the role")
    assert str(caught.value).endswith('path "pki/issue/imip" { capabilities = ["update"] }.')


@pytest.mark.parametrize("fault", ["close", "reset", answer(500), answer(503)])
def test_a_body_is_never_sent_twice_once_vault_may_have_begun(
    server: ScriptedVault, store: VaultStore, fault: Step
) -> None:
    server.script(fault, when=lambda request: request.path == "/v1/pki/issue/imip")
    with pytest.raises(StoreError):
        store.fetch(Target("pki/issue/imip", body="{}"))
    assert [request.path for request in server.requests].count("/v1/pki/issue/imip") == 1


def test_a_body_is_sent_again_where_vault_says_that_it_has_not_begun(server: ScriptedVault, store: VaultStore) -> None:
    server.paths["pki/issue/imip"] = json_answer({"data": {"certificate": "C"}})
    server.script(answer(429), answer(473), when=lambda request: request.path == "/v1/pki/issue/imip")
    assert store.fetch(Target("pki/issue/imip", body="{}")).value.reveal() == '{"certificate":"C"}'


def test_an_answer_to_a_body_without_data_is_an_error(server: ScriptedVault, store: VaultStore) -> None:
    server.paths["pki/issue/imip"] = json_answer({"data": None})
    with pytest.raises(StoreError, match="without data"):
        store.fetch(Target("pki/issue/imip", body="{}"))


def test_a_version_is_asked_for_and_named(server: ScriptedVault, store: VaultStore) -> None:
    store.fetch(Target("secret/imip/production", version="2"))
    assert server.asked()[-1] == "secret/data/imip/production?version=2"


def failure(store: VaultStore, target: Target, kind: type[StoreError] = StoreError) -> str:
    with pytest.raises(kind) as caught:
        store.fetch(target)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("target", "reply", "said"),
    [
        (Target("secret/x"), json_answer({"errors": []}, 404), "vault kv put -mount=secret x KEY=VALUE"),
        (
            Target("secret/x"),
            versioned(deletion_time="2026-11-24T05:00:00Z"),
            "deleted (since 2026-11-24). Bring it back (vault kv undelete -mount=secret -versions=1 x), or",
        ),
        (Target("secret/x"), versioned(destroyed=True), "version 1 of secret/x is destroyed for good. Name another"),
        (Target("secret/data/x"), json_answer({"errors": []}, 404), "leave it out: vault://secret/x."),
    ],
)
def test_what_is_missing_is_told_apart(
    server: ScriptedVault, store: VaultStore, target: Target, reply: Step, said: str
) -> None:
    server.paths[f"secret/data/{target.path.removeprefix('secret/')}"] = reply
    assert said in failure(store, target, MissingError)


def test_a_version_that_never_was_is_told_from_a_secret_that_never_was(
    server: ScriptedVault, store: VaultStore
) -> None:
    missing = json_answer({"errors": []}, 404)
    server.script(missing, missing, when=lambda request: request.query.get("version") == "9")
    said = failure(store, Target("secret/imip/production", version="9"), MissingError)
    assert "has no version 9. The current version is 3" in said
    assert "there is nothing at" in failure(store, Target("secret/none", version="9"), MissingError)


def test_missing_paths_of_other_engines_are_missing(store: VaultStore) -> None:
    assert "there is nothing at kv/none" in failure(store, Target("kv/none"), MissingError)
    assert "there is nothing at database/none. Correct the path." in failure(
        store, Target("database/none"), MissingError
    )
    assert "is a folder. Write vault://secret/imip/*" in failure(store, Target("secret/imip/"), MissingError)


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("secret/imip/x", 'path "secret/data/imip/x" { capabilities = ["read"] }.'),
        ("kv/x", 'path "kv/x" { capabilities = ["read"] }.'),
        ("database/creds/x", 'path "database/creds/x" { capabilities = ["read"] }.'),
        (
            "team/x",
            'path "team/data/x" { capabilities = ["read"] }, in KV version 1 path "team/x" { capabilities = ["re',
        ),
    ],
)
def test_a_denied_read_names_the_rule_to_write(server: ScriptedVault, store: VaultStore, path: str, rule: str) -> None:
    denied = json_answer({"errors": ["1 error occurred:\n\t* permission denied\n\n"]}, 403)
    server.script(*[denied] * 9, when=lambda request: "ui/mounts" not in request.path)
    said = failure(store, Target(path))
    assert said.startswith(f"Vault denies reading {path}. Allow it in a policy of the role imip-ci")
    assert "(its token has default, imip)" in said
    assert rule in said
    assert ("Vault tells of no engine at team/: look at the spelling too." in said) == (path == "team/x")


def test_a_denied_path_of_the_api_says_so(server: ScriptedVault, store: VaultStore) -> None:
    server.paths["secret/data/data/x"] = answer(403)
    assert "leave it out: vault://secret/x." in failure(store, Target("secret/data/x"))


def test_more_than_permission_denied_is_shown(server: ScriptedVault, store: VaultStore) -> None:
    server.paths["secret/data/x"] = json_answer({"errors": ["::add-mask::x\n##[group]lease count quota"]}, 403)
    assert "(: :add-mask: :x ## [group]lease count quota)" in failure(store, Target("secret/x"))


NO_ROUTE = json_answer({"errors": ['no handler for route "kv/x". route entry not found.']}, 404)
NO_NAMESPACE = json_answer({"errors": ["namespace not found"]}, 404)


@pytest.mark.parametrize(
    ("path", "reply", "said"),
    [
        ("kv/x", NO_ROUTE, "no secrets engine is mounted at kv/ in the root namespace"),
        ("kv/x", NO_NAMESPACE, "knows no namespace"),
        ("secret/x", NO_NAMESPACE, "knows no namespace"),
        ("database/x", json_answer({"errors": ["unknown role: x"]}, 400), "Vault refuses database/x: unknown role: x."),
        ("database/x", answer(400), "Vault refuses database/x: it gives no reason."),
        (
            "database/x",
            json_answer({"errors": ["unsupported operation"]}, 405),
            "it cannot be read: unsupported operation",
        ),
        ("kv/x", json_answer({"errors": []}, 429), "asked too often"),
        ("kv/x", answer(412), "not caught up"),
        ("kv/x", answer(472), "disaster recovery"),
        ("kv/x", answer(473), "performance standby"),
        ("kv/x", answer(501), "vault operator init"),
        ("kv/x", answer(502, "<html>"), "answers 502, it is not well. Look at its log"),
        ("kv/x", answer(418), "answers 418, it is not well"),
        ("kv/x", json_answer({"data": None}), "without data"),
        ("secret/x", json_answer({"data": {"data": None}}), "without data"),
        ("kv/x", Answer(204), "without data"),
    ],
)
def test_each_refusal_has_its_text(server: ScriptedVault, store: VaultStore, path: str, reply: Step, said: str) -> None:
    server.paths[path.replace("secret/", "secret/data/")] = reply
    assert said in failure(store, Target(path))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (json_answer({"initialized": True, "sealed": True}), "it is sealed: Vault is sealed. Unseal it"),
        (json_answer({"initialized": False, "sealed": True}), "it is not initialised: Vault is sealed. Initialise it"),
        (json_answer({"initialized": True, "sealed": False}), "it is not well: Vault is sealed."),
        ("reset", "it is not well: Vault is sealed."),
    ],
)
def test_a_vault_that_is_down_is_asked_why(server: ScriptedVault, store: VaultStore, status: Step, said: str) -> None:
    server.paths |= {"kv/x": json_answer({"errors": ["Vault is sealed"]}, 503), "sys/seal-status": status}
    assert said in failure(store, Target("kv/x"))


def test_a_version_is_refused_where_there_are_none(server: ScriptedVault, store: VaultStore) -> None:
    assert "is in KV version 1, which keeps no versions" in failure(store, Target("kv/old", version="1"))
    assert "is in no KV engine, which keeps no versions" in failure(store, Target("database/creds/x", version="1"))
    assert 'path "team/data/x"' in failure(store, Target("team/x", version="1"))
    assert not any("creds/x" in path for path in server.asked() if "ui/mounts" not in path)


def test_the_namespace_of_the_option_beats_that_of_the_input(server: ScriptedVault) -> None:
    opened = caller(server, **{"vault-namespace": "admin/"}).store()
    opened.login()
    opened.fetch(Target("secret/imip/production"))
    opened.fetch(Target("secret/imip/production", namespace="team/a"))
    with pytest.raises(MissingError, match="secret/none in namespace team/a"):
        opened.fetch(Target("secret/none", namespace="team/a"))
    opened.close()
    sent = [(request.method, request.headers.get("x-vault-namespace")) for request in server.requests]
    assert sent == [("POST", "admin")] + [("GET", "admin")] * 2 + [("GET", "team/a")] * 3 + [("POST", "admin")]


def listing(*keys: object) -> Answer:
    return json_answer({"data": {"keys": list(keys)}})


def paths_of(store: VaultStore, start: str, *, deep: bool = False) -> list[str]:
    return [target.path for target in store.list(Target(start), deep=deep)]


def test_a_listing_gives_what_continues_the_text_in_order(server: ScriptedVault, store: VaultStore) -> None:
    server.secrets |= dict.fromkeys(("secret/imip-b", "secret/imip-a", "secret/imip-x/c", "secret/other"), '{"K": "v"}')
    server.paths["secret/metadata"] = listing("other", "imip-b", "imip-x/", "imip-a", "im/")
    server.paths["secret/metadata/imip-x"] = listing("c", "d/")
    assert paths_of(store, "secret/imip-") == ["secret/imip-a", "secret/imip-b"]
    assert paths_of(store, "secret/imip-", deep=True) == ["secret/imip-a", "secret/imip-b", "secret/imip-x/c"]
    assert paths_of(store, "secret/") == ["secret/imip-a", "secret/imip-b", "secret/other"]
    assert "secret/metadata/im" not in server.asked("LIST")


def test_a_listing_of_version_1_works_alike(server: ScriptedVault, store: VaultStore) -> None:
    server.secrets |= {"kv/a/b": '{"K": "v"}'}
    server.paths |= {"kv": listing("a/", "old"), "kv/a": listing("b")}
    assert paths_of(store, "kv/", deep=True) == ["kv/a/b", "kv/old"]


def test_a_folder_that_is_not_there_is_an_empty_listing(store: VaultStore) -> None:
    assert paths_of(store, "secret/none/", deep=True) == []


def test_deleted_secrets_are_left_out_and_the_others_read_once(server: ScriptedVault, store: VaultStore) -> None:
    server.paths |= {
        "secret/metadata/imip": listing("production", "deleted", "denied"),
        "secret/data/imip/deleted": versioned(deletion_time="2026-11-24T05:00:00Z"),
        "secret/data/imip/denied": answer(403),
    }
    found = store.list(Target("secret/imip/"), deep=False)
    assert [target.path for target in found] == ["secret/imip/denied", "secret/imip/production"]
    assert "denies reading" in failure(store, found[0])
    assert store.fetch(found[1]).value.reveal() == '{"A":"x"}'
    assert server.asked().count("secret/data/imip/production") == 1
    store.fetch(found[1])
    assert server.asked().count("secret/data/imip/production") == 2


def test_listed_targets_keep_the_namespace(server: ScriptedVault, store: VaultStore) -> None:
    server.paths["secret/metadata/imip"] = listing("production")
    assert store.list(Target("secret/imip/", namespace="ns"), deep=False) == [
        Target("secret/imip/production", namespace="ns")
    ]


@pytest.mark.parametrize(("start", "rule"), [("secret/imip/", "secret/metadata/imip/*"), ("kv/", "kv/*")])
def test_a_denied_listing_names_the_rule_to_write(
    server: ScriptedVault, store: VaultStore, start: str, rule: str
) -> None:
    server.script(*[answer(403)] * 2, when=lambda request: request.method == "LIST")
    with pytest.raises(StoreError) as caught:
        store.list(Target(start), deep=False)
    assert f"denies listing {start}. Allow it in a policy of the role imip-ci" in str(caught.value)
    assert f'path "{rule}" {{ capabilities = ["list"] }}.' in str(caught.value)


def test_a_denied_folder_fails_a_deep_listing(server: ScriptedVault, store: VaultStore) -> None:
    server.paths |= {"secret/metadata/imip": listing("sub/"), "secret/metadata/imip/sub": answer(403)}
    with pytest.raises(StoreError, match="denies listing secret/imip/sub/"):
        store.list(Target("secret/imip/"), deep=True)


def test_a_listing_finds_the_engine_by_shape(server: ScriptedVault, store: VaultStore) -> None:
    server.paths |= {"team/a/metadata/x": listing(), "old/x": listing()}
    assert paths_of(store, "team/a/x/") == []
    assert paths_of(store, "old/x/") == []
    assert server.asked("LIST")[-3:] == ["old/metadata/x", "old/x/metadata", "old/x"]


def test_only_kv_engines_are_listed(server: ScriptedVault, store: VaultStore) -> None:
    with pytest.raises(StoreError, match="no KV engine"):
        store.list(Target("database/creds/"), deep=False)
    assert server.asked("LIST") == []


@pytest.mark.parametrize("name", ["..", "../x", "a/b", ".", "", "a\nb", "/", "a//"])
def test_hostile_names_end_a_listing(server: ScriptedVault, store: VaultStore, name: str) -> None:
    server.paths["secret/metadata/imip"] = listing("fine", name)
    with pytest.raises(StoreError, match="holds a name that no path can hold"):
        store.list(Target("secret/imip/"), deep=True)


def test_what_is_no_name_is_no_name(server: ScriptedVault, store: VaultStore) -> None:
    server.paths["secret/metadata/imip"] = listing("production", 5, None)
    assert paths_of(store, "secret/imip/") == ["secret/imip/production"]
    server.paths["secret/metadata/imip"] = json_answer({"data": {"keys": "production"}})
    assert paths_of(store, "secret/imip/") == []


def test_an_endless_listing_ends(server: ScriptedVault, store: VaultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_reader, "MAX_LISTED", 10)
    server.script(*[listing("a/", "b/")] * 99, when=lambda request: request.method == "LIST")
    with pytest.raises(StoreError, match="comes to more than 10 names"):
        store.list(Target("secret/imip/"), deep=True)


def test_the_token_that_was_made_is_revoked_once(server: ScriptedVault) -> None:
    told = caller(server)
    opened = told.store()
    opened.login()
    opened.close()
    last = server.requests[-1]
    assert (last.method, last.path) == ("POST", "/v1/auth/token/revoke-self")
    assert last.headers["x-vault-token"] == CLIENT_TOKEN
    assert told.notices == []


def test_a_token_given_by_hand_is_not_revoked(server: ScriptedVault) -> None:
    told = caller(server, **{"vault-auth-method": "token", "vault-token": "mine"})
    opened = told.store()
    opened.login()
    opened.close()
    assert server.requests == []
    assert told.notices == []


def test_a_batch_token_is_not_revoked_and_the_log_says_so() -> None:
    with ScriptedVault(auth={"token_type": "batch"}) as server:
        told = caller(server)
        opened = told.store()
        opened.login()
        opened.close()
        assert server.asked("POST") == ["auth/jwt/login"]
    assert told.notices == ["the Vault token is a batch token, which cannot be revoked: it ends in 20m"]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (json_answer({"errors": ["permission denied"]}, 403), "(status 403, permission denied): it ends in 20m"),
        (answer(404), "(status 404): it ends in 20m"),
        ("reset", "the connection broke off"),
    ],
)
def test_a_revocation_that_fails_is_a_notice(
    server: ScriptedVault, reply: Step, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imip_secrets.stores import vault  # noqa: PLC0415

    monkeypatch.setattr(vault, "_REVOKE_SECONDS", 2.0 if reply == "reset" else 60.0)
    server.script(*[reply] * 9, when=lambda request: request.path.endswith("revoke-self"))
    told = caller(server)
    opened = told.store()
    opened.login()
    opened.close()
    assert len(told.notices) == 1
    assert told.notices[0].startswith("the Vault token could not be revoked (")
    assert said in told.notices[0]


def test_the_token_is_revoked_though_the_time_is_up(server: ScriptedVault, monkeypatch: pytest.MonkeyPatch) -> None:
    from imip_secrets.stores import vault  # noqa: PLC0415

    monkeypatch.setattr(vault, "_REVOKE_SECONDS", 60.0)
    told = caller(server)
    opened = told.store()
    opened.login()
    told.deadline._end = 0

    def slowly(request: Request) -> bool:
        time.sleep(0.05)
        return request.path.endswith("revoke-self")

    server.script(Answer(204), when=slowly)
    opened.close()
    assert told.notices == []
    assert server.asked("POST")[-1] == "auth/token/revoke-self"


def test_closing_without_a_login_is_quiet(server: ScriptedVault) -> None:
    told = caller(server)
    told.store().close()
    assert server.requests == []
    assert told.notices == []


def test_closing_a_store_that_could_not_be_made_is_quiet() -> None:
    told = Caller({"vault-addr": "https://127.0.0.1:1", "vault-role": "r", "vault-ca-certificate": CERTIFICATE})
    opened = told.store()
    with pytest.raises(ImipError, match="vault-ca-certificate cannot be used"):
        opened.login()
    opened.close()
    assert told.notices == []


def test_nothing_shows_a_value_or_a_token(server: ScriptedVault) -> None:
    told = caller(server)
    opened = told.store()
    line = opened.login()
    found = opened.fetch(Target("secret/imip/production"))
    assert CLIENT_TOKEN not in line + repr(opened._session) + repr(found)
    assert "x" not in repr(found.value)
    opened.close()


def test_no_time_left_is_said(server: ScriptedVault) -> None:
    told = Caller({"vault-addr": server.url, "vault-role": "r"}, deadline=Quick(0))
    with pytest.raises(StoreError, match=r"timeout-seconds \(0\) is over"):
        told.store().login()
