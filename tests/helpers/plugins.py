"""Entry points of other packages, as an installer leaves them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_entry_points(site: Path, package: str, groups: Mapping[str, Mapping[str, str]]) -> None:
    """Write the metadata of an installed package.

    Args:
        site: the folder of installed packages, to be put on ``sys.path``.
        package: its name.
        groups: by group, names and what they load, as ``module:attribute``.
    """
    info = site / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    sections = (
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
        for group, points in groups.items()
    )
    (info / "entry_points.txt").write_text("\n".join(sections))
