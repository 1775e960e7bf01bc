"""GitHub's own description of its API, and whether a request and its answer are as it says.

The description is the npm package ``@octokit/openapi``, fetched once into
``.cache/`` through npm and verified by its hash. Of its 28 MB we keep what the
stand-in answers: the operations of :data:`PATHS`, and what they refer to.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from openapi_core import OpenAPI
from openapi_core.datatypes import RequestParameters
from werkzeug.datastructures import Headers, ImmutableMultiDict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stand_ins.faults import Answer, Request

PACKAGE = "@octokit/openapi"
VERSION = "23.0.2"
INTEGRITY = "pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg=="
CLOUD, SERVER = "api.github.com", "ghes-3.19"
FOLDER = Path(__file__).parents[3] / ".cache" / "github-description"
FETCHED_WITHIN = 300
# The address that every path of the pared description is under, wherever the stand-in listens.
HOST = "https://api.github.com"

PATHS = re.compile(
    r"""/(
        app | app/installations(/\{installation_id\}(/access_tokens)?)?
      | installation/(repositories|token)
      | orgs/\{org\}(/(installation|repos|properties/values))?
      | orgs/\{org\}/(actions|dependabot|codespaces|agents)/secrets(/.*)?
      | rate_limit | user | user/repos
      | repos/\{owner\}/\{repo\}(/(environments|installation|properties/values|topics))?
      | repos/\{owner\}/\{repo\}/environments/\{environment_name\}(/secrets(/.*)?)?
      | repos/\{owner\}/\{repo\}/(actions|dependabot|codespaces|agents)/(organization-)?secrets(/.*)?
      | users/\{username\}(/(installation|repos))?
    )""",
    re.VERBOSE,
)
# Changes of what is kept make another folder, so that an old one is never taken for the new.
_KEPT = hashlib.sha256((PATHS.pattern + Path(__file__).read_text(encoding="utf-8")).encode()).hexdigest()[:12]
_NOT_KEPT = frozenset({"example", "examples", "externalDocs", "summary", "tags", "x-github", "description"})

# What GitHub may answer every operation with, whether or not its description says so; all have this shape.
COMMON_ERRORS = (301, 307, 400, 401, 403, 404, 409, 422, 429, 500, 502, 503)
_ERROR = {
    "type": "object",
    "required": ["message", "documentation_url", "status"],
    "properties": {name: {"type": "string"} for name in ("message", "documentation_url", "status")},
}


class DescriptionMissingError(Exception):
    """The description cannot be had; the message says why."""


def document(name: str = CLOUD) -> dict[str, Any]:
    """Give the pared description of GitHub's cloud, or of an Enterprise Server."""
    kept = FOLDER / f"{VERSION}-{_KEPT}" / f"{name}.json"
    if not kept.is_file():
        with _alone(FOLDER / "lock"):
            if not kept.is_file():
                _fetch(kept.parent)
    read: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return read


class _Asked:
    """A request as openapi-core wants it."""

    def __init__(self, request: Request, path: str) -> None:
        self.host_url = HOST
        self.path = path
        self.method = request.method.lower()
        query = ImmutableMultiDict(parse_qsl(urlsplit(request.target).query, keep_blank_values=True))
        self.parameters = RequestParameters(query=query, header=Headers(dict(request.headers)))
        # GitHub takes a body for JSON whatever its type is said to be, and `gh` says nothing.
        self.content_type = "application/json"
        self.body = request.body or None


class _Answered:
    """An answer as openapi-core wants it."""

    def __init__(self, answer: Answer) -> None:
        self.status_code = answer.status
        self.headers = answer.headers
        self.content_type = next((v for k, v in answer.headers.items() if k.lower() == "content-type"), "")
        self.data = answer.body or None


class Description:
    """Compares what was said with what GitHub's description says.

    Args:
        name: :data:`CLOUD` or :data:`SERVER`.

    """

    def __init__(self, name: str = CLOUD) -> None:
        """Read the description."""
        described = document(name)
        self._openapi = OpenAPI.from_dict(described)
        self._operations = [
            (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path)))
            for path, item in described["paths"].items()
            for method in item
        ]
        self._lock = threading.Lock()

    def knows(self, method: str, path: str) -> bool:
        """Tell whether GitHub has such an operation."""
        return any(method == known and pattern.fullmatch(path) for known, pattern in self._operations)

    def of_request(self, request: Request, path: str) -> list[str]:
        """Tell what is wrong with a request to a path; nothing for most."""
        with self._lock:
            return [_told(error) for error in self._openapi.iter_request_errors(_Asked(request, path))]

    def of_answer(self, request: Request, path: str, answer: Answer) -> list[str]:
        """Tell what is wrong with the answer to a request."""
        with self._lock:
            asked = _Asked(request, path)
            return [_told(error) for error in self._openapi.iter_response_errors(asked, _Answered(answer))]


@functools.cache
def described(name: str = CLOUD) -> Description:
    """Give the one description of a process: reading it takes half a second."""
    return Description(name)


def _told(error: Exception) -> str:
    """Write an error of openapi-core, which says little by itself, with those that it stands for."""
    inner = getattr(error, "schema_errors", None) or getattr(error.__cause__, "schema_errors", None) or ()
    causes = [f"{'/'.join(map(str, one.absolute_path))}: {one.message}" for one in inner]
    # An error of a schema would show the whole body before what is wrong with it.
    said = [type(error).__name__] if causes else [str(error), *([str(error.__cause__)] if error.__cause__ else [])]
    return "; ".join([*said, *causes])


def _fetch(folder: Path) -> None:
    """Fetch the package and keep what is used of it."""
    npm = shutil.which("npm")
    if npm is None:
        message = f"npm is needed once, to fetch {PACKAGE} {VERSION}, which the stand-in is checked against"
        raise DescriptionMissingError(message)
    with tempfile.TemporaryDirectory(dir=FOLDER) as temporary:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", temporary]
        done = subprocess.run(
            command, cwd=temporary, capture_output=True, text=True, timeout=FETCHED_WITHIN, check=False
        )
        packed = next(Path(temporary).glob("*.tgz"), None)
        if done.returncode or packed is None:
            message = f"npm could not fetch {PACKAGE} {VERSION}: {done.stderr.strip()[-300:]}"
            raise DescriptionMissingError(message)
        if base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode() != INTEGRITY:
            message = f"{PACKAGE} {VERSION} is not what its hash says it is"
            raise DescriptionMissingError(message)
        ready = Path(temporary, "ready")
        ready.mkdir()
        with tarfile.open(packed) as archive:
            for name in (CLOUD, SERVER):
                member = archive.extractfile(f"package/generated/{name}.json")
                assert member
                pared = json.dumps(_pare(json.load(member)), separators=(",", ":"))
                (ready / f"{name}.json").write_text(pared, encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
        ready.rename(folder)


def _pare(whole: dict[str, Any]) -> dict[str, Any]:
    """Keep the operations that are used and what they refer to."""
    paths = {path: _without(item) for path, item in whole["paths"].items() if PATHS.fullmatch(path)}
    _mend(paths)
    for item in paths.values():
        for operation in item.values():
            _add_errors(operation["responses"])
    pared: dict[str, Any] = {
        "openapi": whole["openapi"],
        "info": whole["info"],
        "servers": [{"url": HOST}],
        "paths": paths,
        "components": {},
    }
    wanted = list(_references(paths))
    while wanted:
        kind, name = wanted.pop().removeprefix("#/components/").split("/")
        section = pared["components"].setdefault(kind, {})
        if name not in section:
            section[name] = _without(whole["components"][kind][name])
            wanted += _references(section[name])
    return pared


def _mend(paths: dict[str, Any]) -> None:
    """Set right what the description has wrong: an account would be a user and an enterprise at once."""
    for path in {"/app/installations"} & paths.keys():
        listed = paths[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["items"]
        account = listed.get("properties", {}).get("account", {})
        if "allOf" in account:
            account["anyOf"] = account.pop("allOf")


def _add_errors(responses: dict[str, Any]) -> None:
    """Add the errors that GitHub answers everything with, where they are not described."""
    for status in COMMON_ERRORS:
        error = {"description": "an error", "content": {"application/json": {"schema": _ERROR}}}
        responses.setdefault(str(status), error)


def _without(part: Any) -> Any:  # noqa: ANN401 - any JSON
    """Leave out what explains and nothing reads; a field of the API may be called so too, and stays."""
    if isinstance(part, list):
        return [_without(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept: dict[str, Any] = {}
    for name, value in part.items():
        if name == "properties" and isinstance(value, dict):
            kept[name] = {field: _without(schema) for field, schema in value.items()}
        elif name == "description" and isinstance(value, str):
            kept[name] = ""
        elif name not in _NOT_KEPT:
            kept[name] = _without(value)
    return kept


def _references(part: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for item in part:
            yield from _references(item)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process of all that test at the same time do something."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - Windows has no other

            file.seek(0)
            for _ in range(FETCHED_WITHIN // 10):  # each attempt waits ten seconds
                with contextlib.suppress(OSError):
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
        else:
            import fcntl  # noqa: PLC0415 - Windows has none

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
        # Closing the file gives the lock back, here and when the process dies.
