from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# What builds an image takes minutes the first time: `make image-test` asks for it.
collect_ignore = [] if os.environ.get("IMIP_IMAGE") else ["image"]

# On a developer's machine Hypothesis looks for new examples each time. A change is judged by the same ones as the last.
# No test is judged by its speed: on a machine that is busy any example may take long, to make and to try.
settings.register_profile("developer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("developer"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "developer")
