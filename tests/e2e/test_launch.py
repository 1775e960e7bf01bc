"""The step of ``action.yml``, run as the runner runs it, on machines that are odd, old or hostile.

The action under test is a copy of the checkout whose program is a probe: it
says where it is and what it can see, takes a library set, and exits.
"""

from __future__ import annotations

import ast
import hashlib
import http.server
import json
import os
import runpy
import shutil
import subprocess
import sys
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from release import bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
BASH = shutil.which("bash")
UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
GCC = shutil.which("gcc")
PYTHON = Path(os.path.realpath(sys.executable))
WHEEL = "probe-1.0-py3-none-any.whl"

pytestmark = [
    pytest.mark.skipif(BASH is None, reason="bash is not installed"),
    pytest.mark.skipif(sys.platform == "win32", reason="its programs and folders are laid out for POSIX"),
]

PROBE = """
import json, os, sys

def main(argv):
    from imip_secrets import libraries
    from imip_secrets.errors import ImipError
    try:
        libraries.provide(os.environ.get("PROBE_SETS", "").split(), os.environ)
    except ImipError as error:
        print("PROBLEM", error)
        return 1
    import ssl
    value = None
    if "probe" in os.environ.get("PROBE_SETS", ""):
        import probe
        value = probe.VALUE
    print("PROBE", json.dumps({
        "argv": argv, "cwd": os.getcwd(), "path": sys.path, "executable": sys.executable, "value": value,
        "flags": [sys.flags.isolated, sys.flags.no_site, sys.flags.utf8_mode],
        "version": sys.version_info[:2], "input": os.environ.get("INPUT_SECRETS"),
        "keys": os.environ.get("SSLKEYLOGFILE"),
    }))
    return 0

def run():
    sys.exit(main(sys.argv[1:]))
"""


class Index(http.server.ThreadingHTTPServer):
    """A package index that holds the wheel ``probe``, and counts who asks."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        index = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:  # noqa: ANN401 - socketserver's arguments
                super().__init__(*args, directory=str(folder))

            def log_message(self, *_args: object) -> None:
                index.asked.append(self.path)

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"


def serve(folder: Path) -> Iterator[Index]:
    with Index(folder) as index:
        thread = threading.Thread(target=index.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield index
        index.shutdown()
        thread.join()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    folder = tmp_path / "index" / "simple" / "probe"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("probe.py", "VALUE = 42\n")
        wheel.writestr("probe-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n")
        wheel.writestr("probe-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("probe-1.0.dist-info/RECORD", "")
    (folder / "index.html").write_text(f'<a href="{WHEEL}">{WHEEL}</a>')
    yield from serve(tmp_path / "index")


@pytest.fixture
def canary_index(tmp_path: Path) -> Iterator[Index]:
    (tmp_path / "canary").mkdir()
    yield from serve(tmp_path / "canary")


@dataclass
class Machine:
    """A machine with the action on it.

    Args:
        folder: Everything is below it.
        programs: What is on PATH, besides the system's programs.
        environ: What the job's environment holds besides.
        prefix: A command that runs the step's.

    """

    folder: Path
    programs: Path = field(init=False)
    environ: dict[str, str] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.action = self.folder / "action"
        self.programs = self.folder / "programs"
        self.workspace = self.folder / "workspace"
        self.tools = self.folder / "tools"
        for made in (self.action, self.programs, self.workspace, self.tools, self.folder / "home"):
            made.mkdir(parents=True)
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "src", self.action / "src", ignore=unwanted)
        for name in ("action.yml", "launch.py"):
            shutil.copy(ROOT / name, self.action)
        (self.action / "src" / "imip_secrets" / "__main__.py").write_text(PROBE, encoding="utf-8")
        (self.action / "requirements").mkdir()
        (self.programs / "env").symlink_to(shutil.which("env") or "")

    def release(self, *sets: str, byte_code: bool = True) -> Path:
        """Make the checkout a release: the program, and library sets that are empty, in a bundle."""
        folder = self.action / "bundle"
        folder.mkdir()
        (self.action / "src" / "imip_secrets").rename(folder / "imip_secrets")
        (self.action / "src").rmdir()
        (folder / "requirements").mkdir()
        for name in sets:
            (folder / "requirements" / f"{name}.txt").write_text("")
        (folder / "data.json").write_text("{}")
        if byte_code:
            bundle._compile(folder, PYTHON)
        bundle.seal(folder)
        return folder

    def add_python(self, program: Path | None = None, name: str = "python3") -> None:
        (self.programs / name).symlink_to(program or PYTHON)

    def add_script(self, name: str, text: str) -> Path:
        script = self.programs / name
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)
        return script

    def lock(self, index_url: str, digest: str | None = None) -> None:
        if digest is None:
            wheel = self.folder / "index" / "simple" / "probe" / WHEEL
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        text = f"--index-url {index_url}\nprobe==1.0 --hash=sha256:{digest}\n"
        (self.action / "requirements" / "probe.txt").write_text(text)

    def start(self, **environ: str) -> subprocess.Popen[str]:
        """Start the step as the runner does (``ScriptHandler.cs``): a file, the step's own ``env`` over the job's."""
        (step,) = yaml.safe_load((self.action / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
        script = self.folder / "step.sh"
        script.write_text(step["run"], encoding="utf-8")
        shell = [*self.prefix, BASH or "", *step["shell"].split()[1:-1], str(script)]
        return subprocess.Popen(
            shell,
            cwd=self.workspace,
            env=self.job(**environ) | {name: fill(value, environ) for name, value in step["env"].items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def job(self, **environ: str) -> dict[str, str]:
        return {
            "PATH": str(self.programs),
            "HOME": str(self.folder / "home"),
            "GITHUB_ACTION_PATH": str(self.action),
            "RUNNER_TOOL_CACHE": str(self.tools),
            **self.environ,
            **environ,
        }

    def run(self, **environ: str) -> tuple[int, str]:
        process = self.start(**environ)
        output, _ = process.communicate(timeout=200)
        return process.returncode, output

    def probe(self, **environ: str) -> dict[str, Any]:
        """Run the step, which must succeed, and return what the probe saw."""
        status, output = self.run(**environ)
        assert status == 0, output
        return seen(output)

    def sets(self) -> list[str]:
        return sorted(entry.name for folder in self.tools.glob("imip-secrets*") for entry in folder.iterdir())


def fill(value: str, environ: Mapping[str, str]) -> str:
    """Put an input where the runner would: here only ``secrets`` has a value."""
    return environ.get("SECRETS", "") if "inputs.secrets" in value else "" if "${{" in value else value


def seen(output: str) -> dict[str, Any]:
    (line,) = (line for line in output.splitlines() if line.startswith("PROBE "))
    said: dict[str, Any] = json.loads(line.removeprefix("PROBE "))
    return said


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_program_sees_its_own_source_and_python_s_modules_alone(machine: Machine) -> None:
    machine.add_python()
    said = machine.probe(SECRETS="aws://a\naws://b # $(touch pwned) `touch pwned`")
    assert said["argv"] == ["action"]
    assert said["input"] == "aws://a\naws://b # $(touch pwned) `touch pwned`"
    assert said["flags"] == [1, 1, 1]
    assert said["cwd"] == "/"
    assert said["path"][0] == str(machine.action / "src")
    assert not [entry for entry in said["path"][1:] if "packages" in entry or str(machine.folder) in entry]
    assert list(machine.workspace.iterdir()) == []


def test_a_set_is_installed_once_and_then_found(machine: Machine, index: Index) -> None:
    machine.add_python()
    machine.lock(index.url)
    assert machine.probe(PROBE_SETS="probe")["value"] == 42
    asked = list(index.asked)
    assert machine.probe(PROBE_SETS="probe")["value"] == 42
    assert asked
    assert index.asked == asked
    assert [name.split("-")[0] for name in machine.sets()] == ["probe"]


def test_folders_with_spaces_and_foreign_letters(tmp_path: Path, index: Index) -> None:
    machine = Machine(tmp_path / "Jürgens Läufer 実行")
    machine.add_python()
    (machine.folder / "index").symlink_to(tmp_path / "index")
    machine.lock(index.url)
    assert machine.probe(PROBE_SETS="probe")["value"] == 42


def test_an_action_folder_that_cannot_be_written_to(machine: Machine) -> None:
    machine.add_python()
    cache = machine.action / "src" / "imip_secrets" / "__pycache__"
    cache.write_text("no folder can be made here, whoever one is")
    machine.probe()
    assert cache.is_file()


def test_a_set_that_a_killed_run_left_half_written_is_not_taken_for_whole(machine: Machine, index: Index) -> None:
    machine.add_python()
    machine.lock(index.url)
    machine.probe(PROBE_SETS="probe")
    (folder,) = machine.tools.iterdir()
    (whole,) = folder.iterdir()
    half = folder / ".new-killed" / f"{whole.name}-0"
    half.parent.mkdir()
    whole.rename(half)
    (half / "probe.py").write_text("VALUE = 'half'\n")
    assert machine.probe(PROBE_SETS="probe")["value"] == 42


def test_two_jobs_at_once_share_one_set(machine: Machine, index: Index) -> None:
    machine.add_python()
    machine.lock(index.url)
    both = [machine.start(PROBE_SETS="probe") for _ in range(2)]
    outputs = [process.communicate(timeout=200)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert [seen(output)["value"] for output in outputs] == [42, 42]
    assert [name.split("-")[0] for name in machine.sets()] == ["probe"]


def test_a_file_with_another_hash_stops_the_run(machine: Machine, index: Index) -> None:
    machine.add_python()
    machine.lock(index.url, "0" * 64)
    status, output = machine.run(PROBE_SETS="probe")
    assert status == 1
    assert output == (
        "PROBLEM the package index gave other files for the libraries 'probe' than their lock allows. Nothing was "
        "installed. A mirror or proxy changes packages: tell whoever runs it.\n"
    )
    assert machine.sets() == []


def test_an_index_that_is_down_stops_the_run(machine: Machine) -> None:
    machine.add_python()
    machine.lock("http://127.0.0.1:1/simple", "0" * 64)
    status, output = machine.run(PROBE_SETS="probe")
    assert status == 1
    assert output.startswith("PROBLEM the libraries 'probe' could not be installed: ERROR: ")
    assert output.count("\n") == 1
    assert machine.sets() == []


@pytest.fixture
def closed(machine: Machine) -> Iterator[Machine]:
    """Give the machine when nothing of it can be written to but the home; call it once everything is there."""
    machine.add_python()
    # Without these, a mode hinders root as it does everybody.
    powers = ("--bounding-set", "-dac_override,-dac_read_search,-fowner")
    machine.prefix = [shutil.which("setpriv") or "setpriv", *powers] if os.geteuid() == 0 else []
    yield machine
    for folder in machine.folder.rglob("*/"):
        folder.chmod(0o755)


def close(machine: Machine) -> None:
    for folder in (machine.workspace, machine.tools, machine.action, *machine.action.rglob("*/")):
        folder.chmod(0o555)


def test_a_workspace_an_action_and_a_tool_cache_that_cannot_be_written_to(closed: Machine, index: Index) -> None:
    closed.lock(index.url)
    close(closed)
    said = closed.probe(PROBE_SETS="probe")
    assert said["value"] == 42
    assert Path(said["path"][-1]).is_relative_to(closed.folder / "home" / ".cache")
    assert closed.sets() == []


def test_no_place_for_libraries_is_told(closed: Machine, index: Index) -> None:
    closed.lock(index.url)
    close(closed)
    status, output = closed.run(PROBE_SETS="probe", HOME=str(closed.workspace))
    assert status == 1
    assert output.startswith(f"PROBLEM there is no safe folder for libraries: {closed.tools}/imip-secrets-")
    assert "cannot be made (Permission denied)" in output
    assert "that it alone may write to" in output
    assert index.asked == []


def test_a_release_in_folders_that_cannot_be_written_to(closed: Machine) -> None:
    closed.release()
    close(closed)
    closed.probe()


def test_the_real_locks_can_be_installed(machine: Machine) -> None:
    machine.add_python()
    shutil.copy(ROOT / "requirements" / "runner.txt", machine.action / "requirements")
    said = machine.probe(PROBE_SETS="runner")
    assert Path(said["path"][-1], "actions_toolkit", "command.py").is_file()


def test_no_python_at_all(machine: Machine) -> None:
    status, output = machine.run()
    assert status == 1
    assert output == (
        "::error title=imip-secrets::imip-secrets needs Python 3.10 or newer; this machine has none, so install one, "
        "or put a step with actions/setup-python before this one.\n"
    )


def test_only_pythons_that_are_too_old_or_do_not_start(machine: Machine) -> None:
    machine.add_script("python3", "#!/bin/sh\necho 3.9 /usr/bin/python3\nexit 1\n")
    machine.add_script("python", "#!/bin/sh\nexit 9\n")
    status, output = machine.run()
    assert status == 1
    assert "; this machine has python3 (3.9), python (does not start), so install one" in output
    assert output.count("\n") == 1


@pytest.mark.parametrize("name", ["python", "python3.10", "python3.14"])
def test_a_newer_python_under_another_name_is_found(name: str, machine: Machine) -> None:
    machine.add_script("python3", "#!/bin/sh\necho 3.9 /usr/bin/python3\nexit 1\n")
    machine.add_python(name=name)
    assert machine.probe()["version"] == list(sys.version_info[:2])


def system_python() -> Path | None:
    """Return the system's own Python, where it is new enough."""
    python = Path("/usr/bin/python3")
    newer = [python.with_name(f"python3.{minor}") for minor in range(10, 15)]
    return next((python for each in newer if each.exists() and python.exists() and each.samefile(python)), None)


@pytest.mark.skipif(system_python() is None, reason="the system's own Python is too old, or elsewhere")
def test_the_system_s_own_python_is_not_asked_first(machine: Machine) -> None:
    fired = machine.folder / "asked"
    (machine.programs / "env").unlink()
    machine.add_script("env", f"#!/bin/sh\n: > '{fired}'\n")
    said = machine.probe(PATH=f"{machine.programs}:/usr/bin:/bin")
    assert said["executable"] == "/usr/bin/python3"
    assert not fired.exists()


@pytest.mark.skipif(system_python() is None, reason="the system's own Python is too old, or elsewhere")
def test_another_python_that_comes_first_on_the_path_is_taken(machine: Machine) -> None:
    machine.add_python()
    assert machine.probe(PATH=f"{machine.programs}:/usr/bin:/bin")["executable"] == str(machine.programs / "python3")


def test_a_python_in_the_runner_s_tool_cache_is_found(machine: Machine) -> None:
    folder = machine.tools / "Python" / "3.12.1" / "x64" / "bin"
    folder.mkdir(parents=True)
    (folder / "python3").symlink_to(PYTHON)
    assert machine.probe()["executable"] == str(folder / "python3")


def test_launch_turns_old_pythons_away_in_words_they_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source = (ROOT / "launch.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 4))
    assert "print(" not in source
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(SystemExit, match=r"^::error title=imip-secrets::.* is Python 3\.9\. Start it with a newer"):
        runpy.run_path(str(ROOT / "launch.py"))


# --- a release -------------------------------------------------------------------------------------------------------


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("byte_code", [True, False], ids=["with byte-code", "a Python whose byte-code is not there"])
def test_a_release_runs_from_its_bundle_and_writes_nothing(machine: Machine, *, byte_code: bool) -> None:
    machine.add_python()
    folder = machine.release("probe-not", byte_code=byte_code)
    before = snapshot(machine.action)
    said = machine.probe()
    assert said["path"][-1] == str(folder)
    assert not [entry for entry in said["path"][:-1] if "packages" in entry or str(machine.folder) in entry]
    assert snapshot(machine.action) == before
    assert machine.sets() == []


def test_a_set_of_the_bundle_is_not_installed(machine: Machine, index: Index) -> None:
    machine.add_python()
    machine.lock(index.url)
    folder = machine.release("probe")
    (folder / "probe.py").write_text("VALUE = 'of the bundle'\n")
    bundle.seal(folder)
    assert machine.probe(PROBE_SETS="probe")["value"] == "of the bundle"
    assert (index.asked, machine.sets()) == ([], [])


def test_a_set_that_is_not_in_the_bundle_is_installed_and_comes_before_it(machine: Machine, index: Index) -> None:
    machine.add_python()
    machine.lock(index.url)
    folder = machine.release("other")
    (folder / "probe.py").write_text("VALUE = 'a part of it that another set has'\n")
    bundle.seal(folder)
    said = machine.probe(PROBE_SETS="probe")
    assert said["value"] == 42
    assert said["path"][-1] == str(folder)
    assert [name.split("-")[0] for name in machine.sets()] == ["probe"]


def test_modules_of_python_come_before_the_bundle(machine: Machine) -> None:
    machine.add_python()
    folder = machine.release()
    (folder / "ssl.py").write_text("raise SystemExit('not this one')\n")
    bundle.seal(folder)
    machine.probe()


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


SOURCE, BYTE_CODE = "imip_secrets/errors.py", f"imip_secrets/__pycache__/errors.{sys.implementation.cache_tag}.pyc"


@pytest.mark.parametrize(
    ("file", "byte_code", "damage"),
    [
        pytest.param(BYTE_CODE, True, flip, id="a byte of byte-code"),
        pytest.param(SOURCE, False, flip, id="a byte of a source"),
        pytest.param(SOURCE, True, flip, id="a byte of a source that has byte-code"),
        pytest.param("imip_secrets/audit/page.py", True, flip, id="a byte of a source that nothing imports"),
        pytest.param("data.json", True, flip, id="a byte of data"),
        pytest.param("data.json", True, Path.unlink, id="no data"),
        pytest.param(SOURCE, True, Path.unlink, id="no module"),
        pytest.param("MANIFEST", True, Path.unlink, id="no manifest"),
    ],
)
def test_a_damaged_bundle_is_refused(
    file: str, damage: Callable[[Path], None], machine: Machine, *, byte_code: bool
) -> None:
    machine.add_python()
    damage(machine.release(byte_code=byte_code) / file)
    status, output = machine.run()
    assert status == 1
    assert output == (
        f"::error title=imip-secrets::the file bundle/{file} of the action is not the one that was released: it was "
        "changed, damaged or removed. Nothing was exported. Run the job again; on a runner that is kept, remove the "
        "action from its folder _work/_actions first. If the change is meant, build the bundle anew: make bundle.\n"
    )


def test_a_changed_source_of_a_library_is_refused_though_it_has_byte_code(machine: Machine) -> None:
    machine.add_python()
    folder = machine.release("probe", byte_code=False)
    library = folder / "probe.py"
    library.write_text("VALUE = 'as it was released'\n")
    bundle._compile(folder, PYTHON)
    bundle.seal(folder)
    assert machine.probe(PROBE_SETS="probe")["value"] == "as it was released"
    flip(library)
    status, output = machine.run(PROBE_SETS="probe")
    assert status == 1
    assert output.startswith("::error title=imip-secrets::the file bundle/probe.py of the action is not the one")


@pytest.mark.parametrize("line", [0, -1], ids=["the first", "the last"])
def test_a_manifest_with_a_changed_byte_is_refused(line: int, machine: Machine) -> None:
    machine.add_python()
    manifest = machine.release() / "MANIFEST"
    lines = manifest.read_text().splitlines()
    used = [number for number, each in enumerate(lines) if "data.json" in each or BYTE_CODE in each]
    lines[used[line]] = ("0" if lines[used[line]][0] != "0" else "1") + lines[used[line]][1:]
    manifest.write_text("\n".join(lines) + "\n")
    status, output = machine.run()
    assert status == 1
    assert output.startswith("::error title=imip-secrets::the file bundle/")
    assert output.count("\n") == 1


def test_a_module_that_the_release_does_not_have_is_refused(machine: Machine) -> None:
    machine.add_python()
    folder = machine.release("probe")
    (folder / "probe.py").write_text("VALUE = 'of somebody else'\n")
    status, output = machine.run(PROBE_SETS="probe")
    assert status == 1
    assert output.startswith("::error title=imip-secrets::the file bundle/probe.py of the action is not the one")
    assert "of somebody else" not in output


def test_a_module_that_nobody_has_is_missing_as_ever(machine: Machine) -> None:
    machine.add_python()
    machine.release("probe")
    status, output = machine.run(PROBE_SETS="probe")
    assert status == 1
    assert "ModuleNotFoundError: No module named 'probe'" in output


def test_a_release_in_folders_with_spaces_and_foreign_letters(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "Jürgens Läufer 実行")
    machine.add_python()
    machine.release()
    machine.probe()


# --- what an earlier step may have left --------------------------------------------------------------------------


class Traps:
    """A hostile workspace, environment and Python; each trap that fires leaves a file of its name."""

    def __init__(self, machine: Machine, canary_url: str) -> None:
        self.machine = machine
        self.fired_in = machine.folder / "fired"
        self.fired_in.mkdir()
        self.python = self._poisoned_python()
        self._fill_workspace(canary_url)
        self.environ = self._environ(canary_url)

    def fired(self) -> set[str]:
        return {entry.name for entry in self.fired_in.iterdir()}

    def in_python(self, name: str) -> str:
        return f"open({str(self.fired_in / name)!r}, 'w').close()\n"

    def in_shell(self, name: str) -> str:
        return f": > '{self.fired_in / name}'"

    def _poisoned_python(self) -> Path:
        """Make a Python whose site-packages an earlier ``pip install`` has spoilt."""
        venv = self.machine.folder / "venv"
        subprocess.run([PYTHON, "-I", "-m", "venv", "--without-pip", venv], check=True)
        (packages,) = venv.glob("lib/python3*/site-packages")
        (packages / "spoilt.pth").write_text(f"import os; {self.in_python('pth')}")
        (packages / "sitecustomize.py").write_text(self.in_python("venv sitecustomize"))
        (packages / "usercustomize.py").write_text(self.in_python("venv usercustomize"))
        return venv / "bin" / "python3"

    def _fill_workspace(self, canary_url: str) -> None:
        workspace = self.machine.workspace
        for module in ("json", "os", "ssl", "hashlib", "site", "sitecustomize", "usercustomize", "probe", "launch"):
            (workspace / f"{module}.py").write_text(self.in_python(f"workspace {module}"))
        for package in ("boto3", "hvac", "pip", "imip_secrets", "actions_toolkit", "src"):
            (workspace / package).mkdir()
            (workspace / package / "__init__.py").write_text(self.in_python(f"workspace {package}"))
        (workspace / "spoilt.pth").write_text(f"import os; {self.in_python('workspace pth')}")
        (workspace / "pyvenv.cfg").write_text(f"home = {workspace}\n")
        (workspace / "pip.conf").write_text(f"[global]\nextra-index-url = {canary_url}\nfind-links = {canary_url}/\n")
        (workspace / "uv.toml").write_text(f'extra-index-url = ["{canary_url}"]\n')
        for settings, text in (("pip/pip.conf", "pip.conf"), ("uv/uv.toml", "uv.toml")):
            of_user = self.machine.folder / "home" / ".config" / settings
            of_user.parent.mkdir(parents=True)
            shutil.copy(workspace / text, of_user)
        (workspace / "requirements.txt").write_text(f"--extra-index-url {canary_url}\n")
        for program in ("python3", "python", "env", "uv"):
            script = workspace / program
            script.write_text(f"#!/bin/sh\n{self.in_shell(f'workspace {program}')}\n")
            script.chmod(0o755)

    def _environ(self, canary_url: str) -> dict[str, str]:
        folder, workspace = self.machine.folder, str(self.machine.workspace)
        user_site = folder / "user" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        user_site.mkdir(parents=True)
        (user_site / "spoilt.pth").write_text(f"import os; {self.in_python('user pth')}")
        for name in ("BASH_ENV", "ENV"):
            (folder / name).write_text(self.in_shell(name))
        browser = self.machine.add_script("browser", f"#!/bin/sh\n{self.in_shell('BROWSER')}\n")
        functions = {
            f"BASH_FUNC_{name}%%": f'() {{ {self.in_shell(f"function {name}")}; builtin {name} "$@"; }}'
            for name in ("cd", "type", "export", "exec")
        }
        preload = {name: str(self._library(name)) for name in ("LD_PRELOAD", "LD_AUDIT") if GCC}
        return {
            "PATH": f".::{workspace}/no:{self.machine.programs}",
            "BASH_ENV": str(folder / "BASH_ENV"),
            "ENV": str(folder / "ENV"),
            "SHELLOPTS": "xtrace",
            "PS4": f"$({self.in_shell('PS4')})+ ",
            "CDPATH": workspace,
            **functions,
            **preload,
            "PYTHONPATH": workspace,
            "PYTHONHOME": str(folder / "nowhere"),
            "PYTHONSTARTUP": f"{workspace}/json.py",
            "PYTHONUSERBASE": str(folder / "user"),
            "PYTHONINSPECT": "1",
            "PYTHONWARNINGS": "error::antigravity.x",
            "BROWSER": f"{browser} %s",
            "OPENSSL_CONF": str(self._openssl_settings()),
            "SSLKEYLOGFILE": str(self.fired_in / "SSLKEYLOGFILE"),
            "PIP_CONFIG_FILE": f"{workspace}/pip.conf",
            "PIP_EXTRA_INDEX_URL": canary_url,
            "PIP_FIND_LINKS": f"{canary_url}/",
            "PIP_REQUIREMENT": f"{workspace}/requirements.txt",
            "PIP_TARGET": str(self.fired_in / "PIP_TARGET"),
            "PIP_LOG": str(self.fired_in / "PIP_LOG"),
            "UV_CONFIG_FILE": f"{workspace}/uv.toml",
            "UV_EXTRA_INDEX_URL": canary_url,
            "UV_INDEX": canary_url,
            "UV_CACHE_DIR": str(self.fired_in / "UV_CACHE_DIR"),
            "UV_PYTHON": f"{workspace}/python3",
            "XDG_CONFIG_HOME": workspace,
            "XDG_CONFIG_DIRS": workspace,
            "VIRTUAL_ENV": str(self.python.parents[1]),
        }

    def _library(self, name: str) -> Path:
        """Build a library that fires when it is loaded, as LD_PRELOAD or LD_AUDIT."""
        source, library = self.machine.folder / f"{name}.c", self.machine.folder / f"{name}.so"
        source.write_text(
            "#include <fcntl.h>\n#include <unistd.h>\n"
            "unsigned la_version(unsigned version) { return version; }\n"
            "__attribute__((constructor)) static void fire(void)"
            f'{{ close(open("{self.fired_in / name}", O_CREAT | O_WRONLY, 0600)); }}\n'
        )
        subprocess.run([GCC or "", "-shared", "-fPIC", "-o", library, source], check=True)
        return library

    def _openssl_settings(self) -> Path:
        """Write settings that make OpenSSL load a module, one that fires."""
        module = self._library("OPENSSL_CONF") if GCC else self.machine.folder / "none.so"
        settings = self.machine.folder / "openssl.cnf"
        settings.write_text(
            "openssl_conf = main\n[main]\nproviders = providers\n[providers]\nevil = evil\n"
            f"[evil]\nmodule = {module}\nactivate = 1\n"
        )
        return settings


def shim(machine: Machine, python: Path) -> None:
    """Put a shell script in front of a Python, as pyenv does."""
    machine.add_script("python3", f'#!{BASH}\nexec "{python}" "$@"\n')


@pytest.fixture
def traps(machine: Machine, index: Index, canary_index: Index) -> Traps:
    machine.lock(index.url)
    return Traps(machine, canary_index.url)


@pytest.mark.parametrize("installer", ["pip", pytest.param("uv", marks=pytest.mark.skipif(UV is None, reason="no uv"))])
@pytest.mark.parametrize("way", ["directly", "through a shell script"])
def test_nothing_that_an_earlier_step_left_fires(
    installer: str, way: str, machine: Machine, traps: Traps, canary_index: Index
) -> None:
    if installer == "uv":
        machine.add_python(Path(UV or ""), "uv")
    if way == "directly":
        (machine.programs / "python3").symlink_to(traps.python)
    else:
        shim(machine, traps.python)
    said = machine.probe(**traps.environ, PROBE_SETS="probe")
    assert (said["value"], said["keys"]) == (42, None)
    assert traps.fired() == set()
    assert canary_index.asked == []


def test_the_traps_fire_for_a_step_that_does_not_look_out(machine: Machine, traps: Traps, canary_index: Index) -> None:
    job = machine.job(**traps.environ)
    script = machine.folder / "careless.sh"
    script.write_text('cd .\ntype -P python3\nexport X=1\nenv\n"$1" -c "import json, ssl"\nexec true\n')

    def careless(*command: str | Path, **environ: str) -> None:
        subprocess.run(command, cwd=machine.workspace, env=job | environ, capture_output=True, check=False, timeout=200)

    careless(BASH or "", "--noprofile", "--norc", script, traps.python, PYTHONHOME="")
    careless(traps.python, "-I", "-c", "")
    careless(BASH or "", "-c", "true", LD_AUDIT="")
    careless(PYTHON, "-c", "", PYTHONHOME="", PYTHONPATH="", PYTHONSTARTUP="")
    careless(PYTHON, "-I", "-c", "import ssl")
    careless(PYTHON, "-I", "-m", "pip", "install", "probe", LD_PRELOAD="", LD_AUDIT="", OPENSSL_CONF="")
    expected = {"BASH_ENV", "function cd", "function type", "workspace env", "workspace json", "pth"}
    expected |= {"LD_PRELOAD", "LD_AUDIT", "OPENSSL_CONF"} if GCC else set()
    assert expected <= traps.fired()
    assert canary_index.asked
