"""Why a request to Vault came to nothing: what broke, whether it may have begun, whether to try again."""

from __future__ import annotations

import socket
import ssl
from http.client import HTTPException, IncompleteRead
from urllib.parse import urlsplit

from imip_secrets.foreign import tame

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0

_NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_BROKEN = "Look at Vault's log and at the proxy in front of it."
# OpenSSL x509_vfy.h: X509_V_ERR_HOSTNAME_MISMATCH, ..._IP_ADDRESS_MISMATCH; CERT_NOT_YET_VALID, CERT_HAS_EXPIRED.
_WRONG_HOST = {62, 64}
_OUTDATED = {9, 10}
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


def not_an_address() -> Fault:
    """Make the fault for an address that no connection can be made to."""
    return Fault("the address cannot be used", "Look at vault-addr, and at HTTPS_PROXY.", begun=False, tries=1)


def not_reached(error: Exception, host: str) -> Fault:
    """Tell why there is no connection."""
    if isinstance(error, socket.gaierror):
        if error.errno not in _NO_SUCH_HOST:
            return Fault(f"the name {host} could not be looked up just now", "Look at the runner's DNS.", begun=False)
        remedy = "Look at vault-addr; a name of a private network is not known to a GitHub-hosted runner."
        return Fault(f"no host by the name {host} is known", remedy, begun=False, tries=1)
    if isinstance(error, TimeoutError):
        remedy = "Look at vault-addr and at the firewall between this runner and Vault."
        return Fault(f"no connection within {CONNECT_SECONDS:g} s", remedy, begun=False)
    remedy = "Is it running, and is the port right? A GitHub-hosted runner cannot reach a private network."
    return Fault(f"it cannot be reached ({_said(error)})", remedy, begun=False)


def not_proxied(error: Exception, host: str) -> Fault:
    """Tell why there is no connection through the proxy."""
    remedy = f"Look at the proxy, or except {host} from it with NO_PROXY."
    return Fault(f"the proxy of HTTPS_PROXY did not connect to it ({_said(error)})", remedy, begun=False)


def not_secure(error: OSError, host: str) -> Fault:
    """Tell why there is a connection but no TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        what = f"its certificate is not trusted ({tame(error.verify_message, 120)})"
        return Fault(what, _certificate_remedy(error.verify_code, host), begun=False, tries=1)
    if isinstance(error, TimeoutError):
        return not_reached(error, host)
    return _tls(error) or Fault(f"the connection broke off ({_said(error)})", _BROKEN, begun=False)


def broken(error: OSError | HTTPException) -> Fault:
    """Tell what came in between a request and the end of its answer."""
    if isinstance(error, TimeoutError):
        return Fault(f"no answer within {READ_SECONDS:g} s", "Look at how Vault and its storage are doing.")
    if isinstance(error, IncompleteRead):
        return Fault("its answer was cut off", "Look at the proxy or load balancer in front of it.")
    # With TLS 1.3 a server says only now what it has against the client's certificate.
    tls = _tls(error) if isinstance(error, OSError) else None
    return tls or Fault(f"the connection broke off ({_said(error)})", _BROKEN)


def _said(error: Exception) -> str:
    """Return the system's own words, else the name of the exception: other texts may be the server's."""
    if isinstance(error, OSError) and (error.strerror or str(error).startswith("Tunnel connection failed")):
        return tame(error.strerror or error, 120)
    return type(error).__name__


def _certificate_remedy(code: int, host: str) -> str:
    if code in _WRONG_HOST:
        return f"It is for another host than {host}: write the name that it is for in vault-addr."
    if code in _OUTDATED:
        return "Renew the server's certificate, and compare the clocks."
    return "Give the certificate of the authority that signed it as vault-ca-certificate (PEM)."


def _tls(error: OSError) -> Fault | None:
    """Tell what OpenSSL has against the connection; an end without a word is none of that."""
    if not isinstance(error, ssl.SSLError) or isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return None
    reason = error.reason or ""
    remedy = next(remedy for word, remedy in _TLS_REMEDIES if word in reason)
    what = f"TLS failed ({tame(reason.replace('_', ' ').lower(), 80) or type(error).__name__})"
    return Fault(what, remedy, begun=False, tries=1)
