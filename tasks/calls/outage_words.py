"""What is said of an outage: in the live view while it lasts, and at the end of a run that it stopped."""

from __future__ import annotations

from datetime import datetime, timedelta

from mediamill.tasks.calls.failure_streak import FailureStreak
from mediamill.tasks.calls.outage_patience import OutagePatience
from mediamill.tasks.errors import ProviderDown
from mediamill.tasks.formatting import format_duration
from mediamill.tasks.summary import Outage

_MAX_CAUSE_CHARACTERS = 160
_MAX_SHOWN_SECONDS = 366 * 86400.0


def build_outage(
    name: str, streak: FailureStreak, now: float, *, next_try_at: float | None, gives_up_at: float
) -> Outage:
    """An outage for people to read.

    Args:
        name: the provider's.
        streak: the failures.
        now: on the clock of ``streak``, in seconds, as the other two.
        next_try_at: when the provider is tried again; None where it is being tried.
        gives_up_at: when the run ends.
    """
    today = datetime.now().astimezone()

    def format_moment(at: float) -> str:
        return (today + timedelta(seconds=at - now)).isoformat(timespec="seconds")

    return Outage(
        provider=name,
        since=format_moment(streak.began_at),
        cause=_describe_cause(streak),
        next_try_s=None if next_try_at is None else max(0.0, next_try_at - now),
        gives_up_at=format_moment(gives_up_at),
        refuses=streak.is_refusal,
        back_at=None if streak.back_at is None or streak.back_at < now else format_moment(streak.back_at),
    )


def build_provider_down(name: str, streak: FailureStreak, now: float, patience: OutagePatience) -> ProviderDown:
    """Why the run ends: the provider was out for as long as the run waits, or will be by its own word."""
    waited = now - streak.began_at
    today = datetime.now().astimezone()
    what, first_step = "refuses every request" if streak.is_refusal else "does not answer", ""
    if not patience.has_answered:
        what, first_step = "has not answered at all", "check the network and --base-url, then "
    message = f"{name} {what} since {today - timedelta(seconds=waited):%H:%M:%S} ({_describe_cause(streak)}); "
    if patience.is_useless(streak):
        assert streak.wait is not None
        back_at = today + timedelta(seconds=min(streak.wait, _MAX_SHOWN_SECONDS))
        message += f"it asks for {format_duration(streak.wait)} without requests, until {back_at:%Y-%m-%d %H:%M}, and "
        message += f"the run waits {format_duration(patience.seconds)}"
        hint = "run the same command again then, or let the run wait longer with --wait-for-provider"
    else:
        message += f"the run waited {waited:.0f} s for it"
        hint = f"{first_step}run the same command again to go on; --wait-for-provider sets how long a run waits"
    return ProviderDown(message, hint=hint)


def _describe_cause(streak: FailureStreak) -> str:
    text = " ".join(streak.message.split())
    text = text if len(text) <= _MAX_CAUSE_CHARACTERS else text[: _MAX_CAUSE_CHARACTERS - 3] + "..."
    return text or streak.kind
