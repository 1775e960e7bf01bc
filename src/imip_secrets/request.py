"""What a run is asked to do: checked as a whole before anything is contacted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imip_secrets import names, references, variables
from imip_secrets.errors import Problem, UsageError
from imip_secrets.settings import Settings
from imip_secrets.stores import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from imip_secrets.references import Line
    from imip_secrets.stores.base import Target


SYNC = "sync"
"""The mode whose secrets become secrets of GitHub."""


class Request(NamedTuple):
    """A request that is free of every mistake that can be known beforehand.

    Args:
        lines: The references.
        settings: All other inputs.
        allowed: The names of ``allow-names``, in upper case.

    """

    lines: tuple[Line, ...]
    settings: Settings
    allowed: frozenset[str]

    @property
    def transform(self) -> str:
        """How names are made from keys."""
        return self.settings["name-transform"]


def libraries_of(text: str) -> set[str]:
    """Return the library sets of the stores that the right references name; wrong ones end the run without any."""
    return {SCHEMES[line.reference.scheme].libraries for line in references.parse(text)[0]} - {""}


def read(values: Mapping[str, str], *, local: bool = True) -> Request:
    """Read the inputs.

    Args:
        values: The inputs by name; what is absent or empty has its default.
        local: Whether files of this machine may be read as stores. Never inside the action.

    Raises:
        UsageError: with every mistake there is, in all inputs and lines.

    """
    settings = Settings(values)
    problems = list(settings.problems())
    # The rest is checked all the same, as if what is wrong had not been given.
    wrong = {problem.where for problem in problems}
    sound = Settings({name: text for name, text in values.items() if f"input {name}" not in wrong})
    # As it was given: settings are stripped, and lines are counted from the first.
    lines, mistakes = references.parse(values.get("secrets", ""))
    allowed, not_names = names.parse_allowed(sound["allow-names"])
    known, nameless = variables.known_names(lines, sound["name-transform"])
    # A secret of GitHub is no variable: no name of one changes how a program runs.
    syncs, read = sound["mode"] == SYNC, lines
    problems += [*mistakes, *not_names, *nameless, *variables.check_names(known, allowed, refuse=not syncs)]
    if syncs:
        from imip_secrets.sync import inputs  # noqa: PLC0415 - the one mode that has them

        problems += [problem for problem in inputs.problems(sound, lines) if problem.where not in wrong]
        key = inputs.key_line(sound)
        read = [*lines, key] if key else lines
    problems += [problem for problem in _store_problems(read, sound) if problem.where not in wrong]
    problems += [] if local else _local_problems(read)
    if problems:
        raise UsageError(*dict.fromkeys(problems))
    return Request(tuple(lines), settings, allowed)


def _local_problems(lines: Iterable[Line]) -> Iterator[Problem]:
    """Refuse what reads this machine's files, which belong to whatever step wrote them."""
    for line in lines:
        if SCHEMES[line.reference.scheme].local:
            what = f"{line.reference.scheme}:// is for people at their own machine: the action does not read it"
            yield Problem(what, line.where, "Keep the secret in a store, such as aws://, vault:// or azure://.")


def _store_problems(lines: Iterable[Line], settings: Settings) -> Iterator[Problem]:
    """Let each store that is used look at its targets and settings."""
    by_scheme: dict[str, list[Line]] = {}
    for line in lines:
        by_scheme.setdefault(line.reference.scheme, []).append(line)
    for name, its_lines in by_scheme.items():
        at: dict[Target, list[Line]] = {}
        for line in its_lines:
            at.setdefault(line.reference.target, []).append(line)
        for target, problem in SCHEMES[name].load().check(settings, list(at)):
            yield problem if target is None else problem.at(variables.places(at[target], target))
