"""Every setting there is: one table that the action, the command line and the README share.

The names are the action's inputs. ``action.yml`` and the README's table are
held equal to this one by a test; the command line makes its options from it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlsplit

from imip_secrets.errors import Problem
from imip_secrets.foreign import tame
from imip_secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind = Literal["text", "flag", "choice", "number", "address", "secret", "lines"]

MAX_NUMBER = 1_000_000
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_REFERENCE = re.compile(r"\s*[a-z-]+://")
_TRUE, _FALSE = ("true",), ("false",)


class Input(NamedTuple):
    """One setting.

    Args:
        name: The action's input, in kebab case.
        group: The heading it stands under in the README.
        help: One line for ``action.yml``, ``--help`` and the README.
        default: What an empty value means.
        kind: How the text is checked and read.
        choices: The words allowed, for a choice.
        variables: Environment variables that stand for it on the command line
            and in the library (never in the action), the first that is set.
        least: The smallest number that means something.

    """

    name: str
    group: str
    help: str
    default: str = ""
    kind: Kind = "text"
    choices: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    least: int = 1


# fmt: off
INPUTS: tuple[Input, ...] = (
    Input("mode", "What", "What to do: export the secrets; sync them to GitHub; doctor: check each step; scan: look "
          "for the values in files; audit: judge their age.", "export", "choice",
          ("export", "doctor", "sync", "scan", "audit")),
    Input("secrets", "What", "The references, one per line.", kind="lines"),
    Input("export-env", "How it lands", "Set the variables for the later steps of the job.", "true", "flag"),
    Input("env-file", "How it lands", "Write the variables to this dotenv file as well (mode 0600)."),
    Input("name-transform", "How it lands", "How a name made from a key is written.", "upper", "choice",
          ("upper", "lower", "none")),
    Input("allow-names", "How it lands", "Names to allow though they change how programs run, by comma or space."),
    Input("overwrite-env", "How it lands", "Allow a variable that is already set to something else.", "false", "flag"),
    Input("mask-floor", "How it lands", "Values and lines shorter than this many characters are not masked.", "4",
          "number"),
    Input("aws-region", "AWS", "The region of references that name none.",
          variables=("AWS_REGION", "AWS_DEFAULT_REGION")),
    Input("aws-role-to-assume", "AWS", "The ARN of the role to assume with the job's ID token."),
    Input("aws-role-session-name", "AWS", "The session's name in CloudTrail (default: imip-secrets-RUN_ID)."),
    Input("aws-role-duration-seconds", "AWS", "How long the session lives, in seconds.", "900", "number"),
    Input("aws-audience", "AWS", "The audience of the ID token for AWS.", "sts.amazonaws.com"),
    Input("aws-endpoint-url", "AWS", "Another address for AWS's services (a private endpoint, a test server).",
          kind="address"),
    Input("vault-addr", "Vault", "The address of Vault or OpenBao.", kind="address",
          variables=("VAULT_ADDR", "BAO_ADDR")),
    Input("vault-namespace", "Vault", "The namespace of the login and of references that name none.",
          variables=("VAULT_NAMESPACE", "BAO_NAMESPACE")),
    Input("vault-auth-method", "Vault", "How to log in.", "jwt", "choice",
          ("jwt", "token", "approle", "kubernetes", "userpass", "ldap", "github")),
    Input("vault-auth-path", "Vault", "Where the login method is mounted (default: the method's name)."),
    Input("vault-role", "Vault", "The role to log in with, for the login methods jwt and kubernetes."),
    Input("vault-audience", "Vault", "The audience of the ID token for Vault (default: the address of Vault)."),
    Input("vault-token", "Vault", "A token, for the login method token.", kind="secret",
          variables=("VAULT_TOKEN", "BAO_TOKEN")),
    Input("vault-role-id", "Vault", "The role id of an AppRole, for the login method approle.",
          variables=("VAULT_ROLE_ID",)),
    Input("vault-secret-id", "Vault", "Its secret id, or the token that it is wrapped in, which is unwrapped.",
          kind="secret", variables=("VAULT_SECRET_ID",)),
    Input("vault-username", "Vault", "The user's name, for the login methods userpass and ldap.",
          variables=("VAULT_USERNAME",)),
    Input("vault-password", "Vault", "The user's password.", kind="secret", variables=("VAULT_PASSWORD",)),
    Input("vault-github-token", "Vault", "A personal access token of GitHub, for the login method github.",
          kind="secret", variables=("VAULT_AUTH_GITHUB_TOKEN",)),
    Input("vault-kubernetes-token-path", "Vault", "The file with the pod's token, for the login method kubernetes.",
          "/var/run/secrets/kubernetes.io/serviceaccount/token"),
    Input("vault-ca-certificate", "Vault", "The PEM certificate that Vault's is signed by.", kind="lines"),
    Input("vault-client-certificate", "Vault", "A PEM client certificate for mutual TLS.", kind="lines"),
    Input("vault-client-key", "Vault", "The PEM key of the client certificate.", kind="secret"),
    Input("vault-lease-minutes", "Vault",
          "How long the job needs dynamic credentials; a warning when they live shorter.", "30", "number"),
    Input("azure-tenant-id", "Azure", "The directory (tenant) ID of the application in Entra ID.",
          variables=("AZURE_TENANT_ID",)),
    Input("azure-client-id", "Azure", "The application (client) ID to log in as with the job's ID token.",
          variables=("AZURE_CLIENT_ID",)),
    Input("azure-audience", "Azure", "The audience of the ID token for Azure.", "api://AzureADTokenExchange"),
    Input("azure-cloud", "Azure", "The cloud that the vaults are in.", "public", "choice",
          ("public", "usgovernment", "china")),
    Input("azure-authority-host", "Azure", "Another address of Entra ID (a private cloud, a test server).",
          kind="address", variables=("AZURE_AUTHORITY_HOST",)),
    Input("sync-to", "Sync", "Where to write the secrets in GitHub, one target per line.", kind="lines"),
    Input("sync-dry-run", "Sync", "Show the plan and write nothing.", "false", "flag"),
    Input("sync-prune", "Sync", "Delete what earlier runs wrote and the lines no longer give.", "false", "flag"),
    Input("sync-max-deletions", "Sync", "Delete nothing, and fail, when there is more than this to delete.", "5",
          "number", least=0),
    Input("sync-force", "Sync", "Write every secret again, changed or not.", "false", "flag"),
    Input("sync-visibility", "Sync", "Who sees new secrets of an organisation; an update keeps what is there.",
          "private", "choice", ("all", "private", "selected")),
    Input("sync-manifest", "Sync", "The value of the secret that holds the manifest of earlier runs.", kind="secret",
          variables=("IMIP_SYNC_MANIFEST",)),
    Input("sync-manifest-secret", "Sync", "The name of that secret, in the repository that runs the sync."),
    Input("sync-shard", "Sync", "The part of the targets that this job takes, such as 3/8."),
    Input("github-token", "Sync", "A token that may write the secrets.", kind="secret",
          variables=("GH_TOKEN", "GITHUB_TOKEN")),
    Input("github-app-id", "Sync", "The App ID or client ID of a GitHub App, instead of a token."),
    Input("github-app-private-key", "Sync", "The PEM key of the App, or a reference to it in a store.", kind="secret",
          variables=("IMIP_GITHUB_APP_PRIVATE_KEY",)),
    Input("github-api-url", "Sync", "The address of GitHub's API (default: that of the runner, or of github.com).",
          kind="address", variables=("GITHUB_API_URL",)),
    Input("scan-paths", "Scan", "The files and folders to search, one per line, from the workspace.", ".", "lines"),
    Input("scan-exclude", "Scan", "What is not searched: names, or paths, with * and ?, one per line.", kind="lines"),
    Input("scan-allow-unsearched", "Scan", "What may stay unsearched if it cannot be: names, or paths, as shown.",
          kind="lines"),
    Input("scan-detect", "Scan", "Look for what was never in a store as well, with detect-secrets.", "false", "flag"),
    Input("audit-max-age", "Audit", "How old a value may be, such as 90d.", "90d"),
    Input("audit-days", "Audit", "Who read the secrets in so many days; 0 for not at all.", "30", "number",
          least=0),
    Input("audit-require-rotation", "Audit", "Whether AWS must rotate each of its secrets.", "false", "flag"),
    Input("audit-html", "Audit", "Write a page with a chart of ages to this file as well."),
    Input("ca-certificate", "Network", "A PEM certificate to trust besides the system's, for every store.",
          kind="lines"),
    Input("timeout-seconds", "Network", "How long the whole run may take, in seconds.", "120", "number"),
)

# fmt: on
BY_NAME: Mapping[str, Input] = {item.name: item for item in INPUTS}


class Settings:
    """The checked settings of one run; a name that is not in :data:`INPUTS` is a ``KeyError``."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        """Take the raw texts; what is absent or empty has its default. Check them with :meth:`problems` first."""
        given = values or {}
        for name in given:
            _ = BY_NAME[name]
        self._values = {
            item.name: (given.get(item.name, "") if item.kind == "secret" else given.get(item.name, "").strip())
            for item in INPUTS
        }

    def __getitem__(self, name: str) -> str:
        """Return the text of a setting, or its default. Secrets are not to be had this way."""
        item = BY_NAME[name]
        if item.kind == "secret":
            msg = f"{name} is a secret: use Settings.secret"
            raise TypeError(msg)
        return self._values[name] or item.default

    def given(self, name: str) -> bool:
        """Tell whether the setting was given a value that is not empty."""
        return bool(self._values[name].strip())

    def flag(self, name: str) -> bool:
        """Return a checked flag."""
        return self[name].lower() in _TRUE

    def number(self, name: str) -> int:
        """Return a checked whole number."""
        return int(self[name])

    def secret(self, name: str) -> Secret | None:
        """Return a secret setting, or None when it is not given."""
        text = self._values[name].strip()
        return Secret(text) if text else None

    def secrets(self) -> Iterable[Secret]:
        """Give every secret setting that was given, for the masks; a reference to one is none."""
        for item in INPUTS:
            secret = self.secret(item.name) if item.kind == "secret" else None
            if secret is not None and not _REFERENCE.match(self._values[item.name]):
                yield secret

    def problems(self) -> Iterable[Problem]:
        """Find every setting that cannot be read, without a look at what it is for."""
        for item in INPUTS:
            text = self._values[item.name]
            what = _wrong(item, text) if text else None
            if what:
                yield Problem(what[0], f"input {item.name}", what[1])

    def __repr__(self) -> str:
        """Name the settings that were given, without their values."""
        return f"Settings({', '.join(filter(self.given, self._values))})"


def _wrong(item: Input, text: str) -> tuple[str, str] | None:
    """Say what is wrong with the text of a setting and what would be right."""
    if item.kind == "flag" and text.lower() not in _TRUE + _FALSE:
        return f"{tame(text, 40)!r} is neither true nor false", f"Write true or false (default: {item.default})."
    if item.kind == "choice" and text not in item.choices:
        return f"{tame(text, 40)!r} is not one of {', '.join(item.choices)}", f"The default is {item.default}."
    if item.kind == "number" and not _is_number(text, item.least):
        return (
            f"{tame(text, 40)!r} is no whole number from {item.least} to {MAX_NUMBER}",
            f"The default is {item.default}.",
        )
    if item.kind == "address":
        return _wrong_address(text)
    return None


def _is_number(text: str, least: int) -> bool:
    """Tell whether a text is a whole number that a setting may have; the length first, for ``int`` has a limit."""
    return len(text) <= len(str(MAX_NUMBER)) and text.isascii() and text.isdigit() and least <= int(text) <= MAX_NUMBER


def _wrong_address(text: str) -> tuple[str, str] | None:
    """Say why an address cannot be used: https, or http to loopback, with a host and without a user."""
    remedy = "Write it like https://vault.example.com:8200; plain http is for 127.0.0.1 and localhost alone."
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return "it is no address", remedy
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return f"{tame(text.rsplit('@', maxsplit=1)[-1], 80)!r} is no https address", remedy
    if parts.username is not None or parts.password is not None:
        return "an address must hold no user and no password", remedy
    # Readers of URLs do not agree on where the host ends when there is a backslash (WHATWG URL against RFC 3986).
    if any(char in "?#\\" or char.isspace() or not char.isprintable() for char in text):
        return "an address must hold no query, fragment, backslash or white space", remedy
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        return f"plain http to {tame(parts.hostname, 80)} would show every secret to the network", remedy
    return None


def from_environment(environ: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Fill settings that were not given from the usual variables, for the command line and the library."""
    values = dict(given)
    for item in INPUTS:
        if not values.get(item.name, "").strip():
            text = next((environ[name] for name in item.variables if environ.get(name, "").strip()), "")
            if text:
                values[item.name] = text
    return values
