"""GitHub's rate limits: counted always, enforced when a test asks for it.

What docs.github.com says ("Rate limits for the REST API"): 5,000 requests an hour
for a token; 900 points a minute, of which a GET takes one and a write five; 100
requests at once. Which sixty seconds a minute is, GitHub does not say; here it is
any sixty, which is the strictest reading. A client that is over the secondary
limit is refused for a minute, and everything that it sends meanwhile is refused.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HOUR = 3600
PRIMARY_DOCS = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"
SECONDARY_DOCS = f"{PRIMARY_DOCS}#about-secondary-rate-limits"
PRIMARY_MESSAGE = (
    "API rate limit exceeded for user ID 583231. "
    "If you reach out to GitHub Support for help, please include the request ID E2E1:1F4A:1B2C3D:2C3D4E:6A7B8C9E."
)
SECONDARY_MESSAGE = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. "
    "If you reach out to GitHub Support for help, please include the request ID E2E1:1F4A:1B2C3D:2C3D4E:6A7B8C9D."
)


def points_of(method: str) -> int:
    """Tell what a request costs."""
    return 1 if method in {"GET", "HEAD", "OPTIONS"} else 5


@dataclass(frozen=True, slots=True)
class Exceeded(Exception):  # noqa: N818 - the word of GitHub's message
    """A request that was one too many.

    Args:
        message: What GitHub says.
        docs: The page that it names.
        retry_after: How long the client must wait, or None for the primary limit.

    """

    message: str
    docs: str
    retry_after: int | None


@dataclass(slots=True)
class Window:
    """What one token has used."""

    used: int = 0
    resets: float = 0.0
    recent: deque[tuple[float, int]] = field(default_factory=deque)
    points: int = 0
    blocked_until: float = 0.0


@dataclass(slots=True)
class Limits:
    """The limits, which a test may set.

    Args:
        enforced: Whether a request too many is refused.
        hourly: Requests an hour for each token: the primary limit.
        points: Points in any sixty seconds for each token.
        seconds: How many seconds the points are counted over.
        concurrent: Requests at once, over all tokens.
        status: What a refusal is: 403, or 429.
        retry_after: Whether a refusal by the secondary limit says how long to wait.
        headers: Whether answers carry ``x-ratelimit-*``; GitHub Enterprise Server's do not, by default.

    """

    enforced: bool = False
    hourly: int = 5000
    points: int = 900
    seconds: int = 60
    concurrent: int = 100
    status: int = 403
    retry_after: bool = True
    headers: bool = True
    refused: int = 0
    most_at_once: int = 0
    at_once: int = 0
    most_points: int = 0
    _windows: dict[str, Window] = field(default_factory=dict, repr=False)

    def window(self, token: str, now: float) -> Window:
        """Give what a token has used in the hour that is under way."""
        window = self._windows.setdefault(token, Window())
        if now >= window.resets:
            window.used, window.resets = 0, int(now) + HOUR
        return window

    def take(self, token: str, method: str, now: float) -> None:
        """Count a request.

        Raises:
            Exceeded: When it is one too many, and limits are enforced.

        """
        window = self.window(token, now)
        while window.recent and window.recent[0][0] <= now - self.seconds:
            window.points -= window.recent.popleft()[1]
        cost = points_of(method)
        if self.enforced:
            self._enforce(window, cost, now)
        window.used += 1
        window.recent.append((now, cost))
        window.points += cost
        self.most_points = max(self.most_points, window.points)

    def give_back(self, token: str, now: float) -> None:
        """Take a request off the primary limit, as GitHub does for a 304."""
        self.window(token, now).used -= 1

    def facts(self, token: str, now: float) -> Mapping[str, str]:
        """Give the headers that tell a client where it stands."""
        if not self.headers:
            return {}
        window = self.window(token, now)
        return {
            "x-ratelimit-limit": str(self.hourly),
            "x-ratelimit-remaining": str(max(0, self.hourly - window.used)),
            "x-ratelimit-used": str(window.used),
            "x-ratelimit-reset": str(int(window.resets)),
            "x-ratelimit-resource": "core",
        }

    def _enforce(self, window: Window, cost: int, now: float) -> None:
        if window.used >= self.hourly:
            self.refused += 1
            raise Exceeded(PRIMARY_MESSAGE, PRIMARY_DOCS, None)
        over = window.points + cost > self.points or self.at_once > self.concurrent
        if over and now >= window.blocked_until:
            window.blocked_until = now + self.seconds
        if now < window.blocked_until:
            self.refused += 1
            raise Exceeded(SECONDARY_MESSAGE, SECONDARY_DOCS, max(1, round(window.blocked_until - now)))
