"""ID tokens that somebody hands us: those of GitLab, and of every system that has no endpoint like GitHub's.

``IMIP_ID_TOKEN`` is a token, ``IMIP_ID_TOKEN_FILE`` the file that one is in,
and ``IMIP_ID_TOKEN_COMMAND`` prints one for ``{audience}``. Each may have
further words behind it (``IMIP_ID_TOKEN_AWS``, ``IMIP_ID_TOKEN_FILE_VAULT``),
as many as there are stores: which token is for whom stands in its claim
``aud``, so the words are for people alone.

They count on the command line and in the library, never in the action, where
an earlier step could set them and so have the job log in as somebody else.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.identity import CLOCK_SECONDS, IdToken, claims_of, is_jwt
from imip_secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imip_secrets.deadline import Deadline
    from imip_secrets.identity import IdTokenSource

VARIABLE = "IMIP_ID_TOKEN"
FILE = "IMIP_ID_TOKEN_FILE"
COMMAND = "IMIP_ID_TOKEN_COMMAND"
# In the words of the command, the audience that a token is wanted for.
PLACEHOLDER = "{audience}"
COMMAND_SECONDS = 30.0
# GitLab's tokens have some 2 KiB.
LIMIT = 64 * 1024

# Some 30,000 years from now. JSON has larger numbers than a float, and Python reads Infinity and NaN from it.
_NO_TIME = 1e12

_FOR_GITLAB = f"In GitLab: id_tokens: {{{VARIABLE}: {{aud: THE AUDIENCE}}}}."


class _Given(NamedTuple):
    """What one of the variables gave: a token, or why it gave none."""

    name: str
    token: IdToken | None = None
    flaw: str = ""

    def is_for(self, audience: str) -> bool:
        return self.token is not None and audience in _audiences(self.token)

    def end(self) -> float:
        """Return when the token ends; of one that does not say so, or says no time, the store is to judge."""
        end = self.token.claims.get("exp") if self.token else None
        return float(end) if isinstance(end, (int, float)) and abs(end) < _NO_TIME else float("inf")

    def describe(self) -> str:
        if self.token is None:
            return f"{self.name} {self.flaw}"
        return f"{self.name} is for {tame(', '.join(_audiences(self.token)) or 'no audience', 120)}"


def is_ours(name: str) -> bool:
    """Tell whether a variable is one of these."""
    return name == VARIABLE or name.startswith(f"{VARIABLE}_")


def source(environ: Mapping[str, str], deadline: Deadline, protect: Callable[[Secret], None]) -> IdTokenSource | None:
    """Return the function that gives the token for an audience, or None where nobody hands us any.

    Nothing is read or started before that function is called, and then anew
    each time: a file may have been renewed.

    Args:
        environ: Holds the variables.
        deadline: The end of the run; the command has no longer than that.
        protect: Hides a token; called with each before anybody else has it.

    The function raises ``ImipError`` with one problem.

    """
    if not any(is_ours(name) and environ[name].strip() for name in environ):
        return None

    def id_token(audience: str) -> IdToken:
        given = list(_given(environ, protect))
        fitting = [each for each in given if each.is_for(audience)]
        best = max(fitting, key=_Given.end, default=None)
        if best and best.token and best.end() + CLOCK_SECONDS >= time.time():
            return best.token
        command = environ.get(COMMAND, "").strip()
        if command:
            return _of_command(command, audience, deadline, protect)
        raise ImipError(_over(best) if best else _none_for(audience, given))

    return id_token


def _problem(what: str, remedy: str) -> Problem:
    return Problem(what, "ID token", remedy)


def _audiences(token: IdToken) -> list[str]:
    audiences = token.claims.get("aud")
    return [str(each) for each in (audiences if isinstance(audiences, list) else [audiences]) if each is not None]


def _given(environ: Mapping[str, str], protect: Callable[[Secret], None]) -> Iterator[_Given]:
    """Read every token there is, in the order of the names of the variables."""
    for name in sorted(filter(is_ours, environ)):
        text = environ[name].strip()
        if not text or name == COMMAND:
            continue
        if name == FILE or name.startswith(f"{FILE}_"):
            try:
                with open(text, encoding="utf-8") as file:  # noqa: PTH123  # as in runner/id_token.py
                    text = file.read(LIMIT).strip()
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
                yield _Given(name, flaw=f"names a file that cannot be read ({tame(reason, 80)})")
                continue
        token = _read(text, protect)
        yield _Given(name, token, "" if token else "holds no ID token (a JWT: three parts with dots between)")


def _read(text: str, protect: Callable[[Secret], None]) -> IdToken | None:
    """Take a text as a token; None if it is none."""
    if not is_jwt(text):
        return None
    secret = Secret(text)
    protect(secret)
    claims = claims_of(secret)
    return None if claims is None else IdToken(secret, claims)


def _of_command(command: str, audience: str, deadline: Deadline, protect: Callable[[Secret], None]) -> IdToken:
    """Have the command make a token for this audience."""
    printed = _output(command, audience, deadline)
    token = _read(printed, protect)
    if token is None:
        raise ImipError(_problem(f"{COMMAND} printed no ID token", "Let it print the token (a JWT) and nothing else."))
    given = _Given(COMMAND, token)
    if not given.is_for(audience):
        what = f"{COMMAND} printed a token for {tame(', '.join(_audiences(token)) or 'no audience', 120)}"
        raise ImipError(_problem(f"{what}, asked for was {tame(audience, 120)}", f"Give it {PLACEHOLDER} to ask for."))
    if given.end() + CLOCK_SECONDS < time.time():
        raise ImipError(_over(given))
    return token


def _output(command: str, audience: str, deadline: Deadline) -> str:
    """Run the command without a shell; return what it prints. What it says besides goes where ours goes."""
    remedy = f"{COMMAND} is run without a shell, like: sh -c 'COMMAND | COMMAND'."
    limit = deadline.at_most(COMMAND_SECONDS)
    try:
        words = [word.replace(PLACEHOLDER, audience) for word in shlex.split(command, posix=os.name == "posix")]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=limit, check=False)
    except ValueError as error:
        raise ImipError(_problem(f"{COMMAND} cannot be read: {tame(error, 80)}", remedy)) from None
    except OSError as error:
        raise ImipError(_problem(f"{COMMAND} cannot be started: {tame(error.strerror, 80)}", remedy)) from None
    except subprocess.TimeoutExpired:
        raise ImipError(_problem(f"{COMMAND} did not end within {limit:.0f} s", "Run it by hand.")) from None
    if done.returncode:
        what = f"{COMMAND} failed (status {done.returncode})"
        raise ImipError(_problem(what, "Run it by hand; what it said stands above."))
    return done.stdout[:LIMIT].decode("utf-8", "replace").strip()


def _none_for(audience: str, given: list[_Given]) -> Problem:
    what = f"there is none for the audience {tame(audience, 120)}: {'; '.join(each.describe() for each in given)}"
    return _problem(
        what,
        "Have one made for that audience, or name the audience of yours (aws-audience, vault-audience, "
        f"azure-audience). {_FOR_GITLAB}",
    )


def _over(given: _Given) -> Problem:
    minutes = max(1, round((time.time() - given.end()) / 60))
    return _problem(
        f"the token of {given.name} ended {minutes} min ago, by the clock of this machine",
        f"Read secrets early in the job, have a fresh token made by {COMMAND}, or let tokens live longer.",
    )
