"""AWS as a script: its answers in its own forms, and what a store needs to be run against them."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from imip_secrets.deadline import Deadline
from imip_secrets.identity import IdToken
from imip_secrets.secret import Secret
from imip_secrets.settings import Settings
from imip_secrets.stores import SCHEMES
from imip_secrets.stores.base import Context
from stand_ins.faults import Answer, FaultServer, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from imip_secrets.identity import IdTokenSource
    from stand_ins.faults import Request, Step

ROLE = "arn:aws:iam::123456789012:role/imip-ci"
SESSION = "arn:aws:sts::123456789012:assumed-role/imip-ci/imip-secrets"
KEYS = ("ASIAEXAMPLEKEY00", "an-example-secret-access-key/00", "an-example-session-token==")
CLAIMS = {
    "iss": "https://token.actions.githubusercontent.com",
    "aud": "sts.amazonaws.com",
    "sub": "repo:octo-org/octo-repo:environment:production",
    "repository": "octo-org/octo-repo",
}


def session(arn: str = SESSION, *, until: str = "", keys: tuple[str, str, str] = KEYS) -> Answer:
    """Answer AssumeRoleWithWebIdentity with credentials."""
    end = until or (datetime.now(timezone.utc) + timedelta(minutes=15)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return xml(
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>"
        f"<AssumedRoleUser><Arn>{arn}</Arn><AssumedRoleId>AROA:imip-secrets</AssumedRoleId></AssumedRoleUser>"
        f"<Credentials><AccessKeyId>{keys[0]}</AccessKeyId><SecretAccessKey>{keys[1]}</SecretAccessKey>"
        f"<SessionToken>{keys[2]}</SessionToken><Expiration>{end}</Expiration></Credentials>"
        "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )


def xml(text: str, status: int = 200, **headers: str) -> Answer:
    """Answer with XML."""
    return Answer(status, {"Content-Type": "text/xml", **headers}, text.encode())


def sts_refusal(code: str, message: str = "", status: int = 400, **headers: str) -> Answer:
    """Refuse as STS does."""
    text = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return xml(f"<ErrorResponse>{text}<RequestId>0a1b</RequestId></ErrorResponse>", status, **headers)


def secret(value: str | bytes = "a value", **more: object) -> Answer:
    """Answer GetSecretValue."""
    given = {"SecretBinary": base64.b64encode(value).decode()} if isinstance(value, bytes) else {"SecretString": value}
    return json_answer({"Name": "a", "VersionId": "v" * 32, "CreatedDate": 1_700_000_000.5, **given, **more})


def refusal(code: str, message: str = "", status: int = 400, **headers: str) -> Answer:
    """Refuse as Secrets Manager does."""
    whole = json_answer({"__type": code, "Message": message}, status)
    return Answer(status, {**whole.headers, **headers}, whole.body)


def is_sts(request: Request) -> bool:
    """Tell whether a request is one for STS."""
    return b"Action=AssumeRoleWithWebIdentity" in request.body


class Run:
    """A server that plays both services, and a store that is open to it.

    Args:
        steps: What Secrets Manager answers, in order; the last stays.
        login: What STS answers, in order; afterwards it gives a session.
        seconds: The deadline of the run.
        url: Another address than the server's.
        ambient: See Context.
        tls: A server context.
        scheme: Whose store it is.
        id_token: Gives ID tokens in place of this.
        protect: Takes note of credentials in place of this.
        settings: More settings, underscores for hyphens; ``aws_role_to_assume=""`` logs in without a role.

    """

    def __init__(
        self,
        *steps: Step,
        login: tuple[Step, ...] = (),
        seconds: float = 100,
        url: str | None = None,
        ambient: bool = False,
        tls: Any = None,  # noqa: ANN401  # ssl is imported by few
        scheme: str = "aws",
        id_token: IdTokenSource | None = None,
        protect: Callable[[Secret], None] | None = None,
        **settings: str,
    ) -> None:
        """Make the store; nothing is asked yet."""
        self.server = FaultServer(*(steps or (secret(),)), tls=tls)
        self.server.script(*login, *[session()] * 5, when=is_sts)
        self.protected: list[str] = []
        self.notices: list[str] = []
        self.audiences: list[str] = []
        self.claims: dict[str, object] = dict(CLAIMS)
        given = {name.replace("_", "-"): value for name, value in settings.items()}
        base = {
            "aws-region": "us-east-1",
            "aws-role-to-assume": ROLE,
            "aws-endpoint-url": self.server.url if url is None else url,
        }
        self.context = Context(
            settings=Settings({**base, **given}),
            id_token=id_token or self._id_token,
            protect=protect or (lambda part: self.protected.append(part.reveal())),
            notice=self.notices.append,
            deadline=Deadline(seconds),
            ambient=ambient,
        )
        self.store: Any = SCHEMES[scheme].load().open_store(self.context)

    def _id_token(self, audience: str) -> IdToken:
        self.audiences.append(audience)
        return IdToken(Secret(f"header.claims-{len(self.audiences)}.signature"), self.claims)

    def logged_in(self) -> Any:  # noqa: ANN401  # the scheme's store
        """Log in and return the store."""
        self.store.login()
        return self.store

    @property
    def reads(self) -> list[Request]:
        """The requests to Secrets Manager."""
        return [request for request in self.server.requests if not is_sts(request)]

    @property
    def logins(self) -> list[Request]:
        """The requests to STS."""
        return [request for request in self.server.requests if is_sts(request)]

    def __enter__(self) -> Self:
        """Start to answer."""
        self.server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store and the server."""
        self.store.close()
        self.server.__exit__(kind, error, trace)
