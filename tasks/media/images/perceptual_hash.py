"""Pictures that look alike: a 64-bit perceptual hash, and who came first with nearly the same one."""

from __future__ import annotations

import functools
from collections import defaultdict
from itertools import pairwise
from typing import Any

SIDE = 32
_LOW = 8
_BITS = 64
NEAR = 4
"""Bits that may differ between two that look alike."""
_BANDS = NEAR + 1
"""With one band more than bits may differ, two that look alike share at least one whole band."""


def fingerprint(thumbnail: bytes) -> int:
    """The hash of a 32 by 32 grey thumbnail: signs of its lowest frequencies against their median (DCT-II).

    Args:
        thumbnail: 1,024 bytes, row by row.
    """
    import numpy as np

    pixels = np.frombuffer(thumbnail, np.uint8).reshape(SIDE, SIDE).astype(np.float64)
    basis = _basis()
    low = (basis @ pixels @ basis.T).ravel()
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@functools.cache
def _basis() -> Any:
    """Rows of the DCT-II matrix for the lowest frequencies."""
    import numpy as np

    k, n = np.arange(_LOW)[:, None], np.arange(SIDE)[None, :]
    return np.cos(np.pi * (2 * n + 1) * k / (2 * SIDE))


def distance(one: int, other: int) -> int:
    """Bits in which two hashes differ."""
    return (one ^ other).bit_count()


class Leaders:
    """Who came first with a hash within :data:`NEAR` bits. About a hundred bytes a leader and band."""

    def __init__(self) -> None:
        self._hashes: list[int] = []
        self._names: list[str] = []
        self._bands: list[defaultdict[int, list[int]]] = [defaultdict(list) for _ in range(_BANDS)]

    def find(self, hashed: int) -> str | None:
        """The nearest leader's name; None where nothing looks alike."""
        near = {n for band, key in enumerate(_keys(hashed)) for n in self._bands[band].get(key, ())}
        found = [(distance(self._hashes[n], hashed), n) for n in near]
        best = min(found, default=None)
        return self._names[best[1]] if best is not None and best[0] <= NEAR else None

    def add(self, hashed: int, name: str) -> None:
        """Make it one that others may look like."""
        number = len(self._hashes)
        self._hashes.append(hashed)
        self._names.append(name)
        for band, key in enumerate(_keys(hashed)):
            self._bands[band][key].append(number)


def _keys(hashed: int) -> list[int]:
    """The hash in bands of twelve or thirteen bits."""
    edges = [band * _BITS // _BANDS for band in range(_BANDS + 1)]
    return [(hashed >> low) & ((1 << (high - low)) - 1) for low, high in pairwise(edges)]
