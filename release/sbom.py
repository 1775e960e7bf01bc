"""What a release is made of, as a CycloneDX document: the libraries of the locks, and for the image Debian's packages.

``python -m release.sbom bundle BUNDLE`` or ``python -m release.sbom image BUNDLE --python 3.13.1 --packages STATUS``
print it; STATUS is the image's ``/var/lib/dpkg/status``. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from release.image import sets
from release.notes import program_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[1]
SOURCE = "https://github.com/org/imip-secrets-action"
_PIN = re.compile(r"^([a-z0-9-]+)==([^ ;\\]+)(?: ; (.+?))? ?\\?$", re.MULTILINE)

Component = dict[str, object]


def of_lock(lock: str) -> Iterator[Component]:
    """Give the libraries of a lock; one that stands there for several Pythons is several."""
    for name, version, _ in _PIN.findall(lock):
        yield _component("library", name, version, f"pkg:pypi/{name}@{quote(version)}")


def of_bundle(folder: Path) -> Iterator[Component]:
    """Give the libraries that are in a bundle, of whose locks it leaves some out: those whose licences it has."""
    for licences in sorted((folder / "licences").iterdir()):
        name, _, version = licences.name.rpartition("-")
        name = re.sub(r"[-_.]+", "-", name).lower()
        yield _component("library", name, version, f"pkg:pypi/{name}@{quote(version)}")


def of_debian(status: str, distribution: str = "debian") -> Iterator[Component]:
    """Give the installed packages of dpkg's list."""
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
            where = f"pkg:deb/{distribution}/{quote(name)}@{quote(version)}?arch={machine}"
            yield _component("library", name, version, where)


def document(what: str, version: str, components: Iterable[Component]) -> dict[str, object]:
    """Return the document (CycloneDX 1.6), its components by name, each once."""
    parts = {str(each["purl"]): each for each in components}
    ordered = [parts[purl] for purl in sorted(parts)]
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([what, version, ordered]))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        "metadata": {
            "component": {
                **_component(
                    "container" if what == "image" else "application",
                    f"imip-secrets ({what})",
                    version,
                    f"pkg:github/org/imip-secrets-action@v{version}",
                ),
                "licenses": [{"license": {"id": "MIT"}}],
                "externalReferences": [{"type": "vcs", "url": SOURCE}],
            }
        },
        "components": ordered,
    }


def _component(kind: str, name: str, version: str, purl: str) -> Component:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def main() -> int:
    """Print the document."""
    parser = argparse.ArgumentParser(description="Say what a release is made of.")
    parser.add_argument("what", choices=("bundle", "image"))
    parser.add_argument("bundle", type=Path, help="as `make bundle` makes it")
    parser.add_argument("--python", metavar="X.Y.Z", help="the image's Python")
    parser.add_argument("--packages", metavar="STATUS", type=Path, help="the image's /var/lib/dpkg/status")
    given = parser.parse_args()
    version = program_version((ROOT / "src/imip_secrets/__init__.py").read_text(encoding="utf-8"))
    components = [*of_bundle(given.bundle)]
    if given.what == "image":
        for name in sets():
            components += of_lock((ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8"))
        components += of_debian(given.packages.read_text(encoding="utf-8"))
        components.append(_component("platform", "python", given.python, f"pkg:generic/python@{given.python}"))
    print(json.dumps(document(given.what, version, components), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
