"""Takes back what a run began that is refused before any item: OUT is as it was, and a new one is gone."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from pathlib import Path

from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import StorageError
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_lock import HeldLock, OutputLock
from mediamill.tasks.sinks.out_folder import PRIVATE_FOLDERS


async def close_refused_run(
    engine: Engine, out: Path, journal: Journal, lock: OutputLock | HeldLock, run_id: str, *, is_new: bool
) -> None:
    """Forget the run, close the journal and release OUT.

    Args:
        engine: does what blocks.
        out: OUT, whose lock is held.
        journal: its journal.
        lock: released at the end.
        run_id: the refused run.
        is_new: the run itself made OUT's private folders; they are removed where OUT is bound no more, and so is OUT
            where nothing else is in it.
    """
    is_unbound = False
    try:
        with contextlib.suppress(StorageError):  # the refusal is what is told
            is_unbound = await journal.runs.withdraw(run_id)
    finally:
        await engine.run_in_thread(journal.close)
        if is_new and is_unbound:
            await engine.run_in_thread(_remove_private_folders, out)
        lock.release()


def _remove_private_folders(out: Path) -> None:
    """Remove them, each at once for whoever waits for the lock, who then makes new ones."""
    with contextlib.suppress(OSError):
        for name in PRIVATE_FOLDERS:
            away = out / f"{name}-{uuid.uuid4().hex[:8]}"
            (out / name).rename(away)
            shutil.rmtree(away)
        out.rmdir()
