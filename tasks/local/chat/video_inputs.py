"""Videos as they were sent: opened among known formats only, and frames sampled from beginning to end."""

from __future__ import annotations

import hashlib
import tempfile
from io import BytesIO
from pathlib import Path

from mediamill.tasks.errors import BadInput
from mediamill.tasks.local.chat.image_measurements import colours
from mediamill.tasks.local.chat.seen import Seen
from mediamill.tasks.local.server.api_error import Refusal

_SAMPLES = 4
_SIDE = 64
_MOST_COLOURS = 3


def watch(data: bytes) -> Seen:
    """Decode and measure some of a video's frames. Blocking.

    Raises:
        Refusal: when it is not a video that can be decoded.
    """
    from PIL import Image

    from mediamill.tasks.media.frames import frames_at, read_video_info, times

    with tempfile.NamedTemporaryFile(prefix="mediamill-video-", suffix=".bin") as file:
        file.write(data)
        file.flush()
        try:
            info = read_video_info(Path(file.name))
            frames = frames_at(Path(file.name), times(0.0, info.seconds, frames=_SAMPLES), _SIDE)
        except BadInput as error:
            raise Refusal("bad_picture", f"Invalid video: {error.message}", param="messages") from None
    measured = []
    for frame in frames:
        with Image.open(BytesIO(frame.data), formats=("JPEG",)) as image:
            measured.append(colours(image))
    names = dict.fromkeys(name for found, _ in measured for name in found)
    return Seen(
        kind="video",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        format=info.format,
        width=info.width,
        height=info.height,
        colors=tuple(names)[:_MOST_COLOURS],
        brightness=measured[0][1],
        seconds=info.seconds,
        frames=max(1, round(info.seconds * info.fps)),
        fps=info.fps,
        ending=measured[-1][1],
    )
