from __future__ import annotations

import os

from hypothesis import settings

# What builds an image takes minutes the first time: `make image-test` asks for it.
collect_ignore = [] if os.environ.get("IMIP_IMAGE") else ["image"]

# On a developer's machine Hypothesis looks for new examples each time. A change is judged by the same ones as the last.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
