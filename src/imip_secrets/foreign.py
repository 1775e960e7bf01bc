"""Text that somebody else wrote: error bodies, names and versions from a store.

The runner reads commands out of what a step prints: ``::name::`` at the start
of a line and ``##[name]`` anywhere in it (actions/runner
``Runner.Common/ActionCommand.cs``). A store must not be able to speak to the
runner through us, nor to fill the log.
"""

from __future__ import annotations

LIMIT = 300


def tame(text: object, limit: int = LIMIT) -> str:
    """Return foreign text as one harmless line of at most ``limit`` characters.

    Control, format and line-separating characters, and halves of characters
    (lone surrogates, which nothing can print), become spaces (runs of white
    space become one), ``::`` and ``##[`` are broken up, and what is too long is
    cut with an ellipsis.
    """
    raw = str(text)[: limit * 8]
    flat = " ".join("".join(char if char.isprintable() else " " for char in raw).split())
    # A zero-width break would vanish when copied; a visible one is honest.
    flat = flat.replace("##[", "## [")
    while "::" in flat:
        flat = flat.replace("::", ": :")
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
