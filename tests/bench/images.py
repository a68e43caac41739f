"""How fast twelve-megapixel JPEGs are made ready, beside plain Pillow: ``python -m tests.bench.images``."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from mediamill.tasks.media.images.prepare import ImageLimits, prepare_image

SIZE = (4000, 3000)
LONGEST = 1120
THREADS = 2


def photo(path: Path) -> None:
    """A picture with as much detail as a photograph: soft shapes and grain."""
    rng = np.random.default_rng(5)
    rough = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(rough).resize(SIZE, Image.Resampling.BICUBIC), dtype=np.int16)
    grain = rng.normal(0, 6, soft.shape).astype(np.int16)
    Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8)).save(path, "JPEG", quality=90)


def ours(path: Path) -> None:
    prepare_image(path, "0" * 64, ImageLimits(), max_side=LONGEST)


def plain(path: Path) -> None:
    with Image.open(path) as image:
        image.load()
        small = image.resize((LONGEST, LONGEST * SIZE[1] // SIZE[0]), Image.Resampling.LANCZOS)
        small.save(BytesIO(), "JPEG", quality=88)


def rate(make: Callable[[Path], None], path: Path, count: int) -> float:
    """Pictures a second on two threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        began = time.perf_counter()
        list(pool.map(make, [path] * count))
        return count / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--count", type=int, default=24)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        photo(path)
        fast = statistics.median(rate(ours, path, arguments.count) for _ in range(arguments.runs))
        slow = statistics.median(rate(plain, path, max(4, arguments.count // 3)) for _ in range(arguments.runs))
        size = path.stat().st_size / 1e6
    sys.stdout.write(f"{size:.1f} MB each: {fast:.1f} a second; plain Pillow {slow:.1f}; ratio {fast / slow:.2f}\n")


if __name__ == "__main__":
    main()
