"""Capabilities, operations and providers of other installed packages, found by entry point."""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint
from typing import Any

from mediamill.tasks.errors import UsageError

CAPABILITY_GROUP = "mediamill.capabilities"
"""Group of entry points: the capability's name, and its class."""
OPERATION_GROUP = "mediamill.operations"
"""Group of entry points: the operation's name, and its class."""
PROVIDER_GROUP = "mediamill.providers"
"""Group of entry points: the provider's name, and the :class:`~pathlib.Path` of its YAML file."""


@functools.cache
def find_plugins(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name; of two with one name, that of the package first in the alphabet."""
    return {plugin.name: plugin for plugin in reversed(_list_entry_points(group))}


def find_hidden_plugins(group: str) -> list[EntryPoint]:
    """The entry points of a group that are hidden by another package's of the same name."""
    return [
        plugin
        for plugin in _list_entry_points(group)
        if package_name(plugin) != package_name(find_plugins(group)[plugin.name])
    ]


def _list_entry_points(group: str) -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return sorted(entry_points(group=group), key=package_name)


def plugin_kind(group: str) -> str:
    """What the entry points of a group are: ``capability``, ``operation`` or ``provider``."""
    return {CAPABILITY_GROUP: "capability", OPERATION_GROUP: "operation", PROVIDER_GROUP: "provider"}[group]


def package_name(plugin: EntryPoint) -> str:
    """The name of the package that an entry point belongs to."""
    return plugin.dist.name if plugin.dist is not None else plugin.module.partition(".")[0]


def load_plugin(plugin: EntryPoint) -> Any:
    """Import what an entry point names.

    Raises:
        UsageError: when it cannot be imported; the message is one line.
    """
    try:
        return plugin.load()
    except (Exception, SystemExit) as error:  # another package's code may raise anything
        raise plugin_error(plugin, format_cause(error)) from error


def format_cause(error: BaseException) -> str:
    """What another package's code raised, in one line."""
    detail = str(error).partition("\n")[0]
    return f"{type(error).__name__}{': ' if detail else ''}{detail}"


def plugin_error(plugin: EntryPoint, reason: str) -> UsageError:
    """The error that says why another package's plugin cannot be used."""
    return UsageError(
        f"the {plugin_kind(plugin.group)} {plugin.name!r} of the package {package_name(plugin)} "
        f"cannot be used: {reason}",
        hint=repair_hint(plugin),
    )


def repair_hint(plugin: EntryPoint) -> str:
    """The next step when another package's plugin cannot be used."""
    package = package_name(plugin)
    return f"update {package}, or uninstall it"
