"""``GET videos/ID``: how far a job is."""

from __future__ import annotations

import orjson
from aiohttp import web

from mediamill.tasks.local.billing.bill import Call
from mediamill.tasks.local.endpoints.images import SIMULATED
from mediamill.tasks.local.endpoints.linking import link_url
from mediamill.tasks.local.endpoints.reading import denied, keyed, met
from mediamill.tasks.local.endpoints.video_reply import told_job
from mediamill.tasks.local.faults.fault_replies import send_broken
from mediamill.tasks.local.media_generation.job_store import Job
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.server_state import Desk, Exchange


async def poll(desk: Desk, request: web.BaseRequest, dialect: Dialect) -> web.StreamResponse:
    """Tell a job; one that is completed gets a fresh link."""
    desk.bill.polls += 1
    exchange = Exchange(request, dialect, Call(0, request.path))
    name = request.path.rpartition("/")[2]
    job = desk.studio.shelf.get(name)
    fault, broken = await met(desk, request, job)
    if broken is not None:
        return broken
    refused = keyed(desk, exchange)
    if refused is not None:
        return refused
    if not isinstance(job, Job):
        return denied(exchange, Refusal("not_found", f"Video with id '{name}' not found."))
    status = job.odd or job.status()
    link = link_url(request, job) if status == "completed" and job.wire != "openai" else ""
    told = told_job(job, status, link, job.ready + desk.studio.link_seconds)
    headers = {"x-request-id": exchange.request_id, **SIMULATED, "content-type": "application/json"}
    reply = web.Response(body=orjson.dumps(told), headers=headers)
    job.odd = None
    return reply if fault is None else await send_broken(request, fault, reply)
