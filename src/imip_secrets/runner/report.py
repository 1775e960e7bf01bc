"""The job summary: what was set, from where, how old; readable at a glance, and never a value, a length or a hash."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from imip_secrets.foreign import flatten, tame
from imip_secrets.stores import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from imip_secrets.errors import Problem
    from imip_secrets.resolve import Resolved
    from imip_secrets.stores.base import Found
    from imip_secrets.variables import Variable

_PLAIN = frozenset("-_./ :,")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def success(resolved: Resolved, unmasked: Collection[str], now: datetime | None = None) -> str:
    """Return the Markdown of a run that went well.

    Args:
        resolved: What was delivered.
        unmasked: The names whose values are not masked.
        now: What ages are counted from.

    """
    moment = now or datetime.now(timezone.utc)
    rows = [_row(variable, variable.name in unmasked, moment) for variable in resolved.variables]
    return "\n".join(
        [
            f"### imip-secrets: {counted(len(rows), 'variable')} set",
            "",
            *(f"- {_cell(title)}: {_cell(who)}" for title, who in resolved.logins.items()),
            "",
            "| Variable | Store | Secret | Version | Age | Note |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            *(f"- {_cell(line.where)}: nothing there, no variable (optional)" for line in resolved.absent),
            "",
        ]
    )


def failure(problems: Sequence[Problem]) -> str:
    """Return the Markdown of a run that exported nothing."""
    return "\n".join(
        [
            f"### imip-secrets: nothing was exported, {counted(len(problems), 'problem')}",
            "",
            "| Where | What | What to do |",
            "| --- | --- | --- |",
            *(f"| {_cell(each.where)} | {_cell(each.what)} | {_cell(each.remedy)} |" for each in problems),
            "",
        ]
    )


def counted(number: int, noun: str) -> str:
    """Return "1 secret", "2 secrets"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def facts(found: Found | None, now: datetime | None = None) -> str:
    """Return the version and age of what was found, for a line of text; "" when neither is known."""
    if found is None:
        return ""
    age = _age(found, now or datetime.now(timezone.utc))
    version = f"version {tame(found.version, 40)}" if found.version else ""
    return ", ".join(filter(None, (version, f"{age} old" if age else "")))


def span(seconds: float) -> str:
    """Return a time span in the one unit that tells most: "3 days"."""
    for size, noun in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= size:
            return counted(int(seconds // size), noun)
    return counted(max(0, int(seconds)), "second")


def _row(variable: Variable, is_bare: bool, now: datetime) -> str:  # noqa: FBT001 - called in one place
    found = variable.found
    secret = variable.target.path + (f" # {variable.key}" if variable.key is not None else "")
    cells = (
        variable.name,
        SCHEMES[variable.line.reference.scheme].title,
        secret,
        found.version if found else "",
        _age(found, now) if found else "",
        ", ".join(_notes(variable, is_bare=is_bare)),
    )
    return f"| {' | '.join(map(_cell, cells))} |"


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


def _cell(text: str) -> str:
    """Return foreign text as it is to be read in a table: nothing in it is Markdown or HTML."""
    return "".join(char if char.isalnum() or char in _PLAIN else f"&#{ord(char)};" for char in flatten(text))
