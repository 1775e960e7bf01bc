from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

# What builds an image takes minutes the first time: `make image-test` asks for it.
collect_ignore = [] if os.environ.get("IMIP_IMAGE") else ["image"]

# On a developer's machine Hypothesis looks for new examples each time. A change is judged by the same ones as the last.
# No test is judged by its speed: on a machine that is busy any example may take long, to make and to try.
settings.register_profile("developer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("developer"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "developer")

# A shell starts what runs in the background with interruptions ignored, and nohup with hang-ups; all processes that
# tests start would inherit that, and then not end when a test interrupts them.
for name in ("SIGINT", "SIGQUIT", "SIGHUP"):
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)

# What a job of GitHub's has in its environment is for the job, not for the steps that tests make up.
for name in [name for name in os.environ if name.startswith(("ACTIONS_", "GITHUB_", "INPUT_", "RUNNER_"))]:
    del os.environ[name]
