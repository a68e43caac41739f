"""The token usage of a completion, in each provider's form (provider docs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mediamill.tasks.local.chat.answers import ChatAnswer
from mediamill.tasks.local.chat.chat_models import count_tokens
from mediamill.tasks.local.chat.chat_request import ChatRequest


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of the prompt, of the answers with their reasoning, of the reasoning, and of the images in the prompt.

    ``usd_ticks`` is the cost in 1e-10 dollars; None where it is not reported, or nobody knows it.
    """

    prompt: int
    completion: int
    reasoning: int
    images: int = 0
    usd_ticks: int | None = None


def truncate_answer(answer: ChatAnswer, params: ChatRequest) -> ChatAnswer:
    """Truncate an answer at a stop sequence or its maximum length, and set its finish reason."""
    text = answer.text
    for stop in params.stop:
        text = text.partition(stop)[0]
    finish_reason = answer.finish_reason or ("tool_calls" if answer.tool_calls else "stop")
    reasoning = answer.reasoning[: params.max_tokens * 4]
    max_chars = (params.max_tokens - count_tokens(reasoning)) * 4
    if len(text) > max_chars or len(reasoning) < len(answer.reasoning):
        text, finish_reason = text[:max_chars], "length"
    return ChatAnswer(text, reasoning, answer.tool_calls, answer.refusal, finish_reason, answer.simulated)


def count_usage(answers: Sequence[ChatAnswer], prompt: int, images: int = 0) -> TokenUsage:
    """The token usage of a request."""
    reasoning = sum(count_tokens(answer.reasoning) for answer in answers)
    answer_tokens = sum(
        count_tokens(answer.text)
        + sum(count_tokens(call.name + call.arguments) for call in answer.tool_calls)
        + count_tokens(answer.refusal or "")
        for answer in answers
    )
    return TokenUsage(prompt, answer_tokens + reasoning, reasoning, images)


def build_usage(usage: TokenUsage, dialect: str) -> dict[str, Any]:
    """The ``usage`` object; xAI does not count reasoning as completion, and reports the cost in ticks."""
    completion = usage.completion - usage.reasoning if dialect == "xai" else usage.completion
    reply: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": completion,
        "total_tokens": usage.prompt + usage.completion,
    }
    if dialect == "openai":
        reply["prompt_tokens_details"] = {"cached_tokens": 0, "audio_tokens": 0}
        reply["completion_tokens_details"] = {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
    elif dialect == "xai":
        text = {"text_tokens": usage.prompt - usage.images, "image_tokens": usage.images, "audio_tokens": 0}
        reply["prompt_tokens_details"] = {**text, "cached_tokens": 0}
        reply["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning, "audio_tokens": 0}
        reply["num_sources_used"] = 0
        if usage.usd_ticks is not None:
            reply["cost_in_usd_ticks"] = usage.usd_ticks
    elif dialect == "groq":
        reply |= {"queue_time": 0.001, "prompt_time": 0.001, "completion_time": 0.001, "total_time": 0.002}
        if usage.reasoning:
            reply["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    elif dialect == "local":
        reply["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    elif dialect == "compatible":
        reply["prompt_tokens_details"] = None
    return reply
