"""Why a request to Vault came to nothing: what broke, whether it may have begun, whether to try again."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import IncompleteRead, LocationValueError, NewConnectionError

from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0

_NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
# What OpenSSL's reasons mean for the reader; the first that fits.
_TLS_REMEDIES = (
    ("WRONG_VERSION_NUMBER", "Vault seems to speak plain http there: look at the port, and let it serve TLS."),
    ("HTTP_REQUEST", "Vault seems to speak plain http there: look at the port, and let it serve TLS."),
    ("PROTOCOL", "TLS 1.2 or newer is needed: update Vault or the proxy in front of it."),
    (
        "",
        "Vault may want a client certificate: give vault-client-certificate and vault-client-key.",
    ),
)


class Fault(Exception):  # noqa: N818 - it never leaves the adapter: it becomes a StoreError that names the address
    """One try that gave no answer.

    Args:
        what: What failed, to follow "Vault at ADDRESS:".
        remedy: What the reader does next.
        begun: Whether Vault may have begun with the request.
        tries: How many tries it is worth in all; 0 for as many as there are.

    """

    def __init__(self, what: str, remedy: str, *, begun: bool = True, tries: int = 0) -> None:
        """Remember what failed."""
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.begun = begun
        self.tries = tries


def garbled() -> Fault:
    """Make the fault for an answer that Vault cannot have given."""
    return Fault(
        "it answered with something that is not Vault's JSON (a proxy or captive portal?)",
        "Look at vault-addr and at what stands between this runner and Vault.",
        tries=2,
    )


def too_long(limit: int) -> Fault:
    """Make the fault for a body over a limit in bytes."""
    return Fault(f"it answered with more than {limit >> 20} MiB", garbled().remedy, tries=1)


def too_slow() -> Fault:
    """Make the fault for a body that trickled in until the deadline."""
    return Fault("its answer came in too slowly", "Look at the network, or raise timeout-seconds.")


def unusable(error: Exception) -> Fault:
    """Make the fault for JSON that must not be used; its text is fit to be shown."""
    return Fault(f"its answer cannot be used: {error}", "Write the secret anew.", tries=1)


def redirected(location: str, again: str = "") -> Fault:
    """Make the fault for a redirect that is not followed; of its target only the host is shown."""
    try:
        parts = urlsplit(location)
        target = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else "another path"
    except ValueError:
        target = "something that is no address"
    return Fault(
        f"it redirects to {tame(target, 120)}{' ' if again else ''}{again}, which is not followed with a token",
        "Give the address of Vault itself as vault-addr, https and without a detour "
        "(one hop is followed: that of a standby, to https and the same path).",
        begun=False,
        tries=1,
    )


def fault_of(error: Exception, address: str) -> Fault:
    """Tell what an exception of requests, urllib3, ssl or the socket means."""
    causes = list(_causes(error))
    for kind in (_address, _certificate, _unknown_host, _proxy, _tls, _timeout, _cut_off):
        fault = kind(causes, address)
        if fault:
            return fault
    if any(isinstance(cause, (NewConnectionError, ConnectionRefusedError)) for cause in causes):
        return Fault(
            f"it cannot be reached ({_said(causes)})",
            "Is it running, and is the port right? A GitHub-hosted runner cannot reach a private network.",
            begun=False,
        )
    return Fault(f"the connection broke off ({_said(causes)})", "Look at Vault's log and at the proxy in front of it.")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an exception and all that it was made of: requests wraps urllib3's, which wraps the system's."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and not any(cause is other for other in seen):
            seen.append(cause)
            yield cause
            waiting += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]


def _said(causes: list[BaseException]) -> str:
    """Return the innermost words about it: the system's own text, else the name of the exception."""
    texts = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    return tame(texts[-1] if texts else type(causes[-1]).__name__, 120)


def _address(causes: list[BaseException], _: str) -> Fault | None:
    if not any(isinstance(cause, (requests.exceptions.InvalidURL, LocationValueError)) for cause in causes):
        return None
    return Fault("the address cannot be used", "Look at vault-addr, and at HTTPS_PROXY.", begun=False, tries=1)


def _certificate(causes: list[BaseException], address: str) -> Fault | None:
    refused = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if refused is None:
        return None
    if refused.verify_code in _WRONG_HOST:
        remedy = (
            f"It is for another host than {urlsplit(address).hostname}: write the name that it is for in vault-addr."
        )
    elif refused.verify_code in _OUTDATED:
        remedy = "Renew the server's certificate, and compare the clocks."
    else:
        remedy = "Give the certificate of the authority that signed it as vault-ca-certificate (PEM)."
    return Fault(f"its certificate is not trusted ({tame(refused.verify_message, 120)})", remedy, begun=False, tries=1)


# OpenSSL x509_vfy.h: X509_V_ERR_HOSTNAME_MISMATCH, ..._IP_ADDRESS_MISMATCH; CERT_NOT_YET_VALID, CERT_HAS_EXPIRED.
_WRONG_HOST = {62, 64}
_OUTDATED = {9, 10}


def _unknown_host(causes: list[BaseException], address: str) -> Fault | None:
    failed = next((cause for cause in causes if isinstance(cause, socket.gaierror)), None)
    if failed is None:
        return None
    host = urlsplit(address).hostname
    if failed.errno in _NO_SUCH_HOST:
        remedy = "Look at vault-addr; a name of a private network is not known to a GitHub-hosted runner."
        return Fault(f"no host by the name {host} is known", remedy, begun=False, tries=1)
    return Fault(f"the name {host} could not be looked up just now", "Look at the runner's DNS.", begun=False)


def _proxy(causes: list[BaseException], address: str) -> Fault | None:
    if not any(isinstance(cause, requests.exceptions.ProxyError) for cause in causes):
        return None
    host = urlsplit(address).hostname
    remedy = f"Look at the proxy, or except {host} from it with NO_PROXY."
    return Fault(f"the proxy of HTTPS_PROXY did not connect to it ({_said(causes)})", remedy, begun=False)


def _tls(causes: list[BaseException], _: str) -> Fault | None:
    failed = [cause for cause in causes if isinstance(cause, ssl.SSLError) and cause.reason]
    if not failed or isinstance(failed[-1], (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return None
    reason = failed[-1].reason
    remedy = next(remedy for word, remedy in _TLS_REMEDIES if word in reason)
    return Fault(f"TLS failed ({tame(reason.replace('_', ' ').lower(), 80)})", remedy, begun=False, tries=1)


def _timeout(causes: list[BaseException], _: str) -> Fault | None:
    if any(isinstance(cause, requests.exceptions.ConnectTimeout) for cause in causes):
        remedy = "Look at vault-addr and at the firewall between this runner and Vault."
        return Fault(f"no connection within {CONNECT_SECONDS:g} s", remedy, begun=False)
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return Fault(f"no answer within {READ_SECONDS:g} s", "Look at how Vault and its storage are doing.")
    return None


def _cut_off(causes: list[BaseException], _: str) -> Fault | None:
    if not any(isinstance(cause, (IncompleteRead, http.client.IncompleteRead)) for cause in causes):
        return None
    return Fault("its answer was cut off", "Look at the proxy or load balancer in front of it.")
