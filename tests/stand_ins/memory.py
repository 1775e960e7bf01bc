"""A store in memory that does as it is told, wrongly if need be, and notes every call.

>>> with registered(Memory({"imip/a": "value", "imip/b": denied()})) as store:
...     ...  # memory://imip/a is found, memory://imip/b is refused
>>> store.calls
['login', 'fetch imip/a', 'fetch imip/b', 'close']
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, TypeAlias, cast

from imip_secrets.deadline import Deadline
from imip_secrets.errors import MissingError, Problem, StoreError
from imip_secrets.identity import IdToken
from imip_secrets.secret import Secret
from imip_secrets.settings import Settings
from imip_secrets.stores import SCHEMES, Scheme
from imip_secrets.stores.base import Context, Found, Target, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import ModuleType

    from imip_secrets.document import Json

# A fault is raised; a function is called, in the thread of the call, for what it gives.
Content: TypeAlias = "str | bytes | Found | BaseException | Callable[[], Content]"

HUNG_LIMIT = 60.0  # no test may hang for ever


def missing() -> MissingError:
    """Return what a store says of a secret that is not there."""
    return MissingError("there is no such secret", "Check the path.")


def denied(permission: str = "memory:Read") -> StoreError:
    """Return what a store says to somebody who may not."""
    return StoreError("access is denied", f"Allow {permission}.")


_RESUMING: Mapping[str, Exception] = {"refused": denied(), "strange": ValueError("s3cret")}


def slow(seconds: float, content: Content) -> Content:
    """Return a content that takes its time."""

    def give() -> Content:
        time.sleep(seconds)
        return content

    return give


class MemoryKept:
    """Credentials that live by a login to the store.

    Args:
        paths: What they are for.
        fault: What goes wrong when they are ended.

    Attributes:
        calls: What was done with them.

    """

    store = "memory"

    def __init__(self, paths: Sequence[str], fault: str = "") -> None:
        self.paths = paths
        self.fault = fault
        self.calls: list[str] = []

    @property
    def leases(self) -> int:
        return len(self.paths)

    @property
    def what(self) -> str:
        return ", ".join(f"{path} for 1h" for path in self.paths)

    def end(self) -> str:
        self.calls.append("end")
        return self.fault

    def leave(self) -> None:
        self.calls.append("leave")

    def record(self) -> dict[str, Json]:
        return {"leases": " ".join(self.paths), "says": self.fault}


class Memory:
    """The store, and the module that offers it.

    Args:
        secrets: What is there, by path.
        login: Who we are, or why not.
        listing: A fault of every listing, or None.
        closing: What closing does: a fault, a function, or None.
        problems: What ``check`` finds, by path; "" for the settings.
        page: How many names a page of a listing has.
        kept: What closing gives: credentials that must not end yet.

    """

    def __init__(
        self,
        secrets: Mapping[str, Content] | None = None,
        *,
        login: Content = "who we are",
        listing: BaseException | None = None,
        closing: BaseException | Callable[[], Content] | None = None,
        problems: Mapping[str, Problem] | None = None,
        page: int = 2,
        kept: MemoryKept | None = None,
    ) -> None:
        self.secrets = dict(secrets or {})
        self.identity = login
        self.listing = listing
        self.closing = closing
        self.problems = problems or {}
        self.page = page
        self.kept = kept
        self.calls: list[str] = []
        self.checked: list[str] = []
        self.threads: set[str] = set()
        self.released = threading.Event()

    # --- the module

    def check(self, _: Settings, targets: Iterable[Target]) -> Iterable[tuple[Target | None, Problem]]:
        given = list(targets)
        paths = {target.path: target for target in given}
        self.checked += [target.path for target in given]
        return [(paths.get(path), problem) for path, problem in self.problems.items() if path in {"", *paths}]

    def open_store(self, _: Context) -> Memory:
        return self

    # --- the store

    def login(self) -> str:
        self._note("login")
        return str(_give(self.identity))

    def fetch(self, target: Target) -> Found:
        self._note(f"fetch {target.path}")
        content = _give(self.secrets.get(target.path, missing()))
        return content if isinstance(content, Found) else Found(Secret(content))

    def list(self, target: Target, *, deep: bool) -> Sequence[Target]:
        names = [name for name in sorted(self.secrets) if name.startswith(target.path)]
        names = [name for name in names if deep or "/" not in name.removeprefix(target.path)]
        for start in range(0, max(1, len(names)), self.page):
            self._note(f"list {target.path}{'**' if deep else '*'} from {start}")
            if self.listing:
                raise self.listing
        return [Target(name) for name in names]

    def close(self) -> MemoryKept | None:
        self._note("close")
        if self.closing:
            _give(self.closing)
        return self.kept

    def resume(self, record: dict[str, Json], _: Context) -> MemoryKept:
        if record.get("fault"):
            raise _RESUMING[str(record["fault"])]
        self._note("resume")
        self.kept = MemoryKept(str(record["leases"]).split(), fault=str(record["says"]))
        return self.kept

    # --- for tests

    def hang(self) -> Content:
        """Give no answer until the store is released; as a content: ``store.hang``."""
        self.released.wait(HUNG_LIMIT)
        return "too late"

    def fetched(self) -> tuple[str, ...]:
        """Return the paths that were read, in the order of asking."""
        return tuple(call.removeprefix("fetch ") for call in self.calls if call.startswith("fetch "))

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.threads.add(threading.current_thread().name)


class Versioned(Memory):
    """A store that tells versions without values, where it may."""

    def __init__(self, secrets: Mapping[str, Content] | None = None) -> None:
        super().__init__(secrets)
        self.may = True

    def version_of(self, target: Target) -> Version | None:
        self._note(f"version {target.path}")
        if not self.may:
            return None
        content = _give(self.secrets.get(target.path, missing()))
        return Version(content.version, content.changed) if isinstance(content, Found) else None


def _give(content: Content) -> str | bytes | Found:
    while callable(content):
        content = content()
    if isinstance(content, BaseException):
        raise content
    return content


@contextlib.contextmanager
def registered(store: Memory, name: str = "memory", title: str = "Memory") -> Iterator[Memory]:
    """Have references with this scheme lead to the store."""
    module = f"store_in_memory_{name}"
    row = Scheme(name, title, module, frozenset({"version", "region"}), f"{name}://imip/a#KEY", f"{name}-libraries")
    schemes = cast("dict[str, Scheme]", SCHEMES)
    schemes[name] = row
    sys.modules[module] = cast("ModuleType", store)
    try:
        yield store
    finally:
        store.released.set()
        del schemes[name], sys.modules[module]


def context(seconds: float = 30.0, said: list[str] | None = None) -> Context:
    """Return what the core gives a store to work with; notices go to ``said``."""
    return Context(
        Settings(),
        lambda _: IdToken(Secret("token"), {}),
        lambda _: None,
        (said if said is not None else []).append,
        Deadline(seconds),
    )
