"""Trying again: what may pass, within the time of the run.

azure-core's own policy waits as long as a server asks for, an hour if need be,
on any refusal that says so (even on "denied"), and knows no deadline.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from azure.core.pipeline.policies import RetryPolicy

from imip_secrets.stores.azure.faults import Fault, busy

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.core.pipeline import PipelineRequest, PipelineResponse
    from azure.core.rest import HttpRequest, HttpResponse

    from imip_secrets.deadline import Deadline

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
MAX_RETRY_AFTER = 20.0
_BACKOFF, _MAX_BACKOFF = 0.5, 8.0
_SAY_AGAIN = 5.0


class Patience:
    """The deadline of the run, and the one line now and then that says what is being waited for. For many threads."""

    def __init__(self, deadline: Deadline, notice: Callable[[str], None]) -> None:
        """Start: the first line comes no earlier than after some seconds of trouble, unless a long wait is ahead."""
        self.deadline = deadline
        self._notice = notice
        self._said = time.monotonic()
        self._lock = threading.Lock()

    def wait(self, fault: Fault) -> bool:
        """Wait before the next try, with full jitter; return False, at once, when there is no time for it."""
        backoff = random.uniform(0, min(_MAX_BACKOFF, _BACKOFF * 2**fault.made))  # noqa: S311 - jitter
        seconds = max(min(fault.retry_after, MAX_RETRY_AFTER), backoff)
        if seconds < self.deadline.remaining() and self._is_due(seconds):
            self._notice(f"Azure: {fault.what}; try {fault.made + 1} follows in {seconds:.0f} s")
        return self.deadline.sleep(seconds)

    def _is_due(self, seconds: float) -> bool:
        """Tell whether who reads the log would otherwise wonder; one line serves every thread."""
        with self._lock:
            now = time.monotonic()
            if now + seconds - self._said < _SAY_AGAIN:
                return False
            self._said = now + seconds
            return True


class Retries(RetryPolicy["HttpRequest", "HttpResponse"]):
    """The place of azure-core's policy in a pipeline; each pipeline needs one of its own.

    What failed to the end is raised as a :class:`Fault`, whether it broke or was
    put off: the callers see no answer but one that another try would not better.
    """

    def __init__(self, patience: Patience) -> None:
        """Take what all pipelines share."""
        super().__init__()
        self._patience = patience

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        """Send until there is an answer, or no more hope or time.

        Raises:
            Fault: the last failure, with the number of tries.

        """
        # It also takes the caller's options off the request, which the transport would not know what to do with.
        self.configure_retries(request.context.options)
        made = 0
        while True:
            made += 1
            try:
                response = self.next.send(request)
            except Fault as failed:
                fault = failed
            else:
                status = response.http_response.status_code
                if status not in TRANSIENT:
                    return response
                fault = busy(request.http_request.url, status, self._asked_for(response))
            fault.made = made
            if made >= fault.tries or not self._patience.wait(fault):
                raise fault

    def _asked_for(self, response: PipelineResponse[HttpRequest, HttpResponse]) -> float:
        try:
            return self.get_retry_after(response) or 0.0
        except (ValueError, TypeError, OverflowError):
            return 0.0
