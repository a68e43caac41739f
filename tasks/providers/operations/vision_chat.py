"""Prompts with pictures: chat completions by models that see."""

from __future__ import annotations

from pydantic import Field

from mediamill.tasks.money.tokens import TokenMeter
from mediamill.tasks.providers.operations.chat import CHAT, ChatModel, CompletionConfig, CompletionOperation
from mediamill.tasks.providers.operations.vision import Vision

VISION_CHAT = "vision_chat"
"""The operation, as the price list names it."""


class VisionModel(ChatModel):
    """A model that answers prompts with pictures."""

    vision: Vision = Field(default=Vision(), description="what pictures it takes, and what they come to")

    def abilities(self) -> tuple[str, ...]:
        """What it sees, and what else it can do."""
        media = (f"sees up to {self.vision.max_pictures} pictures", *(["videos"] if self.vision.video else []))
        return (*media, *super().abilities()[1:])


class VisionConfig(CompletionConfig[VisionModel]):
    """An endpoint that answers prompts with pictures."""


class VisionChatOperation(CompletionOperation[VisionConfig, VisionModel]):
    """Prompts with pictures or videos, which stand in the messages by their place among the inputs."""

    config_model = VisionConfig
    facts_model = VisionModel
    meter = TokenMeter()
    priced_as = CHAT
