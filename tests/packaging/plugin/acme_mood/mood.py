"""The operation ``mood``: a text to its mood."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mediamill import (
    JSON,
    Ask,
    BadInput,
    BadReply,
    ModelFacts,
    Operation,
    OperationConfig,
    Parsed,
    Reply,
    Request,
    UnitMeter,
    Usage,
    Wire,
    to_parsed,
)


class MoodModel(ModelFacts):
    """A model that detects moods, and the moods that it knows."""

    moods: tuple[str, ...] = ()


class MoodConfig(OperationConfig[MoodModel]):
    """An endpoint that detects moods."""


class Mood(Operation[MoodConfig, MoodModel]):
    """``POST /moods`` with ``model`` and ``text`` returns ``mood`` and ``score``."""

    config_model = MoodConfig
    facts_model = MoodModel
    meter = UnitMeter()

    def to_wire(self, ask: Ask) -> Wire:
        """The text is part of the wire's parameters, and so of what is bought."""
        known, only = self.model_facts(ask.model).moods, ask.params.get("only")
        if only is not None and only not in known:
            raise BadInput(f"{ask.model} knows no mood {only!r}", hint=f"choose one of {', '.join(known)}")
        body: dict[str, JSON] = {"model": ask.model, "text": ask.params["text"]}
        return Wire(self.provider.key_origin(ask.model), self.path, body | ({"only": only} if only else {}))

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The parameters are the body."""
        return Request("POST", wire.path, json=dict(wire.params))

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """The mood and how sure it is."""
        content = json.loads(reply.body)
        if not isinstance(content, dict) or "mood" not in content:
            raise BadReply("there is no mood in the reply")
        return [to_parsed(reply, {"mood": content["mood"], "score": content.get("score")}, Usage(requests=1))]
