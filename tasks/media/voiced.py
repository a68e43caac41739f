"""When a recording was active, second by second."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Voiced:
    """Activity by the second.

    Attributes:
        by_second: for each second, how many of its frames were active.
        frames: frames in a second.
    """

    by_second: bytes = field(repr=False)
    frames: int

    @property
    def seconds(self) -> float:
        """Seconds of activity in all."""
        return round(sum(self.by_second) / self.frames, 2)

    def between(self, start: float, end: float) -> float:
        """Seconds of activity between two times; counted in whole seconds that lie inside."""
        return sum(self.by_second[max(math.ceil(start), 0) : max(math.floor(end), 0)]) / self.frames
