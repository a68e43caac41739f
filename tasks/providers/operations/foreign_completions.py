"""Completions in the shapes of other APIs, as gateways pass them on unchanged: turned into OpenAI's (provider docs).

Anthropic's messages, OpenAI's responses, Google's candidates, Ollama's own replies, and choices in simpler shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mediamill.tasks.providers.operations.reply_json import to_list, to_mapping

Data = dict[str, Any]

_CHOICES = "choices"


def to_usual_completion(content: Any) -> Data | None:
    """A completion with ``choices`` and ``usage``; None for anything that is no completion."""
    if not isinstance(content, dict):
        return None
    choices = content.get(_CHOICES)
    if isinstance(choices, dict):
        choices = [choices]
    if isinstance(choices, list) and choices:
        return {**content, _CHOICES: choices}
    converters = (_convert_message, _convert_response, _convert_candidates, _convert_ollama)
    return next((found for convert in converters if (found := convert(content)) is not None), None)


def _convert_message(content: Mapping[str, Any]) -> Data | None:
    """Anthropic's."""
    if content.get("type") != "message" or not isinstance(content.get("content"), list):
        return None
    return {
        **content,
        "usage": _to_usage(content.get("usage"), "input_tokens", "output_tokens"),
        _CHOICES: [_to_choice(content["content"], content.get("stop_reason"))],
    }


def _convert_response(content: Mapping[str, Any]) -> Data | None:
    """OpenAI's responses."""
    output = [part for part in to_list(content.get("output")) if to_mapping(part).get("type") == "message"]
    if not output:
        return None
    parts = [part for message in output for part in to_list(message.get("content"))]
    refusals = [str(part["refusal"]) for part in map(to_mapping, parts) if part.get("refusal")]
    is_whole = content.get("status") in (None, "completed")
    reason = to_mapping(content.get("incomplete_details")).get("reason")
    choice = _to_choice(parts, "stop" if is_whole else reason or content.get("status"))
    choice["message"]["refusal"] = " ".join(refusals) or None
    return {
        **content,
        "usage": _to_usage(content.get("usage"), "input_tokens", "output_tokens"),
        _CHOICES: [choice],
    }


def _convert_candidates(content: Mapping[str, Any]) -> Data | None:
    """Google's."""
    candidates = [each for each in to_list(content.get("candidates")) if isinstance(each, dict)]
    if not candidates:
        return None
    choices = [
        _to_choice(to_mapping(each.get("content")).get("parts"), each.get("finishReason")) for each in candidates
    ]
    usage = _to_usage(content.get("usageMetadata"), "promptTokenCount", "candidatesTokenCount")
    return {"model": content.get("modelVersion"), "usage": usage, _CHOICES: choices}


def _convert_ollama(content: Mapping[str, Any]) -> Data | None:
    message, text = content.get("message"), content.get("response")
    if isinstance(text, str):
        message = {"content": text}
    if not isinstance(message, dict) or "content" not in message:
        return None
    reason = content.get("done_reason") or ("stop" if content.get("done") else None)
    usage = _to_usage(content, "prompt_eval_count", "eval_count")
    return {"usage": usage, **content, _CHOICES: [{"message": message, "finish_reason": reason}]}


def _to_choice(parts: Any, reason: Any) -> Data:
    return {"message": {"content": parts}, "finish_reason": reason}


def _to_usage(fields: Any, prompt: str, completion: str) -> Data:
    usage = to_mapping(fields)
    return {"prompt_tokens": usage.get(prompt), "completion_tokens": usage.get(completion)}
