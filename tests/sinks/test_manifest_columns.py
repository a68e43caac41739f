"""A manifest's own columns keep their values in the results, whatever their types."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mediamill.tasks.domain import Result
from mediamill.tasks.sinks.parts import part_path, write_part
from mediamill.tasks.sinks.results import build_results_schema
from tests.journal.stores import Store, make_item

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678_000)  # noqa: DTZ001 - Parquet has moments without a zone
LONG = Decimal("1234567890123456789012345678.0123456789")


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        (pa.timestamp("s"), WHEN.replace(microsecond=0), WHEN.replace(microsecond=0)),
        (pa.timestamp("ms"), WHEN, WHEN),
        (pa.timestamp("us"), WHEN, WHEN),
        (pa.timestamp("ns"), WHEN, WHEN),
        (pa.timestamp("ns", tz="UTC"), WHEN.replace(tzinfo=UTC), WHEN.replace(tzinfo=UTC)),
        (pa.list_(pa.timestamp("ms")), [WHEN, None], [WHEN, None]),
        (pa.struct([("at", pa.timestamp("ms"))]), {"at": WHEN}, {"at": WHEN}),
        (pa.date32(), date(2026, 1, 2), date(2026, 1, 2)),
        (pa.time64("us"), time(3, 4, 5, 6), time(3, 4, 5, 6)),
        (pa.duration("s"), timedelta(days=-2, seconds=90), timedelta(days=-2, seconds=90)),
        (pa.binary(), b"\x00\xff", "00ff"),
        (pa.uint64(), 2**63 + 5, 2**63 + 5),
        (pa.float32(), 1.5, 1.5),
        (pa.bool_(), False, False),
        (pa.string(), "x", "x"),
        (pa.large_string(), "x", "x"),
        (pa.large_list(pa.int64()), [1, 2], [1, 2]),
        (pa.map_(pa.string(), pa.int64()), [("a", 1)], '[["a",1]]'),
        (pa.decimal128(38, 10), LONG, LONG),
        (pa.int64(), None, None),
    ],
)
async def test_a_manifest_value_keeps_its_type_from_the_journal_to_the_part(
    tmp_path: Path, kind: pa.DataType, value: Any, kept: Any
) -> None:
    store = Store(tmp_path, str(tmp_path / "journal"))
    journal, item = await store.open(), make_item(0)
    await journal.items.plan([item], 10)
    await journal.outcomes.record(item, 0, Result(item.item_id, {}), {"item_id": "a", "in_x": value})
    schema = build_results_schema(pa.schema([]), pa.schema([("x", kind)]))
    rows = [stored.row for stored in journal.outcomes.stream_results(0)]
    write_part(tmp_path, "results", "000000", rows, schema)
    (found,) = pq.read_table(part_path(tmp_path, "results", "000000")).to_pylist()
    assert found["in_x"] == kept
    store.close()
