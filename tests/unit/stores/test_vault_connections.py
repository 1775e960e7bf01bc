from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from imip_secrets.stores.vault.connections import Connections, Limits, Message
from imip_secrets.stores.vault.faults import Fault
from stand_ins.faults import Answer, FaultServer, answer, json_answer, redirect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stand_ins.faults import Request, Step

LIMITS = Limits(60.0, 60.0, lambda: False)
READ = Message("GET", "/v1/secret/data/a", {"X-Test": "1"})


class Counter:
    """Counts the connections that a server took."""

    def __init__(self, server: FaultServer) -> None:
        self.number = 0
        self._finish = server._server.finish_request
        server._server.finish_request = self._count  # type: ignore[method-assign]  # the one place that sees them all

    def _count(self, request: object, client_address: object) -> None:
        self.number += 1
        self._finish(request, client_address)


@pytest.fixture
def connections() -> Iterator[Connections]:
    opened = Connections(None)
    yield opened
    opened.close()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(json_answer({"data": 1})) as running:
        yield running


def test_one_connection_serves_one_request_after_the_other(connections: Connections, server: FaultServer) -> None:
    counter = Counter(server)
    for _ in range(5):
        assert connections.exchange(server.url, READ, LIMITS).body == b'{"data": 1}'
    assert counter.number == 1


@pytest.mark.parametrize("reply", [answer(204), answer(200), answer(404), Answer(200, {}, b"x" * 100_000)], ids=str)
def test_any_answer_that_is_whole_leaves_the_connection_open(connections: Connections, reply: Answer) -> None:
    with FaultServer(reply) as server:
        counter = Counter(server)
        for _ in range(2):
            assert connections.exchange(server.url, READ, LIMITS).body == reply.body
        connections.close()
        assert counter.number == 1


def test_threads_share_connections_and_none_waits_for_another(connections: Connections) -> None:
    together = threading.Barrier(8)

    def respond(_: Request) -> Step:
        together.wait(60)
        return json_answer({})

    with FaultServer(handler=respond) as server, ThreadPoolExecutor(8) as pool:
        counter = Counter(server)
        for _ in range(3):
            list(pool.map(lambda _: connections.exchange(server.url, READ, LIMITS), range(8)))
        connections.close()
    assert counter.number == 8


def test_a_connection_that_the_server_has_closed_is_not_used_again(connections: Connections) -> None:
    with FaultServer(handler=lambda _: json_answer({})) as server:
        counter = Counter(server)
        connections.exchange(server.url, READ, LIMITS)
        server._server.end_connections()
        assert connections.exchange(server.url, READ, LIMITS).status == 200
        connections.close()
        assert counter.number == 2


def test_a_redirect_is_given_back_without_its_body(connections: Connections) -> None:
    with FaultServer(redirect("https://elsewhere.example/", 302)) as server:
        reply = connections.exchange(server.url, READ, LIMITS)
    assert (reply.status, reply.headers["location"], reply.body) == (302, "https://elsewhere.example/", b"")


def test_the_host_is_named_as_it_stands_in_the_address(connections: Connections, server: FaultServer) -> None:
    connections.exchange(server.url, READ, LIMITS)
    assert server.requests[0].headers["host"] == server.url.removeprefix("http://")
    assert server.requests[0].headers["x-test"] == "1"


@pytest.mark.parametrize("proxy", ["https://127.0.0.1:1", "http://", "http://[::1", "http://127.0.0.1:port", "ftp://h"])
def test_a_proxy_that_cannot_be_spoken_to_is_said(
    connections: Connections, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.delenv("https_proxy", raising=False)
    with pytest.raises(Fault, match="the address cannot be used") as caught:
        connections.exchange("https://vault.example", READ, LIMITS)
    assert "HTTPS_PROXY" in caught.value.remedy


@pytest.mark.parametrize("excepted", ["vault.example", ".example", "10.0.0.0/8,vault.example", "*"])
def test_no_proxy_excepts_names(connections: Connections, monkeypatch: pytest.MonkeyPatch, excepted: str) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("socket.create_connection", look_up)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, excepted)
    with pytest.raises(Fault, match="no connection within"):
        connections.exchange("https://vault.example", READ, LIMITS)


@pytest.mark.parametrize(
    ("address", "excepted"), [("https://10.1.2.3:8200", "10.0.0.0/8"), ("https://[fd00::1]:8200", "x, fd00::/8")]
)
def test_no_proxy_excepts_networks(
    connections: Connections, monkeypatch: pytest.MonkeyPatch, address: str, excepted: str
) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("socket.create_connection", look_up)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, excepted)
    with pytest.raises(Fault, match="no connection within"):
        connections.exchange(address, READ, LIMITS)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "192.168.0.0/16")
    with pytest.raises(Fault, match="the proxy of HTTPS_PROXY did not connect to it"):
        connections.exchange(address, READ, LIMITS)
