"""The plan and its results, for the log, the job summary and whoever reads JSON; never a value, a length or a hash."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from imip_secrets.foreign import tame
from imip_secrets.runner.report import counted, inert
from imip_secrets.sync.apply import Outcome
from imip_secrets.sync.plan import WRITES, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imip_secrets.errors import Problem
    from imip_secrets.sync.mirror import Mirrored
    from imip_secrets.sync.plan import Entry, Plan, ScopePlan

FEW = 20
"""So many targets without a change are named; more are told by their number."""
OPEN_ROWS = 30
"""Up to so many rows a table of the summary is shown unfolded."""
MAX_ROWS = 2000
"""So many rows a summary has at most: GitHub takes a mebibyte."""
MAX_JSON = 400_000
"""So many characters ``sync-report`` has at most: GitHub takes a mebibyte of outputs."""
SCHEMA = 1

_WRITTEN = frozenset({Outcome.CREATED, Outcome.UPDATED, Outcome.REPAIRED, Outcome.DELETED})
_FUTURE: Mapping[State, str] = {
    State.CREATE: "to create",
    State.UPDATE: "to update",
    State.DRIFT: "drifted",
    State.DELETE: "to delete",
    State.FORBIDDEN: "forbidden",
    State.UNCHANGED: "unchanged",
}
_SIGNS: Mapping[State, str] = {
    State.CREATE: "+",
    State.UPDATE: "~",
    State.DRIFT: "!",
    State.DELETE: "-",
    State.FORBIDDEN: "x",
    State.UNCHANGED: " ",
}
_COLOURS: Mapping[State, str] = {
    State.CREATE: "32",
    State.UPDATE: "33",
    State.DRIFT: "35",
    State.DELETE: "31",
    State.FORBIDDEN: "31",
    State.UNCHANGED: "2",
}


def plan_lines(plan: Plan, *, colours: bool = False) -> Iterator[str]:
    """Give the plan as lines for a terminal or a log: what changes by name, what does not by number."""
    quiet, busy = _sorted_out(plan)
    if len(quiet) <= FEW:
        yield from (f"{scope.scope.title}: {_unchanged(len(scope.entries))}" for scope in quiet)
    else:
        yield f"{len(quiet)} targets: {_unchanged(sum(len(scope.entries) for scope in quiet))}"
    for scope in busy:
        unchanged = sum(not _is_told(entry) for entry in scope.entries)
        yield scope.scope.title
        if scope.problem:
            yield _painted(f"  x {tame(scope.problem.what)}. {tame(scope.problem.remedy)}".rstrip(), "31", on=colours)
        for entry in scope.entries:
            if _is_told(entry):
                why = f" ({tame(entry.why)})" if entry.why else ""
                line = f"  {_SIGNS[entry.state]} {entry.name}: {entry.state.value}{why}{_seen_by(entry)}"
                yield _painted(line, _COLOURS[entry.state], on=colours)
        if unchanged:
            yield f"    {_unchanged(unchanged)}"
    yield from (f"Note: {tame(warning, 1000)}" for warning in plan.warnings)
    yield f"Plan: {plan_words(plan)}."


def _sorted_out(plan: Plan) -> tuple[list[ScopePlan], list[ScopePlan]]:
    """Return the targets where nothing happens, and the others."""
    quiet: list[ScopePlan] = []
    busy: list[ScopePlan] = []
    for scope in plan.scopes:
        still = scope.problem is None and not any(map(_is_told, scope.entries))
        (quiet if still else busy).append(scope)
    return quiet, busy


def _is_told(entry: Entry) -> bool:
    """Tell whether a secret is told by name: something becomes of it, or there is a reason to tell."""
    return entry.state is not State.UNCHANGED or bool(entry.why)


def plan_words(plan: Plan) -> str:
    """Return the numbers of a plan: "2 to create, 40 unchanged"."""
    counts = plan.counts()
    words = [f"{counts[state]} {word}" for state, word in _FUTURE.items() if counts[state]]
    return ", ".join(words) or "no secret for any target"


def result_words(mirrored: Mirrored) -> str:
    """Return the numbers of what was done, or of the plan where nothing was to be done."""
    if mirrored.results is None:
        return plan_words(mirrored.plan)
    counts = Counter(result.outcome for result in mirrored.results.by_secret.values())
    words = [f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome]]
    return ", ".join(words) or "no secret for any target"


def changed(mirrored: Mirrored) -> bool:
    """Tell whether anything in GitHub is another now."""
    results = mirrored.results
    return results is not None and any(result.outcome in _WRITTEN for result in results.by_secret.values())


def problems(mirrored: Mirrored) -> list[Problem]:
    """Give everything that failed, each once."""
    found = [*mirrored.plan.problems, *(scope.problem for scope in mirrored.plan.scopes if scope.problem)]
    if mirrored.results is not None:
        found += mirrored.results.problems
        found += [result.problem for result in mirrored.results.by_secret.values() if result.problem]
    return list(dict.fromkeys(found))


def summary(mirrored: Mirrored, hide: Callable[[str], str]) -> str:
    """Return the Markdown of a run: its numbers, its failures, and a table for each target.

    Args:
        mirrored: What came of it.
        hide: Takes what is masked out of a text: the runner cannot, once signs are written as HTML entities.

    """

    def cell(text: str) -> str:
        return inert(hide(text))

    what = "the plan, nothing was written" if mirrored.results is None else "secrets in GitHub"
    parts = [f"### imip-secrets: {what}", "", f"{cell(result_words(mirrored))}", ""]
    failed = problems(mirrored)
    if failed:
        parts += ["| Where | What | What to do |", "| --- | --- | --- |"]
        parts += [f"| {' | '.join(map(cell, (each.where, each.what, each.remedy)))} |" for each in failed[:MAX_ROWS]]
        parts += [""]
    rows = _rows(mirrored)
    table = ["| Target | Secret | | Why |", "| --- | --- | --- | --- |"]
    for target, name, word, why in rows:
        shown = f"`{name}`" if name else ""
        table.append(f"| {cell(target)} | {shown} | {cell(word)} | {cell(why)} |")
    folded = len(rows) > OPEN_ROWS
    parts += [f"<details><summary>{counted(len(rows), 'row')}</summary>", ""] if folded else []
    parts += table
    parts += ["", "</details>"] if folded else []
    parts += ["", *(f"- {cell(warning)}" for warning in mirrored.plan.warnings)]
    parts += [f"- {cell(line.where)}: nothing is there, and it is optional" for line in mirrored.absent]
    parts += [f"- {cell(title)}: {cell(who)}" for title, who in mirrored.logins.items()]
    usage = mirrored.usage
    parts += [f"- GitHub was asked {counted(usage.requests, 'request')}, {counted(usage.points, 'point')}", ""]
    return "\n".join(parts)


def as_json(mirrored: Mirrored, hide: Callable[[str], str] = str) -> str:
    """Return the whole for programs; where it is too long, without the single secrets, and it says so.

    Args:
        mirrored: What came of the run.
        hide: Takes what is masked out of a text: GitHub drops a job's output that holds a masked one.

    """
    report = _hidden(_report(mirrored), hide)
    text = json.dumps(report, separators=(",", ":"))
    if len(text) > MAX_JSON:
        for target in report["targets"]:
            del target["secrets"]
        text = json.dumps({**report, "truncated": True}, separators=(",", ":"))
    return text


def _hidden(content: Any, hide: Callable[[str], str]) -> Any:  # noqa: ANN401 - JSON
    """Return JSON whose texts are hidden one by one, so that it stays JSON."""
    if isinstance(content, str):
        return hide(content)
    if isinstance(content, list):
        return [_hidden(each, hide) for each in content]
    return {name: _hidden(each, hide) for name, each in content.items()} if isinstance(content, dict) else content


def _report(mirrored: Mirrored) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "dry_run": mirrored.results is None,
        "changed": changed(mirrored),
        "failed": mirrored.failed(),
        "counts": {state.value: count for state, count in sorted(mirrored.plan.counts().items(), key=str)},
        "targets": [_target(scope, mirrored) for scope in mirrored.plan.scopes],
        "problems": [str(problem) for problem in problems(mirrored)],
        "warnings": list(mirrored.plan.warnings),
        "requests": mirrored.usage.requests,
        "points": mirrored.usage.points,
    }


def _target(scope: ScopePlan, mirrored: Mirrored) -> dict[str, Any]:
    """Return one target: what is unchanged by number; by name what there is anything to tell of."""
    secrets = [
        {"name": entry.name, "plan": entry.state.value, "outcome": _word(scope, entry, mirrored), "why": entry.why}
        for entry in scope.entries
        if _is_told(entry)
    ]
    target: dict[str, Any] = {
        "target": scope.scope.title,
        "unchanged": sum(entry.state is State.UNCHANGED for entry in scope.entries),
        "secrets": secrets,
    }
    if scope.problem:
        target["problem"] = str(scope.problem)
    return target


def _rows(mirrored: Mirrored) -> list[tuple[str, str, str, str]]:
    """Return the rows of the table: target, secret, what became of it, why."""
    quiet, busy = _sorted_out(mirrored.plan)
    rows = [row for scope in busy for row in _rows_of(scope, mirrored)]
    if len(quiet) <= FEW:
        rows += [row for scope in quiet for row in _rows_of(scope, mirrored)]
    else:
        rows.append((f"{len(quiet)} targets", "", _unchanged(sum(len(scope.entries) for scope in quiet)), ""))
    if len(rows) > MAX_ROWS:
        rows = [*rows[:MAX_ROWS], ("", "", f"and {len(rows) - MAX_ROWS} more rows", "")]
    return rows


def _rows_of(scope: ScopePlan, mirrored: Mirrored) -> Iterator[tuple[str, str, str, str]]:
    title = scope.scope.title
    for entry in scope.entries:
        if _is_told(entry):
            yield title, entry.name, _word(scope, entry, mirrored), f"{entry.why}{_seen_by(entry)}"
    unchanged = sum(not _is_told(entry) for entry in scope.entries)
    if unchanged:
        yield title, "", _unchanged(unchanged), ""


def _word(scope: ScopePlan, entry: Entry, mirrored: Mirrored) -> str:
    if mirrored.results is None:
        return entry.state.value
    result = mirrored.results.by_secret.get((scope.scope, entry.name))
    return result.outcome.value if result else Outcome.FAILED.value


def _seen_by(entry: Entry) -> str:
    """Say who sees an organisation's secret that is written."""
    if entry.visibility is None or entry.state not in WRITES:
        return ""
    if entry.selected is None:
        return f", seen by {entry.visibility.value} repositories"
    return f", seen by {counted(len(entry.selected), 'selected repository').replace('repositorys', 'repositories')}"


def _unchanged(number: int) -> str:
    return f"{number} unchanged"


def _painted(text: str, colour: str, *, on: bool) -> str:
    return f"\033[{colour}m{text}\033[0m" if on else text
