"""``imip-secrets cleanup``: what the step ``cleanup`` runs when the job ends, however it ends.

Ends the credentials that were made for the job, removes the files of values and
empties the variables. Whatever fails is said and stops nothing else; the job
keeps its result, for what it was to do is done.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, cast

from imip_secrets import libraries
from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError, Problem
from imip_secrets.foreign import tame
from imip_secrets.leases import could_not_revoke
from imip_secrets.runner import files, handover, surroundings
from imip_secrets.runner.report import counted
from imip_secrets.settings import Settings
from imip_secrets.stores import SCHEMES
from imip_secrets.stores.base import Context

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping, Sequence
    from typing import NoReturn

    from imip_secrets.document import Json
    from imip_secrets.runner.commands import Console
    from imip_secrets.runner.handover import Handover
    from imip_secrets.stores.base import KeepingModule

TITLE = "imip-secrets"
SECONDS = 20.0
"""How long the ends of all credentials may take together; each store's own limit is less."""


def main(environ: MutableMapping[str, str]) -> int:
    """Clean up after every step of the job; return 0.

    Args:
        environ: The process's own environment (``os.environ``). Ambient
            addresses and trust are taken out of it.

    """
    before = dict(environ)
    surroundings.neutralise(environ)
    temporary = Path(before.get("RUNNER_TEMP", ""))
    folders = list(handover.folders(temporary)) if temporary.is_absolute() else []
    found = [_read(folder) for folder in folders]
    notes = [note for note in found if not isinstance(note, str)]
    faults = [fault for fault in found if isinstance(fault, str)]
    # What takes no time comes first: this, too, can be interrupted.
    removed = sum(map(handover.values, folders))
    faults += filter(None, map(_remove, folders))
    kept = [each for note in notes for each in note.kept]
    try:
        libraries.provide(("runner", *sorted({SCHEMES[scheme].libraries for scheme, _ in kept})), environ)
    except ImipError as error:
        for fault in (str(error), *faults):
            print(f"::warning title={TITLE}::{tame(fault, 2000).replace('%', '%25')}")  # noqa: T201 - as the action does
        sys.stdout.flush()
        return 0
    from imip_secrets.runner.commands import Console  # noqa: PLC0415 - its library is importable only now

    console = Console()
    emptied = dict.fromkeys(name for note in notes for name in note.names)
    faults += _empty(emptied, before)
    for fault in faults:
        console.warning(fault, TITLE)
    ended = _end_all(kept, console)
    counts = ((ended, "lease"), (len(emptied), "variable"), (removed, "file"))
    revoked, variables, values = (counted(number, noun) for number, noun in counts)
    console.say(f"Cleaned up: {revoked} revoked, {variables} emptied, {values} removed.")
    return 0


def _read(folder: Path) -> Handover | str:
    """Return what a step of the job has left, or why it cannot be read."""
    try:
        return handover.read(folder)
    except (ImipError, ValueError):  # the latter's text may hold what is in the note
        return f"What a step has left in {folder.name} cannot be read, so nothing of it is revoked."


def _remove(folder: Path) -> str:
    """Remove a folder; return what went wrong, or ""."""
    try:
        handover.remove(folder)
    except OSError as error:
        return f"{tame(folder)} cannot be removed: {tame(error.strerror or 'unknown reason')}."
    return ""


def _empty(names: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """Empty variables, for the steps that come after this one: the last steps of other actions."""
    path = environ.get("GITHUB_ENV")
    if not path or not names:
        return []
    try:
        files.replace(Path(path), files.block((name, "") for name in names))
    except ImipError as error:
        return [str(error)]
    return []


def _end_all(kept: Sequence[tuple[str, dict[str, Json]]], console: Console) -> int:
    """End all credentials at once; return how many leases that were."""
    if not kept:
        return 0
    context = Context(Settings(), _no_id_token, console.protect, console.say, Deadline(SECONDS))
    threads = ThreadPoolExecutor(len(kept), "imip-secrets-end")
    work = [threads.submit(_end, scheme, record, context) for scheme, record in kept]
    threads.shutdown(wait=False)
    done, hanging = wait(work, SECONDS)
    ended = 0
    for future in done:
        leases, fault = future.result()
        ended += leases
        if fault:
            console.warning(fault, TITLE)
    if hanging:
        console.warning(f"Credentials could not be revoked in {SECONDS:g} s: they end by themselves.", TITLE)
    return ended


def _end(scheme: str, record: dict[str, Json], context: Context) -> tuple[int, str]:
    """End the credentials of one login; return how many leases that were, and what went wrong."""
    try:
        kept = cast("KeepingModule", SCHEMES[scheme].load()).resume(record, context)
        fault = kept.end()
    except ImipError as error:
        return 0, could_not_revoke(str(error), "")
    except Exception as error:  # noqa: BLE001 - one that nobody foresaw, whose text may hold a credential
        return 0, could_not_revoke(type(error).__name__, "")
    if fault:
        return 0, could_not_revoke(fault, kept.what)
    if not kept.leases:
        # Noted beforehand, by a step that never came to note what it had got.
        title = SCHEMES[scheme].title
        context.notice(
            f"{title}: a step was killed while it got credentials; its login is revoked, and all of them too."
        )
    return kept.leases, ""


def _no_id_token(_: str) -> NoReturn:
    raise ImipError(Problem("nobody logs in to clean up"))
