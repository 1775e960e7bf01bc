"""What AWS Secrets Manager asks for: $0.40 for a secret and month, $0.05 for ten thousand calls."""

from __future__ import annotations

PER_SECRET = 0.40
PER_TEN_THOUSAND_CALLS = 0.05
_DAYS_OF_A_MONTH = 30


def monthly(secrets: int, calls: int) -> float:
    """Return dollars a month.

    Args:
        secrets: How many there are.
        calls: How many calls of its API a month has.

    """
    return secrets * PER_SECRET + calls / 10_000 * PER_TEN_THOUSAND_CALLS


def calls_a_month(reads: int, days: int) -> int:
    """Scale what was seen in some days to a month."""
    return round(reads * _DAYS_OF_A_MONTH / days) if days else 0
