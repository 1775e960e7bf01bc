"""What came of a scan, in words: file and line, whose value, and never the value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.runner import report
from imip_secrets.scan.sweep import LOOKS_LIKE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imip_secrets.scan.spellings import Sought
    from imip_secrets.scan.sweep import Finding, Report

# Of a table in the job summary; the log has all of them.
ROWS = 200


def found(finding: Finding) -> str:
    """Say where a secret stands."""
    if finding.how == LOOKS_LIKE:
        return f"{finding.where}: looks like a secret ({finding.name})"
    return f"{finding.where}: the value of {finding.name}, {finding.how}"


def unread(result: Report) -> Iterator[str]:
    """Say what could not be searched: each is a finding of its own."""
    for shown, fault in result.unread:
        yield f"{shown}: not searched: {fault}"


def left_out(result: Report) -> Iterator[str]:
    """Say what was not searched by rule or by hand, or not told."""
    for shown, fault in result.skipped:
        yield f"{shown}: {fault}"
    for shown, more in result.more:
        yield f"{shown}: {report.counted(more, 'finding')} more"


def unsearched(what: Sought) -> Iterator[str]:
    """Say which values are not looked for."""
    for name in what.common:
        yield f"The value of {name} is not looked for: it is too short or too common, and would be found everywhere."
    for name in what.anew:
        yield f"The value of {name} is not looked for: each reading makes another, and no variable {name} has one."


def missed(result: Report, allow: str) -> Iterator[str]:
    """Say that not everything could be searched, and what to do about it; nothing if everything was.

    Args:
        result: What came of the scan.
        allow: How one says that something may stay unsearched.

    """
    if result.absent:
        yield f"Not searched, though named: {', '.join(result.absent)}. Name what is there, or leave it out."
    others = len(result.unread) - len(result.absent)
    if others:
        places = report.counted(others, "place")
        yield f"{places} could not be searched, and may hold a secret. Mend it, exclude it, or name it with {allow}."


def outcome(result: Report) -> str:
    """Say it in one sentence."""
    searched = f"{report.counted(result.files, 'file')} searched ({_amount(result.size)})"
    but = f", but {report.counted(len(result.unread), 'place')} not searched" if result.unread else ""
    if not result.findings:
        return f"{'No secret found' if but else 'No secret stands there'}{but}: {searched}."
    places = len({finding.place for finding in result.findings})
    more = sum(more for _, more in result.more)
    found_ = report.counted(len(result.findings) + more, "finding")
    return f"{found_} in {report.counted(places, 'place')}{but.replace(', but', ', and')}: {searched}."


def markdown(result: Report, hide: Callable[[str], str]) -> str:
    """Return the Markdown for the job summary; ``hide`` takes what is masked out of a text."""
    findings = result.findings[:ROWS]
    rest = len(result.findings) - len(findings)
    lines = [f"### imip-secrets scan: {outcome(result)}", ""]
    if findings:
        lines += ["| Where | What | How |", "| --- | --- | --- |"]
        lines += [report.row((each.where, each.name, each.how), hide) for each in findings]
        lines += [f"| {report.counted(rest, 'finding')} more, in the log | | |"] if rest else []
        lines.append("")
    others = [*unread(result), *left_out(result)]
    if others:
        lines += ["| Not searched |", "| --- |", *(report.row((text,), hide) for text in others[:ROWS]), ""]
    return "\n".join(lines)


def _amount(size: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"
