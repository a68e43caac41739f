"""A moved source or OUT goes on and buys nothing again; a copy is told, and can be made an OUT of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from mediamill.tasks.errors import UsageError
from mediamill.tasks.journal.output_binding import Binding
from mediamill.tasks.out.moved_out import check_place
from tests.journal.stores import Store, make_item, start_run


@contextmanager
def stored(root: Path, url: str | None) -> Iterator[Store]:
    store = Store(root, url)
    try:
        yield store
    finally:
        store.close()


@pytest.mark.parametrize("is_shared", [False, True])
async def test_a_copy_is_refused_and_the_original_goes_on(tmp_path: Path, *, is_shared: bool) -> None:
    with stored(tmp_path, str(tmp_path / "shared") if is_shared else None) as store:
        original = await store.open("a")
        await original.items.plan([make_item(0)], 10)
        shutil.copytree(tmp_path / "a", tmp_path / "copy")
        copy = store.reopen("copy")
        with pytest.raises(UsageError, match="is a copy of") as refused:
            await check_place(tmp_path / "copy", copy, moved=False, copied=False)
        assert "--copied" in str(refused.value)
        with pytest.raises(UsageError, match="is a copy of"):
            await check_place(tmp_path / "copy", copy, moved=True, copied=False)
        await check_place(tmp_path / "a", original, moved=False, copied=False)


async def test_a_copied_chain_is_named_as_its_command_names_it(tmp_path: Path) -> None:
    with stored(tmp_path / "chain" / "steps", None) as store:
        await store.open("01-one")
        shutil.copytree(tmp_path / "chain", tmp_path / "copy")
        out = tmp_path / "copy" / "steps" / "01-one"
        copy = Store(out.parent, None).reopen("01-one")
        with pytest.raises(UsageError, match=f"{tmp_path / 'copy'} is a copy of {tmp_path / 'chain'}:") as refused:
            await check_place(out, copy, moved=False, copied=False)
        assert str(refused.value).count("steps") == 0
        copy.close()


@pytest.mark.parametrize("is_shared", [False, True])
async def test_a_moved_out_goes_on_without_a_word(tmp_path: Path, *, is_shared: bool) -> None:
    with stored(tmp_path, str(tmp_path / "shared") if is_shared else None) as store:
        await store.open("a")
        (tmp_path / "a").rename(tmp_path / "b")
        journal = store.reopen("b")
        await check_place(tmp_path / "b", journal, moved=False, copied=False)
        await store.start(journal, "b")
        assert journal.output.load_place() == str(tmp_path / "b")


async def test_a_folder_that_may_be_a_copy_says_which_it_is(store: Store) -> None:
    """A copy on another disk, whose original cannot be seen: in a shared journal both could go on."""
    await store.open("a")
    shutil.copytree(store.root / "a", store.root / "b")
    shutil.rmtree(store.root / "a")
    journal = store.reopen("b")
    with pytest.raises(UsageError, match="cannot be seen from here") as refused:
        await check_place(store.root / "b", journal, moved=False, copied=False)
    assert all(option in str(refused.value) for option in ("--moved", "--copied"))
    await check_place(store.root / "b", journal, moved=True, copied=False)
    await store.start(journal, "b")
    await check_place(store.root / "b", journal, moved=False, copied=False)


async def test_a_copy_of_its_own_has_the_items_and_no_bill(store: Store) -> None:
    original = await store.open("a")
    await original.items.plan([make_item(0), make_item(1)], 10)
    await store.record_paid(original, make_item(0), "c1", Decimal("0.25"))
    shutil.copytree(store.root / "a", store.root / "b")
    copy = store.reopen("b")
    await check_place(store.root / "b", copy, moved=False, copied=True)
    await store.start(copy, "b")
    assert copy.out_id != original.out_id
    assert [journal.attempts.sum_costs().known for journal in (copy, original)] == [Decimal(0), Decimal("0.25")]
    rows = [json.loads(row) for row in copy.outcomes.stream_all_results()]
    assert [(row["item_id"], row["cost_usd"], row["cached"]) for row in rows] == [("i000000", "0", True)]
    assert copy.outcomes.count_by_state() == original.outcomes.count_by_state()
    assert [json.loads(row)["cost_usd"] for row in original.outcomes.stream_all_results()] == ["0.25"]


async def test_a_manifest_in_a_moved_out_is_the_same_source(tmp_path: Path) -> None:
    with stored(tmp_path, None) as store:
        await store.open("a", root=str(tmp_path / "a" / "manifest.parquet"))
        (tmp_path / "a").rename(tmp_path / "b")
        journal = store.reopen("b")
        manifest = str(tmp_path / "b" / "manifest.parquet")
        await start_run(journal, tmp_path / "b", Binding.from_values(manifest, "transcribe", "p", "m", {}))
        binding = journal.output.load_binding()
        assert binding is not None
        assert binding.root == manifest
