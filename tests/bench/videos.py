"""Thousands of video jobs in flight at once: how long, and how much memory.

    python -m tests.bench.videos [JOBS] [SECONDS]

Each job takes SECONDS at the built-in server, so that all of them run at the same time; the files are not looked at
again here, for every one is decoded by the run itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.helpers.local_server import running_server
from tests.helpers.video_runs import PIXVERSE, write_prompts


def main(jobs: int, seconds: int) -> None:
    """Run it once, and tell seconds, the peak of memory and what the server counted."""
    with tempfile.TemporaryDirectory() as folder:
        source = write_prompts(
            Path(folder) / "p.csv", [{"prompt": f"boat {n}", "size": "270x360"} for n in range(jobs)]
        )
        prices = [f"{PIXVERSE}=0.3"]
        with running_server(price=prices, job_seconds=f"{seconds}s..{seconds + 10}s") as server:
            began = time.monotonic()
            command = [
                *(sys.executable, "-m", "mediamill.flows.cli", "generate-video", str(source), "--provider", "together"),
                *("--base-url", f"{server.origin}/together", "--model", PIXVERSE, "--yes", "--quiet", "--no-prefect"),
                *("--out", f"{folder}/out", "--concurrency", "64"),
            ]
            env = {**os.environ, "TOGETHER_API_KEY": "tgp_v1_for-the-built-in-server", "HOME": folder}
            process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
            peak = 0
            while process.poll() is None:
                peak = max(peak, _peak(process.pid))
                time.sleep(0.2)
            took = time.monotonic() - began
            bill = server.bill()
            summary = f"{jobs} jobs of {seconds} s: {took:.0f} s, peak {peak // 1024} MB, exit {process.returncode}"
            sys.stdout.write(f"{summary}; bought {bill['billed']}, polls {bill['polls']}, files {bill['downloads']}\n")


def _peak(pid: int) -> int:
    """VmHWM of a process in KiB; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    main(*(int(given) for given in (sys.argv[1:] + ["500", "20"][len(sys.argv) - 1 :])[:2]))
