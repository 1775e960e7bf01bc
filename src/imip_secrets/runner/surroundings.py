"""What an earlier step of the job could have set to lead us astray.

Inside the action, addresses and trust come from its inputs alone; credentials
of the surroundings count (``docs/decisions/0004-ambient-environment.md`` says
why, and where the line runs). Taking the variables away is the one way that
holds for every library: OpenSSL, botocore and hvac read them on their own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imip_secrets.settings import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import MutableMapping

# Where a store, a proxy's certificate or a setting would come from. Names that
# only hold credentials or say how often to try are not here.
NAMES = frozenset(
    {
        # botocore (configprovider.py, session.py, plugin.py): files and profiles can hold addresses, authorities and
        # commands to run (credential_process); the plugins are Python modules.
        "AWS_CA_BUNDLE",
        "AWS_CONFIG_FILE",
        "AWS_DATA_PATH",
        "AWS_DEFAULT_PROFILE",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        "AWS_PROFILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "BOTOCORE_EXPERIMENTAL__PLUGINS",
        "BOTO_CONFIG",
        # azure-identity: where a client assertion is posted to.
        "AZURE_AUTHORITY_HOST",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "AZURE_REGIONAL_AUTHORITY_NAME",
        # requests, OpenSSL, Python's ssl: whom to trust, and who may read along.
        "CURL_CA_BUNDLE",
        "OPENSSL_CONF",
        "OPENSSL_ENGINES",
        "OPENSSL_MODULES",
        "REQUESTS_CA_BUNDLE",
        "SSLKEYLOGFILE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
    }
)
# AWS_CSM_* has botocore send the session token to a host over UDP. All that Vault's clients read is an input here.
# IMIP_ID_TOKEN* is who one is at a command line; a job is who GitHub says it is.
PREFIXES = ("AWS_ENDPOINT_URL", "AWS_CSM_", "VAULT_", "BAO_", "IMIP_ID_TOKEN")

# An earlier step can write ~/.aws as easily as a variable. The credentials file is a configuration file under another
# name: botocore reads every setting of a profile from it, commands included.
AWS_FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")

# "[::1]" is how urllib compares an address that has a port.
_NO_PROXY_FOR = (*LOOPBACK, "[::1]")


def neutralise(environ: MutableMapping[str, str]) -> list[str]:
    """Take ambient addresses and trust out of the environment; return the sorted names that somebody had set.

    To be called with ``os.environ`` before anything imports ``ssl``, boto3 or
    hvac, which look only once. Afterwards no proxy is used for loopback, and
    the AWS SDK finds neither configuration nor credentials file. A copy of
    the environment from before is what new variables are to be compared with.
    """
    ignored = []
    for name in sorted(environ):
        if name in NAMES or name.startswith(PREFIXES):
            value = environ.pop(name)
            # action.yml itself may have set a name to nothing.
            if value and value != os.devnull:
                ignored.append(name)
    environ.update(dict.fromkeys(AWS_FILES, os.devnull))
    excepted = _with_loopback(environ.get("no_proxy") or environ.get("NO_PROXY") or "")
    environ.update({"no_proxy": excepted, "NO_PROXY": excepted})
    return ignored


def _with_loopback(excepted: str) -> str:
    """Add loopback to a NO_PROXY list; "*" means every host already, but only when it stands alone."""
    hosts = [host.strip() for host in excepted.split(",") if host.strip()]
    if hosts == ["*"]:
        return "*"
    return ",".join(hosts + [host for host in _NO_PROXY_FOR if host not in hosts])
