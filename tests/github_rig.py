"""The back end of the sync at the stand-in, as the core opens it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from imip_secrets.deadline import Deadline
from imip_secrets.secret import Secret
from imip_secrets.sync.base import Access, App, Kind, Reach
from imip_secrets.sync.github import open_github

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imip_secrets.sync.base import GitHub as BackEnd
    from imip_secrets.sync.pacing import Limits
    from stand_ins.github import GitHub
    from stand_ins.github.access import App as StandInApp

EVERYTHING = frozenset({(Kind.REPOSITORY, app) for app in App} | {(Kind.ORGANIZATION, app) for app in App}) | {
    (Kind.ENVIRONMENT, App.ACTIONS)
}


class Rig:
    """What a client is given, and what it said."""

    def __init__(self, github: GitHub) -> None:
        self.github = github
        self.said: list[str] = []
        self.masked: list[str] = []

    def access(
        self,
        *reaches: Reach,
        token: str | None = None,
        app: StandInApp | None = None,
        key: str | None = None,
        app_id: str | None = None,
        seconds: float = 100,
        ca: str = "",
    ) -> Access:
        """Make what the core gives; without an App the token is the stand-in's own."""
        given = None if app else Secret(token or self.github.token)
        return Access(
            self.github.url,
            reaches or (Reach("org", EVERYTHING),),
            given,
            (app_id or str(app.id)) if app else "",
            Secret(key or app.pem) if app else None,
            ca,
            lambda secret: self.masked.append(secret.reveal()),
            self.said.append,
            Deadline(seconds),
        )

    @contextmanager
    def client(self, access: Access | None = None, limits: Limits | None = None) -> Iterator[BackEnd]:
        """Log in, and close at the end whatever happens."""
        client = open_github(access or self.access(), limits)
        try:
            client.login()
            yield client
        finally:
            client.close()
