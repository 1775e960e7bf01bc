"""The Azure store through Microsoft's SDK: Entra ID and Key Vault over TLS, with real names and on loopback."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from azure.keyvault.secrets._shared import http_challenge_cache

from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError, MissingError, Problem, StoreError
from imip_secrets.request import read
from imip_secrets.resolve import resolve
from imip_secrets.stores.azure import AzureStore, open_store, transport
from imip_secrets.stores.base import Target
from stand_ins.azure import CLIENT, CLIENT_SECRET, DENIALS, TENANT, Azure, vault_error
from stand_ins.faults import (
    FaultServer,
    answer,
    bad_json,
    html_answer,
    huge,
    json_answer,
    redirect,
    short,
    slow,
)
from stand_ins.oidc import Issuer
from stand_ins.time_up import end_in
from stand_ins.tls import Authority, self_signed
from stand_ins.vault_script import Caller, NoTime, Quick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from stand_ins.faults import Request, Step

GITHUB = "https://token.actions.githubusercontent.com"
SECRET = "imip-vault/SECRET-KEY"
# What azure-identity reads, and what leads requests elsewhere.
AMBIENT = """
    AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET AZURE_CLIENT_CERTIFICATE_PATH AZURE_FEDERATED_TOKEN_FILE
    AZURE_AUTHORITY_HOST AZURE_TOKEN_CREDENTIALS IDENTITY_ENDPOINT IDENTITY_HEADER MSI_ENDPOINT REQUESTS_CA_BUNDLE
    HTTPS_PROXY https_proxy NO_PROXY no_proxy ALL_PROXY all_proxy
""".split()  # noqa: SIM905 - a list of names reads best


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AMBIENT:
        monkeypatch.delenv(name, raising=False)
    http_challenge_cache.clear()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture
def azure(issuer: Issuer) -> Iterator[Azure]:
    with Azure(issuer) as running:
        running.put("SECRET-KEY", "s3cret")
        yield running


@pytest.fixture
def real_names(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Lead every host of Azure to the stand-in; gives the hosts that were asked for."""
    with azure.proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        yield proxy.asked


class Job:
    """A job that uses the store: by default as the right application, at the loopback addresses."""

    def __init__(self, azure: Azure, issuer: Issuer) -> None:
        self._azure, self._issuer = azure, issuer
        self._stores: list[AzureStore] = []
        self.caller: Caller

    def __call__(
        self,
        settings: Mapping[str, str] | None = None,
        /,
        *,
        deadline: Deadline | None = None,
        ambient: bool = False,
        **more: str,
    ) -> AzureStore:
        given = {
            "azure-tenant-id": TENANT,
            "azure-client-id": CLIENT,
            "ca-certificate": self._azure.pem,
            "azure-authority-host": self._azure.url,
            **{name.replace("_", "-"): value for name, value in {**(settings or {}), **more}.items()},
        }
        self.caller = Caller(given, id_token=self._issuer.token, deadline=deadline, ambient=ambient)
        store = open_store(self.caller.context)
        self._stores.append(store)
        return store

    def logged_in(self, **options: str) -> AzureStore:
        store = self(options)
        store.login()
        return store

    def close(self) -> None:
        for store in self._stores:
            store.close()


@pytest.fixture
def job(azure: Azure, issuer: Issuer) -> Iterator[Job]:
    made = Job(azure, issuer)
    yield made
    made.close()


@pytest.fixture
def here(azure: Azure) -> Callable[[str], Target]:
    """Give a secret of the vault on loopback."""
    return lambda name: Target(f"{azure.host}/{name}")


def of_vault(request: Request) -> bool:
    """Tell what is asked of a vault with a token."""
    return bool(request.headers.get("authorization"))


def of_entra(request: Request) -> bool:
    return request.path.endswith("/token")


def failure(call: Callable[[], object], kind: type[ImipError] = StoreError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    said = str(caught.value)
    assert "\n" not in said
    assert "s3cret" not in said
    return said


class TestLogin:
    def test_an_id_token_becomes_a_token_that_is_masked_before_it_is_used(
        self, azure: Azure, issuer: Issuer, job: Job
    ) -> None:
        store = job()
        assert store.login() == f"logged in as the application {CLIENT} of tenant {TENANT}"
        assert job.caller.audiences == ["api://AzureADTokenExchange"]
        assert job.caller.protected == azure.tokens
        assert len(azure.logins()) == 1
        assert issuer.issued[0].encode() in azure.logins()[0].body
        assert azure.asked() == []

    def test_another_audience_is_asked_for(self, azure: Azure, job: Job) -> None:
        azure.federated["audience"] = "api://AzureADTokenExchangeUSGov"
        job(azure_audience="api://AzureADTokenExchangeUSGov").login()
        assert job.caller.audiences == ["api://AzureADTokenExchangeUSGov"]

    @pytest.mark.parametrize(
        ("wanted", "code"),
        [
            ({"subject": "repo:octo-org/octo-repo:ref:refs/heads/main"}, "AADSTS700213"),
            ({"subject": "repo:Octo-Org/octo-repo:environment:production"}, "AADSTS7002138"),
            ({"audience": "another"}, "AADSTS700212"),
            ({"issuer": "https://issuer.example"}, "AADSTS700211"),
        ],
    )
    def test_a_federated_credential_that_does_not_fit_is_shown_beside_the_claims(
        self, azure: Azure, issuer: Issuer, job: Job, wanted: dict[str, str], code: str
    ) -> None:
        azure.federated |= wanted
        said = failure(job().login)
        assert code in said
        assert f"with issuer {issuer.url}, subject {issuer.claims['sub']}, audience api://AzureADTokenExchange" in said
        assert "repository=octo-org/octo-repo" in said
        assert not any(token in said for token in issuer.issued)
        assert len(azure.logins()) == 1

    def test_the_immutable_form_of_the_subject_is_explained(self, azure: Azure, issuer: Issuer, job: Job) -> None:
        issuer.claims |= {"sub": issuer.immutable_sub, "iss": GITHUB}
        azure.federated["issuer"] = GITHUB
        said = failure(job().login)
        assert "This repository sends the form with ids (repo:ORG@ID/REPO@ID:..." in said
        azure.federated["subject"] = issuer.immutable_sub
        job().login()

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"azure_tenant_id": "00000000-86f1-41af-91ab-2d7cd011db47"}, "AADSTS90002"),
            ({"azure_client_id": "00000000-bbbb-3333-cccc-4444dddd5555"}, "correct azure-client-id"),
        ],
    )
    def test_a_wrong_id_is_said_to_be_one(self, job: Job, settings: dict[str, str], said: str) -> None:
        assert said in failure(job(settings).login)

    def test_a_token_that_is_too_early_is_tried_again_with_a_fresh_one(
        self, azure: Azure, issuer: Issuer, job: Job
    ) -> None:
        late = iter([int(time.time()) + 3600])
        store = job()
        job.caller._id_token = lambda audience: issuer.token(
            audience, **({"nbf": each} if (each := next(late, 0)) else {})
        )
        store.login()
        assert len(azure.logins()) == 2
        assert len({login.body for login in azure.logins()}) == 2

    @pytest.mark.parametrize(("deadline", "tries"), [(Quick, 3), (NoTime, 1)])
    def test_clocks_that_differ_are_named_in_the_end(
        self, azure: Azure, issuer: Issuer, job: Job, deadline: Callable[[], Deadline], tries: int
    ) -> None:
        issuer.claims["exp"] = int(time.time()) - 3600
        assert "Set the clocks right" in failure(job(deadline=deadline()).login)
        assert len(azure.logins()) == tries

    def test_a_signature_that_entra_cannot_verify_is_said_to_be_one(self, job: Job) -> None:
        store = job()
        job.caller._id_token = Caller({})._id_token
        assert "AADSTS50013" in failure(store.login)

    def test_a_job_without_an_id_token_gets_the_remedy_of_the_front(self, azure: Azure, job: Job) -> None:
        store = job()

        def none(_: str) -> str:
            raise ImipError(Problem("the job may have no ID token", remedy="Add permissions."))

        job.caller._id_token = none
        assert "Add permissions" in failure(store.login, ImipError)
        assert azure.requests == []

    def test_an_id_token_that_is_no_more_to_be_had_is_no_defect(self, issuer: Issuer, job: Job) -> None:
        store = job()
        left = iter([issuer.token("api://AzureADTokenExchange", nbf=int(time.time()) + 3600)])

        def once(_: str) -> str:
            for token in left:
                return token
            raise ImipError(Problem("no more"))

        job.caller._id_token = once
        assert failure(store.login, ImipError).startswith("no more")

    def test_a_certificate_that_cannot_be_used_is_named(self, job: Job) -> None:
        assert "input ca-certificate" in failure(job(ca_certificate="nonsense").login)

    def test_an_unwell_entra_is_waited_for(self, azure: Azure, job: Job) -> None:
        azure.server.script(answer(503), "reset", answer(429, Retry_After="7"), when=of_entra)
        job().login()
        assert 7.0 in job.caller.deadline.waits  # type: ignore[attr-defined]  # it is a Quick
        assert len(azure.logins()) == 4

    def test_a_redirect_is_not_followed_with_the_assertion(self, azure: Azure, job: Job) -> None:
        with FaultServer(json_answer({})) as elsewhere:
            azure.server.script(redirect(elsewhere.url, 307), when=of_entra)
            assert "status 307 without a reason" in failure(job().login)
            assert elsewhere.requests == []

    @pytest.mark.parametrize("reply", [json_answer({}), json_answer({"access_token": "x"}), json_answer([])])
    def test_an_answer_of_another_form_is_no_login(self, azure: Azure, job: Job, reply: Step) -> None:
        azure.server.script(reply, reply, when=of_entra)
        failure(job().login)


class TestAmbient:
    @pytest.fixture(autouse=True)
    def _nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")

    def machine(self, job: Job, **options: str) -> AzureStore:
        return job({"azure_tenant_id": "", "azure_client_id": "", **options})

    def test_a_service_principal_of_the_environment_is_used(
        self, azure: Azure, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"TENANT_ID": TENANT, "CLIENT_ID": CLIENT, "CLIENT_SECRET": CLIENT_SECRET}.items():
            monkeypatch.setenv(f"AZURE_{name}", value)
        store = self.machine(job)
        assert store.login() == "ambient credentials of this machine"
        assert store.fetch(Target(f"{azure.host}/SECRET-KEY")).value.reveal() == "s3cret"
        assert set(job.caller.protected) == set(azure.tokens)
        assert job.caller.audiences == []

    def test_a_wrong_client_secret_is_told_in_a_line(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {"TENANT_ID": TENANT, "CLIENT_ID": CLIENT, "CLIENT_SECRET": "wrong"}.items():
            monkeypatch.setenv(f"AZURE_{name}", value)
        said = failure(self.machine(job).login)
        assert said.startswith("the machine has no Azure credentials that work (AADSTS7000215: Invalid client secret")

    def test_at_a_persons_own_machine_ids_with_a_secret_are_meant_for_the_secret(
        self, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"TENANT_ID": TENANT, "CLIENT_ID": CLIENT, "CLIENT_SECRET": CLIENT_SECRET}.items():
            monkeypatch.setenv(f"AZURE_{name}", value)
        assert job(ambient=True).login() == "ambient credentials of this machine"
        assert job().login().startswith("logged in as the application")

    def test_a_managed_identity_is_used(self, azure: Azure, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")

        def give(request: Request) -> Step:
            scope = f"{request.query['resource']}/.default"
            import jwt  # noqa: PLC0415

            azure.tokens.append(jwt.encode({"aud": scope}, "k" * 32))
            return json_answer(
                {
                    "access_token": azure.tokens[-1],
                    "expires_on": str(int(time.time()) + 3600),
                    "resource": request.query["resource"],
                    "token_type": "Bearer",
                }
            )

        with FaultServer(handler=give) as platform:
            monkeypatch.setenv("IDENTITY_ENDPOINT", f"{platform.url}/msi/token")
            monkeypatch.setenv("IDENTITY_HEADER", "header")
            store = self.machine(job)
            store.login()
            assert store.fetch(Target(f"{azure.host}/SECRET-KEY")).value.reveal() == "s3cret"

    def test_what_failed_though_it_was_there_is_told(
        self, azure: Azure, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"TENANT_ID": TENANT, "CLIENT_ID": CLIENT, "CLIENT_SECRET": CLIENT_SECRET}.items():
            monkeypatch.setenv(f"AZURE_{name}", value)
        azure.server.script(*[answer(400)] * 9)
        assert "that work (EnvironmentCredential: Authentication failed" in failure(self.machine(job).login)

    def test_a_machine_without_any_is_told_what_to_give(self, job: Job) -> None:
        said = failure(self.machine(job).login)
        assert said.startswith("the machine has no Azure credentials that work. Give the inputs azure-tenant-id and")

    def test_a_wish_that_the_sdk_does_not_know_is_no_defect(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "nonsense")
        assert "AZURE_TOKEN_CREDENTIALS" in failure(self.machine(job).login)

    def test_a_persons_bundle_of_authorities_counts_and_the_actions_does_not(
        self, azure: Azure, job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        bundle = tmp_path / "ca.pem"
        bundle.write_text(azure.pem)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        job(ambient=True, ca_certificate="").login()
        assert "is not trusted" in failure(job(ca_certificate="").login)


class TestRead:
    def test_a_secret_comes_with_its_version_and_age(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        version = azure.vaults["imip-vault"]["SECRET-KEY"][-1]
        found = job.logged_in().fetch(here("SECRET-KEY"))
        assert (found.value.reveal(), found.is_data, found.version, found.lease) == ("s3cret", False, version.id, None)
        assert found.changed == datetime.fromtimestamp(version.created, timezone.utc)

    @pytest.mark.parametrize("value", ["", " ", '{"a": 1.0}', "a\r\nb\x00c", "€ \U0001f600", "x" * 25_000])
    def test_a_value_comes_byte_for_byte(
        self, azure: Azure, job: Job, here: Callable[[str], Target], value: str
    ) -> None:
        azure.put("odd", value)
        assert job.logged_in().fetch(here("odd")).value.reveal() == value

    def test_a_version_is_read_by_its_id(self, azure: Azure, job: Job) -> None:
        old = azure.vaults["imip-vault"]["SECRET-KEY"][0]
        azure.put("SECRET-KEY", "new")
        store = job.logged_in()
        path = f"{azure.host}/SECRET-KEY"
        assert store.fetch(Target(path)).value.reveal() == "new"
        assert store.fetch(Target(path, version=old.id)).value.reveal() == "s3cret"

    def test_vaults_go_by_their_real_names(self, azure: Azure, job: Job, real_names: list[str]) -> None:
        azure.put("SECRET-KEY", "other", vault="other-vault")
        store = job.logged_in(azure_authority_host="")
        assert store.fetch(Target(SECRET)).value.reveal() == "s3cret"
        assert store.fetch(Target("other-vault/SECRET-KEY")).value.reveal() == "other"
        assert real_names == [
            "login.microsoftonline.com:443",
            "imip-vault.vault.azure.net:443",
            "other-vault.vault.azure.net:443",
        ]
        assert len(azure.logins()) == 1

    @pytest.mark.parametrize(
        ("cloud", "hosts"),
        [
            ("usgovernment", ["login.microsoftonline.us:443", "imip-vault.vault.usgovcloudapi.net:443"]),
            ("china", ["login.chinacloudapi.cn:443", "imip-vault.vault.azure.cn:443"]),
        ],
    )
    def test_each_cloud_has_its_own_hosts(
        self, azure: Azure, job: Job, real_names: list[str], cloud: str, hosts: list[str]
    ) -> None:
        store = job.logged_in(azure_authority_host="", azure_cloud=cloud)
        assert store.fetch(Target(SECRET)).value.reveal() == "s3cret"
        assert real_names == hosts
        assert len(azure.logins()) == 1

    def test_many_threads_share_one_login(self, azure: Azure, job: Job, real_names: list[str]) -> None:
        for number in range(200):
            azure.put(f"s{number}", f"value {number}", vault=f"vault-{number % 3}")
        store = job.logged_in(azure_authority_host="")
        targets = [Target(f"vault-{number % 3}/s{number}") for number in range(200)]
        with ThreadPoolExecutor(32) as pool:
            found = list(pool.map(store.fetch, targets))
        assert [each.value.reveal() for each in found] == [f"value {number}" for number in range(200)]
        assert len(azure.logins()) == 1
        assert len(azure.asked()) == 200
        assert len(real_names) <= 1 + 3 * 32

    def test_a_host_of_its_own_service_costs_one_more_token_for_all_threads(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        store = job.logged_in()
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(store.fetch, [here("SECRET-KEY")] * 64))
        assert len(azure.logins()) == 2
        assert job.caller.audiences == ["api://AzureADTokenExchange"] * 2
        assert len({login.body for login in azure.logins()}) == 2
        assert set(job.caller.protected) == set(azure.tokens)

    def test_what_entra_says_to_the_second_token_is_not_taken_for_the_vaults_word(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        store = job.logged_in()
        azure.federated["subject"] = "another"
        with ThreadPoolExecutor(8) as pool:
            said = list(pool.map(lambda name: failure(lambda: store.fetch(here(name))), ["SECRET-KEY"] * 8))
        assert f"there is no token for the vault {azure.host} (AADSTS700213: No matching" in said[0]
        assert len(azure.logins()) == 2

    def test_an_id_token_that_is_not_to_be_had_later_gives_its_own_reason(
        self, job: Job, here: Callable[[str], Target]
    ) -> None:
        store = job.logged_in()

        def none(_: str) -> str:
            raise ImipError(Problem("no more"))

        job.caller._id_token = none
        assert failure(lambda: store.fetch(here("SECRET-KEY")), ImipError).startswith("no more")

    def test_an_expired_secret_is_given_with_a_notice(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        azure.put("old", "worn", ends=1_700_000_000)
        assert job.logged_in().fetch(here("old")).value.reveal() == "worn"
        (notice,) = job.caller.notices
        assert "has expired (2023-11-14 22:13 UTC)" in notice


class TestRefused:
    @pytest.mark.parametrize(
        ("kind", "said"),
        [
            (
                "ForbiddenByRbac",
                (
                    f"the application {CLIENT} may not get the secret SECRET-KEY of the vault "
                    "imip-vault.vault.azure.net. Assign it the role Key Vault Secrets User on the vault (az role "
                    f"assignment create --role 'Key Vault Secrets User' --assignee {CLIENT} --scope "
                    "/subscriptions/0b1f6471-1bf0-4dda-aec3-111122223333/resourcegroups/imip/providers/microsoft.keyvault/vaults/imip-vault);"
                ),
            ),
            ("ForbiddenByPolicy", "az keyvault set-policy --name imip-vault --secret-permissions get list --spn"),
            (
                "ForbiddenByFirewall",
                "the firewall of the vault imip-vault.vault.azure.net does not let 20.161.60.19 in",
            ),
            ("ForbiddenByConnection", "allows no access from public networks"),
        ],
    )
    @pytest.mark.usefixtures("real_names")
    def test_each_kind_of_forbidden_has_its_remedy(self, azure: Azure, job: Job, kind: str, said: str) -> None:
        store = job.logged_in(azure_authority_host="")
        azure.denial = kind
        assert said in failure(lambda: store.fetch(Target(SECRET)))
        assert len(azure.asked()) == 1

    def test_the_kinds_are_all_tested(self) -> None:
        assert set(DENIALS) == {"ForbiddenByRbac", "ForbiddenByPolicy", "ForbiddenByFirewall", "ForbiddenByConnection"}

    def test_a_denial_is_not_tried_again_whatever_it_asks_for(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        store = job.logged_in()
        azure.server.script(*[answer(403, Retry_After="3600")] * 9, when=of_vault)
        assert "may not get" in failure(lambda: store.fetch(here("SECRET-KEY")))
        assert len(azure.asked()) == 1
        assert job.caller.deadline.waits == []  # type: ignore[attr-defined]  # it is a Quick

    def test_a_disabled_secret_is_no_missing_one(self, azure: Azure, job: Job, here: Callable[[str], Target]) -> None:
        azure.put("off", "x", enabled=False)
        said = failure(lambda: job.logged_in().fetch(here("off")))
        assert "is disabled. Name another version" in said
        assert "--name off --enabled true" in said

    def test_a_secret_whose_time_has_not_come_is_not_used(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        azure.put("next", "x", begins=4_000_000_000)
        said = failure(lambda: job.logged_in().fetch(here("next")))
        assert "is not to be used before 2096-10-02 07:06 UTC" in said

    def test_what_is_not_there_is_told_apart(self, azure: Azure, job: Job, here: Callable[[str], Target]) -> None:
        azure.put("gone", "x")
        azure.delete("gone")
        store = job.logged_in()
        assert "there is no secret none" in failure(lambda: store.fetch(here("none")), MissingError)
        version = Target(here("SECRET-KEY").path, version="0" * 32)
        said = failure(lambda: store.fetch(version), MissingError)
        assert f"there is no secret SECRET-KEY (version {'0' * 32})" in said
        said = failure(lambda: store.fetch(here("gone")), MissingError)
        assert (
            "is soft-deleted (since 2026-09-21, gone for good on 2026-12-20). Bring it back: az keyvault secret" in said
        )

    def test_without_the_right_to_see_deleted_secrets_it_is_just_not_there(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        azure.put("gone", "x")
        azure.delete("gone")
        azure.denial, azure.denied = "ForbiddenByPolicy", "/deletedsecrets"
        assert "there is no secret gone" in failure(lambda: job.logged_in().fetch(here("gone")), MissingError)

    def test_a_vault_alone_is_no_secret(self, job: Job, here: Callable[[str], Target]) -> None:
        assert "it names no secret of the vault" in failure(lambda: job.logged_in().fetch(here("")))

    def test_a_vault_of_another_tenant_is_said_to_be_one(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        azure.tenant_of_vaults = "99999999-86f1-41af-91ab-2d7cd011db47"
        said = failure(lambda: job.logged_in().fetch(here("SECRET-KEY")))
        assert f"belongs to the tenant 99999999-86f1-41af-91ab-2d7cd011db47, but azure-tenant-id is {TENANT}" in said
        assert azure.asked() == []

    def test_a_token_that_the_vault_does_not_take_is_not_sent_for_ever(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        refused = vault_error(401, "Unauthorized", "AKV10032: Invalid issuer. Expected another.")
        azure.server.script(*[refused] * 9, when=of_vault)
        assert "AKV10032: Invalid issuer" in failure(lambda: job.logged_in().fetch(here("SECRET-KEY")))
        assert len(azure.asked()) == 1

    @pytest.mark.parametrize("resource", ["https://vault.azure.net", "https://evil.example", "nonsense"])
    def test_no_token_goes_to_a_host_that_asks_for_one_of_another_service(
        self, azure: Azure, job: Job, here: Callable[[str], Target], resource: str
    ) -> None:
        header = f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{resource}"'
        azure.server.script(answer(401, WWW_Authenticate=header), when=lambda request: not of_entra(request))
        store = job.logged_in()
        assert "of a service that it does not belong to" in failure(lambda: store.fetch(here("SECRET-KEY")))
        assert azure.asked() == []
        assert len(azure.logins()) == 1

    def test_a_host_that_does_not_challenge_is_no_vault(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        azure.server.script(answer(401), when=lambda request: not of_entra(request))
        assert "does not accept our token" in failure(lambda: job.logged_in().fetch(here("SECRET-KEY")))


class TestList:
    def test_all_pages_are_read_in_the_order_of_names(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        for number in reversed(range(120)):
            azure.put(f"imip-{number:03}", "x")
        found = job.logged_in().list(here("imip-"), deep=False)
        assert list(found) == [here(f"imip-{number:03}") for number in range(120)]
        assert azure.asked() == ["/secrets"] * 5
        assert job.caller.notices == []

    def test_what_is_found_can_be_read(self, job: Job, here: Callable[[str], Target]) -> None:
        store = job.logged_in()
        (target,) = store.list(here(""), deep=True)
        assert store.fetch(target).value.reveal() == "s3cret"

    def test_names_know_no_case_and_go_on_after_the_text(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        for name in ("imip-", "Imip-A", "imip-b", "other"):
            azure.put(name, "x")
        assert list(job.logged_in().list(here("IMIP-"), deep=False)) == [here("Imip-A"), here("imip-b")]

    def test_what_is_not_to_be_used_is_left_out_and_named(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        azure.put("imip-a", "x")
        azure.put("imip-b", "x", enabled=False)
        azure.put("imip-c", "x", ends=1_700_000_000)
        azure.put("imip-d", "x", begins=4_000_000_000)
        azure.put("imip-e", "x")
        azure.delete("imip-e")
        azure.put("other", "x", enabled=False)
        assert list(job.logged_in().list(here("imip-"), deep=False)) == [here("imip-a")]
        assert job.caller.notices == [
            (
                f"Azure: left out of the listing of {azure.host}: imip-b (disabled), imip-c (expired), imip-d (not "
                "valid before 2096-10-02 07:06 UTC)"
            )
        ]

    def test_the_notice_does_not_fill_the_log(self, azure: Azure, job: Job, here: Callable[[str], Target]) -> None:
        for number in range(23):
            azure.put(f"off-{number:02}", "x", enabled=False)
        assert job.logged_in().list(here("off"), deep=False) == []
        assert job.caller.notices[0].endswith("off-19 (disabled) and 3 more")

    def test_a_denied_listing_names_the_role(self, azure: Azure, job: Job, here: Callable[[str], Target]) -> None:
        azure.denial = "ForbiddenByRbac"
        said = failure(lambda: job.logged_in().list(here("imip-"), deep=False))
        assert f"may not list the secrets of the vault {azure.host}. Assign it the role Key Vault Secrets User" in said


class TestFaults:
    @pytest.mark.parametrize(
        "fault", [answer(503), answer(429, Retry_After="2"), answer(500), "reset", "close", html_answer()]
    )
    def test_what_passes_is_waited_for(
        self, azure: Azure, job: Job, here: Callable[[str], Target], fault: Step
    ) -> None:
        azure.server.script(fault, when=of_vault)
        assert job.logged_in().fetch(here("SECRET-KEY")).value.reveal() == "s3cret"

    @pytest.mark.parametrize(
        ("fault", "said", "asked"),
        [
            (answer(429, Retry_After="3600"), "throttles (429, too many requests) (6 tries). Others use up", 6),
            (answer(429, Retry_After="Wed, 21 Oct 2099 07:28:00 GMT"), "throttles", 6),
            (answer(429, Retry_After="soon"), "throttles", 6),
            (answer(503), "answers 503 (6 tries)", 6),
            ("reset", " (6 tries). May this machine reach it?", 6),
            (short(json_answer({"value": "x"}), 3), "was cut off (6 tries)", 6),
            (html_answer(), "answered with something that is not Azure's JSON (2 tries)", 2),
            (bad_json(), "answered with something that is not Azure's JSON (2 tries)", 2),
            (json_answer(["x"]), "answered with something that is not Azure's JSON (2 tries)", 2),
            (huge(9 * 1024 * 1024), "answered with more than 8 MiB", 1),
            (json_answer({}), "holds no value for the secret SECRET-KEY", 1),
            (json_answer({"value": None}), "holds no value", 1),
            (json_answer({"value": "x", "id": "nonsense"}), "is not Azure's JSON", 1),
            (json_answer({"value": "x", "id": 7}), "is not Azure's JSON", 1),
            (json_answer({"value": "x", "attributes": {"exp": "soon"}}), "is not Azure's JSON", 1),
            (json_answer({"value": "x", "attributes": {"exp": 10**30}}), "is not Azure's JSON", 1),
            (json_answer({"value": "x", "attributes": "x"}), "is not Azure's JSON", 1),
            (answer(400, "x"), "answers 400 to the reading of the secret SECRET-KEY", 1),
            (answer(404, "x"), "answers 404 to the reading of the secret SECRET-KEY", 1),
            (bad_json().__class__(403, bad_json().headers, bad_json().body), "may not get", 1),
        ],
        ids=str,
    )
    def test_what_stays_is_one_error(self, azure: Azure, job: Job, fault: Step, said: str, asked: int) -> None:
        azure.server.script(*[fault] * 9, when=of_vault)
        store = job.logged_in()
        assert said in failure(lambda: store.fetch(Target(f"{azure.host}/SECRET-KEY")))
        assert len(azure.asked()) == asked
        waits = job.caller.deadline.waits  # type: ignore[attr-defined]  # it is a Quick
        assert all(wait <= 20.0 for wait in waits)

    def test_long_waits_are_announced(self, azure: Azure, job: Job, here: Callable[[str], Target]) -> None:
        azure.server.script(answer(429, Retry_After="12"), when=of_vault)
        job.logged_in().fetch(here("SECRET-KEY"))
        assert job.caller.notices == [f"Azure: {azure.host} throttles (429, too many requests); try 2 follows in 12 s"]

    @pytest.mark.parametrize("fault", ["hang", slow(json_answer({"value": "x" * 1000}), 20)], ids=["hang", "slow"])
    def test_no_answer_outlasts_the_run(
        self, azure: Azure, job: Job, monkeypatch: pytest.MonkeyPatch, fault: Step
    ) -> None:
        azure.server.script(*[fault] * 500, when=of_vault)
        store = job(deadline=(deadline := Deadline(100)))
        store.login()
        monkeypatch.setattr(transport, "READ_SECONDS", 0.3)
        end_in(deadline, 2.0)
        started = time.monotonic()
        said = failure(lambda: store.fetch(Target(f"{azure.host}/SECRET-KEY")))
        assert "no answer from" in said or "came in too slowly" in said
        assert time.monotonic() - started < 30

    def test_a_redirect_takes_no_token_along(self, azure: Azure, job: Job, here: Callable[[str], Target]) -> None:
        with FaultServer(json_answer({"value": "evil"})) as elsewhere:
            azure.server.script(redirect(f"{elsewhere.url}/secrets/SECRET-KEY", 307), when=of_vault)
            said = failure(lambda: job.logged_in().fetch(here("SECRET-KEY")))
            assert "redirects to 127.0.0.1, which is not followed with a token" in said
            assert elsewhere.requests == []

    def test_a_compressed_answer_is_not_asked_for_and_not_unpacked(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        job.logged_in().fetch(here("SECRET-KEY"))
        assert {request.headers["accept-encoding"] for request in azure.requests} == {"identity"}

    def test_an_unknown_vault_is_told_by_its_host(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        real = socket.getaddrinfo

        def look_up(host: str, *arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - passed on as they came
            """Answer as a resolver does that works, whether or not this machine has one."""
            if str(host).endswith(".invalid"):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return real(host, *arguments, **more)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        said = failure(lambda: job.logged_in().fetch(Target("no-such-vault.vault.invalid/a")))
        assert "no host by the name no-such-vault.vault.invalid is known. Is the name right" in said

    def test_a_port_where_nobody_listens_is_tried_to_the_end(self, azure: Azure, job: Job) -> None:
        store = job.logged_in()
        with FaultServer(answer(200)) as server:
            port = server.port
        assert "failed (Connection refused) (6 tries)" in failure(lambda: store.fetch(Target(f"127.0.0.1:{port}/a")))
        assert len(azure.asked()) == 0

    @pytest.mark.parametrize("kind", ["wrong_host", "expired", "outdated", "self_signed", "untrusted"])
    def test_nothing_is_sent_over_bad_tls(self, azure: Azure, job: Job, kind: str) -> None:
        authority = Authority()
        servers = {
            "wrong_host": authority.wrong_host,
            "expired": authority.expired,
            "outdated": authority.outdated,
            "self_signed": self_signed,
            "untrusted": Authority().good,
        }
        store = job.logged_in(ca_certificate=azure.pem + authority.pem)
        with FaultServer(answer(200), tls=servers[kind]()) as server:
            said = failure(lambda: store.fetch(Target(f"127.0.0.1:{server.port}/a")))
            assert server.requests == []
        assert ("TLS with" if kind == "outdated" else "is not trusted") in said
        assert "tries" not in said

    def test_a_plain_server_is_no_vault(self, job: Job) -> None:
        with FaultServer(answer(200)) as server:
            failure(lambda: job.logged_in().fetch(Target(f"127.0.0.1:{server.port}/a")))

    @pytest.mark.parametrize(("status", "tries"), [(407, 1), (502, 6)])
    def test_a_proxy_that_does_not_connect_is_named(
        self, job: Job, monkeypatch: pytest.MonkeyPatch, status: int, tries: int
    ) -> None:
        with FaultServer(answer(status)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            said = failure(job(azure_authority_host="").login)
            assert "the proxy of HTTPS_PROXY did not connect to login.microsoftonline.com" in said
            assert len(proxy.requests) == tries
            assert all(request.method == "CONNECT" for request in proxy.requests)

    def test_no_proxy_is_used_for_loopback(
        self, job: Job, here: Callable[[str], Target], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FaultServer(answer(407)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            assert job.logged_in().fetch(here("SECRET-KEY")).value.reveal() == "s3cret"
            assert proxy.requests == []

    def test_a_server_is_never_heard_but_through_us(
        self, azure: Azure, job: Job, here: Callable[[str], Target], capfd: pytest.CaptureFixture[str]
    ) -> None:
        hostile = "::add-mask::x\n##[group]y"
        azure.server.script(vault_error(403, "Forbidden", hostile, "New"), when=of_vault)
        said = failure(lambda: job.logged_in().fetch(here("SECRET-KEY")))
        assert ": :add-mask: :x ## [group]y" in said
        azure.federated["subject"] = hostile
        failure(job().login)
        assert capfd.readouterr() == ("", "")


class TestRequest:
    def test_a_request_names_its_variables_by_the_secrets_and_not_by_versions(
        self, azure: Azure, job: Job, real_names: list[str]
    ) -> None:
        old = azure.vaults["imip-vault"]["SECRET-KEY"][0]
        azure.put("SECRET-KEY", "new")
        azure.put("imip-json", '{"db-user": "u", "n": 1.0}')
        azure.put("imip-off", "x", enabled=False)
        azure.put("other", "o", vault="other-vault")
        job(azure_authority_host="")
        lines = f"""
            azure://imip-vault/SECRET-KEY/{old.id}
            NEW = azure://imip-vault/SECRET-KEY
            APP_* = azure://imip-vault/imip-*
            azure://other-vault/other
            GONE = azure://imip-vault/none?default=stand-in
        """
        given = {name: job.caller.context.settings[name] for name in ("azure-tenant-id", "azure-client-id")}
        wanted = read({**given, "secrets": lines})
        resolved = resolve(wanted, job.caller.context)
        assert {variable.name: variable.value.reveal() for variable in resolved.variables} == {
            "SECRET_KEY": "s3cret",
            "NEW": "new",
            "APP_DB_USER": "u",
            "APP_N": "1.0",
            "OTHER": "o",
            "GONE": "stand-in",
        }
        assert resolved.logins == {"Azure Key Vault": f"logged in as the application {CLIENT} of tenant {TENANT}"}
        assert len(azure.logins()) == 1
        assert real_names[0] == "login.microsoftonline.com:443"

    def test_the_same_version_written_in_two_ways_is_read_once(
        self, azure: Azure, job: Job, real_names: list[str]
    ) -> None:
        old = azure.vaults["imip-vault"]["SECRET-KEY"][0]
        job(azure_authority_host="")
        given = {name: job.caller.context.settings[name] for name in ("azure-tenant-id", "azure-client-id")}
        lines = f"A = azure://imip-vault/SECRET-KEY/{old.id}\nB = azure://imip-vault/SECRET-KEY?version={old.id}"
        resolved = resolve(read({**given, "secrets": lines}), job.caller.context)
        assert [variable.name for variable in resolved.variables] == ["A", "B"]
        assert len(azure.asked()) == 1
        assert len(real_names) == 2


class TestVersions:
    def test_a_version_is_told_without_its_value(self, azure: Azure, job: Job, here: Callable[[str], Target]) -> None:
        first = azure.put("versions", "one", created=1_700_000_000)
        azure.put("versions", "two", created=1_700_000_060)
        store = job.logged_in()
        for target in (here("versions"), here("versions")._replace(version=first.id)):
            version, found = store.version_of(target), store.fetch(target)
            assert version == (found.version, found.changed)
        assert store.version_of(here("versions")._replace(version="f" * 32)) is None

    def test_two_of_one_second_and_none_are_not_told(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        azure.put("twins", "one", created=1_700_000_000)
        azure.put("twins", "two", created=1_700_000_000)
        azure.put("off", "x", enabled=False)
        store = job.logged_in()
        assert store.version_of(here("twins")) is None
        assert store.version_of(here("off")) is None
        assert store.version_of(here("nowhere")) is None

    def test_who_may_not_read_metadata_gets_no_version(
        self, azure: Azure, job: Job, here: Callable[[str], Target]
    ) -> None:
        store = job.logged_in()
        azure.denial, azure.denied = next(iter(DENIALS)), "/versions"
        assert store.version_of(here("SECRET-KEY")) is None
