"""The flow that runs any job."""

from __future__ import annotations

from prefect.runtime import flow_run

from mediamill.flows.prefect_runtime.flow_call import JobRequest
from mediamill.flows.prefect_runtime.job_flow import JobFlow
from mediamill.tasks.job import Job
from mediamill.tasks.run.plan import Retry


def _make_batch_request(job: Job, retry: list[str] | None = None) -> JobRequest:
    """Run any job.

    Args:
        job: what to do; the same names as in a job file. A key is given as the name of an environment variable.
        retry: do failed items again instead of reading the source: kinds of failure, or all.
    """
    return JobRequest(job, Retry.from_kinds(retry))


def _name_batch_run() -> str:
    job = flow_run.parameters.get("job")
    fields = job if isinstance(job, dict) else getattr(job, "__dict__", {})
    return f"{fields.get('capability', 'batch')} {fields.get('source', '')}".strip()


_make_batch_request.__name__ = _make_batch_request.__qualname__ = "batch"  # the name by which a worker imports it
batch = JobFlow(_make_batch_request, name="batch", flow_run_name=_name_batch_run)
