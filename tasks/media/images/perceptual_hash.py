"""Find images that look alike: a 64-bit perceptual hash, and an index of the first image of each kind."""

from __future__ import annotations

import functools
from collections import defaultdict
from itertools import pairwise
from typing import Any

THUMBNAIL_SIDE = 32
_LOW_FREQUENCIES = 8
_HASH_BITS = 64
MAX_DISTANCE_BITS = 4
"""Two images whose hashes differ in at most so many bits look alike."""
_BANDS = MAX_DISTANCE_BITS + 1
"""With one band more than bits may differ, two images that look alike share at least one whole band."""


def hash_thumbnail(thumbnail: bytes) -> int:
    """Hash a 32 by 32 grey thumbnail: which of its lowest DCT-II frequencies are above their median.

    Args:
        thumbnail: 1,024 bytes, row by row.
    """
    import numpy as np

    pixels = np.frombuffer(thumbnail, np.uint8).reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE).astype(np.float64)
    basis = _compute_dct_basis()
    frequencies = (basis @ pixels @ basis.T).ravel()
    bits = frequencies > np.median(frequencies[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@functools.cache
def _compute_dct_basis() -> Any:
    """Rows of the DCT-II matrix for the lowest frequencies."""
    import numpy as np

    k, n = np.arange(_LOW_FREQUENCIES)[:, None], np.arange(THUMBNAIL_SIDE)[None, :]
    return np.cos(np.pi * (2 * n + 1) * k / (2 * THUMBNAIL_SIDE))


def count_differing_bits(one: int, other: int) -> int:
    """Count the bits in which two hashes differ."""
    return (one ^ other).bit_count()


class NearDuplicateIndex:
    """Finds the first image with a hash within :data:`MAX_DISTANCE_BITS` bits. 100 bytes an image and band."""

    def __init__(self) -> None:
        self._hashes: list[int] = []
        self._names: list[str] = []
        self._bands: list[defaultdict[int, list[int]]] = [defaultdict(list) for _ in range(_BANDS)]

    def find_nearest(self, image_hash: int) -> str | None:
        """The name of the nearest image in the index; None where none looks alike."""
        candidates = {n for band, key in enumerate(_split_bands(image_hash)) for n in self._bands[band].get(key, ())}
        distances = [(count_differing_bits(self._hashes[n], image_hash), n) for n in candidates]
        nearest = min(distances, default=None)
        return self._names[nearest[1]] if nearest is not None and nearest[0] <= MAX_DISTANCE_BITS else None

    def add(self, image_hash: int, name: str) -> None:
        """Add an image, for later ones to be compared with."""
        number = len(self._hashes)
        self._hashes.append(image_hash)
        self._names.append(name)
        for band, key in enumerate(_split_bands(image_hash)):
            self._bands[band][key].append(number)


def _split_bands(image_hash: int) -> list[int]:
    """The hash in bands of twelve or thirteen bits."""
    edges = [band * _HASH_BITS // _BANDS for band in range(_BANDS + 1)]
    return [(image_hash >> low) & ((1 << (high - low)) - 1) for low, high in pairwise(edges)]
