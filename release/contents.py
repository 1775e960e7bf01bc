"""What the bundle holds: the sets of libraries in it, and what of them is left out.

A set that is in the bundle is never installed; one that is not (those with code
for one kind of machine: ``azure``, ``github``) is installed by its lock when a
request first needs it. ``docs/decisions/0017-bundle.md`` says why.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from imip_secrets.stores.aws.services import SERVICES

SETS = ("aws", "runner", "vault")
"""Locks, ``requirements/NAME.txt``, whose wheels are for every machine."""

PYTHONS = ((3, 10), (3, 11), (3, 12), (3, 13), (3, 14))
"""The Pythons of GitHub's images and of Debian, whose byte-code is in the bundle. Others compile what they import."""

# Of our own folders, those whose modules an export imports, and what it does not.
_COMPILED = (
    *("imip_secrets", "imip_secrets/action", "imip_secrets/runner"),
    *("imip_secrets/stores", "imip_secrets/stores/aws", "imip_secrets/stores/vault"),
)
_NOT_COMPILED = tuple(
    f"imip_secrets/{name}.py"
    for name in (
        *("child", "doctor", "handed_token", "installing", "stores/env_file"),
        *("action/audit", "action/doctor", "action/scan", "action/sync"),
    )
)

# Packages of which nothing is left: what imports them is itself not there, or is never imported.
_WITHOUT = ("boto3", "s3transfer", "requests", "charset_normalizer", "idna")

# Patterns of paths; the first that fits decides, and what none fits stays.
_KEPT: tuple[tuple[bool, str], ...] = (
    *((False, f"{name}/*") for name in _WITHOUT),
    (False, "tests/*"),
    (False, "*/tests/*"),
    (False, "*/__main__.py"),
    (False, "*.pyi"),
    (False, "*/py.typed"),
    # The authorities of a machine that has none: certifi's are taken, by botocore too.
    (False, "botocore/cacert.pem"),
    (False, "botocore/stub.py"),
    # Only with awscrt, which no lock has.
    (False, "botocore/crt/auth.py"),
    *((True, f"botocore/docs/{name}.py") for name in ("__init__", "docstring", "utils")),
    (False, "botocore/docs/*"),
    # Each service's rules give its addresses (docs/decisions/0005-botocore.md).
    (False, "botocore/data/endpoints.json"),
    (False, "botocore/data/*/examples-*"),
    *((True, f"botocore/data/{name}/*") for name in SERVICES),
    (False, "botocore/data/*/*"),
    # The command and the files of the runner; the rest is GitHub's API, over requests.
    *((True, f"actions_toolkit/{name}.py") for name in ("__init__", "command", "file_command", "utils")),
    (False, "actions_toolkit/*"),
    (False, "dateutil/zoneinfo/*"),
    *((False, f"dateutil/{name}.py") for name in ("easter", "rrule", "utils")),
    (False, "urllib3/contrib/*/*"),
    (False, "urllib3/contrib/pyopenssl.py"),
    (False, "urllib3/contrib/socks.py"),
    (False, "urllib3/http2/connection.py"),
    # The classes that vault/api.py imports, and what they import (docs/decisions/0006-hvac.md).
    *((True, f"hvac/{name}.py") for name in ("__init__", "exceptions", "utils")),
    *((True, f"hvac/api/{name}.py") for name in ("__init__", "vault_api_base")),
    *((True, f"hvac/api/auth_methods/{name}.py") for name in ("__init__", "jwt", "token")),
    *((True, f"hvac/api/auth_methods/{name}.py") for name in ("approle", "github", "kubernetes", "ldap", "userpass")),
    *((True, f"hvac/constants/{name}.py") for name in ("__init__", "approle")),
    *((True, f"hvac/api/secrets_engines/{name}.py") for name in ("__init__", "kv_v1", "kv_v2")),
    *((True, f"hvac/api/system_backend/{name}.py") for name in ("__init__", "seal", "system_backend_mixin")),
    (False, "hvac/*"),
)


REPLACED = {
    # The generator of documentation: a dozen modules that every client imports, to be read by nobody in a job.
    "botocore/docs/__init__.py": b"",
    "botocore/docs/docstring.py": b"""\
def _nothing(*_args, **_options):
    return ""


ClientMethodDocstring = PaginatorDocstring = WaiterDocstring = _nothing
""",
}
"""Files that are others in the bundle."""


def is_kept(path: str) -> bool:
    """Tell whether a file of a wheel, by its path in it, is in the bundle."""
    return next((kept for kept, pattern in _KEPT if fnmatchcase(path, pattern)), True)


def has_byte_code(path: str) -> bool:
    """Tell whether a module is there compiled: a library, or what a step that exports is made of.

    What a person at a terminal or a sync of many seconds can wait for is compiled when it is imported.
    """
    folder = path.rpartition("/")[0]
    return not path.startswith("imip_secrets/") or (folder in _COMPILED and path not in _NOT_COMPILED)


def keeps_lines(path: str) -> bool:
    """Tell whether byte-code knows its lines: ours does, which the report of a defect shows."""
    return path.startswith("imip_secrets/")
