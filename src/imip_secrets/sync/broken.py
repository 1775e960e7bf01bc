"""Why a request to GitHub had no answer: what broke, and whether to try again."""

from __future__ import annotations

import socket
import ssl

from urllib3.exceptions import ProxyError, ReadTimeoutError

from imip_secrets.causes import causes_of, said_by
from imip_secrets.foreign import tame

TRIES = 5

_SETTING = "github-api-url"
_REACHABLE = "Check that this machine may reach it: firewall, DNS, HTTPS_PROXY."
_ADDRESS = f"Check {_SETTING} (an Enterprise Server's ends in /api/v3) and what stands between it and this machine."
_NO_PROXY = "Check HTTPS_PROXY and what the proxy allows, or except the host by NO_PROXY."
_NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class Fault(Exception):  # noqa: N818 - it never leaves the back end: it becomes a StoreError that names the address
    """One try that gave no answer of GitHub's.

    Args:
        what: What failed, to follow "GitHub at ADDRESS:".
        remedy: What the reader does next.
        tries: How many tries it is worth in all.

    """

    def __init__(self, what: str, remedy: str, *, tries: int = TRIES) -> None:
        """Remember what failed."""
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.tries = tries


def garbled() -> Fault:
    """Make the fault for an answer that GitHub cannot have given."""
    return Fault("it answered with something that is not GitHub's JSON", _ADDRESS, tries=2)


def not_ready() -> Fault:
    """Make the fault for a promise of an answer (202), at which PyGithub would wait by itself."""
    return Fault("it has no answer ready yet", "Run again in a moment.")


def too_late() -> Fault:
    """Make the fault for a request that was not sent, since the time of the run is over."""
    return Fault("nothing more is asked", "Run again: what was written is not written again. Or raise timeout-seconds.")


def too_long(limit: int) -> Fault:
    """Make the fault for a body over a limit in bytes."""
    return Fault(f"it answered with more than {limit >> 20} MiB", _ADDRESS, tries=1)


def too_slow() -> Fault:
    """Make the fault for a body that trickled in for too long."""
    return Fault("its answer came in too slowly", _REACHABLE)


def bad_proxy() -> Fault:
    """Make the fault for an HTTPS_PROXY that is no address; it may hold a password, so it is not shown."""
    return Fault("HTTPS_PROXY holds no address of a proxy", "Write it like http://proxy.example.com:3128.", tries=1)


def broken(error: Exception, seconds: float) -> Fault:
    """Say why there was no answer; of an error of urllib3 only what the system or OpenSSL said is shown."""
    causes = list(causes_of(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(cause)
    if isinstance(error, ProxyError):
        refused = any("Tunnel connection failed: 4" in str(cause) for cause in causes)
        what = f"the proxy of HTTPS_PROXY did not connect to it ({said_by(causes)})"
        return Fault(what, _NO_PROXY, tries=1 if refused else TRIES)
    unknown = next((cause for cause in causes if isinstance(cause, socket.gaierror)), None)
    if unknown:
        return _unknown(unknown)
    if any(isinstance(cause, (ReadTimeoutError, TimeoutError)) for cause in causes):
        return Fault(f"no answer within {max(1, seconds):.0f} s", _REACHABLE)
    tls = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    if tls and not isinstance(tls, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        reason = tame((tls.reason or type(tls).__name__).replace("_", " ").lower(), 120)
        return Fault(f"it does not speak TLS as it should ({reason})", _ADDRESS, tries=2)
    return Fault(f"the connection failed ({said_by(causes)})", _REACHABLE)


def _untrusted(error: ssl.SSLCertVerificationError) -> Fault:
    remedy = (
        "Give the PEM certificate of the authority that signed it as ca-certificate; if it has expired or is for "
        "another host, correct the server."
    )
    return Fault(f"its certificate cannot be verified ({tame(error.verify_message, 120)})", remedy, tries=1)


def _unknown(error: socket.gaierror) -> Fault:
    if error.errno in _NO_SUCH_HOST:
        return Fault("no host by this name is known", f"Check {_SETTING}, and the DNS of this machine.", tries=1)
    return Fault("its name could not be looked up just now", "Check the DNS of this machine.")
