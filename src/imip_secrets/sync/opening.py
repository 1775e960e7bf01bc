"""Opens GitHub: with the App's key from wherever it is, and for some scopes alone, without a sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError, Problem
from imip_secrets.harvest import harvest
from imip_secrets.resolve import look
from imip_secrets.sync.base import Access, Reach
from imip_secrets.sync.inputs import api_url, key_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from imip_secrets.secret import Secret
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
            app_key=app_key(context),
            ca_certificate=settings["ca-certificate"],
            protect=context.protect,
            notice=context.notice,
            deadline=context.deadline,
        )
    )


def app_key(context: Context) -> Secret | None:
    """Return the App's private key, read from its store where the input is a reference; None where there is none.

    Raises:
        ImipError: the store refuses, or the reference does not give one value.

    """
    settings = context.settings
    line = key_line(settings)
    if line is None:
        return settings.secret("github-app-private-key")
    result = harvest([line], context)
    problems, variables = list(result.problems), []
    for _, outcomes in result.outcomes:
        for target, found in outcomes:
            given, mistakes = look(line, target, found, "upper")
            variables += given
            problems += [problem.at("input github-app-private-key") for problem in mistakes]
    if not problems and len(variables) != 1:
        what = "the reference gives more than one value"
        problems.append(Problem(what, "input github-app-private-key", "Add #KEY to it: #private_key."))
    if problems:
        raise ImipError(*problems)
    context.protect(variables[0].value)
    return variables[0].value


def _reach(scopes: list[Scope]) -> Reach:
    names = {scope.repo for scope in scopes}
    uses = frozenset((scope.kind, scope.app) for scope in scopes)
    return Reach(scopes[0].owner, uses, frozenset() if "" in names else frozenset(names))
