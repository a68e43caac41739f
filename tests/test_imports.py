"""Imports point one way; prefect stays in flows/; the built-in server shares nothing with the adapters it judges."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
    {"flows"},
    {"tasks.run", "tasks.publish", "tasks.quote"},
    {"tasks.plan", "tasks.shard", "tasks.start", "tasks.status", "tasks.report", "tasks.params"},
    {"tasks.context"},
    {"tasks.kit"},
    {"tasks.engine"},
    {"tasks.capabilities", "tasks.providers", "tasks.calls"},
    {"tasks.journal", "tasks.money", "tasks.media", "tasks.sources", "tasks.sinks", "tasks.summary"},
    {"tasks.item", "tasks.job", "tasks.errors", "tasks.faults", "configs"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SPAWN = ("tasks.engine", "tasks.local.spawn")
"""The one way from the pipeline to the built-in server: starting it as a process of its own."""

FILES = sorted([*ROOT.glob("flows/**/*.py"), *ROOT.glob("tasks/**/*.py")])


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(name: str) -> str:
    """flows, configs, or the second-level name in tasks."""
    return name.split(".", maxsplit=1)[0] if not name.startswith("tasks") else ".".join(name.split(".")[:2])


def imports(path: Path) -> list[str]:
    """Every module a file imports, at any depth, for types or for use."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            bare = node.module in ("tasks", "flows", "configs")
            found += (
                [f"{node.module}.{a.name}" for a in node.names] if bare and node.module == "tasks" else [node.module]
            )
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_arrow_points_back(path: Path) -> None:
    here = module(path)
    for name in imports(path):
        if name.split(".")[0] not in ("flows", "tasks", "configs") or name == "tasks":
            assert not name.startswith("prefect") or here.startswith("flows"), f"{here} imports prefect"
            continue
        if here.startswith("tasks.local"):
            allowed = ("tasks.local", "tasks.media", "tasks.item", "tasks.errors", "configs")
            assert name.startswith(allowed), f"{here} imports {name}"
        elif name.startswith("tasks.local"):
            assert here.startswith("flows") or (here, name) == SPAWN, f"{here} imports {name}"
        elif here not in ("tasks", "flows"):
            assert room(here) in LEVEL, f"{here} has no layer"
            assert LEVEL[room(name)] >= LEVEL[room(here)], f"{here} imports {name}"


def loaded(*arguments: str) -> set[str]:
    """The top-level packages a command has imported when it ends."""
    script = (
        "import sys\nfrom flows.cli import main\n"
        f"sys.argv = ['mediamill', *{list(arguments)!r}]\n"
        "try:\n    main()\nfinally:\n"
        "    sys.stderr.write('LOADED ' + ' '.join({m.split('.')[0] for m in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rsplit("LOADED ", 1)[1].split())


def test_help_imports_nothing_heavy() -> None:
    heavy = {"prefect", "pandas", "pyarrow", "sqlalchemy", "av", "httpx", "aiohttp", "rich", "numpy", "jinja2"}
    assert not heavy & loaded("--help")


def test_an_inline_run_with_nothing_to_do_imports_only_what_it_uses(tmp_path: Path) -> None:
    arguments = ("transcribe", str(ROOT / "data/samples/recordings/window.flac"), "--provider", "local")
    first = loaded(*arguments, "--out", str(tmp_path / "out"))
    assert "prefect" not in first
    again = loaded(*arguments, "--out", str(tmp_path / "out"))
    assert not {"prefect", "pandas", "av", "jinja2"} & again
