"""Imports follow the layers; prefect stays in flows/; the built-in server shares nothing with the providers' code."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.paths import RECORDINGS, ROOT

LAYERS = (
    {"flows"},
    {"tasks.python"},
    {"tasks.pipeline"},
    {"tasks.run.run"},
    {"tasks.workers"},
    {"tasks.run.run_steps", "tasks.run.publish", "tasks.run.quote"},
    {"tasks.run", "tasks.out", "tasks.report", "tasks.explain", "tasks.starters"},
    {"tasks.run.run_context"},
    {"tasks.run.capability_context"},
    {
        "tasks.engine",
        "tasks.run.failures_in_a_row",
        "tasks.out.damage",
        "tasks.run.item_record",
        "tasks.run.item_slots",
    },
    {"tasks.capabilities"},
    {"tasks.providers", "tasks.calls"},
    {"tasks.journal", "tasks.money", "tasks.media", "tasks.sources", "tasks.sinks", "tasks.summary"},
    {"tasks.wire", "tasks.retry_after", "tasks.bounded"},
    {"tasks.websocket_session"},
    {
        "tasks.domain",
        "tasks.not_taken",
        "tasks.formatting",
        "tasks.languages",
        "tasks.model_names",
        "tasks.file_names",
        "tasks.job",
        "tasks.job_loading",
        "tasks.schedule",
        "tasks.renamed_options",
        "tasks.errors",
        "tasks.escalation",
        "tasks.field_errors",
        "tasks.notification",
        "tasks.fault_injection",
        "tasks.untrusted_text",
        "tasks.system",
        "tasks.bounded.values",
        "tasks.bounded.files",
        "tasks.run_log",
        "tasks.plugins",
        "configs",
    },
)
"""Rooms, from the top; a file that stands here by itself has a layer of its own."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SEPARATE_ROOMS = ({"tasks.providers", "tasks.calls"},)
"""Rooms of one layer that do not import each other: providers plan requests, the call path sends them."""
SPAWN_IMPORT = ("tasks.engine", "tasks.local.spawn")
"""The only import of the built-in server by other tasks: it starts the server as a process."""

FILES = sorted([*ROOT.glob("flows/**/*.py"), *ROOT.glob("tasks/**/*.py")])


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {module_name(path): path.read_text(encoding="utf-8") for path in FILES}


def get_room(name: str) -> str:
    """flows, configs, or in tasks the file or folder that has a layer."""
    if not name.startswith("tasks"):
        return name.split(".", maxsplit=1)[0]
    file = ".".join(name.split(".")[:3])
    return file if file in LEVEL else ".".join(name.split(".")[:2])


def find_imports(source: str, *, names: bool = False) -> list[str]:
    """Every module that a file imports, at any depth, also for types; with ``names`` also the imported names."""
    found = []
    for node in _list_nodes(source):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            assert node.module is not None
            below = names or node.module in ("mediamill", "mediamill.tasks")
            found += [f"{node.module}.{a.name}" for a in node.names] if below else [node.module]
        elif isinstance(node, ast.Call) and _get_called_name(node.func).endswith("import_module"):
            found += [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return found


@cache
def _list_nodes(source: str) -> list[ast.AST]:
    """The nodes of a file in which something may be imported."""
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)]


def _get_called_name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def find_violation(here: str, name: str) -> str | None:
    """Why the module ``here`` may not import ``name``."""
    if name.split(".", maxsplit=1)[0] in ("flows", "tasks", "configs"):
        return f"{here} imports {name}, which another project's folder may hide: import mediamill.{name}"
    if name == "mediamill" or not name.startswith("mediamill."):
        is_violation = name.split(".", maxsplit=1)[0] == "prefect" and not here.startswith("flows")
        return f"{here} imports prefect" if is_violation else None
    name = name.removeprefix("mediamill.")
    if here.startswith("tasks.local"):
        allowed = (
            "tasks.local",
            "tasks.media",
            "tasks.domain",
            "tasks.errors",
            "tasks.system.child_environment",
            "tasks.system.asr_choice",
            "tasks.system.whisper_weights",
            "tasks.system.ocr_models",
            "tasks.system.embedding_model",
            "configs",
        )
        is_allowed = any(name == room or name.startswith(f"{room}.") for room in allowed)
    elif name.startswith("tasks.local"):
        is_allowed = here.startswith("flows") or (here, name) == SPAWN_IMPORT
    elif here == "tasks":
        is_allowed = False
    else:
        is_allowed = (
            get_room(here) in LEVEL and get_room(name) in LEVEL and LEVEL[get_room(name)] >= LEVEL[get_room(here)]
        )
        is_allowed = is_allowed and not any({get_room(here), get_room(name)} == rooms for rooms in SEPARATE_ROOMS)
    return None if is_allowed or name == "tasks" else f"{here} imports {name}"


def test_imports_follow_the_layers() -> None:
    violations = []
    for here, source in SOURCES.items():
        if here != "tasks" and not here.startswith("tasks.local") and get_room(here) not in LEVEL:
            violations.append(f"{here} has no layer")
        violations += [found for name in find_imports(source) if (found := find_violation(here, name))]
    assert violations == []


def test_the_public_interface_imports_from_tasks_only() -> None:
    found = [
        name for path in (ROOT / "mediamill").glob("*.py") for name in find_imports(path.read_text(encoding="utf-8"))
    ]
    ours = {name for name in found if name.startswith("mediamill.") and not name.startswith("mediamill.tasks.")}
    assert ours == {"mediamill.interface", "mediamill.capability_functions", "mediamill.aio"}
    assert "prefect" not in found


@pytest.mark.parametrize(
    ("here", "source"),
    [
        ("tasks.journal.asks", "from mediamill.tasks.calls.call import Caller"),
        ("tasks.calls.call", "def late():\n    from mediamill.tasks import engine"),
        ("tasks.domain", "from mediamill.tasks.journal.journal import Journal"),
        ("tasks.run.run", "import mediamill.flows.cli"),
        ("tasks.run.run_context", "from mediamill.tasks.run.open_run import open_run"),
        ("tasks.run.shard", "from mediamill.tasks.run.run import Run"),
        ("tasks.engine", "import prefect.client"),
        ("tasks.local.server", "from mediamill.tasks.providers import base"),
        ("tasks.local.server", "from mediamill.tasks.items_of_another_room import x"),
        ("tasks.calls.call", "from mediamill.tasks.local.billing.bill import Bill"),
        ("tasks.calls.call", "import importlib\nimportlib.import_module('mediamill.tasks.run.run')"),
        ("tasks.calls.call", "from tasks.journal.asks import Asks"),
        ("tasks.calls.call", "from mediamill.tasks.a_room_without_a_layer import x"),
    ],
)
def test_an_import_against_the_layers_is_found(here: str, source: str) -> None:
    assert [violation for name in find_imports(source) if (violation := find_violation(here, name))]


def module_graph(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """The imports between the modules, also for types; a name imported from a package is resolved to its module."""
    return {
        here: {
            name
            for found in find_imports(source, names=True)
            if (name := resolve_module(found, sources)) not in (None, here)
        }
        for here, source in sources.items()
    }


def resolve_module(name: str, known: Collection[str]) -> str | None:
    """The known module that an import names, or the one that holds the imported name."""
    name = name.removeprefix("mediamill.")
    return next((n for n in (name, name.rpartition(".")[0]) if n in known), None)


def find_cycles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Strongly connected components of more than one module (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            component = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(component)

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def test_no_imports_form_a_cycle() -> None:
    assert [sorted(one) for one in find_cycles(module_graph(SOURCES))] == []


def test_a_cycle_is_found_through_types_and_packages() -> None:
    sources = {
        "tasks.a": "if TYPE_CHECKING:\n    from mediamill.tasks.b.c import C",
        "tasks.b": "",
        "tasks.b.c": "def late():\n    from mediamill.tasks.b import d",
        "tasks.b.d": "from mediamill.tasks import a",
    }
    assert find_cycles(module_graph(sources)) == [{"tasks.a", "tasks.b.c", "tasks.b.d"}]


def run_and_list_packages(*arguments: str) -> set[str]:
    """Run a command; the top-level packages that it has imported at its end."""
    script = (
        "import sys\nfrom mediamill.flows.cli.main import main\n"
        f"sys.argv = ['mediamill', *{list(arguments)!r}]\n"
        "try:\n    main()\nfinally:\n"
        "    sys.stderr.write('LOADED ' + ' '.join({m.split('.')[0] for m in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rsplit("LOADED ", 1)[1].split())


def test_help_imports_nothing_heavy() -> None:
    heavy = {"prefect", "pandas", "pyarrow", "sqlalchemy", "av", "httpx", "aiohttp", "rich", "numpy", "jinja2"}
    assert not heavy & run_and_list_packages("--help")


@pytest.mark.long
def test_an_inline_run_with_nothing_to_do_imports_only_what_it_uses(tmp_path: Path) -> None:
    arguments = ("transcribe", str(RECORDINGS / "window.flac"), "--provider", "local")
    first = run_and_list_packages(*arguments, "--out", str(tmp_path / "out"))
    assert "prefect" not in first
    again = run_and_list_packages(*arguments, "--out", str(tmp_path / "out"))
    assert not {"prefect", "pandas", "av", "jinja2"} & again
