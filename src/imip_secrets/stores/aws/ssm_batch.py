"""Parameters read in tens: ``GetParameters`` gives so many by one request.

The core says beforehand which targets it will fetch, and fetches each in a
thread of its own. So the batches are known before the first request: whichever
thread comes first to a batch reads it, the others of the batch wait for it.
Nothing is delayed to see whether more will come.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from imip_secrets.errors import StoreError
    from imip_secrets.stores.base import Found, Target

SIZE = 10
"""How many names ``GetParameters`` takes (Systems Manager: GetParameters, Names)."""

# Each target with what was found, or why it was not; a target that is not in it is to be read alone.
Outcomes = dict["Target", "Found | StoreError"]


class Batch:
    """Targets that one request reads.

    Args:
        targets: At most :data:`SIZE`, of one region, none with the path of another.

    """

    def __init__(self, targets: Sequence[Target]) -> None:
        """Wait for the first thread."""
        self.targets = targets
        self._outcomes: Future[Outcomes] = Future()
        self._lock = threading.Lock()
        self._begun = False

    def read(self, ask: Callable[[Sequence[Target]], Outcomes], seconds: float) -> Outcomes:
        """Return what came of the batch: asked for by the first who calls, and waited for by the others.

        Raises:
            StoreError: the request failed as a whole, in a way that reading one by one would not better.
            TimeoutError: the first is not done in so many seconds.

        """
        with self._lock:
            first, self._begun = not self._begun, True
        if first:
            try:
                self._outcomes.set_result(ask(self.targets))
            except BaseException as error:
                self._outcomes.set_exception(error)
                raise
        return self._outcomes.result(timeout=seconds)


def batches(targets: Iterable[Target], region_of: Callable[[Target], str]) -> list[Batch]:
    """Put targets into as few batches as there must be.

    One after the other goes into the next batch, so that threads that take
    targets in their order begin with as many batches as there are threads.
    """
    by_region: dict[tuple[str, int], list[Target]] = {}
    seen: dict[tuple[str, str], int] = {}
    for target in targets:
        # AWS refuses two versions of one parameter in one request: the second goes to a later round.
        place = (region_of(target), target.path)
        number = seen[place] = seen.get(place, 0) + 1
        by_region.setdefault((place[0], number), []).append(target)
    made: list[Batch] = []
    for group in by_region.values():
        count = -(-len(group) // SIZE)
        made += [Batch(group[first::count]) for first in range(count)]
    return made
