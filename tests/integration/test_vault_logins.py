"""Vault's other logins: on a real OpenBao, with a real LDAP directory, and a stand-in for Kubernetes.

OpenBao has no login method ``github`` (it left it out of Vault's), so that one is scripted, by the source of Vault's.
"""

from __future__ import annotations

import contextlib
import json
import sys
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from imip_secrets.errors import StoreError
from imip_secrets.stores.base import Target
from stand_ins import ldap
from stand_ins.faults import Answer, FaultServer, answer, json_answer
from stand_ins.kubernetes import ISSUER, Kubernetes
from stand_ins.vault import Vault
from stand_ins.vault_script import Caller, Quick, ScriptedVault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "secret/imip/production"


@pytest.fixture(scope="module")
def vault() -> Iterator[Vault]:
    with Vault() as running:
        running.policy("imip", {"secret/data/imip/*": ["read"]})
        running.put(SECRET, {"A": "1"})
        for method in ("approle", "userpass"):
            running.do("POST", f"sys/auth/{method}", {"type": method})
        running.do("POST", "auth/userpass/users/imip", {"password": "pass word", "token_policies": ["imip"]})
        running.do("POST", "auth/approle/role/ci", {"token_policies": ["imip"], "token_ttl": "20m"})
        yield running


class Job:
    """A job that logs in by one of the methods."""

    def __init__(self, url: str, method: str, **settings: str) -> None:
        given = {name.replace("_", "-"): value for name, value in settings.items()}
        self.caller = Caller({"vault-addr": url, "vault-auth-method": method, **given})

    def line(self) -> str:
        """Log in, read, and end the session; return who we were."""
        store = self.caller.store()
        with contextlib.closing(store):
            line = store.login()
            assert store.fetch(Target(SECRET)).value.reveal() == '{"A":"1"}'
        return line

    def refusal(self) -> str:
        """Be refused; return why, in which there is no secret."""
        store = self.caller.store()
        with contextlib.closing(store), pytest.raises(StoreError) as caught:
            store.login()
        said = str(caught.value)
        assert "\n" not in said
        assert not any(hidden in said for hidden in self.caller.protected)
        assert all(wait == 0 for wait in self.waits())
        return said

    def waits(self) -> list[float]:
        """How long was waited for another try."""
        assert isinstance(self.caller.deadline, Quick)
        return self.caller.deadline.waits


# --- approle


def role_id(vault: Vault, role: str = "ci") -> str:
    return str(vault.do("GET", f"auth/approle/role/{role}/role-id")["data"]["role_id"])


def secret_id(vault: Vault, role: str = "ci") -> str:
    return str(vault.do("POST", f"auth/approle/role/{role}/secret-id")["data"]["secret_id"])


def wrapped(vault: Vault, method: str, path: str, body: object = None) -> str:
    """Return the token that an answer of Vault is wrapped in."""
    parts = urlsplit(vault.url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    headers = {"X-Vault-Token": vault.root_token, "X-Vault-Wrap-TTL": "60s"}
    connection.request(method, f"/v1/{path}", json.dumps(body or {}), headers)
    said: Any = json.loads(connection.getresponse().read())
    connection.close()
    return str(said["wrap_info"]["token"])


def test_an_approle_logs_in_and_leaves_no_token(vault: Vault) -> None:
    before = vault.accessors()
    given = secret_id(vault)
    job = Job(vault.url, "approle", vault_role_id=role_id(vault), vault_secret_id=given)
    assert job.line() == f"logged in at {vault.url} as AppRole ci, policies default, imip (token lives 20m)"
    assert job.caller.protected[0] == given
    assert len(job.caller.protected) == 2
    assert vault.accessors() == before


def test_a_role_that_wants_no_secret_id_needs_none(vault: Vault) -> None:
    fields = {"bind_secret_id": False, "secret_id_bound_cidrs": ["127.0.0.0/8"], "token_policies": ["imip"]}
    vault.do("POST", "auth/approle/role/bare", fields)
    assert "logged in" in Job(vault.url, "approle", vault_role_id=role_id(vault, "bare")).line()


def test_a_refused_approle_names_the_mount_and_what_may_be_wrong(vault: Vault) -> None:
    used = secret_id(vault)
    vault.do("POST", "auth/approle/role/ci/secret-id/destroy", {"secret_id": used})
    said = Job(vault.url, "approle", vault_role_id=role_id(vault), vault_secret_id=used).refusal()
    assert "with the role id of the input vault-role-id of auth/approle: invalid role or secret ID" in said
    assert role_id(vault) not in said
    assert "vault write -f auth/approle/role/ROLE/secret-id makes another" in said
    said = Job(vault.url, "approle", vault_role_id="none", vault_secret_id=used).refusal()
    assert "Vault does not say which is wrong" in said
    assert "give vault-secret-id" in Job(vault.url, "approle", vault_role_id=role_id(vault)).refusal()
    vault.do("POST", "auth/approle/role/far", {"secret_id_bound_cidrs": ["10.0.0.0/8"]})
    far = Job(vault.url, "approle", vault_role_id=role_id(vault, "far"), vault_secret_id=secret_id(vault, "far"))
    assert "Let secret_id_bound_cidrs" in far.refusal()
    lost = Job(vault.url, "approle", vault_role_id="x", vault_secret_id="y", vault_auth_path="none")
    assert "mounted at auth/none" in lost.refusal()


def test_a_wrapped_secret_id_is_unwrapped_once(vault: Vault) -> None:
    token = wrapped(vault, "POST", "auth/approle/role/ci/secret-id")
    job = Job(vault.url, "approle", vault_role_id=role_id(vault), vault_secret_id=token)
    assert "logged in" in job.line()
    wrapping, unwrapped, _ = job.caller.protected
    assert wrapping == token
    assert unwrapped != token
    assert not vault.lives(token)


def test_a_wrapping_token_that_was_used_is_a_matter_of_security(vault: Vault) -> None:
    token = wrapped(vault, "POST", "auth/approle/role/ci/secret-id")
    vault.call("POST", "sys/wrapping/unwrap", token=token)
    said = Job(vault.url, "approle", vault_role_id=role_id(vault), vault_secret_id=token).refusal()
    assert "SECURITY: the wrapping token of vault-secret-id was used already, or its time is over" in said
    assert "take it for stolen" in said


def test_a_wrapped_secret_id_of_a_mount_elsewhere_is_unwrapped_and_its_commands_name_that_mount(vault: Vault) -> None:
    vault.do("POST", "sys/auth/team/machines", {"type": "approle"})
    vault.do("POST", "auth/team/machines/role/ci", {"token_policies": ["imip"]})
    given = {
        "vault_auth_path": "team/machines",
        "vault_role_id": vault.do("GET", "auth/team/machines/role/ci/role-id")["data"]["role_id"],
        "vault_secret_id": wrapped(vault, "POST", "auth/team/machines/role/ci/secret-id"),
    }
    assert "as AppRole ci, policies default, imip" in Job(vault.url, "approle", **given).line()
    said = Job(vault.url, "approle", **given).refusal()
    assert "destroy it (vault write auth/team/machines/role/ROLE/secret-id/destroy ...)" in said
    given["vault_secret_id"] = "none"
    said = Job(vault.url, "approle", **given).refusal()
    assert "vault write -f auth/team/machines/role/ROLE/secret-id makes another" in said
    assert "auth/approle" not in said


def test_a_token_that_wraps_something_else_is_not_used(vault: Vault) -> None:
    token = wrapped(vault, "POST", "sys/wrapping/wrap", {"secret_id": secret_id(vault)})
    said = Job(vault.url, "approle", vault_role_id=role_id(vault), vault_secret_id=token).refusal()
    assert "SECURITY: the wrapping token of vault-secret-id wraps no secret id of auth/approle, but what" in said
    assert "sys/wrapping/wrap gave" in said
    assert vault.call("POST", "sys/wrapping/unwrap", token=token)[0] == 200


def test_somebody_who_is_faster_by_a_moment_is_noticed(vault: Vault) -> None:
    token = wrapped(vault, "POST", "auth/approle/role/ci/secret-id")
    with FaultServer(upstream=vault.url) as between:
        gone = json_answer({"errors": ["wrapping token is not valid or does not exist"]}, 400)
        between.script(gone, when=lambda request: request.path.endswith("/unwrap"))
        job = Job(between.url, "approle", vault_role_id=role_id(vault), vault_secret_id=token)
        assert "SECURITY" in job.refusal()


def test_an_unwrapping_whose_answer_is_lost_is_not_tried_again(vault: Vault) -> None:
    token = wrapped(vault, "POST", "auth/approle/role/ci/secret-id")
    with FaultServer(upstream=vault.url) as between:
        between.script("close", "close", when=lambda request: request.path.endswith("/unwrap"))
        said = Job(between.url, "approle", vault_role_id=role_id(vault), vault_secret_id=token).refusal()
        asked = [request.path for request in between.requests]
    assert "It was not asked again" in said
    assert asked.count("/v1/sys/wrapping/unwrap") == 1


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (json_answer({"data": {"role_id": "x"}}), "holds no secret id of auth/approle"),
        (json_answer({"errors": ["Vault is sealed"]}, 503), "answers 503"),
    ],
)
def test_an_odd_answer_to_the_unwrapping_is_an_error(vault: Vault, step: Answer, words: str) -> None:
    token = wrapped(vault, "POST", "auth/approle/role/ci/secret-id")
    with FaultServer(upstream=vault.url) as between:
        between.script(step, when=lambda request: request.path.endswith("/unwrap"))
        store = Job(between.url, "approle", vault_role_id=role_id(vault), vault_secret_id=token).caller.store()
        with contextlib.closing(store), pytest.raises(StoreError, match=words):
            store.login()


# --- userpass


def test_a_user_logs_in_with_a_password(vault: Vault) -> None:
    job = Job(vault.url, "userpass", vault_username="imip", vault_password="pass word")
    assert "as user imip, policies default, imip" in job.line()
    assert job.caller.protected[0] == "pass word"


def test_a_method_may_be_mounted_elsewhere(vault: Vault) -> None:
    vault.do("POST", "sys/auth/people/of ours", {"type": "userpass"})
    vault.do("POST", "auth/people/of ours/users/imip", {"password": "p", "token_policies": ["imip"]})
    job = Job(vault.url, "userpass", vault_username="imip", vault_password="p", vault_auth_path="people/of ours")
    assert "as user imip" in job.line()


def test_a_refused_user_is_named_with_the_mount(vault: Vault) -> None:
    said = Job(vault.url, "userpass", vault_username="imip", vault_password="wrong one").refusal()
    assert "refused the login with the user imip of auth/userpass: invalid username or password" in said
    assert "Correct vault-username or vault-password" in said
    said = Job(vault.url, "userpass", vault_username="a b#?%", vault_password="wrong one").refusal()
    assert "the user a b#?% of auth/userpass: unsupported path" in said  # the plugin's, so it got there
    lost = Job(vault.url, "userpass", vault_username="imip", vault_password="x", vault_auth_path="none").refusal()
    assert "mounted at auth/none" in lost
    assert "locks the user out" in lost


# --- ldap


@pytest.fixture(scope="module")
def directory(vault: Vault) -> Iterator[ldap.Directory]:
    if sys.platform != "linux" and not ldap.program():
        pytest.skip("there is no slapd: .ci/packages.txt installs it on Debian")
    with ldap.Directory({"imip": "pass word", "other": "x"}) as running:
        vault.do("POST", "sys/auth/ldap", {"type": "ldap"})
        vault.do("POST", "auth/ldap/config", running.config())
        vault.do("POST", f"auth/ldap/groups/{ldap.GROUP}", {"policies": ["imip"]})
        yield running


@pytest.mark.usefixtures("directory")
def test_a_person_of_a_directory_logs_in_with_the_groups_policies(vault: Vault) -> None:
    job = Job(vault.url, "ldap", vault_username="imip", vault_password="pass word")
    assert "as user imip, policies default, imip" in job.line()
    assert job.caller.protected[0] == "pass word"


@pytest.mark.usefixtures("directory")
def test_a_person_whom_the_directory_refuses_is_named(vault: Vault) -> None:
    for name in ("imip", "nobody"):
        said = Job(vault.url, "ldap", vault_username=name, vault_password="wrong one").refusal()
        assert f"the user {name} of auth/ldap: ldap operation failed: failed to bind as user" in said
        assert f"userdn, userattr and upndomain of auth/ldap/config do not lead to {name}." in said


def test_a_directory_that_is_not_reached_is_told_from_a_wrong_password(vault: Vault, directory: ldap.Directory) -> None:
    vault.do("POST", "sys/auth/away", {"type": "ldap"})
    vault.do("POST", "auth/away/config", {**directory.config(), "url": "ldap://127.0.0.1:1"})
    said = Job(vault.url, "ldap", vault_username="imip", vault_password="x1y2", vault_auth_path="away").refusal()
    assert "Vault does not reach the LDAP server: look at url and certificate of auth/away/config." in said


# --- kubernetes


@pytest.fixture(scope="module")
def cluster(vault: Vault) -> Iterator[Kubernetes]:
    with Kubernetes() as running:
        vault.do("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
        vault.do("POST", "auth/kubernetes/config", running.config())
        bound = {"bound_service_account_names": ["runner"], "bound_service_account_namespaces": ["ci"]}
        vault.do("POST", "auth/kubernetes/role/imip-ci", {**bound, "token_policies": ["imip"]})
        vault.do("POST", "auth/kubernetes/role/aud", {**bound, "token_policies": ["imip"], "audience": "vault"})
        running.accounts |= {"ci:runner", "ci:other", "default:runner"}
        yield running


def pod(vault: Vault, folder: Path, token: str, role: str = "imip-ci", **settings: str) -> Job:
    path = folder / "token"
    path.write_text(f"{token}\n")
    return Job(vault.url, "kubernetes", vault_role=role, vault_kubernetes_token_path=str(path), **settings)


def test_a_pod_logs_in_with_its_service_account(vault: Vault, cluster: Kubernetes, tmp_path: Path) -> None:
    token = cluster.token("ci", "runner")
    before = cluster.reviews
    job = pod(vault, tmp_path, token)
    assert "as role imip-ci, policies default, imip" in job.line()
    assert job.caller.protected[0] == token
    assert cluster.reviews == before + 1
    bound = pod(vault, tmp_path, cluster.token("ci", "runner", audience="vault"), "aud")
    assert "as role aud" in bound.line()


@pytest.mark.parametrize(
    ("account", "role", "words"),
    [
        ("ci:other", "imip-ci", "Let bound_service_account_names of auth/kubernetes/role/imip-ci fit."),
        ("default:runner", "imip-ci", "Let bound_service_account_namespaces of auth/kubernetes/role/imip-ci fit."),
        ("ci:runner", "aud", "Let audience of auth/kubernetes/role/aud be the token's aud."),
        ("ci:runner", "none", "Write the role (vault write auth/kubernetes/role/none ...), or correct vault-role."),
    ],
)
def test_a_refused_pod_names_what_is_bound_beside_the_tokens_claims(  # noqa: PLR0917 - fixtures and cases
    vault: Vault, cluster: Kubernetes, tmp_path: Path, account: str, role: str, words: str
) -> None:
    namespace, _, name = account.partition(":")
    said = pod(vault, tmp_path, cluster.token(namespace, name), role).refusal()
    assert f"with the role {role} of auth/kubernetes: " in said
    assert words in said
    if role != "none":
        assert f"sub=system:serviceaccount:{namespace}:{name}, aud=['{ISSUER}'], iss={ISSUER}." in said


def test_a_token_that_kubernetes_does_not_accept_is_said_to_be_one(
    vault: Vault, cluster: Kubernetes, tmp_path: Path
) -> None:
    words = "Kubernetes does not accept the pod's token"
    assert words in pod(vault, tmp_path, cluster.token("ci", "runner", seconds=-10)).refusal()
    forged = cluster.token("ci", "runner")[:-8] + "AAAAAAAA"
    assert words in pod(vault, tmp_path, forged).refusal()
    lost = pod(vault, tmp_path, cluster.token("ci", "runner"), vault_auth_path="none")
    assert "mounted at auth/none" in lost.refusal()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read from"),
        (b"no token at all", "holds no token of a service account"),
        (b"a" * 200_000, "holds no token of a service account"),
    ],
)
def test_a_machine_that_is_no_pod_is_told(vault: Vault, tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    job = Job(vault.url, "kubernetes", vault_role="imip-ci", vault_kubernetes_token_path=str(path))
    said = job.refusal()
    assert words in said
    assert "Run in a pod with a service account" in said


def test_a_path_that_no_file_has_is_told(vault: Vault) -> None:
    job = Job(vault.url, "kubernetes", vault_role="imip-ci", vault_kubernetes_token_path="a\0b")
    assert "is no path" in job.refusal()


def test_a_token_whose_claims_cannot_be_read_is_refused_without_them(vault: Vault, tmp_path: Path) -> None:
    said = pod(vault, tmp_path, "bm8.bm8.bm8", vault_auth_path="none").refusal()
    assert "mounted at auth/none" in said
    assert "The token has" not in said


# --- github, scripted


def github(*login: Answer, **settings: str) -> tuple[str, list[Any]]:
    """Log in at a script; return what was said, and what was sent."""
    with ScriptedVault({SECRET: '{"A": "1"}'}) as server:
        server.script(*login, when=lambda request: request.path == "/v1/auth/github/login")
        job = Job(server.url, "github", vault_github_token="ghp_theToken", **settings)
        said = job.refusal() if login else job.line()
        sent = [json.loads(request.body) for request in server.requests if request.path.endswith("github/login")]
    assert job.caller.protected[0] == "ghp_theToken"
    return said, sent


def test_a_token_of_github_logs_in() -> None:
    said, sent = github()
    assert "as GitHub token, policies default, imip" in said
    assert sent == [{"token": "ghp_theToken"}]


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (500, "user is not part of required org", "must be in the organization of auth/github/config"),
        (500, "GET https://api.github.com/user: 401 Bad credentials []", "make another, with read:org"),
        (400, "organization not found in configuration", "vault write auth/github/config organization=ORG"),
        (403, "permission denied", "Is the login method mounted at auth/github"),
    ],
)
def test_a_refused_token_of_github_is_not_tried_again(status: int, reason: str, words: str) -> None:
    said, sent = github(json_answer({"errors": [reason]}, status))
    assert f"refused the login with the GitHub token of auth/github: {reason}" in said
    assert words in said
    assert len(sent) == 1


def test_a_proxy_that_is_unwell_is_no_refusal() -> None:
    said, _ = github(answer(500))
    assert "answers 500, it is not well" in said
