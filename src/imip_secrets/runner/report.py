"""The job summary: what was set, from where, how old; readable at a glance, and never a value, a length or a hash."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from imip_secrets.foreign import flatten, tame
from imip_secrets.stores import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from imip_secrets.errors import Problem
    from imip_secrets.resolve import Resolved
    from imip_secrets.stores.base import Found
    from imip_secrets.variables import Variable

# With letters and digits these make no emphasis, link, list or table within a line.
_PLAIN = frozenset(" ,/-")
# GitHub looks for these in the finished text, where an entity is what it stands for: a comment keeps names apart.
_MENTIONS = frozenset("@#")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def success(
    resolved: Resolved, unmasked: Collection[str], hide: Callable[[str], str], now: datetime | None = None
) -> str:
    """Return the Markdown of a run that went well.

    Args:
        resolved: What was delivered.
        unmasked: The names whose values are not masked.
        hide: Takes what is masked out of a text: the runner cannot, once signs are written as HTML entities.
        now: What ages are counted from.

    """

    def cell(text: str) -> str:
        return inert(hide(text))

    moment = now or datetime.now(timezone.utc)
    rows = [_cells(variable, moment, is_bare=variable.name in unmasked) for variable in resolved.variables]
    return "\n".join(
        [
            f"### imip-secrets: {counted(len(rows), 'variable')} set",
            "",
            *(f"- {title}: {cell(who)}" for title, who in resolved.logins.items()),
            "",
            "| Variable | Store | Secret | Version | Age | Note |",
            "| --- | --- | --- | --- | --- | --- |",
            *(f"| `{name}` | {' | '.join(map(cell, cells))} |" for name, *cells in rows),
            "",
            *(f"- {cell(line.where)}: nothing is there, and it is optional" for line in resolved.absent),
            "",
        ]
    )


def failure(problems: Sequence[Problem], hide: Callable[[str], str], nothing: str = "Nothing was exported") -> str:
    """Return the Markdown of a run that did ``nothing``; ``hide`` is that of :func:`success`."""
    rows = [map(inert, map(hide, (each.where, each.what, each.remedy))) for each in problems]
    return "\n".join(
        [
            f"### imip-secrets: {nothing[0].lower()}{nothing[1:]}, {counted(len(problems), 'problem')}",
            "",
            "| Where | What | What to do |",
            "| --- | --- | --- |",
            *(f"| {' | '.join(cells)} |" for cells in rows),
            "",
        ]
    )


def row(texts: Iterable[str], hide: Callable[[str], str]) -> str:
    """Return a row of a table, of texts that somebody else wrote; ``hide`` is that of :func:`success`."""
    return f"| {' | '.join(inert(hide(text)) for text in texts)} |"


def counted(number: int, noun: str) -> str:
    """Return "1 secret", "2 secrets"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def not_masked(name: str) -> str:
    """Say that the value of a variable can be read in the log."""
    return (
        f"The value of {name} is not masked: it is too short or too common to hide. Add mask=on to its reference "
        "to have it hidden all the same, or mask=off to be told no more."
    )


def short_lived(path: str, seconds: int, minutes: int) -> str:
    """Say that credentials may end before the job does."""
    return (
        f"The credentials of {tame(path, 120)} live {span(seconds)}, and the job may need them for {minutes} minutes "
        "(vault-lease-minutes). Raise the TTL of their role, and of the token that makes them: they end with it."
    )


def nobody_cleans_up(what: str) -> str:
    """Say how long credentials live that nobody ends."""
    return (
        f"No cleanup step has begun in this job, so nothing revokes what was made for it. It lives: {what}. Make "
        "org/imip-secrets-action/cleanup@v1 the first step of the job."
    )


def facts(found: Found, now: datetime | None = None) -> str:
    """Return the version and age of what was found, for a line of text; "" when neither is known."""
    age = _age(found, now or datetime.now(timezone.utc))
    version = f"version {tame(found.version, 40)}" if found.version else ""
    return ", ".join(filter(None, (version, f"{age} old" if age else "")))


def span(seconds: float) -> str:
    """Return a time span in the one unit that tells most: "3 days"."""
    for size, noun in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= size:
            return counted(int(seconds // size), noun)
    return counted(max(0, int(seconds)), "second")


def _cells(variable: Variable, now: datetime, *, is_bare: bool) -> tuple[str, ...]:
    found = variable.found
    return (
        variable.name,
        SCHEMES[variable.line.reference.scheme].title,
        variable.target.path + (f" # {variable.key}" if variable.key is not None else ""),
        found.version if found else "",
        _age(found, now) if found else "",
        ", ".join(_notes(variable, is_bare=is_bare)),
    )


def _notes(variable: Variable, *, is_bare: bool) -> Iterable[str]:
    found = variable.found
    if found is None:
        yield "the default"
    elif found.lease is not None:
        yield f"lives {span(found.lease.seconds)}"
    if variable.line.reference.as_file:
        yield "a file"
    if is_bare:
        yield "not masked"


def _age(found: Found, now: datetime) -> str:
    return span((now - found.changed).total_seconds()) if found.changed else ""


def inert(text: str) -> str:
    """Return foreign text as it is to be read in a table: nothing in it is Markdown, HTML, a link or a mention."""
    return "".join(map(_written, flatten(text)))


def _written(char: str) -> str:
    if char.isalnum() or char in _PLAIN:
        return char
    return f"&#{ord(char)};{'<!-- -->' if char in _MENTIONS else ''}"
