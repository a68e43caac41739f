"""Video generation: jobs that are created, polled and fetched, in each provider's API style (provider docs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from mediamill.tasks.domain import Ask, Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.money.videos import VideoMeter
from mediamill.tasks.providers.errors.lenient_json import read_json
from mediamill.tasks.providers.errors.moderation import is_refusal, mark_refusal, to_refusal_problem
from mediamill.tasks.providers.operations.base import API_STYLE, JobOperation, ModelFacts, OperationConfig, to_parsed
from mediamill.tasks.providers.operations.reply_json import USD_PER_TICK, to_mapping
from mediamill.tasks.providers.operations.video_fields import (
    build_openai_fields,
    build_together_fields,
    build_xai_fields,
    insert_images,
    is_image_placeholder,
    require_payload,
)
from mediamill.tasks.wire import JOB_ID_HEADER, JOB_STATES_HEADER, Parsed, Poll, Problem, Quota, Reply, Request, Wire

VIDEO = "video"
"""The operation's name, also in price lists."""

KeyframePosition = Literal["first", "last"]

_TIMEOUT_SECONDS = 120.0
_DONE_STATES = frozenset(
    {"completed", "complete", "done", "succeeded", "succeed", "success", "successful", "finished", "ready", "ok"}
)
_FAILED_STATES = frozenset(
    {
        *("failed", "fail", "failure", "error", "errored", "cancelled", "canceled", "rejected", "aborted"),
        *("timeout", "timed_out", "blocked", "moderated", "unsuccessful"),
    }
)
_STATE_FIELDS = ("status", "state", "task_status", "taskStatus", "job_status")
_ID_FIELDS = ("id", "job_id", "task_id", "taskId", "generation_id", "request_id")
_REASON_FIELDS = ("message", "failure_reason", "fail_reason", "status_msg", "msg")
_WRAPPERS = ("data", "output", "result", "task", "job", "response")
_URL_PLACES: tuple[tuple[str | int, ...], ...] = (
    *(("outputs", "video_url"), ("video", "url"), ("video_url",), ("videoUrl",), ("output", "video_url")),
    *(("output", "url"), ("result", "video_url"), ("result", "url"), ("videos", 0, "url"), ("videos", 0)),
    *(("video_result", 0, "url"), ("data", 0, "url"), ("output", 0, "url"), ("output", 0), ("output",)),
    *(("outputs", 0, "url"), ("outputs", 0), ("assets", "video"), ("content", "video_url"), ("video",), ("url",)),
)
"""Where servers name the video of a finished job (provider docs)."""
_NO_VIDEO_HINT = "mediamill explain shows what it names; mediamill retry OUT --only bad_reply buys another"
_WITHHELD_MESSAGE = "the provider generated the video and withheld it: its moderation refused it"
_BUILD_FIELDS = {"together": build_together_fields, "openai": build_openai_fields, "xai": build_xai_fields}


class VideoModel(ModelFacts):
    """A model that generates videos; a list is empty if the provider documents no values."""

    seconds: tuple[int, ...] = ()
    sizes: tuple[str, ...] = ()
    fps: tuple[int, ...] = ()
    resolutions: tuple[str, ...] = ()
    ratios: tuple[str, ...] = ()
    keyframes: tuple[KeyframePosition, ...] | None = Field(
        default=None, description="places of keyframes; null where not known"
    )
    references: bool | None = Field(default=None, description="accepts reference images; null if not known")
    prompt: tuple[int, int] = Field(default=(1, 32_000), description="minimum and maximum number of characters")
    prompt_optional: bool = Field(default=False, description="a keyframe is enough, without a prompt")
    steps: tuple[int, int] | None = Field(
        default=None, description="minimum and maximum number of steps, if it accepts steps"
    )

    def smallest_size(self) -> str | None:
        """The smallest size that it generates."""
        return min(self.sizes, key=count_pixels, default=None)

    def abilities(self) -> tuple[str, ...]:
        """Lengths, sizes and keyframes."""
        lengths = " ".join(map(str, self.seconds))
        frames = f"keyframes {' '.join(self.keyframes)}" if self.keyframes else None
        sizes = self.sizes or self.resolutions
        parts = (f"{lengths} s" if lengths else None, " ".join(sizes) or None, frames)
        return ("videos", *(part for part in parts if part))


class DocumentedRange(BaseModel):
    """What a provider's documents say of a parameter for all models, beside the values listed for each model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum: int | None = None
    maximum: int | None = None
    warn_above: int | None = Field(default=None, description="larger values are accepted and advised against")
    says: str = Field(description="where it is documented, and what it says there")


class VideoConfig(OperationConfig[VideoModel]):
    """An endpoint that generates videos, and the parameters it has fields for (provider docs)."""

    documented: Mapping[str, DocumentedRange] = Field(
        default={},
        description="what the documents say of a parameter for all models; it may differ from a model's values",
    )
    api_style: Literal["together", "openai", "xai"] = Field(validation_alias=API_STYLE)
    takes: frozenset[str]
    exact_reference_size: bool = Field(default=False, description="images must have the size of the video")
    max_jobs: int = Field(default=5000, gt=0, description="maximum number of jobs that run at once")
    job_seconds: float = Field(
        default=3600, gt=0, description="seconds that a job may run before a later run looks it up"
    )


class VideoOperation(JobOperation[VideoConfig, VideoModel]):
    """An Ask's params hold the fields by their neutral names; its inputs are keyframes, then reference images.

    ``frames`` holds the position of each keyframe. Not repeatable: a second job would be a second purchase.
    """

    config_model = VideoConfig
    facts_model = VideoModel
    meter = VideoMeter()

    def quota(self, model: str) -> Quota:
        """The rates and the concurrency to start with, and how many jobs may run."""
        return replace(super().quota(model), jobs=self.config.max_jobs)

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the body, with placeholders for images until the request is built."""
        style = self.config.api_style
        return Wire(
            self.provider.key_origin(ask.model),
            self._versioned_path,
            {"model": ask.model, **_BUILD_FIELDS[style](ask)},
            encoding="multipart" if style == "openai" else "json",
            repeatable=False,
            job=True,
            job_timeout=self.config.job_seconds,
            timeout=_TIMEOUT_SECONDS,
        )

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The body with its images."""
        inputs = asks[0].inputs
        if wire.encoding == "json":
            raw = self.config.api_style == "together"
            return Request("POST", wire.path, json=insert_images(dict(wire.params), inputs, raw=raw))
        fields = [(name, str(value)) for name, value in wire.params.items() if not is_image_placeholder(value)]
        files = [("input_reference", require_payload(source)) for source in inputs]
        return Request("POST", wire.path, fields=fields, files=files)

    def classify(self, reply: Reply) -> Problem | None:
        """What an error means; a content refusal has the kind ``moderated``."""
        job = _decode_job(reply.body)
        problem = mark_refusal(super().classify(reply), reply)
        if problem is None or reply.status >= HTTPStatus.MULTIPLE_CHOICES:
            return problem
        if _find_state(job) is not None:  # a failed job is not a failed request
            return None
        is_job = _find_job_id({name: value for name, value in job.items() if name != "request_id"}) is not None
        return None if is_job else problem  # errors have a request_id as well

    def parse_job_id(self, reply: Reply) -> str:
        """The job's id.

        Raises:
            BadReply: when the reply names no job.
        """
        job_id = _find_job_id(_decode_job(reply.body))
        if job_id is None:
            raise BadReply("the reply names no job")
        return job_id

    def build_poll_request(self, wire: Wire, remote_id: str) -> Request:
        """The request for the state of the job."""
        return Request("GET", f"{wire.path.removesuffix('/generations')}/{remote_id}")

    def parse_poll(self, reply: Reply) -> Poll:
        """The state of the job. An unknown state with a video is done, and any other one is pending.

        Undocumented states have been seen.
        """
        job = _decode_job(reply.body)
        status = _find_state(job) or ""
        if status in _DONE_STATES:
            return Poll("done", status=status)
        if status == "expired":
            message = "the job expired before its video was fetched; it may have been billed"
            return Poll("failed", Problem("unknown", "expired", message, billed=True), status=status)
        if status in _FAILED_STATES:
            return Poll("failed", _classify_failed_job(job, status), status=status)
        return Poll("done" if _find_url(job) else "pending", status=status or "unknown")

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """``job_id``, ``url`` or ``content`` (a path of the API), ``seconds``, ``size``, ``states``, ``refused``.

        Raises:
            BadReply: when a finished job names no video.
        """
        job = _decode_job(reply.body)
        job_id = reply.headers.get(JOB_ID_HEADER) or _find_job_id(job)
        video, outputs = to_mapping(job.get("video")), to_mapping(job.get("outputs"))
        url = outputs.get("video_url") or video.get("url") or _find_url(job)
        content = f"{self._versioned_path}/{job_id}/content" if self.config.api_style == "openai" else None
        refused = video.get("respect_moderation") is False
        if not job_id or (not url and content is None and not refused):
            raise BadReply("the finished job names no video", hint=_NO_VIDEO_HINT)
        states = _parse_states(reply.headers.get(JOB_STATES_HEADER))
        seconds = _parse_decimal(job.get("seconds") or video.get("duration"))
        data = {
            "job_id": job_id,
            "url": url,
            "content": content,
            "seconds": None if seconds is None else str(seconds),
            "size": job.get("size"),
            "states": states,
            "refused": _WITHHELD_MESSAGE if refused else None,
        }
        usage = Usage(videos=1, video_seconds=seconds, billed_usd=_parse_billed_usd(job, outputs), requests=1)
        return [to_parsed(reply, data, usage)]

    @property
    def _versioned_path(self) -> str:
        """The endpoint's path. Together's ``/v2`` endpoint is not below its ``/v1`` (provider docs)."""
        api = self.provider.endpoint.api
        return (api.removesuffix("/v1") if self.config.path.startswith("/v2/") else api) + self.config.path


def _classify_failed_job(job: Mapping[str, Any], status: str) -> Problem:
    error = job.get("error")
    error_fields = to_mapping(error)
    info_errors = to_mapping(job.get("info")).get("errors")
    reason = (
        error_fields.get("message")
        or (error if isinstance(error, str) else None)
        or info_errors
        or next((job[name] for name in _REASON_FIELDS if isinstance(job.get(name), str)), None)
        or f"the job is {status}"
    )
    code = str(error_fields.get("code") or "") or None
    message = f"the job failed: {reason if isinstance(reason, str) else orjson.dumps(reason).decode()}"[:400]
    if is_refusal(code, message):
        return to_refusal_problem(message)
    return Problem("fail", "job_failed", message, code=code, hint="mediamill retry OUT tries again; it was not billed")


def _parse_billed_usd(job: Mapping[str, Any], outputs: Mapping[str, Any]) -> Decimal | None:
    ticks = to_mapping(job.get("usage")).get("cost_in_usd_ticks")
    if isinstance(ticks, int):
        return ticks * USD_PER_TICK
    return _parse_decimal(outputs.get("cost"))


def _parse_states(header: str | None) -> list[dict[str, Any]]:
    pairs = orjson.loads(header) if header else []
    return [{"status": status, "after_seconds": seconds} for status, seconds in pairs]


def _find_job_id(job: Mapping[str, Any]) -> str | None:
    job_id = next((job[name] for name in _ID_FIELDS if job.get(name)), None)
    return job_id if isinstance(job_id, str) and job_id else None


def _find_state(job: Mapping[str, Any]) -> str | None:
    """The job's state in small letters, without a prefix such as ``TASK_STATUS_``; None where it names none."""
    state = next((job[name] for name in _STATE_FIELDS if isinstance(job.get(name), str)), None)
    return None if state is None else state.lower().rpartition("status_")[2].replace(" ", "_")


def _find_url(job: Mapping[str, Any]) -> str | None:
    for place in _URL_PLACES:
        value: Any = job
        for step in place:
            if isinstance(step, int):
                value = value[step] if isinstance(value, list) and len(value) > step else None
            else:
                value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, str) and value.startswith(("http://", "https://")):
            return value
    return None


def _decode_job(body: bytes) -> Mapping[str, Any]:
    """The job's fields, also of one in a wrapper; empty for what is no object."""
    try:
        job = to_mapping(read_json(body))
    except ValueError:
        return {}
    inner = next((job[name] for name in _WRAPPERS if isinstance(job.get(name), dict)), None)
    if inner is None or job.get("id"):
        return job
    is_job = _find_state(inner) is not None or any(inner.get(name) for name in _ID_FIELDS[:-1])
    return {**job, **inner} if is_job else job


_PLAUSIBLE_EXPONENTS = range(-12, 10)
"""Of seconds and dollars in a reply. Written out in full, 1e999999999 would be a text of a gigabyte."""


def _parse_decimal(value: Any) -> Decimal | None:
    if value is None or isinstance(value, bool | dict | list):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    if not number.is_finite() or number < 0 or (number and number.adjusted() not in _PLAUSIBLE_EXPONENTS):
        return None
    return number


def count_pixels(size: str) -> int:
    """Number of pixels of a size such as ``1280x720``."""
    width, _, height = size.partition("x")
    return int(width) * int(height)
