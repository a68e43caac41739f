"""Videos: jobs that are created, polled for and fetched, in each provider's spelling (wire facts: provider docs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, runtime_checkable

import orjson

from mediamill.tasks.domain import JSON, Ask, Input, Payload, Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.filming import Films, FilmWire
from mediamill.tasks.providers.messages import data_url
from mediamill.tasks.providers.moderation import is_refusal, refusal, refusals_named
from mediamill.tasks.providers.shape import Shape
from mediamill.tasks.wire import JOB_ID, JOB_STATES, Parsed, Poll, Problem, Reply, Request, Wire

_DEADLINE = 120.0
_DONE = frozenset({"completed", "done", "succeeded", "success"})
_FAILED = frozenset({"failed", "error", "cancelled", "canceled"})
_TICK = Decimal("1e-10")
_BLOCKED = "the provider made the video and withheld it: its moderation does not let it pass"


@runtime_checkable
class MakesVideos(Protocol):
    """A provider that makes videos."""

    def films(self, model: str) -> Films:
        """What a model that makes videos can do.

        Raises:
            UsageError: when the provider makes none.
        """
        ...

    def film_wire(self) -> FilmWire:
        """How it is asked for videos.

        Raises:
            UsageError: when the provider makes none.
        """
        ...


class Videos(Shape):
    """An Ask's params hold the fields by their neutral names; its inputs are keyframes, then reference pictures.

    ``frames`` tells the place of each keyframe. Never repeatable: a second creation would be a second purchase.
    """

    def wire(self, ask: Ask) -> Wire:
        """The endpoint and the body; pictures stand in it by their number until the request is built."""
        spelled = {"together": _together, "openai": _openai, "xai": _xai}[self._facts.spelling]
        multipart = self._facts.spelling == "openai"
        return Wire(
            self.provider.key_origin(ask.model),
            self._path,
            {"model": ask.model, **spelled(ask)},
            encoding="multipart" if multipart else "json",
            repeatable=False,
            job=True,
            job_deadline=self._facts.job_seconds,
            deadline=_DEADLINE,
        )

    def request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The body with its pictures."""
        inputs = asks[0].inputs
        if wire.encoding == "json":
            raw = self._facts.spelling == "together"
            return Request("POST", wire.path, json=_filled(dict(wire.params), inputs, raw=raw))
        fields = [(name, str(value)) for name, value in wire.params.items() if not _is_picture(value)]
        files = [("input_reference", _payload(one)) for one in inputs]
        return Request("POST", wire.path, fields=fields, files=files)

    def classify(self, reply: Reply) -> Problem | None:
        """What an error means; refusals of content have a kind of their own."""
        told = _json(reply.body)
        if reply.status < 300 and _job_id(told) is not None:  # noqa: PLR2004 - a failed job is no failed request
            return None
        if reply.status == 200 and isinstance(told.get("status"), str):  # noqa: PLR2004
            return None
        return refusals_named(super().classify(reply), reply)

    def accepted(self, reply: Reply) -> str:
        """The job's id.

        Raises:
            BadReply: when there is none.
        """
        found = _job_id(_json(reply.body))
        if found is None:
            raise BadReply("the reply names no job")
        return found

    def poll(self, wire: Wire, remote_id: str) -> Request:
        """The request that asks how the job is doing."""
        return Request("GET", f"{wire.path.removesuffix('/generations')}/{remote_id}")

    def polled(self, reply: Reply) -> Poll:
        """Whatever is not known to be an end is pending: states that no document names have been seen."""
        told = _json(reply.body)
        status = str(told.get("status") or "").lower()
        if status in _DONE:
            return Poll("done", status=status)
        if status == "expired":
            words = "the job expired before its video was fetched; it may have been billed"
            return Poll("failed", Problem("unknown", "expired", words, billed=True), status=status)
        if status in _FAILED:
            return Poll("failed", _failure(told, status), status=status)
        return Poll("pending", status=status or "unknown")

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """``job_id``, ``url`` or ``content`` (a path of the API), ``seconds``, ``size``, ``states``, ``refused``.

        Raises:
            BadReply: when a finished job tells no video.
        """
        told = _json(reply.body)
        job_id = reply.headers.get(JOB_ID) or _job_id(told)
        video, outputs = _mapping(told.get("video")), _mapping(told.get("outputs"))
        url = outputs.get("video_url") or video.get("url")
        content = f"{self._path}/{job_id}/content" if self._facts.spelling == "openai" else None
        refused = video.get("respect_moderation") is False
        if not job_id or (not url and content is None and not refused):
            raise BadReply("the finished job tells no video")
        states = _states(reply.headers.get(JOB_STATES))
        seconds = _decimal(told.get("seconds") or video.get("duration"))
        data = {
            "job_id": job_id,
            "url": url,
            "content": content,
            "seconds": None if seconds is None else str(seconds),
            "size": told.get("size"),
            "states": states,
            "refused": _BLOCKED if refused else None,
        }
        usage = Usage(videos=1, video_seconds=seconds, billed_usd=_billed(told, outputs), requests=1)
        engine, simulated = reply.headers.get("x-mediamill-engine"), reply.headers.get("x-mediamill-simulated")
        return [Parsed(data, usage, engine=engine, simulated=simulated == "true")]

    @property
    def _facts(self) -> FilmWire:
        assert self.facts.film is not None
        return self.facts.film

    @property
    def _path(self) -> str:
        """Together's newer version of the endpoint stands beside its ``/v1`` (provider docs)."""
        api = self.provider.endpoint.api
        return (api.removesuffix("/v1") if self.facts.path.startswith("/v2/") else api) + self.facts.path


def _together(ask: Ask) -> dict[str, JSON]:
    asked = ask.params
    body: dict[str, JSON] = {}
    names = (
        *("prompt", "resolution", "fps", "steps", "seed", "guidance_scale", "negative_prompt"),
        *("output_quality", "generate_audio"),
    )
    for name in names:
        if asked.get(name) is not None:
            body[name] = asked[name]
    if asked.get("aspect_ratio") is not None:
        body["ratio"] = asked["aspect_ratio"]
    guidance = body.get("guidance_scale")
    if isinstance(guidance, float) and guidance.is_integer():
        body["guidance_scale"] = int(guidance)
    if asked.get("size") is not None:
        width, _, height = str(asked["size"]).partition("x")
        body.update(width=int(width), height=int(height))
    if asked.get("seconds") is not None:
        body["seconds"] = str(asked["seconds"])  # a text on the wire (provider docs)
    if asked.get("output_format") is not None:
        body["output_format"] = str(asked["output_format"]).upper()
    frames = _frames(ask)
    media: dict[str, JSON] = {}
    if frames:
        media["frame_images"] = [{"input_image": _picture(n), "frame": place} for n, place in enumerate(frames)]
    if len(ask.inputs) > len(frames):
        media["reference_images"] = [_picture(n) for n in range(len(frames), len(ask.inputs))]
    return {**body, "media": media} if media else body


def _openai(ask: Ask) -> dict[str, JSON]:
    body: dict[str, JSON] = {n: ask.params[n] for n in ("prompt", "size") if ask.params.get(n) is not None}
    if ask.params.get("seconds") is not None:
        body["seconds"] = str(ask.params["seconds"])
    return {**body, "input_reference": _picture(0)} if ask.inputs else body


def _xai(ask: Ask) -> dict[str, JSON]:
    spelled = {
        "prompt": "prompt",
        "seconds": "duration",
        "aspect_ratio": "aspect_ratio",
        "resolution": "resolution",
        "generate_audio": "generate_audio",
    }
    body: dict[str, JSON] = {
        theirs: ask.params[ours] for ours, theirs in spelled.items() if ask.params.get(ours) is not None
    }
    frames = _frames(ask)
    for n, place in enumerate(frames):
        body["image" if place == "first" else "last_frame"] = {"url": _picture(n)}
    if len(ask.inputs) > len(frames):
        body["reference_images"] = [{"url": _picture(n)} for n in range(len(frames), len(ask.inputs))]
    return body


def _frames(ask: Ask) -> list[JSON]:
    frames = ask.params.get("frames")
    return frames if isinstance(frames, list) else []


def _picture(number: int) -> JSON:
    """What stands for an input until the request is built."""
    return {"picture": number}


def _is_picture(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"picture"}


def _filled(part: Any, inputs: Sequence[Input], *, raw: bool) -> JSON:
    """The body with pictures in it: as URLs where they are passed through, else in base64, bare or in a data URL."""
    if _is_picture(part):
        payload = _payload(inputs[part["picture"]])
        whole = payload.url or data_url(payload)
        return whole.partition(",")[2] if raw and payload.url is None else whole
    if isinstance(part, Mapping):
        return {name: _filled(value, inputs, raw=raw) for name, value in part.items()}
    if isinstance(part, list):
        return [_filled(one, inputs, raw=raw) for one in part]
    return part  # type: ignore[no-any-return]


def _payload(one: Input) -> Payload:
    assert one.payload is not None
    return one.payload


def _failure(told: Mapping[str, Any], status: str) -> Problem:
    error = told.get("error")
    inner = _mapping(error)
    more = _mapping(told.get("info")).get("errors")
    words = inner.get("message") or (error if isinstance(error, str) else None) or more or f"the job is {status}"
    code = str(inner.get("code") or "") or None
    message = f"the job failed: {words if isinstance(words, str) else orjson.dumps(words).decode()}"[:400]
    if is_refusal(code, message):
        return refusal(message)
    return Problem("fail", "job_failed", message, code=code, hint="mediamill retry OUT tries again; it was not billed")


def _billed(told: Mapping[str, Any], outputs: Mapping[str, Any]) -> Decimal | None:
    ticks = _mapping(told.get("usage")).get("cost_in_usd_ticks")
    if isinstance(ticks, int):
        return ticks * _TICK
    return _decimal(outputs.get("cost"))


def _states(told: str | None) -> list[dict[str, Any]]:
    pairs = orjson.loads(told) if told else []
    return [{"status": status, "after_seconds": seconds} for status, seconds in pairs]


def _job_id(told: Mapping[str, Any]) -> str | None:
    found = told.get("id") or told.get("request_id")
    return found if isinstance(found, str) and found else None


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        return _mapping(orjson.loads(body))
    except ValueError:
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _decimal(value: Any) -> Decimal | None:
    if value is None or isinstance(value, bool | dict | list):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and number >= 0 else None
