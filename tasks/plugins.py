"""What other installed packages add, found by entry point: capabilities, operations and providers."""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint
from typing import Any

from mediamill.tasks.errors import UsageError

CAPABILITIES = "mediamill.capabilities"
"""Group of entry points: the capability's name, and its class."""
OPERATIONS = "mediamill.operations"
"""Group of entry points: the operation's name, and its class."""
PROVIDERS = "mediamill.providers"
"""Group of entry points: the provider's name, and the :class:`~pathlib.Path` of its YAML file."""


@functools.cache
def plugins(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name; of two of one name, that of the package whose name comes first."""
    return {point.name: point for point in reversed(_found(group))}


def hidden_plugins(group: str) -> list[EntryPoint]:
    """The entry points of a group that another package's of the same name hides."""
    return [point for point in _found(group) if package_of(point) != package_of(plugins(group)[point.name])]


def _found(group: str) -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return sorted(entry_points(group=group), key=package_of)


def kind_of(group: str) -> str:
    """What a group holds one of: ``capability``, ``operation`` or ``provider``."""
    return {CAPABILITIES: "capability", OPERATIONS: "operation", PROVIDERS: "provider"}[group]


def package_of(plugin: EntryPoint) -> str:
    """The name of the package that an entry point belongs to."""
    return plugin.dist.name if plugin.dist is not None else plugin.module.partition(".")[0]


def load_plugin(plugin: EntryPoint) -> Any:
    """What an entry point names; whatever is wrong with it is told in one line.

    Raises:
        UsageError: when it cannot be imported.
    """
    try:
        return plugin.load()
    except (Exception, SystemExit) as error:  # it is not our code: anything may be wrong with it
        about = str(error).partition("\n")[0]
        raise unusable(plugin, f"{type(error).__name__}{': ' if about else ''}{about}") from error


def unusable(plugin: EntryPoint, why: str) -> UsageError:
    """The error that says why what another package adds cannot be used."""
    package = package_of(plugin)
    return UsageError(
        f"the {kind_of(plugin.group)} {plugin.name!r} of the package {package} cannot be used: {why}",
        hint=f"update {package}, or uninstall it",
    )
