"""Certificates and keys as files: through every store, the whole action and the cleanup, byte for byte."""

from __future__ import annotations

import base64
import datetime as dt
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from imip_secrets.runner import files, handover
from imip_secrets.stores import SCHEMES
from job import Job
from stand_ins.aws import ROLE, Aws
from stand_ins.family import HARNESSES, reference
from stand_ins.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stand_ins.family import Harness
    from stand_ins.oidc import Issuer

PASSWORD = b"of the key store"


class Keys(NamedTuple):
    """A key with its certificate: as PEM, and as what Windows and Java take."""

    pem: str
    certificate: str
    pfx: bytes


def made() -> Keys:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "imip.example")])
    now = dt.datetime.now(dt.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    locked = serialization.BestAvailableEncryption(PASSWORD)
    return Keys(
        pem.decode(),
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        pkcs12.serialize_key_and_certificates(b"imip", key, certificate, None, locked),
    )


@pytest.fixture(scope="module")
def keys() -> Keys:
    return made()


@pytest.fixture(params=[name for name in HARNESSES if not SCHEMES[name].local])
def harness(request: pytest.FixtureRequest, worlds: Callable[[str], Harness]) -> Harness:
    return worlds(request.param)


@pytest.fixture
def job(tmp_path: Path, issuer: Issuer) -> Job:
    job = Job(tmp_path)
    job.environ |= issuer.environ()
    (files.private_folder(job.temp) / handover.MARK).touch()
    return job


def run(job: Job, settings: Mapping[str, str], *lines: str) -> dict[str, Path]:
    """Run the action, and return the files that the variables lead to."""
    given = {name.replace("-", "_"): text for name, text in settings.items()}
    assert job.run("\n".join(lines), Memory(), **given) == 0, job.stdout
    found = job.log().environment
    return {name: Path(path) for name, path in found.items() if name != "EARLIER"}


def check(found: dict[str, Path], keys: Keys, job: Job) -> None:
    """See that the files are what was kept, of use, and closed to everybody else."""
    assert found["KEY"].read_bytes() == keys.pem.encode()
    assert found["PFX"].read_bytes() == keys.pfx
    key, certificate, _ = pkcs12.load_key_and_certificates(found["PFX"].read_bytes(), PASSWORD)
    assert certificate is not None
    assert key is not None
    loaded = serialization.load_pem_private_key(found["KEY"].read_bytes(), None)
    assert certificate.public_key() == key.public_key() == loaded.public_key()
    for path in found.values():
        assert path.parent.parent == job.temp
        if os.name == "posix":
            modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)]
            assert modes == [0o600, 0o700]


def clean(job: Job, found: dict[str, Path]) -> None:
    assert job.start("cleanup", Memory()) == 0
    assert not [path for path in found.values() if path.exists()]
    assert list(job.temp.iterdir()) == []
    assert job.log().environment == {"EARLIER": "1", **dict.fromkeys(found, "")}


def test_a_key_and_a_key_store_become_files_of_their_bytes_and_are_gone_afterwards(
    harness: Harness, keys: Keys, job: Job
) -> None:
    pem = harness.put("tls/key", keys.pem)
    # Only AWS keeps bytes; elsewhere they are kept as base64, in lines as openssl writes it.
    pfx = harness.put("tls/pfx", base64.encodebytes(keys.pfx).decode())
    found = run(
        job,
        harness.settings,
        f"KEY = {reference(harness, pem, 'as=file')}",
        f"PFX = {reference(harness, pfx, 'decode=base64', 'as=file')}",
    )
    check(found, keys, job)
    log = job.stdout.decode()
    # In the log, no line of the key is readable once its mask is out.
    shown = [line for line in log.splitlines() if not line.startswith("::add-mask::")]
    assert not [line for line in keys.pem.splitlines() if any(line in said for said in shown)]
    clean(job, found)


def test_bytes_that_aws_keeps_as_bytes_need_no_base64(keys: Keys, job: Job) -> None:
    with Aws() as aws:
        aws.put("imip/pfx", keys.pfx)
        aws.put("imip/key", keys.pem.encode())
        settings = {"aws-region": "us-east-1", "aws-role-to-assume": ROLE, "aws-endpoint-url": aws.url}
        found = run(job, settings, "PFX = aws://imip/pfx?as=file", "KEY = aws://imip/key?as=file")
        check(found, keys, job)
        clean(job, found)
        job.environ["RUNNER_TEMP"] = ""
        given = {name.replace("-", "_"): text for name, text in settings.items()}
        assert job.run("PFX = aws://imip/pfx", Memory(), **given) == 1
        assert re.search(rb"the value of PFX .* Add as=file to its reference for a file with these bytes", job.stdout)
        aws.put("imip/text", "text")
        assert job.run("PFX64 = aws://imip/pfx?encode=base64", Memory(), **given) == 0
        assert base64.b64decode(job.log().environment["PFX64"]) == keys.pfx


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_folder_that_is_a_link_is_not_written_through(harness: Harness, job: Job, keys: Keys, tmp_path: Path) -> None:
    """Nobody can foresee the folder's name; what can be planted are folders by other names, which are passed over."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (job.temp / f"imip-secrets-{'0' * 32}").symlink_to(outside)
    pem = harness.put("tls/linked", keys.pem)
    found = run(job, harness.settings, f"KEY = {reference(harness, pem, 'as=file')}")
    assert not found["KEY"].parent.is_symlink()
    assert job.start("cleanup", Memory()) == 0
    assert list(outside.iterdir()) == []
    assert (job.temp / f"imip-secrets-{'0' * 32}").is_symlink()
