"""The part of Kubernetes that Vault's login method asks: the review of a pod's token.

The tokens are really signed, and really verified here: signature, time and
audience, and that the service account exists. Kubernetes' API, "TokenReview
v1 authentication.k8s.io".
"""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING

import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa

from stand_ins.faults import FaultServer, json_answer

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from stand_ins.faults import Request, Step

ISSUER = "https://kubernetes.default.svc.cluster.local"
REVIEWER = "the-reviewer-of-vault"
_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"


class Kubernetes:
    """An API server that reviews tokens, from ``with`` on.

    Attributes:
        url: Its address, Vault's ``kubernetes_host``.
        accounts: The service accounts that exist, as ``namespace:name``.
        reviews: How often it was asked.

    """

    def __init__(self) -> None:
        """Bind to a free port."""
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._server = FaultServer(handler=self._respond)
        self.url = self._server.url
        self.accounts: set[str] = set()
        self._uids: dict[str, str] = {}
        self.reviews = 0

    def token(self, namespace: str, name: str, *, audience: str = ISSUER, seconds: int = 600) -> str:
        """Make a token of a service account, as the kubelet puts it into a pod."""
        now = int(time.time())
        uid = self._uids.setdefault(f"{namespace}:{name}", str(uuid.uuid4()))
        return jwt.encode(
            {
                "iss": ISSUER,
                "sub": f"system:serviceaccount:{namespace}:{name}",
                "aud": [audience],
                "iat": now - 60,
                "nbf": now - 60,
                "exp": now + seconds,
                "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
            },
            self._key,
            algorithm="RS256",
        )

    def config(self) -> dict[str, object]:
        """Give the configuration of Vault's login method."""
        return {
            "kubernetes_host": self.url,
            "token_reviewer_jwt": REVIEWER,
            # Asked for, though the address is http.
            "kubernetes_ca_cert": trustme.CA().cert_pem.bytes().decode(),
        }

    def _respond(self, request: Request) -> Step:
        if request.path != _PATH or request.headers.get("authorization") != f"Bearer {REVIEWER}":
            return json_answer({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden"}, 403)
        self.reviews += 1
        spec = json.loads(request.body)["spec"]
        status = self._status(spec["token"], spec.get("audiences") or [ISSUER])
        review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status}
        return json_answer(review, 201)

    def _status(self, token: str, audiences: list[str]) -> dict[str, object]:
        try:
            claims = jwt.decode(token, self._key.public_key(), algorithms=["RS256"], audience=audiences)
        except jwt.InvalidTokenError as error:
            return {"authenticated": False, "error": f"invalid bearer token, {error}"}
        account = claims["sub"].removeprefix("system:serviceaccount:")
        if account not in self.accounts:
            return {"authenticated": False, "error": "service account not found"}
        user = {
            "username": claims["sub"],
            "uid": claims["kubernetes.io"]["serviceaccount"]["uid"],
            "groups": ["system:serviceaccounts", "system:authenticated"],
        }
        return {"authenticated": True, "user": user, "audiences": [each for each in audiences if each in claims["aud"]]}

    def __enter__(self) -> Self:
        """Start to answer."""
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._server.__exit__(kind, error, trace)
