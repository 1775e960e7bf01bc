"""GitHub as the core of the sync sees it: the only way to PyGithub and PyNaCl, imported when a sync runs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from imip_secrets.sync.base import Access, GitHub
    from imip_secrets.sync.pacing import Limits

_ENTERPRISE = "/api/v3"


def open_github(access: Access, limits: Limits | None = None) -> GitHub:
    """Import the libraries and make the client, without network.

    Args:
        access: What it works with.
        limits: Other rate limits than GitHub's, for tests.

    Raises:
        StoreError: the App's private key or the certificate is none.

    """
    from imip_secrets.sync.client import Client  # noqa: PLC0415 - its libraries take a third of a second
    from imip_secrets.sync.pacing import LIMITS  # noqa: PLC0415 - likewise not needed before

    return Client(access, limits or LIMITS, always=not is_enterprise_server(access.api_url))


def is_enterprise_server(api_url: str) -> bool:
    """Tell whether an API's address is that of a GitHub Enterprise Server (no codespaces, no agents)."""
    return urlsplit(api_url).path.rstrip("/").lower() == _ENTERPRISE
