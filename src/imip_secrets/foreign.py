"""Text that somebody else wrote: error bodies, names and versions from a store.

The runner reads commands out of what a step prints: ``::name::`` at the start
of a line and ``##[name]`` anywhere in it (actions/runner
``Runner.Common/ActionCommand.cs``). A store must not be able to speak to the
runner through us, nor to fill the log.
"""

from __future__ import annotations

LIMIT = 300


def tame(text: object, limit: int = LIMIT) -> str:
    """Return foreign text as one harmless line of at most ``limit`` characters, for the log.

    As :func:`flatten` makes it, and with ``::`` and ``##[`` broken up.
    """
    flat = _flat(text, limit)
    # A zero-width break would vanish when copied; a visible one is honest.
    flat = flat.replace("##[", "## [")
    while "::" in flat:
        flat = flat.replace("::", ": :")
    return _cut(flat, limit)


def flatten(text: object, limit: int = LIMIT) -> str:
    """Return foreign text as one line of at most ``limit`` characters, for where nobody looks for commands.

    Control, format and line-separating characters, and halves of characters
    (lone surrogates, which nothing can print), become spaces (runs of white
    space become one), and what is too long is cut with an ellipsis.
    """
    return _cut(_flat(text, limit), limit)


def harmless(line: str, limit: int) -> str:
    """Return a line of our own, whose foreign parts are tamed, as the last thing before it is printed.

    Nothing in it is a command to the runner: ``::name::`` counts at the start
    of a line, white space apart, and ``##[name]`` anywhere. Elsewhere ``::``
    stays, as in an ARN.
    """
    plain = "".join(char if char.isprintable() else " " for char in line[:limit]).rstrip().replace("##[", "## [")
    if plain.lstrip().startswith("::"):
        plain = plain.replace("::", ": :", 1)
    return f"{plain}…" if len(line) > limit else plain


def _flat(text: object, limit: int) -> str:
    raw = str(text)[: limit * 8]
    return " ".join("".join(char if char.isprintable() else " " for char in raw).split())


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
