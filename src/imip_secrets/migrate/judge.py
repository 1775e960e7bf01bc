"""Which settings look like secrets, and which like plain configuration: by their names, and by the form of a value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imip_secrets.secret import Secret

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:secret|secrets|token|password|passwd|passphrase|pwd|pass|credential|credentials|apikey|dsn|salt|pepper|"
    r"private|signature|webhook|jwt|cert|pem|auth)(?:_|$)|(?:^|_)(?:api|access|secret|private|signing|encryption|master|"
    r"refresh|session|ssh|auth)_?keys?(?:_|$)|(?:^|_)key$",
    re.IGNORECASE,
)
_PLAIN_NAME = re.compile(
    r"(?:^|_)(?:public|publishable|port|host|hostname|debug|level|env|environment|timeout|region|name|version|enabled|"
    r"mode|path|dir|locale|timezone|tz|ttl|limit|size|count|workers)(?:_|$|_?key$)",
    re.IGNORECASE,
)
_URL_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
# The beginnings that services give their keys (GitHub, Stripe, OpenAI, Slack, AWS, Google, Vault, SendGrid, JWT).
_KNOWN = re.compile(
    r"gh[opsur]_|github_pat_|sk[-_]|rk_live|xox[abprs]-|AKIA|ASIA|AIza|hv[sb]\.|SG\.|eyJ[\w-]+\.eyJ|glpat-|npm_|"
    r"-----BEGIN [A-Z ]*PRIVATE KEY"
)
_RANDOM = re.compile(r"[A-Za-z0-9+/=_.-]{24,}")
_CLASSES = (re.compile(r"[a-z]"), re.compile(r"[A-Z]"), re.compile(r"[0-9]"))


def looks_secret(key: str, value: Secret) -> bool:
    """Tell whether a setting should be kept in a store.

    A guess, in favour of the store: a name that says so, a password in an
    address, the form of a well-known service's key, or long random text.
    """
    text = value.reveal()
    if not text:
        return False
    if _URL_WITH_PASSWORD.search(text) or _KNOWN.match(text):
        return True
    if _PLAIN_NAME.search(key) and not re.search(r"password|secret|token", key, re.IGNORECASE):
        return False
    is_random = bool(_RANDOM.fullmatch(text)) and all(each.search(text) for each in _CLASSES)
    return bool(_SECRET_NAME.search(key)) or is_random
