"""Files of images and videos: rendered at the first download, in a folder of limited size."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from mediamill.tasks.local.media_generation.images import render_image
from mediamill.tasks.local.media_generation.specs import ImageSpec, VideoSpec
from mediamill.tasks.local.media_generation.videos import render_video

_MAX_BYTES = 256 * 1024 * 1024


class MediaCache:
    """Rendered files by name. The least recently used ones are removed first, and rendered again when requested.

    Args:
        max_bytes: maximum size of all files together.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._total = 0
        self._rendering: dict[str, asyncio.Task[None]] = {}
        self._folder: Path | None = None
        self.threads = ThreadPoolExecutor(2, thread_name_prefix="media")
        """At most two files are rendered, or large bodies read, at a time, over all requests."""

    async def open_file(self, spec: ImageSpec | VideoSpec) -> BinaryIO:
        """Open a file, rendered first if needed; it can be read to its end even when it is removed meanwhile."""
        while True:
            try:
                file = (self._get_folder() / spec.name).open("rb")
            except FileNotFoundError:
                await self._ensure_rendered(spec)
            else:
                self._sizes.move_to_end(spec.name)
                return file

    async def render_image_bytes(self, image: ImageSpec) -> bytes:
        """Render an image without keeping its file."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, render_image, image)

    def close(self) -> None:
        """Remove the folder."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _get_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="mediamill-media-"))
        return self._folder

    async def _ensure_rendered(self, spec: ImageSpec | VideoSpec) -> None:
        """Wait until the file is rendered; it is rendered once, however many wait."""
        task = self._rendering.get(spec.name)
        if task is None:
            task = self._rendering[spec.name] = asyncio.create_task(self._render_and_keep(spec))
        await asyncio.shield(task)

    async def _render_and_keep(self, spec: ImageSpec | VideoSpec) -> None:
        path = self._get_folder() / spec.name
        part = path.with_name("." + path.name)
        try:
            size = await asyncio.get_running_loop().run_in_executor(self.threads, _write_media, spec, part)
            part.rename(path)
        finally:
            del self._rendering[spec.name]
        self._sizes[spec.name] = size
        self._total += size
        while self._total > self._max_bytes and len(self._sizes) > 1:
            name, dropped_bytes = self._sizes.popitem(last=False)
            self._total -= dropped_bytes
            with suppress(OSError):
                (self._get_folder() / name).unlink()


def _write_media(spec: ImageSpec | VideoSpec, path: Path) -> int:
    if isinstance(spec, ImageSpec):
        path.write_bytes(render_image(spec))
    else:
        render_video(spec, path)
    return path.stat().st_size
