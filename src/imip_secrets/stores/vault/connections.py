"""Connections to Vault that stay open, over Python's own HTTP client.

One exchange is one request and one answer, within limits of time and size. No
redirect is followed, nothing is sent twice, no file and no variable is read
but HTTPS_PROXY and NO_PROXY.
"""

from __future__ import annotations

import selectors
from collections import deque
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from imip_secrets.settings import LOOPBACK
from imip_secrets.stores.vault import faults

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from http.client import HTTPResponse

MAX_BODY = 8 * 1024 * 1024
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Limits(NamedTuple):
    """How long one exchange may take.

    Args:
        connect: Seconds for a connection, and again for TLS on it.
        read: Seconds of silence.
        over: Tells whether the run's time is over.

    """

    connect: float
    read: float
    over: Callable[[], bool]


class Message(NamedTuple):
    """A request.

    Args:
        method: The HTTP method.
        target: The path and the query, escaped.
        headers: The headers, without Host.
        body: The body, or None.

    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None = None

    def __repr__(self) -> str:
        """Show nothing: the headers hold a token, the body a credential."""
        return "Message()"


class Reply(NamedTuple):
    """An answer, its body read to the end; of a redirect there is no body.

    Args:
        status: The HTTP status.
        headers: The headers, by their names in lower case.
        body: The body.

    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        """Show nothing but the status."""
        return f"Reply({self.status})"


class Connections:
    """Exchanges with any number of hosts; for many threads.

    Args:
        tls: How to connect by https; None where only plain http to loopback is spoken.

    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        """Open none yet."""
        self._tls = tls
        self._idle: dict[str, deque[HTTPConnection]] = {}

    def exchange(self, address: str, message: Message, limits: Limits) -> Reply:
        """Send a request once and read the answer.

        Args:
            address: ``https://host:port``, or http to loopback.
            message: What to send.
            limits: How long it may take.

        Raises:
            Fault: there was no answer, or not all of one.

        """
        idle = self._idle.setdefault(address, deque())
        connection = _alive(idle) or _connect(address, self._tls, limits)
        kept = False
        try:
            connection.sock.settimeout(limits.read)
            headers = {"Host": urlsplit(address).netloc, **message.headers}
            connection.request(message.method, message.target, message.body, headers)
            with connection.getresponse() as response:
                reply = _read(response, limits)
            kept = reply.status not in REDIRECTS and connection.sock is not None
        except (OSError, HTTPException) as error:
            raise faults.broken(error) from None
        finally:
            if kept:
                idle.append(connection)
            else:
                connection.close()
        return reply

    def close(self) -> None:
        """Close every connection that is not in use."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


def _alive(idle: deque[HTTPConnection]) -> HTTPConnection | None:
    """Take the connection used last that the server has not closed, or None."""
    while True:
        try:
            connection = idle.pop()
        except IndexError:
            return None
        with selectors.DefaultSelector() as selector:
            selector.register(connection.sock, selectors.EVENT_READ)
            # Nothing was asked for, so what there is to read is the end.
            if not selector.select(0):
                return connection
        connection.close()


def _connect(address: str, tls: ssl.SSLContext | None, limits: Limits) -> HTTPConnection:
    """Connect, through a proxy where there is one, and make it secure."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    proxy = _proxy(address)
    connection = _through(proxy, address) if proxy else HTTPConnection(host, parts.port or _port(parts.scheme))
    connection.timeout = limits.connect
    try:
        connection.connect()
    except UnicodeError:
        raise faults.not_an_address() from None
    except (OSError, HTTPException) as error:
        connection.close()
        raise faults.not_proxied(error, host) if proxy else faults.not_reached(error, host) from None
    if parts.scheme == "https":
        _secure(connection, tls, host)
    return connection


def _secure(connection: HTTPConnection, tls: ssl.SSLContext | None, host: str) -> None:
    """Speak TLS from now on, with the server that the address names."""
    if tls is None:
        msg = "https needs TLS settings"
        raise RuntimeError(msg)
    try:
        connection.sock = tls.wrap_socket(connection.sock, server_hostname=host)
    except OSError as error:  # ssl.SSLError is one
        connection.close()
        raise faults.not_secure(error, host) from None


def _through(proxy: str, address: str) -> HTTPConnection:
    """Prepare to have a proxy connect; its address may hold a user and a password."""
    url = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts, goal = urlsplit(url), urlsplit(address)
        connection = HTTPConnection(parts.hostname or "", parts.port or _port(parts.scheme))
    except (ValueError, HTTPException):
        raise faults.not_an_address() from None
    if parts.scheme != "http" or not parts.hostname:
        raise faults.not_an_address()
    connection.set_tunnel(
        goal.hostname or "", goal.port or _port(goal.scheme), _credentials(parts.username, parts.password)
    )
    return connection


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    """Return the header for a proxy that wants to know who asks."""
    if user is None:
        return {}
    from base64 import b64encode  # noqa: PLC0415 - only such proxies need it

    text = f"{unquote(user)}:{unquote(password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(text.encode()).decode()}"}


def _proxy(address: str) -> str | None:
    """Return HTTPS_PROXY unless NO_PROXY excepts the address; loopback is never proxied."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme != "https" or host in LOOPBACK:
        return None
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - plain http to loopback needs none of it

    proxies = getproxies()
    if "https" not in proxies or proxy_bypass(parts.netloc) or _is_excepted(host, proxies.get("no", "")):
        return None
    return proxies["https"]


def _is_excepted(host: str, excepted: str) -> bool:
    """Tell whether NO_PROXY has a network (``10.0.0.0/8``) that an address is in; Python knows only names there."""
    from ipaddress import ip_address, ip_network  # noqa: PLC0415 - few have a proxy

    try:
        address = ip_address(host)
    except ValueError:
        return False
    for entry in excepted.split(","):
        try:
            network = ip_network(entry.strip(), strict=False)
        except ValueError:
            continue
        if address in network:
            return True
    return False


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _read(response: HTTPResponse, limits: Limits) -> Reply:
    """Read a body as it comes in: so much at most, no later than the end of the run, and all of it."""
    headers = {name.lower(): value for name, value in response.getheaders()}
    if response.status in REDIRECTS:
        return Reply(response.status, headers, b"")
    body = bytearray()
    # Not read() alone: it waits for everything, and a body that trickles in would outlast the run. peek() waits for a
    # first byte even where none is to come.
    while response.length != 0 and (piece := response.peek()):
        body += response.read(len(piece))
        if len(body) > MAX_BODY:
            raise faults.too_long(MAX_BODY)
        if limits.over():
            raise faults.too_slow()
    # peek() takes an early end for the end, read() does not.
    return Reply(response.status, headers, bytes(body + response.read()))
