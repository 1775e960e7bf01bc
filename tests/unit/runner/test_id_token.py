from __future__ import annotations

import base64
import gc
import json
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError
from imip_secrets.runner import id_token_endpoint
from imip_secrets.runner.id_token import source
from stand_ins.faults import FaultServer, answer, bad_json, html_answer, huge, json_answer, redirect, short, slow
from stand_ins.oidc import Issuer
from stand_ins.tls import Authority, self_signed

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from imip_secrets.identity import IdToken
    from imip_secrets.secret import Secret
    from stand_ins.faults import Request, Step

AUDIENCE = "sts.amazonaws.com"
# A repository that is a fork, with a pull request of its own.
ITSELF_A_FORK = {"full_name": "o/a", "fork": True}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_token_endpoint, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(id_token_endpoint, "TRY_SECONDS", 60.0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been slept."""
    made: list[float] = []

    def sleep(_: Deadline, seconds: float) -> bool:
        made.append(seconds)
        return True

    monkeypatch.setattr(Deadline, "sleep", sleep)
    return made


class Log:
    """What a call told and protected."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.protected: list[str] = []

    def protect(self, secret: Secret) -> None:
        self.protected.append(secret.reveal())


def ask(environ: Mapping[str, str], audience: str = AUDIENCE, log: Log | None = None, seconds: float = 100) -> IdToken:
    log = log or Log()
    return source(environ, Deadline(seconds), log.protect, log.notices.append)(audience)


def refusal(environ: Mapping[str, str], seconds: float = 100) -> str:
    with pytest.raises(ImipError) as refused:
        ask(environ, seconds=seconds)
    [problem] = refused.value.problems
    assert problem.where == "ID token"
    assert problem.remedy
    text = str(refused.value)
    assert "\n" not in text
    bearer = environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    assert not bearer or bearer not in text
    return text


def environ_of(server: FaultServer, **more: str) -> dict[str, str]:
    return {
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{server.url}/idtoken?api-version=2.0",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-token",
        **more,
    }


def jwt_with(payload: bytes) -> str:
    return f"e30.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.c2ln"


class TestAToken:
    def test_comes_with_its_claims_for_the_audience_asked_for(self, issuer: Issuer) -> None:
        token = ask(issuer.environ())
        assert token.token.reveal() == issuer.issued[0]
        assert token.claims["aud"] == AUDIENCE
        assert token.claims["sub"] == "repo:octo-org/octo-repo:environment:production"

    def test_is_asked_for_as_the_runner_wants_it(self, issuer: Issuer) -> None:
        ask(issuer.environ())
        [request] = issuer.requests
        assert request.method == "GET"
        assert request.target == "/idtoken?api-version=2.0&audience=sts.amazonaws.com"
        assert request.headers["authorization"] == f"bearer {issuer.request_token}"
        assert request.headers["accept"] == "application/json"

    @given(audience=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
    def test_can_be_for_any_audience(self, audience: str) -> None:
        with mock.patch.object(id_token_endpoint.Endpoint, "_try", autospec=True) as asked:
            asked.side_effect = lambda _self, audience, _deadline: _secret_for(audience)
            assert ask(environ_for_nobody(), audience).claims["aud"] == audience

    @pytest.mark.parametrize("audience", ["https://vault.example:8200/a b&c=d#e", "api://AzureADTokenExchange", "é/✓"])
    def test_has_an_audience_that_survives_the_query(self, issuer: Issuer, audience: str) -> None:
        ask(issuer.environ(), audience)
        assert issuer.asked == [audience]

    def test_is_protected_before_it_is_handed_out_or_refused(self, issuer: Issuer) -> None:
        log = Log()
        ask(issuer.environ(), log=log)
        issuer.claims["repository"] = "octo-org/another"
        with pytest.raises(ImipError):
            ask({**issuer.environ(), "GITHUB_REPOSITORY": "octo-org/octo-repo"}, log=log)
        assert log.protected == issuer.issued
        assert len(log.protected) == 2

    def test_needs_an_audience(self, issuer: Issuer) -> None:
        with pytest.raises(ValueError, match="audience"):
            ask(issuer.environ(), "")
        assert issuer.requests == []

    def test_is_fetched_by_several_threads_at_once(self, issuer: Issuer) -> None:
        id_token = source(issuer.environ(), Deadline(100), lambda _: None, lambda _: None)
        audiences = [f"a{number}" for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            tokens = list(pool.map(id_token, audiences))
        assert [token.claims["aud"] for token in tokens] == audiences

    def test_may_hold_several_audiences(self) -> None:
        payload = json.dumps({"aud": ["other", AUDIENCE]}).encode()
        with FaultServer(json_answer({"value": jwt_with(payload)})) as server:
            assert ask(environ_of(server)).claims["aud"] == ["other", AUDIENCE]

    def test_costs_no_import_of_an_http_client_before_it_is_asked_for(self) -> None:
        code = "import sys, imip_secrets.runner.id_token; sys.exit('http.client' in sys.modules)"
        path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        assert subprocess.run([sys.executable, "-c", code], env=path, check=False, timeout=100).returncode == 0


def environ_for_nobody() -> dict[str, str]:
    return {"ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1:9/?a=b", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}


def _secret_for(audience: str) -> Secret:
    from imip_secrets.secret import Secret  # noqa: PLC0415  # a type elsewhere in this file

    return Secret(jwt_with(json.dumps({"aud": audience}).encode()))


class TestWithoutThePermission:
    @pytest.mark.parametrize("missing", ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
    def test_the_yaml_is_shown(self, issuer: Issuer, missing: str) -> None:
        text = refusal({**issuer.environ(), missing: ""})
        assert "has no permission to ask for an ID token" in text
        assert "`permissions: {id-token: write, contents: read}`" in text
        assert "Dependabot" in text
        assert issuer.requests == []

    def event(self, tmp_path: Path, name: str, body: object) -> dict[str, str]:
        path = tmp_path / "event.json"
        path.write_text(body if isinstance(body, str) else json.dumps(body))
        return {"GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": str(path)}

    @pytest.mark.parametrize("head", [{"full_name": "fork/app", "fork": True}, None])
    @pytest.mark.parametrize("name", ["pull_request", "pull_request_review", "pull_request_review_comment"])
    def test_a_fork_is_named_for_sure(self, tmp_path: Path, name: str, head: object) -> None:
        body = {"repository": {"full_name": "org/app"}, "pull_request": {"head": {"repo": head}}}
        text = refusal(self.event(tmp_path, name, body))
        assert "a pull request from a fork" in text
        assert "if: github.event.pull_request.head.repo.full_name == github.repository" in text
        assert "id-token" not in text

    @pytest.mark.parametrize(
        ("name", "body"),
        [
            ("pull_request", {"repository": {"full_name": "o/a"}, "pull_request": {"head": {"repo": ITSELF_A_FORK}}}),
            ("push", {"repository": {"full_name": "o/a"}, "pull_request": {"head": {"repo": None}}}),
            ("pull_request", {"repository": {"full_name": "o/a"}, "pull_request": {"head": {}}}),
            ("pull_request", {"repository": {"full_name": "o/a"}}),
            ("pull_request", {"pull_request": {"head": {"repo": None}}}),
            ("pull_request", []),
            ("pull_request", "not json"),
            ("pull_request", "[" * 100_000),
        ],
    )  # fmt: skip
    def test_what_is_no_fork_for_sure_gets_the_yaml(self, tmp_path: Path, name: str, body: object) -> None:
        assert "id-token: write" in refusal(self.event(tmp_path, name, body))

    @pytest.mark.parametrize("path", ["", "/nowhere/event.json", "\0"])
    def test_an_event_that_cannot_be_read_gets_the_yaml(self, path: str) -> None:
        text = refusal({"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": path})
        assert "id-token: write" in text


class TestTheAddress:
    @pytest.mark.parametrize(
        "url",
        [
            "http://pipelines.actions.githubusercontent.com/x?a=b",
            "https://actions.githubusercontent.com.evil.example/x?a=b",
            "https://evilactions.githubusercontent.com/x?a=b",
            "https://evil.example/x?actions.githubusercontent.com",
            "https://x.actions.githubusercontent.com@evil.example/x?a=b",
            "https://user:pw@x.actions.githubusercontent.com/x?a=b",
            "ftp://127.0.0.1/x?a=b",
            "file:///etc/passwd?a=b",
            "https://evilgithub.example/x?a=b",
            "/idtoken?a=b",
        ],
    )
    def test_must_be_githubs(self, url: str) -> None:
        text = refusal({"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret-t",
                        "GITHUB_SERVER_URL": "https://github.example"})  # fmt: skip
        assert "is not this job's GitHub" in text
        assert "pw" not in text

    @pytest.mark.parametrize(
        ("url", "server"),
        [
            ("https://run-actions-1.actions.githubusercontent.com/x?a=b", "https://github.com"),
            ("https://X.Actions.GithubUserContent.com:443/x?a=b", ""),
            ("https://github.corp.example/_services/pipelines/x?a=b", "https://GitHub.corp.example"),
            ("https://run-actions.octo.ghe.com/x?a=b", "https://octo.ghe.com"),
            ("https://x.actions.githubusercontent.com/x?a=b", "https://[broken"),
        ],
    )
    def test_may_be_any_of_githubs(self, url: str, server: str) -> None:
        environ = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": url,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t",
            "GITHUB_SERVER_URL": server,
        }
        with mock.patch.object(id_token_endpoint.Endpoint, "_try", return_value=_secret_for(AUDIENCE)):
            assert ask(environ).claims == {"aud": AUDIENCE}

    @pytest.mark.parametrize("url", ["https://[::1/x?a=b", "https://x.actions.githubusercontent.com:port/x?a=b"])
    def test_must_be_an_address(self, url: str) -> None:
        assert "is no address" in refusal({"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t1"})

    @pytest.mark.parametrize("name", ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
    @pytest.mark.parametrize("char", ["\n", " ", "\0", "é", "\u2028"])
    def test_and_the_request_token_hold_only_what_a_request_can(self, issuer: Issuer, name: str, char: str) -> None:
        environ = issuer.environ()
        assert "holds what no request can" in refusal({**environ, name: f"{environ[name]}{char}X: y"})
        assert issuer.requests == []


class TestRetries:
    def test_are_made_after_silence(self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(id_token_endpoint, "TRY_SECONDS", 0.5)

        def be_silent(_: Request) -> bool:
            """Let the next try wait as long as it needs; that of this request has half a second."""
            monkeypatch.setattr(id_token_endpoint, "TRY_SECONDS", 60.0)
            return True

        issuer._server.script("hang", when=be_silent)
        assert ask(issuer.environ()).token.reveal() == issuer.issued[0]
        assert len(issuer.requests) == 2

    @pytest.mark.parametrize("fault", [408, 429, 500, 502, 503, 504, "reset", "close", "html", "no-value"])
    def test_what_may_pass_is_tried_again(self, issuer: Issuer, fault: str | int) -> None:
        issuer.fail_next(fault)
        assert ask(issuer.environ()).token.reveal() == issuer.issued[0]
        assert len(issuer.asked) == 2

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            (503, "answered HTTP 503 (5 tries)"),
            (
                "close",
                "the connection to the endpoint failed (Remote end closed connection without response) (5 tries)",
            ),
            (answer(429, Retry_After="0"), "answered HTTP 429 (5 tries)"),
        ],
    )
    def test_end_after_five_tries(self, issuer: Issuer, fault: str | int, said: str) -> None:
        issuer.fail_next(*[fault] * 9)
        text = refusal(issuer.environ())
        assert said in text
        assert "githubstatus.com" in text
        assert len(issuer.asked) == 5

    @pytest.mark.parametrize(
        "step",
        [
            html_answer(),
            bad_json(),
            json_answer({"count": 1}),
            json_answer({"value": None}),
            json_answer({"value": "a.b"}),
            json_answer({"value": "a.b.c.d"}),
            json_answer({"value": "::add-mask::a.b\n.c"}),
            json_answer([]),
            answer(200, "[" * 50_000),
            short(json_answer({"value": "a.b.c"}), 4),
        ],
    )
    def test_of_garbage_end_after_one(self, step: Step) -> None:
        with FaultServer(step) as server:
            text = refusal(environ_of(server))
            assert "gave an answer without a token (2 tries)" in text
            assert len(server.requests) == 2

    def test_of_garbage_are_counted_apart(self, issuer: Issuer) -> None:
        issuer.fail_next(503, "html", 503)
        assert ask(issuer.environ()).token.reveal() == issuer.issued[0]

    @pytest.mark.parametrize("status", [201, 204, 400, 401, 403, 404, 410, 600])
    def test_are_not_made_where_nothing_changes(self, issuer: Issuer, status: int) -> None:
        issuer.fail_next(answer(status, f"{issuer.request_token} ::error::x"))
        text = refusal(issuer.environ())
        assert f"the endpoint answered HTTP {status}. " in text
        assert "::" not in text
        assert ("id-token: write" in text) == (status in {401, 403})
        assert len(issuer.requests) == 1

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_never_follow_a_redirect(self, issuer: Issuer, status: int) -> None:
        with FaultServer(answer(200)) as elsewhere:
            issuer.fail_next(redirect(f"{elsewhere.url}/steal", status))
            assert "a redirect, which is never followed" in refusal(issuer.environ())
            assert elsewhere.requests == []

    def test_are_not_made_of_a_huge_answer(self) -> None:
        with FaultServer(huge(10_000_000)) as server:
            assert "more than 65536 bytes" in refusal(environ_of(server))
            assert len(server.requests) == 1

    @pytest.mark.parametrize("step", ["hang", slow(json_answer({"value": "a.b.c" * 1000}), 50)])
    def test_end_with_the_run(self, step: Step) -> None:
        started = time.monotonic()
        with FaultServer(step) as server:
            text = refusal(environ_of(server), seconds=0.5)
        assert "did not answer within 1 s" in text
        assert "(timeout-seconds) left no time for another try" in text
        assert time.monotonic() - started < 45  # a try would take a minute

    def test_wait_as_long_as_the_server_asks_and_say_so(self, issuer: Issuer, waits: list[float]) -> None:
        log = Log()
        issuer.fail_next(
            answer(503, Retry_After="3"), answer(429, Retry_After="9999"), answer(503, Retry_After="Fri, 1")
        )
        ask(issuer.environ(), log=log)
        assert waits[:2] == [3, 20]
        assert waits[2] < 1
        assert log.notices == [
            "ID token: the endpoint answered HTTP 503; try 2 of 5 follows in 3 s",
            "ID token: the endpoint answered HTTP 429; try 3 of 5 follows in 20 s",
        ]

    def test_are_spread(self, issuer: Issuer, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(id_token_endpoint, "FIRST_WAIT_SECONDS", 1.0)
        for _ in range(20):
            issuer.fail_next(503, 503, 503, 503)
            ask(issuer.environ())
        assert len(set(waits)) == 80
        for number, ceiling in enumerate((1, 2, 4, 8)):
            assert ceiling / 2 < max(waits[number::4]) <= ceiling

    def test_a_port_where_nobody_listens_is_tried_again(self) -> None:
        with FaultServer(answer(200)) as gone:
            pass
        text = refusal(environ_of(gone))
        assert "the connection to the endpoint failed" in text
        assert "refused" in text
        assert "(5 tries)" in text

    def test_an_answer_that_is_no_http_is_named_without_its_text(self) -> None:
        with FaultServer(answer(200, X="y" * 70_000)) as server:
            assert "the connection to the endpoint failed (LineTooLong) (5 tries)" in refusal(environ_of(server))


class TestTheNetwork:
    @pytest.fixture
    def authority(self) -> Authority:
        return Authority()

    def trusting(self, authority: Authority, tmp_path: Path) -> mock._patch_dict:
        pem = tmp_path / "authority.pem"
        pem.write_text(authority.pem)
        return mock.patch.dict(os.environ, {"SSL_CERT_FILE": str(pem)})

    def test_is_tls_with_an_authority_of_the_system(self, authority: Authority, tmp_path: Path) -> None:
        token = jwt_with(json.dumps({"aud": AUDIENCE}).encode())
        with (
            self.trusting(authority, tmp_path),
            FaultServer(json_answer({"value": token}), tls=authority.good()) as server,
        ):
            assert ask(environ_of(server)).token.reveal() == token

    @pytest.mark.parametrize(
        "serve",
        [Authority.wrong_host, Authority.expired, lambda _: self_signed()],
        ids=["host", "expired", "self-signed"],
    )
    def test_shows_nothing_to_a_server_without_a_good_certificate(
        self, authority: Authority, tmp_path: Path, serve: Callable[[Authority], ssl.SSLContext]
    ) -> None:
        with self.trusting(authority, tmp_path), FaultServer(answer(200), tls=serve(authority)) as server:
            text = refusal(environ_of(server))
            assert "certificate cannot be verified" in text
            assert "tries" not in text
            assert server.requests == []

    def test_goes_through_the_proxy_without_showing_it_the_token(self) -> None:
        with FaultServer(answer(403)) as proxy:
            with warnings.catch_warnings():
                # Before Python 3.12 http.client leaves the answer of a refused tunnel to the garbage collector.
                warnings.simplefilter("ignore", ResourceWarning)
                text = refusal({**githubs(), "HTTPS_PROXY": proxy.url, "https_proxy": ""})
                gc.collect()
            assert "Tunnel connection failed: 403" in text
            assert {request.target for request in proxy.requests} == {"x.actions.githubusercontent.invalid:443"}
            assert all("authorization" not in request.headers for request in proxy.requests)

    @pytest.mark.parametrize(
        ("user", "shown"), [("", None), ("me%40here:p%3Ass@", "Basic bWVAaGVyZTpwOnNz"), ("me@", "Basic bWU6")]
    )
    def test_tells_the_proxy_who_asks_where_its_address_does(self, user: str, shown: str | None) -> None:
        with FaultServer(answer(407)) as proxy, warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # as above
            text = refusal({**githubs(), "HTTPS_PROXY": proxy.url.replace("//", f"//{user}"), "https_proxy": ""})
            gc.collect()
            assert {request.headers.get("proxy-authorization") for request in proxy.requests} == {shown}
            assert "p:ss" not in text

    def test_keeps_to_no_proxy_and_names_an_unknown_host(self) -> None:
        with FaultServer(answer(403)) as proxy:
            environ = {**githubs(), "HTTPS_PROXY": proxy.url, "NO_PROXY": "localhost, .githubusercontent.invalid"}
            with mock.patch("socket.getaddrinfo", side_effect=socket.gaierror(socket.EAI_NONAME, "unknown")):
                text = refusal(environ)
            assert "the endpoint's host is not known" in text
            assert "tries" not in text
            assert proxy.requests == []

    @pytest.mark.parametrize("proxy", ["http:/user:hunter2@proxy", "http://user:hunter2@127.0.0.1:port"])
    def test_says_once_that_the_proxy_is_no_address_and_does_not_show_it(self, proxy: str) -> None:
        text = refusal({**githubs(), "HTTPS_PROXY": proxy, "https_proxy": ""})
        assert "HTTPS_PROXY holds no address of a proxy. Write it like http://proxy.example.com:3128." in text
        assert "hunter2" not in text
        assert "tries" not in text

    def test_has_no_proxy_for_loopback(self, authority: Authority, tmp_path: Path) -> None:
        token = jwt_with(json.dumps({"aud": AUDIENCE}).encode())
        with (
            FaultServer(answer(403)) as proxy,
            self.trusting(authority, tmp_path),
            FaultServer(json_answer({"value": token}), tls=authority.good()) as server,
        ):
            ask(environ_of(server, https_proxy=proxy.url))
            assert proxy.requests == []


def githubs() -> dict[str, str]:
    """A GitHub whose name nobody resolves (RFC 6761)."""
    return {
        "ACTIONS_ID_TOKEN_REQUEST_URL": "https://x.actions.githubusercontent.invalid/x?a=b",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-token",
        "GITHUB_SERVER_URL": "https://githubusercontent.invalid",
    }


class TestTheClaims:
    @pytest.mark.parametrize(("claim", "variable"), [("repository", "GITHUB_REPOSITORY"), ("run_id", "GITHUB_RUN_ID")])
    def test_must_be_of_this_job(self, issuer: Issuer, claim: str, variable: str) -> None:
        environ = issuer.environ()
        issuer.claims[claim] = "evil/::repo"
        text = refusal(environ)
        assert f"the token belongs to another job: its {claim} is evil/: :repo, ours is {environ[variable]}" in text
        assert issuer.issued[0] not in text

    def test_count_only_where_the_job_says_who_it_is(self, issuer: Issuer) -> None:
        environ = {name: value for name, value in issuer.environ().items() if name.startswith("ACTIONS")}
        assert ask(environ).claims["repository"] == "octo-org/octo-repo"

    def test_compare_without_case_and_type(self, issuer: Issuer) -> None:
        environ = issuer.environ()
        issuer.claims.update(repository="Octo-Org/Octo-Repo", run_id=int(str(issuer.claims["run_id"])))
        assert ask(environ).claims["aud"] == AUDIENCE

    @pytest.mark.parametrize("aud", ["https://github.com/octo-org", ["a", "b"], None, 5, ""])
    def test_must_hold_the_audience(self, aud: object) -> None:
        with FaultServer(json_answer({"value": jwt_with(json.dumps({"aud": aud}).encode())})) as server:
            assert "asked for was sts.amazonaws.com" in refusal(environ_of(server))

    def test_must_not_be_over(self, issuer: Issuer) -> None:
        issuer.fail_next("expired")
        text = refusal(issuer.environ())
        assert "already over" in text
        assert "clock" in text

    @pytest.mark.parametrize("end", [-250, 9999, "soon", None])
    def test_may_be_over_by_the_difference_of_two_clocks(self, issuer: Issuer, end: object) -> None:
        issuer.claims["exp"] = time.time() + end if isinstance(end, int) else end
        assert ask(issuer.environ()).claims["aud"] == AUDIENCE

    def test_of_the_future_are_for_the_store_to_judge(self, issuer: Issuer) -> None:
        issuer.fail_next("early")
        assert ask(issuer.environ()).claims["aud"] == AUDIENCE

    @pytest.mark.parametrize(
        "value", ["e30.x.c2ln", "e30.eyJ.c2ln", jwt_with(b"[]"), jwt_with(b"\xff"), jwt_with(b"[" * 9999)]
    )
    def test_must_be_readable(self, value: str) -> None:
        log = Log()
        with FaultServer(json_answer({"value": value})) as server, pytest.raises(ImipError, match="cannot be read"):
            ask(environ_of(server), log=log)
        assert log.protected == [value]

    @given(payload=st.binary(max_size=200))
    def test_of_any_bytes_are_read_or_refused(self, payload: bytes) -> None:
        from imip_secrets.runner.id_token import _claims  # noqa: PLC0415  # only this test looks inside
        from imip_secrets.secret import Secret  # noqa: PLC0415  # a type elsewhere in this file

        try:
            claims = _claims(Secret(jwt_with(payload)))
        except ImipError:
            return
        assert isinstance(claims, dict)


def test_threads_do_not_share_a_failure(issuer: Issuer) -> None:
    issuer.fail_next(403)
    id_token = source(issuer.environ(), Deadline(100), lambda _: None, lambda _: None)
    results: list[str] = []

    def run() -> None:
        try:
            results.append(str(id_token(AUDIENCE).claims["aud"]))
        except ImipError as error:
            results.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("HTTP 403" in result for result in results) == 1
    assert results.count(AUDIENCE) == 3
