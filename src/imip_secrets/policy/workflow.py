"""Finds what a workflow asks for: each step that uses this action, with its inputs and the job it is in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from imip_secrets.errors import Problem, UsageError
from imip_secrets.foreign import tame
from imip_secrets.policy import subject
from imip_secrets.settings import BY_NAME, INPUTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_USES = re.compile(r"(?:[\w.-]+/)?imip-secrets-action(?:/docker)?@\S+|\./(?:docker/?)?", re.ASCII)
_KNOWN = {*BY_NAME, "sync-to"}
_SECRETS = {item.name for item in INPUTS if item.kind == "secret"}
_EXPRESSION = "${{"
_PATTERN = re.compile(r"[*?+!\[\]]")


class Step(NamedTuple):
    """A step that uses the action.

    Args:
        title: Where it stands, for people.
        inputs: What it is given, as text.
        context: What its job's ``sub`` ends in, or "" when the workflow does not tell.

    """

    title: str
    inputs: Mapping[str, str]
    context: str


def read(path: Path) -> list[Step]:
    """Return the steps of a workflow that use this action.

    Raises:
        UsageError: the file is no workflow, or no step of it uses the action.

    """
    import yaml  # noqa: PLC0415 - for workflows alone

    where = tame(path)
    try:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(Problem(f"cannot be read: {error.strerror}", where, "Name a workflow.")) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise UsageError(Problem("is no YAML", where, "Name a workflow of .github/workflows.")) from None
    jobs = _mapping(_mapping(workflow).get("jobs"))
    # In YAML 1.1 the word "on" is true.
    triggers = _mapping(workflow).get("on", _mapping(workflow).get(True))
    steps = [step for name, job in jobs.items() for step in _steps(f"{path.name}, job {name}", _mapping(job), triggers)]
    if not steps:
        what = "no step of it uses imip-secrets-action" if jobs else "it has no jobs"
        raise UsageError(Problem(what, where, "Name the workflow whose secrets are meant, or write the references."))
    return steps


def expressions(step: Step, given: Mapping[str, str]) -> Iterator[Problem]:
    """Find inputs that only a run could tell, and that were not given by hand."""
    for name, text in step.inputs.items():
        if _EXPRESSION in text and not given.get(name) and name not in _SECRETS:
            what = f"the input {name} is an expression, which only a run can tell"
            way = "Write the references" if name == "secrets" else f"Give --{name}"
            yield Problem(what, step.title, f"{way} on the command line.")


def _steps(title: str, job: Mapping[Any, Any], triggers: object) -> Iterator[Step]:
    context = _context(job, triggers)
    steps = job.get("steps")
    for number, raw in enumerate(steps if isinstance(steps, list) else [], start=1):
        step = _mapping(raw)
        if not _USES.fullmatch(str(step.get("uses", ""))):
            continue
        inputs = {str(name): _text(value) for name, value in _mapping(step.get("with")).items() if str(name) in _KNOWN}
        yield Step(f"{tame(title, 80)}, step {number}", inputs, context)


def _context(job: Mapping[Any, Any], triggers: object) -> str:
    """Return what a job's ``sub`` ends in, where there is one answer."""
    environment = job.get("environment")
    name = _mapping(environment).get("name") if isinstance(environment, dict) else environment
    if name is not None:
        return "" if _EXPRESSION in str(name) else subject.environment(str(name))
    found = set(_contexts(triggers))
    return found.pop() if len(found) == 1 else ""


def _contexts(triggers: object) -> Iterator[str]:
    """Give the contexts of a job without an environment; "" for one that the workflow does not tell."""
    events = (
        triggers
        if isinstance(triggers, dict)
        else dict.fromkeys(triggers if isinstance(triggers, list) else [triggers])
    )
    for event, raw in events.items():
        filters = _mapping(raw)
        if event == "pull_request":
            yield subject.PULL_REQUEST
        elif event == "push" and (filters.get("branches") or filters.get("tags")):
            yield from map(_literal, map(subject.branch, map(str, filters.get("branches") or [])))
            yield from map(_literal, map(subject.tag, map(str, filters.get("tags") or [])))
        else:
            yield ""


def _literal(context: str) -> str:
    return "" if _PATTERN.search(context) else context


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
