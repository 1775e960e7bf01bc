"""The servers of a benchmark, away from the process that measures: it must stay small (see bench/job.py).

``python -m bench.serve ROUND_TRIP_SECONDS`` prints where they are, as JSON, and ends with its standard input.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from stand_ins.aws import Aws
from stand_ins.delay import DelayProxy
from stand_ins.faults import FaultServer
from stand_ins.oidc import Issuer
from stand_ins.vault import Vault

AUDIENCE = "bench"
ROLE = "bench"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where to go.

    Args:
        aws: AWS Secrets Manager and STS.
        vault: OpenBao.
        job: The variables that the runner gives a job with ``id-token: write``.

    """

    aws: str
    vault: str
    job: dict[str, str]


def secrets(count: int) -> dict[str, str]:
    """Return what both sides are to export: names, and values that nothing else in a job has."""
    return {f"BENCH_{number:02}": f"value-{number:02}-{number * 7919:012x}-öß" for number in range(count)}


def path(name: str) -> str:
    """Return the name of a secret in AWS, and its path below ``secret/`` in Vault (there it is the key ``value``)."""
    return f"bench/{name.lower()}"


def main(round_trip: float, count: int) -> None:
    """Serve ``count`` secrets, each byte ``round_trip / 2`` seconds late."""
    with ExitStack() as stack:
        issuer = stack.enter_context(Issuer())
        aws = stack.enter_context(Aws())
        # moto's server closes each connection after one request, which AWS does not.
        front = stack.enter_context(FaultServer(upstream=aws.url))
        vault = stack.enter_context(Vault())
        vault.trust(issuer)
        vault.policy(ROLE, {"secret/data/bench/*": ["read"]})
        vault.role(ROLE, audience=AUDIENCE, policies=[ROLE])
        for name, value in secrets(count).items():
            aws.put(path(name), value)
            vault.put(f"secret/{path(name)}", {"value": value})

        def far(url: str) -> str:
            """Return the address of a server as it is to be used."""
            if not round_trip:
                return url
            parts = urlsplit(url)
            proxy = stack.enter_context(DelayProxy(parts.hostname or "", parts.port or 0, round_trip))
            return url.replace(f"{parts.scheme}://{parts.netloc}", proxy.url)

        job = issuer.environ()
        job["ACTIONS_ID_TOKEN_REQUEST_URL"] = far(issuer.request_url)
        print(json.dumps(asdict(Servers(far(front.url), far(vault.url), job))), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
