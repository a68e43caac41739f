"""Made-up likelihoods in the shapes of real ones: each piece of an answer as likely as the next (provider docs)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

LIKELY = math.log(0.5)
_PIECE = re.compile(r"\s*\S+\s*|\s+")


def pieces(text: str) -> list[str]:
    """A text's words with the blanks around them; joined they are the text."""
    return _PIECE.findall(text)


def piece_id(piece: str) -> int:
    """A number for a piece, the same for the same piece."""
    return sum(piece.encode("utf-8", "replace")) % 50_000


def likelihoods(said: Sequence[str], count: int, dialect: str) -> dict[str, Any]:
    """The ``logprobs`` of a choice; Together has lists beside each other, the others a list of tokens."""
    if dialect == "together":
        made: dict[str, Any] = {
            "token_ids": [piece_id(piece) for piece in said],
            "tokens": list(said),
            "token_logprobs": [LIKELY] * len(said),
        }
        return made | ({"top_logprobs": [{piece: LIKELY} for piece in said]} if count else {})
    return {"content": [_token(piece, count) for piece in said], "refusal": None}


def _token(piece: str, count: int) -> dict[str, Any]:
    token = {"token": piece, "logprob": LIKELY, "bytes": list(piece.encode("utf-8", "replace"))}
    return {**token, "top_logprobs": [token][:count]}
