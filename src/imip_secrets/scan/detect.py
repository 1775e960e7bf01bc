"""What looks like a secret and was never in a store: Yelp's detect-secrets, behind this adapter.

Its plugins and filters are used as they come, with the comments that allow a
line (``pragma: allowlist secret``). It asks nobody whether what it found is
good: that would send a secret to where it may not belong.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError
from imip_secrets.scan.automaton import missing

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

# It reads a file as a whole, and takes its time.
SIZE_LIMIT = 8 * 1024 * 1024


class Detector:
    """Looks at files, within a ``with``; one at a time in a process, since its settings are the process's."""

    def __init__(self) -> None:
        """Import nothing yet."""
        self._settings = ExitStack()

    def __enter__(self) -> Self:
        """Set it up."""
        import logging  # noqa: PLC0415 - the library's set may be installed late
        import warnings  # noqa: PLC0415 - the same

        shown = warnings.showwarning
        try:
            from detect_secrets.core.log import log  # noqa: PLC0415 - the same
            from detect_secrets.settings import default_settings  # noqa: PLC0415 - the same
        except ImportError:
            raise ImipError(missing("detect-secrets")) from None
        # It takes over the warnings of the process, and would speak to standard error by itself.
        logging.captureWarnings(capture=False)
        warnings.showwarning = shown
        log.disabled = True
        self._settings.enter_context(default_settings())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the process's settings as they were."""
        self._settings.close()

    def look(self, path: Path) -> list[tuple[int, str]]:
        """Return the lines of a text file that hold what looks like a secret, with the kinds of it."""
        from detect_secrets.core.scan import scan_file  # noqa: PLC0415 - see above

        kinds: dict[int, dict[str, None]] = {}
        for found in scan_file(str(path)):
            kinds.setdefault(found.line_number, {})[found.type] = None
        return [(line, ", ".join(its)) for line, its in sorted(kinds.items())]
