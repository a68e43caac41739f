"""How much of a bare loop's rate mediamill reaches, journal and Parquet included.

    uv run python -m tests.bench.throughput [--items 10000] [--latency 200ms] [--in-flight 256] [--runs 3]

Both are timed as whole processes, in turn, against the same mock (the built-in server's echo engine), each
pair in one go; what is printed is the median of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

from tests.helpers.local_server import running_server


def make_files(folder: Path, count: int) -> None:
    """Distinct WAV files of 0.1 s: 16 kHz mono, each with its number as its first samples."""
    silence = bytes(2 * 1600 - 8)
    for n in range(count):
        with wave.open(str(folder / f"{n:06d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(struct.pack("<q", n) + silence)


def timed(command: list[str]) -> float:
    """Seconds the whole process took."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "COMPATIBLE_API_KEY": "bench"})
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--latency", default="200ms")
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch) / "files"
        files.mkdir()
        make_files(files, chosen.items)
        ratios = []
        for run in range(chosen.runs):
            with running_server(engine="echo", latency=chosen.latency) as server:
                bare = timed(
                    [sys.executable, "-m", "tests.bench.bare_loop", str(files), server.origin, str(chosen.in_flight)]
                )
                ours = timed(
                    [
                        *(
                            sys.executable,
                            "-m",
                            "mediamill.flows.cli",
                            "transcribe",
                            str(files),
                            "--provider",
                            "compatible",
                        ),
                        *("--base-url", server.origin, "--model", "echo", "--concurrency", str(chosen.in_flight)),
                        *("--out", f"{scratch}/out-{run}", "--yes", "--quiet"),
                    ]
                )
            ratios.append(bare / ours)
            sys.stdout.write(
                f"bare {bare:.2f} s ({chosen.items / bare:.0f}/s), mediamill {ours:.2f} s "
                f"({chosen.items / ours:.0f}/s), ratio {bare / ours:.3f}\n"
            )
        sys.stdout.write(f"median ratio {statistics.median(ratios):.3f}\n")


if __name__ == "__main__":
    main()
