"""One login at AWS, for every store of AWS that a run uses."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError

if TYPE_CHECKING:
    from imip_secrets.stores.aws.login import Identity
    from imip_secrets.stores.aws.session import AwsSession
    from imip_secrets.stores.base import Context

_KEY = "aws"


class AwsAccess:
    """A session that is logged in once, by whichever store comes first. Safe for many threads.

    Args:
        context: What the core gives.

    """

    def __init__(self, context: Context) -> None:
        """Remember the context."""
        self._context = context
        self._session: AwsSession | None = None
        self._outcome: Identity | ImipError | None = None
        self._lock = threading.Lock()

    @classmethod
    def take(cls, context: Context) -> AwsAccess:
        """Return the run's own; to be ended with :meth:`give_back`."""
        return context.shared.take(_KEY, lambda: cls(context))

    def give_back(self) -> None:
        """Close every connection and forget the credentials, which end by themselves, if nobody else uses them."""
        if self._context.shared.give_back(_KEY) and self._session:
            self._session.close()

    @property
    def open(self) -> tuple[AwsSession, Identity] | None:
        """What to ask with and who asks, once the login is over and went well."""
        if self._session is None or self._outcome is None or isinstance(self._outcome, ImipError):
            return None
        return self._session, self._outcome

    def log_in(self) -> Identity:
        """Assume the role with an ID token, or take the ambient credentials; who comes later gets the same outcome.

        Raises:
            ImipError: there is no ID token, AWS refuses it, or there are no credentials.

        """
        # Whoever waits here waits no longer than the first, whose every step ends with the run.
        with self._lock:
            if self._outcome is None:
                try:
                    self._outcome = self._log_in()
                except ImipError as error:
                    self._outcome = error
        if isinstance(self._outcome, ImipError):
            raise self._outcome
        return self._outcome

    def _log_in(self) -> Identity:
        settings = self._context.settings
        if not settings.given("aws-role-to-assume"):
            self._session = _open_session(self._context)
            from imip_secrets.stores.aws.login import take_ambient  # noqa: PLC0415  # imports botocore

            return take_ambient(self._session, self._context)
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # imports logging

        with ThreadPoolExecutor(1) as threads:
            opening = threads.submit(_open_session, self._context)
            token = self._context.id_token(settings["aws-audience"])
            self._session = opening.result()
        from imip_secrets.stores.aws.login import WebIdentity  # noqa: PLC0415  # imports botocore

        identity = WebIdentity(self._session, self._context, token).assume()
        self._session.log_in_anew = self._again
        return identity

    def _again(self) -> None:
        """Assume the role once more, with a fresh ID token."""
        from imip_secrets.stores.aws.login import WebIdentity  # noqa: PLC0415  # imports botocore

        if self._session:
            token = self._context.id_token(self._context.settings["aws-audience"])
            WebIdentity(self._session, self._context, token).assume()


def logged_in(access: AwsAccess | None) -> tuple[AwsSession, Identity]:
    """Return what to ask with, and who asks."""
    opened = access.open if access else None
    if opened is None:
        msg = "the store is not logged in"
        raise RuntimeError(msg)
    return opened


def _open_session(context: Context) -> AwsSession:
    """Import botocore and set it up for the run."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    from imip_secrets.stores.aws.failure import Failure  # noqa: PLC0415  # needed by then
    from imip_secrets.stores.aws.login import login_region  # noqa: PLC0415  # imports botocore
    from imip_secrets.stores.aws.session import AwsSession, unfit  # noqa: PLC0415  # imports botocore

    try:
        session = AwsSession(context)
    except BotoCoreError as error:
        refused = unfit(error).error()
    else:
        if context.settings.given("aws-role-to-assume"):
            # Ahead of time: what is wrong is said when it is asked for.
            with suppress(BotoCoreError, Failure):
                session.client("sts", login_region(context.settings))
        return session
    raise refused
