"""The reusable workflow asks the action for what the action knows, and the pages call it as it can be called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from imip_secrets import settings
from imip_secrets.sync import pacing
from imip_secrets.sync.base import READ_POINTS, WRITE_POINTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sync.md").read_text(encoding="utf-8")
USED_AS = "org/imip-secrets-action/.github/workflows/sync-secrets.yml@v1"
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github/workflows/sync-secrets.yml").read_text(encoding="utf-8"))
CALL = WORKFLOW[True]["workflow_call"]  # YAML 1.1 takes the word "on" for a truth
(STEP,) = (step for step in WORKFLOW["jobs"]["sync"]["steps"] if "uses" in step)
CALLERS = [
    (document, job)
    for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for document in [yaml.safe_load(text)]
    for job in document.get("jobs", {}).values()
    if job.get("uses") == USED_AS
]


def test_the_step_gives_the_action_inputs_that_it_has_and_every_one_of_the_sync() -> None:
    given = set(STEP["with"])
    assert given <= set(settings.BY_NAME)
    assert {item.name for item in settings.INPUTS if item.group == "Sync"} <= given


def test_every_input_and_secret_of_the_workflow_is_used_and_no_other() -> None:
    text = str(WORKFLOW["jobs"])
    assert set(re.findall(r"inputs\.([a-z-]+)", text)) == set(CALL["inputs"])
    assert set(re.findall(r"secrets\.([a-z-]+)", text)) == set(CALL["secrets"])


def test_what_the_workflow_leaves_open_is_what_the_action_leaves_open() -> None:
    for name, text in STEP["with"].items():
        found = re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", text)
        if not found:
            continue
        default = CALL["inputs"][found[1]].get("default", "")
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        # A sync takes longer than an export, and remembers what it wrote unless it is told not to.
        if name not in {"timeout-seconds", "sync-manifest-secret"}:
            assert shown == settings.BY_NAME[name].default, name


def test_the_page_calls_it() -> None:
    assert len(CALLERS) >= 2


@pytest.mark.parametrize(("document", "job"), CALLERS)
def test_a_call_gives_what_the_workflow_takes(document: dict[str, Any], job: dict[str, Any]) -> None:
    assert set(job["with"]) <= set(CALL["inputs"])
    assert set(job["secrets"]) <= set(CALL["secrets"])
    assert {name for name, item in CALL["inputs"].items() if item.get("required")} <= set(job["with"])
    # GitHub starts no job whose permissions go beyond those of its caller.
    assert WORKFLOW["jobs"]["sync"]["permissions"].items() <= job["permissions"].items()
    assert set(re.findall(r"needs\.sync\.outputs\.(\w+)", str(document))) <= set(CALL["outputs"])


def test_the_table_of_repositories_an_hour_is_that_of_the_pace() -> None:
    table = re.search(r"\| nothing changed \|.*?\n\n", PAGE, re.DOTALL)
    assert table
    points_an_hour = pacing.LIMITS.points * 3600 / pacing.LIMITS.window
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table[0].strip().splitlines()]
    for what, *told in rows:
        secrets = int(what.partition(" ")[0]) if what[0].isdigit() else 0
        # A listing for each, and where something is written the key and the writes.
        reads = 2 if secrets else 1
        by_points = points_an_hour / (reads * READ_POINTS + secrets * WRITE_POINTS)
        expected = [int(min(by_points, hourly / (reads + secrets))) for hourly in (5000, 12_500, 15_000)]
        assert [int(number.replace(",", "")) for number in told] == expected
