"""A model of GitHub's runner: what it does with a step's output and with the files a step writes.

Written from the rules of actions/runner 2.336 (named beside each one), not
from its code. It is the oracle of this project's tests: what this model shows
in the clear, a reader of the log would see.
"""

from __future__ import annotations

from runner_model.commands import Command, parse
from runner_model.env_file import EnvFileError, parse_env_file
from runner_model.log import Log
from runner_model.masker import Masker

__all__ = ["Command", "EnvFileError", "Log", "Masker", "parse", "parse_env_file"]
