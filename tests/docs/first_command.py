"""What the README's first command installs: the packages of uv.lock that `uv run mediamill ...` needs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import distribution
from typing import Any

from packaging.markers import Marker

from tests.helpers.paths import ROOT

PLATFORM = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.7",
    "python_version": "3.11",
    "sys_platform": "linux",
}
"""The machine for which packages are counted, whatever machine counts them."""
_ROOT_PACKAGE = "mediamill"


def list_packages() -> dict[str, set[str]]:
    """The packages, each with those of our own dependencies that need it; a group's name stands for its own."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    packages = {package["name"]: package for package in lock["package"] if _is_taken(package)}
    project = packages[_ROOT_PACKAGE]
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")).get("tool", {}).get("uv", {})
    default_groups = groups.get("default-groups", ["dev"])
    found: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    for dependency in project["dependencies"]:
        _add(dependency, dependency["name"], packages, found)
    for group in default_groups:
        for dependency in project.get("dev-dependencies", {}).get(group, []):
            _add(dependency, f"group {group}", packages, found)
    needed_by: dict[str, set[str]] = {}
    for (name, _), roots in found.items():
        if name != _ROOT_PACKAGE:  # a group may be an extra of its own
            needed_by.setdefault(name, set()).update(roots)
    return needed_by


def _is_taken(package: Mapping[str, Any]) -> bool:
    """True for the version of a package that the platform takes, where the lock has several."""
    markers = package.get("resolution-markers")
    return not markers or any(Marker(marker).evaluate(PLATFORM) for marker in markers)


def _add(
    dependency: Mapping[str, Any],
    needed_by: str,
    packages: Mapping[str, Any],
    found: dict[tuple[str, tuple[str, ...]], set[str]],
) -> None:
    """Add a dependency, by name and extras, and what it depends on, where the platform needs them."""
    if "marker" in dependency and not Marker(dependency["marker"]).evaluate(PLATFORM):
        return
    name, extras = dependency["name"], dependency.get("extra", [])
    roots = found.setdefault((name, tuple(extras)), set())
    if needed_by in roots:
        return
    roots.add(needed_by)
    own = [] if name == _ROOT_PACKAGE else packages[name].get("dependencies", [])
    for inner in [*own, *_iter_extras(packages[name], extras)]:
        _add(inner, needed_by, packages, found)


def _iter_extras(package: Mapping[str, Any], extras: list[str]) -> Iterator[Mapping[str, Any]]:
    for extra in extras:
        yield from package.get("optional-dependencies", {}).get(extra, [])


def sum_installed_bytes(names: Mapping[str, object]) -> int:
    """The size of the packages' files as they are installed here, without compiled bytecode.

    Raises:
        PackageNotFoundError: when one is not installed.
    """
    total = 0
    for name in names:
        files = distribution(name).files or []
        total += sum(file.size or 0 for file in files)
    return total
