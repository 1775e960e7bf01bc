"""Which secrets an application means that says nothing: the guide's variables, and when a ``.env`` may stand in.

The store is chosen by the variable that names a secret there, since those that
name an address or a region are often set for other reasons:

=========================================  ==========================================================
``SECRET_NAME``                            AWS Secrets Manager (``AWS_REGION``)
``VAULT_SECRET_PATH``                      Vault, the engine ``secret`` (``VAULT_ADDR``, ``VAULT_TOKEN``)
``AZURE_KEY_VAULT_URL``, ``KEY_VAULT_URL``  every secret of an Azure Key Vault
=========================================  ==========================================================

Where none of them is set, development reads ``.env``; everywhere else
``VAULT_ADDR`` or ``AWS_REGION`` chooses, and ``ENVIRONMENT`` names the secret:
``imip/production``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imip_secrets.errors import Problem, UsageError
from imip_secrets.foreign import tame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ENVIRONMENT = "ENVIRONMENT"
# Whatever else ENVIRONMENT says, and when it says nothing, is taken for production: a container that lost the
# variable must not find itself reading a file that somebody left in its image.
DEVELOPMENT = frozenset({"development", "dev", "local", "test", "testing"})
_SHORT = {"prod": "production", "stage": "staging"}
_AZURE = ("AZURE_KEY_VAULT_URL", "KEY_VAULT_URL")
_REGION = ("AWS_REGION", "AWS_DEFAULT_REGION")
_VAULT = ("VAULT_ADDR", "BAO_ADDR")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
# The hosts of Azure's other clouds (azure/places.py); the public one is what is meant by none.
_CLOUDS = {".vault.usgovcloudapi.net": "usgovernment", ".vault.azure.cn": "china"}
_EVERY_WAY = (
    "Set SECRET_NAME and AWS_REGION, VAULT_ADDR and VAULT_SECRET_PATH, or AZURE_KEY_VAULT_URL; "
    "give references, as in load_secrets('aws://imip/production'); "
    "or set ENVIRONMENT=development to read a .env file."
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be read.

    Args:
        references: In the grammar of the action's ``secrets``.
        settings: Inputs that follow from the variables.

    """

    references: tuple[str, ...]
    settings: Mapping[str, str]


def is_development(environ: Mapping[str, str]) -> bool:
    """Tell whether a ``.env`` file may be read here: only where ``ENVIRONMENT`` says that this is development."""
    return _said(environ, ENVIRONMENT).lower() in DEVELOPMENT


def choose(environ: Mapping[str, str], env_file: str) -> Choice:
    """Choose by the variables.

    Raises:
        UsageError: they name no store, or two.

    """
    named = [(name, make) for name, make in _NAMING.items() if _said(environ, name)]
    # The two names of one thing are no contradiction: the first counts.
    makers = {make: name for name, make in reversed(named)}
    if len(makers) > 1:
        raise _two(list(makers.values())[::-1], "Unset all but one of them, or give references to load_secrets().")
    for make, name in makers.items():
        return make(_said(environ, name), name)
    if is_development(environ):
        return Choice((f"env-file://{quoted(env_file)}",), {})
    return _by_place(environ)


def quoted(path: str) -> str:
    """Write a text as the path of a reference, with the signs escaped that mean something there."""
    return "".join(char if char.isalnum() or char in "/._-:+=@,~\\" else _escaped(char) for char in path)


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))


def _of_aws(name: str, _: str = "") -> Choice:
    return Choice((f"aws://{quoted(name)}",), {})


def _of_vault(path: str, _: str = "") -> Choice:
    """Take a path as the guide writes it, within the engine ``secret``, or as ``vault kv get`` shows it."""
    return Choice((f"vault://secret/{quoted(path.strip('/').removeprefix('secret/'))}",), {})


def _of_azure(url: str, variable: str) -> Choice:
    scheme, mark, rest = url.rpartition("://")
    host, _, path = rest.partition("/")
    if (mark and scheme != "https") or path or not host or not all(char.isalnum() or char in ".-:" for char in host):
        what = f"{tame(url.rpartition('@')[2], 80)!r} is no address of a Key Vault"
        raise UsageError(Problem(what, variable, "Write it like https://imip-vault.vault.azure.net/."))
    cloud = next((cloud for suffix, cloud in _CLOUDS.items() if host.lower().endswith(suffix)), "")
    return Choice((f"azure://{host}/*",), {"azure-cloud": cloud} if cloud else {})


_NAMING: Mapping[str, Callable[[str, str], Choice]] = {
    "SECRET_NAME": _of_aws,
    "VAULT_SECRET_PATH": _of_vault,
    **dict.fromkeys(_AZURE, _of_azure),
}


def _by_place(environ: Mapping[str, str]) -> Choice:
    """Choose by the variable that says where a store is; the environment says which secret."""
    vault = next((name for name in _VAULT if _said(environ, name)), "")
    aws = next((name for name in _REGION if _said(environ, name)), "")
    if vault and aws:
        raise _two([vault, aws], "Set VAULT_SECRET_PATH or SECRET_NAME: it says which of them is meant.")
    if not vault and not aws:
        said = _said(environ, ENVIRONMENT)
        what = f"{ENVIRONMENT} is {tame(said, 40)!r}" if said else f"{ENVIRONMENT} is not set"
        what += ", which is not development, and no variable names a store"
        raise UsageError(Problem(what, "load_secrets", _EVERY_WAY))
    name = f"imip/{_environment(environ, 'VAULT_SECRET_PATH' if vault else 'SECRET_NAME')}"
    return _of_vault(name) if vault else _of_aws(name)


def _environment(environ: Mapping[str, str], instead: str) -> str:
    word = _said(environ, ENVIRONMENT)
    remedy = f"Set {ENVIRONMENT}=production for imip/production, or {instead} for the name itself."
    if not word:
        raise UsageError(Problem("it is not set, so the secret has no name", f"variable {ENVIRONMENT}", remedy))
    if not _WORD.fullmatch(word):
        raise UsageError(Problem(f"{tame(word, 40)!r} is no environment", f"variable {ENVIRONMENT}", remedy))
    return _SHORT.get(word.lower(), word.lower())


def _two(names: Sequence[str], remedy: str) -> UsageError:
    return UsageError(Problem(f"{' and '.join(names)} are set, and name different stores", "load_secrets", remedy))


def _said(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()
