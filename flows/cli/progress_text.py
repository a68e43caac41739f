"""A run's progress in words: its counts, what it costs, and a provider that does not answer."""

from __future__ import annotations

from datetime import datetime

from mediamill.tasks.formatting import format_dollars, format_duration, pluralize
from mediamill.tasks.summary import Outage, Progress
from mediamill.tasks.untrusted_text import escape_controls


def format_progress(progress: Progress, *, after_cause: str = ": ") -> str:
    """A run's progress in one line; of an outage in two where ``after_cause`` is a line break."""
    if progress.phase != "run":
        return format_phase(progress)
    parts = [f"{progress.done + progress.failed}/{progress.total} items"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.retried:
        parts.append(f"{progress.retried} retried")
    if progress.running:
        parts.append(f"{progress.running} jobs running")
    if progress.claimed_by_others:
        parts.append(format_claims_of_others(progress.claimed_by_others))
    parts += [f"{progress.in_flight} in flight", f"{progress.rate:.1f}/s"]
    if progress.spent or progress.budget is not None:
        limit_text = f" of {format_dollars(progress.budget)}" if progress.budget is not None else ""
        parts.append(f"{format_dollars(progress.spent)}{limit_text}")
    if progress.outage is not None:  # first, because a narrow terminal cuts the end off
        return f"{format_outage(progress.outage, after_cause)}; {', '.join(parts)}"
    if progress.silent_seconds is not None:
        return f"{format_silence(progress.silent_seconds)}; {', '.join(parts)}"
    if progress.eta_s is not None:
        parts.append(f"{format_duration(progress.eta_s)} left")
    return ", ".join(parts)


def format_phase(progress: Progress) -> str:
    """What a run does before and after its items."""
    phase = {"plan": "reading the source", "publish": "writing the report"}.get(progress.phase, progress.phase)
    return f"{phase}: {pluralize(progress.total, 'item')}" if progress.total else phase


def format_cost(progress: Progress) -> str:
    """What OUT's requests have cost, may have cost, and will have cost at this rate, and the budget."""
    limit = (
        ", no budget" * bool(progress.spent) if progress.budget is None else f" of {format_dollars(progress.budget)}"
    )
    parts = [f"{format_dollars(progress.spent)} spent{limit}"]
    if progress.projected is not None:
        parts.append(f"about {format_dollars(progress.projected)} at the end")
    if progress.unknown_max:
        parts.append(f"up to {format_dollars(progress.unknown_max)} more may be billed")
    return ", ".join(parts)


def format_claims_of_others(count: int) -> str:
    """Requests that another run sends: their answers cost this one nothing."""
    return f"{count} wait for answers to another run"


def format_silence(seconds: float) -> str:
    """A provider that answers nothing, though requests are out."""
    return f"nothing was answered for {format_duration(seconds)}"


def format_outage(outage: Outage, after_cause: str = ": ") -> str:
    """A provider that does not answer: since when, why, and, ``after_cause``, what happens next."""
    since, end = (f"{datetime.fromisoformat(time):%H:%M:%S}" for time in (outage.since, outage.gives_up_at))
    next_try = "trying now" if outage.next_try_s is None else f"next try in {outage.next_try_s:.0f} s"
    if outage.back_at is not None:
        next_try += f", to be left alone until {datetime.fromisoformat(outage.back_at):%H:%M:%S}"
    what = "refuses every request" if outage.refuses else "does not answer"
    cause = escape_controls(outage.cause)
    return f"{outage.provider} {what} since {since} ({cause}){after_cause}{next_try}, gives up at {end}"
