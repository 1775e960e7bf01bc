"""Whom the connections to Azure trust."""

from __future__ import annotations

import ssl
from pathlib import Path

from imip_secrets.errors import StoreError
from imip_secrets.foreign import tame


def tls_context(ca_certificate: str, ca_file: str | None) -> ssl.SSLContext:
    """Make the TLS settings: TLS 1.2 or newer, the peer always verified.

    Args:
        ca_certificate: PEM text to trust besides the system's authorities, or "".
        ca_file: A file or folder of authorities to trust besides, or None.

    Raises:
        StoreError: a certificate cannot be used; names the setting.

    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if _knows_nobody(context):
        # A Python or a container without the system's list: the list that requests brings along.
        import certifi  # noqa: PLC0415 - only such systems need it

        context.load_verify_locations(certifi.where())
    try:
        if ca_certificate:
            context.load_verify_locations(cadata=ca_certificate)
        if ca_file:
            context.load_verify_locations(**{"capath" if Path(ca_file).is_dir() else "cafile": ca_file})
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = tame(getattr(error, "strerror", None) or type(error).__name__, 120)
    else:
        return context
    name = f"{tame(ca_file, 120)} (REQUESTS_CA_BUNDLE)" if ca_file else "the input ca-certificate"
    what = f"{name} holds no certificate that can be used ({reason})"
    raise StoreError(what, "Give certificates as PEM text, with their line breaks.")


def _knows_nobody(context: ssl.SSLContext) -> bool:
    """Tell whether there is no authority: none is loaded, and the folder of those loaded on demand has none."""
    folder = ssl.get_default_verify_paths().capath
    return not context.cert_store_stats()["x509_ca"] and not (folder and list(Path(folder).iterdir()))
