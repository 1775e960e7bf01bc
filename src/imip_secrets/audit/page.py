"""The audit as one page of HTML that needs nothing else: no script, no font, no picture from anywhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from imip_secrets.audit.text import HEADINGS, cells, closing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from imip_secrets.audit.findings import Audit

_STYLE = """
:root { color-scheme: light dark; --bar: #3b82c4; --old: #c43b3b; --line: #8885; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line) }
td { overflow-wrap: anywhere }
svg { width: 100%; height: auto } text { font: 12px system-ui, sans-serif; fill: currentColor }
.bar { fill: var(--bar) } .old { fill: var(--old) } .limit { stroke: var(--old); stroke-dasharray: 4 3 }
li.found { color: var(--old); font-weight: 600 }
"""
_ROW, _BAR, _LEFT, _WIDTH, _RIGHT = 24, 14, 380, 1000, 90
# The page may be opened from a mail or an artefact: it must load nothing and run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(audit: Audit, max_age: timedelta | None = None) -> str:
    """Return the page.

    Args:
        audit: What was found.
        max_age: Drawn as a line in the chart of ages.

    """
    rows = "\n".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells(secret, audit.at))}</tr>"
        for secret in audit.secrets
    )
    readers = "Readers: not looked for."
    if audit.days:
        readers = f"Readers: of the last {audit.days} days, where a log was to be had."
    points = "\n".join(
        f'<li class="{"found" if line.startswith("FOUND") else "note"}">{escape(line)}</li>' for line in closing(audit)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width">
<title>Audit of secrets</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Audit of {len(audit.secrets)} secrets, {audit.at:%Y-%m-%d %H:%M} UTC</h1>
<ul>
{points}
</ul>
<h2>Age of the current values, in days</h2>
{_chart(audit, max_age)}
<h2>The secrets</h2>
<table>
<thead><tr>{"".join(f"<th>{heading}</th>" for heading in HEADINGS)}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
<p>{readers} A question mark: the store does not tell.</p>
</body>
</html>
"""


def _chart(audit: Audit, max_age: timedelta | None) -> str:
    """Draw a bar for each secret, the oldest first."""
    known = [(secret, age) for secret in audit.secrets if (age := secret.age(audit.at)) is not None]
    known.sort(key=lambda each: (-each[1], each[0].shown))
    limit = max_age.days if max_age else 0
    longest = max([age.days for _, age in known] + [limit, 1])
    height = _ROW * len(known) + _ROW

    def x(days: int) -> float:
        return _LEFT + days / longest * (_WIDTH - _LEFT - _RIGHT)

    def bars() -> Iterator[str]:
        for number, (secret, age) in enumerate(known):
            top = number * _ROW + 4
            kind = "bar old" if limit and age.days >= limit else "bar"
            name = secret.shown if len(secret.shown) < 58 else f"...{secret.shown[-55:]}"  # noqa: PLR2004 - what fits
            yield f'<text x="{_LEFT - 8}" y="{top + _BAR - 2}" text-anchor="end">{escape(name)}</text>'
            yield (
                f'<rect class="{kind}" x="{_LEFT}" y="{top}" width="{max(x(age.days) - _LEFT, 1):.1f}" height="{_BAR}">'
                f"<title>{escape(secret.shown)}: {age.days} days</title></rect>"
            )
            yield f'<text x="{x(age.days) + 6:.1f}" y="{top + _BAR - 2}">{age.days}</text>'
        if limit:
            yield f'<line class="limit" x1="{x(limit):.1f}" x2="{x(limit):.1f}" y1="0" y2="{height}"/>'

    drawn = "\n".join(bars())
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Ages of the secrets">\n{drawn}\n</svg>'
