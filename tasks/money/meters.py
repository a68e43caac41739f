"""Which meter prices which operation."""

from __future__ import annotations

from mediamill.tasks.money.audio import AudioMeter
from mediamill.tasks.money.images import ImageMeter
from mediamill.tasks.money.meter import Meter
from mediamill.tasks.money.per_unit import UnitMeter
from mediamill.tasks.money.speech import SpeechMeter
from mediamill.tasks.money.tokens import TOKENS
from mediamill.tasks.money.videos import VideoMeter

METERS: dict[str, Meter] = {
    "transcription": AudioMeter(),
    "translation": AudioMeter(),
    "tts": SpeechMeter(),
    "chat": TOKENS,
    "vision_chat": TOKENS,
    "embeddings": TOKENS,
    "rerank": UnitMeter(),
    "code_interpreter": UnitMeter(),
    "image": ImageMeter(),
    "video": VideoMeter(),
}
"""By the name that the operation has in configs and in the price list. One without a meter has no known price."""


def register_meter(operation: str, meter: Meter) -> None:
    """Price an operation that is defined elsewhere.

    Args:
        operation: its name in configs and in the price list's ``capability`` column.
        meter: what prices it.

    Raises:
        ValueError: when another meter prices that operation already.
    """
    if METERS.setdefault(operation, meter) is not meter:
        raise ValueError(f"the operation {operation} has a meter already")
