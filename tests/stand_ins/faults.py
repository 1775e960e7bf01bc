"""An HTTP server on loopback that answers as it is told to, wrongly if need be.

>>> with FaultServer(answer(503), "reset", json_answer({"ok": True})) as server:
...     ...  # the first request gets a 503, the second a TCP reset, every later one the JSON

With ``upstream`` it stands in front of a real server and passes on every
request that no script claims.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

HOST = "127.0.0.1"
UPSTREAM_TIMEOUT = 100.0
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent. Header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query, the first value of each name."""
        return {
            name: values[0] for name, values in parse_qs(urlsplit(self.target).query, keep_blank_values=True).items()
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server sends.

    Args:
        status: The status code.
        headers: Besides Content-Length, which is made from the body.
        body: The body.
        missing: How many bytes fewer than Content-Length says are sent before the connection closes.
        bytes_per_second: How fast the body is sent, or None for at once.

    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    missing: int = 0
    bytes_per_second: float | None = None


# "reset": a TCP RST instead of an answer; "close": a clean end without one; "hang": silence until the server stops.
Break = Literal["reset", "close", "hang"]
Step = Answer | Break


def answer(status: int, body: str = "", **headers: str) -> Answer:
    """Answer with a status and text; ``Retry_After="1"`` is the header ``Retry-After``."""
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body.encode())


def json_answer(value: object, status: int = 200) -> Answer:
    """Answer with JSON."""
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(value).encode())


def html_answer(status: int = 200) -> Answer:
    """Answer as a captive portal does."""
    return Answer(status, {"Content-Type": "text/html"}, b"<!doctype html><title>Sign in to the network</title>")


def bad_json() -> Answer:
    """Answer with something that only says it is JSON."""
    return Answer(200, {"Content-Type": "application/json"}, b'{"value": ')


def redirect(location: str, status: int = 302) -> Answer:
    """Send the client elsewhere."""
    return Answer(status, {"Location": location})


def short(whole: Answer, missing: int = 1) -> Answer:
    """Cut the end of the body off, as a connection that broke does."""
    return replace(whole, body=whole.body[: len(whole.body) - missing], missing=missing)


def slow(whole: Answer, bytes_per_second: float) -> Answer:
    """Send the body a few bytes at a time."""
    return replace(whole, bytes_per_second=bytes_per_second)


def huge(size: int = 64 * 1024 * 1024) -> Answer:
    """Answer with one JSON string of this many bytes."""
    return Answer(200, {"Content-Type": "application/json"}, b'"' + b"x" * (size - 2) + b'"')


class FaultServer:
    """Answers each request by the first of these that has something to say.

    1. a script whose predicate takes the request, one step for each request;
    2. the steps given to the constructor, the last of which stays for ever
       (when there is neither handler nor upstream);
    3. ``handler``;
    4. ``upstream``.

    Args:
        steps: What to answer, in order.
        handler: Gives the answer to a request.
        upstream: The address of a real server to pass requests on to.
        tls: A server context; the address is then https.
        at: A Unix socket to listen at, instead of a port.

    """

    def __init__(
        self,
        *steps: Step,
        handler: Callable[[Request], Step] | None = None,
        upstream: str | None = None,
        tls: ssl.SSLContext | None = None,
        at: Path | None = None,
    ) -> None:
        """Bind to a free port, or to the socket; requests are answered from ``with`` on."""
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._scripts: list[tuple[Callable[[Request], bool], deque[Step]]] = []
        self._steps = deque(steps)
        self._handler = handler
        self._upstream = upstream
        self._server = _Server(self, tls, at)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"{'https' if tls else 'http'}://{at or f'{HOST}:{self.port}'}"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def script(self, *steps: Step, when: Callable[[Request], bool] = lambda _: True) -> None:
        """Answer the next requests that ``when`` takes with these steps, before anything else counts."""
        with self._lock:
            self._scripts.append((when, deque(steps)))

    def respond(self, request: Request) -> Step:
        """Record a request and choose what it gets."""
        with self._lock:
            self.requests.append(request)
            for when, steps in self._scripts:
                if steps and when(request):
                    return steps.popleft()
            if self._steps:
                stays = len(self._steps) == 1 and not self._handler and not self._upstream
                return self._steps[0] if stays else self._steps.popleft()
        if self._handler:
            return self._handler(request)
        return self._pass_on(request) if self._upstream else answer(404, "nothing is scripted for this request")

    def drain(self) -> None:
        """Wait until whatever clients had sent that are gone now was served: no request of theirs comes later."""
        with socket.create_connection((HOST, self.port)) as last:
            # Connections are accepted in their order, so that all the others were before this one.
            assert wait_until(lambda: last.getsockname() in self._server.clients)
        assert wait_until(lambda: not self._server.clients)

    def _pass_on(self, request: Request) -> Answer:
        """Ask the real server."""
        parts = urlsplit(self._upstream or "")
        connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = connect(parts.hostname or HOST, parts.port, timeout=UPSTREAM_TIMEOUT)
        try:
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name not in HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body)
            response = connection.getresponse()
            headers = {name: value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
            return Answer(response.status, headers, response.read())
        except (OSError, HTTPException) as error:
            return answer(502, f"{type(error).__name__} from the upstream server")
        finally:
            connection.close()

    def __enter__(self) -> Self:
        """Start to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, close every connection and wait for every thread."""
        self.stopping.set()
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    """Knows its connections, so that it can end them all."""

    daemon_threads = False  # so that server_close waits for them
    request_queue_size = 128

    def __init__(self, owner: FaultServer, tls: ssl.SSLContext | None, at: Path | None) -> None:
        self.owner = owner
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        # From when they are accepted until their threads end.
        self.clients: set[object] = set()
        if at:
            self.address_family = socket.AF_UNIX
        super().__init__(str(at) if at else (HOST, 0), _Connection)  # type: ignore[arg-type]  # typed for TCP alone

    def server_bind(self) -> None:
        """Bind without the look-up of the machine's name that HTTPServer makes."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's arguments
        self.clients.add(client_address)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the same
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.clients.discard(client_address)

    # A connection is made TLS in its own thread: a client that never says hello must not stop the others.
    def finish_request(self, request: object, client_address: object) -> None:
        connection = cast("socket.socket", request)
        if self._tls:
            connection.settimeout(60)
            connection = self._tls.wrap_socket(connection, server_side=True)
            connection.settimeout(None)
        with self._open_lock:
            self._open.add(connection)
        if self.owner.stopping.is_set():
            self.end_connections()
        try:
            _Connection(connection, client_address, self)
        finally:
            with self._open_lock:
                self._open.discard(connection)
            connection.close()

    def end_connections(self) -> None:
        """Wake every thread that waits for a client."""
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that break off are what the tests are about."""


class _Connection(BaseHTTPRequestHandler):
    """One client's connection."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        """Send small answers at once; only TCP would wait."""
        super().setup()
        if self.request.family == socket.AF_INET:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Serve every method alike; BaseHTTPRequestHandler looks for ``do_GET`` and so on."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        step = self.server.owner.respond(Request(self.command, self.path, headers, self._body(headers)))
        if isinstance(step, Answer):
            self._send(step)
            return
        self.close_connection = True
        if step == "reset":
            self._reset()
        elif step == "hang":
            self.server.owner.stopping.wait()

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(headers.get("content-length", "0")))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, step: Answer) -> None:
        """Send head and body in one write, so that no algorithm of TCP's delays the second half."""
        length = len(step.body) + step.missing
        lines = [f"HTTP/1.1 {step.status} Scripted"]
        lines += [f"{name}: {value}" for name, value in step.headers.items()]
        lines += [f"Content-Length: {length}", "", ""]
        head = "\r\n".join(lines).encode("latin-1")
        body = b"" if self.command == "HEAD" else step.body
        self.close_connection |= step.missing > 0
        if step.bytes_per_second is None:
            self.wfile.write(head + body)
            return
        self.wfile.write(head)
        self._trickle(body, step.bytes_per_second)

    def _trickle(self, body: bytes, bytes_per_second: float) -> None:
        tick = 0.02
        share = max(1, round(bytes_per_second * tick))
        for start in range(0, len(body), share):
            part = body[start : start + share]
            self.wfile.write(part)
            if self.server.owner.stopping.wait(len(part) / bytes_per_second):
                return

    def _reset(self) -> None:
        """Close with a zero linger time, which the kernel turns into an RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class gave it
        """Print nothing."""


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Wait until something is so, at most ``seconds``; tell whether it is."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
