from __future__ import annotations

import json

from imip_secrets.sync import report
from imip_secrets.sync.base import Kind, Scope, Visibility
from imip_secrets.sync.report import MAX_JSON, MAX_ROWS
from stand_ins.github_memory import GitHubInMemory
from stand_ins.memory import Versioned
from stand_ins.sync_runs import World, secret

A = Scope(Kind.REPOSITORY, "o", "a")
CANARY = "hunter2-canary"


def world() -> World:
    made = World(
        to="repo:o/a\norg:o?repos=a\nrepo:o/gone", remembers=True, lines="memory://imip/one\nmemory://x?optional\n"
    )
    made.store.secrets["imip/one"] = secret(CANARY, "v1")
    return made


def test_the_plan_as_lines() -> None:
    lines = list(report.plan_lines(world().run().plan))
    assert lines == [
        "repo:o/a",
        "  + ONE: create",
        "org:o",
        "  + ONE: create, seen by 1 selected repository",
        "repo:o/gone",
        "  x there is no such repository, or it is hidden. Check it.",
        "  x ONE: forbidden",
        "Note: org:o: ONE is not used where repo:o/a, repo:o/gone has one too.",
        "Plan: 2 to create, 1 forbidden.",
    ]


def test_what_does_not_change_is_told_by_number() -> None:
    made = World(remembers=True)
    made.run()
    made.github.later(60)
    made.github.edit(A, "ONE")
    plan = made.run().plan
    assert list(report.plan_lines(plan)) == [
        "repo:o/a",
        f"  ! ONE: drift (edited in GitHub, {made.github.held(A)['TWO'].updated:%Y-%m-%d} 13:01 UTC)",
        "    1 unchanged",
        "Plan: 1 drifted, 1 unchanged.",
    ]
    assert list(report.plan_lines(made.run().plan)) == ["repo:o/a: 2 unchanged", "Plan: 2 unchanged."]


def test_colours_are_for_terminals() -> None:
    plan = World().run().plan
    assert "\033[32m  + ONE: create\033[0m" in list(report.plan_lines(plan, colours=True))
    assert not any("\033" in line for line in report.plan_lines(plan))


def test_who_will_see_a_secret_is_told() -> None:
    made = World(to="org:o")
    assert "  + ONE: create, seen by private repositories" in list(report.plan_lines(made.run().plan))
    made.github.held(Scope(Kind.ORGANIZATION, "o")).clear()
    made.to = "org:o?repos=a,b"
    assert "  + ONE: create, seen by 2 selected repositories" in list(report.plan_lines(made.run().plan))
    assert made.github.held(Scope(Kind.ORGANIZATION, "o"))["ONE"].visibility is Visibility.SELECTED


def test_the_summary_tells_numbers_failures_and_every_change() -> None:
    text = report.summary(world().run(), lambda text: text)
    assert text.startswith("### imip-secrets: secrets in GitHub\n\n2 created, 1 forbidden\n")
    assert "| repo&#58;o/gone | there is no such repository, or it is hidden | Check it&#46; |" in text
    assert "| repo&#58;o/a | `ONE` | created |  |" in text
    assert "| repo&#58;o/gone | `ONE` | forbidden |  |" in text
    assert "nothing is there, and it is optional" in text
    assert "<details>" not in text
    assert CANARY not in text


def test_a_long_table_is_folded_and_has_an_end() -> None:
    github = GitHubInMemory("o/a", "o/home")
    store = Versioned({f"imip/s{number}": secret(str(number)) for number in range(90)})
    made = World(github=github, store=store, lines="memory://imip/*")
    assert "<details><summary>90 rows</summary>" in report.summary(made.run(), str)
    for number in range(30):
        github.add(f"o/r{number}")
    made.to = "repos:o"
    text = report.summary(made.run(), str)
    assert f"and {31 * 90 + 1 - MAX_ROWS} more rows" in text
    assert len(text.encode()) < 1024 * 1024


def test_the_report_for_programs() -> None:
    made = world()
    told = json.loads(report.as_json(made.run()))
    assert told["schema"] == 1
    assert (told["dry_run"], told["changed"], told["failed"]) == (False, True, True)
    assert told["counts"] == {"create": 2, "forbidden": 1}
    assert told["targets"][0] == {
        "target": "repo:o/a",
        "unchanged": 0,
        "secrets": [{"name": "ONE", "plan": "create", "outcome": "created", "why": ""}],
    }
    assert told["targets"][2]["problem"] == "repo:o/gone: there is no such repository, or it is hidden. Check it."
    assert told["requests"] == len(made.github.calls)
    dry = json.loads(report.as_json(made.run(sync_dry_run="true")))
    assert (dry["dry_run"], dry["changed"]) == (True, False)


def test_a_report_that_is_too_long_tells_numbers_alone() -> None:
    github = GitHubInMemory(*(f"o/repository-{number}" for number in range(70)))
    store = Versioned({f"imip/secret-number-{number}": secret(str(number)) for number in range(90)})
    text = report.as_json(World(github=github, store=store, lines="memory://imip/*", to="repos:o").run())
    assert len(text) < MAX_JSON
    told = json.loads(text)
    assert told["truncated"]
    assert told["counts"] == {"create": 6300}
    assert "secrets" not in told["targets"][0]


def test_no_secret_for_any_target_is_told() -> None:
    made = World(lines="memory://gone?optional")
    assert report.plan_words(made.run().plan) == "no secret for any target"
    assert report.result_words(made.run()) == "no secret for any target"


def test_many_targets_without_a_change_are_one_line() -> None:
    made = World(github=GitHubInMemory("o/home", *(f"o/r{number}" for number in range(30))), to="repos:o?name=r*")
    made.run()
    made.github.later()
    mirrored = made.run()
    assert list(report.plan_lines(mirrored.plan)) == ["30 targets: 60 unchanged", "Plan: 60 unchanged."]
    assert "| 30 targets |  | 60 unchanged |  |" in report.summary(mirrored, str)


def test_what_is_masked_is_hidden_and_the_report_stays_json() -> None:
    text = report.as_json(World().run(), lambda text: text.replace("repo:o/a", "***"))
    assert json.loads(text)["targets"][0]["target"] == "***"
