"""What applications import: their secrets, by the guide's variables or by references.

Here are the doors alone: ``from imip_secrets import load_secrets`` imports
next to nothing, the first call imports the rest and the one SDK that it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from imip_secrets.loader.live import OnChange
    from imip_secrets.loader.mapping import Secrets

TTL = 300.0
STALE = 120.0


def load_secrets(
    *references: str,
    env_file: str | os.PathLike[str] = ".env",
    ttl: float = TTL,
    stale: float = STALE,
    settings: Mapping[str, str] | None = None,
    on_change: OnChange | None = None,
) -> Secrets:
    """Return the secrets of this application; they stay up to date by themselves.

    Asked for again with the same arguments, the same secrets are given and
    nothing is read.

    Args:
        references: What to read, in the grammar of the action's ``secrets``
            (``"DATABASE_URL = aws://imip/production#MONGO_URI"``). Without
            any, ``SECRET_NAME``, ``VAULT_SECRET_PATH`` or
            ``AZURE_KEY_VAULT_URL`` choose; where none of them is set, and
            ``ENVIRONMENT`` is ``development``, the file ``env_file``.
        env_file: The dotenv file of development. Production never reads one.
        ttl: How old values may be, in seconds, before they are read again.
        stale: How much older when they cannot be read, before that is raised.
        settings: Inputs of the action by name, such as ``{"aws-region":
            "eu-west-1"}``; they come before the usual variables.
        on_change: Called with the names of secrets that are new, changed or
            gone; see :meth:`Secrets.on_change`.

    Raises:
        ImipError: with every mistake and failure, a line each; nothing was loaded.

    """
    from imip_secrets.loader.loading import load  # noqa: PLC0415 - the first call pays, not the import

    return load(references, env_file=env_file, times=(ttl, stale), settings=settings or {}, on_change=on_change)


async def aload_secrets(
    *references: str,
    env_file: str | os.PathLike[str] = ".env",
    ttl: float = TTL,
    stale: float = STALE,
    settings: Mapping[str, str] | None = None,
    on_change: OnChange | None = None,
) -> Secrets:
    """Do what :func:`load_secrets` does, without holding up the event loop."""
    import asyncio  # noqa: PLC0415 - who awaits this has it

    return await asyncio.to_thread(
        load_secrets, *references, env_file=env_file, ttl=ttl, stale=stale, settings=settings, on_change=on_change
    )
