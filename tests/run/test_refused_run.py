"""A run that is refused while it plans: OUT is as it was, and a new one is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.out.listing import list_outs
from mediamill.tasks.run.run import Run

ROWS = ["sku,photo,title,colour", "A1,a.png,one,red", "A2,a.png,two,red", "A3,b.png,three,"]


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    (tmp_path / "shop.csv").write_text("\n".join(ROWS))
    fields = {"capability": "caption", "source": str(tmp_path / "shop.csv"), "out": str(tmp_path / "outs" / "one")}
    yield make_job(**fields, provider="local", model="measure", columns={"path": "photo"})
    Engine.stop_shared()


@pytest.mark.parametrize("is_shared", [False, True], ids=["own journal", "shared journal"])
def test_rows_of_one_file_are_refused_with_the_columns_that_tell_them_apart(
    job: Job, tmp_path: Path, *, is_shared: bool
) -> None:
    job = job.model_copy(update={"journal": str(tmp_path / "journal") if is_shared else None})
    with pytest.raises(UsageError, match=r"item 1 and item 2 have the same id 'a\.png'") as refused:
        Run(job).execute()
    assert refused.value.hint == "every row has its own sku: --id-column sku (or title)"
    assert not (tmp_path / "outs" / "one").exists()
    ids = job.columns.model_copy(update={"id": "sku"})
    assert Run(job.model_copy(update={"columns": ids})).execute().failed == 3


def test_an_out_that_was_there_keeps_its_last_run(job: Job, tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text("\n".join([*ROWS[:2], ROWS[3]]))
    Run(job).execute()
    Run(job).execute()
    before = list_outs([tmp_path / "outs"])
    (tmp_path / "shop.csv").write_text("\n".join(ROWS))
    with pytest.raises(UsageError, match="the same id"):
        Run(job).execute()
    assert [each.state for each in before] == ["failures"]
    assert list_outs([tmp_path / "outs"]) == before
