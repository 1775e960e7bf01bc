"""The bundle of a release: what is in it, and that it is the same whoever builds it."""

from __future__ import annotations

import ast
import importlib.util
import json
import marshal
import os
import subprocess
import sys
import tarfile
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from imip_secrets.stores.aws.services import SERVICES
from imip_secrets.stores.vault import logins
from release import bundle, contents
from stand_ins.shipped import CHECKOUT, built

if TYPE_CHECKING:
    from pathlib import Path
    from types import CodeType

pytestmark = pytest.mark.xdist_group("bundle")  # one build of each kind

BYTES_AT_MOST = 4_000_000
HERE = sys.implementation.cache_tag


@pytest.fixture(scope="module")
def ours() -> Path:
    """Give the bundle that the tests of whole runs use, with the byte-code of this Python."""
    return built()


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it once more, elsewhere, for every Python that is here."""
    folder = tmp_path_factory.mktemp("again") / "bundle"
    bundle.build(folder, bundle.find_pythons())
    return folder


def paths(folder: Path) -> set[str]:
    return {path for path, _ in bundle._listed(folder)}


def code(folder: Path, name: str) -> CodeType:
    """Return the byte-code of a module for this Python."""
    file = folder / importlib.util.cache_from_source(name, optimization="")
    loaded: CodeType = marshal.loads(file.read_bytes()[16:])  # noqa: S302 - what was compiled a moment ago
    return loaded


def functions(module: CodeType) -> dict[str, CodeType]:
    return {each.co_name: each for each in module.co_consts if hasattr(each, "co_code")}


def test_the_same_checkout_gives_the_same_bytes(ours: Path, again: Path) -> None:
    common = {path for path in paths(again) if not path.endswith(".pyc") or f".{HERE}." in path}
    assert common == paths(ours)
    assert [path for path in sorted(common) if (ours / path).read_bytes() != (again / path).read_bytes()] == []
    assert bundle.digest(ours, sources=True) == bundle.digest(again, sources=True)


def test_the_digest_is_another_when_a_byte_is(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"A = 1\n")
    bundle.seal(tmp_path)
    first = bundle.digest(tmp_path)
    (tmp_path / "a.py").write_bytes(b"A = 2\n")
    bundle.seal(tmp_path)
    assert bundle.digest(tmp_path) != first


def test_the_archive_is_small_and_knows_no_time_and_no_user(again: Path) -> None:
    packed = bundle.archive(again)
    assert packed == bundle.archive(again)
    assert len(packed) <= BYTES_AT_MOST
    with tarfile.open(fileobj=BytesIO(packed)) as tar:
        members = tar.getmembers()
    assert {member.name.removeprefix("bundle/") for member in members} == paths(again) | {bundle.MANIFEST}
    assert {(member.mtime, member.uid, member.uname, member.mode) for member in members} == {(0, 0, "", 0o644)}


def test_the_manifest_has_every_file_as_sha256sum_writes_it(ours: Path) -> None:
    lines = (ours / bundle.MANIFEST).read_text(encoding="utf-8").splitlines()
    assert lines == [f"{sha256((ours / path).read_bytes()).hexdigest()}  {path}" for path in sorted(paths(ours))]


def test_the_whole_package_is_in_it(ours: Path) -> None:
    package = CHECKOUT / "src" / "imip_secrets"
    files = {
        f"imip_secrets/{file.relative_to(package).as_posix()}": file.read_bytes()
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {path: (ours / path).read_bytes() for path in files} == files


@pytest.mark.parametrize("kind", ["aws", "vault"])
def test_all_that_an_export_imports_has_byte_code(kind: str, ours: Path) -> None:
    stores = {"aws": ("aws.secrets_manager", "aws.login", "aws.session"), "vault": ("vault.client", "vault.api")}
    imported = ", ".join(f"imip_secrets.stores.{name}" for name in stores[kind])
    program = (
        f"import sys; sys.path.append({str(ours)!r}); from imip_secrets import resolve; "
        f"from imip_secrets.action import export; import {imported}; "
        "from imip_secrets.runner import id_token_endpoint, delivery, report, files; "
        "print(*(m.__spec__.cached for m in sys.modules.values() if "
        f"(getattr(m, '__file__', None) or '').startswith({str(ours)!r})), sep=chr(10))"
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", program]
    cached = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(cached) > 40
    assert [file for file in cached if not os.path.exists(file)] == []  # noqa: PTH110 - it is a text


def test_what_is_imported_late_is_there_too(ours: Path) -> None:
    program = (
        f"import sys; sys.path.append({str(ours)!r})\n"
        "from imip_secrets.stores.aws import session, ssm\nfrom imip_secrets.stores.vault import api, logins\n"
        "print(*(type(api.login_api(name, None)).__module__ for name in logins.METHODS))\n"
        "print(len(session._Models().load_service_model('ssm', 'service-2')['operations']) > 0)\n"
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", program]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert said[0].split() == [f"hvac.api.auth_methods.{name}" for name in logins.METHODS]
    assert said[1] == "True"


def test_nothing_in_it_is_for_one_kind_of_machine(ours: Path) -> None:
    assert {path.rpartition(".")[2] for path in paths(ours) if "/licences/" not in f"/{path}"} == {
        "json",
        "pem",
        "py",
        "pyc",
        "txt",
    } | {path.rpartition(".")[2] for path in paths(ours) if path.startswith("imip_secrets/")}


def test_what_no_run_needs_is_left_out(ours: Path) -> None:
    tops = {path.split("/")[0] for path in paths(ours)}
    assert tops.isdisjoint({"boto3", "s3transfer", "requests", "charset_normalizer", "idna", "tests"})
    parts = {part for path in paths(ours) for part in path.split("/")}
    assert parts.isdisjoint({"tests", "zoneinfo", "endpoints.json", "stub.py"})
    services = {path.split("/")[2] for path in paths(ours) if path.startswith("botocore/data/") and path.count("/") > 2}
    assert services == set(SERVICES)


def test_each_library_has_its_licence(ours: Path) -> None:
    licensed = {path.split("/")[1].rpartition("-")[0] for path in paths(ours) if path.startswith("licences/")}
    assert licensed == {
        *("actions_toolkit", "botocore", "certifi", "hvac", "jmespath", "python_dateutil", "six", "urllib3"),
    }


def test_the_locks_that_it_is_from_are_in_it(ours: Path) -> None:
    there = {path for path in paths(ours) if path.startswith("requirements/")}
    assert there == {f"requirements/{name}.txt" for name in contents.SETS}
    assert all((ours / path).read_bytes() == (CHECKOUT / path).read_bytes() for path in there)


@pytest.mark.parametrize("service", SERVICES)
def test_a_model_says_nothing_for_people_and_all_for_programs(service: str, ours: Path) -> None:
    from botocore.loaders import Loader  # noqa: PLC0415  # it is large, and no other test here needs it

    (file,) = (ours / "botocore" / "data" / service).glob("*/service-2.json")
    model = json.loads(file.read_bytes())
    whole = Loader().load_service_model(service, "service-2")
    assert list(model["operations"]) == list(whole["operations"])
    assert {name: list(shape) for name, shape in model["shapes"].items()} == {
        name: [key for key in shape if key != "documentation"] for name, shape in whole["shapes"].items()
    }
    assert '"documentation":"' not in file.read_text(encoding="utf-8")


def test_only_documentation_is_left_out_of_a_model() -> None:
    model = {"documentation": "x", "members": {"documentation": {"shape": "A", "documentation": "y"}}, "list": [1, "a"]}
    assert bundle._without_documentation(model) == {"members": {"documentation": {"shape": "A"}}, "list": [1, "a"]}


def test_byte_code_is_taken_whatever_the_time_of_a_file_is(ours: Path) -> None:
    files = [path for path in paths(ours) if path.endswith(".pyc")]
    headers = {(ours / path).read_bytes()[:8] for path in files}
    assert headers == {importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")}


def test_byte_code_of_ours_has_its_lines_and_that_of_libraries_those_of_its_functions(ours: Path) -> None:
    ours_main = functions(code(ours, "imip_secrets/__main__.py"))["main"]
    theirs = functions(code(ours, "botocore/utils.py"))["normalize_url_path"]
    assert len({line for *_, line in ours_main.co_lines() if line}) > 1
    assert {line for *_, line in theirs.co_lines() if line} == {theirs.co_firstlineno}
    assert ours_main.co_consts[0] is None or "boundary" not in str(ours_main.co_consts[0])


def test_byte_code_of_libraries_says_nothing_of_its_classes_and_modules(ours: Path) -> None:
    for path in ("botocore/exceptions.py", "six.py", "urllib3/connectionpool.py"):
        tree = ast.parse((ours / path).read_text(encoding="utf-8"))
        documented = [node for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.Module))]
        said = {text for node in documented if (text := ast.get_docstring(node, clean=False))}
        assert said
        assert said.isdisjoint(constants(code(ours, path)))


def constants(compiled: CodeType) -> set[object]:
    nested = (constants(each) for each in compiled.co_consts if hasattr(each, "co_consts"))
    return set(compiled.co_consts).union(*nested)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("botocore/data/sts/2011-06-15/service-2.json.gz", True),
        ("botocore/data/s3/2006-03-01/service-2.json.gz", False),
        ("botocore/data/ssm/2014-11-06/examples-1.json", False),
        ("botocore/data/partitions.json", True),
        ("boto3/__init__.py", False),
        ("urllib3/contrib/__init__.py", True),
        ("urllib3/contrib/emscripten/fetch.py", False),
        ("hvac/api/auth_methods/jwt.py", True),
        ("hvac/v1/__init__.py", False),
        ("something_new/module.py", True),
    ],
)
def test_what_is_kept(path: str, *, kept: bool) -> None:
    assert contents.is_kept(path) is kept


def test_a_folder_that_is_there_already_is_not_built_into(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        bundle.build(tmp_path, [])


def test_methods_of_botocore_come_without_documentation(ours: Path) -> None:
    program = (
        f"import sys; sys.path.append({str(ours)!r}); from botocore.session import Session; "
        "from imip_secrets.stores.aws.session import _Models; session = Session(); "
        "session.register_component('data_loader', _Models()); client = session.create_client("
        "'sts', region_name='us-east-1', aws_access_key_id='a', aws_secret_access_key='b'); "
        "print(repr(client.assume_role.__doc__), "
        "*sorted(name for name in sys.modules if name.startswith('botocore.docs')))"
    )
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert said == ["''", "botocore.docs", "botocore.docs.docstring", "botocore.docs.utils"]


def test_what_our_modules_import_of_its_libraries_is_there(ours: Path) -> None:
    tops = {path.split("/")[0].removesuffix(".py") for path in paths(ours)} - {"licences", "requirements", "MANIFEST"}
    wanted = {
        name
        for path in paths(ours)
        if path.startswith("imip_secrets/") and path.endswith(".py")
        for name in imported((ours / path).read_text(encoding="utf-8"))
        if name.partition(".")[0] in tops
    }
    assert {name.partition(".")[0] for name in wanted} >= {"imip_secrets", "botocore", "urllib3", "actions_toolkit"}
    there = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in paths(ours)}
    assert sorted(wanted - there) == []


def imported(source: str) -> set[str]:
    """Return the modules that a source imports, anywhere in it."""
    tree = ast.walk(ast.parse(source))
    nodes = [node for node in tree if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
