"""How many cases a property test tries: a quarter of them in the tier quick, all of them in the tier long."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_QUICK_SHARE = 4
_DEFAULT_EXAMPLES = 100
_is_quick = True


def choose_examples(mark_expression: str) -> None:
    """Take the tier from pytest's option ``-m``, before tests are imported."""
    global _is_quick  # noqa: PLW0603
    _is_quick = not mark_expression or "not long" in mark_expression
    # How long a case takes says how busy the machine is, and nothing of what a property test judges.
    settings.register_profile(
        "tier",
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        max_examples=count_examples(_DEFAULT_EXAMPLES),
    )
    settings.load_profile("tier")


def count_examples(full: int) -> int:
    """How many examples this tier tries of ``full`` ones."""
    return full // _QUICK_SHARE if _is_quick else full


def make_repeatable(full: int = _DEFAULT_EXAMPLES) -> settings:
    """Settings with which every run of a tier tries the same cases."""
    return settings(derandomize=True, deadline=None, max_examples=count_examples(full))
