"""What the command line prints: the opening line, quotes, the end of a run, the state of an OUT."""

from __future__ import annotations

import datetime as dt
import shlex
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.flows.cli.console import print_json, print_line
from mediamill.flows.cli.formatting import (
    format_dollars,
    format_duration,
    format_unpriced,
    pluralize,
)
from mediamill.tasks import capabilities
from mediamill.tasks.domain import format_decimal

if TYPE_CHECKING:
    from mediamill.tasks.not_taken import NotTaken
    from mediamill.tasks.pipeline.result import ChainResult
    from mediamill.tasks.resolved_job import ResolvedJob
    from mediamill.tasks.summary import Quote, Status, Summary, Verification


def format_opening_line(resolved: ResolvedJob, how: str = "inline run") -> str:
    """The capability, provider and model of a run, how it runs, its source and its OUT."""
    job, provider, model = resolved.job, resolved.provider, resolved.model
    if resolved.is_local:
        draft_note = ", draft quality" if model == provider.choose_model(resolved.capability.operation, None) else ""
        performer = f"local, the built-in provider ({model}, free{draft_note})"
        if job.provider is None:
            performer += " because no provider's key is set"
    else:
        performer = f"{provider.name}{f' at {provider.endpoint.origin}' if job.base_url else ''}, {model}"
    return f"mediamill {job.capability}: {performer}; {how}; {job.source} -> {job.out_path}"


def describe_model_end(resolved: ResolvedJob) -> str | None:
    """That the provider ends the model, when, and what takes its place; None for a model that goes on."""
    end = resolved.provider.find_model_end(resolved.capability.operation, resolved.model)
    if end is None:
        return None
    verb = "ends" if end.date > dt.datetime.now(dt.UTC).date() else "announced to end"
    return f"{resolved.provider.name} {verb} {resolved.model} on {end.date}; use {end.instead}"


def format_quote(quote: Quote) -> str:
    """A quote in one line."""
    n_todo = quote.items - quote.finished
    parts = [f"{pluralize(n_todo, 'item')} to do"]
    if quote.finished:
        parts.append(f"{quote.finished} done already")
    if quote.audio_seconds:
        media = "video" if "video" in capabilities.get(quote.capability).kinds else "audio"
        parts.append(f"{format_duration(float(quote.audio_seconds))} of {media}")
    if quote.low_usd is None or quote.high_usd is None:
        parts.append(f"cost unknown ({pluralize(quote.unpriced, 'item')} without a price)")
    elif quote.low_usd == quote.high_usd:
        parts.append(f"cost {format_dollars(quote.low_usd)}")
    else:
        parts.append(f"cost {format_dollars(quote.low_usd)} to {format_dollars(quote.high_usd)}")
    if quote.saved_tokens or quote.saved_bytes:
        parts.append(f"made smaller first: {quote.saved_tokens:,} tokens and {quote.saved_bytes / 1e6:.1f} MB saved")
    return f"quote: {quote.provider}, {quote.model}: {', '.join(parts)}"


def print_quote(quote: Quote, *, as_json: bool) -> None:
    """Print a quote."""
    if as_json:
        print_json(quote.as_dict())
        return
    print_line(format_quote(quote))
    if quote.price_source:
        print_line(f"  price: {quote.price_source}")
    if quote.bad_items:
        print_line(f"  {pluralize(quote.bad_items, 'item')} cannot be used and will cost nothing, e.g.")
        for example in quote.bad_examples:
            print_line(f"    {example}")
    print_not_taken(quote.not_taken)


def print_summary(summary: Summary, *, as_json: bool) -> None:
    """Print the summary of a run."""
    if as_json:
        print_json(summary.as_dict())
        return
    print_line(format_counts(summary))
    print_failures(summary)
    print_not_taken(summary.not_taken)
    if summary.flags:
        print_line(f"worth a look: {format_flags(summary)}; meanings are in the report")
    if summary.message:
        print_line(summary.message if summary.state == "cancelled" else f"stopped: {summary.message}")
        if summary.hint:
            print_line(f"  {summary.hint}")
    if summary.lost and summary.lost not in (summary.message or ""):
        print_lost_requests(summary)
    if summary.simulated:
        print_line("simulated: some or all of these results were generated without a real model")
    out = Path(summary.out)
    print_line(f"results: {to_relative_path(out / 'results')}")
    print_line(f"report:  {to_relative_path(out / 'report.html')}")
    if not all(group.stands for group in summary.failures):
        out_name, item_id = shlex.quote(to_relative_path(out)), summary.failures[0].item_id
        print_line(f"again:   mediamill retry {out_name}")
        item_name = f"{'-- ' if item_id.startswith('-') else ''}{shlex.quote(item_id)}"
        print_line(f"why:     mediamill explain {out_name} {item_name}")


def print_failures(summary: Summary) -> None:
    """Print the failures by kind, each with an example and what to do."""
    for group in summary.failures:
        print_line(f"  {group.count} {group.kind}{', e.g.' if group.count > 1 else ','} {group.example}")
        if group.stands:
            print_line("    the earlier result stands")
        if group.hint:
            print_line(f"    {group.hint}")


def print_status(status: Status, *, as_json: bool) -> None:
    """Print the state of an OUT."""
    if as_json:
        print_json(status.as_dict())
        return
    print_line(f"{status.capability} with {status.provider}, {status.model}: {status.root}")
    print_line(f"  {status.done} done, {status.failed} failed, {status.pending} not done yet, of {status.total}")
    for kind, number in sorted(status.by_kind.items()):
        print_line(f"    {number} {kind}")
    if status.failed:
        print_line(f"    why one failed: mediamill explain {shlex.quote(to_relative_path(Path(status.out)))} ITEM")
    unknown_cost = f", up to {format_dollars(status.unknown_max_usd)} more" if status.unknown_max_usd else ""
    print_line(f"  spent {format_dollars(status.spent_usd)}{unknown_cost}{format_unpriced(status.unstated)}")
    print_lost_requests(status, indent="  ")
    print_line(f"  last run {status.last_run}: {status.last_state}")
    if status.message:
        print_line(f"    {status.message}")
        if status.hint:
            print_line(f"    {status.hint}")
    print_not_taken(status.not_taken, indent="  ")
    if status.busy:
        print_line(f"  in use: {status.busy}")
    if status.copy_of:
        print_line(f"  a copy of {status.copy_of}, where what it spent is counted, too; see --copied and --moved")


def print_lost_requests(end: Summary | Status, indent: str = "") -> None:
    """Print what requests whose answer was lost hold of the budget, and the ways out."""
    if end.lost is None:
        return
    limit = f" of the budget of ${format_decimal(end.budget)}" if end.budget is not None else ""
    out = shlex.quote(to_relative_path(Path(end.out)))
    held = format_hold(end.lost_max_usd, end.lost_requests, end.lost_unpriced)
    print_line(f"{indent}held: {held}{limit} for {end.lost}, which may be billed")
    print_line(f"{indent}  mediamill settle {out}    books what the provider's usage page says, and frees the rest")


def format_hold(max_usd: Decimal, requests: int, unpriced: int) -> str:
    """The most that requests whose answer was lost can have cost; what is not known is no zero."""
    if not unpriced:
        return f"up to ${format_decimal(max_usd)}"
    unknown = f"an unknown amount, as {unpriced} have no known price,"
    return unknown if unpriced == requests else f"up to ${format_decimal(max_usd)} and {unknown}"


def print_not_taken(not_taken: NotTaken | None, indent: str = "") -> None:
    """Print what the source holds and the run does not take, a line for each reason."""
    for reason in not_taken.describe() if not_taken else ():
        print_line(f"{indent}not taken: {reason}")


def print_verification(found: Verification, name: str = "") -> None:
    """Print what a check of an OUT's files found; ``name`` is that of a chain's step."""
    for finding in found.findings:
        print_line(f"{finding.path}: {finding.problem}, {'mended' if finding.mended else 'not mended'}")
        if finding.hint:
            print_line(f"  {finding.hint}")
    mended = sum(finding.mended for finding in found.findings)
    wrong = len(found.findings) - mended
    counts = f", {mended} mended" * bool(mended) + f", {wrong} not mended" * bool(wrong)
    print_line(f"{f'{name}: ' * bool(name)}{pluralize(found.checked, 'file')} checked{counts or ', all are right'}")


def format_flags(summary: Summary) -> str:
    """The number of a run's results with each flag."""
    return ", ".join(f"{count:,} {flag}" for flag, count in summary.flags.items())


def format_counts(summary: Summary) -> str:
    """The end of a run in one line: counts, time, cost."""
    parts = [f"{summary.done} done"]
    if summary.cached:
        parts[0] += f" ({summary.cached} from the journal)"
    if summary.failed or not summary.failures:
        parts.append(f"{summary.failed} failed")
    elif summary.failures:
        parts.append(f"{sum(group.count for group in summary.failures)} still failed from earlier runs")
    if summary.skipped:
        parts.append(f"{summary.skipped} needed nothing")
    if summary.left:
        parts.append(f"{summary.left} left")
    cost = "free" if summary.provider == "local" else format_dollars(summary.cost_usd)
    if summary.unknown_max_usd:
        cost += f" and up to {format_dollars(summary.unknown_max_usd)} more"
    if summary.endpoint_usd:
        cost += f" and {format_dollars(summary.endpoint_usd)} for the endpoint's time"
    cost += format_unpriced(summary.unstated)
    heading = {"done": "done", "failures": "done with failures", "nothing": "nothing to do"}.get(
        summary.state, summary.state
    )
    return f"{heading}: {', '.join(parts)}; {format_duration(summary.seconds)}; {cost}"


def format_total_spent(end: ChainResult) -> str:
    """The cost of a chain over all its runs."""
    return f"{format_dollars(end.spent_usd)}{format_unpriced(end.unstated)} in all"


def to_relative_path(path: Path) -> str:
    """A path relative to the working folder where it is below it, else as it is."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
