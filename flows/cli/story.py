"""One item's story as text: a column of labels, a column of facts, no line wider than the terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mediamill.flows.cli.console import print_line
from mediamill.tasks.formatting import (
    format_dollars,
    format_duration,
    format_local_time,
    pluralize,
)
from mediamill.tasks.journal.lost_requests import STATED_BASIS
from mediamill.tasks.untrusted_text import escape_controls

if TYPE_CHECKING:
    from mediamill.tasks.explain.item_story import (
        AttemptStory,
        FileStory,
        ItemStory,
        RequestStory,
        ReuseStory,
        RunStory,
    )

_LABEL_WIDTH = 12
_MAX_WIDTH = 110
_MAX_FACT = 160
_MAX_REPLY = 1000
_MAX_REQUESTS = 40
"""Requests that are printed; --json has all."""
_TEXTS = ("text", "prompt", "query", "code")
_RUN_STATES = {"failures": "done with failures", "nothing": "nothing to do"}
_UNITS = {
    "bytes": "bytes",
    "seconds": "s",
    "sample_rate": "Hz",
    "fps": "frames/s",
    "characters": "characters",
    "audio_seconds": "s of audio",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "messages": "messages",
    "documents": "documents",
    "pieces": "pieces",
}
_COUNTED = frozenset(_UNITS) - {"seconds", "fps"}
_COLUMNS_TOLD_ABOVE = frozenset(
    {
        *("run_id", "provider", "model", "request_key", "request_id", "started_at", "latency_ms", "attempts"),
        *("cost_usd", "cost_basis", "price_source", "cached", "content_sha256", "recipe"),
    }
)
_OUTCOMES = {
    "sending": "on its way: no reply yet",
    "accepted": "the provider accepted a job",
    "replied": "answered",
    "rejected": "refused, not billed",
    "unknown": "no answer: it may have been billed",
    "interrupted": "on its way when the run ended: it may have been billed",
}


def print_story(story: ItemStory) -> None:
    """Print an item's story."""
    _print_item(story)
    _print_preparations(story)
    _print_requests(story)
    _print_outcome(story)
    print_line()
    _print_fact("why", story.why)
    for number, step in enumerate(story.next_steps):
        _print_fact("" if number else "what to do", step, is_command=step.startswith("mediamill "))
    if not story.next_steps:
        _print_fact("what to do", "nothing")


def _print_item(story: ItemStory) -> None:
    _print_fact("item", f"{story.item_id}  (index {story.index})")
    if story.source != story.item_id:
        _print_fact("source", story.source)
    if story.location and story.location != story.source:
        gone = "  (gone)" if story.source_exists is False else ""
        _print_fact("location", f"{story.location}{gone}")
    _print_fact("row", _format_facts(story.row))
    _print_fact("parameters", _format_facts(story.params))
    _print_fact("job", f"{story.capability} with {story.provider}, {story.model}")
    _print_fact("state", f"{story.state}{_format_owner(story)}")
    _print_fact("first seen", _format_run(story.first_run) if story.first_run else "not recorded")
    if story.last_run is not None:
        _print_fact("last seen", _format_run(story.last_run))
    again = f"; a new answer was requested {pluralize(story.sample, 'time')}" if story.sample else ""
    _print_fact("shard", f"{story.shard:06d}{again}")


def _format_owner(story: ItemStory) -> str:
    return f"; OUT is in use: {story.owner}" if story.owner else ""


def _format_run(run: RunStory) -> str:
    began = f"{format_local_time(run.started_at)}, " if run.started_at else ""
    state = "alive" if run.state is None else _RUN_STATES.get(run.state, run.state)
    return f"{began}run {run.run_id} ({state})"


def _print_preparations(story: ItemStory) -> None:
    print_line()
    if not story.recorded:
        _print_fact("prepared", story.not_recorded or "nothing")
        return
    when = f"{format_local_time(story.prepared_at)}, " if story.prepared_at else ""
    nothing = "; nothing had to be converted or cut" if story.requests else "; nothing came to be sent"
    nothing = "" if story.preparations else nothing
    _print_fact("prepared", f"{when}run {story.prepared_in}{nothing}")
    for preparation in story.preparations:
        before, after = (_format_facts(preparation.get(name, {})) for name in ("before", "after"))
        arrow = " -> " if before and after else ""
        facts = f": {before}{arrow}{after}" if before or after else ""
        _print_fact("", f"{preparation['input']}{facts}")
        for change in preparation.get("changes", ()):
            _print_fact("", f"- {change}", indent=2)


def _print_requests(story: ItemStory) -> None:
    print_line()
    if not story.requests:
        _print_fact("requests", "none")
        return
    total = max(story.requests_in_all, len(story.requests))
    _print_fact("requests", pluralize(total, "request"))
    for number, request in enumerate(story.requests[:_MAX_REQUESTS], 1):
        _print_request(number, request, story.last_run.run_id if story.last_run else "")
    if total > _MAX_REQUESTS:
        _print_fact("", f"... and {total - _MAX_REQUESTS} more: --json has {len(story.requests)} of them")
    sources = {a.price_source for request in story.requests for a in request.attempts if a.price_source}
    for number, source in enumerate(sorted(sources)):
        _print_fact("" if number else "prices", source)


def _print_request(number: int, request: RequestStory, last_run: str) -> None:
    where = ""
    if request.from_seconds is not None:
        end = "its end" if request.to_seconds is None else f"{request.to_seconds:.2f} s"
        where = f" from {request.from_seconds:.2f} s to {end}"
    old = "" if request.current else " (an earlier one)"
    sent = _format_sent(request.sent)
    error = f"; {request.error_kind}" if request.error_kind else ""
    state = f": {request.state}" if request.state not in (None, "replied", "free") else ""
    job = f", job {request.job_id}" if request.job_id and request.state == "accepted" else ""
    _print_fact(f"  {number}", f"request{where}{old}{state}{job}{error}{'; ' if sent else ''}{sent}")
    if request.reused is not None and (request.current or not request.attempts):
        _print_fact("", _format_reuse(request.reused), indent=2)
    elif not request.attempts:
        _print_fact("", "not sent" if request.key else "refused before it was sent", indent=2)
    for attempt in request.attempts:
        _print_attempt(attempt, last_run)


def _format_reuse(reuse: ReuseStory) -> str:
    when = format_local_time(reuse.answered_at)
    ids = ", ".join(reuse.item_ids[:3]) + (" ..." if len(reuse.item_ids) > 3 else "")  # noqa: PLR2004
    if reuse.source == "earlier_run":
        return f"reused: run {reuse.run_id} requested and paid for it; answered {when}"
    place = f" of {reuse.out}" if reuse.source == "other_out" else ""
    return f"reused: item {ids}{place} paid for the same request, answered {when} in run {reuse.run_id}"


def _print_attempt(attempt: AttemptStory, last_run: str) -> None:
    parts = [f"attempt {attempt.number}, {format_local_time(attempt.started_at)}"]
    waits = [("the rate limit or a free slot", attempt.limit_ms), ("the pause before a retry", attempt.pause_ms)]
    parts += [f"waited {_format_ms(ms)} for {what}" for what, ms in waits if ms]
    if attempt.took_ms is not None:
        parts.append(f"took {_format_ms(attempt.took_ms)}")
    outcome = _OUTCOMES.get(attempt.outcome, attempt.outcome)
    if attempt.cost_max_usd == 0:
        outcome = outcome.removesuffix(": it may have been billed")
    if attempt.status:
        outcome += f" (HTTP {attempt.status})"
    parts.append(f"{outcome}{f', {attempt.error_kind}' if attempt.error_kind else ''}")
    _print_fact("", "; ".join(parts), indent=2)
    if attempt.words:
        _print_fact("", f'"{attempt.words}"', indent=4, is_quoted=True)
    if attempt.reply is not None:
        _print_fact("", _format_reply(attempt.reply), indent=4, is_quoted=True)
    if attempt.reply_file is not None:
        whole = f"its reply of {attempt.reply_bytes:,} bytes is whole, as it came, in {attempt.reply_file}"
        _print_fact("", whole, indent=4)
    ids = [f"call {attempt.call_id}"]
    ids += [f"run {attempt.run_id}"] if attempt.run_id != last_run else []
    ids += [f"request id {attempt.request_id}"] if attempt.request_id else []
    _print_fact("", ", ".join(ids), indent=4)
    _print_fact("", _format_cost(attempt), indent=4)


def _format_reply(reply: str) -> str:
    """The beginning of a reply that gave no answer."""
    is_cut = len(reply) > _MAX_REPLY
    more = f" ... ({len(reply):,} characters: --json has them)" if is_cut else ""
    return f"its reply: {' '.join(reply[:_MAX_REPLY].split())}{more}"


def _format_cost(attempt: AttemptStory) -> str:
    """What the item paid for an attempt, by which price; what is not known is said to be so."""
    shared = attempt.shared_by > 1
    usage = {name: amount for name, amount in attempt.usage.items() if name != "requests"}
    used = f"used {_format_facts(usage)}{' in all' if shared else ''}; " if usage else ""
    share = f"shared by {attempt.shared_by} requests, " if shared else ""
    if attempt.cost_usd is not None:
        own = "the item's share " if shared else "cost "
        return f"{share}{used}{own}{format_dollars(attempt.cost_usd)} ({_format_basis(attempt)})"
    if attempt.cost_max_usd == 0:
        return f"{share}{used}free"
    if attempt.cost_max_usd is not None:
        return f"{share}{used}cost unknown, at most {format_dollars(attempt.cost_max_usd)}"
    return f"{share}{used}cost unknown, and no price gives its maximum"


def _format_basis(attempt: AttemptStory) -> str:
    """Where a cost comes from; of one that a person stated also when."""
    basis = attempt.cost_basis or "unknown"
    return attempt.price_source or basis if basis == STATED_BASIS else basis


def _print_outcome(story: ItemStory) -> None:
    if story.state == "pending" and story.result is None:
        return
    print_line()
    if story.failure is not None:
        failure = story.failure
        label = "later try" if failure.stands else "failure"
        kind = f"{failure.kind}{', may pass' if failure.transient else ''}"
        _print_fact(label, f"{kind}: {failure.message}")
        _print_fact("", failure.hint or "")
    if story.result is not None:
        earlier = " (an earlier result, kept until a new one replaces it)" if story.state == "pending" else ""
        _print_fact("result", f"run {story.result.get('run_id', '?')}{earlier}")
        for name, value in story.result.items():
            if name not in _COLUMNS_TOLD_ABOVE:
                _print_fact("", f"{name}: {_format_value(value)}", indent=2)
    if story.part is not None:
        at = "" if story.row_at is None else f", row {story.row_at}"
        _print_fact("in", f"{story.part}{at}")
    elif story.state != "pending":
        _print_fact("in", "the journal; its part is written when the run has done its shard")
    for file in story.files:
        _print_fact("file", _format_file(file))


def _format_file(file: FileStory) -> str:
    if file.bytes is None:
        return f"{file.path}  (gone)"
    differs = file.expected_bytes is not None and file.bytes != file.expected_bytes
    return f"{file.path}  ({file.bytes:,} bytes{f' instead of {file.expected_bytes:,}' if differs else ''})"


def _format_sent(sent: Mapping[str, Any]) -> str:
    """What a request sends, without its content."""
    parts = [f"{_format_value(sent['inputs'])} inputs"] if "inputs" in sent else []
    if sent.get("bytes"):
        types = f" of {', '.join(sent['types'])}" if sent.get("types") else ""
        parts.append(f"{sent['bytes']:,} bytes{types}")
    texts = [name for name in _TEXTS if name in sent]
    parts += [f"{sent[name]:,} characters of {name}" for name in texts]
    shown = ("inputs", "bytes", "types", "recipes", *texts)
    names = [name for name in sent if name not in shown and (name, sent[name]) != ("messages", 1)]
    return ", ".join([*parts, *(_format_fact(name, sent[name]) for name in names)])


def _format_facts(facts: Mapping[str, Any]) -> str:
    return ", ".join(_format_fact(name, value) for name, value in facts.items() if value is not None)


def _format_fact(name: str, value: Any) -> str:
    shown = _format_value(value)
    is_number = isinstance(value, (int, float)) or str(value).replace(".", "", 1).isdecimal()
    if name in _UNITS and is_number:
        unit = _UNITS[name]
        return f"{shown} {unit.removesuffix('s') if shown == '1' and name in _COUNTED else unit}"
    return f"{name.replace('_', ' ')} {shown}"


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1e6 else f"{value:,.0f}"  # noqa: PLR2004
    if isinstance(value, Sequence) and not isinstance(value, str):
        is_flat = all(isinstance(member, (str, int, float)) for member in value)
        return ", ".join(map(_format_value, value)) if is_flat else pluralize(len(value), "entry", "entries")
    text = str(value)
    return text if len(text) <= _MAX_FACT else f"{text[:_MAX_FACT]}..."


def _format_ms(milliseconds: int) -> str:
    return f"{milliseconds} ms" if milliseconds < 1000 else format_duration(milliseconds / 1000)  # noqa: PLR2004


def _print_fact(label: str, text: str, *, indent: int = 0, is_command: bool = False, is_quoted: bool = False) -> None:
    """Print a fact behind its label; nothing without a text.

    Args:
        label: what it is; empty for a further line.
        text: the fact.
        indent: columns by which it stands further right.
        is_command: leave it on one line, so that it can be copied.
        is_quoted: others wrote it, so that a word may be longer than a line, which breaks it.
    """
    if not text:
        return
    escaped = escape_controls(text)
    lead = " " * (_LABEL_WIDTH + indent)
    if is_command:
        print_line(f"{label:<{_LABEL_WIDTH}}{escaped}")
        return
    width = min(shutil.get_terminal_size().columns, _MAX_WIDTH)
    lines = textwrap.wrap(escaped, max(width - len(lead), 20), break_long_words=is_quoted, break_on_hyphens=False)
    for number, line in enumerate(lines):
        print_line(f"{label:<{_LABEL_WIDTH}}{' ' * indent}{line}" if not number else f"{lead}{line}")
