"""The parts of hvac that the store uses, and no more of it.

Any import from hvac runs its ``__init__`` files. Those import the modules of
every engine and, by way of requests, two hundred more, which takes as long as
all the rest of a run. What we use of hvac needs none of that, so it is
imported without these files (``docs/decisions/0006-hvac.md``).
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from imip_secrets.stores.vault_transport import Transport

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


@cache
def _classes() -> dict[str, Any]:
    """Import hvac's classes; a program that has hvac already is left as it is."""
    if "hvac" in sys.modules:
        return _imported()
    try:
        for name in _PACKAGES:
            sys.modules[name] = _unopened(name)
        return _imported()
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
