"""The fields of video requests for each provider (provider docs).

Until the request is built, a placeholder with its index stands for each image, so that a wire holds no bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mediamill.tasks.domain import JSON, Ask, Input, Payload
from mediamill.tasks.providers.operations.payload_url import to_base64, to_payload_url


def build_together_fields(ask: Ask) -> dict[str, JSON]:
    """Together's fields, with all images in ``media``."""
    params = ask.params
    body: dict[str, JSON] = {}
    names = (
        *("prompt", "resolution", "fps", "steps", "seed", "guidance_scale", "negative_prompt"),
        *("output_quality", "generate_audio"),
    )
    for name in names:
        if params.get(name) is not None:
            body[name] = params[name]
    if params.get("aspect_ratio") is not None:
        body["ratio"] = params["aspect_ratio"]
    guidance = body.get("guidance_scale")
    if isinstance(guidance, float) and guidance.is_integer():
        body["guidance_scale"] = int(guidance)
    if params.get("size") is not None:
        width, _, height = str(params["size"]).partition("x")
        body.update(width=int(width), height=int(height))
    if params.get("seconds") is not None:
        body["seconds"] = str(params["seconds"])  # a string (provider docs)
    if params.get("output_format") is not None:
        body["output_format"] = str(params["output_format"]).upper()
    frames = _read_keyframe_positions(ask)
    media: dict[str, JSON] = {}
    if frames:
        media["frame_images"] = [
            {"input_image": _to_image_placeholder(n), "frame": position} for n, position in enumerate(frames)
        ]
    if len(ask.inputs) > len(frames):
        media["reference_images"] = [_to_image_placeholder(n) for n in range(len(frames), len(ask.inputs))]
    return {**body, "media": media} if media else body


def build_openai_fields(ask: Ask) -> dict[str, JSON]:
    """OpenAI's fields, with at most one image, the first frame."""
    body: dict[str, JSON] = {n: ask.params[n] for n in ("prompt", "size") if ask.params.get(n) is not None}
    if ask.params.get("seconds") is not None:
        body["seconds"] = str(ask.params["seconds"])
    return {**body, "input_reference": _to_image_placeholder(0)} if ask.inputs else body


def build_xai_fields(ask: Ask) -> dict[str, JSON]:
    """XAI's fields, with one for each kind of image."""
    names = {
        "prompt": "prompt",
        "seconds": "duration",
        "aspect_ratio": "aspect_ratio",
        "resolution": "resolution",
        "generate_audio": "generate_audio",
    }
    body: dict[str, JSON] = {
        theirs: ask.params[ours] for ours, theirs in names.items() if ask.params.get(ours) is not None
    }
    frames = _read_keyframe_positions(ask)
    for n, position in enumerate(frames):
        body["image" if position == "first" else "last_frame"] = {"url": _to_image_placeholder(n)}
    if len(ask.inputs) > len(frames):
        body["reference_images"] = [{"url": _to_image_placeholder(n)} for n in range(len(frames), len(ask.inputs))]
    return body


def _read_keyframe_positions(ask: Ask) -> list[JSON]:
    frames = ask.params.get("frames")
    return frames if isinstance(frames, list) else []


def _to_image_placeholder(number: int) -> JSON:
    """The placeholder for an input until the request is built."""
    return {"picture": number}


def is_image_placeholder(value: Any) -> bool:
    """True for the placeholder of an input."""
    return isinstance(value, Mapping) and value.keys() == {"picture"}


def insert_images(part: Any, inputs: Sequence[Input], *, raw: bool) -> JSON:
    """The body with its images: URLs that are passed through, or base64, bare if ``raw``, otherwise in a data URL."""
    if is_image_placeholder(part):
        payload = require_payload(inputs[part["picture"]])
        return to_base64(payload) if raw and payload.url is None else to_payload_url(payload)
    if isinstance(part, Mapping):
        return {name: insert_images(value, inputs, raw=raw) for name, value in part.items()}
    if isinstance(part, list):
        return [insert_images(element, inputs, raw=raw) for element in part]
    return part  # type: ignore[no-any-return]


def require_payload(source: Input) -> Payload:
    """The payload of an input; every input of a video request has one."""
    assert source.payload is not None
    return source.payload
