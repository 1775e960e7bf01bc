"""A network with a round-trip time, in front of a server on loopback.

What it models: every byte reaches the other side half a round trip after it
was sent, in both directions, whatever else is under way. Bytes are in flight
side by side, so the delay limits neither throughput nor the number of
connections. Loopback accepts a connection at once, where a real network takes
a round trip; so what a client sends before the first bytes have come back is
late by one round trip more. A first request on a new connection thus takes two
round trips, as in the world, and with TLS 1.3 three; a later one takes one.

What it does not model: bandwidth, loss, jitter, TCP's slow start, name
look-ups. A client that connects long before it sends pays for the connection
all the same. The event loop rounds each wait up to the next millisecond.

The proxy runs as a process of its own, so that it takes no time from the
interpreter of whoever measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

HOST = "127.0.0.1"
CHUNK = 256 * 1024


class DelayProxy:
    """A TCP proxy on loopback that delays; see the module for what it models.

    Args:
        upstream_host: Where the real server listens.
        upstream_port: Its port.
        round_trip_seconds: The time from a byte sent to an answer received.

    """

    def __init__(self, upstream_host: str, upstream_port: int, round_trip_seconds: float) -> None:
        """Take the parameters; the process starts with ``with``."""
        self._command = [
            sys.executable,
            "-I",
            __file__,
            upstream_host,
            str(upstream_port),
            str(round_trip_seconds),
        ]
        self.port = 0

    @property
    def url(self) -> str:
        """The address to use instead of the server's."""
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        """Start the process and wait for its port."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the process's input, at which it ends."""
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


async def _carry(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    delay: Callable[[], float],
    came_through: Callable[[], object] = lambda: None,
) -> None:
    """Carry one direction until its end, each piece ``delay()`` seconds after it was read."""
    loop = asyncio.get_running_loop()
    in_flight: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def take_in() -> None:
        piece = b"-"
        while piece:
            piece = await reader.read(CHUNK)
            in_flight.put_nowait((loop.time() + delay(), piece))

    taking = asyncio.create_task(take_in())
    try:
        while True:
            due, piece = await in_flight.get()
            await asyncio.sleep(due - loop.time())
            if not piece:
                break
            writer.write(piece)
            came_through()
        writer.write_eof()
    finally:
        taking.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await taking


async def _serve(upstream_host: str, upstream_port: int, round_trip: float) -> None:
    """Serve until standard input ends."""
    half = round_trip / 2
    connections: set[asyncio.Task[None]] = set()

    async def connection(down: asyncio.StreamReader, down_to: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        connections.add(task)
        task.add_done_callback(connections.discard)
        answered = asyncio.Event()
        up_to = None
        with contextlib.suppress(OSError, asyncio.CancelledError):
            up, up_to = await asyncio.open_connection(upstream_host, upstream_port)
            await asyncio.gather(
                _carry(down, up_to, lambda: half if answered.is_set() else round_trip + half),
                _carry(up, down_to, lambda: half, answered.set),
            )
        for writer in (down_to, up_to):
            if writer:
                writer.close()

    server = await asyncio.start_server(connection, HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - how the parent learns the port
    await _end_of_input()
    server.close()
    for task in tuple(connections):
        task.cancel()
    if connections:
        await asyncio.wait(connections, timeout=2)


async def _end_of_input() -> None:
    """Wait until standard input is closed, in a thread: not every event loop can read a pipe."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
