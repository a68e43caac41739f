"""Runs one call pattern's job: ``python -m tests.calls.call_patterns.run_pattern '{"capability": ...}'``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import orjson

from mediamill.tasks.errors import MediamillError
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.plugins import CAPABILITY_GROUP, PROVIDER_GROUP
from mediamill.tasks.run.run import Run
from tests.helpers.plugins import write_entry_points

HERE = "tests.calls.call_patterns"
ENTRY_POINTS = {
    CAPABILITY_GROUP: {
        "pieces": f"{HERE}.capabilities:PiecesCapability",
        "packed": f"{HERE}.capabilities:BatchedCapability",
        "slow": f"{HERE}.capabilities:JobCapability",
    },
    PROVIDER_GROUP: {"shapes": f"{HERE}.operations:PROVIDER"},
}


def main() -> int:
    """Install the call patterns and run the job given as JSON; its summary as JSON; the exit code of the run."""
    with tempfile.TemporaryDirectory() as site:
        write_entry_points(Path(site), "call-patterns", ENTRY_POINTS)
        sys.path.insert(0, site)
        return run_job()


def run_job() -> int:
    """Run the job given as JSON; the exit code of the run."""
    job: Job = make_job(**orjson.loads(sys.argv[1]))
    try:
        summary = Run(job).execute()
    except MediamillError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(orjson.dumps(summary.as_dict()).decode())
    return summary.exit_code


if __name__ == "__main__":
    sys.exit(main())
