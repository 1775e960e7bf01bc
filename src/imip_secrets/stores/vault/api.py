"""The parts of hvac that the store uses, and no more of it.

Any import from hvac runs its ``__init__`` files. Those import the modules of
every engine and, by way of requests, two hundred more, which takes as long as
all the rest of a run. What we use of hvac needs none of that, so it is
imported without these files (``docs/decisions/0006-hvac.md``).
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from imip_secrets.stores.vault.transport import Transport

_PACKAGES = ("hvac", "hvac.api", "hvac.api.auth_methods", "hvac.api.secrets_engines", "hvac.api.system_backend")


class Api:
    """hvac's methods, over an adapter.

    Args:
        adapter: Sends what the methods make; also for what hvac has no method for.

    """

    def __init__(self, adapter: Transport) -> None:
        """Make one of each."""
        classes = _classes()
        self.adapter = adapter
        self.jwt: Any = classes["JWT"](adapter)
        self.token: Any = classes["Token"](adapter)
        self.kv_v1: Any = classes["KvV1"](adapter)
        self.kv_v2: Any = classes["KvV2"](adapter)
        self.seal: Any = classes["Seal"](adapter)


# The class of each login method that most runs do not use.
_LOGINS = {
    "approle": "AppRole",
    "github": "Github",
    "kubernetes": "Kubernetes",
    "ldap": "Ldap",
    "userpass": "Userpass",
}


def login_api(method: str, adapter: Transport) -> Any:  # noqa: ANN401 - hvac has no types
    """Return hvac's methods for a login method, one of those that are not in :class:`Api`."""
    return _login_class(method)(adapter)


@cache
def _login_class(method: str) -> Any:  # noqa: ANN401 - hvac has no types
    with _without_init():
        return getattr(import_module(f"hvac.api.auth_methods.{method}"), _LOGINS[method])


@cache
def _classes() -> dict[str, Any]:
    """Import hvac's classes."""
    with _without_init():
        return _imported()


@contextmanager
def _without_init() -> Iterator[None]:
    """Let hvac's modules be imported alone; a program that has hvac already is left as it is."""
    if "hvac" in sys.modules:
        yield
        return
    try:
        for name in _PACKAGES:
            sys.modules[name] = _unopened(name)
        yield
    finally:
        # Who imports hvac after us is to have the whole of it.
        for name in [name for name in sys.modules if name.partition(".")[0] == "hvac"]:
            del sys.modules[name]


def _unopened(package: str) -> ModuleType:
    """Return a package that knows where its modules are, and has not run its ``__init__``."""
    spec = find_spec(package)
    if spec is None:
        msg = f"No module named {package!r}"
        raise ModuleNotFoundError(msg, name=package)
    return module_from_spec(spec)


def _imported() -> dict[str, Any]:
    return {
        "JWT": import_module("hvac.api.auth_methods.jwt").JWT,
        "Token": import_module("hvac.api.auth_methods.token").Token,
        "KvV1": import_module("hvac.api.secrets_engines.kv_v1").KvV1,
        "KvV2": import_module("hvac.api.secrets_engines.kv_v2").KvV2,
        "Seal": import_module("hvac.api.system_backend.seal").Seal,
    }
