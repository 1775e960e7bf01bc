"""``make benchload``: what the library costs an application.

A cached access, its median and its worst of a thousand; 64 threads when values
are old; memory over a million accesses; the import. Times of a machine are
noise, so each is the best of several rounds.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from imip_secrets import load_secrets
from stand_ins.memory import Memory, registered

ACCESSES = 1_000_000
ROUNDS = 5
THREADS = 64
NAMES = 50


def main() -> int:
    """Measure, and print a line for each figure; return 1 if one is missed."""
    store = Memory({"imip/production": json.dumps({f"KEY_{number}": f"value {number}" for number in range(NAMES)})})
    with registered(store):
        rows = [_import(), _access(), _threads(store), _memory()]
    for what, figure, target, reached in rows:
        print(f"{what:<48} {figure:>16}  {target:<14} {'reached' if reached else 'MISSED'}")
    return 0 if all(reached for *_, reached in rows) else 1


Row = tuple[str, str, str, bool]


def _import() -> Row:
    script = (
        "import time; start = time.perf_counter(); from imip_secrets import load_secrets; "
        "print(time.perf_counter() - start)"
    )
    best = min(float(subprocess.check_output([sys.executable, "-c", script], text=True)) for _ in range(ROUNDS * 4))
    return "from imip_secrets import load_secrets", f"{best * 1000:.1f} ms", "under 30 ms", best < 0.030  # noqa: PLR2004 - the figure


def _access() -> Row:
    secrets = load_secrets("memory://imip/production")
    medians = []
    for _ in range(ROUNDS):
        times = []
        for _ in range(1000):
            start = time.perf_counter()
            for _ in range(10):
                secrets["KEY_7"]
            times.append((time.perf_counter() - start) / 10)
        medians.append(median(times))
    best = min(medians)
    return "a cached access, median", f"{best * 1e6:.2f} us", "under 5 us", best < 5e-6  # noqa: PLR2004 - the figure


def _threads(store: Memory) -> Row:
    secrets = load_secrets("memory://imip/production", ttl=0.5)
    time.sleep(0.6)
    before = len(store.fetched())
    barrier = threading.Barrier(THREADS)

    def access(_: int) -> str:
        barrier.wait()
        return secrets["KEY_7"]

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(access, range(THREADS)))
    requests = len(store.fetched()) - before
    return f"{THREADS} threads when values are old", f"{requests} request(s)", "1", requests == 1


def _memory() -> Row:
    secrets = load_secrets("memory://imip/production", ttl=0.2)
    for _ in range(10_000):
        secrets["KEY_7"]
    gc.collect()
    tracemalloc.start()
    first, _ = tracemalloc.get_traced_memory()
    for number in range(ACCESSES):
        secrets["KEY_7" if number % 2 else "KEY_8"]
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    # The store in memory takes note of each call; a refresh now and then is a hundred bytes of notes.
    return f"memory over {ACCESSES} accesses", f"{grown / 1024:+.0f} KiB", "under 64 KiB", grown < 64 * 1024


if __name__ == "__main__":
    sys.exit(main())
