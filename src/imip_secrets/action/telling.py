"""What every mode says in the same way: failures, in the log and in the job summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets.errors import ImipError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imip_secrets.errors import Problem
    from imip_secrets.runner.commands import Console

TITLE = "imip-secrets"


class Teller(NamedTuple):
    """Speaks to the person who reads the log and the summary.

    Args:
        console: The log.
        environ: Names the file of the summary.
        nothing: What a failure means, as in "Nothing was exported".

    """

    console: Console
    environ: Mapping[str, str]
    nothing: str

    def fail(self, problems: Sequence[Problem]) -> None:
        """Say everything that is wrong."""
        from imip_secrets.runner import report  # noqa: PLC0415 - only a failure needs it here

        for problem in problems:
            self.console.error(str(problem), TITLE)
        self.console.say(f"{self.nothing}: {report.counted(len(problems), 'problem')}.")
        self.summarise(report.failure(problems, self.console.hide, self.nothing))

    def fault(self, problem: Problem) -> None:
        """Show one thing that is wrong, where the rest has come about."""
        self.console.error(str(problem), TITLE)

    def warn(self, text: str) -> None:
        """Show a line that stands out, though nothing has failed."""
        self.console.warning(text, TITLE)

    def summarise(self, markdown: str) -> None:
        """Add to the job summary; that it cannot be written is no reason to fail a job that has its secrets."""
        from imip_secrets.runner import files  # noqa: PLC0415 - with what calls this

        path = self.environ.get("GITHUB_STEP_SUMMARY")
        if not path:
            return
        try:
            files.summary(Path(path), markdown)
        except ImipError as error:
            self.warn(str(error))
