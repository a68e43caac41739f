"""Quote a chain: what it would cost, step by step, as far as that is known before it has run."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from mediamill.tasks.errors import MediamillError
from mediamill.tasks.formatting import format_dollars
from mediamill.tasks.pipeline.chain_out import choose_chain_out
from mediamill.tasks.pipeline.spec import Chain, Task
from mediamill.tasks.pipeline.task_job import build_task_job, get_task_folder, takes_files
from mediamill.tasks.run.quote import quote
from mediamill.tasks.run.quote_text import describe_limit, format_quote
from mediamill.tasks.summary import Quote


@dataclass(slots=True)
class ChainQuote:
    """The quotes of a chain by task and repeat.

    ``unknown`` holds those that cannot be quoted yet, with the reason. ``conditional`` names those that may find no
    rows: repeats of ``until``, and tasks after a step that selects rows.
    """

    known: dict[str, Quote] = field(default_factory=dict)
    conditional: set[str] = field(default_factory=set)
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def low_usd(self) -> Decimal:
        """The minimum that the known tasks cost; those without a price and those of ``conditional`` add nothing."""
        lows = (quoted.low_usd for name, quoted in self.known.items() if name not in self.conditional)
        return sum((low or Decimal(0) for low in lows), Decimal(0))

    @property
    def high_usd(self) -> Decimal | None:
        """The maximum that all tasks cost; None while one of them is unknown or has no price."""
        highs = [quoted.high_usd for quoted in self.known.values()]
        if self.unknown or None in highs:
            return None
        return sum((high for high in highs if high is not None), Decimal(0))


def quote_chain(chain: Chain) -> ChainQuote:
    """Quote every task: the first from the source, later ones from the manifests that an earlier run left.

    A later step that works on the source's own media is quoted as if every item reached it, a repeat as if every row
    were done again.

    Raises:
        UsageError: when the first step cannot be quoted.
    """
    chain = choose_chain_out(chain).chain
    result, rows_selected = ChainQuote(), False
    for number, step in enumerate(chain.steps, 1):
        rows_selected = rows_selected or step.when is not None
        for name, task in step.branches().items():
            folder = get_task_folder(chain.out_path, number, step, name)
            _quote_task(chain, name, task, [folder], result, first=number == 1)
            if rows_selected and not _manifest_path(folder).exists():
                result.conditional.add(name)
            for repeat, change in enumerate(step.again, 1):
                repeat_name, folders = f"{name} again {repeat}", [folder / f"again-{repeat}", folder]
                result.conditional.add(repeat_name)
                _quote_task(chain, repeat_name, task.with_changes(change), folders, result, first=number == 1)
        rows_selected = rows_selected or step.keep is not None
    return result


def _quote_task(chain: Chain, name: str, task: Task, folders: list[Path], result: ChainQuote, *, first: bool) -> None:
    """Quote a task whose OUT is the first of ``folders``, with the first manifest that an earlier run left in them."""
    manifest = next((path for path in map(_manifest_path, folders) if path.exists()), None)
    if manifest is None and not first and ({"path", "text"} & set(task.of) or not takes_files(task)):
        result.unknown[name] = "it depends on the results of the steps before it"
        return
    try:
        result.known[name] = quote(build_task_job(chain, task, folders[0], manifest))
    except MediamillError as error:
        if first:
            raise
        result.unknown[name] = error.message


def _manifest_path(folder: Path) -> Path:
    return folder / "manifest.parquet"


def format_chain_quote(quoted: ChainQuote, budget: Decimal | None) -> list[str]:
    """The quote of each step, and of all together as the last line."""
    lines = [f"{name}: {format_quote(one)}" for name, one in quoted.known.items()]
    lines += [f"{name}: cost unknown: {reason}" for name, reason in quoted.unknown.items()]
    low, high = format_dollars(quoted.low_usd), format_dollars(quoted.high_usd)
    return [*lines, f"chain: at least {low}, at most {high}; {describe_limit(budget)}"]
