"""The OUTs of a chain's steps, which are below the chain's own folder."""

from __future__ import annotations

import shlex
from pathlib import Path

from mediamill.tasks.errors import UsageError

_MAX_NAMED = 4


def find_step_folders(out: Path) -> list[Path]:
    """The OUTs of a chain's steps, their repeats and branches, in their order; empty where no chain has run."""
    id_files = (out.expanduser() / "steps").glob("**/.journal/out_id")
    return sorted(id_file.parent.parent for id_file in id_files)


def build_chain_error(out: Path, steps: list[Path]) -> UsageError:
    """The error of what is for a single OUT where a chain's folder is named."""
    names = [shlex.quote(str(step)) for step in steps[:_MAX_NAMED]]
    more = f" and {len(steps) - _MAX_NAMED} more below {out / 'steps'}" if len(steps) > _MAX_NAMED else ""
    message = f"{out} is a chain's: what is done, failed and spent is in each of its steps"
    return UsageError(message, hint=f"name one of them: {', '.join(names)}{more}")
