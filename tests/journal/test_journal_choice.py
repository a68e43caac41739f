"""OUT's mark decides which journal it uses: it cannot be forgotten, and another one is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mediamill.tasks.errors import UsageError
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
