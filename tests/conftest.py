"""Fixtures that several rooms use, and the tiers: quick (the default), ``long`` and ``proof`` (see pyproject.toml).

The built-in server: a test takes ``local_server``, which others have used and which has no trace of them, or
``own_local_server``, which is started for it alone (where the server itself is killed or must be new). A file or a
folder that needs other options than the server's own says so once, by its own fixture ``server_options``.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks import fault_injection
from mediamill.tasks.local.sandbox.sandbox_process import SandboxRefused
from mediamill.tasks.local.sandbox.trial import find_working_bubblewrap
from mediamill.tasks.plugins import find_plugins
from tests.helpers.hypothesis_profile import choose_examples
from tests.helpers.local_server import RunningServer, SharedServers, running_server
from tests.helpers.plugins import write_entry_points

# The tests' runs go to a Prefect server only where a test says so, never to that of whoever runs them.
for _name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"):
    os.environ.pop(_name, None)

# What runs of this process keep for later ones stays out of the state folder of whoever runs the tests.
_state_folder = tempfile.TemporaryDirectory(prefix="mediamill-tests-")
os.environ["XDG_STATE_HOME"] = _state_folder.name

# Tests transcribe with the quick engine, save those of whisper, which name it.
os.environ["MEDIAMILL_ASR_ENGINE"] = "pocketsphinx"

# Texts are embedded by the quick engine, save where the model is what is tested.
os.environ["MEDIAMILL_EMBEDDING_ENGINE"] = "hashing"

# Pictures are described without the text in them, save where that is tested.
os.environ["MEDIAMILL_OCR_IN_DESCRIPTIONS"] = "0"

# Tests write files and run them at once; those of the settle time set it themselves.
os.environ["MEDIAMILL_SETTLE"] = "0"


# Collecting makes millions of objects that stay: looking for garbage among them takes two fifths of its time.
gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage again, but never among what collection left."""
    gc.freeze()
    gc.enable()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than cores, because tests wait for what they start; those of the proof tier watch clocks."""
    cores = os.cpu_count() or 1
    expression = config.option.markexpr or ""
    return cores if "proof" in expression and "not proof" not in expression else cores + 1


_IS_LONG_FILE = re.compile(r"^pytestmark = \[?.*pytest\.mark\.(long|proof)\b", re.MULTILINE)


def pytest_configure(config: pytest.Config) -> None:
    """Property tests try as many examples as the tier wants."""
    choose_examples(config.option.markexpr or "")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """In the quick tier, files that are long as a whole are not imported: some import large SDKs."""
    if "not long" not in (config.option.markexpr or "") or not collection_path.match("test_*.py"):
        return None
    return True if _IS_LONG_FILE.search(collection_path.read_text(encoding="utf-8")) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests marked ``proof`` out of every choice that does not name them; property tests are also long."""
    if config.option.markexpr == "long":
        for item in items:
            if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
                item.add_marker("long")
    if "proof" in (config.option.markexpr or ""):
        return
    proofs = [item for item in items if item.get_closest_marker("proof")]
    if proofs:
        config.hook.pytest_deselected(items=proofs)
        items[:] = [item for item in items if item not in proofs]


@pytest.fixture(scope="session")
def sandbox_that_holds() -> Path:
    """The bubblewrap that holds foreign code on this machine; without one the test is skipped, save in CI on Linux."""
    try:
        return asyncio.run(find_working_bubblewrap())
    except SandboxRefused as error:
        if sys.platform.startswith("linux") and os.environ.get("MEDIAMILL_REQUIRE_INTEGRATION"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    """Options of ``mediamill serve`` (with underscores) that this file's built-in servers are started with."""
    return {}


@pytest.fixture(scope="session")
def shared_servers() -> Iterator[SharedServers]:
    """Servers that tests of any file share; tests take ``local_server`` instead."""
    servers = SharedServers()
    yield servers
    servers.close()


@pytest.fixture
def local_server(shared_servers: SharedServers, server_options: dict[str, Any]) -> RunningServer:
    """A built-in server with the file's options, as it is after a start."""
    return shared_servers.take(server_options)


@pytest.fixture
def own_local_server(server_options: dict[str, Any]) -> Iterator[RunningServer]:
    """A built-in server that is started for this test and that no other test uses."""
    with running_server(**server_options) as server:
        yield server


@pytest.fixture
def install_entry_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Mapping[str, Mapping[str, str]]], None]]:
    """Install another package's entry points for this test: by group, names and what they load."""

    def install(groups: Mapping[str, Mapping[str, str]]) -> None:
        write_entry_points(tmp_path / "site", "another-package", groups)
        monkeypatch.syspath_prepend(tmp_path / "site")
        find_plugins.cache_clear()

    yield install
    find_plugins.cache_clear()


@pytest.fixture
def disarm_faults() -> Iterator[None]:
    """No fault point stays armed after the test."""
    yield
    fault_injection.arm("")
