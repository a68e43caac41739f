"""Fixtures of the journal's tests: databases, and processes that work on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.integration import require_integration
from tests.helpers.postgresql_server import PACKAGE, run_postgresql
from tests.journal.stores import POSTGRESQL, SQLITE, StartProcess, Store, create_schema, drop_schema

SERVER = os.environ.get("MEDIAMILL_TEST_POSTGRESQL")
"""The address of a server that is used instead of the one that tests start; the quick tier then tests on it too."""


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The address of a PostgreSQL server: the one that is named, or one that is started for the tests."""
    if SERVER:
        yield SERVER
        return
    require_integration("psycopg", PACKAGE)
    with run_postgresql() as url:
        yield url


@pytest.fixture(params=[SQLITE, pytest.param(POSTGRESQL, marks=() if SERVER else pytest.mark.long)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A database that OUTs share, on SQLite and on PostgreSQL."""
    if request.param == SQLITE:
        new_store = Store(tmp_path, str(tmp_path / "shared"))
        yield new_store
        new_store.close()
        return
    server = request.getfixturevalue("postgresql_server")
    name, url = create_schema(server)
    new_store = Store(tmp_path, url)
    yield new_store
    new_store.close()
    drop_schema(server, name)


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """A database that OUTs share, on SQLite alone."""
    new_store = Store(tmp_path, str(tmp_path / "shared"))
    yield new_store
    new_store.close()


@pytest.fixture
def start_process() -> Iterator[StartProcess]:
    """Starts ``tests.journal.journal_process``; a process that still runs is killed after the test."""
    with ExitStack() as children:

        def start_child(how: str, root: Path, url: str, what: str = "") -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "tests.journal.journal_process", how, str(root), url, what]
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            children.enter_context(child)
            children.callback(child.kill)
            return child

        yield start_child
