"""Why an item is as it is, in one or two sentences, and what to do about it."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from mediamill.tasks.explain.item_story import AttemptStory, ItemStory, RequestStory
from mediamill.tasks.formatting import format_dollars
from mediamill.tasks.journal.items import KINDS_NEEDING_NEW_ANSWER, PROMOTED_PREVIEW
from mediamill.tasks.journal.planning import LOST_FILE

Reason = tuple[str, list[str]]

_MAY_BE_BILLED = ("unknown", "interrupted")
_CHANGE_INPUT = "change its input first; the next run finds it changed and does it again"
_RAISED_OPTION = re.compile(r"raise --([a-z-]+)\b")
_STOP_STEPS = {
    "account": "settle the account or the key with the provider first",
    "network": "check the network and --base-url first",
    "failures_in_a_row": "see what the provider answers now, at its --base-url",
    "provider_gone": "check the network and --base-url first",
}


def explain_state(story: ItemStory, item: Mapping[str, Any], again: str, runs: Sequence[Mapping[str, Any]]) -> Reason:
    """Why the item is as it is, and what to do: commands, or what a person has to do first.

    Args:
        story: what is known of the item.
        item: its row in the journal.
        again: the command that runs OUT's job again, or how to, where no command can.
        runs: OUT's runs, the newest last.
    """
    if story.state == "done":
        why, steps = _explain_done(story, item)
    elif story.state == "failed":
        why, steps = _explain_failed(story, again)
    else:
        why, steps = _explain_pending(story, item, runs, again)
    if story.source_exists is False:
        why += f" Its file is gone from {story.location}."
    elif not story.in_last_run and story.owner is None and story.state != "pending" and not story.source_exists:
        why += _explain_absence(story)
    return why, steps


def _explain_done(story: ItemStory, item: Mapping[str, Any]) -> Reason:
    out = shlex.quote(story.out)
    if item["error_kind"] == PROMOTED_PREVIEW:
        return "It is a preview that is to be generated in full.", [f"mediamill retry {out} --promote"]
    if story.failure is not None and story.failure.stands:
        kind = story.failure.kind
        why = f"Its earlier result stands: a later try failed with {kind} ({story.failure.message})."
        is_preview = bool((story.result or {}).get("preview"))
        retry = (
            f"mediamill retry {out} --promote --only {kind}" if is_preview else f"mediamill retry {out} --only flagged"
        )
        return why, [retry if is_preview else f"{retry} --model ANOTHER"] if is_preview or _flags(story) else []
    if any(file.bytes is None for file in story.files):
        return "It is done, but its file is gone; the answer is kept, so it costs nothing to get it again.", [
            f"mediamill retry {out} --only {LOST_FILE}"
        ]
    why = _explain_answers(story)
    if duplicate := (story.result or {}).get("duplicate_of"):
        why = f"It is done: it looks like {duplicate}, whose answer it shares, so it cost nothing."
    steps = []
    if flags := _flags(story):
        why += f" It carries {'a flag' if len(flags) == 1 else 'flags'}: {', '.join(flags)}."
        steps.append(f"mediamill retry {out} --only flagged --model ANOTHER")
    return why, steps


def _explain_answers(story: ItemStory) -> str:
    """How a result came about."""
    current = [request for request in story.requests if request.current]
    reused = [request.reused for request in current if request.reused is not None]
    if not current:
        return "It is done; it needed no request." if story.recorded else "It is done."
    if len(reused) < len(current):
        kept = f"; {len(reused)} of {len(current)} answers were in the journal already" if reused else ""
        count = "one request was" if len(current) == 1 else f"{len(current)} requests were"
        return f"It is done: {count} answered{kept}{_format_lost_attempts(current)}."
    first = reused[0]
    if first.source == "earlier_run":
        return "It is done, from answers that an earlier run had bought: nothing was paid again."
    where = f"in {first.out}" if first.source == "other_out" else "in this OUT"
    return (
        f"It is done with an answer that is reused: {_list_ids(first.item_ids)} {where} had paid for the same request."
    )


def _format_kept_answers(story: ItemStory) -> str:
    """The answers of a failed item that are kept."""
    current = [request for request in story.requests if request.current]
    kept = sum(request.state == "replied" for request in current)
    return f" {kept} of its {len(current)} answers are kept and are not paid for again." if kept else ""


def _format_lost_attempts(requests: Sequence[RequestStory]) -> str:
    """The attempts that got no answer, by kind."""
    lost = [a for request in requests for a in request.attempts if a.outcome in ("rejected", "unknown")]
    if not lost:
        return ""
    kinds = ", ".join(sorted({a.error_kind or a.outcome for a in lost}))
    return f", after {len(lost)} {'attempt' if len(lost) == 1 else 'attempts'} without an answer ({kinds})"


def _explain_failed(story: ItemStory, again: str) -> Reason:
    failure = story.failure
    if failure is None:
        return "It failed.", [again]
    out, kind = shlex.quote(story.out), failure.kind
    jobs = [request for request in story.requests if request.state == "accepted"]
    if jobs:
        return _explain_job(story, jobs[0], again)
    why = f"It failed with {kind}: {failure.message}."
    retry = f"mediamill retry {out} --only {shlex.quote(kind)}"
    sent = [attempt for request in story.requests for attempt in request.attempts]
    if kind == "unknown":
        ceiling = _sum_ceilings(story)
        why += f" It may have been carried out and billed{ceiling}; it is not sent again without your word."
        return why, ["look for the request at the provider, by the times above", retry]
    if kind in KINDS_NEEDING_NEW_ANSWER:
        why += " The reply is kept; another try is sent and paid for again."
        return why, [*_hint(story), retry + _name_raised_option(failure.hint)]
    why += _format_kept_answers(story)
    if failure.transient:
        tries = f" after {len(sent)} attempts" if len(sent) > 1 else ""
        why += f" It failed{tries} for a reason that may pass, so the next run tries it again."
        return why + _format_billed_attempts(story), [again, retry]
    if not sent:
        return f"{why} Nothing was sent and nothing paid.", [*_hint(story), _CHANGE_INPUT, again]
    return f"{why} The next run leaves it as it is.", [*_hint(story), retry]


def _explain_pending(
    story: ItemStory, item: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], again: str
) -> Reason:
    run = story.last_run
    accepted = [request for request in story.requests if request.state == "accepted"]
    if accepted:
        return _explain_job(story, accepted[0], again)
    if run is not None and run.state is None:
        return _explain_running(story)
    if item["error_kind"] == LOST_FILE:
        return "Its file is gone, and no run has fetched it again yet.", [
            f"mediamill retry {shlex.quote(story.out)} --only {LOST_FILE}"
        ]
    stays = " Its earlier result stays until then." if story.result is not None else ""
    if not story.in_last_run:
        newer = runs[-1]["run_id"] if runs else "none"
        before = run.run_id if run else "?"
        why = f"It is not done: run {before} did not reach it, and run {newer} after that did not have it: it was "
        why += f"removed from the source, left out by --limit, or that run was a retry.{stays}"
        return why, [again]
    if run is None or run.state == "crashed":
        why = "The run ended without finishing it: the process was killed, or the machine went down."
        if any(a.outcome == "interrupted" and a.cost_max_usd != 0 for r in story.requests for a in r.attempts):
            why += f" A request was on its way then and may have been billed{_sum_ceilings(story)}."
        return f"{why}{stays}", [again]
    summary: Mapping[str, Any] = next((each["summary"] for each in runs if each["run_id"] == run.run_id), {})
    stopped_by = str(summary.get("stopped_by"))
    first = _STOP_STEPS.get(stopped_by)
    cause = f": {run.message}" if run.message else ""
    why = f"The run stopped before it was done{cause}.{stays}"
    if stopped_by == "budget":
        return why, [_raise_budget(again)]
    return why, [first, again] if first else [again]


def _explain_running(story: ItemStory) -> Reason:
    """A run that is alive has the item."""
    sending = [a for request in story.requests for a in request.attempts if a.outcome == "sending"]
    run_id = story.last_run.run_id if story.last_run else "?"
    if sending:
        elapsed = _format_elapsed(sending[-1].started_at)
        return f"Run {run_id} works on it now: a request has been on its way for {elapsed}.", [_status_step(story)]
    if any(request.held for request in story.requests):
        return f"Run {run_id} works on it now: it waits for the rate limit or between two tries.", [_status_step(story)]
    return f"Run {run_id} is alive and has not reached it yet.", [_status_step(story)]


def _explain_job(story: ItemStory, request: RequestStory, again: str) -> Reason:
    """The provider runs a job for the item."""
    created = next((a for a in reversed(request.attempts) if a.outcome == "accepted"), None)
    elapsed = f" {_format_elapsed(created.started_at)} ago" if created else ""
    what = f"The provider accepted job {request.job_id} for it{elapsed}"
    if request.held and story.owner:
        return f"{what}; the run polls it now.", [_status_step(story)]
    ceiling = _format_ceiling(created)
    return f"{what}{ceiling}; no run polls it now. The next run looks it up and never creates it again.", [again]


def _explain_absence(story: ItemStory) -> str:
    last = f" since run {story.last_run.run_id}" if story.last_run else ""
    return f" No run has had it{last}: it was removed from the source, left out by --limit, or later runs were retries."


def _raise_budget(again: str) -> str:
    if not again.startswith("mediamill "):
        return f"{again}, with a higher budget"
    words = shlex.split(again)
    if "--budget" in words:
        at = words.index("--budget")
        del words[at : at + 2]
    return shlex.join([*words, "--budget", "MORE"])


def _name_raised_option(hint: str | None) -> str:
    """The option that a hint says to raise, as ``retry`` takes it: the same parameters would give the same answer."""
    option = _RAISED_OPTION.match(hint or "")
    return f" --set {option[1].replace('-', '_')}=MORE" if option else ""


def _format_billed_attempts(story: ItemStory) -> str:
    """The attempts without an answer that may have been billed all the same."""
    attempts = [a for request in story.requests for a in request.attempts if a.outcome in _MAY_BE_BILLED]
    count = sum(a.cost_max_usd != 0 for a in attempts)
    if not count:
        return ""
    return f" {'One attempt' if count == 1 else f'{count} attempts'} may have been billed{_sum_ceilings(story)}."


def _hint(story: ItemStory) -> list[str]:
    return [story.failure.hint] if story.failure and story.failure.hint else []


def _flags(story: ItemStory) -> list[str]:
    flags = (story.result or {}).get("flags")
    return [str(flag) for flag in flags] if isinstance(flags, list) else []


def _status_step(story: ItemStory) -> str:
    return f"wait, or watch it: mediamill status {shlex.quote(story.out)}"


def _sum_ceilings(story: ItemStory) -> str:
    maxima = [a.cost_max_usd for request in story.requests for a in request.attempts if a.outcome in _MAY_BE_BILLED]
    known = [maximum for maximum in maxima if maximum is not None]
    return f" with up to {format_dollars(sum(known, Decimal(0)))}" if known else ""


def _format_ceiling(attempt: AttemptStory | None) -> str:
    if attempt is None or attempt.cost_max_usd is None:
        return ""
    return f" (up to {format_dollars(attempt.cost_max_usd)})"


def _list_ids(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} others"


def _format_elapsed(since: int) -> str:
    """The time since then, in words that hold in every time zone."""
    seconds = max(time.time_ns() // 1_000_000_000 - since // 1_000_000, 0)
    minutes, hours = seconds // 60, seconds // 3600
    return f"{hours} h {minutes % 60:02d} min" if hours else f"{minutes} min" if minutes else f"{seconds} s"
