"""Video jobs, in each provider's form."""

from __future__ import annotations

from typing import Any

from mediamill.tasks.local.billing.price_list import to_usd_ticks
from mediamill.tasks.local.media_generation.job_store import VideoJob

_XAI_STATUS = {"completed": "done", "blocked": "done", "failed": "failed"}


def build_job_reply(job: VideoJob, status: str, link: str, expires: float) -> dict[str, Any]:
    """A job's reply.

    Args:
        job: the job; its ``wire`` decides the form.
        status: the status to report, as ``VideoJob.compute_status`` of the job store gives it.
        link: URL of the file; empty while there is none.
        expires: when the file expires, in Unix seconds.
    """
    if job.wire == "xai":
        return _build_xai_job(job, status, link)
    ended = status in ("completed", "failed", "blocked")
    withheld = job.fate == "blocked" and status == "blocked"
    reply: dict[str, Any] = {
        "id": job.id,
        "object": "video",
        "model": job.model,
        "status": "failed" if withheld else status,
        "created_at": int(job.created),
        "size": f"{job.what.width}x{job.what.height}",
        "seconds": str(job.what.seconds),
    }
    if ended:
        reply["completed_at"] = int(job.ready)
    if (status == "failed" or withheld) and job.error is not None:
        reply["error"] = dict(job.error)
    if job.wire == "openai":
        expires_at = int(expires) if status == "completed" else None
        empty_fields = {"completed_at": None, "error": None, "expires_at": expires_at, "remixed_from_video_id": None}
        return {**empty_fields, "progress": round(100 * job.compute_progress()), **reply}
    if status == "completed":
        cost = {"cost": float(job.usd)} if job.usd else {}
        reply["outputs"] = {**cost, "video_url": link}
    return reply


def _build_xai_job(job: VideoJob, status: str, link: str) -> dict[str, Any]:
    if status not in ("completed", "blocked", "failed"):
        shown_status = status if status == job.odd else "pending"
        return {"status": shown_status, "model": job.model, "progress": round(100 * job.compute_progress())}
    reply: dict[str, Any] = {"status": _XAI_STATUS[status], "model": job.model, "progress": 100}
    if job.usd:
        reply["usage"] = build_usd_ticks(job.usd)
    if status == "failed":
        return {**reply, "error": dict(job.error or {})}
    allowed = status == "completed"
    video = {"url": link if allowed else "", "duration": job.what.seconds, "respect_moderation": allowed}
    return {**reply, "video": video}


def build_usd_ticks(usd: str | None) -> dict[str, int]:
    """The billed cost, in xAI's form."""
    return {"cost_in_usd_ticks": to_usd_ticks(usd)}
