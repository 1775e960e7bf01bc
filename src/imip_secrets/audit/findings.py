"""What an audit found, and what of it is against the rules."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.foreign import tame
from imip_secrets.stores import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imip_secrets.stores.describing.facts import Facts


class Reader(NamedTuple):
    """Somebody who read a secret.

    Args:
        who: As the log names it.
        times: How often.
        last: When last.
        denied: How many of the times were refused.

    """

    who: str
    times: int
    last: datetime
    denied: int


class Secret(NamedTuple):
    """One secret of a store.

    Args:
        scheme: The store.
        path: Its path there.
        facts: What the store tells, or None where it does not.
        readers: Who read it in the days that were looked at; empty also where no log was.

    """

    scheme: str
    path: str
    facts: Facts | None
    readers: tuple[Reader, ...] = ()

    @property
    def shown(self) -> str:
        """The secret for people."""
        return f"{self.scheme}://{tame(self.path, 120)}"

    @property
    def store(self) -> str:
        """The store for people."""
        return SCHEMES[self.scheme].title

    def age(self, now: datetime) -> timedelta | None:
        """Return how old the current value is, or None when that is not known."""
        changed = self.facts.changed if self.facts else None
        return now - changed if changed else None


class Rules(NamedTuple):
    """What is asked of the secrets.

    Args:
        max_age: How old a value may be, or None.
        max_unused: How long a secret may go unread, or None.
        rotation: Whether each secret of a store that can rotate by itself must be rotated by it.

    """

    max_age: timedelta | None = None
    max_unused: timedelta | None = None
    rotation: bool = False


class Audit(NamedTuple):
    """All that was found.

    Args:
        secrets: Of the stores.
        breaches: What is against the rules, a sentence each.
        unseen: What could not be seen, and why.
        cost: What AWS asks for them in a month, in dollars, or None where there is nothing of AWS.
        days: How many days back it was looked who read them.
        at: When.

    """

    secrets: tuple[Secret, ...]
    breaches: tuple[str, ...]
    unseen: tuple[str, ...]
    cost: float | None
    days: int
    at: datetime


def judge(secrets: Iterable[Secret], rules: Rules, now: datetime | None = None) -> Iterator[str]:
    """Name each secret that breaks a rule, and what to do."""
    moment = now or datetime.now(timezone.utc)
    for secret in secrets:
        yield from _judged(secret, rules, moment)


def _judged(secret: Secret, rules: Rules, now: datetime) -> Iterator[str]:
    age = secret.age(now)
    if rules.max_age and age is not None and age >= rules.max_age:
        yield (
            f"{secret.shown} is {age.days} days old, older than {rules.max_age.days}. Rotate it: imip-secrets rotate "
            f"{_quoted(f'{secret.shown}#KEY')}."
        )
    if secret.facts is None:
        return
    accessed = secret.facts.accessed or max((reader.last for reader in secret.readers), default=None)
    if rules.max_unused and accessed is not None and now - accessed >= rules.max_unused:
        yield (
            f"{secret.shown} was read last {(now - accessed).days} days ago. Delete it if nobody needs it: what is not "
            "there cannot leak."
        )
    if rules.rotation and secret.facts.rotation is False:
        how = "imip-secrets rotate --managed --rotation-lambda ARN"
        yield f"{secret.shown} is not rotated by its store. Set it up: {how}."


def _quoted(text: str) -> str:
    """Return a word that a shell takes as it is, whatever a store calls its secrets."""
    return "'" + text.replace("'", "'\\''") + "'"
