"""One request through PyGithub: paced, repeated where that helps, and read; many threads, one log without a token."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from github.Auth import Token

from imip_secrets.deadline import Deadline
from imip_secrets.errors import StoreError
from imip_secrets.sync import api as api_module
from imip_secrets.sync.api import Answer, Api
from imip_secrets.sync.base import TooLateError
from imip_secrets.sync.broken import TRIES
from imip_secrets.sync.pacing import LIMITS, Ledger, Pacer
from imip_secrets.sync.transport import Transport
from stand_ins.faults import Answer as Sent
from stand_ins.faults import FaultServer, answer, html_answer, json_answer, redirect
from stand_ins.time_up import end_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stand_ins.faults import Request, Step

NOON = 1_800_000_000


class Somebody:
    """A login with one token."""

    account = "token"

    def __init__(self) -> None:
        self._auth = Token("ghp_token")

    def auth(self) -> Token:
        return self._auth


class Rig:
    """An API at a server, whose waits take no time."""

    def __init__(self, server: FaultServer, seconds: float = 600) -> None:
        self.said: list[str] = []
        self.waits: list[float] = []
        self.link = Transport(server.url, "", 8)
        deadline = Deadline(seconds)
        self.pacer = Pacer(Ledger(LIMITS), deadline, self.said.append)
        self.api = Api(server.url, self.link, self.pacer, deadline)
        self.login = Somebody()

    def get(self, path: str = "/x") -> Answer:
        return self.api.get(self.login, path)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(server: FaultServer, seconds: float = 600) -> Rig:
        rig = Rig(server, seconds)
        made.append(rig)

        def backoff(attempt: int, why: str) -> bool:
            rig.said.append(f"{attempt}: {why}")
            return True

        monkeypatch.setattr(rig.pacer, "backoff", backoff)
        return rig

    yield make
    for each in made:
        each.link.close()


def refused(status: int, message: str = "", **headers: str) -> Sent:
    given = json_answer({"message": message}, status)
    return Sent(
        status, {**given.headers, **{name.replace("_", "-"): text for name, text in headers.items()}}, given.body
    )


def test_what_is_sent_says_who_asks_and_for_which_version(rig: Callable[..., Rig]) -> None:
    with FaultServer(json_answer({"a": 1})) as server:
        given = rig(server).api.send(Somebody(), "PUT", "/orgs/a%2Fb", {"key_id": "1"})
    sent = server.requests[0]
    assert (given.status, given.data, given.tries) == (200, {"a": 1}, 1)
    assert (sent.method, sent.target, sent.body) == ("PUT", "/orgs/a%2Fb", b'{"key_id": "1"}')
    assert sent.headers["authorization"] == "token ghp_token"
    assert sent.headers["x-github-api-version"] == "2022-11-28"
    assert sent.headers["user-agent"].startswith("imip-secrets/")
    assert sent.headers["content-type"] == "application/json"


def test_an_address_with_a_path_goes_before_every_path(rig: Callable[..., Rig]) -> None:
    with FaultServer(json_answer({})) as server:
        made = rig(server)
        api = Api(f"{server.url}/api/v3", made.link, made.pacer, Deadline(100))
        api.get(made.login, "/repos/o/r")
    assert server.requests[0].target == "/api/v3/repos/o/r"


def test_what_waited_longer_than_it_may_is_not_sent(rig: Callable[..., Rig]) -> None:
    with FaultServer(answer(503), json_answer({})) as server:
        made = rig(server)
        with pytest.raises(TooLateError, match="it was not sent in the time that it had"):
            made.api.send(made.login, "PUT", "/x", {}, until=Deadline(0))
        assert server.requests == []
        assert made.api.send(made.login, "PUT", "/x", {}, until=Deadline(60)).status == 200
    assert len(server.requests) == 2


def test_nothing_is_sent_again_after_its_time(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer(answer(503)) as server:
        made, until = rig(server), Deadline(60)

        def backoff(_attempt: int, _why: str) -> bool:
            monkeypatch.setattr(until, "_end", 0.0)
            return True

        monkeypatch.setattr(made.pacer, "backoff", backoff)
        with pytest.raises(TooLateError):
            made.api.send(made.login, "PUT", "/x", {}, until=until)
    assert len(server.requests) == 1


def test_github_s_clock_goes_on_between_its_answers(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    dates = [{}, {"Date": formatdate(NOON, usegmt=True)}, {"Date": formatdate(NOON - 50, usegmt=True)}]
    with FaultServer(*(Sent(200, {**json_answer({}).headers, **date}, b"{}") for date in dates)) as server:
        made = rig(server)
        monkeypatch.setattr(api_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
        assert made.api.clock() is None
        made.get()
        assert made.api.clock() is None
        made.get()
        now[0] += 7.5
        assert made.api.clock() == NOON + 7.5
        # An answer that comes from elsewhere, or late, does not turn it back.
        made.get()
        assert made.api.clock() == NOON + 7.5


@pytest.mark.parametrize("step", [answer(500), answer(502, "<html>"), answer(503), answer(504), "reset", "close"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_what_may_pass_is_tried_again(rig: Callable[..., Rig], step: Step, method: str) -> None:
    with FaultServer(step, step, json_answer({"a": 1})) as server:
        given = rig(server).api.send(Somebody(), method, "/x")
    assert (given.status, given.data, given.tries, len(server.requests)) == (200, {"a": 1}, 3, 3)


def test_after_some_tries_the_answer_stands(rig: Callable[..., Rig]) -> None:
    with FaultServer(answer(502)) as server:
        made = rig(server)
        assert (made.get().status, made.get().tries) == (502, TRIES)
    assert made.said[:TRIES] == [f"{n}: it answers 502" for n in range(1, TRIES)] + ["1: it answers 502"]


def test_without_any_answer_the_error_names_the_address_and_the_tries(rig: Callable[..., Rig]) -> None:
    with FaultServer("reset") as server:
        made = rig(server)
        with pytest.raises(StoreError) as caught:
            made.get()
    assert str(caught.value) == (
        f"GitHub at 127.0.0.1:{server.port}: the connection failed (Connection reset by peer) ({TRIES} tries). Check "
        "that this machine may reach it: firewall, DNS, HTTPS_PROXY."
    )


def test_when_the_time_is_over_the_error_says_so(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer("reset") as server:
        made = rig(server, 99)

        def backoff(*_: object) -> bool:
            end_in(made.api._end, 0)
            return False

        monkeypatch.setattr(made.pacer, "backoff", backoff)
        with pytest.raises(StoreError, match=r", and timeout-seconds \(99\) is over"):
            made.get()


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
def test_what_another_try_would_not_better_is_final(rig: Callable[..., Rig], status: int) -> None:
    with FaultServer(refused(status, "no")) as server:
        given = rig(server).get()
    assert (given.status, given.message, len(server.requests)) == (status, "no", 1)


@pytest.mark.parametrize("step", [html_answer(), answer(200, '{"a": '), answer(200, "[" * 100_000)])
def test_what_is_not_github_s_json_is_no_answer(rig: Callable[..., Rig], step: Sent) -> None:
    with FaultServer(step) as server:
        made = rig(server)
        with pytest.raises(StoreError, match=r"it answered with something that is not GitHub's JSON \(2 tries\)"):
            made.get()


def test_a_promise_of_an_answer_is_not_waited_for_by_pygithub(rig: Callable[..., Rig]) -> None:
    with FaultServer(answer(202), json_answer({"a": 1})) as server:
        assert rig(server).get().data == {"a": 1}


def test_a_redirect_is_an_answer_and_nothing_goes_there(rig: Callable[..., Rig]) -> None:
    with FaultServer(json_answer({})) as elsewhere, FaultServer(redirect(f"{elsewhere.url}/x", 301)) as server:
        assert rig(server).get().status == 301
    assert (len(elsewhere.requests), len(server.requests)) == (0, 1)


@pytest.mark.parametrize(
    ("step", "seconds"),
    [
        (refused(403, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."), 60),
        (refused(403, "no", Retry_After="0"), 1),
        (refused(429, "no", Retry_After="30"), 31),
        (refused(429), 60),
        (refused(403, "You have triggered an abuse detection mechanism."), 60),
        (
            refused(
                403,
                "API rate limit exceeded for user ID 1.",
                X_RateLimit_Limit="5000",
                X_RateLimit_Remaining="0",
                X_RateLimit_Reset=str(NOON + 1800),
                Date=formatdate(NOON, usegmt=True),
            ),
            1801,
        ),
        (
            refused(
                403,
                "no",
                X_RateLimit_Limit="60",
                X_RateLimit_Remaining="0",
                X_RateLimit_Reset=str(NOON + 9),
                Date=formatdate(NOON, usegmt=True),
            ),
            10,
        ),
    ],
)
def test_a_limit_is_waited_for_and_the_request_sent_again(
    rig: Callable[..., Rig], step: Sent, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    with FaultServer(step, json_answer({"a": 1})) as server:
        made = rig(server, 100_000)
        clock = made.pacer._clock
        now = [clock.now()]

        def wait(_: object, wanted: float) -> None:
            waits.append(wanted)
            now[0] += wanted

        monkeypatch.setattr(clock, "now", lambda: now[0])
        monkeypatch.setattr(clock, "wait", wait)
        given = made.get()
    assert (given.data, given.tries) == ({"a": 1}, 1)
    assert sum(waits) == pytest.approx(seconds)
    assert made.pacer.used().refused == 1
    assert len(server.requests) == 2


def test_a_denial_is_no_limit(rig: Callable[..., Rig]) -> None:
    denial = refused(403, "Resource not accessible", X_RateLimit_Limit="5000", X_RateLimit_Remaining="4000")
    with FaultServer(denial) as server:
        made = rig(server)
        assert made.get().status == 403
    assert made.pacer.used().refused == 0


@pytest.mark.parametrize("text", ["", "many", "-1", "1e9", "9" * 40, "٣"])
def test_headers_that_are_no_numbers_do_no_harm(rig: Callable[..., Rig], text: str) -> None:
    headers = {
        "X-RateLimit-Limit": text,
        "X-RateLimit-Remaining": text,
        "X-RateLimit-Reset": text,
        "Retry-After": text,
        "Date": text,
    }
    encoded = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    with FaultServer(Sent(200, encoded, b"{}")) as server:
        given = rig(server).get()
    assert (given.status, given.date) == (200, None)


def page(number: int, following: str = "") -> Sent:
    given = json_answer([number])
    return Sent(200, {**given.headers, "Link": following} if following else given.headers, given.body)


def test_pages_follow_the_links_whatever_their_path(rig: Callable[..., Rig]) -> None:
    with FaultServer(handler=lambda _: steps.pop(0)) as server:
        link = (
            f'<{server.url}/organizations/7/x?page=2>; rel="next", <{server.url}/organizations/7/x?page=9>; rel="last"'
        )
        steps = [page(1, link), page(2, f'<{server.url}/x?page=1>; rel="prev"')]
        made = rig(server)
        assert [each.data for each in made.api.pages(made.login, "/x")] == [[1], [2]]
    assert [request.target for request in server.requests] == ["/x?per_page=100", "/organizations/7/x?page=2"]


@pytest.mark.parametrize("address", ["https://elsewhere.example/x", "{}.elsewhere.example/x", "//elsewhere.example/x"])
def test_a_next_page_elsewhere_is_not_asked_for(rig: Callable[..., Rig], address: str) -> None:
    def serve(_: Request) -> Step:
        return page(1, f'<{address.format(server.url)}>; rel="next"')

    with FaultServer(handler=serve) as server:
        made = rig(server)
        pages = made.api.pages(made.login, "/x")
        assert next(pages).data == [1]
        with pytest.raises(StoreError, match="the next page of its list is at another address"):
            next(pages)
    assert len(server.requests) == 1


def test_a_next_page_may_write_the_same_address_otherwise(rig: Callable[..., Rig]) -> None:
    with FaultServer(handler=lambda _: steps.pop(0)) as server:
        made = rig(server)
        made.api.url = made.api.url.replace("127.0.0.1", "LOCALHOST")
        link = f'<http://localhost:{server.port}/x?page=2>; rel="next"'
        steps = [page(1, link), page(2)]
        assert [each.data for each in made.api.pages(made.login, "/x")] == [[1], [2]]
    assert [request.target for request in server.requests] == ["/x?per_page=100", "/x?page=2"]


def test_a_list_without_end_is_left(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "MAX_PAGES", 3)
    with FaultServer(handler=lambda _: page(1, f'<{server.url}/x?page=1>; rel="next"')) as server:
        made = rig(server)
        with pytest.raises(StoreError, match="its list /x does not end"):
            list(made.api.pages(made.login, "/x"))
    assert len(server.requests) == 3


def test_a_refused_page_is_the_last(rig: Callable[..., Rig]) -> None:
    with FaultServer(refused(404, "Not Found")) as server:
        made = rig(server)
        assert [each.status for each in made.api.pages(made.login, "/x")] == [404]


def test_threads_get_each_their_own_answer(rig: Callable[..., Rig]) -> None:
    """PyGithub's Requester keeps the request on itself: shared, two threads now and then send the same one twice."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with FaultServer(handler=lambda request: json_answer(request.path)) as server, ThreadPoolExecutor(16) as pool:
            made = rig(server)
            paths = [f"/{number}" for number in range(400)]
            assert list(pool.map(lambda path: made.get(path).data, paths)) == paths
    finally:
        sys.setswitchinterval(interval)
    assert sorted(request.path for request in server.requests) == sorted(paths)


def test_each_thread_has_a_requester_of_its_own(rig: Callable[..., Rig]) -> None:
    with FaultServer(json_answer({})) as server, ThreadPoolExecutor(1) as pool:
        made = rig(server)
        auth = made.login.auth()
        mine = made.api._requester(auth)
        assert made.api._requester(auth) is mine
        assert pool.submit(made.api._requester, auth).result() is not mine


def test_pygithub_logs_nothing_even_when_it_is_told_to(
    rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "github"), caplog.at_level(logging.DEBUG, "imip_secrets.github"):
        logging.getLogger("github").setLevel(logging.DEBUG)
        try:
            with FaultServer(json_answer({"token": "ghs_shown"})) as server:
                rig(server).api.send(Somebody(), "POST", "/app/installations/1/access_tokens", {"a": "b"})
        finally:
            logging.getLogger("github").setLevel(logging.INFO)
    assert "ghs_shown" not in caplog.text
    assert "access_tokens" not in caplog.text


def test_the_words_of_an_answer_are_found_wherever_github_puts_them() -> None:
    assert Answer(422, {}, {"message": "a", "errors": [{"message": "b"}, "c", {"code": "d"}]}).message == "a; b; c"
    assert Answer(422, {}, {"message": 5, "errors": "x"}).message == ""
    assert Answer(422, {}, ["a"]).message == ""
    assert Answer(422, {}, None).message == ""


def test_an_answer_shows_nothing_of_itself() -> None:
    assert "ghs_" not in repr(Answer(200, {}, {"token": "ghs_shown"}))
