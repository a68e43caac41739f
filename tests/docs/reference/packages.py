"""The packages that the README's first command installs."""

from __future__ import annotations

from tests.docs.first_command import PLATFORM, list_packages
from tests.docs.reference.markdown import NOTE, format_table, join_blocks

_INTRODUCTION = f"""\
What the README's first command installs on {PLATFORM["platform_system"]} ({PLATFORM["platform_machine"]}) with Python
{PLATFORM["python_version"]}, from `uv.lock`. Size and time: [performance.md](../performance.md)."""


def make_packages_page() -> str:
    """Each package with those of mediamill's own dependencies that need it."""
    packages = list_packages()
    rows = [[name, ", ".join(sorted(needed_by))] for name, needed_by in sorted(packages.items())]
    return join_blocks(
        [
            NOTE,
            "# Packages of the first command",
            _INTRODUCTION,
            f"{len(rows)} packages, and mediamill:",
            format_table(["package", "needed by"], rows),
        ]
    )
