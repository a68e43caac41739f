"""What a completion comes to, in each provider's words (provider docs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mediamill.tasks.local.chat.answers import Said
from mediamill.tasks.local.chat.chat_request import Asked
from mediamill.tasks.local.chat.token_counts import tokens_of


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens: of the prompt, of the pictures in it, of the answers with their reasoning, of the reasoning.

    ``usd_ticks`` is the price in 1e-10 dollars, where the provider tells it.
    """

    told: int
    said: int
    thought: int
    shown: int = 0
    usd_ticks: int | None = None


def cut(said: Said, asked: Asked) -> Said:
    """An answer ended where it must be, with the reason why."""
    text = said.text
    for stop in asked.stop:
        text = text.partition(stop)[0]
    finish = said.finish or ("tool_calls" if said.calls else "stop")
    reasoning = said.reasoning[: asked.most * 4]
    room = (asked.most - tokens_of(reasoning)) * 4
    if len(text) > room or len(reasoning) < len(said.reasoning):
        text, finish = text[:room], "length"
    return Said(text, reasoning, said.calls, said.refusal, finish, said.simulated)


def spent(answers: Sequence[Said], told: int, shown: int = 0) -> Spent:
    """What a request comes to."""
    thought = sum(tokens_of(said.reasoning) for said in answers)
    words = sum(
        tokens_of(said.text)
        + sum(tokens_of(call.name + call.arguments) for call in said.calls)
        + tokens_of(said.refusal or "")
        for said in answers
    )
    return Spent(told, words + thought, thought, shown)


def usage(spend: Spent, dialect: str) -> dict[str, Any]:
    """The usage object; xAI leaves reasoning out of the completion and tells the cost in ticks."""
    said = spend.said - spend.thought if dialect == "xai" else spend.said
    made: dict[str, Any] = {
        "prompt_tokens": spend.told,
        "completion_tokens": said,
        "total_tokens": spend.told + spend.said,
    }
    if dialect == "openai":
        made["prompt_tokens_details"] = {"cached_tokens": 0, "audio_tokens": 0}
        made["completion_tokens_details"] = {
            "reasoning_tokens": spend.thought,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
    elif dialect == "xai":
        words = {"text_tokens": spend.told - spend.shown, "image_tokens": spend.shown, "audio_tokens": 0}
        made["prompt_tokens_details"] = {**words, "cached_tokens": 0}
        made["completion_tokens_details"] = {"reasoning_tokens": spend.thought, "audio_tokens": 0}
        made |= {"num_sources_used": 0, "cost_in_usd_ticks": spend.usd_ticks or 0}
    elif dialect == "groq":
        made |= {"queue_time": 0.001, "prompt_time": 0.001, "completion_time": 0.001, "total_time": 0.002}
        if spend.thought:
            made["completion_tokens_details"] = {"reasoning_tokens": spend.thought}
    elif dialect == "local":
        made["completion_tokens_details"] = {"reasoning_tokens": spend.thought}
    elif dialect == "compatible":
        made["prompt_tokens_details"] = None
    return made
