from __future__ import annotations

import os

from hypothesis import settings

# On a developer's machine Hypothesis looks for new examples each time. A change is judged by the same ones as the last.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
