"""A step's output on its way to the log: ``ActionCommandManager.cs``, ``OutputManager.cs``, ``ExecutionContext.cs``."""

from __future__ import annotations

import codecs
import io
import re
from typing import TYPE_CHECKING

from runner_model.commands import WHITE_SPACE, Command, parse
from runner_model.env_file import EnvFileError, parse_env_file
from runner_model.masker import Masker, units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ISSUES = ("error", "warning", "notice")
ISSUE_LIMIT = 4096
SUMMARY_LIMIT = 1024 * 1024
STOP_TOKEN_MASKED_ABOVE = 6
REFUSED = "NODE_OPTIONS"
# The commands whose line is never echoed, because it may hold a value.
NEVER_ECHOED = ("add-mask", "debug", *ISSUES)
DISABLED = ("set-env", "add-path")


def _line_decoder() -> io.IncrementalNewlineDecoder:
    """Read as .NET's StreamReader.ReadLine does: CR, LF and CRLF end a line, bad bytes become U+FFFD."""
    return io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)


class CommandError(Exception):
    """A command that the runner takes for one and cannot carry out: the step fails."""


class Log:
    """The log of a job as a person reads it, and what the steps changed by their commands and files.

    Attributes:
        lines: The masked lines, in order. One issue may give several lines in one item.
        commands: The commands that the runner carried out.
        issues: Annotations, as (kind, masked text).
        environment: What ``GITHUB_ENV`` set.
        outputs: What ``GITHUB_OUTPUT`` and ``set-output`` set.
        state: What ``GITHUB_STATE`` and ``save-state`` set.
        failed: Whether a command or a file made the step fail.

    """

    def __init__(self, *, windows: bool = False, debug: bool = False) -> None:
        """Start a job; with ``debug`` as if ``ACTIONS_STEP_DEBUG`` were set, which also echoes commands."""
        self.masker = Masker()
        self.lines: list[str] = []
        self.commands: list[Command] = []
        self.issues: list[tuple[str, str]] = []
        self.environment: dict[str, str] = {}
        self.outputs: dict[str, str] = {}
        self.state: dict[str, str] = {}
        self.failed = False
        self._windows = windows
        self._debug = debug
        self._echo = debug
        self._stop_token = ""
        self._rest = ""
        self._decoder = _line_decoder()

    @property
    def text(self) -> str:
        """The whole log as a person reads it."""
        return "\n".join(self.lines)

    def feed(self, data: bytes) -> Log:
        """Take bytes of standard output; a line counts when it has ended. Returns itself."""
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        for line in lines:
            self._line(line)
        return self

    def end_step(self) -> Log:
        """Take the last line, and print what the runner prints before the next step: its environment."""
        *lines, last = (self._rest + self._decoder.decode(b"", final=True)).split("\n")
        for line in [*lines, last] if last else lines:
            self._line(line)
        self._start_step()
        if self.environment:
            self._print("env:")
            for name, value in self.environment.items():
                self._print(f"  {name}: {value}")
        return self

    def apply_env(self, data: bytes) -> None:
        """Take the bytes of ``GITHUB_ENV``: pairs before a bad one are applied, then the step fails."""
        self._apply(data, "env", self._set_env)

    def apply_output(self, data: bytes) -> None:
        """Take the bytes of ``GITHUB_OUTPUT``."""
        self._apply(data, "output", self._set_output)

    def apply_state(self, data: bytes) -> None:
        """Take the bytes of ``GITHUB_STATE``."""
        self._apply(data, "state", self._set_state)

    def summary(self, data: bytes) -> str | None:
        """Return the job summary as a person reads it, or None if it is not shown: empty, or over 1 MiB."""
        if len(data) > SUMMARY_LIMIT:
            self._issue("error", "$GITHUB_STEP_SUMMARY upload aborted")
        if not data or len(data) > SUMMARY_LIMIT:
            return None
        lines = re.split("\r\n|\r|\n", data.decode("utf-8", "replace"))
        return "\n".join(self.masker.mask(line) for line in lines)

    def job_outputs(self, outputs: Mapping[str, str]) -> dict[str, str]:
        """Return the job outputs that reach other jobs: none that is empty or holds a mask (``JobExtension.cs``)."""
        kept = {}
        for name, value in outputs.items():
            if self.masker.mask(value) != value:
                self._issue("warning", f"Skip output '{name}' since it may contain secret.")
            elif value:
                kept[name] = value
        return kept

    def _start_step(self) -> None:
        """Forget what belongs to one step: half a line, and stopped commands."""
        self._rest = ""
        self._decoder = _line_decoder()
        self._stop_token = ""

    def _line(self, line: str) -> None:
        registered = {*_HANDLERS, "stop-commands", *([self._stop_token.lower()] if self._stop_token else [])}
        command = parse(line, registered)
        if command is None or not self._process(command, line):
            # The runner breaks its own markers when a program prints them.
            self._print(
                line.replace("##[start-action", "##[\\start-action").replace("##[end-action", "##[\\end-action")
            )

    def _process(self, command: Command, line: str) -> bool:
        """Carry out a command; False when commands are stopped, so that the line is printed as it stands."""
        if self._stop_token:
            if command.name != self._stop_token.lower():
                return False
            self._stop_token = ""
            self._print(line)
            return True
        self.commands.append(command)
        if self._echo and command.name not in NEVER_ECHOED:
            self._print(line)
        try:
            if command.name == "stop-commands":
                self._stop(command, line)
            else:
                _HANDLERS[command.name](self, command)
        except CommandError as error:
            shown = command.name if command.name in NEVER_ECHOED else line
            self._issue("error", f"Unable to process command '{shown}' successfully.")
            self._issue("error", str(error))
            self.failed = True
        return True

    def _stop(self, command: Command, line: str) -> None:
        token = command.data
        if token.lower() in {"", "pause-logging", "stop-commands", *_HANDLERS}:
            msg = "You cannot use a endToken that is an empty string, 'pause-logging', or another workflow command."
            raise CommandError(msg)
        self._stop_token = token
        if units(token) > STOP_TOKEN_MASKED_ABOVE:
            self.masker.add(token)
        self._print(line)

    def _add_mask(self, command: Command) -> None:
        if not command.data.strip(WHITE_SPACE):
            self._issue("warning", "Can't add secret mask for empty string in ##[add-mask] command.")
            return
        if self._echo:
            self._print("::add-mask::***")
        self.masker.add(command.data)
        for line in re.split("[\r\n]", command.data):
            self.masker.add(line.strip(WHITE_SPACE))

    def _annotate(self, command: Command) -> None:
        self._issue(command.name, command.data)

    def _group(self, command: Command) -> None:
        self._print(f"##[{command.name}]{command.data if command.name == 'group' else ''}")

    def _print_debug(self, command: Command) -> None:
        self._say_debug(command.data)

    def _set_echo(self, command: Command) -> None:
        choice = command.data.strip(WHITE_SPACE).upper()
        if choice not in {"ON", "OFF"}:
            msg = f"Invalid echo command value. Possible values can be: 'on', 'off'. Current value is: {command.data}"
            raise CommandError(msg)
        self._echo = choice == "ON"

    def _refuse(self, command: Command) -> None:
        msg = f"The `{command.name}` command is disabled."
        raise CommandError(msg)

    def _named(self, command: Command) -> None:
        name = command.properties.get("name", "")
        if not name:
            msg = f"Required field 'name' is missing in ##[{command.name}] command."
            raise CommandError(msg)
        (self._set_output if command.name == "set-output" else self._set_state)(name, command.data)

    def _match(self, command: Command) -> None:
        """Problem matchers change how later lines are read; that a step could do so is all we need to know."""

    def _apply(self, data: bytes, kind: str, put: Callable[[str, str], None]) -> None:
        try:
            for name, value in parse_env_file(data, windows=self._windows):
                put(name, value)
        except (EnvFileError, CommandError) as error:
            self._issue("error", f"Unable to process file command '{kind}' successfully.")
            self._issue("error", str(error))
            self.failed = True

    def _set_env(self, name: str, value: str) -> None:
        if name.upper() == REFUSED:
            self._issue("error", f"Can't store {REFUSED} output parameter using '$GITHUB_ENV' command.")
            return
        if not name:
            msg = "Value cannot be null or empty. (Parameter 'name')"
            raise CommandError(msg)
        for known in [known for known in self.environment if self._windows and known.lower() == name.lower()]:
            name = known
        self.environment[name] = value
        self._say_debug(f"{name}='{value}'")

    def _set_output(self, name: str, value: str) -> None:
        self.outputs[name] = value
        self._say_debug(f"Set output {name} = {value}")

    def _set_state(self, name: str, value: str) -> None:
        self.state[name] = value
        self._say_debug(f"Save intra-action state {name} = {value}")

    def _issue(self, kind: str, text: str) -> None:
        # Masked, then cut, then masked again when printed.
        shown = self.masker.mask(text)[:ISSUE_LIMIT]
        self.issues.append((kind, shown))
        self._print(f"##[{kind}]{shown}")

    def _say_debug(self, text: str) -> None:
        if self._debug:
            for line in text.replace("\r\n", "\n").split("\n"):
                self._print(f"##[debug]{line}")

    def _print(self, text: str) -> None:
        self.lines.append(self.masker.mask(text))


_HANDLERS: dict[str, Callable[[Log, Command], None]] = {
    "add-mask": Log._add_mask,
    "add-matcher": Log._match,
    "remove-matcher": Log._match,
    "debug": Log._print_debug,
    "echo": Log._set_echo,
    "group": Log._group,
    "endgroup": Log._group,
    "save-state": Log._named,
    "set-output": Log._named,
    **dict.fromkeys(ISSUES, Log._annotate),
    **dict.fromkeys(DISABLED, Log._refuse),
}
