"""Server certificates, good and bad, for servers on loopback.

>>> authority = Authority()
>>> with FaultServer(json_answer({}), tls=authority.good()) as server:
...     ...  # a client that trusts authority.pem may talk to server.url
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import tempfile
import warnings
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAMES = ("127.0.0.1", "localhost")


class Authority:
    """A certificate authority that lives as long as the test."""

    def __init__(self) -> None:
        """Make the authority's key."""
        self._ca = trustme.CA()

    @property
    def pem(self) -> str:
        """The certificate that a client must trust."""
        return self._ca.cert_pem.bytes().decode()

    def good(self) -> ssl.SSLContext:
        """Serve with a certificate for loopback that is in order."""
        return _server(self._ca.issue_cert(*NAMES))

    def wrong_host(self) -> ssl.SSLContext:
        """Serve with another host's certificate."""
        return _server(self._ca.issue_cert("elsewhere.example"))

    def expired(self) -> ssl.SSLContext:
        """Serve with a certificate that ended yesterday."""
        yesterday = dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=1)
        return _server(self._ca.issue_cert(*NAMES, not_before=yesterday - dt.timedelta(1), not_after=yesterday))

    def outdated(self) -> ssl.SSLContext:
        """Serve with a good certificate over TLS 1.1 alone."""
        context = self.good()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1_1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        return context

    def mutual(self) -> ssl.SSLContext:
        """Serve with a good certificate, and ask the client for one of this authority."""
        context = self.good()
        self._ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self) -> tuple[str, str]:
        """Give a client's certificate and key, both PEM, for :meth:`mutual`."""
        made = self._ca.issue_cert("client@example.com")
        return made.cert_chain_pems[0].bytes().decode(), made.private_key_pem.bytes().decode()


def self_signed() -> ssl.SSLContext:
    """Serve with a certificate that only vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder, "both.pem")
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context.load_cert_chain(pem)
    return context


def _server(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Make a server's context of a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
