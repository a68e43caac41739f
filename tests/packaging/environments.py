"""Virtual environments with the built wheel and with packages that add to it, without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
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


def make_environment(folder: Path, *wheels: Path, extra: str | None = None) -> Path:
    """Make a virtual environment with these wheels and what mediamill requires, nothing else; its folder of programs.

    The first wheel is mediamill's, and is installed with the extra of that name.

    The requirements have the versions of ``uv.lock`` and come from uv's cache, where the checkout's own came from. With
    MEDIAMILL_TEST_NEWEST they have the versions that a package index has today, as for a user.
    """
    programs = folder / "bin"
    if os.environ.get("MEDIAMILL_TEST_NEWEST"):
        _run_uv("venv", "--python", sys.executable, str(folder), cwd=ROOT)
        first, *others = map(str, wheels)
        named = [f"{first}[{extra}]" if extra else first, *others]
        _run_uv("pip", "install", "--python", str(programs / "python"), *named, cwd=folder)
    else:
        requirements = ("sync", "--locked", "--no-default-groups", "--no-install-project", "--python", sys.executable)
        chosen = ("--extra", extra) if extra else ()
        _run_uv(*requirements, *chosen, cwd=ROOT, UV_PROJECT_ENVIRONMENT=str(folder))
        install_wheels(programs, *wheels)
    _run_uv("pip", "check", "--python", str(programs / "python"), cwd=folder)
    return programs


def install_wheels(programs: Path, *wheels: Path) -> None:
    """Install wheels into the environment of these programs, over what it has of the same packages."""
    install = ("pip", "install", "--no-deps", "--no-index", "--reinstall", "--python", str(programs / "python"))
    _run_uv(*install, *map(str, wheels), cwd=programs)


def _run_uv(*arguments: str, cwd: Path, **variables: str) -> None:
    """Run uv: the one that runs the tests, else the one on PATH."""
    uv = os.environ.get("UV", "uv")
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")}
    done = subprocess.run(
        [uv, *arguments], cwd=cwd, env={**env, **variables}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"uv {' '.join(arguments)}: {done.stderr}"


def make_foreign_folder(folder: Path) -> Path:
    """Make the working folder of another project, whose modules are named like folders of this one."""
    for name in ("flows", "configs"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise ImportError('somebody else')\n", encoding="utf-8")
    (folder / "tasks.py").write_text("raise ImportError('somebody else')\n", encoding="utf-8")
    return folder
