"""What the Azure store refuses before any network, and what it makes of single answers."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import TYPE_CHECKING, cast

import pytest
import requests
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.rest import HttpRequest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.errors import StoreError
from imip_secrets.identity import IdToken
from imip_secrets.references import parse
from imip_secrets.secret import Secret
from imip_secrets.settings import Settings
from imip_secrets.stores import SCHEMES
from imip_secrets.stores.azure import check, open_store, trust
from imip_secrets.stores.azure.assertions import Assertions
from imip_secrets.stores.azure.credential import ForeignTenantError, NoTokenError, Tokens
from imip_secrets.stores.azure.entra import Refusal as EntraRefusal
from imip_secrets.stores.azure.faults import READ_SECONDS, TRIES, Fault, busy, fault_of
from imip_secrets.stores.azure.login import Identity
from imip_secrets.stores.azure.patience import MAX_RETRY_AFTER, Patience, Retries
from imip_secrets.stores.azure.places import CLOUDS, Place
from imip_secrets.stores.azure.refusals import Asked, Refusal
from imip_secrets.stores.azure.transport import Transport
from imip_secrets.stores.azure.trust import tls_context
from imip_secrets.stores.azure.vaults import Vaults
from imip_secrets.stores.base import StoreModule, Target
from stand_ins.tls import Authority
from stand_ins.vault_script import Caller, Quick

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from azure.core.credentials import AccessTokenInfo, SupportsTokenInfo
    from azure.core.rest import HttpResponse

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CLIENT = "11112222-bbbb-3333-cccc-4444dddd5555"
GOOD = {"azure-tenant-id": TENANT, "azure-client-id": CLIENT}
VERSION = "c14dfa0df0db4bca9541023f71d83847"
ME = Identity("me", f"the application {CLIENT}", CLIENT, TENANT)


def problems(settings: Mapping[str, str], *targets: Target) -> list[str]:
    return [str(problem) for _, problem in check(Settings(settings), targets)]


def test_the_module_is_a_store_module() -> None:
    from imip_secrets.stores import azure  # noqa: PLC0415 - the module itself is what is looked at

    module: StoreModule = azure
    assert SCHEMES["azure"].load() is module
    assert module.open_store is open_store


def test_neither_check_nor_opening_imports_the_sdk() -> None:
    code = (
        "import sys, imip_secrets.stores.azure as store; from imip_secrets.settings import Settings; "
        "list(store.check(Settings({}), [])); store.open_store(None); "
        "print([name for name in sys.modules if name.split('.')[0] in ('azure', 'msal', 'requests', 'ssl')])"
    )
    assert said_by(code) == "[]\n"


def test_the_sdks_own_log_is_not_printed() -> None:
    code = "import imip_secrets.stores.azure.vaults, logging; "
    assert said_by(f"{code}[logging.getLogger(name).error('x') for name in ('azure.identity', 'msal')]") == ""


def said_by(code: str) -> str:
    """Give what a Python says that runs this code, on both of its streams."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        env=environ,
    )
    return done.stdout


class TestCheck:
    def test_good_settings_and_targets_have_no_problems(self) -> None:
        targets = [
            Target("imip-vault/SECRET-KEY"),
            Target("imip-vault/"),
            Target("imip-vault/imip-"),
            Target("imip-vault/a", version=VERSION.upper()),
            Target("imip-vault.vault.azure.net/a"),
            Target("127.0.0.1:8443/a"),
            Target("localhost:8443/a"),
        ]
        assert problems(GOOD, *targets) == []
        assert problems({}, *targets) == []

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"azure-tenant-id": TENANT}, "input azure-client-id: it is missing, while azure-tenant-id is given"),
            ({"azure-client-id": CLIENT}, "input azure-tenant-id: it is missing, while azure-client-id is given"),
            ({**GOOD, "azure-tenant-id": "contoso.onmicrosoft.com"}, "is not the directory (tenant) id. Copy it from"),
            ({**GOOD, "azure-client-id": "imip"}, "input azure-client-id: 'imip' is not the application (client) id"),
            ({"azure-authority-host": "http://127.0.0.1:1"}, "input azure-authority-host: an ID token is sent there"),
        ],
    )
    def test_each_wrong_setting_is_one_problem(self, settings: Mapping[str, str], said: str) -> None:
        found = problems(settings)
        assert len(found) == 1
        assert said in found[0]

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            (Target(""), "it names no vault"),
            (Target("/a"), "it names no vault"),
            (Target("imip-vault"), "Write azure://imip-vault/SECRET, or azure://imip-vault/*"),
            (Target("ab/a"), "'ab' is no name of a vault"),
            (Target("1imip/a"), "'1imip' is no name of a vault"),
            (Target("imip--vault/a"), "'imip--vault' is no name of a vault"),
            (Target("imip-/a"), "'imip-' is no name of a vault"),
            (Target("a" * 25 + "/a"), "is no name of a vault"),
            (Target("imip_vault/a"), "'imip_vault' is no name of a vault"),
            (Target("user@host.example/a"), "'user@host.example' is no host"),
            (Target("host.example\\@evil.example/a"), "is no host"),
            (Target("[::1]:1/a"), "is no host"),
            (Target("https://x.vault.azure.net/secrets/a"), "'https:' is no host"),
            (Target("imip-vault/a/b/c"), "Key Vault has no folders"),
            (Target("imip-vault/a/"), "Key Vault has no folders"),
            (Target("imip-vault/SECRET_KEY"), "such as azure://imip-vault/SECRET-KEY."),
            (Target("imip-vault/é"), "such as azure://imip-vault/SECRET-KEY."),
            (Target("imip-vault/" + "a" * 128), "is no name of a secret"),
            (Target("imip-vault/secrets/SECRET-KEY/x"), "the word secrets"),
            (Target("imip-vault/secrets", version="SECRET-KEY"), "Leave it out: azure://imip-vault/SECRET-KEY."),
            (Target("imip-vault/a", version="2"), "'2' is no version of a secret"),
            (
                Target("x.vault.azure.cn/a"),
                "is a vault of the cloud china, but azure-cloud is public. Write azure-cloud: china.",
            ),
        ],
    )
    def test_each_wrong_target_is_one_problem_of_that_target(self, target: Target, said: str) -> None:
        found = list(check(Settings(GOOD), [Target("imip-vault/fine"), target]))
        assert [which for which, _ in found] == [target]
        assert said in str(found[0][1])

    @given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1))
    def test_a_path_that_passes_leads_to_one_secret_of_one_host(self, path: str) -> None:
        lines, _ = parse(f"azure://{path}")
        targets = [line.reference.target for line in lines if not line.reference.listing]
        for target in targets:
            if problems(GOOD, target):
                continue
            from urllib.parse import urlsplit  # noqa: PLC0415

            place = Place.of(target, Settings(GOOD))
            parts = urlsplit(f"{place.url}/secrets/{place.name}/{place.version or ''}")
            assert (parts.username, parts.query, parts.fragment) == (None, "", "")
            assert parts.path.count("/") == 3


class TestPlace:
    @pytest.mark.parametrize(
        ("path", "cloud", "host"),
        [
            ("imip-vault/a", "public", "imip-vault.vault.azure.net"),
            ("Imip-Vault/a", "usgovernment", "imip-vault.vault.usgovcloudapi.net"),
            ("imip-vault/a", "china", "imip-vault.vault.azure.cn"),
            ("vault.example:8443/a", "public", "vault.example:8443"),
        ],
    )
    def test_a_name_is_a_host_of_the_cloud_and_a_host_stays(self, path: str, cloud: str, host: str) -> None:
        place = Place.of(Target(path), Settings({"azure-cloud": cloud}))
        assert (place.host, place.name, place.url) == (host, "a", f"https://{host}")

    def test_only_a_host_of_azure_tells_the_name_of_its_vault(self) -> None:
        assert Place("imip.vault.azure.cn", "a").vault == "imip"
        assert Place("127.0.0.1:1", "a").vault == "VAULT_NAME"

    def test_the_clouds_are_those_of_azure_identity(self) -> None:
        from azure.identity import AzureAuthorityHosts  # noqa: PLC0415

        hosts = AzureAuthorityHosts
        known = {hosts.AZURE_PUBLIC_CLOUD, hosts.AZURE_GOVERNMENT, hosts.AZURE_CHINA}
        assert {cloud.authority.removeprefix("https://") for cloud in CLOUDS.values()} == known


class Reply:
    """An answer, as far as the exceptions of the SDK look at it."""

    def __init__(self, status: int, body: object, **headers: str) -> None:
        self.status_code, self.reason, self.headers = status, "Scripted", headers
        self._body = body if isinstance(body, str) else json.dumps(body)

    def text(self, encoding: str | None = None) -> str:
        assert encoding is None
        return self._body


def refused(status: int, body: object, **headers: str) -> HttpResponseError:
    return HttpResponseError(response=cast("HttpResponse", Reply(status, body, **headers)))


class TestRefusals:
    def said(self, refusal: Refusal, verb: str = "get") -> str:
        place = Place("imip-vault.vault.azure.net", "SECRET-KEY" if verb == "get" else "imip-")
        return str(Asked(place, ME, verb).refused(refusal))

    @pytest.mark.parametrize(
        "body",
        ["", "no JSON", "[]", "{}", '{"error": "x"}', '{"error": {"innererror": "x"}}', "[" * 100_000],
    )
    def test_an_answer_without_key_vaults_reason_is_told_by_its_status(self, body: str) -> None:
        refusal = Refusal.of(refused(403, body))
        assert (refusal.status, refusal.code, refusal.inner, refusal.raw) == (403, "", "", "")
        assert "it gives no reason" in self.said(refusal)

    def test_an_exception_without_an_answer_has_no_status(self) -> None:
        assert Refusal.of(HttpResponseError("x")) == Refusal(0)

    def test_both_spellings_of_the_inner_code_are_read(self) -> None:
        for name in ("innererror", "innerError"):
            body = {"error": {"code": "Forbidden", "message": "no", name: {"code": "SecretDisabled"}}}
            assert Refusal.of(refused(403, body)).inner == "SecretDisabled"

    def test_a_name_that_a_deleted_secret_has_is_taken(self) -> None:
        place = Place("imip-vault.vault.azure.net", "SECRET-KEY")
        refusal = Refusal(409, "Conflict", "ObjectIsDeletedButRecoverable", "is currently in a deleted state")
        command = "az keyvault secret {} --vault-name imip-vault --name SECRET-KEY"
        assert str(Asked(place, ME, "set").refused(refusal)) == (
            "the secret SECRET-KEY of the vault imip-vault.vault.azure.net is soft-deleted, so its name is taken. "
            f"Bring it back ({command.format('recover')}) and run it again; or, if nobody will ever need it, purge it "
            f"({command.format('purge')})."
        )
        busy = Refusal(409, "Conflict", "ObjectIsBeingDeleted", "Secret is currently being deleted.")
        assert "cannot be written now (Secret is currently being deleted). Run it" in str(
            Asked(place, ME, "set").refused(busy)
        )

    def test_a_listing_that_is_denied_names_the_list(self) -> None:
        said = self.said(Refusal(403, inner="ForbiddenByRbac"), "list")
        assert "may not list the list of secrets" not in said
        assert f"the application {CLIENT} may not list the secrets of the vault imip-vault.vault.azure.net" in said
        assert "--scope RESOURCE_ID_OF_imip-vault" in said

    @pytest.mark.parametrize(
        ("inner", "said"),
        [
            ("SecretExpired", "is expired. Name another version, or change it: az keyvault secret set-attributes"),
            ("SecretNotYetValid", "--name SECRET-KEY --not-before TIME."),
            ("AccessDenied", "--secret-permissions get list --spn"),
            ("ForbiddenByFirewall", "does not let this runner in"),
        ],
    )
    def test_kinds_of_forbidden_that_the_stand_in_does_not_show(self, inner: str, said: str) -> None:
        assert said in self.said(Refusal(403, "Forbidden", inner))

    def test_an_unknown_kind_shows_key_vaults_words_tamed(self) -> None:
        said = self.said(Refusal(403, "Forbidden", "New", "::add-mask::x\r\n##[group]why."))
        assert "(: :add-mask: :x ## [group]why)" in said

    @pytest.mark.parametrize(
        ("location", "shown"),
        [
            ("https://user:pw@evil.example/x?token=1", "evil.example,"),
            ("/elsewhere", "another path,"),
            ("https://[", "something that is no address,"),
        ],
    )
    def test_of_a_redirect_only_the_host_is_shown(self, location: str, shown: str) -> None:
        said = self.said(Refusal.of(refused(307, "", Location=location)))
        assert f"redirects to {shown} which is not followed with a token" in said

    def test_a_token_that_is_not_accepted_names_the_tenant(self) -> None:
        said = self.said(Refusal(401, "Unauthorized", raw="AKV10032: Invalid issuer."))
        assert "does not accept our token (AKV10032: Invalid issuer). The tenant must be that of the vault's" in said
        assert f"(now {TENANT})" in said
        place = Place("v.vault.azure.net", "a")
        assert "(that of the credentials)" in str(Asked(place, Identity("", "")).refused(Refusal(401)))

    def test_a_404_of_somebody_else_is_no_missing_secret(self) -> None:
        assert not Refusal(404).is_missing
        assert "answers 404 to the reading of the secret SECRET-KEY" in self.said(Refusal(404))

    def test_days_that_are_not_told_are_left_out(self) -> None:
        asked = Asked(Place("v.vault.azure.net", "a"), ME)
        assert "is soft-deleted. Bring it back" in str(asked.deleted("", ""))
        assert "(gone for good on 2026-12-01)" in str(asked.deleted("", "2026-12-01"))


class TestEntra:
    TOKEN = IdToken(Secret("secret-token"), {"sub": "repo:o/r:ref:refs/heads/main", "iss": "https://issuer.example"})

    def said(self, code: int | str, **claims: str) -> str:
        error = refused(400, {"error": "invalid_client", "error_description": f"AADSTS{code}: Why. Trace ID: 1"})
        token = IdToken(self.TOKEN.token, {**self.TOKEN.claims, **claims})
        return str(EntraRefusal.of(error).error(Settings(GOOD), token))

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            (70021, "subject repo:o/r:ref:refs/heads/main, audience api://AzureADTokenExchange, letter by letter"),
            (700016, "correct azure-client-id (the application's id, not that of its object)"),
            (90002, f"There is no tenant {TENANT} in the cloud public"),
            (900382, "is in another cloud than public"),
            (700024, "Set the clocks right; 3 fresh tokens were tried"),
            (50013, "keys of its issuer, https://issuer.example"),
            (7000112, f"Enable the application {CLIENT}"),
            (500011, "Key Vault is not known to the tenant"),
            (53003, "Conditional Access"),
            (1, f"Correct the application {CLIENT} in Entra ID. The token has sub="),
        ],
    )
    def test_each_code_has_its_remedy(self, code: int, said: str) -> None:
        shown = self.said(code)
        assert f"(AADSTS{code}: Why). " in shown
        assert said in shown
        assert "secret-token" not in shown

    @pytest.mark.parametrize(
        ("subject", "said"),
        [
            ("repo:o/r:environment:p", "sends the form without ids"),
            ("repo:o@1/r@2:environment:p", "sends the form with ids"),
        ],
    )
    def test_githubs_two_forms_of_the_subject_are_explained(self, subject: str, said: str) -> None:
        shown = self.said(700213, sub=subject, iss="https://token.actions.githubusercontent.com")
        assert said in shown
        assert said not in self.said(700213, sub=subject)

    def test_links_and_ids_for_support_are_left_out(self) -> None:
        text = "AADSTS7002138: Not this. See documentation at: https://learn.example/x. See more: https://y Trace ID: 2"
        refusal = EntraRefusal.of(ClientAuthenticationError(text))
        assert (refusal.code, refusal.text) == ("7002138", "Not this")

    @pytest.mark.parametrize("body", ["", "no JSON", "[]", "{}", "[" * 100_000])
    def test_an_answer_without_a_code_is_told_by_its_status(self, body: str) -> None:
        refusal = EntraRefusal.of(refused(400, body))
        assert (refusal.code, refusal.text) == ("", "")
        assert "(status 400 without a reason)" in str(refusal.error(Settings(GOOD), self.TOKEN))

    def test_hostile_text_is_tamed(self) -> None:
        said = self.said("1: ::stop-commands::x\r\n##[error]{claims} {")
        assert "::stop" not in said
        assert "##[" not in said


class Credential:
    """Gives what it is told to."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)

    def get_token_info(self, *_: str, options: object = None) -> AccessTokenInfo:
        from azure.core.credentials import AccessTokenInfo  # noqa: PLC0415

        assert options is None or isinstance(options, dict)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return AccessTokenInfo(answer, 2_000_000_000)

    def close(self) -> None:
        self.answers.clear()


class TestTokens:
    def tokens(self, *answers: str | Exception) -> tuple[Tokens, list[str]]:
        masked: list[str] = []
        credential = cast("SupportsTokenInfo", Credential(*answers))
        return Tokens(credential, lambda secret: masked.append(secret.reveal()), TENANT), masked

    def test_each_token_is_masked_once(self) -> None:
        tokens, masked = self.tokens("one", "one", "two")
        with tokens:
            assert [tokens.get_token_info("s").token for _ in range(3)] == ["one", "one", "two"]
        assert masked == ["one", "two"]

    def test_what_failed_is_not_begun_again_until_it_is_forgiven(self) -> None:
        tokens, _ = self.tokens(AzureError("first"), "good")
        for _ in range(2):
            with pytest.raises(AzureError, match="first"):
                tokens.get_token_info("s")
        tokens.forgive()
        assert tokens.get_token_info("s").token == "good"

    def test_a_refusal_is_told_from_what_a_vault_says(self) -> None:
        tokens, _ = self.tokens(refused(401, {}))
        with pytest.raises(NoTokenError) as caught:
            tokens.get_token_info("s")
        assert caught.value.error.status_code == 401

    def test_a_token_of_another_tenant_is_not_asked_for(self) -> None:
        tokens, _ = self.tokens("good")
        with pytest.raises(ForeignTenantError, match="other"):
            tokens.get_token_info("s", options={"tenant_id": "other"})
        assert tokens.get_token_info("s", options={"tenant_id": TENANT.upper()}).token == "good"


def test_every_assertion_is_a_fresh_one() -> None:
    count = iter(range(9))

    def sign(audience: str) -> str:
        import jwt  # noqa: PLC0415

        return jwt.encode({"aud": audience, "n": next(count)}, "k" * 32)

    caller = Caller({}, id_token=sign)
    assertions = Assertions(caller.context)
    given = {assertions() for _ in range(3)}
    assert len(given) == 3
    assert caller.audiences == ["api://AzureADTokenExchange"] * 3
    assert assertions.last.claims["n"] == 2


class TestPatience:
    def test_no_server_can_ask_for_more_than_the_cap(self) -> None:
        deadline, said = Quick(), list[str]()
        assert Patience(deadline, said.append).wait(busy("https://v.example/x", 429, 3600.0))
        assert deadline.waits == [MAX_RETRY_AFTER]
        assert said == ["Azure: v.example throttles (429, too many requests); try 2 follows in 20 s"]

    def test_short_waits_are_not_worth_a_line_and_long_ones_are_one_line_for_all(self) -> None:
        said = list[str]()
        patience = Patience(Quick(), said.append)
        patience.wait(busy("https://v", 503, 1.0))
        assert said == []
        for _ in range(5):
            patience.wait(busy("https://v", 503, 15.0))
        assert len(said) == 1

    def test_there_is_no_wait_past_the_end_of_the_run(self) -> None:
        said = list[str]()
        assert not Patience(Quick(5.0), said.append).wait(busy("https://v", 503, 15.0))
        assert said == []

    def send(self, *outcomes: Fault) -> tuple[int, Quick]:
        deadline = Quick()
        retries = Retries(Patience(deadline, lambda _: None))
        left = list(outcomes)

        class Next:
            def send(self, _: object) -> None:
                raise left.pop(0)

        retries.next = Next()  # type: ignore[assignment]  # as far as it is used
        request = HttpRequest("GET", "https://v.example/")
        with pytest.raises(Fault) as caught:
            retries.send(PipelineRequest(request, PipelineContext(None)))
        return caught.value.made, deadline

    def test_a_fault_is_tried_as_often_as_it_is_worth(self) -> None:
        assert self.send(*[Fault("x", "") for _ in range(9)])[0] == TRIES
        assert self.send(Fault("x", ""), Fault("y", "", tries=1))[0] == 2

    def test_waits_grow_and_have_an_end(self) -> None:
        _, deadline = self.send(*[Fault("x", "") for _ in range(9)])
        assert len(deadline.waits) == TRIES - 1
        assert all(wait <= min(8.0, 0.5 * 2 ** (number + 1)) for number, wait in enumerate(deadline.waits))

    def test_the_number_of_tries_is_in_the_error(self) -> None:
        fault = Fault("it broke", "Mend it.")
        assert str(fault.error()) == "it broke. Mend it."
        fault.made = 3
        assert str(fault.error()) == "it broke (3 tries). Mend it."


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (TimeoutError(), f"no answer from v.example within {READ_SECONDS:g} s"),
        (ConnectionResetError(104, "Connection reset by peer"), "failed (Connection reset by peer)"),
        (ssl.SSLEOFError(8, "EOF occurred"), "the connection to v.example failed"),
        (ValueError("::x::"), "failed (ValueError)"),
        (requests.exceptions.ConnectTimeout("x"), "no connection to v.example within 5 s"),
    ],
)
def test_the_system_says_why_there_was_no_answer(cause: Exception, said: str) -> None:
    assert said in fault_of(AzureError("outer", error=cause), "https://v.example/secrets/x").what


def test_a_look_up_that_failed_just_now_is_tried_again() -> None:
    import socket  # noqa: PLC0415

    fault = fault_of(socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "https://v.example")
    assert (fault.what, fault.tries) == ("the name v.example could not be looked up just now", TRIES)


class TestTrust:
    def test_given_authorities_count_besides_the_systems(self, tmp_path: Path) -> None:
        before = tls_context("", None).cert_store_stats()["x509_ca"]
        assert tls_context(Authority().pem, None).cert_store_stats()["x509_ca"] == before + 1
        file = tmp_path / "ca.pem"
        file.write_text(Authority().pem)
        assert tls_context("", str(file)).cert_store_stats()["x509_ca"] == before + 1
        assert tls_context("", str(tmp_path)).verify_mode is ssl.CERT_REQUIRED

    def test_what_is_no_certificate_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="the input ca-certificate holds no certificate"):
            tls_context("-----BEGIN CERTIFICATE-----\nx", None)
        with pytest.raises(
            StoreError, match=r"none.pem \(REQUESTS_CA_BUNDLE\) holds no certificate that can be used \(No such"
        ):
            tls_context("", str(tmp_path / "none.pem"))

    def test_a_system_that_knows_nobody_gets_a_list(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trust, "_knows_nobody", lambda _: True)
        assert tls_context("", None).cert_store_stats()["x509_ca"] > 50

    def test_a_folder_of_authorities_is_somebody(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        paths = ssl.get_default_verify_paths()._replace(capath=str(tmp_path))
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
        assert trust._knows_nobody(empty)
        (tmp_path / "one.0").write_text("")
        assert not trust._knows_nobody(empty)


def test_a_store_that_is_not_logged_in_is_a_defect() -> None:
    store = open_store(Caller({}).context)
    with pytest.raises(RuntimeError, match="not logged in"):
        store.fetch(Target("imip-vault/a"))
    store.close()


def test_times_are_read_as_utc() -> None:
    from imip_secrets.stores.azure import _minute  # noqa: PLC0415

    assert _minute(datetime(2026, 11, 24, 4, 1, tzinfo=timezone.utc)) == "2026-11-24 04:01 UTC"


def test_waits_of_the_sdks_own_have_the_same_end() -> None:
    deadline = Quick()
    transport = Transport(tls_context("", None), deadline)
    transport.sleep(3600)
    transport.end()
    assert deadline.waits == [MAX_RETRY_AFTER]


def test_no_two_threads_share_a_client_of_the_sdk() -> None:
    deadline = Quick()
    transport = Transport(tls_context("", None), deadline)
    tokens = Tokens(cast("SupportsTokenInfo", Credential()), lambda _: None, TENANT)
    vaults = Vaults(tokens, transport, Patience(deadline, lambda _: None))
    place = Place("v.vault.azure.net", "a")
    with ThreadPoolExecutor(1) as other:
        theirs = other.submit(vaults._client, place).result()
        assert other.submit(vaults._client, place).result() is theirs
    assert vaults._client(place) is vaults._client(place)
    assert vaults._client(place) is not theirs
    vaults.close()
