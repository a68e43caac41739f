"""How long `mediamill --help` takes, and a rerun with nothing to do on the eight sample recordings.

    uv run python -m tests.bench.startup [--runs 5]

Whole processes; medians, beside an interpreter that does nothing. Compiled modules are kept, as they are for a user:
an environment that forbids it (PYTHONDONTWRITEBYTECODE) would measure the compiler.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def median(command: list[str], runs: int) -> float:
    """Median seconds of a command's whole process, after one warm-up."""
    seconds = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        subprocess.run(command, env=_ENVIRONMENT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    mediamill = [sys.executable, "-m", "mediamill.flows.cli"]
    with tempfile.TemporaryDirectory() as scratch:
        job = [*mediamill, "transcribe", "data/samples/recordings", "--provider", "local", "--out", f"{scratch}/out"]
        subprocess.run(job, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name, command in (
            ("python -c pass", [sys.executable, "-c", "pass"]),
            ("mediamill --help", [*mediamill, "--help"]),
            ("rerun with nothing to do", job),
        ):
            sys.stdout.write(f"{name}: {median(command, runs):.2f} s\n")


if __name__ == "__main__":
    main()
