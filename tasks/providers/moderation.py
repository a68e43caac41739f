"""Refusals of what may not be made, told from other errors by their codes and words (provider docs)."""

from __future__ import annotations

import re
from dataclasses import replace

from tasks.providers.base import Problem

MODERATED = "moderated"
_HINT = "the provider will not make this one; change the prompt or the pictures"
_CODES = re.compile(r"moderat|content_policy|content_filter|safety|nsfw|blocked_by", re.IGNORECASE)
_WORDS = re.compile(
    r"content policy|content_policy|moderat|safety (system|filter|check)|nsfw|not allowed by .{0,20}polic",
    re.IGNORECASE,
)


def is_refusal(code: str | None, message: str) -> bool:
    """True for the provider's word that the content is the problem."""
    return bool((code and _CODES.search(code)) or _WORDS.search(message))


def refusals_named(problem: Problem | None) -> Problem | None:
    """The problem, of the kind ``moderated`` where it is a refusal; never one to be sent again."""
    if problem is None or problem.verdict == "stop" or not is_refusal(problem.code, problem.message):
        return problem
    return replace(problem, verdict="fail", kind=MODERATED, hint=_HINT, wait=None)


def refusal(words: str) -> Problem:
    """What a refusal becomes that is told otherwise than by an error."""
    return Problem("fail", MODERATED, words, hint=_HINT)
