"""The run record: written last, so it is the proof that a run finished."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from mediamill.tasks.sinks.atomic_file import whole_file


def write_json(out: Path, target: Path, content: Mapping[str, Any]) -> Path:
    """Write JSON as a whole file, keys in a fixed order."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    with whole_file(out, target) as temporary:
        temporary.write_bytes(orjson.dumps(content, default=str, option=options))
    return target
