"""Runs one call pattern's job: ``python -m tests.calls.call_patterns.run_pattern '{"capability": ...}'``."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from mediamill.tasks import capabilities
from mediamill.tasks.errors import MediamillError
from mediamill.tasks.job import Job, make_job
from mediamill.tasks.providers import registry
from mediamill.tasks.run import Run

for shape in ("Pieces", "Packed", "Slow"):
    capabilities.register(shape.lower(), f"tests.calls.call_patterns.capabilities:{shape}")
registry.register_provider("shapes", Path(__file__).with_name("provider.yaml"))


def main() -> int:
    """Run the job given as JSON; its summary as JSON; the exit code of the run."""
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
