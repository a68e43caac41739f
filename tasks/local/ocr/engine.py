"""The OCR engine: worker processes that hold the models, each started when it is first needed."""

from __future__ import annotations

from mediamill.tasks.local.asr_engines.whisper import count_cores
from mediamill.tasks.local.asr_engines.worker_pool import WorkerPool
from mediamill.tasks.local.ocr.base import PageText
from mediamill.tasks.local.ocr.ocr_worker import read_page
from mediamill.tasks.system.ocr_models import is_ocr_installed, name_ocr_engine

_MAX_WORKERS = 2
"""Each takes up to 650 MB. No more pictures are read at once."""


class OcrEngine:
    """Reads text in pictures with RapidOCR."""

    def __init__(self, workers: int) -> None:
        used = max(1, min(workers, _MAX_WORKERS))
        self._threads = max(1, count_cores() // used)
        self._pool = WorkerPool(used)

    @property
    def identity(self) -> str:
        """Its name, its version and its models' digest."""
        return name_ocr_engine()

    async def read(self, data: bytes, max_side: int | None = None) -> PageText:
        """Read a picture that was decoded before.

        Args:
            data: the encoded picture.
            max_side: reduce it to so many pixels, for a quicker look; None for the best result.

        Raises:
            WorkerDied: when the process that worked on it ended.
        """
        return await self._pool.run(read_page, data, self._threads, max_side)

    def close(self) -> None:
        """End the workers."""
        self._pool.close()


def make_ocr_engine(workers: int) -> OcrEngine | None:
    """The engine; None where it is not installed."""
    return OcrEngine(workers) if is_ocr_installed() else None
