"""OUT's mark decides which journal it uses: it cannot be forgotten, and another one is refused."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from mediamill.tasks.errors import StorageError, UsageError
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.journal_choice import choose_journal, read_mark, remove_secrets, write_mark
from tests.journal.stores import Store


async def test_the_marked_journal_is_used_where_none_is_given(sqlite_store: Store) -> None:
    out, shared = sqlite_store.root / "a", sqlite_store.url
    assert choose_journal(out, shared) == shared, "an OUT that is not bound may use any"
    await sqlite_store.open()
    write_mark(out, shared)
    assert choose_journal(out, None) == shared
    assert choose_journal(out, f"{shared}/.") == f"{shared}/.", "the same folder by another name"


async def test_another_journal_is_refused_with_the_ways_out(sqlite_store: Store, tmp_path: Path) -> None:
    out = sqlite_store.root / "a"
    await sqlite_store.open()
    write_mark(out, sqlite_store.url)
    another = tmp_path / "another"
    with pytest.raises(UsageError, match="everything would be bought again") as refused:
        choose_journal(out, str(another))
    assert all(words in str(refused.value) for words in ("leave --journal out", "--moved", "--out"))
    with pytest.raises(UsageError, match="holds nothing of it"):
        choose_journal(out, str(another), moved=True)
    assert not another.exists(), "a journal that is refused is not created"


async def test_an_out_with_its_own_journal_is_not_given_another_one(tmp_path: Path) -> None:
    own = Store(tmp_path, None)
    await own.open()
    with pytest.raises(UsageError, match="its own journal"):
        choose_journal(tmp_path / "a", str(tmp_path / "another"))
    assert choose_journal(tmp_path / "a", None) is None
    own.close()


async def test_a_journal_that_was_moved_is_taken_up_where_it_is_named(sqlite_store: Store, tmp_path: Path) -> None:
    out, moved = sqlite_store.root / "a", tmp_path / "moved"
    await sqlite_store.open()
    write_mark(out, sqlite_store.url)
    sqlite_store.close()
    (tmp_path / "shared").rename(moved)
    with pytest.raises(UsageError, match="is not there") as refused:
        choose_journal(out, None)
    assert "--moved" in str(refused.value)
    assert choose_journal(out, str(moved), moved=True) == str(moved)


def test_the_mark_is_private_and_replaced_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / ".journal").mkdir()
    path = tmp_path / ".journal" / "elsewhere"
    write_mark(tmp_path, "/one")
    before = path.stat()
    write_mark(tmp_path, "/one")
    assert path.stat().st_ino == before.st_ino, "what is right already is left alone"
    write_mark(tmp_path, "/two")
    assert (read_mark(tmp_path), stat.S_IMODE(path.stat().st_mode)) == ("/two", 0o600)
    assert path.stat().st_ino != before.st_ino, "a crash leaves the old mark or the new one"
    assert [file.name for file in path.parent.iterdir()] == ["elsewhere"]


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("postgresql://me:secret@db:5433/j", "postgresql://me@db:5433/j"),
        (
            "postgresql://db/j?password=secret&options=-csearch_path%3Da",
            "postgresql://db/j?options=-csearch_path%3Da",
        ),
        ("/folder/with@sign:colon", "/folder/with@sign:colon"),
    ],
)
def test_no_password_is_in_the_mark(url: str, stored: str, tmp_path: Path) -> None:
    (tmp_path / ".journal").mkdir()
    write_mark(tmp_path, url)
    assert read_mark(tmp_path) == stored == remove_secrets(url)


async def test_a_url_with_another_user_or_password_names_the_same_journal(tmp_path: Path) -> None:
    own = Store(tmp_path, None)
    await own.open()
    own.close()
    (tmp_path / "a" / ".journal" / "journal.sqlite").unlink()
    write_mark(tmp_path / "a", "postgresql://me@db/j")
    assert choose_journal(tmp_path / "a", None) == "postgresql://me@db/j"
    given = "postgresql://you@db:5432/j?connect_timeout=5"
    assert choose_journal(tmp_path / "a", given) == given


async def test_an_unbound_journal_of_a_crash_is_no_hindrance(tmp_path: Path) -> None:
    """A run that ended before it was bound has bought nothing; the next one may choose."""
    Journal.open(tmp_path).close()
    (tmp_path / ".journal" / "out_id").write_text("0" * 32)
    assert choose_journal(tmp_path, str(tmp_path / "J")) == str(tmp_path / "J")


@pytest.mark.parametrize("name", [".journal", "sub/../.journal", "inner"])
async def test_a_journal_in_out_moves_along_with_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "a" / "sub").mkdir(parents=True)
    store = Store(tmp_path, str(tmp_path / "a" / name))
    await store.open()
    store.close()
    write_mark(tmp_path / "a", store.url)
    (tmp_path / "a").rename(tmp_path / "b")
    out = tmp_path / "b"
    assert choose_journal(out, None) == (str(out / name) if name == "inner" else None)
    assert choose_journal(out, str(out / name)) == choose_journal(out, None), "the same one, by its name"
    with pytest.raises(UsageError, match="everything would be bought again"):
        choose_journal(out, str(tmp_path / "another"))


@pytest.mark.parametrize("content", [None, ""])
async def test_the_mark_holds_where_the_file_of_the_id_is_lost(
    content: str | None, sqlite_store: Store, tmp_path: Path
) -> None:
    out, path = sqlite_store.root / "a", sqlite_store.root / "a" / ".journal" / "out_id"
    bound = await sqlite_store.open()
    write_mark(out, sqlite_store.url)
    path.unlink() if content is None else path.write_text(content)
    assert choose_journal(out, None) == sqlite_store.url
    with pytest.raises(UsageError, match="everything would be bought again"):
        choose_journal(out, str(tmp_path / "another"))
    again = sqlite_store.reopen("a")
    assert (again.out_id, again.output.find_place_change(out)) == (bound.out_id, "same")
    await sqlite_store.start(again, "a")
    assert path.read_text() == bound.out_id, "the next run stores it again"


async def test_the_lost_id_of_a_copy_is_that_of_its_original(tmp_path: Path) -> None:
    store = Store(tmp_path, None)
    bound = await store.open("a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / ".journal" / "out_id").unlink()
    copy = store.reopen("b")
    assert (copy.out_id, copy.output.find_place_change(tmp_path / "b")) == (bound.out_id, "copied")
    store.close()


async def test_an_out_of_which_several_are_in_a_journal_is_found_by_its_place(sqlite_store: Store) -> None:
    for name in ("a", "b", "c"):
        await sqlite_store.open(name)
    (sqlite_store.root / "b" / ".journal" / "out_id").unlink()
    assert sqlite_store.reopen("b").out_id == sqlite_store.journals[1].out_id
    assert not Journal.open(sqlite_store.root / "new", sqlite_store.url).output.load_id(sqlite_store.root / "new")


async def test_an_out_whose_mark_and_journal_are_lost_demands_the_journal(sqlite_store: Store) -> None:
    """As one is that a program without marks has made."""
    out = sqlite_store.root / "a"
    await sqlite_store.open()
    (out / ".journal" / "elsewhere").unlink(missing_ok=True)
    with pytest.raises(UsageError, match="nothing names it") as refused:
        choose_journal(out, None)
    assert "--journal" in str(refused.value)
    shutil.rmtree(out / ".journal")
    (out / "results").mkdir()
    (out / "results" / "part-000000.parquet").touch()
    with pytest.raises(UsageError, match="nothing names it"):
        choose_journal(out, None)
    assert choose_journal(out, sqlite_store.url) == sqlite_store.url
    assert sqlite_store.reopen("a").out_id == sqlite_store.journals[0].out_id


async def test_a_mark_that_cannot_be_read_is_replaced_by_the_journal_that_knows_out(
    sqlite_store: Store, tmp_path: Path
) -> None:
    out = sqlite_store.root / "a"
    await sqlite_store.open()
    (out / ".journal" / "elsewhere").write_bytes(b"\xff\xfe")
    for given in (None, str(tmp_path / "another")):
        with pytest.raises(StorageError, match="elsewhere"):
            choose_journal(out, given)
    assert choose_journal(out, sqlite_store.url) == sqlite_store.url
    write_mark(out, sqlite_store.url)
    assert choose_journal(out, None) == sqlite_store.url


def test_a_file_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        choose_journal(tmp_path / "out", str(tmp_path / "file"))
