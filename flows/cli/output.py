"""What the command line prints: the opening line, quotes, the end of a run, the state of an OUT."""

from __future__ import annotations

import datetime as dt
import shlex
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.flows.cli.console import print_json, print_line
from mediamill.flows.cli.end_table import format_end_table
from mediamill.flows.cli.hyperlinks import print_path
from mediamill.tasks.formatting import (
    format_dollars,
    format_duration,
    format_unpriced,
    pluralize,
)

if TYPE_CHECKING:
    from mediamill.tasks.not_taken import NotTaken
    from mediamill.tasks.pipeline.result import ChainResult
    from mediamill.tasks.run.resolved_job import ResolvedJob
    from mediamill.tasks.summary import Quote, SidecarCounts, Status, Summary, Verification


def format_opening_line(resolved: ResolvedJob, how: str = "inline run") -> str:
    """The capability, provider and model of a run, how it runs, its source and its OUT."""
    from mediamill.tasks.providers.registry import find_default_model, load_config, provider_names
    from mediamill.tasks.system.embedding_model import USE
    from mediamill.tasks.system.ocr_models import RAPIDOCR
    from mediamill.tasks.system.whisper_weights import is_whisper

    job, provider, model = resolved.job, resolved.provider, resolved.model
    if resolved.is_local:
        is_default = model == find_default_model(provider.name, resolved.capability.operation)
        draft_note = ", draft quality" if is_default and not is_whisper(model) and model not in (RAPIDOCR, USE) else ""
        performer = f"local, the built-in provider ({model}, free{draft_note})"
        if job.provider is None:
            operation = resolved.capability.operation
            names = [name for name in provider_names() if operation in load_config(name).operations]
            performer += ", which alone does it" if names == [provider.name] else " because no provider's key is set"
    else:
        performer = f"{provider.name}{f' at {provider.endpoint.origin}' if job.base_url else ''}, {model}"
    if later := resolved.list_tries()[1:]:
        condition = f"while not {job.until}" if job.until else "where it has doubts"
        performer += f"; then {', '.join(_describe_later(each) for each in later)} {condition}"
    about_out = resolved.choice.describe()
    line = f"mediamill {job.capability}: {performer}; {how}; {job.source} -> {job.out_path}"
    return f"{line} ({about_out})" if about_out else line


def _describe_later(later: ResolvedJob) -> str:
    """A later try's provider with its address, as it need not be that of the first, and its model."""
    is_local = later.provider.name == "local"
    return f"{later.provider.name}{'' if is_local else f' at {later.provider.endpoint.origin}'} {later.model}"


def describe_models(resolved: ResolvedJob) -> Iterator[str]:
    """What is to be known of the models of all tries, each with the option that names it."""
    yield from describe_model(resolved)
    if resolved.second is not None and resolved.second.model != resolved.model:
        yield from (f"--check-model: {note}" for note in describe_model(resolved.second))
    for number, later in enumerate(resolved.later, 1):
        yield from (f"--escalate {number}: {note}" for note in describe_model(later))


def describe_model(resolved: ResolvedJob) -> Iterator[str]:
    """That the provider does not list the model, or ends it: when, and what takes its place."""
    operation, model = resolved.capability.operation, resolved.model
    if unlisted := resolved.provider.describe_unlisted_model(operation, model):
        yield unlisted
    end = resolved.provider.find_model_end(operation, model)
    if end is None:
        return
    verb = "ends" if end.date > dt.datetime.now(dt.UTC).date() else "announced to end"
    yield f"{resolved.provider.name} {verb} {model} on {end.date}; use {end.instead}"


def format_out_use(quote: Quote) -> str:
    """What a run would do with OUT, and why it is this one."""
    words = {
        "new": "is new",
        "continued": "is gone on with",
        "replaced": "is done again as a whole",
        "refused": "would be refused, so all of the source is priced",
    }
    line = f"{to_relative_path(Path(quote.out))} {words[quote.out_use]}"
    return f"{line}: {quote.out_note}" if quote.out_note else line


def print_quote(quote: Quote, *, as_json: bool) -> None:
    """Print a quote."""
    if as_json:
        print_json(quote.as_dict())
        return
    from mediamill.tasks.run.quote_text import format_quote

    print_line(format_quote(quote))
    print_line(f"  OUT: {format_out_use(quote)}")
    if quote.price_source:
        print_line(f"  price: {quote.price_source}")
    if quote.bad_items:
        print_line(f"  {pluralize(quote.bad_items, 'item')} cannot be used and will cost nothing, e.g.")
        for example in quote.bad_examples:
            print_line(f"    {example}")
    print_not_taken(quote.not_taken)
    print_missing_keys([quote])


def print_missing_keys(quotes: Iterable[Quote]) -> None:
    """Print which keys a run needs, where they are not set: a quote needs none."""
    for name in dict.fromkeys(quote.missing_key for quote in quotes if quote.missing_key):
        print_line(f"  to run it, a key is needed: export {name}=...")


def print_summary(summary: Summary, *, as_json: bool) -> None:
    """Print the summary of a run: on a terminal with a table of its counts and one next step, elsewhere in lines."""
    if as_json:
        print_json(summary.as_dict())
        return
    on_terminal = sys.stdout.isatty()
    _print_counts(summary, on_terminal=on_terminal)
    print_failures(summary)
    print_not_taken(summary.not_taken)
    print_sidecars(summary.sidecars)
    print_tries(summary)
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
    _print_paths_and_steps(summary, on_terminal=on_terminal)


def print_tries(summary: Summary) -> None:
    """Print what became of more tries than the first: how many, which failed and why, which can still be made."""
    if summary.tried_again:
        print_line(f"tried again: {summary.tried_again:,} with doubts; {summary.taken_later:,} taken from a later try")
    for group in summary.tries_failed:
        example = f"{', e.g.' if group.count > 1 else ':'} {group.example}"
        print_line(f"  {pluralize(group.count, 'try', 'tries')} failed, {group.kind}{example}")
    if summary.tries_missing:
        stands = "result of an earlier try stands" if summary.tries_missing == 1 else "results of earlier tries stand"
        rest = "run the same command again, and it makes those tries alone that failed in passing"
        print_line(f"  {summary.tries_missing:,} {stands}: {rest}")
    if summary.undecided:
        many = pluralize(summary.undecided, "result")
        print_line(f"until says nothing of {many}, so nobody else was tried, e.g. {summary.undecided_example}")


def _print_counts(summary: Summary, *, on_terminal: bool) -> None:
    if on_terminal:
        print_line(f"{_choose_heading(summary)}: {format_duration(summary.seconds)}; {_format_cost(summary)}")
        for line in format_end_table(summary):
            print_line(f"  {line}")
        return
    print_line(format_counts(summary))
    if (summary.out_done, summary.out_failed) != (summary.done, summary.failed):
        print_line(format_out_counts(summary))


def _print_paths_and_steps(summary: Summary, *, on_terminal: bool) -> None:
    out = Path(summary.out)
    for label, path in (("results:", out / "results"), ("report: ", out / "report.html")):
        print_path(label, path, to_relative_path(path))
    steps = _list_next_steps(summary)
    if on_terminal:  # a hint that was printed is the one next step
        steps = [] if summary.message and summary.hint else [("next:", command) for _, command in steps[:1]]
    for label, command in steps:
        print_line(f"{label:<8} {command}")


def _list_next_steps(summary: Summary) -> list[tuple[str, str]]:
    """The commands that help after failures, the best first, each with its label."""
    if all(group.stands for group in summary.failures):
        return []
    out_name, item_id = shlex.quote(to_relative_path(Path(summary.out))), summary.failures[0].item_id
    item_name = f"{'-- ' if item_id.startswith('-') else ''}{shlex.quote(item_id)}"
    steps = [("why:", f"mediamill explain {out_name} {item_name}")]
    if any(group.retry_helps and not group.stands for group in summary.failures):
        steps.insert(0, ("again:", f"mediamill retry {out_name}"))
    return steps


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
    limit = f" of the budget of {format_dollars(end.budget)}" if end.budget is not None else ""
    out = shlex.quote(to_relative_path(Path(end.out)))
    held = format_hold(end.lost_max_usd, end.lost_requests, end.lost_unpriced)
    print_line(f"{indent}held: {held}{limit} for {end.lost}, which may be billed")
    print_line(f"{indent}  mediamill settle {out}    books what the provider's usage page says, and frees the rest")


def format_hold(max_usd: Decimal, requests: int, unpriced: int) -> str:
    """The most that requests whose answer was lost can have cost; what is not known is no zero."""
    if not unpriced:
        return f"up to {format_dollars(max_usd)}"
    unknown = f"an unknown amount, as {unpriced} have no known price,"
    return unknown if unpriced == requests else f"up to {format_dollars(max_usd)} and {unknown}"


def print_not_taken(not_taken: NotTaken | None, indent: str = "") -> None:
    """Print what the source holds and the run does not take, a line for each reason."""
    for reason in not_taken.describe() if not_taken else ():
        print_line(f"{indent}not taken: {reason}")


def print_sidecars(counts: SidecarCounts | None) -> None:
    """Print what became of the files beside the sources."""
    for line in counts.describe() if counts else ():
        print_line(f"beside the sources: {line}")


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
    """The end of a run in one line: counts, time, cost. What earlier runs left is in :func:`format_out_counts`."""
    parts = [f"{summary.done} done"]
    if summary.cached:
        parts[0] += f" ({summary.cached} reused)"
    parts.append(f"{summary.failed} failed")
    if summary.skipped:
        parts.append(f"{summary.skipped} unchanged")
    if summary.left:
        parts.append(f"{summary.left} left")
    heading = _choose_heading(summary)
    return f"{heading}: {', '.join(parts)}; {format_duration(summary.seconds)}; {_format_cost(summary)}"


def _choose_heading(summary: Summary) -> str:
    headings = {"done": "done", "failures": "done with failures", "nothing": "nothing to do"}
    return headings.get(summary.state, summary.state)


def _format_cost(summary: Summary) -> str:
    """What a run has cost, and what may come on top."""
    cost = "free" if summary.is_free else format_dollars(summary.cost_usd)
    if summary.unknown_max_usd:
        cost += f" and up to {format_dollars(summary.unknown_max_usd)} more"
    if summary.endpoint_usd:
        cost += f" and {format_dollars(summary.endpoint_usd)} for the endpoint's time"
    return cost + format_unpriced(summary.unstated)


def format_out_counts(summary: Summary) -> str:
    """The items of OUT in one line, those of earlier runs with them."""
    left = f", {summary.out_left:,} not done yet" if summary.out_left else ""
    spent = "" if summary.out_cost_usd == summary.cost_usd else f"; {format_dollars(summary.out_cost_usd)} in all runs"
    items = pluralize(summary.out_total, "item")
    return f"in OUT: {items}, {summary.out_done:,} done, {summary.out_failed:,} failed{left}{spent}"


def format_total_spent(end: ChainResult) -> str:
    """The cost of a chain over all its runs."""
    return f"{format_dollars(end.spent_usd)}{format_unpriced(end.unstated)} in all"


def to_relative_path(path: Path) -> str:
    """A path relative to the working folder where it is below it, else as it is."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # the working folder may be gone
        return str(path)
