"""``imip-secrets doctor``: the same request, step by step, and no value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.cli.options import REFERENCES, add_request, read_request
from imip_secrets.cli.terminal import LINE, complain, context, job_console
from imip_secrets.doctor import examine
from imip_secrets.foreign import harmless
from imip_secrets.runner import delivery

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

USAGE = "[options] REFERENCE ..."
EPILOG = f"""{REFERENCES}
examples:
  imip-secrets doctor --aws-region us-east-1 aws://imip/production
"""

add = add_request


def main(options: argparse.Namespace, _child: Sequence[str]) -> int:
    """Say what comes of each step; return 1 if something would keep a run from its end."""
    wanted = read_request(options)
    problems = examine(
        wanted,
        context(wanted.settings, job_console()),
        lambda line: print(harmless(line, LINE), flush=True),
        delivery.unfit,
    )
    complain(problems)
    return 1 if problems else 0
