"""The stores as a family: each behind a harness of one shape, with a world of its own.

A store that is new has one class here and one row in :data:`HARNESSES`; then
``tests/integration/test_stores.py`` holds for it what it holds for every store.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, cast
from unittest import mock

from imip_secrets import document, dotenv
from imip_secrets.stores import SCHEMES
from imip_secrets.stores.base import Target
from stand_ins.aws import ROLE, Aws
from stand_ins.aws_script import refusal
from stand_ins.azure import CLIENT, TENANT, Azure, vault_error
from stand_ins.faults import Answer, FaultServer, json_answer
from stand_ins.vault import Vault
from stand_ins.vault_script import Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from typing_extensions import Self

    from imip_secrets.deadline import Deadline
    from imip_secrets.stores.base import Found, Store
    from stand_ins.faults import Request, Step
    from stand_ins.oidc import Issuer

    # What comes instead of the next answer: an answer or a break, or what becomes of the true answer.
    Fault = Step | Callable[[Answer], Step]

AUDIENCE = "https://vault.company.example"


class Harness(Protocol):
    """A store and its world, from ``with`` on.

    Attributes:
        scheme: Its row in ``SCHEMES``.
        settings: The inputs to use it with.
        throttled: How its service says that it is asked too often; None for a store without a network.
        denial: What an error for :meth:`denying`'s secret must name: the permission or rule, and the exact resource.
        has_versions: Whether it keeps older values.
        library: What is imported of its library, and by no store with another; empty where it needs none.
        audience: Whom its ID tokens are for, or "" where nobody logs in.

    """

    scheme: ClassVar[str]
    library: ClassVar[frozenset[str]]
    audience: ClassVar[str]
    settings: dict[str, str]
    throttled: ClassVar[Step | None]
    denial: str
    has_versions: ClassVar[bool]

    def __init__(self, issuer: Issuer) -> None:
        """Take who signs the tokens of jobs."""

    def put(self, name: str, value: str) -> Target:
        """Write a value, the newest of its name; return what reads it."""

    def version(self, target: Target, number: int) -> Target:
        """Return what reads the value that was written as the so-manieth, from 1; one that is not there too."""

    def delete(self, target: Target) -> None:
        """Delete it, as the service does that."""

    def denying(self) -> AbstractContextManager[Target]:
        """Give a secret that may not be read."""

    def folder(self) -> str:
        """Return the start of the names that :meth:`put` makes."""

    def value(self, found: Found) -> str:
        """Take the value out of what was found."""

    def disturb(self, *faults: Fault) -> None:
        """Let the next reads of a secret's value come to this."""

    def undisturbed(self) -> bool:
        """Tell whether every fault has been met, and forget the rest."""

    def __enter__(self) -> Self:
        """Start the world."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""


class Disturbed:
    """Answers as a server does, but for the faults that are due.

    Args:
        answer: The server.
        reads: Tells the requests that read a value.

    """

    def __init__(self, answer: Callable[[Request], Step], reads: Callable[[Request], bool]) -> None:
        self._answer = answer
        self._reads = reads
        self.faults: deque[Fault] = deque()

    def __call__(self, request: Request) -> Step:
        if not self.faults or not self._reads(request):
            return self._answer(request)
        fault = self.faults.popleft()
        if not callable(fault):
            return fault
        return fault(cast("Answer", self._answer(request)))


class _Remote:
    """What the harnesses of services share."""

    has_versions: ClassVar[bool] = True

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._stack = contextlib.ExitStack()
        self._disturbed: Disturbed
        self._start: str = "imip/"

    def _front(self, url: str, reads: Callable[[Request], bool]) -> str:
        """Put a server that can be disturbed before one; return its address."""
        front = FaultServer(upstream=url)
        front._handler = self._disturbed = Disturbed(front._pass_on, reads)
        return self._stack.enter_context(front).url

    def folder(self) -> str:
        return self._start

    def value(self, found: Found) -> str:
        return found.value.reveal()

    def disturb(self, *faults: Fault) -> None:
        self._disturbed.faults.extend(faults)

    def undisturbed(self) -> bool:
        met = not self._disturbed.faults
        self._disturbed.faults.clear()
        return met

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


class OfAws(_Remote):
    """Moto, which checks no permissions: a denial is scripted.

    Attributes:
        aws: A server that is started already, for stores that are used together; else one of its own.

    """

    aws: Aws | None = None

    throttled: ClassVar[Step | None] = refusal("ThrottlingException", "Rate exceeded")
    library: ClassVar[frozenset[str]] = frozenset({"botocore", "boto3"})
    audience: ClassVar[str] = "sts.amazonaws.com"
    _operations: ClassVar[tuple[str, ...]]

    def __enter__(self) -> Self:
        self._aws = self.aws or self._stack.enter_context(Aws())
        url = self._front(self._aws.url, lambda request: self._operation(request) in self._operations)
        self.settings = {"aws-region": "us-east-1", "aws-role-to-assume": ROLE, "aws-endpoint-url": url}
        self._versions: dict[str, list[str]] = {}
        return self

    @staticmethod
    def _operation(request: Request) -> str:
        return request.headers.get("x-amz-target", "").partition(".")[2]

    def version(self, target: Target, number: int) -> Target:
        known = self._versions[target.path]
        return target._replace(version=known[number - 1] if number <= len(known) else self._none)

    _none: ClassVar[str]

    @contextlib.contextmanager
    def denying(self) -> Iterator[Target]:
        said = "User: arn:aws:sts::123456789012:assumed-role/imip-ci/x is not authorized to perform this"
        self.disturb(*[refusal("AccessDeniedException", said)] * 4)
        yield Target(f"{self._start}denied")
        self.undisturbed()


class SecretsManager(OfAws):
    """AWS Secrets Manager."""

    scheme: ClassVar[str] = "aws"
    denial = (
        "Allow secretsmanager:GetSecretValue on "
        f"arn:aws:secretsmanager:us-east-1:123456789012:secret:imip/denied-?????? to {ROLE}."
    )
    _operations = ("GetSecretValue",)
    _none = "0" * 32

    def put(self, name: str, value: str) -> Target:
        path = f"{self._start}{name}"
        self._versions.setdefault(path, []).append(self._aws.put(path, value))
        return Target(path)

    def delete(self, target: Target) -> None:
        self._aws.delete(target.path)


class ParameterStore(OfAws):
    """AWS SSM Parameter Store."""

    scheme: ClassVar[str] = "aws-ssm"
    denial = f"(or ssm:GetParameter) on arn:aws:ssm:us-east-1:123456789012:parameter/imip/denied to {ROLE}."
    _operations = ("GetParameters", "GetParameter")
    _none = "99"

    def __init__(self, issuer: Issuer) -> None:
        super().__init__(issuer)
        self._start = "/imip/"

    def put(self, name: str, value: str) -> Target:
        path = f"{self._start}{name}"
        self._versions.setdefault(path, []).append(str(self._aws.put_parameter(path, value)))
        return Target(path)

    def delete(self, target: Target) -> None:
        self._aws.client("ssm").delete_parameter(Name=target.path)


class OpenBao(_Remote):
    """Vault: a real OpenBao, which checks everything itself."""

    scheme: ClassVar[str] = "vault"
    library: ClassVar[frozenset[str]] = frozenset({"hvac", "imip_secrets.stores.vault.transport"})
    audience: ClassVar[str] = AUDIENCE
    throttled: ClassVar[Step | None] = json_answer({"errors": ["request path: rate limit quota exceeded"]}, 429)
    denial = (
        "in a policy of the role imip-ci (its token has default, imip): "
        'path "secret/data/other/denied" { capabilities = ["read"] }.'
    )

    def __init__(self, issuer: Issuer) -> None:
        super().__init__(issuer)
        self._start = "secret/imip/"

    def __enter__(self) -> Self:
        self._vault = vault = self._stack.enter_context(Vault())
        vault.trust(self._issuer)
        vault.policy("imip", {"secret/data/imip/*": ["read"], "secret/metadata/imip/*": ["list"]})
        subject = self._issuer.claims["sub"]
        vault.role("imip-ci", audience=AUDIENCE, policies=["imip"], bound_subject=subject)
        url = self._front(vault.url, lambda request: request.method == "GET" and "/secret/data/" in request.path)
        self.settings = {"vault-addr": url, "vault-role": "imip-ci", "vault-audience": AUDIENCE}
        return self

    def put(self, name: str, value: str) -> Target:
        self._vault.put(f"{self._start}{name}", {"VALUE": value})
        return Target(f"{self._start}{name}")

    def version(self, target: Target, number: int) -> Target:
        return target._replace(version=str(number))

    def delete(self, target: Target) -> None:
        self._vault.do("DELETE", target.path.replace("secret/", "secret/data/", 1))

    @contextlib.contextmanager
    def denying(self) -> Iterator[Target]:
        self._vault.put("secret/other/denied", {"VALUE": "x"})
        yield Target("secret/other/denied")

    def value(self, found: Found) -> str:
        return _of_data(found)


class KeyVault(_Remote):
    """Azure Key Vault: the stand-in, over TLS."""

    scheme: ClassVar[str] = "azure"
    library: ClassVar[frozenset[str]] = frozenset({"azure", "msal", "requests"})
    audience: ClassVar[str] = "api://AzureADTokenExchange"
    throttled: ClassVar[Step | None] = vault_error(429, "Throttled", "Request was not processed: too many requests.")
    denial = "Assign it the role Key Vault Secrets User on the vault (az role assignment create"

    def __enter__(self) -> Self:
        self._azure = azure = self._stack.enter_context(Azure(self._issuer))
        self._disturbed = Disturbed(azure._respond, self._reads)
        azure.server._handler = self._disturbed
        self._start = f"{azure.host}/imip-"
        self.settings = {
            "azure-tenant-id": TENANT,
            "azure-client-id": CLIENT,
            "azure-authority-host": azure.url,
            "ca-certificate": azure.pem,
        }
        return self

    @staticmethod
    def _reads(request: Request) -> bool:
        return bool(request.headers.get("authorization")) and request.path.startswith("/secrets/imip-")

    def put(self, name: str, value: str) -> Target:
        secret = f"imip-{name.replace('/', '-')}"
        self._azure.put(secret, value)
        return Target(f"{self._azure.host}/{secret}")

    def version(self, target: Target, number: int) -> Target:
        known = self._azure.vaults["imip-vault"][target.path.partition("/")[2]]
        return target._replace(version=known[number - 1].id if number <= len(known) else "0" * 32)

    def delete(self, target: Target) -> None:
        self._azure.delete(target.path.partition("/")[2])

    @contextlib.contextmanager
    def denying(self) -> Iterator[Target]:
        self._azure.denial, self._azure.denied = "ForbiddenByRbac", "/secrets/imip-denied"
        yield Target(f"{self._azure.host}/imip-denied")
        self._azure.denial = ""


class DotenvFiles:
    """Files in a folder of their own."""

    scheme: ClassVar[str] = "env-file"
    library: ClassVar[frozenset[str]] = frozenset({"dotenv"})
    audience: ClassVar[str] = ""
    throttled: ClassVar[Step | None] = None
    has_versions: ClassVar[bool] = False

    def __init__(self, issuer: Issuer) -> None:
        """Know no issuer: there is nobody to log in to."""
        del issuer
        self.settings: dict[str, str] = {}
        self.denial = ""

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory(prefix="imip-family-")
        self._place = Path(self._temporary.name).as_posix()
        self.denial = f"{self._place}/denied cannot be read (Permission denied). Check the permissions of the file"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.cleanup()

    def folder(self) -> str:
        return f"{self._place}/"

    def put(self, name: str, value: str) -> Target:
        path = Path(self._place, name)
        path.write_text(dotenv.dotenv([("VALUE", value)]), encoding="utf-8", newline="")
        return Target(path.as_posix())

    def version(self, target: Target, number: int) -> Target:
        raise NotImplementedError

    def delete(self, target: Target) -> None:
        Path(target.path).unlink()

    @contextlib.contextmanager
    def denying(self) -> Iterator[Target]:
        """Let the system refuse: the tests may run as root, who may read everything."""
        with mock.patch.object(Path, "open", side_effect=PermissionError(13, "Permission denied")):
            yield self.put_denied()

    def put_denied(self) -> Target:
        """Make the file without ``Path.open``."""
        path = f"{self._place}/denied"
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - Path.open is what is refused
            file.write("VALUE=x\n")
        return Target(path)

    def value(self, found: Found) -> str:
        return _of_data(found)

    def disturb(self, *faults: Fault) -> None:
        raise NotImplementedError

    def undisturbed(self) -> bool:
        return True


def _of_data(found: Found) -> str:
    assert found.is_data
    return document.text_of((document.as_object(found.value.reveal()) or {})["VALUE"])


HARNESSES: Mapping[str, type[Harness]] = {
    "aws": SecretsManager,
    "aws-ssm": ParameterStore,
    "vault": OpenBao,
    "azure": KeyVault,
    "env-file": DotenvFiles,
}


class Opened:
    """A store that is logged in, and what it told the core."""

    def __init__(self, harness: Harness, issuer: Issuer, deadline: Deadline | None = None) -> None:
        self.caller = Caller(harness.settings, id_token=issuer.token, deadline=deadline)
        self.store: Store = SCHEMES[harness.scheme].load().open_store(self.caller.context)
        self.line = ""

    def __enter__(self) -> Self:
        self.line = self.store.login()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()


def request(harness: Harness, *lines: str) -> dict[str, str]:
    """Return the inputs of a run that asks one store for these lines."""
    return {**harness.settings, "secrets": "\n".join(lines)}


def reference(harness: Harness, target: Target, *options: str) -> str:
    """Write what a person writes for a target, the value's key too where the store has keys."""
    version = [f"version={target.version}"] if target.version else []
    given = "&".join([*version, *options])
    key = "#VALUE" if harness.scheme in {"vault", "env-file"} else ""
    return f"{harness.scheme}://{target.path}{f'?{given}' if given else ''}{key}"


def paths(targets: Sequence[Target]) -> list[str]:
    """Return the paths."""
    return [target.path for target in targets]
