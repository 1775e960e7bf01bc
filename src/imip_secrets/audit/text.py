"""The audit for people and programs: a table, Markdown, JSON. Never a value, a length or a hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imip_secrets.runner.report import inert, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from imip_secrets.audit.findings import Audit, Secret

HEADINGS = ("Secret", "Store", "Age", "Last read", "Rotation", "Last rotation", "Versions", "Readers")
_READERS = 3


def cells(secret: Secret, now: datetime) -> tuple[str, ...]:
    """Return the row of a secret; what is not known is "?"."""
    facts, age = secret.facts, secret.age(now)
    if facts is None:
        return (secret.shown, secret.store, *("?" for _ in HEADINGS[2:]))
    return (
        secret.shown,
        secret.store,
        span(age.total_seconds()) if age is not None else "?",
        _ago(facts.accessed, now),
        {None: "", True: "on", False: "off"}[facts.rotation],
        _ago(facts.rotated, now) if facts.rotation else "",
        str(facts.versions) if facts.versions is not None else "?",
        readers(secret),
    )


def readers(secret: Secret) -> str:
    """Name who read a secret most, and how often."""
    named = [
        f"{each.who} {each.times}x" + (f" ({each.denied} denied)" if each.denied else "")
        for each in secret.readers[:_READERS]
    ]
    more = len(secret.readers) - _READERS
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def table(audit: Audit) -> Iterator[str]:
    """Give the lines for a terminal."""
    rows = [HEADINGS, *(cells(secret, audit.at) for secret in audit.secrets)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield from closing(audit)


def closing(audit: Audit) -> Iterator[str]:
    """Give what is against the rules, what could not be seen, and the cost."""
    yield from (f"FOUND: {breach}" for breach in audit.breaches)
    yield from (f"Not seen: {what}" for what in audit.unseen)
    if audit.cost is not None:
        yield f"AWS Secrets Manager asks for about ${audit.cost:.2f} a month for these."
    yield outcome(audit)


def outcome(audit: Audit) -> str:
    """Say it in one sentence."""
    if audit.breaches:
        return f"{len(audit.breaches)} finding{'s' if len(audit.breaches) > 1 else ''}."
    return "Nothing is against the rules" + (", as far as could be seen." if audit.unseen else ".")


def markdown(audit: Audit, hide: Callable[[str], str]) -> str:
    """Return the Markdown for a job summary; ``hide`` takes out what is masked."""

    def cell(text: str) -> str:
        return inert(hide(text))

    rows = [map(cell, cells(secret, audit.at)) for secret in audit.secrets]
    return "\n".join(
        [
            f"### imip-secrets: audit of {len(audit.secrets)} secret{'' if len(audit.secrets) == 1 else 's'}",
            "",
            f"| {' | '.join(HEADINGS)} |",
            f"| {' | '.join('---' for _ in HEADINGS)} |",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            *(f"- {cell(line)}" for line in closing(audit)),
            "",
        ]
    )


def as_json(audit: Audit) -> dict[str, Any]:
    """Return it as data."""
    return {
        "at": audit.at.isoformat(timespec="seconds"),
        "days": audit.days,
        "secrets": [_data(secret, audit.at) for secret in audit.secrets],
        "findings": list(audit.breaches),
        "unseen": list(audit.unseen),
        "cost_a_month": round(audit.cost, 2) if audit.cost is not None else None,
    }


def _data(secret: Secret, now: datetime) -> dict[str, Any]:
    facts, age = secret.facts, secret.age(now)
    moments = {name: getattr(facts, name, None) for name in ("made", "changed", "accessed", "rotated")}
    return {
        "store": secret.scheme,
        "path": secret.path,
        "age_days": age.days if age is not None else None,
        **{name: moment.isoformat(timespec="seconds") if moment else None for name, moment in moments.items()},
        "rotation": facts.rotation if facts else None,
        "versions": facts.versions if facts else None,
        "readers": [
            {"who": each.who, "times": each.times, "last": each.last.isoformat(), "denied": each.denied}
            for each in secret.readers
        ],
    }


def _ago(moment: datetime | None, now: datetime) -> str:
    return f"{span((now - moment).total_seconds())} ago" if moment else "?"
