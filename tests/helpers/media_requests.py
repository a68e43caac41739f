"""Requests for pictures and videos, and what comes back, for the tests of the built-in server."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import av
import httpx
from PIL import Image

from tests.helpers import loopback

PIXVERSE = "pixverse/pixverse-v5"
FLUX = "black-forest-labs/FLUX.1-schnell"
VIDEO: dict[str, dict[str, Any]] = {
    "/together/v2": {"model": PIXVERSE, "prompt": "a cat", "width": 640, "height": 360, "seconds": "5", "fps": 16},
    "/openai-api/v1": {"model": "sora-2", "prompt": "a cat", "seconds": "4", "size": "1280x720"},
    "/xai/v1": {"model": "grok-imagine-video", "prompt": "a cat", "duration": 2},
    "/v2": {"model": "any", "prompt": "a cat", "width": 64, "height": 48, "seconds": "1"},
}


@dataclass(frozen=True)
class DecodedVideo:
    """What a video is."""

    codec: str
    width: int
    height: int
    frames: int
    fps: float
    first: Image.Image
    last: Image.Image


def create_video(origin: str, prefix: str, **fields_given: Any) -> httpx.Response:
    """Ask for a video; ``None`` leaves a field out."""
    fields = {name: value for name, value in {**VIDEO[prefix], **fields_given}.items() if value is not None}
    path = f"{origin}{prefix}/videos" + ("/generations" if prefix == "/xai/v1" else "")
    if prefix == "/openai-api/v1":
        files = {name: (None, value) for name, value in fields.items() if isinstance(value, str)}
        return loopback.post(path, files={**files, **{n: v for n, v in fields.items() if n not in files}})
    return loopback.post(path, json=fields)


def poll_video(origin: str, prefix: str, created: httpx.Response) -> dict[str, Any]:
    """The job, as it now is."""
    job = created.json()
    return fetch(f"{origin}{prefix}/videos/{job.get('id') or job['request_id']}").json()  # type: ignore[no-any-return]


def fetch(url: str, **headers: str) -> httpx.Response:
    """Follow a link."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return loopback.get(url, headers=sent, follow_redirects=True, timeout=60)


def decode_video(data: bytes) -> DecodedVideo:
    """Decode a video to its end."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        fps = float(stream.average_rate or 0)
        name = stream.codec_context.name
        ends = [frame.to_image() for frame in (frames[0], frames[-1])]  # type: ignore[no-untyped-call]
    return DecodedVideo(name, frames[0].width, frames[0].height, len(frames), fps, ends[0], ends[1])


def decode_image(data: bytes) -> Image.Image:
    """Decode a picture to its end."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
