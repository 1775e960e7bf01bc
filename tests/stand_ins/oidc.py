"""GitHub's OIDC issuer and the runner's ID-token endpoint, on loopback.

The claims are those that GitHub documents in "OpenID Connect reference"; the
signature is real (RS256), so that a Vault or OpenBao can check it against
:attr:`Issuer.jwks_url`.
"""

from __future__ import annotations

import base64
import functools
import secrets
import threading
import time
import uuid
from collections import deque
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from stand_ins.faults import Answer, FaultServer, answer, html_answer, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from stand_ins.faults import Request, Step

LIFETIME = 300
KEY_ID = "stand-in-1"
OWNER, REPOSITORY = "octo-org", "octo-repo"
OWNER_ID, REPOSITORY_ID = "9919", "74107"
SHA = "f3c1d2a0b4e5968778695a4b3c2d1e0f12345678"
# The faults that are about the token itself; the others are answers (see Issuer.fail_next).
TOKEN_FAULTS = ("early", "expired")


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    """One key for the whole process: making one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Issuer:
    """Signs tokens, and serves discovery, keys and the runner's ID-token endpoint.

    Attributes:
        url: The issuer, the default of the claim ``iss``.
        jwks_url: Its keys.
        request_url: What the runner puts in ACTIONS_ID_TOKEN_REQUEST_URL.
        request_token: What the runner puts in ACTIONS_ID_TOKEN_REQUEST_TOKEN.
        claims: The claims of every token; change them at will.
        asked: The audiences that were asked for, in order (failed requests too).
        issued: Every token that was signed, so that a test can search for them.

    """

    def __init__(self) -> None:
        """Bind to a free port; requests are answered from ``with`` on."""
        self._server = FaultServer(handler=self._respond)
        self._faults: deque[str | int | Step] = deque()
        self._lock = threading.Lock()
        self.url = self._server.url
        self.jwks_url = f"{self.url}/.well-known/jwks"
        self.request_url = f"{self.url}/idtoken?api-version=2.0"
        self.request_token = f"runner-{secrets.token_hex(16)}"
        self.claims: dict[str, object] = _claims(self.url)
        self.asked: list[str] = []
        self.issued: list[str] = []

    @property
    def requests(self) -> list[Request]:
        """Every request, to any of the addresses."""
        return self._server.requests

    @property
    def immutable_sub(self) -> str:
        """The subject in the form with ids, which new repositories have since 2026-07-15."""
        where = f"environment:{self.claims['environment']}" if "environment" in self.claims else "ref:refs/heads/main"
        return f"repo:{OWNER}@{OWNER_ID}/{REPOSITORY}@{REPOSITORY_ID}:{where}"

    def environ(self) -> dict[str, str]:
        """Give the runner's variables: those of the ID-token endpoint, and those that match the claims."""
        names = {
            "GITHUB_REPOSITORY": "repository",
            "GITHUB_REPOSITORY_ID": "repository_id",
            "GITHUB_REPOSITORY_OWNER": "repository_owner",
            "GITHUB_REPOSITORY_OWNER_ID": "repository_owner_id",
            "GITHUB_RUN_ID": "run_id",
            "GITHUB_RUN_NUMBER": "run_number",
            "GITHUB_RUN_ATTEMPT": "run_attempt",
            "GITHUB_EVENT_NAME": "event_name",
            "GITHUB_REF": "ref",
            "GITHUB_SHA": "sha",
            "GITHUB_ACTOR": "actor",
            "GITHUB_WORKFLOW": "workflow",
            "GITHUB_WORKFLOW_REF": "workflow_ref",
        }
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": self.request_url,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.request_token,
            "GITHUB_SERVER_URL": "https://github.com",
            **{name: str(self.claims[claim]) for name, claim in names.items() if claim in self.claims},
        }

    def token(self, audience: str, **claims: object) -> str:
        """Sign a token for an audience; a claim given here replaces that of :attr:`claims`."""
        now = int(time.time())
        times = {"nbf": now - 600, "iat": now, "exp": now + LIFETIME}
        payload = {**times, **self.claims, "jti": str(uuid.uuid4()), "aud": audience, **claims}
        token = jwt.encode(payload, _key(), algorithm="RS256", headers={"kid": KEY_ID})
        with self._lock:
            self.issued.append(token)
        return token

    def fail_next(self, *faults: str | int | Step) -> None:
        """Fail the next requests for a token, one fault each.

        A status code; ``hang``, ``reset``, ``close``; ``html`` (a 200 that is a
        page), ``no-value`` (JSON without the token); ``early`` (a token of the
        future), ``expired``; or any step of :mod:`stand_ins.faults`.
        """
        with self._lock:
            self._faults.extend(faults)

    def _respond(self, request: Request) -> Step:
        routes: dict[str, Callable[[], Step]] = {
            "/.well-known/openid-configuration": self._discovery,
            "/.well-known/jwks": self._jwks,
            "/idtoken": lambda: self._id_token(request),
        }
        route = routes.get(request.path)
        return route() if route else answer(404)

    def _discovery(self) -> Answer:
        return json_answer(
            {
                "issuer": self.url,
                "jwks_uri": self.jwks_url,
                "subject_types_supported": ["public", "pairwise"],
                "response_types_supported": ["id_token"],
                "claims_supported": sorted(self.claims),
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid"],
            }
        )

    def _jwks(self) -> Answer:
        key = _key().public_key().public_numbers()
        numbers = {"n": _base64url(key.n), "e": _base64url(key.e)}
        return json_answer({"keys": [{"kty": "RSA", "kid": KEY_ID, "alg": "RS256", "use": "sig", **numbers}]})

    def _id_token(self, request: Request) -> Step:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token != self.request_token:
            return answer(401)
        audience = request.query.get("audience") or f"https://github.com/{OWNER}"
        with self._lock:
            self.asked.append(audience)
            fault = self._faults.popleft() if self._faults else None
        if fault is None or fault in TOKEN_FAULTS:
            token = self.token(audience, **_times(fault))
            return json_answer({"count": len(token), "value": token})
        return _answer_of(fault)

    def __enter__(self) -> Self:
        """Start to answer."""
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._server.__exit__(kind, error, trace)


def _base64url(number: int) -> str:
    """Write a number as RFC 7518 writes those of a key."""
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode().rstrip("=")


def _times(fault: str | int | Step | None) -> dict[str, object]:
    """Give the times of a token that is not good now."""
    now = int(time.time())
    if fault == "early":
        return {"nbf": now + 3600, "iat": now + 3600, "exp": now + 3600 + LIFETIME}
    if fault == "expired":
        return {"nbf": now - 7200, "iat": now - 7200, "exp": now - 7200 + LIFETIME}
    return {}


def _answer_of(fault: str | int | Step) -> Step:
    """Give the answer that a fault stands for."""
    if isinstance(fault, int):
        return answer(fault, "the stand-in was told to fail")
    if isinstance(fault, Answer):
        return fault
    named: dict[str, Step] = {
        "html": html_answer(),
        "no-value": json_answer({"count": 0}),
        "hang": "hang",
        "reset": "reset",
        "close": "close",
    }
    return named[fault]


def _claims(issuer: str) -> dict[str, object]:
    """Give the claims of a job that deploys to an environment from the default branch."""
    repository = f"{OWNER}/{REPOSITORY}"
    workflow = f"{repository}/.github/workflows/deploy.yml@refs/heads/main"
    return {
        "iss": issuer,
        "sub": f"repo:{repository}:environment:production",
        "environment": "production",
        "repository": repository,
        "repository_id": REPOSITORY_ID,
        "repository_owner": OWNER,
        "repository_owner_id": OWNER_ID,
        "repository_visibility": "private",
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "ref_protected": "true",
        "sha": SHA,
        "head_ref": "",
        "base_ref": "",
        "event_name": "push",
        "workflow": "Deploy",
        "workflow_ref": workflow,
        "workflow_sha": SHA,
        "job_workflow_ref": workflow,
        "job_workflow_sha": SHA,
        "run_id": "16543210987",
        "run_number": "42",
        "run_attempt": "1",
        "runner_environment": "github-hosted",
        "actor": "octocat",
        "actor_id": "583231",
    }


def gitlab_claims(issuer: str) -> dict[str, object]:
    """Give the claims of a GitLab job on a protected branch (GitLab: "ID token payload").

    For :attr:`Issuer.claims`. GitLab has no endpoint: a job finds its tokens in variables.
    """
    project = "imip-group/imip-app"
    return {
        "iss": issuer,
        "sub": f"project_path:{project}:ref_type:branch:ref:main",
        "namespace_id": "72",
        "namespace_path": "imip-group",
        "project_id": "20",
        "project_path": project,
        "user_id": "1",
        "user_login": "sample-user",
        "user_email": "sample-user@example.com",
        "pipeline_id": "574",
        "pipeline_source": "push",
        "job_id": "302",
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "runner_environment": "gitlab-hosted",
        "sha": SHA,
        "project_visibility": "private",
        "ci_config_ref_uri": f"gitlab.example.com/{project}//.gitlab-ci.yml@refs/heads/main",
        "ci_config_sha": SHA,
    }
