"""Models that answer prompts: what each dialect's can do, and how they count a picture's tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Counting:
    """How a picture is counted (provider docs).

    Attributes:
        by: ``tiles560`` at most two by two of ``each``; ``tiles512`` of ``each`` above a ``base``; ``patches`` of 32
            pixels times ``multiplier``.
        details: longest side in pixels and most patches, by ``detail``; None for no such limit. ``auto`` is as
            ``original`` where that is told and ``auto`` is not, else as ``high``.
    """

    by: Literal["tiles560", "tiles512", "patches"] = "patches"
    base: int = 0
    each: int = 1601
    multiplier: str = "1"
    details: Mapping[str, tuple[int | None, int | None]] | None = None


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model: whether it sees, whether it thinks before it answers, how it counts pictures."""

    sees: bool = True
    thinks: bool = False
    counting: Counting = Counting()


def read_models(known: Mapping[str, Mapping[str, Any]], named: Iterable[str]) -> dict[str, ChatModel]:
    """The models of a dialect as the configuration has them, and those that were named besides.

    Args:
        known: facts by model; those of ``*`` hold for every model that is only named.
        named: models of the server's options.
    """
    other = _model(known.get("*") or {})
    listed = {name: _model(facts or {}) for name, facts in known.items()}
    return {"*": other} | dict.fromkeys(named, other) | listed


def _model(facts: Mapping[str, Any]) -> ChatModel:
    told = dict(facts)
    counting = {name: told.pop(name) for name in [f.name for f in fields(Counting)] if name in told}
    if "details" in counting:
        counting["details"] = {name: (side, most) for name, (side, most) in counting["details"].items()}
    if "multiplier" in counting:
        counting["multiplier"] = str(counting["multiplier"])
    return ChatModel(counting=Counting(**counting), **told)
