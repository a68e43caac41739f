"""A journal's version: older ones are brought up to date, all or nothing; newer ones are left alone."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, inspect, text

from mediamill.tasks.errors import StorageError, UsageError
from mediamill.tasks.journal import migrations
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.migrations import MIGRATIONS, Migration, read_version
from tests.helpers.cli_runs import mediamill
from tests.journal.stores import StartProcess, Store
from tests.journal.version_1 import journal_path, open_database, read_table, unpack_archive

VERSION = MIGRATIONS[-1].version
TABLES = ("outs", "items", "shards", "asks", "attempts", "parts", "runs", "leases", "files", "ceilings", "cuts")

LATER_COLUMNS = {
    "asks": ("worker",),
    "items": ("first_run", "preparation", "file_stem", "file_key"),
    "outs": ("place", "formats"),
    "parts": ("mtime_ns",),
}
"""Columns that version 1 did not have, by table."""
LATER_TABLES = ("migrations", "documents", "sidecars")
"""Tables that version 1 did not have, besides the one with the version."""


def read_tables(connection: Connection) -> dict[str, list[str]]:
    """Every table with its columns and their types."""
    inspector = inspect(connection)
    return {
        name: [f"{column['name']} {column['type']} {column['nullable']}" for column in inspector.get_columns(name)]
        for name in inspector.get_table_names()
    }


def read_versions(journal: Journal) -> tuple[int | None, list[int]]:
    """A journal's version, and the versions in its table of migrations."""
    applied = text("SELECT version FROM migrations ORDER BY version")
    return journal.read_blocking(read_version), journal.read_blocking(lambda c: list(c.execute(applied).scalars()))


def downgrade_to_version_1(journal: Journal, stored_number: str | None) -> None:
    """Make a journal what one of version 1 was: with ``stored_number`` as its version, or without any."""

    def remove_version(connection: Connection) -> None:
        connection.execute(text("DROP INDEX items_by_file_key"))
        for table in LATER_TABLES:
            connection.execute(text(f"DROP TABLE {table}"))
        for table, columns in LATER_COLUMNS.items():
            for column in columns:
                connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        if stored_number is None:
            connection.execute(text("DROP TABLE meta"))
        else:
            connection.execute(text("UPDATE meta SET value = :number"), {"number": stored_number})

    journal.write_blocking(remove_version)


def add_migration(monkeypatch: pytest.MonkeyPatch, apply: Any) -> None:
    """Add a migration to those of the program."""
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, Migration(VERSION + 1, apply)))


def create_later_table(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE later (number INTEGER)"))
    connection.execute(text("INSERT INTO later VALUES (1)"))


async def test_a_new_journal_has_the_latest_version(store: Store) -> None:
    assert read_versions(await store.open()) == (VERSION, [VERSION])


def test_migrations_have_no_gaps() -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(2, VERSION + 1))


@pytest.mark.parametrize("number", ["1", None])
async def test_opening_migrates_an_older_journal(store: Store, number: str | None) -> None:
    journal = await store.open()
    latest = journal.read_blocking(read_tables)
    downgrade_to_version_1(journal, number)
    journal.close()
    journal = await store.open()
    assert read_versions(journal) == (VERSION, list(range(2, VERSION + 1)))
    assert journal.read_blocking(read_tables) == latest


def test_a_migrated_journal_has_the_tables_of_a_new_one_and_keeps_its_rows(tmp_path: Path) -> None:
    root = unpack_archive(tmp_path / "v1")
    database = journal_path(root, "caption")
    before = {name: read_table(database, name) for name in TABLES}
    Journal.open(root / "caption", str(root / "shared")).close()
    Journal.open(tmp_path / "new").close()
    found = []
    for path in (database, tmp_path / "new" / ".journal" / "journal.sqlite"):
        with create_engine(f"sqlite:///{path}").connect() as connection:
            found.append(read_tables(connection))
    assert found[0] == found[1]
    after = {name: read_table(database, name) for name in TABLES}
    added = [row.pop(name) for table, names in LATER_COLUMNS.items() for row in after[table] for name in names]
    assert set(added) == {None}
    assert {name: sorted(rows, key=repr) for name, rows in after.items()} == before
    assert set(found[0]) == {*TABLES, *LATER_TABLES, "meta"}


async def test_a_failed_migration_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_halfway(connection: Connection) -> None:
        create_later_table(connection)
        raise RuntimeError("cannot be done")

    journal = await store.open()
    before = journal.read_blocking(read_tables)
    with monkeypatch.context() as later:
        add_migration(later, fail_halfway)
        with pytest.raises(RuntimeError, match="cannot be done"):
            Journal.open(store.root / "a", store.url)
    assert journal.read_blocking(read_tables) == before
    assert read_versions(await store.open()) == (VERSION, [VERSION])


async def test_a_kill_in_a_migration_changes_nothing_and_the_next_open_completes_it(
    store: Store, start_process: StartProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await store.open()
    downgrade_to_version_1(journal, "1")
    before = journal.read_blocking(read_tables)
    child = start_process("migrate", store.root, store.url, "kill")
    child.communicate("go\n", timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert journal.read_blocking(read_version) == 1
    assert journal.read_blocking(read_tables) == before
    add_migration(monkeypatch, create_later_table)
    assert read_versions(await store.open()) == (VERSION + 1, list(range(2, VERSION + 2)))


@pytest.mark.long
async def test_processes_that_open_an_older_journal_at_once_migrate_it_once(
    store: Store, start_process: StartProcess
) -> None:
    journal = await store.open()
    downgrade_to_version_1(journal, "1")
    children = [start_process("migrate", store.root, store.url, "slow") for _ in range(3)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        output, _ = child.communicate(timeout=60)
        assert (child.returncode, output) == (0, "opened\n")
    assert read_versions(journal) == (VERSION + 1, list(range(2, VERSION + 2)))
    assert journal.read_blocking(lambda c: list(c.execute(text("SELECT number FROM later")).scalars())) == [1]


async def test_open_existing_neither_creates_nor_migrates(store: Store, tmp_path: Path) -> None:
    journal = await store.open()
    downgrade_to_version_1(journal, "1")
    existing = Journal.open_existing(store.root / "a", store.url)
    assert existing.output.load_id(store.root / "a")
    assert existing.output.load_binding() is not None
    assert existing.read_blocking(read_version) == 1
    existing.close()
    with pytest.raises(UsageError, match="there is no journal"):
        Journal.open_existing(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("opening", [Journal.open, Journal.open_existing])
async def test_a_newer_journal_is_refused(store: Store, opening: Any) -> None:
    journal = await store.open()
    journal.write_blocking(lambda c: c.execute(text("UPDATE meta SET value = '99'")))
    with pytest.raises(StorageError, match=r"newer mediamill .*99") as refused:
        opening(store.root / "a", store.url)
    assert "upgrade" in str(refused.value)
    assert "\n" not in str(refused.value)


COMMANDS: tuple[tuple[str, ...], ...] = (  # export reads parts alone
    ("status", "OUT"),
    ("report", "OUT"),
    ("retry", "OUT", "--yes"),
    ("quote", "transcribe", "SOURCE", "--provider", "local", "--model", "echo", "--out", "OUT"),
    ("transcribe", "SOURCE", "--provider", "local", "--model", "echo", "--out", "OUT", "--yes"),
)


@pytest.fixture(scope="module")
def newer_journals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OUT whose journal a newer program has written."""
    root = unpack_archive(tmp_path_factory.mktemp("newer") / "v1")
    with open_database(journal_path(root, "transcribe")) as connection:
        connection.execute("UPDATE meta SET value = '99'")
        connection.commit()
    return root


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:3]))
def test_every_command_refuses_a_newer_journal_in_one_line(command: Sequence[str], newer_journals: Path) -> None:
    places = {"OUT": newer_journals / "transcribe", "SOURCE": newer_journals / "recordings"}
    before = journal_path(newer_journals, "transcribe").read_bytes()
    done = mediamill(*(places.get(word, word) for word in command), home=newer_journals / "home")
    assert done.returncode == 1, done.stderr
    messages = [line for line in done.stderr.splitlines() if "newer mediamill" in line]
    assert len(messages) == 1
    assert "journal.sqlite" in messages[0]
    assert "version 99" in messages[0]
    assert "upgrade mediamill" in done.stderr
    assert "Traceback" not in done.stderr
    assert journal_path(newer_journals, "transcribe").read_bytes() == before


def test_a_new_journal_has_a_version_that_the_version_1_program_refuses(tmp_path: Path) -> None:
    """It reads the version in ``meta`` and compares it with 1."""
    Journal.open(tmp_path).close()
    with sqlite3.connect(tmp_path / ".journal" / "journal.sqlite") as connection:
        found = connection.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
    assert int(found[0]) > 1
