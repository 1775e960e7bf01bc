"""Why a request came to nothing: what broke, and whether another try may help."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

import requests
from azure.core.exceptions import AzureError
from urllib3.exceptions import IncompleteRead

from imip_secrets.causes import causes_of
from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
TRIES = 6  # the waits between them are 8 s on average and 16 s at most, unless the server asks for more

_NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
# OpenSSL x509_vfy.h: X509_V_ERR_CERT_NOT_YET_VALID, ..._HAS_EXPIRED.
_OUTDATED = {9, 10}
_THROTTLED = 429
_LOOK_BETWEEN = "Look at what stands between this runner and Azure: a proxy, a captive portal."


class Fault(AzureError):  # noqa: N818 - it never leaves the store: it becomes a StoreError
    """One try that failed and left no answer worth reading.

    Args:
        what: What failed, as a sentence without its full stop.
        remedy: What the reader does if it was the last try.
        tries: How many tries it is worth in all.
        retry_after: How long the server asks to wait, in seconds.

    """

    def __init__(self, what: str, remedy: str, *, tries: int = TRIES, retry_after: float = 0.0) -> None:
        """Remember what failed."""
        super().__init__(what)
        self.what, self.remedy, self.tries, self.retry_after = what, remedy, tries, retry_after
        self.made = 1

    def error(self) -> StoreError:
        """Make the error of it, with the number of tries that were made."""
        return StoreError(f"{self.what}{f' ({self.made} tries)' if self.made > 1 else ''}", self.remedy)


def busy(url: str, status: int, retry_after: float) -> Fault:
    """Make the fault for an answer that says: not now."""
    host = urlsplit(url).netloc
    if status == _THROTTLED:
        what = f"{host} throttles (429, too many requests)"
        remedy = "Others use up the vault's limits, or this job asks for very much: try again later, or ask for less."
    else:
        what, remedy = f"{host} answers {status}", "Look at Azure's status page, and run the job again."
    return Fault(what, remedy, retry_after=retry_after)


def garbled(url: str) -> Fault:
    """Make the fault for a success that is not of Azure's form; its text may hold anything, so none of it is shown."""
    what = f"{urlsplit(url).netloc} answered with something that is not Azure's JSON"
    return Fault(what, _LOOK_BETWEEN, tries=2)


def too_long(url: str, limit: int) -> Fault:
    """Make the fault for a body over a limit in bytes."""
    return Fault(f"{urlsplit(url).netloc} answered with more than {limit >> 20} MiB", _LOOK_BETWEEN, tries=1)


def too_slow(url: str) -> Fault:
    """Make the fault for a body that trickles in."""
    return Fault(f"the answer of {urlsplit(url).netloc} came in too slowly", "Look at the network.")


def fault_of(error: Exception, url: str) -> Fault:
    """Tell what an exception of azure-core, requests, urllib3, ssl or the socket means."""
    causes = list(causes_of(error))
    host = urlsplit(url).netloc
    for kind in (_certificate, _unknown_host, _proxy, _tls, _timeout, _cut_off):
        fault = kind(causes, host)
        if fault:
            return fault
    remedy = "May this machine reach it? Look at firewalls, private endpoints and HTTPS_PROXY."
    return Fault(f"the connection to {host} failed ({_said(causes)})", remedy)


def _said(causes: list[BaseException]) -> str:
    """Return the innermost words about it: the system's own text, else the name of the exception."""
    texts = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    return tame(texts[-1] if texts else type(causes[-1]).__name__, 120)


def _certificate(causes: list[BaseException], host: str) -> Fault | None:
    refused = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if refused is None:
        return None
    if refused.verify_code in _OUTDATED:
        remedy = "Compare the clocks; something may stand between this runner and Azure."
    else:
        remedy = (
            "Where a proxy opens TLS, give the certificate of its authority as the input ca-certificate (PEM); else "
            "correct the host."
        )
    return Fault(f"the certificate of {host} is not trusted ({tame(refused.verify_message, 120)})", remedy, tries=1)


def _unknown_host(causes: list[BaseException], host: str) -> Fault | None:
    failed = next((cause for cause in causes if isinstance(cause, socket.gaierror)), None)
    if failed is None:
        return None
    if failed.errno in _NO_SUCH_HOST:
        remedy = (
            "Is the name right, does the vault still exist, and does azure-cloud fit? A private DNS zone is not known "
            "to a GitHub-hosted runner."
        )
        return Fault(f"no host by the name {host} is known", remedy, tries=1)
    return Fault(f"the name {host} could not be looked up just now", "Look at the runner's DNS.")


def _proxy(causes: list[BaseException], host: str) -> Fault | None:
    if not any(isinstance(cause, requests.exceptions.ProxyError) for cause in causes):
        return None
    refused = any("Tunnel connection failed: 4" in str(cause) for cause in causes)
    remedy = f"Look at the proxy, or except {host} from it with NO_PROXY."
    what = f"the proxy of HTTPS_PROXY did not connect to {host} ({_said(causes)})"
    return Fault(what, remedy, tries=1 if refused else TRIES)


def _tls(causes: list[BaseException], host: str) -> Fault | None:
    ended = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    failed = [cause for cause in causes if isinstance(cause, ssl.SSLError) and not isinstance(cause, ended)]
    if not failed or not failed[-1].reason:
        return None
    reason = tame(failed[-1].reason.replace("_", " ").lower(), 80)
    remedy = "TLS 1.2 or newer is needed: look at what answers there."
    return Fault(f"TLS with {host} failed ({reason})", remedy, tries=1)


def _timeout(causes: list[BaseException], host: str) -> Fault | None:
    if any(isinstance(cause, requests.exceptions.ConnectTimeout) for cause in causes):
        remedy = "May this machine reach it? Look at firewalls, private endpoints and HTTPS_PROXY."
        return Fault(f"no connection to {host} within {CONNECT_SECONDS:g} s", remedy)
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return Fault(f"no answer from {host} within {READ_SECONDS:g} s", "Look at the network and Azure's status page.")
    return None


def _cut_off(causes: list[BaseException], host: str) -> Fault | None:
    if any(isinstance(cause, IncompleteRead) for cause in causes):
        return Fault(f"the answer of {host} was cut off", _LOOK_BETWEEN)
    return None
