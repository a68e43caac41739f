"""What one run prepared and requested for an item: kept in the journal beside its outcome, for ``explain``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mediamill.tasks.domain import Answer, Ask, Failure, Outcome, Preparation
from mediamill.tasks.errors import ItemError, RunStopped

_MAX_REQUESTS = 500
"""Requests of one item that are listed; the number of all is kept beside them."""
_TEXT_PARAMS = ("text", "prompt", "query", "code")


@dataclass(slots=True)
class RequestRecord:
    """One Ask of the item, in the order in which the capability made them.

    Attributes:
        sent: what is sent: recipe, bytes and media types of the inputs, the range of a piece, the length of texts.
        key: the request key; None when the run ended, or its parameters were refused, before there was one.
        cached: another item or OUT had paid for the answer.
        error_kind: why there is no answer.
        sent_as: the key of the request that this run sent for it, alone or with others; None where it sent none.
    """

    sent: dict[str, Any]
    key: str | None = None
    cached: bool = False
    error_kind: str | None = None
    sent_as: str | None = None

    def note_error(self, error: ItemError | RunStopped, key: str | None) -> None:
        """There is no answer."""
        self.key, self.error_kind = key, error.kind
        self.sent_as = error.request if isinstance(error, ItemError) else None

    def note_answer(self, answer: Answer, run_began_at: int) -> None:
        """The answer; ``run_began_at`` in microseconds since the epoch tells whether this run sent for it."""
        self.key, self.cached = answer.request_key, answer.cached
        if not answer.cached and (answer.started_at or 0) >= run_began_at:
            self.sent_as = answer.request_key

    def as_dict(self) -> dict[str, Any]:
        """The fields that say something."""
        fields = {"key": self.key, "cached": self.cached, "error_kind": self.error_kind, "sent": self.sent}
        return {name: value for name, value in fields.items() if value}


@dataclass(slots=True)
class ItemRecord:
    """What a run prepared and requested for one item so far.

    ``first_failure`` is how its first try failed, where a later one may have made a row all the same.
    """

    preparations: list[Preparation] = field(default_factory=list)
    requests: list[RequestRecord] = field(default_factory=list)
    first_failure: Failure | None = None

    def add_request(self, ask: Ask, number: int = 1) -> RequestRecord:
        """Add a request of the item's ``number``-th try, about to be made; its key and end are set once known."""
        record = RequestRecord({**_describe_sent(ask), **({"try": number} if number > 1 else {})})
        self.requests.append(record)
        return record

    def find_last_sent(self) -> str | None:
        """The key of the last request that this run sent for the item; None where it sent none."""
        return next((request.sent_as for request in reversed(self.requests) if request.sent_as), None)

    def as_dict(self, run_id: str, outcome: Outcome | None) -> dict[str, Any]:
        """The record as the journal keeps it; ``outcome`` None when the run ended first."""
        fields: dict[str, Any] = {
            "run_id": run_id,
            "at": time.time_ns() // 1000,
            "preparations": [_to_fields(preparation) for preparation in self.preparations],
            "requests": [request.as_dict() for request in self.requests[:_MAX_REQUESTS]],
        }
        if len(self.requests) > _MAX_REQUESTS:
            fields["requests_in_all"] = len(self.requests)
        if isinstance(outcome, Failure):  # a failure that leaves an earlier result in place has no row of its own
            fields["failure"] = {"kind": outcome.kind, "message": outcome.message, "hint": outcome.hint}
        return fields


def _to_fields(preparation: Preparation) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "input": preparation.input,
        "before": preparation.before,
        "after": preparation.after,
        "changes": preparation.changes,
    }
    return {name: value for name, value in fields.items() if value}


def _describe_sent(ask: Ask) -> dict[str, Any]:
    """What an Ask sends, without its content."""
    sent: dict[str, Any] = _describe_text(ask.params)
    if ask.inputs:
        first, payloads = ask.inputs[0], [source.payload for source in ask.inputs if source.payload is not None]
        if recipes := list(dict.fromkeys(source.recipe for source in ask.inputs if source.recipe != "as-is")):
            sent["recipes"] = recipes
        sent["bytes"] = sum(payload.size for payload in payloads)
        sent["types"] = list(dict.fromkeys(payload.mime for payload in payloads if payload.mime))
        if len(ask.inputs) > 1:
            sent["inputs"] = len(ask.inputs)
        elif first.start or first.end is not None:
            sent["start"], sent["end"] = first.start, first.end
    return sent


def _describe_text(params: Mapping[str, Any]) -> dict[str, Any]:
    """The lengths of an Ask's texts."""
    lengths = {name: len(params[name]) for name in _TEXT_PARAMS if isinstance(params.get(name), str)}
    messages, documents = params.get("messages"), params.get("documents")
    if isinstance(messages, list):
        lengths["messages"] = len(messages)
        lengths["text"] = sum(_count_characters(message.get("content")) for message in messages)
    if isinstance(documents, list):
        lengths["documents"] = len(documents)
    return lengths


def _count_characters(content: Any) -> int:
    parts = content if isinstance(content, list) else [{"text": content or ""}]
    return sum(len(str(part.get("text", ""))) for part in parts)
