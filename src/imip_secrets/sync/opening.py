"""Opens GitHub for some scopes alone: what migration and audit need of it, without a sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.sync.base import Access, Reach
from imip_secrets.sync.inputs import api_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from imip_secrets.stores.base import Context
    from imip_secrets.sync.base import GitHub, Scope


def open_scopes(scopes: Iterable[Scope], context: Context, environ: Mapping[str, str]) -> GitHub:
    """Make the client, without network; its token is good for these scopes where an App makes it.

    Args:
        scopes: What will be touched.
        context: What the core gives; its settings name the token or the App.
        environ: The runner's variables: whose API is its own.

    """
    from imip_secrets.sync.github import open_github  # noqa: PLC0415 - imports PyGithub

    by_owner: dict[str, list[Scope]] = {}
    for scope in scopes:
        by_owner.setdefault(scope.owner.lower(), []).append(scope)
    settings = context.settings
    return open_github(
        Access(
            api_url=api_url(settings, environ),
            reaches=[_reach(each) for each in by_owner.values()],
            token=settings.secret("github-token"),
            app_id=settings["github-app-id"],
            app_key=settings.secret("github-app-private-key"),
            ca_certificate=settings["ca-certificate"],
            protect=context.protect,
            notice=context.notice,
            deadline=context.deadline,
        )
    )


def _reach(scopes: list[Scope]) -> Reach:
    names = {scope.repo for scope in scopes}
    uses = frozenset((scope.kind, scope.app) for scope in scopes)
    return Reach(scopes[0].owner, uses, frozenset() if "" in names else frozenset(names))
