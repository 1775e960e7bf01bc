"""From arguments and variables to secrets that are loaded: which of them, from where, once for all who ask."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from imip_secrets import request
from imip_secrets.errors import ImipError, Problem, UsageError
from imip_secrets.loader import processes
from imip_secrets.loader.choice import Choice, choose, is_development
from imip_secrets.loader.live import Live
from imip_secrets.loader.mapping import Secrets
from imip_secrets.loader.reading import Reader
from imip_secrets.loader.wording import worded
from imip_secrets.settings import BY_NAME, from_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imip_secrets.loader.live import OnChange
    from imip_secrets.request import Request

# An application would rather have an error than wait as long as a job does.
TIMEOUT_SECONDS = "30"


class _Loaded:
    """What was loaded, so that whoever asks for the same has the same."""

    def __init__(self) -> None:
        self._by_key: dict[object, Secrets] = {}
        self._lock = threading.Lock()
        processes.remember(self)

    def find(self, key: object, make: Callable[[Callable[[], object]], Secrets]) -> tuple[Secrets, bool]:
        """Return the secrets of a key, and whether they are new; ``make`` is told how they are forgotten."""
        with self._lock:
            found = self._by_key.get(key)
            if found is not None:
                return found, False
            made = self._by_key[key] = make(lambda: self._by_key.pop(key, None))
            return made, True

    def after_fork(self) -> None:
        """Forget a thread that was looking."""
        self._lock = threading.Lock()


_LOADED = _Loaded()


def load(
    references: tuple[str, ...],
    *,
    env_file: str | os.PathLike[str],
    times: tuple[float, float],
    settings: Mapping[str, str],
    on_change: OnChange | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Secrets:
    """Do what :func:`imip_secrets.load_secrets` says.

    Args:
        references: What to read, or nothing to go by the variables.
        env_file: The dotenv file of development.
        times: The time to live, and how much longer for want of better.
        settings: Inputs by name.
        on_change: Whom to tell of changes.
        clock: A monotonic clock.

    Raises:
        ImipError: with every mistake and failure.

    """
    ttl, stale = times
    _check_times(ttl, stale)
    choice = Choice(references, {}) if references else choose(os.environ, str(Path(env_file).absolute()))
    values = _values(choice, settings)
    key = (times, clock, tuple(sorted(values.items())))
    secrets, is_new = _LOADED.find(key, lambda forget: _open(_request(values), times, clock, forget))
    try:
        # Not within: who asks for other secrets does not wait for these.
        len(secrets)
    except ImipError:
        if is_new:
            secrets.close()
        raise
    if on_change is not None:
        secrets.on_change(on_change)
    return secrets


def _open(
    wanted: Request, times: tuple[float, float], clock: Callable[[], float], forget: Callable[[], object]
) -> Secrets:
    ttl, stale = times
    return Secrets(Live(Reader(wanted, clock), ttl=ttl, stale=stale, clock=clock), forget)


def _check_times(ttl: float, stale: float) -> None:
    for name, seconds, least in (("ttl", ttl, 0.001), ("stale", stale, 0.0)):
        if not least <= seconds < float("inf"):
            raise UsageError(Problem(f"{name}={seconds!r} is no number of seconds", "load_secrets", "Try ttl=300."))


def _values(choice: Choice, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the inputs: as they are given, else as the variables say, else as suits an application."""
    unknown = sorted(set(settings) - set(BY_NAME))
    if unknown:
        what = f"there is no setting {unknown[0]!r}"
        raise UsageError(Problem(what, "load_secrets", "Settings are named as the inputs of the action are."))
    given = {**choice.settings, **settings, "secrets": "\n".join(choice.references)}
    values = {"timeout-seconds": TIMEOUT_SECONDS, **from_environment(os.environ, given)}
    # An application has a token, and a job has a role; who names neither means the token.
    if not values.get("vault-auth-method") and not values.get("vault-role"):
        values["vault-auth-method"] = "token"
    return values


def _request(values: Mapping[str, str]) -> Request:
    try:
        wanted = request.read(values)
    except UsageError as error:
        raise UsageError(*map(worded, error.problems)) from None
    problems = [
        Problem(
            "a .env file is for development alone, and this is none",
            line.where,
            "Set ENVIRONMENT=development on your own machine; elsewhere name a store.",
        )
        for line in wanted.lines
        if line.reference.scheme == "env-file" and not is_development(os.environ)
    ]
    problems += [
        Problem("as=file is for imip-secrets run and the action", line.where, "Take the value itself here.")
        for line in wanted.lines
        if line.reference.as_file
    ]
    if problems:
        raise UsageError(*problems)
    return wanted
