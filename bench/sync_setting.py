"""What there is in a benchmark of the sync, for both sides of it; small, as the process that measures must be."""

from __future__ import annotations

from dataclasses import dataclass

OWNER = "imip"
HOME = f"{OWNER}/ops"
MANIFEST = "IMIP_SYNC_MANIFEST"
SECRET = "secret/imip/production"  # noqa: S105 - its path


@dataclass(frozen=True, slots=True)
class Setting:
    """What there is.

    Args:
        repositories: How many.
        secrets: How many there are in the store.
        delay: How many seconds an answer of GitHub takes.
        speed: How many times faster than ours GitHub's clock goes.
        enforced: Whether GitHub refuses what is over its limits.
        hourly: How many requests an hour it takes.

    """

    repositories: int
    secrets: int
    delay: float = 0.0
    speed: float = 1.0
    enforced: bool = False
    hourly: int = 15_000


@dataclass(frozen=True, slots=True)
class Places:
    """Where to go.

    Args:
        api: GitHub's API.
        socket: The same, at a Unix socket.
        token: A token that may do everything there.
        vault: OpenBao.
        vault_token: A token that reads the secret.

    """

    api: str
    socket: str
    token: str
    vault: str
    vault_token: str


def values(count: int) -> dict[str, str]:
    """Return what is to be in every repository."""
    return {f"BENCH_{number:02}": f"value-{number:02}-{number * 7919:012x}-öß" for number in range(count)}


def names(count: int) -> list[str]:
    """Return the repositories."""
    return [f"{OWNER}/app-{number:04}" for number in range(count)]
