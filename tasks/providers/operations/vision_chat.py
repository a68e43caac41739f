"""Vision chat: chat completions of prompts with images."""

from __future__ import annotations

from pydantic import Field

from mediamill.tasks.money.tokens import TokenMeter
from mediamill.tasks.providers.operations.chat import CHAT, ChatModel, CompletionConfig, CompletionOperation
from mediamill.tasks.providers.operations.vision import Vision

VISION_CHAT = "vision_chat"
"""The operation's name, also in price lists."""


class VisionModel(ChatModel):
    """A model that completes prompts with images."""

    vision: Vision = Field(default=Vision(), description="the limits of its images, and their tokens")

    def abilities(self) -> tuple[str, ...]:
        """Image and video inputs, and what else it can do."""
        media = (f"up to {self.vision.max_pictures} images", *(["videos"] if self.vision.video else []))
        return (*media, *super().abilities()[1:])


class VisionConfig(CompletionConfig[VisionModel]):
    """A completions endpoint for prompts with images."""


class VisionChatOperation(CompletionOperation[VisionConfig, VisionModel]):
    """Chat completions of prompts with images or videos, which messages refer to by their index among the inputs."""

    config_model = VisionConfig
    facts_model = VisionModel
    meter = TokenMeter()
    priced_as = CHAT
