from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from stand_ins.delay import DelayProxy
from stand_ins.faults import FaultServer, answer

ROUND_TRIP = 0.2


def timed_requests(port: int, count: int) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    times = []
    try:
        for _ in range(count):
            started = time.monotonic()
            connection.request("GET", "/")
            assert len(connection.getresponse().read()) == 100_000
            times.append(time.monotonic() - started)
    finally:
        connection.close()
    return times


def test_a_first_request_takes_two_round_trips_and_a_later_one_takes_one() -> None:
    with FaultServer(answer(200, "x" * 100_000)) as server, DelayProxy("127.0.0.1", server.port, ROUND_TRIP) as proxy:
        first, *later = timed_requests(proxy.port, 10)
    # How much longer than that a busy machine takes is not the proxy's.
    assert first >= 2 * ROUND_TRIP
    assert ROUND_TRIP <= min(later) < 2 * ROUND_TRIP


def test_connections_do_not_wait_for_each_other() -> None:
    with FaultServer(answer(200, "x" * 100_000)) as server, DelayProxy("127.0.0.1", server.port, ROUND_TRIP) as proxy:
        started = time.monotonic()
        with ThreadPoolExecutor(50) as pool:
            list(pool.map(lambda _: timed_requests(proxy.port, 1), range(50)))
    assert time.monotonic() - started < 50 * 2 * ROUND_TRIP


def test_a_connection_that_upstream_refuses_is_closed() -> None:
    with FaultServer(answer(200)) as gone:
        pass
    with DelayProxy("127.0.0.1", gone.port, 0.0) as proxy, pytest.raises((http.client.HTTPException, ConnectionError)):
        timed_requests(proxy.port, 1)
