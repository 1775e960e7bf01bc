"""Starts imip-secrets with nothing but what stands beside this file: ``python -I -S -X utf8 launch.py COMMAND``.

``-I`` and ``-S`` leave out the folder one is in, the PYTHON* variables and
everything that was ever installed into this Python.

A release has the folder ``bundle`` here: the program and its libraries, every
file as its manifest says (``docs/decisions/0017-bundle.md``). A checkout has
the program in ``src``, and installs the libraries that ``requirements`` locks.
"""

import sys

if sys.version_info < (3, 10):
    sys.exit(
        "::error title=imip-secrets::imip-secrets needs Python 3.10 or newer, and %s is Python %d.%d. Start it with a "
        "newer one, or put a step with actions/setup-python before this one."
        % (sys.executable, sys.version_info[0], sys.version_info[1])
    )

import os

# -I ignores Python's own variables, not these: OpenSSL runs the modules that they name, urllib3 writes TLS keys there.
for name in ("OPENSSL_CONF", "OPENSSL_ENGINES", "OPENSSL_MODULES", "SSLKEYLOGFILE"):
    os.environ.pop(name, None)

from hashlib import sha256  # loads OpenSSL
from importlib.machinery import FileFinder, SourceFileLoader
from typing import NoReturn

PACKAGE = "imip_secrets"
here = os.path.dirname(os.path.realpath(__file__))


class Bundle:
    """The files of a release: each is what the manifest says, or is not used.

    This finds what was damaged on the way or edited by mistake. Who may write here could as well write to this file.
    """

    def __init__(self, folder: str) -> None:
        """Read the manifest, lines as sha256sum writes them, all of ours, and data; what is left, its import reads."""
        self.folder = folder
        with open(os.path.join(folder, "MANIFEST"), encoding="utf-8", errors="replace") as file:
            self.digests = {line[66:]: line[:64] for line in file.read().splitlines()}
        for name in self.digests:
            if (name.startswith(PACKAGE + "/") and name.endswith(".py")) or not name.endswith((".py", ".pyc")):
                self.read(folder + os.sep + name.replace("/", os.sep))

    def read(self, path: str) -> bytes:
        """Return a file's content; without a file, raise OSError."""
        name = path[len(self.folder) + 1 :].replace(os.sep, "/")
        with open(path, "rb", buffering=0) as file:
            content = file.read()
        if sha256(content).hexdigest() != self.digests.get(name):
            refuse(name)
        return content

    def sets(self) -> list[str]:
        """Return the names of the library sets in it."""
        return [name[13:-4] for name in self.digests if name.startswith("requirements/")]

    def hook(self, path: str) -> FileFinder:
        """Look for modules in a folder of the bundle: one of ``sys.path_hooks``."""
        if path != self.folder and not path.startswith(self.folder + os.sep):
            raise ImportError
        return FileFinder(path, (Loader, [".py"]))

    def find_spec(self, module: str, _path: object = None, _target: object = None) -> None:
        """Refuse a module that ought to be there: the last of ``sys.meta_path``."""
        name = module.replace(".", "/")
        for file in (name + ".py", name + "/__init__.py"):
            if file in self.digests:
                refuse(file)


class Loader(SourceFileLoader):
    """Loads modules of the bundle."""

    def get_data(self, path: str) -> bytes:
        """Return the content of a source or of its byte-code.

        Where there is byte-code Python never opens the source; one that was changed is refused all the same.
        """
        if path.endswith(".pyc") and not self.name.startswith(PACKAGE):
            contents.read(self.path)
        return contents.read(path)

    def set_data(self, *_args: object, **_options: object) -> None:
        """Write no byte-code: a Python whose own is not there compiles what it imports."""


def refuse(name: str) -> NoReturn:
    """Say that a file is not what was released, and end the process: nothing is exported."""
    sys.stdout.flush()
    text = (
        "::error title=imip-secrets::the file bundle/%s of the action is not the one that was released: it was "
        "changed, damaged or removed. Nothing was exported. Run the job again; on a runner that is kept, remove the "
        "action from its folder _work/_actions first. If the change is meant, build the bundle anew: make bundle.\n"
    )
    sys.stderr.write(text % name)
    sys.stderr.flush()
    os._exit(1)


bundled = []
bundle = os.path.join(here, "bundle")
if os.path.isdir(bundle):
    try:
        contents = Bundle(bundle)
    except OSError as error:
        refuse(os.path.relpath(error.filename, bundle).replace(os.sep, "/"))
    sys.path_hooks.insert(0, contents.hook)
    sys.meta_path.append(contents)
    # At the end, so that Python's own modules come first.
    sys.path.append(bundle)
    bundled = contents.sets()
else:
    sys.path.insert(0, os.path.join(here, "src"))

from pathlib import Path

from imip_secrets import libraries
from imip_secrets.__main__ import run

libraries.use_locks(Path(here, "requirements"), bundled)
run()
