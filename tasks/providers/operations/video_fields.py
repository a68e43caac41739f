"""Requests for videos in each provider's fields (wire facts: provider docs).

Until the request is built, pictures stand in the fields by their number, so that a wire holds no bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mediamill.tasks.domain import JSON, Ask, Input, Payload
from mediamill.tasks.providers.operations.payload_url import payload_base64, payload_url


def together_fields(ask: Ask) -> dict[str, JSON]:
    """Together's, which has ``media`` for all pictures."""
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


def openai_fields(ask: Ask) -> dict[str, JSON]:
    """OpenAI's, which takes one picture to begin with."""
    body: dict[str, JSON] = {n: ask.params[n] for n in ("prompt", "size") if ask.params.get(n) is not None}
    if ask.params.get("seconds") is not None:
        body["seconds"] = str(ask.params["seconds"])
    return {**body, "input_reference": _picture(0)} if ask.inputs else body


def xai_fields(ask: Ask) -> dict[str, JSON]:
    """xAI's, which has a field for each kind of picture."""
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


def is_picture(value: Any) -> bool:
    """True for what stands for an input."""
    return isinstance(value, Mapping) and value.keys() == {"picture"}


def with_pictures(part: Any, inputs: Sequence[Input], *, raw: bool) -> JSON:
    """The body with pictures in it: as URLs where they are passed through, else in base64, bare or in a data URL."""
    if is_picture(part):
        payload = payload_of(inputs[part["picture"]])
        return payload_base64(payload) if raw and payload.url is None else payload_url(payload)
    if isinstance(part, Mapping):
        return {name: with_pictures(value, inputs, raw=raw) for name, value in part.items()}
    if isinstance(part, list):
        return [with_pictures(one, inputs, raw=raw) for one in part]
    return part  # type: ignore[no-any-return]


def payload_of(one: Input) -> Payload:
    """What is sent of an input."""
    assert one.payload is not None
    return one.payload
