"""A job file to fill in: every option with its meaning, unset ones behind a mark of comment."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic_core import PydanticUndefined

from mediamill.tasks import capabilities
from mediamill.tasks.capabilities.parameters import Option
from mediamill.tasks.job import Job

_WIDTH = 100
_HEAD = """\
# A job of mediamill. A line that begins with # and a name is an option that is not set: remove the # to set it.
#   mediamill quote {file}    what it would cost; nothing is sent
#   mediamill run {file}      run it; the same command again goes on, and does only what is new
"""
_FIRST = ("provider", "model", "budget", "out", "limit")
_LEFT_OUT = frozenset(
    ("capability", "source", "params", "columns", "schedule", "moved", "copied", "replace", "no_cache")
)
"""Options that are given once, on the command line, and those that are written here in their own way."""
_SOURCES = {"audio": "recordings/", "image": "photos/", "video": "clips/"}
_MORE = """
# How a manifest's columns are read; by default they are found by their usual names.
#columns: {path: file_name, id: number}

# When its deployment runs: mediamill deploy {file}
#schedule: {cron: 0 2 * * *, timezone: UTC}
"""


def make_job_template(capability: str, file: str) -> str:
    """The text of a job file for a capability.

    Args:
        capability: its name.
        file: the name of the file, for the commands in its comments.

    Raises:
        NoSuchOption: when there is no such capability.
    """
    params = capabilities.get(capability).params
    kinds = capabilities.get(capability).kinds
    source = next((_SOURCES[kind] for kind in sorted(kinds) if kind in _SOURCES), "items.csv")
    rest = [name for name in Job.model_fields if name not in (*_FIRST, *_LEFT_OUT)]
    parts = [
        _HEAD.replace("{file}", file),
        f"# {capabilities.get_summary(capability)}",
        f"capability: {capability}\n",
        *_comment(Job.model_fields["source"].description or ""),
        f"source: {source}\n",
        *(line for name in (*_FIRST, *rest) for line in _format_field(name, Job.model_fields[name], "")),
        "# The capability's own parameters.",
        "params:",
        *(
            line
            for name, field in params.model_fields.items()
            if name not in Job.model_fields and not _is_permission(field)
            for line in _format_field(name, field, "  ")
        ),
    ]
    return "\n".join(parts) + _MORE.replace("{file}", file)


def _is_permission(field: Any) -> bool:
    return any(isinstance(declared, Option) and declared.permission for declared in field.metadata)


def _format_field(name: str, field: Any, indent: str) -> Iterator[str]:
    yield from _comment(field.description or "", indent)
    default = field.default if field.default_factory is None else field.default_factory()
    value = "" if default in (None, PydanticUndefined) else f" {_to_yaml(default)}"
    yield f"{indent}#{name}:{value}\n" if not indent else f"#{indent}{name}:{value}\n"


def _comment(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _to_yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
