"""Where ``.env`` files are, in the tree and in git's history, and what is in them: keys, never values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.errors import ImipError
from imip_secrets.foreign import tame
from imip_secrets.migrate import envfile
from imip_secrets.migrate.git import Git
from imip_secrets.migrate.judge import looks_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from imip_secrets.errors import Problem
    from imip_secrets.migrate.envfile import EnvFile
    from imip_secrets.migrate.git import Blob

# What is made anew by tools, or is no part of the project.
_SKIPPED = frozenset({".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".mypy_cache", ".direnv"})
_TEMPLATES = (".example", ".sample", ".template", ".dist")
_SHORT = 10


class Found(NamedTuple):
    """A file in the tree.

    Args:
        path: Relative to the folder that was searched.
        file: What it says, or None where it cannot be read.
        tracked: Whether it is in the next commit.
        ignored: Whether git ignores it.
        problems: Why it cannot be read.

    """

    path: str
    file: EnvFile | None
    tracked: bool
    ignored: bool
    problems: tuple[Problem, ...] = ()

    @property
    def is_template(self) -> bool:
        """Whether it is an example that belongs into the repository."""
        return self.path.lower().endswith(_TEMPLATES)


class Past(NamedTuple):
    """A file in git's history.

    Args:
        path: The file.
        commits: The commits that changed it, each with its date, the oldest first.
        keys: Every key that it ever had and that looks secret.

    """

    path: str
    commits: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]


class Audit(NamedTuple):
    """All of it.

    Args:
        files: In the tree.
        past: In history; empty also where there is no git.
        has_git: Whether git was asked.
        shallow: Whether a part of history was not here to be searched.

    """

    files: tuple[Found, ...]
    past: tuple[Past, ...]
    has_git: bool
    shallow: bool = False


def audit(folder: Path, *, history: bool = True) -> Audit:
    """Look for ``.env`` files.

    Args:
        folder: Where to look, at any depth.
        history: Whether to look through git's history as well.

    Raises:
        ImipError: git fails.

    """
    git = Git(folder)
    has_git = git.is_there()
    names = sorted(_names(folder))
    tracked = git.tracked() if has_git else set()
    ignored = git.ignored(names) if has_git and names else set()
    files = tuple(_look(folder, name, name in tracked, name in ignored) for name in names)
    if not has_git or not history:
        return Audit(files, (), has_git)
    return Audit(files, tuple(_past(git)), has_git, git.is_shallow())


def report(found: Audit) -> Iterator[str]:
    """Say it for people, line by line."""
    if not found.files:
        yield "No .env file in the tree."
    for file in found.files:
        yield f"{tame(file.path)}: {', '.join(_states(file, has_git=found.has_git))}"
        yield from (f"  {problem}" for problem in file.problems)
        if file.file:
            yield from _keys(file.file)
    yield from _differences({tame(each.path): each.file for each in found.files if each.file and not each.is_template})
    for past in found.past:
        first, last = past.commits[0], past.commits[-1]
        span = f"{first[0][:_SHORT]} ({first[1]})"
        if len(past.commits) > 1:
            span += f" to {last[0][:_SHORT]} ({last[1]}), {len(past.commits)} commits"
        yield f"In git's history: {tame(past.path)}, {span}"
        if past.keys:
            yield f"  rotate first, since whoever has a clone has them: {', '.join(past.keys)}"
    if found.shallow:
        yield (
            "Only the last commits are in this clone, so the others were not searched: run git fetch --unshallow, "
            "and this again."
        )


def _names(folder: Path) -> Iterator[str]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - _SKIPPED)
        for name in files:
            if _is_env(name) and Path(root, name).is_file():
                yield Path(root, name).relative_to(folder).as_posix()


def _is_env(name: str) -> bool:
    low = name.lower()
    return low == ".env" or low.startswith(".env.") or (low.endswith(".env") and low != ".env")


def _look(folder: Path, name: str, tracked: bool, ignored: bool) -> Found:  # noqa: FBT001 - two facts of git
    try:
        return Found(name, envfile.read(folder / name), tracked, ignored)
    except ImipError as error:
        return Found(name, None, tracked, ignored, error.problems)


def _past(git: Git) -> Iterator[Past]:
    blobs = [blob for blob in git.history() if not blob.path.lower().endswith(_TEMPLATES)]
    ids = list(dict.fromkeys(blob.id for blob in blobs))
    found = {name: _secret_keys(content) for name, content in git.contents(ids, envfile.LIMIT)}
    by_path: dict[str, list[Blob]] = {}
    for blob in blobs:
        by_path.setdefault(blob.path, []).append(blob)
    for path, its in sorted(by_path.items()):
        commits = dict.fromkeys((blob.commit, blob.date) for blob in its)
        keys = dict.fromkeys(key for blob in its for key in found.get(blob.id, ()))
        yield Past(path, tuple(commits), tuple(keys))


def _secret_keys(content: bytes) -> tuple[str, ...]:
    """Return the keys of a content that look secret; none where it cannot be understood."""
    try:
        file = envfile.parse(content, "")
    except ImipError:
        return ()
    return tuple(file.shown(key) for key, value in file.values.items() if looks_secret(key, value))


def _states(file: Found, *, has_git: bool) -> Iterator[str]:
    if file.is_template:
        yield "an example"
    if file.tracked:
        yield "in git" if file.is_template else "IN GIT: whoever has a clone has it"
    elif has_git:
        yield "ignored by git" if file.ignored else "NOT IGNORED by git: the next `git add .` takes it"


def _keys(file: EnvFile) -> Iterator[str]:
    secret = [key for key, value in file.values.items() if looks_secret(key, value)]
    plain = [key for key in file.values if key not in set(secret)]
    if secret:
        yield f"  look secret: {', '.join(map(file.shown, secret))}"
    if plain:
        yield f"  look like plain configuration: {', '.join(map(file.shown, plain))}"
    for key, lines in file.repeated.items():
        yield f"  {file.shown(key)} stands in lines {', '.join(map(str, lines))}: the last one counts"
    if file.empty:
        yield f"  {file.without()}"


def _differences(files: Mapping[str, EnvFile]) -> Iterator[str]:
    """Compare the environments with each other: keys that are missing, secrets that are the same in two."""
    every = dict.fromkeys(key for file in files.values() for key in file.values if key not in file.odd)
    if len(files) < 2:  # noqa: PLR2004 - it takes two to differ
        return
    for name, file in files.items():
        missing = [key for key in every if key not in file.values]
        if missing:
            yield f"{name} has no {', '.join(map(tame, missing))}"
    for key in every:
        yield from _shared(key, [(name, file) for name, file in files.items() if key in file.values])


def _shared(key: str, files: Sequence[tuple[str, EnvFile]]) -> Iterator[str]:
    same = [
        (one, other)
        for number, (one, first) in enumerate(files)
        for other, second in files[number + 1 :]
        if first.values[key] == second.values[key] and looks_secret(key, first.values[key])
    ]
    if same:
        names = dict.fromkeys(name for pair in same for name in pair)
        yield f"{tame(key)} is the same in {_and(names)}: give each environment a secret of its own"


def _and(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}"
