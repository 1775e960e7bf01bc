"""``make benchimage``: how soon the image asks for what it needs, on a base of this machine's distribution."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.serve import AUDIENCE, ROLE, path, secrets
from stand_ins.aws import ROLE as AWS_ROLE
from stand_ins.aws import Aws
from stand_ins.faults import FaultServer
from stand_ins.image import DockerJob, built, lacking
from stand_ins.oidc import Issuer
from stand_ins.vault import Vault

if TYPE_CHECKING:
    from stand_ins.container import Container
    from stand_ins.faults import Request, Step

ROUNDS = 15
WARM_UP = 2
TARGET_SECONDS = 0.4


class Watched(FaultServer):
    """Stands before the issuer, and knows when it was first asked."""

    def __init__(self, upstream: str) -> None:
        """Ask nothing yet."""
        super().__init__(upstream=upstream)
        self.asked = 0.0

    def respond(self, request: Request) -> Step:
        """Note the time of the first request since it was forgotten."""
        self.asked = self.asked or time.monotonic()
        return super().respond(request)


def measure(image: Container, watched: Watched, issuer: Issuer, inputs: dict[str, str]) -> tuple[float, float]:
    """Run the action once; return the seconds from its start to its first request, and to its end."""
    with tempfile.TemporaryDirectory(prefix="imip-bench-") as folder:
        job = DockerJob(Path(folder), issuer)
        watched.asked = 0.0
        address = {"ACTIONS_ID_TOKEN_REQUEST_URL": issuer.request_url.replace(issuer.url, watched.url)}
        ended = job.run(image, address, **inputs)
        end = time.monotonic()
        if ended.status:
            raise SystemExit(ended.out + ended.err)
        return watched.asked - ended.started, end - ended.started


def main() -> int:
    """Measure one secret from each store, and print the medians."""
    if lacking():
        print(lacking())
        return 1
    (name,) = secrets(1)
    with built() as image, Issuer() as issuer, Aws() as aws, Vault() as vault, Watched(issuer.url) as watched:
        aws.put(path(name), "value")
        vault.trust(issuer)
        vault.policy(ROLE, {"secret/data/bench/*": ["read"]})
        vault.role(ROLE, audience=AUDIENCE, policies=[ROLE])
        vault.put(f"secret/{path(name)}", {"value": "value"})
        of_aws = {"aws_region": "us-east-1", "aws_role_to_assume": AWS_ROLE, "aws_endpoint_url": aws.url}
        of_vault = {"vault_addr": vault.url, "vault_role": ROLE, "vault_audience": AUDIENCE}
        for title, inputs in {
            "aws": {**of_aws, "secrets": f"{name} = aws://{path(name)}"},
            "vault": {**of_vault, "secrets": f"{name} = vault://secret/{path(name)}#value"},
        }.items():
            times = [measure(image, watched, issuer, inputs) for _ in range(WARM_UP + ROUNDS)]
            first, whole = (median(each) for each in zip(*times[WARM_UP:], strict=True))
            verdict = "reached" if first <= TARGET_SECONDS else "MISSED"
            print(f"image, {title}: the very first run asked after {times[0][0] * 1000:.0f} ms")
            print(
                f"image, {title}: start to first request {first * 1000:.0f} ms (at most {TARGET_SECONDS * 1000:.0f}: "
                f"{verdict}), whole run {whole * 1000:.0f} ms"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
