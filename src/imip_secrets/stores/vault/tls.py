"""Whom Vault's connection trusts, and the certificate it shows."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets.errors import StoreError

if TYPE_CHECKING:
    from imip_secrets.settings import Settings

_AUTHORITIES = ("ca-certificate", "vault-ca-certificate")


def tls_context(settings: Settings, *, ambient: bool) -> ssl.SSLContext:
    """Make the TLS settings: TLS 1.2 or newer, the peer always verified.

    Trusted are the system's authorities and, besides them, those of
    ``ca-certificate`` and ``vault-ca-certificate``; where people are at their
    own machine (``ambient``), also the files of ``VAULT_CACERT`` or
    ``VAULT_CAPATH``, and the certificate of ``VAULT_CLIENT_CERT`` is shown.

    Raises:
        StoreError: a certificate or key cannot be used; names the setting.

    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if _knows_nobody(context):
        # A Python or a container without the system's list: the list that requests brings along.
        import certifi  # noqa: PLC0415 - only such systems need it

        context.load_verify_locations(certifi.where())
    for name in _AUTHORITIES:
        if settings.given(name):
            _trust(context, name, settings[name])
    if ambient:
        _take_ambient(context)
    key = settings.secret("vault-client-key")
    if key is not None:
        _show(context, settings["vault-client-certificate"], key.reveal())
    return context


def _knows_nobody(context: ssl.SSLContext) -> bool:
    """Tell whether there is no authority: none is loaded, and the folder of those loaded on demand has none."""
    folder = ssl.get_default_verify_paths().capath
    return not context.cert_store_stats()["x509_ca"] and not (folder and any(Path(folder).iterdir()))


def _trust(context: ssl.SSLContext, name: str, pem: str) -> None:
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError, TypeError) as error:  # the last for text that is not ASCII
        raise _unusable(name, error) from None


def _take_ambient(context: ssl.SSLContext) -> None:
    """Take the files that Vault's own command line takes (Vault: "Commands (CLI)", environment variables)."""
    file, folder = os.environ.get("VAULT_CACERT"), os.environ.get("VAULT_CAPATH")
    certificate, key = os.environ.get("VAULT_CLIENT_CERT"), os.environ.get("VAULT_CLIENT_KEY")
    try:
        if file or folder:
            context.load_verify_locations(file or None, None if file else folder)
        if certificate:
            context.load_cert_chain(certificate, key or None, _nobody)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        names = "a file of VAULT_CACERT, VAULT_CAPATH, VAULT_CLIENT_CERT or VAULT_CLIENT_KEY"
        raise _unusable(names, error) from None


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Show a certificate to the server. OpenSSL's reader takes a file alone: ours is 0600 and gone at once."""
    import tempfile  # noqa: PLC0415 - only mutual TLS needs it

    handle, name = tempfile.mkstemp(prefix="imip-", suffix=".pem")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(f"{certificate}\n{key}\n")
        context.load_cert_chain(name, None, _nobody)
    except (ssl.SSLError, ValueError) as error:
        names = "vault-client-certificate with vault-client-key"
        raise _unusable(names, error) from None
    finally:
        Path(name).unlink()


def _nobody() -> bytes:
    """Answer for the person that OpenSSL would ask at the terminal."""
    return b""


def _unusable(name: str, error: Exception) -> StoreError:
    """Say which setting it is; OpenSSL's reason (``NO_START_LINE``, ``KEY_VALUES_MISMATCH``) holds no part of it."""
    reason = (getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__) or ""
    return StoreError(
        f"{name} cannot be used ({str(reason).replace('_', ' ').lower()})",
        "It must be whole PEM text with its line breaks, and a key that fits its certificate and has no passphrase.",
    )
