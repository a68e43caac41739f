"""Stems of file names: given once, never to two items, never changed by an item that comes later."""

from __future__ import annotations

from mediamill.tasks.file_names import add_hash
from mediamill.tasks.journal.journal import Journal
from tests.journal.stores import Store, make_item


async def plan(journal: Journal, *item_ids: str) -> None:
    batch = [make_item(n, item_id=item_id, location=f"/in/{item_id}") for n, item_id in enumerate(item_ids)]
    await journal.items.plan(batch, 10, names_files=True)


async def load_stems(journal: Journal) -> dict[str, str | None]:
    shards = [work.shard for work in await journal.items.find_shards_with_work()]
    return {item.item_id: item.file_stem for shard in shards for item in await journal.items.load_pending(shard)}


async def test_the_first_item_keeps_its_name_and_later_ones_get_a_hash(store: Store) -> None:
    await plan(await store.open(), "a.wav", "b/talk.wav", "c/Talk.mp3", "c/talk.wav")
    later = await store.open()
    await plan(later, "a/talk.wav", "a.mp4", "a.wav", "b/talk.wav", "c/Talk.mp3", "c/talk.wav", "z.wav")
    assert await load_stems(later) == {
        "a.wav": "a",
        "b/talk.wav": "talk",
        "c/Talk.mp3": add_hash("Talk", "c/Talk.mp3"),
        "c/talk.wav": add_hash("talk", "c/talk.wav"),
        "a/talk.wav": add_hash("talk", "a/talk.wav"),
        "a.mp4": add_hash("a", "a.mp4"),
        "z.wav": "z",
    }


async def test_no_name_can_be_made_to_meet_another_items(store: Store) -> None:
    victim = add_hash("talk", "b/talk.wav")
    lookalike = "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in victim)
    ids = (f"{victim}.wav", f"{lookalike}.wav", "talk.wav", "b/talk.wav")
    journal = await store.open()
    await plan(journal, *ids)
    stems = await load_stems(journal)
    assert stems["b/talk.wav"] == victim
    assert len(set(stems.values())) == len(ids)


async def test_items_without_files_and_those_of_an_earlier_program_have_no_stem(store: Store) -> None:
    first = await store.open()
    await first.items.plan([make_item(0, item_id="a.wav", location="/in/a.wav")], 10)
    second = await store.open()
    await plan(second, "a.wav", "b/a.wav")
    assert await load_stems(second) == {"a.wav": None, "b/a.wav": "a"}
