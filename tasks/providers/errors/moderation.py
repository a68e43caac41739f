"""Content refusals, recognised by the codes and phrases of errors (provider docs)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from mediamill.tasks.wire import Problem, Reply

MODERATED = "moderated"
_HINT = "the provider refuses this content; change the prompt or the images"
_CODES = re.compile(
    r"moderat|content_?policy|content_?filter|safety|nsfw|blocked_by|responsible_?ai|data_?inspection|prohibited_content"
    r"|guardrail|sensitive|content_?blocked|content_?violation|policy_?violation|harmful|recitation",
    re.IGNORECASE,
)
_PHRASES = re.compile(
    r"content[ _-]?(management policy|policy|filter|moderat)|blocked (input|output)"
    r"|safety[ _-](system|check|filter)|nsfw|usage guidelines"
    r"|moderat(ed\b|ion[ _](block|fail|refus|reject|check|system))|(fail|not pass)\w* (the |our )?moderation"
    r"|(rejected|blocked|refused|not allowed) (by|due to) .{0,40}(moderation|safety|polic)"
    r"|violat\w+ .{0,60}(polic|guideline|terms)|flagged (as|by|for)|content exists risk|considered high risk"
    r"|blocked by .{0,40}(content|filter|guardrail)|banned words|copyright violation|guardrail|new_sensitive"
    r"|(inappropriate|sensitive|unsafe|prohibited|harmful|explicit) (content|input|material|words)"
    r"|(input|prompt|output|content|image|audio|text)\b.{0,30}\b(is|are|was|were|be|contains?) .{0,30}"
    r"(inappropriate|sensitive(?! to)|unsafe|prohibited|harmful|explicit)"
    r"|safety (settings|reasons|concerns|violation)|responsible ai|\u654f\u611f|\u4e0d\u5b89\u5168|\u8fdd\u89c4",
    re.IGNORECASE,
)
_CONTENT = re.compile(
    r"\b(content|input|prompt|image|text|audio)\b.{0,20}\b(violat\w+|flagged)|failed check: ?\w*safety", re.IGNORECASE
)
"""Said of the content alone, also where the account is named as well, as xAI names the team and the key."""
_ACCOUNT = re.compile(r"\b(account|organi[sz]ation|team|project|api key|ip address)\b", re.IGNORECASE)
_STATUSES = frozenset({200, 202, 400, 403, 422, 451})


def is_refusal(code: str | None, message: str) -> bool:
    """True when a code or a message says that the content is the problem."""
    return bool((code and _CODES.search(code)) or _PHRASES.search(message))


def is_content_refusal(status: int, codes: Iterable[str], message: str) -> bool:
    """True when an error reply refuses the content, and not the account that sent it (provider docs).

    Azure's ``content_filter``, OpenAI's ``content_policy_violation``, OpenRouter's and xAI's 403, Cohere's blocked
    input.
    """
    if status not in _STATUSES:
        return False
    if any(_CODES.search(code) for code in codes) or _CONTENT.search(message):
        return True
    return bool(_PHRASES.search(message)) and not _ACCOUNT.search(message)


def mark_refusal(problem: Problem | None, reply: Reply) -> Problem | None:
    """The problem; a refusal gets the kind ``moderated`` and is never retried.

    Args:
        problem: how the reply is classified otherwise.
        reply: the reply; only statuses that providers use for refusals are considered.
    """
    if problem is None or problem.kind == "bad_body" or reply.status not in _STATUSES:
        return problem
    if not is_refusal(problem.code, problem.message):
        return problem
    return replace(problem, verdict="fail", kind=MODERATED, billed=False, hint=_HINT, wait=None)


def to_refusal_problem(message: str) -> Problem:
    """The problem for a refusal that is not stated by an error reply."""
    return Problem("fail", MODERATED, message, hint=_HINT)
