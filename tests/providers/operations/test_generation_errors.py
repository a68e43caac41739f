"""A generation that ended in an error is a failure in the provider's words, and never the answer."""

from __future__ import annotations

from typing import Any

import pytest

from mediamill.tasks.wire import Problem
from tests.providers.builders import build_event_stream, build_provider, build_reply, parse_body

_ERROR = {"code": 502, "message": "Provider returned error"}


def make_choice(text: str, finish_reason: str | None, **more: Any) -> dict[str, Any]:
    """A choice of a completion."""
    return {"index": 0, "finish_reason": finish_reason, "message": {"content": text}, **more}


def classify(*choices: dict[str, Any]) -> Problem | None:
    """What a completion of these choices means."""
    return build_provider("compatible").classify(build_reply({"choices": choices}), "chat")


@pytest.mark.parametrize(
    ("choice", "verdict", "kind", "words"),
    [
        (make_choice("part", "error", error=_ERROR), "unknown", "server_error", "Provider returned error"),
        (make_choice("", "error", error=_ERROR), "retry", "server_error", "Provider returned error"),
        (make_choice("", None, error=_ERROR), "retry", "server_error", "Provider returned error"),
        (make_choice("part", "error"), "unknown", "server_error", "the generation ended in an error"),
        (make_choice("part", "error", error={"code": "402", "message": "no credits"}), "stop", "credits", "no credits"),
        (make_choice("", "error", error={"code": 429, "message": "slow down"}), "retry", "rate_limit", "slow down"),
    ],
)
def test_an_error_at_the_end_is_a_failure(choice: dict[str, Any], verdict: str, kind: str, words: str) -> None:
    problem = classify(choice)
    assert problem is not None
    assert (problem.verdict, problem.kind) == (verdict, kind)
    assert problem.billed == bool(choice["message"]["content"])
    assert words in problem.message


def test_one_answer_beside_errors_is_the_answer() -> None:
    choices = [make_choice("part", "error", error=_ERROR), make_choice("whole", "stop")]
    assert classify(*choices) is None
    data = parse_body("compatible", "chat", {"choices": choices}).data
    assert [choice["text"] for choice in data["choices"]] == ["whole", "part"]


def test_text_that_only_speaks_of_errors_is_an_answer() -> None:
    assert classify(make_choice('{"finish_reason": "error"}', "stop")) is None


@pytest.mark.parametrize(("text", "verdict"), [("part", "unknown"), ("", "retry")])
def test_an_error_at_the_end_of_a_stream_is_a_failure(text: str, verdict: str) -> None:
    stream = build_event_stream(
        {"choices": [{"index": 0, "delta": {"content": text}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": _ERROR}]},
    )
    problem = build_provider("compatible").classify(stream, "chat")
    assert problem is not None
    assert (problem.verdict, problem.kind) == (verdict, "server_error")
    assert "Provider returned error" in problem.message


def test_a_stream_that_runs_out_of_credits_stops_the_run() -> None:
    stream = build_event_stream(
        {"choices": [{"index": 0, "delta": {"content": "part"}}]}, {"error": {"code": 402, "message": "no credits"}}
    )
    problem = build_provider("compatible").classify(stream, "chat")
    assert problem is not None
    assert (problem.verdict, problem.kind, problem.billed) == ("stop", "credits", True)
