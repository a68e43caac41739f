"""Refusals of what may not be made, told from other errors by their codes and words (provider docs)."""

from __future__ import annotations

import re
from dataclasses import replace

from mediamill.tasks.wire import Problem, Reply

MODERATED = "moderated"
_HINT = "the provider will not make this one; change the prompt or the pictures"
_CODES = re.compile(r"moderat|content_policy|content_filter|safety|nsfw|blocked_by", re.IGNORECASE)
_PHRASES = re.compile(
    r"content[ _-]?(policy|filter|moderat)|safety[ _-](system|check|filter)|nsfw|usage guidelines"
    r"|moderat(ed\b|ion[ _](block|fail|refus|reject|check|system))|(fail|not pass)\w* (the |our )?moderation"
    r"|(rejected|blocked|refused|not allowed) (by|due to) .{0,40}(moderation|safety|polic)"
    r"|violat\w+ .{0,60}(polic|guideline)|flagged (as|by|for)",
    re.IGNORECASE,
)
_STATUSES = frozenset({200, 202, 400, 403, 422, 451})


def is_refusal(code: str | None, message: str) -> bool:
    """True for the provider's word that the content is the problem."""
    return bool((code and _CODES.search(code)) or _PHRASES.search(message))


def mark_refusal(problem: Problem | None, reply: Reply) -> Problem | None:
    """The problem, of the kind ``moderated`` where it is a refusal; never one to be sent again.

    Args:
        problem: what the reply means otherwise.
        reply: the reply; statuses that are about something else are left alone.
    """
    if problem is None or problem.kind == "bad_body" or reply.status not in _STATUSES:
        return problem
    if not is_refusal(problem.code, problem.message):
        return problem
    return replace(problem, verdict="fail", kind=MODERATED, billed=False, hint=_HINT, wait=None)


def to_refusal_problem(message: str) -> Problem:
    """What a refusal becomes that is told otherwise than by an error."""
    return Problem("fail", MODERATED, message, hint=_HINT)
