"""The ID tokens that Entra ID is shown. Imports no SDK, so that the first can come meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imip_secrets.identity import IdToken
    from imip_secrets.stores.base import Context


class Assertions:
    """Gives a fresh ID token at each call, since each is good for some minutes alone.

    Args:
        context: What the core gives.

    Attributes:
        last: The last one, whose claims an error shows.

    """

    def __init__(self, context: Context) -> None:
        """Ask for the first.

        Raises:
            ImipError: the job may have none.

        """
        self._context = context
        self._unused = True
        self.last = self._ask()

    def __call__(self) -> str:
        """Give one that was not given before.

        Raises:
            ImipError: there is none to be had.

        """
        if not self._unused:
            self.last = self._ask()
        self._unused = False
        return self.last.token.reveal()

    def _ask(self) -> IdToken:
        return self._context.id_token(self._context.settings["azure-audience"])
