"""The grammar of ``sync-to``: one target per line.

::

    repo:org/app                               the Actions secrets of a repository
    repo:org/app?app=actions,dependabot        also codespaces, agents
    env:org/app/production                     an environment
    org:my-org?visibility=selected&repos=app,api
    repos:my-org?topic=imip&exclude=*-archive  every repository that matches

Every target takes ``only=`` (names of variables, with stars) and ``rename=``
(``OLD:NEW``). Blank lines and comments are those of ``secrets``; the values of
options are percent-decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from imip_secrets.errors import Problem
from imip_secrets.foreign import tame
from imip_secrets.lines import EscapeError, unescape, written
from imip_secrets.sync.base import App, Kind, Scope, Visibility

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from imip_secrets.sync.base import RepositoryFacts

DEFAULT_LIMIT = 100
"""How many repositories a ``repos:`` may match, where it does not say ``max=``."""
MAX_LIMIT = 100_000

_SHOWN = 120
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", re.ASCII)
_REPO = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", re.ASCII)
_GLOB = re.compile(r"[A-Za-z0-9._*?-]+", re.ASCII)
_SECRET = re.compile(r"(?!GITHUB_)[A-Z_][A-Z0-9_]*", re.ASCII | re.IGNORECASE)
_MATCH = "repos"
_WORDS = (*(kind.value for kind in Kind), _MATCH)
_EXAMPLES: Mapping[str, str] = {
    "repo": "repo:my-org/app",
    "env": "env:my-org/app/production",
    "org": "org:my-org?visibility=selected&repos=app,api",
    _MATCH: "repos:my-org?topic=deploy&exclude=*-archive",
}
_EVERYWHERE = frozenset({"only", "rename"})
_OPTIONS: Mapping[str, frozenset[str]] = {
    "repo": _EVERYWHERE | {"app"},
    "env": _EVERYWHERE,
    "org": _EVERYWHERE | {"app", "visibility", "repos"},
    _MATCH: _EVERYWHERE | {"app", "name", "topic", "property", "exclude", "archived", "forks", "public", "max"},
}
_PARTS: Mapping[str, int] = {"repo": 2, "env": 3, "org": 1, _MATCH: 1}
_FLAGS = frozenset({"archived", "forks", "public"})


@dataclass(frozen=True, slots=True)
class Match:
    """Which repositories of an owner are meant: those that fulfil all of it.

    Args:
        names: Patterns, one of which the name fits; empty for every name.
        topics: Topics, all of which it has.
        properties: Custom properties, each with a value that it has.
        exclude: Patterns, none of which the name fits.
        archived: Whether archived repositories count. They can be read only, so they then fail one by one.
        forks: Whether forks count.
        public: Whether public repositories count.
        limit: How many there may be.

    """

    names: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    exclude: tuple[str, ...] = ()
    archived: bool = False
    forks: bool = False
    public: bool = False
    limit: int = DEFAULT_LIMIT

    def left_out(self, facts: RepositoryFacts) -> str | None:
        """Say why a repository does not count though it is asked for by name, topic and property, or None."""
        reasons = (
            ("archived", facts.archived and not self.archived),
            ("a fork", facts.fork and not self.forks),
            ("public", facts.visibility == "public" and not self.public),
        )
        return ", ".join(reason for reason, holds in reasons if holds) or None

    def fits(self, facts: RepositoryFacts) -> bool:
        """Tell whether a repository is asked for by name, topic and property."""
        name = facts.name.lower()
        properties = {key.lower(): {value.lower() for value in values} for key, values in facts.properties.items()}
        return (
            (not self.names or _fits(name, self.names))
            and not _fits(name, self.exclude)
            and facts.topics.issuperset(self.topics)
            and all(value.lower() in properties.get(key.lower(), ()) for key, value in self.properties)
        )


@dataclass(frozen=True, slots=True)
class Destination:
    """One line of ``sync-to``.

    Args:
        number: Counted from 1, comments included.
        text: The target as it is written, for people.
        kind: What it is; of a match, repositories.
        owner: The organisation or user.
        repo: The repository, or "".
        environment: The environment, or "".
        apps: Whose secrets, at least one.
        match: Which repositories, or None for what is written by hand.
        visibility: Who is to see an organisation's secrets, or None to leave that as it is.
        repos: The repositories that are to see them, or None to leave that as it is.
        only: Patterns for the names of variables, one of which fits; empty for all.
        renames: The names of secrets by the names of variables, all in capitals.

    """

    number: int
    text: str
    kind: Kind
    owner: str
    repo: str = ""
    environment: str = ""
    apps: tuple[App, ...] = (App.ACTIONS,)
    match: Match | None = None
    visibility: Visibility | None = None
    repos: tuple[str, ...] | None = None
    only: tuple[str, ...] = ()
    renames: tuple[tuple[str, str], ...] = ()

    @property
    def where(self) -> str:
        """The place that a problem with this line is at."""
        return f"sync-to line {self.number}, {tame(self.text, _SHOWN)}"

    def scopes(self, repo: str = "") -> Iterator[Scope]:
        """Give the scopes: of a match, those of one repository that it found."""
        for app in self.apps:
            yield Scope(self.kind, self.owner, repo or self.repo, self.environment, app)

    def secret(self, variable: str) -> str | None:
        """Return the name in capitals that a variable has here, or None when it is not for here."""
        name = variable.upper()
        if self.only and not _fits(name, self.only):
            return None
        return dict(self.renames).get(name, name)


class _Mistake(Exception):  # noqa: N818 - it never leaves this module: it becomes a Problem with the line's number
    """What is wrong with a line, and what would be right."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__()
        self.what = what
        self.remedy = remedy


def parse(text: str) -> tuple[list[Destination], list[Problem]]:
    """Read every line; return what is right and a problem for each line that is not. Nothing is looked up."""
    read = [_read(number, line) for number, line in written(text)]
    destinations = [each for each in read if isinstance(each, Destination)]
    problems = [each for each in read if isinstance(each, Problem)]
    if not read:
        what = "it names no target"
        problems.append(Problem(what, "input sync-to", f"Write one target per line, such as {_EXAMPLES['repo']}."))
    return destinations, problems


def not_on_enterprise_server(destinations: Iterable[Destination]) -> Iterator[Problem]:
    """Find what a GitHub Enterprise Server does not have."""
    for each in destinations:
        for app in each.apps:
            if app in {App.CODESPACES, App.AGENTS}:
                yield Problem(
                    f"a GitHub Enterprise Server has no {app.value} secrets",
                    each.where,
                    f"Take {app.value} out of app=; it has actions and dependabot.",
                )


def name_fault(name: str) -> tuple[str, str] | None:
    """Say why a name cannot be that of a secret in GitHub and what to do, or None."""
    if _SECRET.fullmatch(name):
        return None
    shown = tame(name, 80)
    if name.upper().startswith("GITHUB_"):
        return f"GitHub takes no secret named {shown}: GITHUB_ is its own", f"Add rename={shown}:MY_{shown}."
    return (
        f"{shown!r} is no name for a secret: letters, digits and _ only, no digit first",
        "Write another NAME before the reference.",
    )


def _read(number: int, line: str) -> Destination | Problem:
    try:
        return _destination(number, line)
    except _Mistake as mistake:
        return Problem(mistake.what, f"sync-to line {number}, {tame(line, _SHOWN)}", mistake.remedy)


def _destination(number: int, line: str) -> Destination:
    """Read one line that is not empty."""
    word, colon, rest = line.partition(":")
    if not colon or word not in _WORDS:
        raise _unknown_kind(line)
    path, _, written_options = rest.partition("?")
    options = _options(word, written_options)
    parts = _path(word, path)
    kind = Kind.REPOSITORY if word == _MATCH else Kind(word)
    repos = _list(options["repos"]) if "repos" in options else None
    return Destination(
        number,
        line,
        kind,
        parts[0],
        parts[1] if word in {"repo", "env"} else "",
        parts[2] if word == "env" else "",
        _apps(options),
        _match(options) if word == _MATCH else None,
        _visibility(options, repos),
        repos,
        tuple(pattern.upper() for pattern in _patterns("only", options)),
        tuple(_renames(options)),
    )


def _unknown_kind(line: str) -> _Mistake:
    """Say that a line begins with no kind of target, and guess which is meant."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    word, colon, _ = line.partition(":")
    near = difflib.get_close_matches(word.lower(), _WORDS, n=1, cutoff=0.5) if colon else []
    example = _EXAMPLES[near[0] if near else "repo"]
    bare = line.removeprefix("https://").removeprefix("github.com/").partition("?")[0].split("/")
    if not near and len(bare) == _PARTS["repo"] and _OWNER.fullmatch(bare[0]) and _REPO.fullmatch(bare[1]):
        example = f"repo:{'/'.join(bare)}"
    return _Mistake(
        what=f"it begins with none of {', '.join(f'{each}:' for each in _WORDS)}", remedy=f"Write it like {example}."
    )


def _path(word: str, path: str) -> list[str]:
    """Cut the path into owner, repository and environment; the rest is all the environment's."""
    wanted = _PARTS[word]
    parts = path.strip().split("/", wanted - 1)
    example = f"Write it like {_EXAMPLES[word]}."
    if len(parts) != wanted or not all(parts):
        form = "/".join(("OWNER", "REPOSITORY", "ENVIRONMENT")[:wanted])
        raise _Mistake(what=f"{tame(path, 80)!r} is not {form}", remedy=example)
    if not _OWNER.fullmatch(parts[0]):
        raise _Mistake(what=f"{tame(parts[0], 80)!r} is no name of an organisation or user", remedy=example)
    if word in {"repo", "env"} and not _REPO.fullmatch(parts[1]):
        raise _Mistake(what=f"{tame(parts[1], 80)!r} is no name of a repository", remedy=example)
    if word == "env":
        parts[2] = _decode(parts[2], "the environment")
        if not parts[2].isprintable() or not parts[2].strip():
            raise _Mistake(what="there is a control character in the environment", remedy="Take it out.")
    return parts


def _options(word: str, text: str) -> dict[str, str]:
    """Read the options: each once, known for the kind of target, with a value."""
    options: dict[str, str] = {}
    for each in filter(None, text.split("&")):
        name, equals, raw = each.partition("=")
        if name not in _OPTIONS[word]:
            raise _Mistake(what=f"{tame(name, 40)!r} is no option of {word}:", remedy=_nearest(name, word))
        if name in options:
            raise _Mistake(
                what=f"the option {name} is given twice", remedy="Leave one of them out, or join them with a comma."
            )
        options[name] = _decode(raw, f"the option {name}").strip()
        if name in _FLAGS:
            if equals and options[name] != "true":
                raise _Mistake(
                    what=f"{tame(each, 40)!r} is no value of the option {name}",
                    remedy=f"Write {name}, or leave it out.",
                )
        elif not options[name].strip(", "):
            raise _Mistake(what=f"the option {name} has no value", remedy=f"Write {name}=..., or leave it out.")
    return options


def _nearest(name: str, word: str) -> str:
    """Name the option that was probably meant, or whose it is, else all."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    near = difflib.get_close_matches(name, _OPTIONS[word], n=1)
    if near:
        return f"Did you mean {near[0]}?"
    others = [f"{other}:" for other, options in _OPTIONS.items() if name in options]
    if others:
        return f"It is one of {' and '.join(others)} alone."
    return f"The options are {', '.join(sorted(_OPTIONS[word]))}."


def _apps(options: Mapping[str, str]) -> tuple[App, ...]:
    """Read ``app=``."""
    known = {app.value: app for app in App}
    apps = _list(options.get("app", App.ACTIONS.value).lower())
    unknown = next((word for word in apps if word not in known), None)
    if unknown is not None:
        import difflib  # noqa: PLC0415 - only a mistake needs it

        near = difflib.get_close_matches(unknown, known, n=1)
        remedy = f"Write app={near[0]}." if near else f"Write one or more of {', '.join(known)}."
        raise _Mistake(what=f"{tame(unknown, 40)!r} is no app that has secrets", remedy=remedy)
    return tuple(dict.fromkeys(known[word] for word in apps))


def _visibility(options: Mapping[str, str], repos: tuple[str, ...] | None) -> Visibility | None:
    """Read ``visibility=``, which ``repos=`` implies."""
    for repo in repos or ():
        if not _REPO.fullmatch(repo):
            raise _Mistake(
                what=f"{tame(repo, 80)!r} is no name of a repository",
                remedy="Write names without the organisation: repos=app,api.",
            )
    word = options.get("visibility")
    if word is None:
        return Visibility.SELECTED if repos is not None else None
    if word not in [each.value for each in Visibility]:
        known = ", ".join(each.value for each in Visibility)
        raise _Mistake(what=f"{tame(word, 40)!r} is no visibility", remedy=f"Write visibility= with one of {known}.")
    visibility = Visibility(word)
    if repos is not None and visibility is not Visibility.SELECTED:
        raise _Mistake(what=f"repos= is for visibility=selected, not {word}", remedy="Leave one of them out.")
    return visibility


def _match(options: Mapping[str, str]) -> Match:
    """Read what says which repositories are meant."""
    return Match(
        tuple(pattern.lower() for pattern in _patterns("name", options)),
        tuple(topic.lower() for topic in _list(options.get("topic", ""))),
        tuple(_pairs("property", options, "property=team:payments")),
        tuple(pattern.lower() for pattern in _patterns("exclude", options)),
        "archived" in options,
        "forks" in options,
        "public" in options,
        _limit(options),
    )


def _limit(options: Mapping[str, str]) -> int:
    """Read ``max=``."""
    text = options.get("max", str(DEFAULT_LIMIT))
    if not (len(text) <= len(str(MAX_LIMIT)) and text.isascii() and text.isdigit() and 0 < int(text) <= MAX_LIMIT):
        raise _Mistake(
            what=f"{tame(text, 40)!r} is no whole number from 1 to {MAX_LIMIT}", remedy=f"Write max={DEFAULT_LIMIT}."
        )
    return int(text)


def _patterns(name: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """Read a list of names with stars."""
    patterns = _list(options.get(name, ""))
    for pattern in patterns:
        if not _GLOB.fullmatch(pattern):
            raise _Mistake(
                what=f"{tame(pattern, 80)!r} is no pattern for names",
                remedy=f"Write names with * and ?, such as {name}=APP_*,DB.",
            )
    return patterns


def _renames(options: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Read ``rename=OLD:NEW``, all in capitals."""
    seen: set[str] = set()
    for old, new in _pairs("rename", options, "rename=DATABASE_URL:DB_URL"):
        fault = name_fault(new)
        if fault:
            raise _Mistake(what=fault[0], remedy="Write rename=DATABASE_URL:DB_URL.")
        if old.upper() in seen:
            raise _Mistake(what=f"{tame(old, 80)} is renamed twice", remedy="Leave one of them out.")
        seen.add(old.upper())
        yield old.upper(), new.upper()


def _pairs(name: str, options: Mapping[str, str], example: str) -> Iterator[tuple[str, str]]:
    """Read a list of ``KEY:VALUE``."""
    for each in _list(options.get(name, "")):
        key, colon, value = (part.strip() for part in each.partition(":"))
        if not (key and colon and value):
            raise _Mistake(what=f"{tame(each, 80)!r} has not the form of {name}=", remedy=f"Write it like {example}.")
        yield key, value


def _list(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (word.strip() for word in text.split(","))))


def _decode(text: str, part: str) -> str:
    try:
        return unescape(text)
    except EscapeError as error:
        raise _Mistake(what=error.what.format(part), remedy=error.remedy) from None


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
