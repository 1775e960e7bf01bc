"""AWS Secrets Manager, Parameter Store and STS on loopback: moto's server, in a process of its own.

moto knows secrets, versions, labels, deletion and pages. It checks neither
signatures nor permissions nor ID tokens, and answers every role with
credentials; what was asked for stands in :attr:`Aws.calls`. For faults, put a
``FaultServer(upstream=aws.url)`` in front.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Self

HOST = "127.0.0.1"
REGION = "us-east-1"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/imip-ci"
_CALLS = "/stand-in/calls"
_SCOPE_PARTS = 5  # key, day, region, service, "aws4_request" and what follows


@dataclass(frozen=True, slots=True)
class Call:
    """One request to AWS: what was asked for, where, with which access key ("" if unsigned)."""

    operation: str
    region: str
    key: str
    parameters: Mapping[str, Any]


class Aws:
    """A server that starts with ``with`` and is empty then.

    Attributes:
        url: Its address, for the setting ``aws-endpoint-url``.

    """

    def __init__(self) -> None:
        """Take a note of nothing; the process starts with ``with``."""
        self.url = ""
        self._clients: dict[tuple[str, str], Any] = {}

    def client(self, service: str = "secretsmanager", region: str = REGION) -> Any:  # noqa: ANN401  # botocore has no types
        """Return an administrator's client of botocore."""
        import botocore.session  # noqa: PLC0415  # takes a fifth of a second, which only some tests need

        if (service, region) not in self._clients:
            self._clients[service, region] = botocore.session.Session().create_client(
                service,
                region_name=region,
                endpoint_url=self.url,
                aws_access_key_id="administrator",
                aws_secret_access_key="administrator",
            )
        return self._clients[service, region]

    def put(
        self, name: str, value: str | bytes | Mapping[str, object], *, region: str = REGION, stage: str = "AWSCURRENT"
    ) -> str:
        """Create a secret, or give it another version; return the version's id. A mapping is written as JSON."""
        client = self.client(region=region)
        if isinstance(value, bytes):
            what: dict[str, object] = {"SecretBinary": value}
        else:
            what = {"SecretString": value if isinstance(value, str) else json.dumps(value)}
        try:
            if stage == "AWSCURRENT":
                return str(client.create_secret(Name=name, **what)["VersionId"])
        except client.exceptions.ResourceExistsException:
            pass
        return str(client.put_secret_value(SecretId=name, VersionStages=[stage], **what)["VersionId"])

    def put_many(self, names: Iterable[str], value: str = "value", *, region: str = REGION) -> None:
        """Create many secrets."""
        for name in names:
            self.put(name, value, region=region)

    def put_empty(self, name: str, *, region: str = REGION) -> None:
        """Create a secret without a value."""
        self.client(region=region).create_secret(Name=name)

    def put_parameter(
        self, name: str, value: str, *, kind: str = "SecureString", region: str = REGION, labels: Iterable[str] = ()
    ) -> int:
        """Create a parameter, or give it another version; return the version's number."""
        client = self.client("ssm", region)
        version = int(client.put_parameter(Name=name, Value=value, Type=kind, Overwrite=True)["Version"])
        if labels:
            client.label_parameter_version(Name=name, ParameterVersion=version, Labels=[*labels])
        return version

    def delete(self, name: str, *, region: str = REGION) -> None:
        """Schedule a secret for deletion."""
        self.client(region=region).delete_secret(SecretId=name)

    def arn(self, name: str, *, region: str = REGION) -> str:
        """Return the full ARN of a secret."""
        return str(self.client(region=region).describe_secret(SecretId=name)["ARN"])

    @property
    def calls(self) -> list[Call]:
        """Every request since the start or :meth:`reset`, those of the helpers above too, in order."""
        with urllib.request.urlopen(self.url + _CALLS, timeout=100) as response:
            return [Call(**call) for call in json.load(response)]

    def reads(self) -> list[str]:
        """Return the names or ARNs of the secrets that were read, in order."""
        return [call.parameters["SecretId"] for call in self.calls if call.operation == "GetSecretValue"]

    def reset(self) -> None:
        """Forget every secret and every call."""
        self._post("/moto-api/reset")
        self.forget_calls()

    def forget_calls(self) -> None:
        """Forget every call, and keep the secrets."""
        self._post(_CALLS)

    def _post(self, path: str) -> None:
        request = urllib.request.Request(self.url + path, method="POST", data=b"")
        with urllib.request.urlopen(request, timeout=100):
            pass

    def __enter__(self) -> Self:
        """Start the process and wait for its port."""
        command = [sys.executable, "-I", __file__]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # An interruption at the terminal is for whoever started us, and then closes our input.
            start_new_session=True,
        )
        assert self._process.stdout
        try:
            self.url = f"http://{HOST}:{int(self._process.stdout.readline())}"
        except BaseException:  # an interruption, while it starts
            self._process.kill()
            self._process.communicate()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the process's input, at which it ends."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def _call(environ: Mapping[str, Any], body: bytes) -> dict[str, object]:
    """Read what a request asks for: JSON for all but STS, which takes a form."""
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
    signed = len(scope) == _SCOPE_PARTS
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    parameters = json.loads(body or b"{}") if target else dict(parse_qsl(body.decode()))
    return {
        "operation": target.partition(".")[2] or parameters.get("Action", ""),
        "region": scope[2] if signed else "",
        "key": scope[0] if signed else "",
        "parameters": parameters,
    }


def _recorder(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Put a recorder before an application; it answers for the address of the calls itself."""
    import io  # noqa: PLC0415  # needed by the server alone

    calls: list[dict[str, object]] = []

    def recorded(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path == _CALLS:
            answer = json.dumps(calls).encode()
            if method == "POST":
                calls.clear()
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
            return [answer]
        if not path.startswith("/moto-api"):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            calls.append(_call(environ, body))
        return application(environ, start_response)

    return recorded


def _serve() -> None:
    """Serve until standard input ends."""
    import threading  # noqa: PLC0415  # needed by the server alone

    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415  # takes a second
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from moto.secretsmanager.models import FakeSecret  # noqa: PLC0415
    from werkzeug.serving import make_server  # noqa: PLC0415

    put_current = FakeSecret.reset_default_version

    def put_after_the_label(secret: FakeSecret, version: dict[str, Any], version_id: str) -> None:
        """Mend moto: a label that was moved does not move its mark of the current version, so two would be current."""
        versions = secret.versions.items()
        secret.default_version_id = next((name for name, it in versions if "AWSCURRENT" in it["version_stages"]), None)
        put_current(secret, version, version_id)

    setattr(FakeSecret, "reset_default_version", put_after_the_label)  # noqa: B010  # mypy: no method is assigned to

    class Quiet(MotoRequestHandler):
        disable_nagle_algorithm = True

        def log(self, *_: object) -> None:
            """Print nothing."""

    server = make_server(
        HOST, 0, _recorder(DomainDispatcherApplication(create_backend_app)), threaded=True, request_handler=Quiet
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # How the parent learns the port, unless it was interrupted before that.
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), f"{server.server_port}\n".encode())
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    _serve()
