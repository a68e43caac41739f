"""Translation: what each kind of endpoint calls the language it translates to, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping

from mediamill.tasks.domain import JSON
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.config import ModelFacts
from mediamill.tasks.providers.languages import iso_code

TRANSLATION = "translation"
"""The operation that answers speech with text in another language."""

ENGLISH = "en"


def target(model: str, facts: ModelFacts, asked: Mapping[str, JSON]) -> str:
    """The language to translate to, as an ISO code.

    Raises:
        BadInput: when the model does not translate to it.
    """
    given = str(asked.get("to") or ENGLISH)
    code = iso_code(given) or given
    if facts.targets is not None and code not in facts.targets:
        raise BadInput(
            f"{model} translates to {', '.join(sorted(facts.targets))} only, not to {given!r}",
            kind="bad_request",
            hint="together takes other targets, and so do some self-hosted models (--provider compatible)",
        )
    return code


def spoken(asked: Mapping[str, JSON]) -> str | None:
    """What is said to be spoken, as an ISO code; None where it is to be detected."""
    given = str(asked.get("language") or "auto")
    return None if given == "auto" else iso_code(given) or given
