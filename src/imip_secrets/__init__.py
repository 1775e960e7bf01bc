"""Secrets from where they are kept to where they are used, masked, all or nothing.

An application has them by :func:`load_secrets`; importing it imports no SDK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imip_secrets.errors import ImipError
    from imip_secrets.loader import aload_secrets, load_secrets
    from imip_secrets.loader.mapping import Secrets

__version__ = "1.0.0"
__all__ = ["ImipError", "Secrets", "aload_secrets", "load_secrets"]


_MODULES = {
    "ImipError": "errors",
    "Secrets": "loader.mapping",
    "aload_secrets": "loader",
    "load_secrets": "loader",
}


def __getattr__(name: str) -> object:
    """Import what an application uses when it is asked for: the action and the command line have no need of it."""
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module  # noqa: PLC0415 - see above

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
