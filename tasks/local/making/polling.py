"""``GET videos/ID``: how far a job is."""

from __future__ import annotations

import orjson
from aiohttp import web

from mediamill.tasks.local.bill import Call
from mediamill.tasks.local.breakage import send_broken
from mediamill.tasks.local.desk import Desk, Exchange
from mediamill.tasks.local.dialects import Dialect
from mediamill.tasks.local.making.images import SIMULATED
from mediamill.tasks.local.making.jobs import Job
from mediamill.tasks.local.making.linking import link_url
from mediamill.tasks.local.making.reading import denied, keyed, met
from mediamill.tasks.local.making.wording import told_job
from mediamill.tasks.local.refusal import Refusal


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
