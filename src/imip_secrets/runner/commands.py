"""What we say to the runner: masks, annotations, groups and plain lines, by one writer.

The runner reads standard output and standard error as two queues, so that a
mask on one may come after the value on the other (actions/runner
``ProcessInvoker.cs``). Everything that the action prints therefore goes
through one :class:`Console`, in whole lines, flushed.

The format of a command is that of ``actions_toolkit.command``, which escapes
as the runner unescapes. The rest of that library is not used: it prints to a
text stream (with the code page of Windows, not flushed) and masks a value of
several lines as a whole, whose short lines then hide half the log.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from actions_toolkit.command import Command

from imip_secrets.foreign import harmless
from imip_secrets.secret import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from imip_secrets.secret import Secret

# Of one line. The runner itself cuts an annotation, all its lines together, at 4096.
LINE_LIMIT = 2000
_START = 4  # characters


class Console:
    """The one writer of the action's output; it may be used from several threads.

    Text is made harmless line by line: it can hold no command, no control
    character and none of the masks that went out here, whoever wrote it.
    Layout (indentation, tables) stays.
    """

    def __init__(self, stream: BinaryIO | None = None) -> None:
        """Write to a binary stream, standard output by default."""
        self._stream = sys.stdout.buffer if stream is None else stream
        self._lock = Lock()
        self._masks: dict[str, None] = {}
        # The masks by their first characters, so that a text is not searched for each of a hundred thousand.
        self._by_start: dict[str, list[str]] = {}

    def mask(self, lines: Iterable[str]) -> None:
        """Have the runner hide these texts in all that follows; when this returns they are out of our hands.

        Args:
            lines: Texts of one line each, as :func:`imip_secrets.runner.masks.forms` makes them.

        Raises:
            ValueError: one of them has several lines. The runner would hide each by itself, however short.

        """
        given = list(lines)
        if any("\n" in line or "\r" in line for line in given):
            msg = "a mask has one line"
            raise ValueError(msg)
        with self._lock:
            fresh = [line for line in dict.fromkeys(given) if line.strip() and line not in self._masks]
            self._masks.update(dict.fromkeys(fresh))
            self._by_start = _by_start(self._masks)
            self._write(_command("add-mask", line) for line in fresh)

    def protect(self, credential: Secret) -> None:
        """Have the runner hide a token, key or password of our own, whatever it looks like.

        Nobody encodes these but we, so the forms that the runner adds by itself will do.
        """
        self.mask(line.strip() for line in credential.reveal().splitlines())

    def hides(self, text: str) -> bool:
        """Tell whether the runner will hide a part of this text."""
        return bool(self._inside(text))

    def hide(self, text: str) -> str:
        """Return the text with ``***`` for every mask, for where the runner will not find them."""
        for mask in self._inside(text):
            text = text.replace(mask, HIDDEN)
        return text

    def _inside(self, text: str) -> list[str]:
        """Return the masks that stand in a text, longest first, so that none leaves a part of a longer one."""
        by_start = self._by_start  # another thread may put a new one in its place
        starts = {text[at : at + size] for size in range(1, _START + 1) for at in range(len(text))}
        found = [mask for start in by_start.keys() & starts for mask in by_start[start] if mask in text]
        return sorted(found, key=lambda mask: (-len(mask), mask))

    def say(self, text: str = "") -> None:
        """Print text, line by line."""
        self._send(self._harmless(text))

    def notice(self, text: str, title: str = "") -> None:
        """Print a notice, which is also shown on the run's page."""
        self._annotate("notice", text, title)

    def warning(self, text: str, title: str = "") -> None:
        """Print a warning, which is also shown on the run's page."""
        self._annotate("warning", text, title)

    def error(self, text: str, title: str = "") -> None:
        """Print an error, which is also shown on the run's page."""
        self._annotate("error", text, title)

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Fold what is printed within under a title."""
        self._send([_command("group", " ".join(self._harmless(title)))])
        try:
            yield
        finally:
            self._send([_command("endgroup")])

    def _annotate(self, kind: str, text: str, title: str) -> None:
        properties = {"title": " ".join(self._harmless(title))} if title else {}
        self._send([_command(kind, "\n".join(self._harmless(text)), properties)])

    def _harmless(self, text: str) -> list[str]:
        """Return the lines of a text, without masks and without a word to the runner."""
        return [harmless(line, LINE_LIMIT) for line in self.hide(text).splitlines()] or [""]

    def _send(self, lines: Iterable[str]) -> None:
        with self._lock:
            self._write(lines)

    def _write(self, lines: Iterable[str]) -> None:
        # One call, so that no other writer comes between; bytes, as the text stream has a code page on Windows.
        self._stream.write("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
        self._stream.flush()


def _by_start(masks: Iterable[str]) -> dict[str, list[str]]:
    index: dict[str, list[str]] = {}
    for mask in masks:
        index.setdefault(mask[:_START], []).append(mask)
    return index


def _command(name: str, data: str = "", properties: dict[str, str] | None = None) -> str:
    return str(Command(name, properties or {}, data))
