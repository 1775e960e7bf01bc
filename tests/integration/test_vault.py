"""The Vault store on a real OpenBao, with ID tokens that it really verifies."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from imip_secrets.deadline import Deadline
from imip_secrets.errors import MissingError, StoreError
from imip_secrets.stores.base import Target
from stand_ins.faults import FaultServer, json_answer
from stand_ins.vault import Vault
from stand_ins.vault_script import Caller, Quick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imip_secrets.stores.vault import VaultStore
    from stand_ins.oidc import Issuer

AUDIENCE = "https://vault.company.example"
LEAST = {"secret/data/imip/*": ["read"], "secret/metadata/imip/*": ["list"], "old/imip/*": ["read", "list"]}


@pytest.fixture(scope="module")
def vault(issuer: Issuer) -> Iterator[Vault]:
    with Vault() as running:
        running.trust(issuer)
        running.policy("imip", LEAST)
        running.role("imip-ci", audience=AUDIENCE, policies=["imip"], bound_subject=issuer.claims["sub"])
        running.mount_kv("old", 1)
        running.mount_kv("team/a/kv", 2)
        running.put("secret/imip/production", {"SECRET_KEY": "s3cret", "PORT": 5432, "é": "ü\n\t"})
        running.put("old/imip/x", {"A": "1"})
        yield running


def caller(vault: Vault, issuer: Issuer, **settings: str) -> Caller:
    given = {"vault-addr": vault.url, "vault-role": "imip-ci", "vault-audience": AUDIENCE, **settings}
    return Caller(given, id_token=issuer.token)


@pytest.fixture
def store(vault: Vault, issuer: Issuer) -> Iterator[VaultStore]:
    opened = caller(vault, issuer).store()
    opened.login()
    yield opened
    opened.close()


def as_root(vault: Vault, **settings: str) -> VaultStore:
    given = {"vault-addr": vault.url, "vault-auth-method": "token", "vault-token": vault.root_token, **settings}
    opened = Caller(given).store()
    opened.login()
    return opened


def failure(store: VaultStore, target: Target, kind: type[StoreError] = StoreError) -> str:
    with pytest.raises(StoreError) as caught:
        store.fetch(target)
    assert type(caught.value) is kind
    return str(caught.value)


def test_a_job_reads_with_least_privilege_and_leaves_no_token(vault: Vault, issuer: Issuer) -> None:
    before = vault.accessors()
    told = caller(vault, issuer)
    opened = told.store()
    line = opened.login()
    assert line == f"logged in at {vault.url} as role imip-ci, policies default, imip (token lives 20m)"
    found = opened.fetch(Target("secret/imip/production"))
    assert found.value.reveal() == '{"PORT":5432,"SECRET_KEY":"s3cret","é":"ü\\n\\t"}'
    assert found.version == "1"
    assert found.changed is not None
    assert abs(found.changed.timestamp() - time.time()) < 60
    assert opened.fetch(Target("old/imip/x")).value.reveal() == '{"A":"1"}'
    assert vault.lives(told.protected[0])
    opened.close()
    assert not vault.lives(told.protected[0])
    assert vault.accessors() == before
    assert told.notices == []


def test_the_default_policy_is_not_needed(vault: Vault, issuer: Issuer) -> None:
    policy = {"policies": ["imip"], "token_no_default_policy": True, "bound_subject": issuer.claims["sub"]}
    vault.role("bare", audience=AUDIENCE, **policy)  # type: ignore[arg-type]  # the fields are what the API takes
    told = caller(vault, issuer, **{"vault-role": "bare"})
    opened = told.store()
    assert "policies imip (" in opened.login()
    assert opened.fetch(Target("secret/imip/production")).version == "1"
    opened.close()
    # revoke-self is in the policy "default".
    assert "could not be revoked (status 403, 1 error occurred: * permission denied)" in told.notices[0]


def test_many_threads_read_at_once(vault: Vault, store: VaultStore) -> None:
    for number in range(40):
        vault.put(f"secret/imip/many/s{number}", {"N": str(number)})
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(store.fetch, [Target(f"secret/imip/many/s{number}") for number in range(40)]))
    assert [each.value.reveal() for each in found] == [f'{{"N":"{number}"}}' for number in range(40)]


def test_more_than_a_hundred_secrets_are_listed_and_read_once(vault: Vault, issuer: Issuer) -> None:
    for number in range(120):
        vault.put(f"secret/imip/list/s{number:03}", {"N": str(number)})
    vault.put("secret/imip/list/deep/er/x", {"N": "x"})
    vault.put("secret/imip/list/gone", {"N": "x"})
    vault.do("DELETE", "secret/data/imip/list/gone")
    with FaultServer(upstream=vault.url) as between:
        opened = caller(vault, issuer, **{"vault-addr": between.url}).store()
        opened.login()
        flat = opened.list(Target("secret/imip/list/"), deep=False)
        assert [target.path for target in flat] == [f"secret/imip/list/s{number:03}" for number in range(120)]
        assert [opened.fetch(target).value.reveal() for target in flat] == [f'{{"N":"{n}"}}' for n in range(120)]
        reads = [request.path for request in between.requests if "/data/" in request.path]
        assert len(reads) == len(set(reads)) == 121
        deep = opened.list(Target("secret/imip/list/"), deep=True)
        assert [target.path for target in deep] == ["secret/imip/list/deep/er/x", *(target.path for target in flat)]
        assert [target.path for target in opened.list(Target("secret/imip/list/s11"), deep=False)] == [
            f"secret/imip/list/s{number}" for number in range(110, 120)
        ]
        opened.close()


def test_listings_of_version_1_and_of_nothing(store: VaultStore) -> None:
    assert [target.path for target in store.list(Target("old/imip/"), deep=True)] == ["old/imip/x"]
    assert store.list(Target("secret/imip/none/"), deep=True) == []
    with pytest.raises(StoreError, match=r'path "secret/metadata/\*" \{ capabilities = \["list"\] \}'):
        store.list(Target("secret/"), deep=False)


def test_odd_names_are_read_as_they_are(vault: Vault, store: VaultStore) -> None:
    for name in ("a b", "ü", "x#y", "q?z", "p%2Fq", "data/inner", "a+b&c=d"):
        path = f"secret/imip/odd/{name}"
        vault.put(path, {"N": name})
        assert store.fetch(Target(path)).value.reveal() == f'{{"N":"{name}"}}'


def test_versions_are_read_deleted_and_destroyed(vault: Vault, store: VaultStore) -> None:
    for number in range(1, 5):
        vault.put("secret/imip/versions", {"N": str(number)})
    vault.do("POST", "secret/destroy/imip/versions", {"versions": [1]})
    vault.do("POST", "secret/delete/imip/versions", {"versions": [2]})

    def read(version: str | None) -> Target:
        return Target("secret/imip/versions", version=version)

    assert store.fetch(read("3")).value.reveal() == '{"N":"3"}'
    assert store.fetch(read(None)).version == "4"
    assert "version 1 of secret/imip/versions is destroyed for good" in failure(store, read("1"), MissingError)
    assert "vault kv undelete -mount=secret -versions=2 imip/versions" in failure(store, read("2"), MissingError)
    assert "has no version 9. The current version is 4" in failure(store, read("9"), MissingError)
    vault.do("DELETE", "secret/data/imip/versions")
    assert "version 4 of secret/imip/versions is deleted" in failure(store, read(None), MissingError)
    assert "there is nothing at secret/imip/none" in failure(
        store, Target("secret/imip/none", version="2"), MissingError
    )
    assert "KV version 1, which keeps no versions" in failure(store, Target("old/imip/x", version="1"))


def test_denials_name_the_rule(store: VaultStore) -> None:
    assert 'path "secret/data/other" { capabilities = ["read"] }.' in failure(store, Target("secret/other"))
    assert 'path "old/other" { capabilities = ["read"] }.' in failure(store, Target("old/other"))
    assert "tells of no engine" not in failure(store, Target("secret/other"))
    assert "Vault tells of no engine at nowhere/: look at the spelling too." in failure(store, Target("nowhere/other"))
    said = failure(store, Target("secret/data/imip/production"))
    assert "leave it out: vault://secret/imip/production." in said


def test_paths_outside_kv_are_read_as_they_stand(vault: Vault) -> None:
    opened = as_root(vault)
    vault.do("POST", "cubbyhole/note", {"text": "x"})
    assert opened.fetch(Target("cubbyhole/note")).value.reveal() == '{"text":"x"}'
    assert "no secrets engine is mounted at nowhere/ in the root namespace" in failure(opened, Target("nowhere/x"))
    assert "there is nothing at cubbyhole/none" in failure(opened, Target("cubbyhole/none"), MissingError)
    opened.close()
    assert vault.lives(vault.root_token)


def test_a_mount_of_several_segments_is_found(vault: Vault) -> None:
    vault.put("team/a/kv/x/y", {"A": "1"}, mount="team/a/kv")
    opened = as_root(vault)
    assert opened.fetch(Target("team/a/kv/x/y")).version == "1"
    assert [target.path for target in opened.list(Target("team/a/kv/"), deep=True)] == ["team/a/kv/x/y"]
    assert "vault kv put -mount=team/a/kv none KEY=VALUE" in failure(opened, Target("team/a/kv/none"), MissingError)
    opened.close()


def test_reads_do_not_need_the_lookup_of_mounts(vault: Vault, issuer: Issuer) -> None:
    with FaultServer(upstream=vault.url) as between:
        forbidden = [json_answer({"errors": ["blocked"]}, 403)] * 20
        between.script(*forbidden, when=lambda request: "internal/ui" in request.path)
        opened = caller(vault, issuer, **{"vault-addr": between.url}).store()
        opened.login()
        assert opened.fetch(Target("secret/imip/production")).version == "1"
        assert opened.fetch(Target("old/imip/x")).value.reveal() == '{"A":"1"}'
        assert "there is nothing at" in failure(opened, Target("secret/imip/none"), MissingError)
        assert [target.path for target in opened.list(Target("old/imip/"), deep=False)] == ["old/imip/x"]
        assert 'path "secret/data/other"' in failure(opened, Target("secret/other"))
        opened.close()


def test_login_and_reads_may_be_in_different_namespaces(vault: Vault, issuer: Issuer) -> None:
    vault.do("POST", "sys/namespaces/company", {})
    vault.do("POST", "sys/namespaces/sub", {}, namespace="company")
    vault.mount_kv("kv", 2, namespace="company/sub")
    vault.put("kv/x", {"A": "deep"}, namespace="company/sub")
    vault.policy("imip", {"sub/kv/data/*": ["read"]}, namespace="company")
    vault.trust(issuer, namespace="company")
    vault.role("imip-ci", audience=AUDIENCE, policies=["imip"], namespace="company", bound_subject=issuer.claims["sub"])
    told = caller(vault, issuer, **{"vault-namespace": "company"})
    opened = told.store()
    opened.login()
    assert opened.fetch(Target("kv/x", namespace="company/sub")).value.reveal() == '{"A":"deep"}'
    assert "kv/x in namespace company" in failure(opened, Target("kv/x"))
    opened.close()
    assert told.notices == []
    root = as_root(vault)
    assert "knows no namespace nowhere" in failure(root, Target("kv/x", namespace="nowhere"))
    root.close()


def refusal(told: Caller) -> str:
    opened = told.store()
    with contextlib.closing(opened), pytest.raises(StoreError) as caught:
        opened.login()
    assert "eyJ" not in str(caught.value)
    return str(caught.value)


def test_each_refused_login_names_the_setting_to_change(vault: Vault, issuer: Issuer) -> None:
    vault.role("sub", audience=AUDIENCE, bound_subject="repo:other")
    vault.role("claims", audience=AUDIENCE, bound_claims={"repository": "other"})
    vault.role("missing", audience=AUDIENCE, bound_claims={"enterprise": "x"})
    assert "Let bound_audiences" in refusal(caller(vault, issuer, **{"vault-audience": "https://else"}))
    assert "vault write auth/jwt/role/none ..." in refusal(caller(vault, issuer, **{"vault-role": "none"}))
    assert "Let bound_subject of the role" in refusal(caller(vault, issuer, **{"vault-role": "sub"}))
    assert "fit the claim repository." in refusal(caller(vault, issuer, **{"vault-role": "claims"}))
    assert "fit the claim enterprise." in refusal(caller(vault, issuer, **{"vault-role": "missing"}))
    assert "mounted at auth/none" in refusal(caller(vault, issuer, **{"vault-auth-path": "none"}))
    assert "knows no namespace none" in refusal(caller(vault, issuer, **{"vault-namespace": "none"}))
    given = {"vault-addr": vault.url, "vault-role": "imip-ci", "vault-audience": AUDIENCE}
    other = Caller(given, id_token=lambda audience: issuer.token(audience, iss="https://other.example"))
    assert "Let bound_issuer of auth/jwt/config" in refusal(other)
    forged = Caller(given, id_token=lambda audience: issuer.token(audience)[:-8] + "AAAAAAAA")
    assert "oidc_discovery_url or jwks_url of auth/jwt/config" in refusal(forged)


def test_the_immutable_subject_needs_its_own_role(vault: Vault, issuer: Issuer) -> None:
    given = {"vault-addr": vault.url, "vault-audience": AUDIENCE}

    def token(audience: str) -> str:
        return issuer.token(audience, sub=issuer.immutable_sub)

    assert "This repository sends the form with ids" in refusal(
        Caller({**given, "vault-role": "imip-ci"}, id_token=token)
    )
    vault.role("immutable", audience=AUDIENCE, bound_subject=issuer.immutable_sub)
    opened = Caller({**given, "vault-role": "immutable"}, id_token=token).store()
    assert "as role immutable" in opened.login()
    opened.close()


@pytest.mark.parametrize("shift", [3600, -7200])
def test_a_token_out_of_time_is_replaced_by_a_fresh_one(vault: Vault, issuer: Issuer, shift: int) -> None:
    now = int(time.time())
    times = [{"nbf": now + shift, "iat": now + shift, "exp": now + shift + 300}, {}]
    given = {"vault-addr": vault.url, "vault-role": "imip-ci", "vault-audience": AUDIENCE}
    told = Caller(given, id_token=lambda audience: issuer.token(audience, **times.pop(0)))
    opened = told.store()
    assert "logged in" in opened.login()
    opened.close()
    stays = {"nbf": now + shift, "iat": now + shift, "exp": now + shift + 300}
    wrong = Caller(given, id_token=lambda audience: issuer.token(audience, **stays))
    assert f"Vault's is {'1h behind' if shift > 0 else '2h ahead of'} the token's issuer" in refusal(wrong)


def test_a_batch_token_works_and_stays(vault: Vault, issuer: Issuer) -> None:
    vault.role("batch", audience=AUDIENCE, policies=["imip"], token_type="batch", bound_subject=issuer.claims["sub"])
    told = caller(vault, issuer, **{"vault-role": "batch"})
    opened = told.store()
    opened.login()
    assert opened.fetch(Target("secret/imip/production")).version == "1"
    opened.close()
    assert told.notices == ["the Vault token is a batch token, which cannot be revoked: it ends in 20m"]


def test_a_token_by_hand_that_is_wrong_or_over_is_said(vault: Vault) -> None:
    opened = as_root(vault, **{"vault-token": "hvs.wrong"})
    said = failure(opened, Target("secret/imip/production"))
    assert "If the token has expired, renew it." in said
    assert "hvs.wrong" not in said
    opened.close()


def test_tls_is_verified_with_the_given_authority(issuer: Issuer) -> None:
    with Vault(tls=True) as secure:
        secure.put("secret/x", {"A": "1"})
        opened = as_root(secure, **{"vault-ca-certificate": secure.authority_pem})
        assert opened.fetch(Target("secret/x")).version == "1"
        opened.close()
        assert "vault-ca-certificate (PEM)" in failure(as_root(secure), Target("secret/x"))
        assert "vault-ca-certificate (PEM)" in refusal(caller(secure, issuer))


def test_a_sealed_vault_is_waited_for_and_then_named(issuer: Issuer) -> None:
    with Vault() as sealed:
        opened = as_root(sealed)
        sealed.seal()
        assert "answers 503, it is sealed: Vault is sealed. Unseal it" in failure(opened, Target("secret/x"))
        assert isinstance(opened._context.deadline, Quick)
        assert len(opened._context.deadline.waits) == 5
        opened.close()
        assert "it is sealed" in refusal(caller(sealed, issuer))


def test_faults_between_the_job_and_vault_do_not_show(vault: Vault, issuer: Issuer) -> None:
    with FaultServer(upstream=vault.url) as between:
        between.script("reset", json_answer({"errors": []}, 502), when=lambda request: request.method == "POST")
        between.script("close", json_answer({"errors": []}, 412), when=lambda request: request.method == "GET")
        given = {"vault-addr": between.url, "vault-role": "imip-ci", "vault-audience": AUDIENCE}
        told = Caller(given, id_token=issuer.token, deadline=Deadline(30))
        opened = told.store()
        opened.login()
        assert opened.fetch(Target("secret/imip/production")).version == "1"
        opened.close()
        assert told.notices == []
    assert not vault.lives(told.protected[0])


def test_engines_that_want_parameters_get_them_with_the_least_policy(vault: Vault, issuer: Issuer) -> None:
    vault.do("POST", "sys/mounts/pki", {"type": "pki"})
    # Keys of RSA can take a busy machine longer than the store waits for an answer.
    vault.do("POST", "pki/root/generate/internal", {"common_name": "imip", "key_type": "ec"})
    role = {"allowed_domains": ["imip.example"], "allow_subdomains": True, "ttl": "1h", "key_type": "ec"}
    vault.do("POST", "pki/roles/imip", role)
    vault.do("POST", "sys/mounts/transit", {"type": "transit"})
    vault.do("POST", "transit/keys/imip", {})
    sent = vault.do("POST", "transit/encrypt/imip", {"plaintext": base64.b64encode("Grüße".encode()).decode()})
    vault.do("POST", "sys/mounts/ssh", {"type": "ssh"})
    vault.do("POST", "ssh/config/ca", {"generate_signing_key": True, "key_type": "ed25519"})
    vault.do("POST", "ssh/roles/imip", {"key_type": "ca", "allow_user_certificates": True, "allowed_users": "deploy"})
    rules = {"pki/issue/imip": ["update"], "transit/decrypt/imip": ["update"], "ssh/issue/imip": ["update"]}
    vault.policy("engines", rules)
    vault.role("engines", audience=AUDIENCE, policies=["engines"], bound_subject=issuer.claims["sub"])
    opened = caller(vault, issuer, **{"vault-role": "engines"}).store()
    opened.login()

    def ask(path: str, **body: str) -> dict[str, Any]:
        found = opened.fetch(Target(path, body=json.dumps(body)))
        answer: dict[str, Any] = json.loads(found.value.reveal())
        return answer

    issued = ask("pki/issue/imip", common_name="app.imip.example")
    certificate = x509.load_pem_x509_certificate(issued["certificate"].encode())
    key = serialization.load_pem_private_key(issued["private_key"].encode(), None)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=app.imip.example"
    assert base64.b64decode(ask("transit/decrypt/imip", ciphertext=sent["data"]["ciphertext"])["plaintext"]) == (
        "Grüße".encode()
    )
    signed = ask("ssh/issue/imip", valid_principals="deploy", key_type="ed25519")["signed_key"]
    assert signed.startswith("ssh-ed25519-cert-v01@openssh.com ")
    said = failure(opened, Target("pki/issue/imip", body='{"common_name":"other.example"}'))
    assert "Vault refuses pki/issue/imip: common name other.example not allowed by this role" in said
    said = failure(opened, Target("pki/sign/imip", body="{}"))
    assert 'path "pki/sign/imip" { capabilities = ["update"] }.' in said
    opened.close()
    root = as_root(vault)
    assert "If its engine wants parameters, add them as JSON: ?body={...}." in failure(root, Target("pki/issue/imip"))
    root.close()


def test_a_body_overwrites_no_secret_though_the_policy_allows_it(vault: Vault) -> None:
    opened = as_root(vault)
    vault.put("secret/kept", {"A": "1"})
    vault.put("old/kept", {"A": "1"})
    vault.do("POST", "cubbyhole/kept", {"A": "1"})
    for path in ("secret/kept", "secret/data/kept", "old/kept", "cubbyhole/kept"):
        assert "body would overwrite a secret" in failure(opened, Target(path, body='{"A":"2"}'))
    for path in ("secret/kept", "old/kept", "cubbyhole/kept"):
        assert opened.fetch(Target(path)).value.reveal() == '{"A":"1"}'
    opened.close()


def test_a_version_is_told_without_its_value(vault: Vault) -> None:
    vault.put("secret/versions/a", {"A": "1"})
    vault.put("secret/versions/a", {"A": "2"})
    vault.put("old/versions", {"A": "1"})
    store = as_root(vault)
    for target in (Target("secret/versions/a"), Target("secret/versions/a", version="1")):
        found = store.fetch(target)
        assert store.version_of(target) == (found.version, found.changed)
    for path in ("secret/versions/gone", "secret/versions/", "old/versions"):
        assert store.version_of(Target(path)) is None
    assert store.version_of(Target("secret/versions/a", version="7")) is None
    vault.do("DELETE", "secret/data/versions/a")
    with pytest.raises(MissingError, match=r"version 2 of secret/versions/a .*is deleted \(since "):
        store.version_of(Target("secret/versions/a"))
    vault.put("secret/versions/ends", {"A": "1"})
    vault.do("POST", "secret/metadata/versions/ends", {"delete_version_after": "1h"})
    vault.put("secret/versions/ends", {"A": "2"})
    assert store.version_of(Target("secret/versions/ends")) is not None
    vault.do("DELETE", "secret/metadata/versions/ends")
    assert [target.path for target in store.names(Target("secret/versions/"), deep=False)] == ["secret/versions/a"]
    assert store.list(Target("secret/versions/"), deep=False) == []
    store.close()


def test_who_may_not_read_metadata_gets_no_version(vault: Vault, issuer: Issuer) -> None:
    opened = caller(vault, issuer).store()
    opened.login()
    assert opened.version_of(Target("secret/imip/production")) is None
    opened.close()
