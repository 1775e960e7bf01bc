"""What a writer says when somebody else was there in between."""

from __future__ import annotations

from imip_secrets.errors import StoreError


class ChangedError(StoreError):
    """The secret is not as it was read: another run, or a person, wrote it meanwhile. Nothing was written."""

    def __init__(self, name: str) -> None:
        """Say which; the remedy is always the same."""
        super().__init__(
            f"the secret {name} was changed by somebody else meanwhile, and is left as it is", "Run it again."
        )
