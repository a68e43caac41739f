"""Virtual environments with the built wheel and with packages that add to it, without the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

from tests.helpers.paths import ROOT


def build_wheel(folder: Path, source: Path = ROOT) -> Path:
    """Build the wheel of a project from its source distribution, as for a package index."""
    _build(source, "sdist", folder / "sdist")
    (archive,) = (folder / "sdist").glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    _build(unpacked, "wheel", folder / "wheel")
    (wheel,) = (folder / "wheel").glob("*.whl")
    return wheel


def _build(source: Path, target: str, folder: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)


def make_environment(folder: Path, *wheels: Path) -> Path:
    """Make a virtual environment with these wheels and this environment's dependencies; its folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    script = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True, timeout=60).stdout.strip()
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    install_wheels(folder / "bin", *wheels)
    return folder / "bin"


def install_wheels(programs: Path, *wheels: Path) -> None:
    """Install wheels into the environment of these programs, over what it has of the same packages."""
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--ignore-installed", *map(str, wheels)], check=True, timeout=120)


def make_foreign_folder(folder: Path) -> Path:
    """Make the working folder of another project, whose modules are named like folders of this one."""
    for name in ("flows", "configs"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise ImportError('somebody else')\n", encoding="utf-8")
    (folder / "tasks.py").write_text("raise ImportError('somebody else')\n", encoding="utf-8")
    return folder
