"""An OUT as Python sees it: tables of its results and failures, and what it cost. A chain's has those of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks.errors import UsageError
from mediamill.tasks.out.chain_steps import find_step_folders
from mediamill.tasks.out.status import open_existing, read_status
from mediamill.tasks.pipeline.run import RECORD_FILE
from mediamill.tasks.python.html import format_out
from mediamill.tasks.summary import Status

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

_BATCH_ROWS = 1000


class OutFolder:
    """An OUT that is there. Everything is read when it is asked for, so it is what OUT holds now.

    Iterating gives each row of the results as a dictionary, in the order of the source.

    Attributes:
        out: the folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out

    @property
    def results(self) -> pd.DataFrame:
        """A row for each item that succeeded, in the order of the source. Amounts of money are exact decimals."""
        return _to_pandas(self.table)

    @property
    def table(self) -> pa.Table:
        """The results as a pyarrow table."""
        return self._read_table("results")

    def to_polars(self) -> pl.DataFrame:
        """The results as a polars frame.

        Raises:
            UsageError: when polars is not installed.
        """
        try:
            import polars as pl
        except ImportError:
            raise UsageError("polars is not installed", hint="pip install polars") from None
        frame = pl.from_arrow(self.table)
        assert isinstance(frame, pl.DataFrame)
        return frame

    @property
    def failures(self) -> pd.DataFrame:
        """A row for each item that is failed now, with its kind, message and hint; a chain's have the ``step``, too."""
        import pyarrow as pa

        steps = self.steps
        if not steps:
            return _to_pandas(self._read_table("failures"))
        tables = []
        for name, step in steps.items():
            table = step._read_table("failures")  # noqa: SLF001 (of the same class)
            tables.append(table.add_column(0, "step", pa.array([name] * len(table), pa.string())))
        return _to_pandas(pa.concat_tables(tables, promote_options="permissive"))

    @property
    def cost(self) -> Decimal | None:
        """What OUT's requests cost in all runs, in US dollars; None where some have no known price.

        Requests without an answer may add to it: see ``max_cost``.
        """
        known, _, is_stated = self._sum_costs()
        return known if is_stated else None

    @property
    def max_cost(self) -> Decimal | None:
        """The most that OUT's requests can have cost, in US dollars; None where some have no known price."""
        known, more, is_stated = self._sum_costs()
        return known + more if is_stated else None

    @property
    def status(self) -> Status:
        """What is done, failed and spent.

        Raises:
            UsageError: when it is a chain's, whose ``steps`` have one each.
        """
        return read_status(self.out)

    @property
    def report(self) -> Path | None:
        """The report page; None where there is none."""
        page = self.out / "report.html"
        return page if page.exists() else None

    @property
    def steps(self) -> dict[str, OutFolder]:
        """A chain's steps, their repeats and branches by their folders' names, in their order; else nothing."""
        root = self.out / "steps"
        return {folder.relative_to(root).as_posix(): OutFolder(folder) for folder in find_step_folders(self.out)}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each row of the results."""
        for batch in self.table.to_batches(_BATCH_ROWS):
            yield from batch.to_pylist()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.out}>"

    def _repr_html_(self) -> str:
        return self._format_html("results")

    def _format_html(self, state: str) -> str:
        return format_out(self.out, state, self._read_table("results"), self._count_failures(), self.cost)

    def _count_failures(self) -> int:
        return sum(step._read_table("failures").num_rows for step in (self.steps or {"": self}).values())  # noqa: SLF001

    def _read_table(self, kind: str) -> pa.Table:
        """The rows of all parts of a kind in the order of the source; without parts an empty table of their columns."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        from mediamill.tasks.sinks.parts import build_damage_error

        tables = []
        for part in sorted((self.out / kind).glob("part-*.parquet")):
            try:
                tables.append(pq.read_table(part))
            except FileNotFoundError:
                continue  # a run that works on OUT removed it: nothing is left in its shard
            except (pa.ArrowException, OSError) as error:
                raise build_damage_error(part, error) from None
        if not tables:
            return self._make_empty_table(kind)
        table = pa.concat_tables(tables, promote_options="permissive")
        order = next((name for name in ("item_index", "item_id") if name in table.column_names), None)
        if order != "item_index":
            return table
        return table.take(pc.sort_indices(table, sort_keys=[(order, "ascending")]))

    def _make_empty_table(self, kind: str) -> pa.Table:
        import pyarrow as pa

        from mediamill.tasks.sinks.failures import build_failures_schema
        from mediamill.tasks.sinks.schema import deserialize_schema

        if (self.out / RECORD_FILE).exists() or (self.out / "steps").is_dir():
            return pa.table({"item_id": pa.array([], pa.string())})
        journal = open_existing(self.out)
        try:
            schemas = journal.output.load_schemas()
        finally:
            journal.close()
        results, rows = map(deserialize_schema, schemas) if schemas else (pa.schema([]), pa.schema([]))
        return (results if kind == "results" else build_failures_schema(rows)).empty_table()

    def _sum_costs(self) -> tuple[Decimal, Decimal, bool]:
        """The known cost, the most that unknown ones add, and whether every request has one of them."""
        known, more, is_stated = Decimal(0), Decimal(0), True
        for folder in find_step_folders(self.out) or [self.out]:
            journal = open_existing(folder)
            try:
                spent = journal.attempts.sum_costs()
            finally:
                journal.close()
            known, more = known + spent.known, more + spent.unknown_max
            is_stated = is_stated and not spent.unstated
        return known, more, is_stated


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def open_out(out: str | Path) -> OutFolder:
    """Open an OUT that a run or a chain has written: its results, failures and cost.

    Args:
        out: the folder.

    Raises:
        UsageError: when no run has written there.
    """
    folder = Path(out).expanduser().absolute()
    if not find_step_folders(folder):
        open_existing(folder).close()
    return OutFolder(folder)


def read_out_status(out: str | Path) -> Status:
    """What is done, failed and spent in an OUT, read without disturbing a run that works on it.

    Raises:
        UsageError: when no run has written there.
    """
    return read_status(Path(out))
