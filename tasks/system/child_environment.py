"""The environment of programs that mediamill starts and that need no provider's key."""

from __future__ import annotations

import os
import re

_KEY_NAME = re.compile(r"(?:^|_)(?:KEY|API_TOKEN|SECRET)$", re.IGNORECASE)


def build_environment_without_keys(*, keep: str | None = None) -> dict[str, str]:
    """This process's environment without variables whose names are those of keys; Prefect's own settings stay.

    Args:
        keep: the name of a variable that is needed all the same.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name == keep or name.startswith("PREFECT_") or not _KEY_NAME.search(name)
    }
