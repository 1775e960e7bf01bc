"""Library sets are installed whole or not at all, by whichever installer can, by hash."""

from __future__ import annotations

import hashlib
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imip_secrets import installing
from imip_secrets.errors import ImipError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

WHEEL = "probe-1.0-py3-none-any.whl"
MODEL = "1/service-2.json.gz"
UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("probe.py", "VALUE = 42\n")
        for service in ("ec2", "secretsmanager", "sso", "ssm"):
            wheel.writestr(f"botocore/data/{service}/{MODEL}", service)
            wheel.writestr(f"other/data/{service}/{MODEL}", service)
        wheel.writestr("botocore/data/partitions.json", "{}")
        wheel.writestr("probe-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n")
        wheel.writestr("probe-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("probe-1.0.dist-info/RECORD", "")
    return folder


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand for the machine's memory: a folder that everybody may write to, in which no test leaves anything."""
    folder = tmp_path / "memory"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(installing, "_MEMORY", folder)
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def lock(wheels: Path, tmp_path: Path) -> Path:
    digest = hashlib.sha256((wheels / WHEEL).read_bytes()).hexdigest()
    return write_lock(tmp_path / "probe.txt", wheels, digest)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "libraries").mkdir()
    return tmp_path / "libraries" / "probe-key"


def write_lock(lock: Path, wheels: Path, digest: str) -> Path:
    lock.write_text(f"--no-index\n--find-links {wheels.as_uri()}\nprobe==1.0 --hash=sha256:{digest}\n")
    return lock


def path_with(*programs: str) -> str:
    return os.pathsep.join(str(Path(program).parent) for program in programs)


def environ(**values: str) -> dict[str, str]:
    """Give what a process needs on this system, no program on PATH, and the values."""
    needed = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "HOME") if name in os.environ}
    return {**needed, "PATH": "", **values}


class Commands:
    """Stands for the installers: answers each command in turn, and keeps it."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.seen: list[Sequence[str]] = []
        self.works: list[Path] = []

    def __call__(self, command: Sequence[str], work: Path, environ: Mapping[str, str]) -> str | None:
        assert work.is_dir()
        assert environ
        self.seen.append(command)
        self.works.append(work)
        answer = self.answers.pop(0)
        if answer is None:
            target = Path(command[command.index("--target") + 1])
            target.mkdir()
            (target / "probe.py").write_text("VALUE = 42\n")
        return answer


@pytest.fixture
def two_installers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "_installers", lambda _work, _environ: [["first"], ["second"]])


def answer(monkeypatch: pytest.MonkeyPatch, *answers: str | None) -> Commands:
    commands = Commands(*answers)
    monkeypatch.setattr(installing, "_run", commands)
    return commands


def leftovers(place: Path) -> list[str]:
    return sorted(entry.name for entry in place.parent.iterdir() if entry != place)


def test_pip_installs_by_hash_and_leaves_nothing_else(lock: Path, place: Path) -> None:
    installing.install({lock: place}, environ())
    assert (place / "probe.py").read_text() == "VALUE = 42\n"
    assert leftovers(place) == []


@pytest.mark.skipif(UV is None, reason="uv is not installed")
def test_uv_installs_by_hash_and_leaves_nothing_else(lock: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "_pip", lambda: None)
    assert UV is not None
    installing.install({lock: place}, environ(PATH=path_with(UV)))
    assert (place / "probe.py").read_text() == "VALUE = 42\n"
    assert leftovers(place) == []


def test_pip_from_its_bundled_wheel_serves_where_none_is_installed(
    lock: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "getsitepackages", lambda _prefixes: [])
    pip = installing._pip()
    if pip is None:
        pytest.skip("this Python comes without ensurepip's wheel")
    assert pip.endswith(".whl")
    installing.install({lock: place}, environ())
    assert (place / "probe.py").is_file()


@pytest.mark.parametrize("installer", ["pip", pytest.param("uv", marks=pytest.mark.skipif(UV is None, reason="no uv"))])
def test_a_file_with_another_hash_is_refused_and_named(
    installer: str, wheels: Path, place: Path, tmp_path: Path
) -> None:
    lock = write_lock(tmp_path / "probe.txt", wheels, "0" * 64)
    with pytest.raises(ImipError, match="gave other files for the libraries 'probe' than their lock allows"):
        installing.install({lock: place}, environ(PATH=path_with(UV or "") if installer == "uv" else ""))
    assert list(place.parent.iterdir()) == []


@pytest.mark.parametrize("installer", ["pip", pytest.param("uv", marks=pytest.mark.skipif(UV is None, reason="no uv"))])
def test_models_of_services_that_nobody_asks_are_left_out(installer: str, lock: Path, place: Path) -> None:
    installing.install({lock: place}, environ(PATH=path_with(UV or "") if installer == "uv" else ""))
    models = {file.relative_to(place).as_posix() for file in place.rglob("*.gz")}
    wanted = {f"botocore/data/{service}/{MODEL}" for service in ("secretsmanager", "ssm")}
    wanted |= {f"other/data/{service}/{MODEL}" for service in ("ec2", "secretsmanager", "sso", "ssm")}
    assert models == wanted
    assert (place / "botocore" / "data" / "partitions.json").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a folder")
@pytest.mark.usefixtures("two_installers")
def test_installers_work_in_memory(lock: Path, place: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = answer(monkeypatch, None)
    installing.install({lock: place}, environ())
    assert commands.works[0].parent == memory
    assert (place / "probe.py").is_file()
    assert leftovers(place) == []


@pytest.mark.parametrize("lack", ["room", "folder", "protection from others", "right to write"])
@pytest.mark.usefixtures("two_installers")
def test_without_safe_memory_installers_work_on_the_disk(
    lack: str, lock: Path, place: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lack == "room":
        monkeypatch.setattr(installing, "_MEMORY_NEEDED", 2**60)
    elif lack == "folder":
        monkeypatch.setattr(installing, "_MEMORY", memory / "none")
    elif lack == "protection from others":
        memory.chmod(0o777)
    else:
        refuse_folders_in(memory, monkeypatch)
    commands = answer(monkeypatch, None)
    installing.install({lock: place}, environ())
    assert commands.works[0].is_relative_to(place.parent)
    assert (place / "probe.py").is_file()
    assert leftovers(place) == []


def refuse_folders_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = os.mkdir

    def refuse(path: str, *rest: int) -> None:
        if Path(path).parent == folder:
            raise PermissionError(13, "Permission denied")
        mkdir(path, *rest)

    monkeypatch.setattr(os, "mkdir", refuse)


@pytest.mark.usefixtures("two_installers")
def test_a_disk_that_is_full_is_told_and_leaves_nothing(
    lock: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_paths: Path) -> None:
        raise OSError(28, "No space left on device")

    answer(monkeypatch, None)
    monkeypatch.setattr(shutil, "move", refuse)
    with pytest.raises(ImipError, match=r"could not be written to .*libraries: No space left on device"):
        installing.install({lock: place}, environ())
    assert list(place.parent.iterdir()) == []


def test_a_run_that_is_killed_while_it_takes_files_leaves_no_set(lock: Path, place: Path, memory: Path) -> None:
    code = (
        f"import os, shutil, sys; sys.path.insert(0, {str(Path(installing.__file__).parents[1])!r})\n"
        f"from pathlib import Path; from imip_secrets import installing; installing._MEMORY = Path({str(memory)!r})\n"
        "move, moved = shutil.move, []\n"
        "def die(*paths):\n"
        "    moved.append(move(*paths))\n"
        "    if len(moved) == 2:\n"
        "        os._exit(9)\n"
        "shutil.move = die\n"
        f"installing.install({{Path({str(lock)!r}): Path({str(place)!r})}}, {environ()!r})"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=False, timeout=120)
    assert done.returncode == 9
    assert not place.exists()
    (half,) = place.parent.iterdir()
    assert [entry for entry in half.rglob("*") if entry.is_file()]
    installing.install({lock: place}, environ())
    assert (place / "probe.py").is_file()
    assert leftovers(place) == [half.name]
    for folder in memory.iterdir():
        shutil.rmtree(folder)


@pytest.mark.usefixtures("two_installers")
def test_the_next_installer_is_tried_when_one_fails(lock: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = answer(monkeypatch, "error: no network", None)
    installing.install({lock: place}, environ())
    assert [command[0] for command in commands.seen] == ["first", "second"]
    assert (place / "probe.py").is_file()


@pytest.mark.usefixtures("two_installers")
@pytest.mark.parametrize("said", ["THESE PACKAGES DO NOT MATCH THE HASHES", "error: Hash mismatch for `probe`"])
def test_a_changed_file_is_no_reason_to_try_the_next(
    said: str, lock: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = answer(monkeypatch, said)
    with pytest.raises(ImipError, match="A mirror or proxy changes packages"):
        installing.install({lock: place}, environ())
    assert len(commands.seen) == 1


@pytest.mark.usefixtures("two_installers")
@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Looking\nERROR: Could not find a version\nnoise", "ERROR: Could not find a version"),
        ("something ::stop-commands::x\n", "something : :stop-commands: :x"),
        ("", "no reason was given"),
    ],
)
def test_the_last_installer_s_words_are_shown_and_tamed(
    said: str, shown: str, lock: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, "error: of the first", said)
    with pytest.raises(ImipError) as caught:
        installing.install({lock: place}, environ())
    (problem,) = caught.value.problems
    assert problem.what == f"the libraries 'probe' could not be installed: {shown}"
    assert "HTTPS_PROXY" in problem.remedy


@pytest.mark.usefixtures("two_installers")
def test_a_set_that_another_run_finished_first_is_kept(
    lock: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = answer(monkeypatch, None)

    def run_late(command: Sequence[str], work: Path, environ: Mapping[str, str]) -> str | None:
        place.mkdir()
        (place / "probe.py").write_text("of the other run")
        return commands(command, work, environ)

    monkeypatch.setattr(installing, "_run", run_late)
    installing.install({lock: place}, environ())
    assert (place / "probe.py").read_text() == "of the other run"
    assert leftovers(place) == []


@pytest.mark.usefixtures("two_installers")
def test_a_rename_that_is_refused_for_a_moment_is_tried_again(
    lock: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, None)
    refuse_renames(monkeypatch, 2)
    installing.install({lock: place}, environ())
    assert (place / "probe.py").is_file()


@pytest.mark.usefixtures("two_installers")
def test_a_set_that_cannot_be_put_in_its_place_is_an_error(
    lock: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, None)
    refuse_renames(monkeypatch, 9)
    with pytest.raises(ImipError, match=r"could not be written to .*libraries: Permission denied"):
        installing.install({lock: place}, environ())
    assert not place.exists()


def refuse_renames(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    refusals = [PermissionError(13, "Permission denied")] * times
    rename: Callable[[Path, Path], Path] = Path.rename

    def rename_later(made: Path, place: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return rename(made, place)

    monkeypatch.setattr(Path, "rename", rename_later)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)


@pytest.mark.usefixtures("two_installers")
def test_what_killed_runs_left_a_day_ago_is_removed(
    lock: Path, place: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, None)
    for folder, age in (
        (place.parent / ".new-old", 25 * 3600),
        (place.parent / ".new-busy", 3600),
        (memory / ".imip-secrets-new-old", 25 * 3600),
        (memory / ".imip-secrets-new-busy", 3600),
        (memory / ".new-of-another-program", 25 * 3600),
    ):
        folder.mkdir()
        (folder / "half").write_text("half")
        long_ago = time.time() - age
        os.utime(folder, (long_ago, long_ago))
    installing.install({lock: place}, environ())
    assert leftovers(place) == [".new-busy"]
    left = sorted(memory.iterdir())
    assert [folder.name for folder in left] == [".imip-secrets-new-busy", ".new-of-another-program"]
    for folder in left:
        shutil.rmtree(folder)


@pytest.mark.usefixtures("two_installers")
def test_what_another_run_removes_at_the_same_moment_is_no_error(
    lock: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, None)
    lstat = Path.lstat

    def gone(path: Path) -> os.stat_result:
        if path.name == ".new-old":
            path.rmdir()
        return lstat(path)

    (place.parent / ".new-old").mkdir()
    monkeypatch.setattr(Path, "lstat", gone)
    installing.install({lock: place}, environ())
    assert (place / "probe.py").is_file()


def test_without_pip_and_uv_the_error_says_what_to_install(
    lock: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "getsitepackages", lambda _prefixes: [])
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: "/nowhere")
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _name: None)
    with pytest.raises(ImipError, match=r"has no pip .* and there is no uv\. Install pip"):
        installing.install({lock: place}, environ())
    assert list(place.parent.iterdir()) == []


@pytest.mark.skipif(UV is None, reason="uv is not installed")
def test_uv_comes_first_with_the_administrator_s_settings_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert UV is not None
    uv, pip = installing._installers(tmp_path, {"PATH": path_with(UV)})
    assert (Path(uv[0]).name.removesuffix(".exe"), uv[1]) == ("uv", "--no-config")
    assert pip[:3] == (sys.executable, "-I", "-S")
    settings = tmp_path / "uv.toml"
    settings.touch()
    monkeypatch.setattr(installing, "_UV_SETTINGS", settings)
    assert next(iter(installing._installers(tmp_path, {"PATH": path_with(UV)})))[1:3] == (
        "--config-file",
        str(settings),
    )


def test_an_installer_gets_only_what_it_needs_of_the_environment(tmp_path: Path) -> None:
    code = "import os; raise SystemExit(' '.join(sorted(os.environ)))"
    given = environ(https_proxy="http://proxy", INPUT_VAULT_TOKEN="t", PIP_INDEX_URL="x", UV_INDEX="x", PYTHONPATH="x")
    seen = installing._run([sys.executable, "-I", "-S", "-c", code], tmp_path, given)
    assert seen is not None
    names = set(seen.split())
    assert {"https_proxy", "UV_SYSTEM_CERTS"} <= names
    assert not names & {"INPUT_VAULT_TOKEN", "PIP_INDEX_URL", "UV_INDEX", "PYTHONPATH"}


def test_an_installer_s_own_temporary_files_go_with_its_folder(tmp_path: Path) -> None:
    code = "import tempfile; raise SystemExit(tempfile.gettempdir())"
    seen = installing._run([sys.executable, "-I", "-S", "-c", code], tmp_path, environ(TMPDIR="/elsewhere"))
    assert seen is not None
    assert seen.strip() == str(tmp_path)


def test_an_installer_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "LIMIT_SECONDS", 0.2)
    code = "import time; time.sleep(30)"
    assert installing._run([sys.executable, "-I", "-S", "-c", code], tmp_path, environ()) == (
        "error: no end after 0.2 seconds"
    )


def test_pip_runs_no_pth_file_of_its_python(lock: Path, place: Path, tmp_path: Path) -> None:
    fired = tmp_path / "fired"
    venv = tmp_path / "venv"
    python = installing._bare_python(venv)
    packages = subprocess.run(
        [python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    Path(packages, "evil.pth").write_text(f"import pathlib; pathlib.Path({str(fired)!r}).touch()\n")
    subprocess.run([python, "-I", "-c", ""], check=True)
    assert fired.exists(), "the trap does not work"
    fired.unlink()
    code = (
        f"import sys; sys.path.insert(0, {str(Path(installing.__file__).parents[1])!r}); from pathlib import Path; "
        f"from imip_secrets.installing import install; "
        f"install({{Path({str(lock)!r}): Path({str(place)!r})}}, {environ()!r})"
    )
    subprocess.run([python, "-I", "-S", "-c", code], check=True)
    assert (place / "probe.py").is_file()
    assert not fired.exists()
