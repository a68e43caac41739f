"""What a chain would cost: step by step, as far as it can be told before the steps before it have run."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from tasks.errors import MediamillError
from tasks.quote import quote
from tasks.steps.chain import Chain, Step, Task
from tasks.steps.run import job_of
from tasks.summary import Quote


@dataclass(slots=True)
class ChainQuote:
    """Quotes by task, and the tasks of which nothing can be told yet, each with the reason.

    ``low_usd`` and ``high_usd`` sum what is known; repeats of ``until`` are not in them.
    """

    known: dict[str, Quote] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def low_usd(self) -> Decimal:
        """The least that the known tasks cost; those without a price add nothing."""
        return sum((one.low_usd or Decimal(0) for one in self.known.values()), Decimal(0))

    @property
    def high_usd(self) -> Decimal | None:
        """The most that all tasks cost; None while one of them is not known or has no price."""
        told = [one.high_usd for one in self.known.values()]
        if self.unknown or None in told:
            return None
        return sum((one for one in told if one is not None), Decimal(0))


def quote_chain(chain: Chain) -> ChainQuote:
    """Quote every task: the first from the source; later ones from what the steps before them left.

    A later step that works on the source's own media is quoted as if every item reached it.

    Raises:
        UsageError: when the first step cannot be quoted.
    """
    told = ChainQuote()
    for number, step in enumerate(chain.steps, 1):
        for name, task in step.branches().items():
            _quote(chain, number, step, name, task, told)
    return told


def _quote(chain: Chain, number: int, step: Step, name: str, task: Task, told: ChainQuote) -> None:
    folder = chain.out_path / "steps" / f"{number:02d}-{step.name}"
    folder = folder if step.task else folder / name
    manifest = folder / "manifest.parquet"
    if number == 1:
        told.known[name] = quote(job_of(chain, task, folder, None))
        return
    try:
        if manifest.exists():
            told.known[name] = quote(job_of(chain, task, folder, manifest))
        elif {"path", "text"} & set(task.of) or not _of_media(task):
            told.unknown[name] = "it depends on what the steps before it answer"
        else:
            told.known[name] = quote(job_of(chain, task, folder, None))
    except MediamillError as error:
        told.unknown[name] = error.message


def _of_media(task: Task) -> bool:
    from tasks import capabilities
    from tasks.sources.extensions import needs_files

    return needs_files(capabilities.get(task.capability).kinds)
