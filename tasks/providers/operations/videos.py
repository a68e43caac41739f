"""Video generation: jobs that are created, polled and fetched, in each provider's API style (provider docs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
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
_DONE_STATES = frozenset({"completed", "done", "succeeded", "success"})
_FAILED_STATES = frozenset({"failed", "error", "cancelled", "canceled"})
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
        if reply.status < 300 and _find_job_id(job) is not None:  # noqa: PLR2004 - a failed job is not a failed request
            return None
        if reply.status == 200 and isinstance(job.get("status"), str):  # noqa: PLR2004
            return None
        return mark_refusal(super().classify(reply), reply)

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
        """The state of the job. An unknown state counts as pending, because undocumented states have been seen."""
        job = _decode_job(reply.body)
        status = str(job.get("status") or "").lower()
        if status in _DONE_STATES:
            return Poll("done", status=status)
        if status == "expired":
            message = "the job expired before its video was fetched; it may have been billed"
            return Poll("failed", Problem("unknown", "expired", message, billed=True), status=status)
        if status in _FAILED_STATES:
            return Poll("failed", _classify_failed_job(job, status), status=status)
        return Poll("pending", status=status or "unknown")

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """``job_id``, ``url`` or ``content`` (a path of the API), ``seconds``, ``size``, ``states``, ``refused``.

        Raises:
            BadReply: when a finished job names no video.
        """
        job = _decode_job(reply.body)
        job_id = reply.headers.get(JOB_ID_HEADER) or _find_job_id(job)
        video, outputs = to_mapping(job.get("video")), to_mapping(job.get("outputs"))
        url = outputs.get("video_url") or video.get("url")
        content = f"{self._versioned_path}/{job_id}/content" if self.config.api_style == "openai" else None
        refused = video.get("respect_moderation") is False
        if not job_id or (not url and content is None and not refused):
            raise BadReply("the finished job names no video")
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
    job_id = job.get("id") or job.get("request_id")
    return job_id if isinstance(job_id, str) and job_id else None


def _decode_job(body: bytes) -> Mapping[str, Any]:
    try:
        return to_mapping(read_json(body))
    except ValueError:
        return {}


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
