from __future__ import annotations

import contextlib
import http.client
import time
from typing import TYPE_CHECKING

import pytest

from stand_ins.faults import FaultServer, answer, huge, json_answer, redirect, short, slow, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def client(server: FaultServer, timeout: float = 60) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        yield connection
    finally:
        connection.close()


def get(connection: http.client.HTTPConnection, path: str = "/") -> tuple[int, bytes]:
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read()


def test_steps_come_in_order_on_one_connection_and_the_last_stays() -> None:
    with FaultServer(answer(503), json_answer({"ok": True})) as server, client(server) as connection:
        assert [get(connection) for _ in range(3)] == [(503, b""), (200, b'{"ok": true}'), (200, b'{"ok": true}')]


def test_requests_are_recorded_with_lower_case_headers() -> None:
    with FaultServer(answer(200)) as server, client(server) as connection:
        connection.request("LIST", "/v1/secret?list=true", body=b"{}", headers={"X-Vault-Token": "t"})
        connection.getresponse().read()
    [request] = server.requests
    assert (request.method, request.path, request.query, request.body) == (
        "LIST",
        "/v1/secret",
        {"list": "true"},
        b"{}",
    )
    assert request.headers["x-vault-token"] == "t"


def test_chunked_bodies_are_read_whole() -> None:
    with FaultServer(answer(200)) as server, client(server) as connection:
        connection.request(
            "POST", "/", body=iter([b"one", b"two"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
        )
        connection.getresponse().read()
    assert server.requests[0].body == b"onetwo"


def test_reset_is_a_reset() -> None:
    with FaultServer("reset") as server, client(server) as connection, pytest.raises(ConnectionResetError) as broken:
        get(connection)
    assert not isinstance(broken.value, http.client.RemoteDisconnected)


def test_close_is_an_end_without_an_answer() -> None:
    with FaultServer("close") as server, client(server) as connection, pytest.raises(http.client.RemoteDisconnected):
        get(connection)


def test_hang_says_nothing_and_ends_with_the_server() -> None:
    started = time.monotonic()
    with FaultServer("hang") as server, client(server, timeout=0.1) as connection, pytest.raises(TimeoutError):
        get(connection)
    assert time.monotonic() - started < 30


def test_a_short_body_breaks_off() -> None:
    with FaultServer(short(answer(200, "0123456789"), 3)) as server, client(server) as connection:
        with pytest.raises(http.client.IncompleteRead) as broken:
            get(connection)
        assert broken.value.partial == b"0123456"


def test_a_slow_body_takes_its_time() -> None:
    started = time.monotonic()
    with FaultServer(slow(answer(200, "x" * 100), 1000)) as server, client(server) as connection:
        assert get(connection) == (200, b"x" * 100)
    assert time.monotonic() - started > 0.08


def test_a_huge_body_has_the_size_asked_for() -> None:
    with FaultServer(huge(1_000_000)) as server, client(server) as connection:
        assert len(get(connection)[1]) == 1_000_000


def test_it_passes_on_what_no_script_claims() -> None:
    with FaultServer(answer(200, "real", X_From="upstream")) as real, FaultServer(upstream=real.url) as server:
        server.script(
            answer(429, Retry_After="1"), redirect("https://elsewhere.example/"), when=lambda r: r.path == "/a"
        )
        with client(server) as connection:
            assert [get(connection, path) for path in ("/a", "/b", "/a", "/a")] == [
                (429, b""),
                (200, b"real"),
                (302, b""),
                (200, b"real"),
            ]
    assert [request.path for request in real.requests] == ["/b", "/a"]


def test_without_upstream_it_is_a_bad_gateway() -> None:
    with FaultServer(answer(200)) as gone:
        pass
    with FaultServer(upstream=gone.url) as server, client(server) as connection:
        assert get(connection)[0] == 502


def test_waiting_ends_when_it_is_so_and_when_it_is_not() -> None:
    assert wait_until(lambda: True)
    assert not wait_until(lambda: False, seconds=0.01)
