"""How busy this machine is, for the few limits of a test that are real seconds."""

from __future__ import annotations

import time

_SPUN_SECONDS = 0.3


def measure_slowdown() -> float:
    """Seconds by the clock for a second of the processor: 1.0 on a machine where nothing else runs."""
    began, spun_until = time.perf_counter(), time.process_time() + _SPUN_SECONDS
    while time.process_time() < spun_until:
        pass
    return max(1.0, (time.perf_counter() - began) / _SPUN_SECONDS)
