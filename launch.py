"""Starts imip-secrets with nothing but what stands beside this file: ``python -I -S -X utf8 launch.py COMMAND``.

``-I`` and ``-S`` leave out the folder one is in, the PYTHON* variables and
everything that was ever installed into this Python.
"""

import sys

if sys.version_info < (3, 10):
    sys.exit(
        "::error title=imip-secrets::imip-secrets needs Python 3.10 or newer, and %s is Python %d.%d. Start it with a "
        "newer one, or put a step with actions/setup-python before this one."
        % (sys.executable, sys.version_info[0], sys.version_info[1])
    )

import os
from pathlib import Path

# -I ignores Python's own variables, not these: OpenSSL runs the modules that they name, urllib3 writes TLS keys there.
for name in ("OPENSSL_CONF", "OPENSSL_ENGINES", "OPENSSL_MODULES", "SSLKEYLOGFILE"):
    os.environ.pop(name, None)

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here / "src"))

from imip_secrets import libraries
from imip_secrets.__main__ import run

libraries.use_locks(here / "requirements")
run()
